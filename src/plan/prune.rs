//! What earlier applies made and the present input no longer wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::object::{DIGEST, Key, annotation, label};
use super::removal::{Stage, Target};
use crate::istio::remote_secret;

/// An object that goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Prune {
    /// Which object, exactly.
    pub target: Target,
    /// The clusters that it links, where it is a remote secret.
    pub link: Option<String>,
    /// The object as it is.
    pub object: Value,
}

/// Finds what to prune among the members of the apply set, in the order of deletion. `linked` are
/// the clusters that this one is to be linked with, reachable or not: their links stay.
///
/// Namespaces and custom resource definitions hold what others made, and `cacerts` is what the
/// cluster trusts: only a teardown takes those away.
pub fn prunes(
    live: &BTreeMap<Key, Value>,
    desired: &[Arc<Value>],
    linked: &BTreeSet<&str>,
) -> Vec<Prune> {
    let wanted: BTreeSet<Key> = desired.iter().map(|object| Key::of(object)).collect();
    let mut prunes: Vec<Prune> = live
        .iter()
        .filter(|(key, object)| !wanted.contains(*key) && may_go(key, object))
        .filter_map(|(key, object)| prune(key, object, linked))
        .collect();
    prunes.sort_by(|a, b| (a.target.stage, &a.target.key).cmp(&(b.target.stage, &b.target.key)));
    prunes
}

/// Whether an apply made it and another apply may take it away.
fn may_go(key: &Key, object: &Value) -> bool {
    let kept = matches!(key.kind.as_str(), "Namespace" | "CustomResourceDefinition" | "Lease")
        || (key.kind == "Secret" && key.name == "cacerts");
    // A controller that copies labels to what it makes cleans up after itself.
    let owned = object.pointer("/metadata/ownerReferences").is_some();
    let going = object.pointer("/metadata/deletionTimestamp").is_some();
    annotation(object, DIGEST).is_some() && !kept && !owned && !going
}

fn prune(key: &Key, object: &Value, linked: &BTreeSet<&str>) -> Option<Prune> {
    let target = Target::new(Stage::of(key), object);
    if label(object, remote_secret::LABEL) != Some("true") {
        return Some(Prune { target, link: None, object: object.clone() });
    }
    let clusters = remote_secret::clusters(object);
    if clusters.iter().any(|cluster| linked.contains(cluster)) {
        return None;
    }
    Some(Prune { target, link: Some(clusters.join(", ")), object: object.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::istio::remote_secret::Credential;
    use crate::plan::object::{PART_OF, mark};
    use serde_json::json;
    use zeroize::Zeroizing;

    fn object(kind: &str, name: &str) -> Value {
        let mut object = json!({ "apiVersion": "v1", "kind": kind,
            "metadata": { "name": name, "namespace": "n", "uid": name } });
        mark(&mut object, "set");
        object
    }

    fn link(cluster: &str) -> Value {
        let credential = Credential {
            cluster: cluster.into(),
            server: "https://10.0.0.2:6443".into(),
            tls_server_name: None,
            proxy_url: None,
            ca: "CA".into(),
            token: Zeroizing::new("t".into()),
        };
        let mut secret = remote_secret::secret(&credential, "n");
        mark(&mut secret, "set");
        secret
    }

    fn pruned(live: Vec<Value>, desired: &[Value], linked: &[&str]) -> Vec<String> {
        let live = live.into_iter().map(|object| (Key::of(&object), object)).collect();
        let linked = linked.iter().copied().collect();
        let desired: Vec<Arc<Value>> = desired.iter().cloned().map(Arc::new).collect();
        prunes(&live, &desired, &linked).into_iter().map(|p| p.target.key.name).collect()
    }

    #[test]
    fn what_nothing_wants_any_more_goes() {
        let live = vec![object("ConfigMap", "old"), object("ConfigMap", "kept")];
        assert_eq!(pruned(live, &[object("ConfigMap", "kept")], &[]), ["old"]);
    }

    #[test]
    fn what_holds_the_objects_of_others_stays() {
        let live = vec![
            object("Namespace", "n"),
            object("CustomResourceDefinition", "d"),
            object("Secret", "cacerts"),
            object("Lease", "kubectl-multimesh"),
        ];
        assert_eq!(pruned(live, &[], &[]), [""; 0]);
    }

    #[test]
    fn what_no_apply_made_stays() {
        let mut labelled = object("ConfigMap", "labelled-by-hand");
        labelled["metadata"]["annotations"] = json!({});
        let mut owned = object("ConfigMap", "made-by-a-controller");
        owned["metadata"]["ownerReferences"] = json!([{ "kind": "Service", "name": "s" }]);
        assert_eq!(label(&labelled, PART_OF), Some("set"));
        assert_eq!(pruned(vec![labelled, owned], &[], &[]), [""; 0]);
    }

    #[test]
    fn links_to_members_stay_whether_they_answer_or_not() {
        let live = vec![link("east"), link("left")];
        assert_eq!(pruned(live, &[], &["east", "west"]), ["istio-remote-secret-left"]);
    }
}
