//! The names of a mesh as types: what was checked once need not be checked again.

use std::fmt;
use std::str::FromStr;

/// The longest DNS label (RFC 1123) and the longest value of a Kubernetes label.
pub const MAX_LABEL: usize = 63;
/// The longest DNS subdomain (RFC 1123), and so the longest name of a Kubernetes object.
const MAX_SUBDOMAIN: usize = 253;

/// The namespace of Istio where a context names none.
pub const DEFAULT_NAMESPACE: &str = "istio-system";
/// The service account that other clusters read with, where a context names none.
pub const DEFAULT_READER: &str = "istio-reader-service-account";
/// The network of a context that names none.
pub const DEFAULT_NETWORK: &str = "default";
/// The longest name of a context, in characters; a key of YAML may have 1024.
const MAX_CONTEXT: usize = 512;

/// Why a text cannot be the name of something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be a {what}: {rule}", shortened(value))]
pub struct NameError {
    /// What was to be named, such as `mesh ID`.
    pub what: &'static str,
    /// The text.
    pub value: String,
    /// The rule that it breaks.
    pub rule: NameRule,
}

/// The rules of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameRule {
    /// There is no text.
    #[error("it is empty")]
    Empty,
    /// There is too much text.
    #[error("it has {length} characters, {max} are allowed")]
    TooLong {
        /// The characters it has.
        length: usize,
        /// The characters it may have.
        max: usize,
    },
    /// A value of a Kubernetes label, which is also a safe file name.
    #[error(
        "only letters, digits, `-`, `_` and `.` are allowed, and it must start and end with a \
         letter or digit"
    )]
    LabelValue,
    /// A DNS label (RFC 1123).
    #[error(
        "only lower-case letters, digits and `-` are allowed, and it must start and end with a \
         letter or digit"
    )]
    DnsLabel,
    /// A DNS subdomain (RFC 1123).
    #[error(
        "only lower-case letters, digits, `-` and `.` are allowed, and each part between dots \
         must start and end with a letter or digit"
    )]
    DnsSubdomain,
    /// Istio's name of a cluster that was given none; two of them in a mesh cannot be told apart.
    #[error("it is Istio's name of every cluster that has none of its own")]
    Reserved,
    /// A character that a terminal would act upon.
    #[error("it has a control character in it")]
    Control,
}

/// At most 80 characters of `value`, without control characters.
pub(crate) fn shortened(value: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    if value.chars().count() <= 80 {
        return value.chars().map(clean).collect();
    }
    value.chars().take(60).map(clean).chain("...".chars()).collect()
}

fn length(value: &str, max: usize) -> Result<(), NameRule> {
    if value.is_empty() {
        return Err(NameRule::Empty);
    }
    let length = value.chars().count();
    if length > max { Err(NameRule::TooLong { length, max }) } else { Ok(()) }
}

fn ends_alphanumeric(value: &str) -> bool {
    let bytes = value.as_bytes();
    [bytes.first(), bytes.last()].into_iter().flatten().all(u8::is_ascii_alphanumeric)
}

fn label_value(value: &str) -> Result<(), NameRule> {
    length(value, MAX_LABEL)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let valid = value.bytes().all(allowed) && ends_alphanumeric(value);
    if valid { Ok(()) } else { Err(NameRule::LabelValue) }
}

fn is_dns_label(value: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !value.is_empty() && value.bytes().all(allowed) && ends_alphanumeric(value)
}

fn dns_label(value: &str) -> Result<(), NameRule> {
    length(value, MAX_LABEL)?;
    if is_dns_label(value) { Ok(()) } else { Err(NameRule::DnsLabel) }
}

fn dns_subdomain(value: &str) -> Result<(), NameRule> {
    length(value, MAX_SUBDOMAIN)?;
    if value.split('.').all(is_dns_label) { Ok(()) } else { Err(NameRule::DnsSubdomain) }
}

fn cluster_name(value: &str) -> Result<(), NameRule> {
    if value.eq_ignore_ascii_case("kubernetes") {
        return Err(NameRule::Reserved);
    }
    dns_label(value)
}

fn context_name(value: &str) -> Result<(), NameRule> {
    length(value, MAX_CONTEXT)?;
    if value.chars().any(char::is_control) { Err(NameRule::Control) } else { Ok(()) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks `value` and takes it.
            pub fn new(value: impl Into<String>) -> Result<Self, NameError> {
                let value = value.into();
                match $check(&value) {
                    Ok(()) => Ok(Self(value)),
                    Err(rule) => Err(NameError { what: $what, value, rule }),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(value: &str) -> Result<Self, NameError> {
                Self::new(value)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(value: String) -> Result<Self, NameError> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = <String as serde::Deserialize>::deserialize(deserializer)?;
                Self::new(value).map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// The identity of a mesh (`values.global.meshID`): a Kubernetes label value, which also
    /// makes it a directory name without surprises.
    MeshId, "mesh ID", label_value
}
name! {
    /// The name of a network: a Kubernetes label value, as `topology.istio.io/network` is a label.
    NetworkName, "network", label_value
}
name! {
    /// The name of a kubeconfig context: any text without control characters.
    ContextName, "context name", context_name
}
name! {
    /// Istio's name of a cluster (`values.global.multiCluster.clusterName`): a DNS label, because
    /// istioctl demands one, and never `kubernetes`.
    ClusterName, "cluster name", cluster_name
}
name! {
    /// A Kubernetes namespace: a DNS label.
    Namespace, "namespace", dns_label
}
name! {
    /// The name of a service account: a DNS subdomain.
    AccountName, "service account", dns_subdomain
}

impl ClusterName {
    /// Takes a name that was put together from checked parts.
    pub(super) fn trusted(name: String) -> Self {
        debug_assert!(cluster_name(&name).is_ok(), "{name}");
        Self(name)
    }
}

impl Default for NetworkName {
    /// [`DEFAULT_NETWORK`].
    fn default() -> Self {
        Self(DEFAULT_NETWORK.to_owned())
    }
}

impl Default for Namespace {
    /// [`DEFAULT_NAMESPACE`].
    fn default() -> Self {
        Self(DEFAULT_NAMESPACE.to_owned())
    }
}

impl Default for AccountName {
    /// [`DEFAULT_READER`].
    fn default() -> Self {
        Self(DEFAULT_READER.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_id_is_a_safe_directory_name() {
        for good in ["mymeshname", "mesh1", "My_Mesh.v2", &"a".repeat(63)] {
            assert!(MeshId::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "../x", "a/b", "a\\b", "-a", "a-", ".hidden", "a b", "é", "a\n"]
        {
            assert!(MeshId::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            MeshId::new("../x").unwrap_err().to_string(),
            "`../x` cannot be a mesh ID: only letters, digits, `-`, `_` and `.` are allowed, and \
             it must start and end with a letter or digit"
        );
        let long = MeshId::new("m".repeat(300)).unwrap_err().to_string();
        assert!(long.contains("it has 300 characters, 63 are allowed"), "{long}");
        assert!(long.len() < 200, "a long value is not repeated in full: {long}");
    }

    #[test]
    fn cluster_names_are_labels_and_never_istios_default() {
        for bad in ["", "Kubernetes", "kubernetes", "Shop", "a_b", "a.b", "-a", &"a".repeat(64)] {
            assert!(ClusterName::new(bad).is_err(), "{bad:?}");
        }
        assert!(ClusterName::new("shop-east1").is_ok());
        let reserved = ClusterName::new("Kubernetes").unwrap_err().to_string();
        assert!(reserved.contains("Istio's name of every cluster that has none"), "{reserved}");
    }

    #[test]
    fn contexts_are_any_text_that_a_terminal_can_show() {
        for good in ["a", "arn:aws:eks:eu-west-1:1:cluster/shop", "x y", "日本"] {
            assert!(ContextName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a\u{1b}[2J", "a\nb"] {
            assert!(ContextName::new(bad).is_err(), "{bad:?}");
            assert!(!ContextName::new(bad).unwrap_err().to_string().contains('\u{1b}'));
        }
    }

    #[test]
    fn defaults_are_valid() {
        assert!(NetworkName::new(DEFAULT_NETWORK).is_ok());
        assert!(Namespace::new(DEFAULT_NAMESPACE).is_ok());
        assert!(AccountName::new(DEFAULT_READER).is_ok());
    }

    #[test]
    fn namespaces_and_accounts_follow_kubernetes() {
        assert!(Namespace::new("istio-system").is_ok());
        assert!(Namespace::new("istio.system").is_err());
        assert!(AccountName::new("reader.v1").is_ok());
        assert!(AccountName::new("reader..v1").is_err());
    }
}
