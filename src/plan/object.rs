//! Objects as the tool marks and names them.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::hex::hex;

/// The name of the apply set's parent, a ConfigMap in the namespace of the control plane.
pub const PARENT: &str = "kubectl-multimesh";
/// The one field manager of every object that the tool applies, on every cluster and from every
/// command, so that a field dropped from an object is dropped from the cluster too.
pub const FIELD_MANAGER: &str = "kubectl-multimesh";
/// The type of a Secret that holds an account's token.
pub const ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";
/// The label of an apply set's members (kubectl: `pkg/cmd/apply/applyset.go`).
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";
/// The label of an apply set's parent.
pub const SET_ID: &str = "applyset.kubernetes.io/id";
/// The annotation that says which tool an apply set belongs to.
pub const TOOLING: &str = "applyset.kubernetes.io/tooling";
/// The annotation that lists the kinds of an apply set's members.
pub const GROUP_KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
/// The annotation with a digest of what was last applied, so that an unchanged object is seen
/// without sending it again.
pub const DIGEST: &str = "kubectl-multimesh/applied";

/// What identifies an object in a cluster; versions of one group are one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The API group, empty for the core.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of a complete object.
    pub fn of(object: &Value) -> Self {
        let text =
            |path| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            group: group(object).to_owned(),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        }
    }

    /// `Deployment.apps`, or `Secret` for the core group: as apply sets write it.
    pub fn group_kind(&self) -> String {
        if self.group.is_empty() {
            self.kind.clone()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// The API group of an object, empty for the core.
pub fn group(object: &Value) -> &str {
    let api_version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// A label of an object.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(key)?.as_str()
}

/// An annotation of an object.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// The apply set of a namespace: the ID that its parent and its members carry.
pub fn set_id(namespace: &str) -> String {
    let parent = format!("{PARENT}.{namespace}.ConfigMap.");
    let digest = Sha256::digest(parent.as_bytes());
    format!("applyset-{}-v1", BASE64_URL_SAFE_NO_PAD.encode(digest))
}

/// The label selector of an apply set's members.
pub fn member_selector(set_id: &str) -> String {
    format!("{PART_OF}={set_id}")
}

/// Whether an object is a member of the apply set.
pub fn is_ours(object: &Value, set_id: &str) -> bool {
    label(object, PART_OF) == Some(set_id)
}

/// Whether a field manager has applied an object.
pub fn is_applied_by(object: &Value, manager: &str) -> bool {
    let managers = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let mut managers = managers.into_iter().flatten();
    managers.any(|entry| entry["manager"] == manager && entry["operation"] == "Apply")
}

/// Marks an object as a member of the apply set, with a digest of what is applied.
pub fn mark(object: &mut Value, set_id: &str) {
    object["metadata"]["labels"][PART_OF] = json!(set_id);
    stamp(object);
}

/// Notes on an object a digest of what is applied.
pub fn stamp(object: &mut Value) {
    let digest = digest(object);
    object["metadata"]["annotations"][DIGEST] = json!(digest);
}

fn digest(object: &Value) -> String {
    let digest = Sha256::digest(object.to_string().as_bytes());
    hex(&digest[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_for_people() {
        let object = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "istiod", "namespace": "istio-system" } });
        let key = Key::of(&object);
        assert_eq!(key.to_string(), "Deployment istio-system/istiod");
        assert_eq!(key.group_kind(), "Deployment.apps");
        let object =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "n" } });
        assert_eq!(Key::of(&object).to_string(), "Namespace n");
    }

    #[test]
    fn the_set_id_has_the_form_that_kubectl_checks() {
        let id = set_id("istio-system");
        assert!(id.starts_with("applyset-") && id.ends_with("-v1"));
        assert!(id.len() <= 63, "a label value: {id}");
        assert_ne!(id, set_id("other"));
    }

    #[test]
    fn the_digest_changes_with_the_content_only() {
        let object =
            |v| json!({ "kind": "ConfigMap", "metadata": { "name": "a" }, "data": { "k": v } });
        let marked = |v| {
            let mut object = object(v);
            mark(&mut object, "set");
            annotation(&object, DIGEST).unwrap().to_owned()
        };
        assert_eq!(marked("1"), marked("1"));
        assert_ne!(marked("1"), marked("2"));
    }
}
