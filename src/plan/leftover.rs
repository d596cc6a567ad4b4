//! What an istiod makes by itself and leaves behind when it is removed.

use serde_json::Value;

use super::object::{PART_OF, annotation, label};

/// The label of the `ConfigMap`s that istiod puts into every namespace, with the root certificate and
/// the revoked ones (istio: `pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go`).
pub const CONFIG_LABEL: &str = "istio.io/config";
/// The annotation of a ConfigMap that replicas of istiod elect a leader by
/// (istio: `pilot/pkg/leaderelection/k8sleaderelection/k8sresourcelock`).
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// The type of the Secrets in which an istiod without `cacerts` keeps its own root
/// (istio: `security/pkg/pki/ca/ca.go`).
const CA_ROOT: &str = "istio.io/ca-root";
/// The field manager of everything that istiod writes: the name of its program.
const ISTIOD: &str = "pilot-discovery";

/// Whether istiod made the object, in a cluster whose control plane is in `namespace`. `since` is
/// when the control plane was installed, as the API server writes times: a root key that was there
/// before is not this istiod's.
pub fn is_leftover(object: &Value, namespace: &str, since: Option<&str>) -> bool {
    if label(object, PART_OF).is_some() || !is_written_by_istiod(object) {
        return false;
    }
    let metadata = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
    let in_namespace = metadata("namespace") == namespace;
    let is_istios = metadata("name").starts_with("istio-");
    match object["kind"].as_str().unwrap_or_default() {
        "ConfigMap" if label(object, CONFIG_LABEL) == Some("true") => true,
        "ConfigMap" => in_namespace && is_istios && annotation(object, LEADER).is_some(),
        "Lease" => in_namespace && is_istios,
        "Secret" => {
            in_namespace
                && object["type"] == CA_ROOT
                && since.is_some_and(|since| metadata("creationTimestamp") >= since)
        }
        // istio: `pilot/pkg/config/kube/gatewaycommon/gatewayclass.go`
        "GatewayClass" => object
            .pointer("/spec/controllerName")
            .and_then(Value::as_str)
            .is_some_and(|controller| controller.starts_with("istio.io/")),
        // istio: `pilot/pkg/config/kube/clustertrustbundle/controller.go`
        "ClusterTrustBundle" => object["spec"]["signerName"] == "istio.io/istiod-ca",
        _ => false,
    }
}

/// Whether istiod wrote more of it than its status.
fn is_written_by_istiod(object: &Value) -> bool {
    let managers = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    managers.into_iter().flatten().any(|entry| {
        entry["manager"] == ISTIOD && entry["subresource"].as_str().unwrap_or_default().is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: &str, namespace: &str, name: &str, manager: &str) -> Value {
        json!({ "kind": kind, "metadata": {
            "name": name, "namespace": namespace, "creationTimestamp": "2026-02-01T00:00:00Z",
            "managedFields": [{ "manager": manager, "operation": "Update" }],
        } })
    }

    fn left(object: &Value) -> bool {
        is_leftover(object, "istio-system", Some("2026-01-01T00:00:00Z"))
    }

    #[test]
    fn root_certificates_are_left_in_every_namespace() {
        let mut map = object("ConfigMap", "demo", "istio-ca-root-cert", ISTIOD);
        assert!(!left(&map));
        map["metadata"]["labels"][CONFIG_LABEL] = json!("true");
        assert!(left(&map));
        map["metadata"]["managedFields"][0]["manager"] = json!("kubectl");
        assert!(!left(&map), "a copy that a user made");
    }

    #[test]
    fn elections_are_left_in_the_namespace_of_the_control_plane() {
        let mut map = object("ConfigMap", "istio-system", "istio-leader", ISTIOD);
        assert!(!left(&map));
        map["metadata"]["annotations"][LEADER] = json!("{}");
        assert!(left(&map));
        assert!(left(&object("Lease", "istio-system", "istio-gateway-deployment-default", ISTIOD)));
        assert!(!left(&object("Lease", "demo", "istio-gateway-deployment-default", ISTIOD)));
        assert!(!left(&object("Lease", "istio-system", "my-controller", "my-controller")));
    }

    #[test]
    fn a_root_key_of_an_earlier_istio_is_not_touched() {
        let mut secret = object("Secret", "istio-system", "istio-ca-secret", ISTIOD);
        assert!(!left(&secret));
        secret["type"] = json!(CA_ROOT);
        assert!(left(&secret));
        secret["metadata"]["creationTimestamp"] = json!("2020-01-01T00:00:00Z");
        assert!(!left(&secret));
        assert!(!is_leftover(&secret, "istio-system", None));
    }

    #[test]
    fn a_status_alone_makes_nothing_istiods() {
        let mut class = object("GatewayClass", "", "istio", ISTIOD);
        class["spec"]["controllerName"] = json!("istio.io/gateway-controller");
        assert!(left(&class));
        class["metadata"]["managedFields"][0]["subresource"] = json!("status");
        assert!(!left(&class));
    }

    #[test]
    fn what_the_tool_applied_is_no_leftover() {
        let mut map = object("ConfigMap", "istio-system", "istio", ISTIOD);
        map["metadata"]["labels"] = json!({ CONFIG_LABEL: "true", PART_OF: "set" });
        assert!(!left(&map));
    }
}
