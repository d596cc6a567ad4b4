//! What an object says besides what somebody wants: the books of the API server, of istiod and of
//! the tool itself.

use serde_json::{Map, Value};

use super::compare::yield_to_istiod;
use super::object::DIGEST;

/// Kept by the API server (k8s.io/apimachinery: `pkg/apis/meta/v1/types.go`).
const METADATA: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Kept by the tool, by kubectl and by controllers.
const ANNOTATIONS: [&str; 6] = [
    DIGEST,
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",
    "kubernetes.io/service-account.uid",
    "control-plane.alpha.kubernetes.io/leader",
];

/// Leaves only what somebody wants.
pub(super) fn strip(object: &mut Value) {
    yield_to_istiod(object);
    let Some(fields) = object.as_object_mut() else { return };
    fields.remove("status");
    let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    metadata.retain(|name, _| !METADATA.contains(&name.as_str()));
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|name, _| !ANNOTATIONS.contains(&name.as_str()));
    }
    metadata.retain(|_, value| !value.as_object().is_some_and(Map::is_empty));
}
