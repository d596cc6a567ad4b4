//! What the floor does: written by the benchmark beforehand, read by the process that is measured.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The work of one run.
#[derive(Serialize, Deserialize)]
pub(crate) enum Script {
    /// Requests in phases: those of a phase at once, to all clusters.
    Requests { targets: Vec<Target>, phases: Vec<Vec<Call>> },
    /// A mesh from nothing; where `waits`, until it is ready.
    Cold { members: Vec<Member>, waits: bool },
}

/// An API server, as an entry of a kubeconfig has it: certificates and key in base64.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) context: String,
    pub(crate) server: String,
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A request to one of the targets.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Call {
    /// The index of the target.
    pub(crate) target: usize,
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) content_type: String,
    #[serde(default)]
    pub(crate) body: String,
}

/// A cluster that becomes a part of a mesh.
#[derive(Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) target: Target,
    /// The namespace of the control plane.
    pub(crate) namespace: Value,
    /// Everything that needs no running istiod.
    pub(crate) control_plane: Vec<Value>,
    /// Everything that does.
    pub(crate) gateway: Vec<Value>,
}

impl Call {
    /// A `GET`.
    pub(crate) fn get(target: usize, path: impl Into<String>) -> Self {
        Self { target, method: "GET".into(), path: path.into(), ..Self::default() }
    }

    /// A `POST` of JSON.
    pub(crate) fn post(target: usize, path: impl Into<String>, body: &Value) -> Self {
        Self {
            target,
            method: "POST".into(),
            path: path.into(),
            content_type: "application/json".into(),
            body: body.to_string(),
        }
    }

    /// A server-side apply.
    pub(crate) fn apply(target: usize, object: &Value) -> Self {
        Self {
            target,
            method: "PATCH".into(),
            path: format!("{}?fieldManager=floor", path(object)),
            content_type: "application/apply-patch+yaml".into(),
            body: object.to_string(),
        }
    }
}

/// Where an object lives: one with a namespace in its metadata is taken to live in it.
fn path(object: &Value) -> String {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("/apiVersion"), text("/kind"));
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let root = if version.contains('/') { "apis" } else { "api" };
    let namespace =
        if namespace.is_empty() { String::new() } else { format!("namespaces/{namespace}/") };
    format!("/{root}/{version}/{namespace}{}/{name}", plural(kind))
}

fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o']) => format!("{stem}ies"),
        _ => format!("{kind}s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_found_where_they_live() {
        let object = |version: &str, kind: &str, namespace: Option<&str>| {
            let mut object =
                json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}});
            if let Some(namespace) = namespace {
                object["metadata"]["namespace"] = namespace.into();
            }
            path(&object)
        };
        assert_eq!(object("v1", "Secret", Some("a")), "/api/v1/namespaces/a/secrets/x");
        let gateway = object("networking.istio.io/v1", "Gateway", Some("a"));
        assert_eq!(gateway, "/apis/networking.istio.io/v1/namespaces/a/gateways/x");
        let policy = object("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", None);
        assert_eq!(policy, "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/x");
    }
}
