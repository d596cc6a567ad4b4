//! What an object says besides what somebody wants: the books of the API server, of istiod and of
//! the tool itself.

use serde_json::{Map, Value};

use super::compare::yield_to_istiod;
use super::object::DIGEST;
use super::overlay::is_answer;

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

/// What the API server picks for a Service, anew each time that it is asked
/// (k8s.io/kubernetes: `pkg/registry/core/service/storage/alloc.go`).
const PICKED: [&str; 4] = ["clusterIP", "clusterIPs", "healthCheckNodePort", "nodePort"];

/// Leaves only what somebody wants.
pub(super) fn strip(object: &mut Value) {
    yield_to_istiod(object);
    if object["kind"] == "Service" {
        strip_picked(object);
    }
    let Some(fields) = object.as_object_mut() else { return };
    fields.remove("status");
    let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    metadata.retain(|name, _| !METADATA.contains(&name.as_str()));
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|name, _| !ANNOTATIONS.contains(&name.as_str()));
    }
    metadata.retain(|_, value| !value.as_object().is_some_and(Map::is_empty));
}

/// Takes out of a Service what nobody asked for.
fn strip_picked(service: &mut Value) {
    if !is_answer(service) {
        return;
    }
    // What was asked for has a manager.
    let managed = service["metadata"]["managedFields"].to_string();
    let picked =
        |field: &str| PICKED.contains(&field) && !managed.contains(&format!("\"f:{field}\""));
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return };
    spec.retain(|field, _| !picked(field));
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        port.retain(|field, _| !picked(field));
    }
}
