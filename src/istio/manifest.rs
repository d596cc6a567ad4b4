//! What istioctl rendered: parsed, made a cluster's own, and put in order.

use serde_json::Value;

use super::operator::{CLUSTER_PLACEHOLDER, NETWORK_PLACEHOLDER};

/// Why rendered output could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The output is not YAML.
    #[error("the output of `istioctl manifest generate` is not valid YAML: {0}")]
    Syntax(String),
    /// A document is not a Kubernetes object.
    #[error(
        "the output of `istioctl manifest generate` holds a document that is no Kubernetes object (number {0})"
    )]
    NotAnObject(usize),
    /// There is nothing in it.
    #[error("`istioctl manifest generate` rendered no objects")]
    Empty,
}

/// Parses a stream of YAML documents as kubectl would.
pub fn parse(text: &str) -> Result<Vec<Value>, ManifestError> {
    // `defaultMode: 0644` means 420 to every reader of YAML 1.1, so to the API server too.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|e| ManifestError::Syntax(e.to_string()))?;
    let objects: Vec<Value> = documents.into_iter().filter(|d| !d.is_null()).collect();
    for (index, object) in objects.iter().enumerate() {
        let complete = ["/apiVersion", "/kind", "/metadata/name"]
            .iter()
            .all(|path| object.pointer(path).is_some_and(Value::is_string));
        if !complete {
            return Err(ManifestError::NotAnObject(index + 1));
        }
    }
    if objects.is_empty() { Err(ManifestError::Empty) } else { Ok(objects) }
}

/// Puts a cluster's names where a rendered object has placeholders.
pub fn personalize(object: &Value, cluster: &str, network: &str) -> Value {
    let mut object = object.clone();
    substitute(&mut object, cluster, network);
    object
}

/// Whether a rendered object has placeholders, so that it differs from cluster to cluster.
pub fn is_personal(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            text.contains(CLUSTER_PLACEHOLDER) || text.contains(NETWORK_PLACEHOLDER)
        }
        Value::Array(items) => items.iter().any(is_personal),
        Value::Object(map) => map.values().any(is_personal),
        _ => false,
    }
}

fn substitute(value: &mut Value, cluster: &str, network: &str) {
    match value {
        Value::String(text)
            if text.contains(CLUSTER_PLACEHOLDER) || text.contains(NETWORK_PLACEHOLDER) =>
        {
            *text =
                text.replace(CLUSTER_PLACEHOLDER, cluster).replace(NETWORK_PLACEHOLDER, network);
        }
        Value::Array(items) => items.iter_mut().for_each(|v| substitute(v, cluster, network)),
        Value::Object(map) => map.values_mut().for_each(|v| substitute(v, cluster, network)),
        _ => {}
    }
}

/// Whether the object makes pods that istiod must inject, so that they need its webhook.
pub fn wants_injection(object: &Value) -> bool {
    let Some(template) = object.pointer("/spec/template/metadata") else { return false };
    let injected = ["/labels/sidecar.istio.io~1inject", "/annotations/sidecar.istio.io~1inject"]
        .iter()
        .any(|path| template.pointer(path).is_some_and(|v| v == "true"));
    injected || template.pointer("/annotations/inject.istio.io~1templates").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_as_kubectl_reads_them() {
        let text = "# only a comment\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n\
                    data: {mode: 0644}\n---\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: b}\n";
        let objects = parse(text).unwrap();
        assert_eq!(objects.len(), 2);
        assert_eq!(objects[0]["data"]["mode"], 420);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert_eq!(parse("- a\n- b\n"), Err(ManifestError::NotAnObject(1)));
        assert_eq!(parse(""), Err(ManifestError::Empty));
        assert!(matches!(parse("a: [1"), Err(ManifestError::Syntax(_))));
    }

    #[test]
    fn placeholders_become_the_clusters_names() {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\n\
             data: {{values: '{{\"c\": \"{CLUSTER_PLACEHOLDER}\"}}', n: {NETWORK_PLACEHOLDER}}}\n"
        );
        let rendered = parse(&text).unwrap();
        assert!(is_personal(&rendered[0]));
        let objects = [personalize(&rendered[0], "east-1", "network-east")];
        assert!(!is_personal(&objects[0]));
        assert_eq!(objects[0]["data"]["values"], "{\"c\": \"east-1\"}");
        assert_eq!(objects[0]["data"]["n"], "network-east");
    }
}
