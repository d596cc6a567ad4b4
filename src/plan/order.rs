//! The order in which objects are sent: each step needs only the steps before it.

use serde_json::Value;

use super::object::{ACCOUNT_TOKEN, group};
use crate::istio::manifest::wants_injection;

/// The steps of an apply, first to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Namespaces, and the apply set's parent in them.
    Ground,
    /// What pods mount and run as: accounts, rights, secrets, config, services.
    Foundation,
    /// Secrets for the tokens of accounts: Kubernetes deletes one whose account is not there yet
    /// (k8s.io/kubernetes: `pkg/controller/serviceaccount/tokens_controller.go`).
    Tokens,
    /// Custom resource definitions: large, and needed only once istiod runs.
    Definitions,
    /// istiod and its webhooks.
    ControlPlane,
    /// Workloads that istiod injects: the east-west gateway.
    Gateways,
    /// Istio's own configuration, validated by istiod.
    Routing,
}

impl Step {
    /// The step in which an object is sent.
    pub fn of(object: &Value) -> Self {
        match object["kind"].as_str().unwrap_or_default() {
            "Namespace" => Self::Ground,
            "CustomResourceDefinition" => Self::Definitions,
            "Secret" if object["type"] == ACCOUNT_TOKEN => Self::Tokens,
            "Deployment" | "DaemonSet" if wants_injection(object) => Self::Gateways,
            "Deployment"
            | "DaemonSet"
            | "HorizontalPodAutoscaler"
            | "PodDisruptionBudget"
            | "MutatingWebhookConfiguration"
            | "ValidatingWebhookConfiguration"
            | "ValidatingAdmissionPolicy"
            | "ValidatingAdmissionPolicyBinding" => Self::ControlPlane,
            _ if is_istio_config(object) => Self::Routing,
            _ => Self::Foundation,
        }
    }
}

/// Whether an object is a custom resource of Istio or of the Gateway API.
fn is_istio_config(object: &Value) -> bool {
    let group = group(object);
    group.ends_with(".istio.io") || group == "gateway.networking.k8s.io"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn everything_comes_after_what_it_needs() {
        let of = |api: &str, kind: &str| Step::of(&json!({ "apiVersion": api, "kind": kind }));
        assert_eq!(of("v1", "Namespace"), Step::Ground);
        assert_eq!(of("v1", "Secret"), Step::Foundation);
        assert_eq!(of("rbac.authorization.k8s.io/v1", "ClusterRole"), Step::Foundation);
        let token = json!({ "apiVersion": "v1", "kind": "Secret", "type": ACCOUNT_TOKEN });
        assert_eq!(Step::of(&token), Step::Tokens);
        assert!(Step::of(&token) > of("v1", "ServiceAccount"));
        assert_eq!(of("apps/v1", "Deployment"), Step::ControlPlane);
        assert_eq!(of("networking.istio.io/v1", "Gateway"), Step::Routing);
        let gateway = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "spec": { "template": {
            "metadata": { "annotations": { "inject.istio.io/templates": "gateway" } } } } });
        assert_eq!(Step::of(&gateway), Step::Gateways);
    }
}
