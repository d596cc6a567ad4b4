//! Versions of istioctl and of running control planes.

use std::fmt;
use std::ops::RangeInclusive;

/// The oldest Istio that is worked with: from 1.29 on istiod reports the state of its remote
/// clusters as a metric and reads the peers' mesh config (Istio 1.29 release notes).
pub const OLDEST: Version = Version { major: 1, minor: 29 };

/// Major and minor of an Istio version: what decides about compatibility.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Always 1 so far.
    pub major: u32,
    /// The release line.
    pub minor: u32,
}

impl Version {
    /// Reads `1.31.1`, `v1.31.0-rc.0`, `1.31-alpha.abc`, or an image tag such as
    /// `1.31.1-distroless`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches('v').split(['.', '-']);
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        Some(Self { major, minor })
    }
}

/// The release lines of Istio that are worked with, oldest first, each with the releases of
/// Kubernetes that it supports (`istio.io:content/en/news/releases/1.*.x/announcing-1.*/_index.md`).
/// All numbers are minors of major 1.
const LINES: [(u32, RangeInclusive<u32>); 3] = [(29, 31..=35), (30, 32..=36), (31, 32..=36)];

const fn one(minor: u32) -> Version {
    Version { major: 1, minor }
}

/// The line that a version of Istio is held to: its own, or the newest known one.
fn line(istio: Version) -> Option<(Version, &'static RangeInclusive<u32>)> {
    let found = LINES.iter().rfind(|(minor, _)| one(*minor) <= istio);
    found.map(|(minor, kubernetes)| (one(*minor), kubernetes))
}

/// The oldest Kubernetes, as the minor of major 1, that a release line of Istio supports. A line
/// that is newer than the known ones is held to the last of them.
pub fn oldest_kubernetes(istio: Version) -> Option<u32> {
    line(istio).map(|(_, kubernetes)| *kubernetes.start())
}

/// Whether an Istio and a Kubernetes go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// The announcement of this Istio names this Kubernetes.
    Supported,
    /// One of them is newer than those that are known to; the sentence says which.
    NewerThanTested(String),
    /// One of them is too old; the sentence says which.
    TooOld(String),
}

/// Whether `istio` supports `kubernetes`.
pub fn support(istio: Version, kubernetes: Version) -> Support {
    let Some((line, range)) = line(istio) else {
        return Support::TooOld(format!(
            "Istio {istio} is too old: {OLDEST} is the oldest that works"
        ));
    };
    let (oldest, newest) = (one(*range.start()), one(*range.end()));
    let supports = format!("Istio {line} supports {oldest} to {newest}");
    if kubernetes < oldest {
        Support::TooOld(format!("Kubernetes {kubernetes} is too old: {supports}"))
    } else if istio > line {
        Support::NewerThanTested(format!(
            "Istio {istio} is newer than {line}, the newest that was tested"
        ))
    } else if kubernetes > newest {
        Support::NewerThanTested(format!(
            "Kubernetes {kubernetes} is newer than tested: {supports}"
        ))
    } else {
        Support::Supported
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Takes the version out of `istioctl version --remote=false -o json`.
pub fn of_istioctl(output: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(output).ok()?;
    value.pointer("/clientVersion/version")?.as_str().map(str::to_owned)
}

/// The version of a control plane by the image tag of its `discovery` container, without the
/// variant suffixes `-distroless` and `-debug`.
pub fn of_istiod(deployment: &serde_json::Value) -> Option<String> {
    let containers = deployment.pointer("/spec/template/spec/containers")?.as_array()?;
    let container = containers.iter().find(|c| c["name"] == "discovery")?;
    let image = container["image"].as_str()?.split('@').next()?;
    let (_, tag) = image.rsplit_once(':')?;
    let tag = tag.trim_end_matches("-distroless").trim_end_matches("-debug");
    (!tag.contains('/')).then(|| tag.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_of_all_shapes_are_read() {
        let v = |major, minor| Some(Version { major, minor });
        assert_eq!(Version::parse("1.31.1"), v(1, 31));
        assert_eq!(Version::parse("v1.29.0-rc.0"), v(1, 29));
        assert_eq!(Version::parse("1.31-alpha.eed52eb"), v(1, 31));
        assert_eq!(Version::parse("latest"), None);
        assert!(Version::parse("1.9.0") < Some(OLDEST));
    }

    #[test]
    fn each_release_line_has_its_oldest_kubernetes() {
        let oldest = |text: &str| oldest_kubernetes(Version::parse(text).unwrap());
        assert_eq!(oldest("1.28.3"), None, "older than what is worked with");
        assert_eq!(oldest("1.29.9"), Some(31));
        assert_eq!(oldest("1.30.0"), Some(32));
        assert_eq!(oldest("1.31-alpha.eed52eb"), Some(32));
        assert_eq!(oldest("1.40.0"), Some(32), "held to the newest known line");
    }

    #[test]
    fn each_release_line_has_the_kubernetes_of_its_announcement() {
        let word = |istio: &str, kubernetes: &str| match support(
            Version::parse(istio).unwrap(),
            Version::parse(kubernetes).unwrap(),
        ) {
            Support::Supported => "supported".to_owned(),
            Support::NewerThanTested(why) | Support::TooOld(why) => why,
        };
        for (istio, supported) in [("1.29.9", 31..=35), ("1.30.0", 32..=36), ("1.31.1", 32..=36)] {
            let (oldest, newest) = (*supported.start(), *supported.end());
            for minor in supported {
                assert_eq!(word(istio, &format!("v1.{minor}.0")), "supported", "{istio} {minor}");
            }
            let old = word(istio, &format!("v1.{}.9", oldest - 1));
            assert!(old.starts_with(&format!("Kubernetes 1.{} is too old", oldest - 1)), "{old}");
            let new = word(istio, &format!("v1.{}.0", newest + 1));
            assert!(new.contains(&format!("newer than tested: Istio {}", &istio[..4])), "{new}");
        }
        assert_eq!(
            word("1.28.3", "v1.33.0"),
            "Istio 1.28 is too old: 1.29 is the oldest that works"
        );
        assert_eq!(
            word("1.32.0", "v1.36.0"),
            "Istio 1.32 is newer than 1.31, the newest that was tested"
        );
        let both = word("1.32.0", "v1.30.0");
        assert_eq!(both, "Kubernetes 1.30 is too old: Istio 1.31 supports 1.32 to 1.36");
        assert!(word("1.31.0", "v2.0.0").contains("newer than tested"));
    }

    #[test]
    fn the_control_plane_tells_its_version_by_its_image() {
        let with = |image: &str| {
            json!({ "spec": { "template": { "spec": { "containers": [
                { "name": "discovery", "image": image },
            ] } } } })
        };
        let of = |image: &str| of_istiod(&with(image));
        assert_eq!(of("localhost/istio/pilot:1.31.0").as_deref(), Some("1.31.0"));
        assert_eq!(of("r:5000/pilot:1.31.0-distroless@sha256:ab").as_deref(), Some("1.31.0"));
        assert_eq!(of("r:5000/pilot"), None);
    }
}
