//! What earlier applies made and the present input no longer wants.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::object::{ACCOUNT_TOKEN, DIGEST, Key, annotation, is_applied_by, label};
use super::removal::{Stage, Target};
use crate::istio::remote_secret;

/// The annotation of such a Secret that names the account.
const ACCOUNT: &str = "kubernetes.io/service-account.name";

/// An object that goes.
#[derive(Clone, PartialEq)]
pub struct Prune {
    /// Which object, exactly.
    pub target: Target,
    /// The clusters that it links, where it is a remote secret that goes by the topology. One for a
    /// cluster that nobody here has heard of goes like any other object, after a yes.
    pub link: Option<String>,
    /// The object as it is.
    pub object: Value,
}

/// Without the content, which may be secret.
impl fmt::Debug for Prune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, link, .. } = self;
        f.debug_struct("Prune").field("target", target).field("link", link).finish_non_exhaustive()
    }
}

/// The clusters that a cluster is to be linked with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Linked<'a> {
    /// Their names. One that is not at hand is in it under every name that it may have.
    pub names: BTreeSet<&'a str>,
    /// Whether one of them is not at hand and may have any name, as nothing is on record of it.
    pub unsure: bool,
    /// The names of all clusters that the topology lists or the record knows. A cluster with
    /// another name may be one that a colleague has added meanwhile.
    pub known: BTreeSet<&'a str>,
}

impl Linked<'_> {
    /// Whether a link to the cluster of that name stays.
    fn keeps(&self, cluster: &str) -> bool {
        self.unsure || self.names.contains(cluster)
    }
}

/// Finds what to prune among the members of the apply set, in the order of deletion. `manager` is
/// the field manager of an apply: what somebody copied bears its marks and not its name.
///
/// Namespaces and custom resource definitions hold what others made, and `cacerts` is what the
/// cluster trusts: only a teardown takes those away.
pub fn prunes(
    live: &BTreeMap<Key, Value>,
    desired: &[Arc<Value>],
    linked: &Linked<'_>,
    manager: &str,
) -> Vec<Prune> {
    let wanted: BTreeSet<Key> = desired.iter().map(|object| Key::of(object)).collect();
    let mut prunes: Vec<Prune> = live
        .iter()
        .filter(|(key, object)| !wanted.contains(*key) && may_go(key, object))
        .filter(|(_, object)| is_applied_by(object, manager))
        .filter_map(|(key, object)| prune(key, object, linked))
        .collect();
    prunes.sort_by(|a, b| (a.target.stage, &a.target.key).cmp(&(b.target.stage, &b.target.key)));
    prunes
}

/// Takes out what peers may still read a cluster with: tokens, and the accounts that they are of.
/// Gives the names of the accounts.
pub fn take_readers(prunes: &mut Vec<Prune>) -> (Vec<Prune>, BTreeSet<String>) {
    let accounts: BTreeSet<String> = prunes
        .iter()
        .filter(|prune| prune.object["type"] == ACCOUNT_TOKEN)
        .filter_map(|prune| annotation(&prune.object, ACCOUNT).map(str::to_owned))
        .collect();
    let is_of = |prune: &Prune| {
        let (kind, object) = (prune.target.key.kind.as_str(), &prune.object);
        let named = |name: &Value| name.as_str().is_some_and(|name| accounts.contains(name));
        match kind {
            "Secret" => annotation(object, ACCOUNT).is_some_and(|name| accounts.contains(name)),
            "ServiceAccount" => named(&object["metadata"]["name"]),
            "ClusterRoleBinding" => named(&object["subjects"][0]["name"]),
            _ => false,
        }
    };
    let (readers, rest) = std::mem::take(prunes).into_iter().partition(is_of);
    *prunes = rest;
    (readers, accounts)
}

/// Whether an apply marked it and another apply may take it away.
fn may_go(key: &Key, object: &Value) -> bool {
    let kept = matches!(key.kind.as_str(), "Namespace" | "CustomResourceDefinition" | "Lease")
        || (key.kind == "Secret" && key.name == "cacerts");
    // A controller that copies labels to what it makes cleans up after itself.
    let owned = object.pointer("/metadata/ownerReferences").is_some();
    let going = object.pointer("/metadata/deletionTimestamp").is_some();
    annotation(object, DIGEST).is_some() && !kept && !owned && !going
}

fn prune(key: &Key, object: &Value, linked: &Linked<'_>) -> Option<Prune> {
    let target = Target::new(Stage::of(key), object);
    if label(object, remote_secret::LABEL) != Some("true") {
        return Some(Prune { target, link: None, object: object.clone() });
    }
    let clusters = remote_secret::clusters(object);
    if clusters.iter().any(|cluster| linked.keeps(cluster)) {
        return None;
    }
    let known = clusters.iter().all(|cluster| linked.known.contains(cluster));
    let link = known.then(|| clusters.join(", "));
    Some(Prune { target, link, object: object.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::istio::remote_secret::Credential;
    use crate::plan::object::{PART_OF, mark};
    use serde_json::json;
    use zeroize::Zeroizing;

    const MANAGER: &str = "the-tool";

    fn applied(mut object: Value) -> Value {
        mark(&mut object, "set");
        object["metadata"]["managedFields"] = json!([{ "manager": MANAGER, "operation": "Apply" }]);
        object
    }

    fn object(kind: &str, name: &str) -> Value {
        applied(json!({ "apiVersion": "v1", "kind": kind,
            "metadata": { "name": name, "namespace": "n", "uid": name } }))
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
        applied(remote_secret::secret(&credential, "n"))
    }

    fn pruned(live: Vec<Value>, desired: &[Value], linked: &Linked<'_>) -> Vec<String> {
        let live = live.into_iter().map(|object| (Key::of(&object), object)).collect();
        let desired: Vec<Arc<Value>> = desired.iter().cloned().map(Arc::new).collect();
        let prunes = prunes(&live, &desired, linked, MANAGER);
        prunes.into_iter().map(|prune| prune.target.key.name).collect()
    }

    #[test]
    fn what_nothing_wants_any_more_goes() {
        let live = vec![object("ConfigMap", "old"), object("ConfigMap", "kept")];
        let desired = [object("ConfigMap", "kept")];
        assert_eq!(pruned(live, &desired, &Linked::default()), ["old"]);
    }

    #[test]
    fn what_peers_read_a_cluster_with_can_be_kept_apart() {
        let mut token = object("Secret", "old-token");
        token["type"] = json!(ACCOUNT_TOKEN);
        token["metadata"]["annotations"][ACCOUNT] = json!("old");
        let mut binding = object("ClusterRoleBinding", "binding");
        binding["subjects"] = json!([{ "kind": "ServiceAccount", "name": "old" }]);
        let objects = [
            token,
            binding,
            object("ServiceAccount", "old"),
            object("ServiceAccount", "gateway"),
            object("Secret", "other"),
        ];
        let live = objects.into_iter().map(|object| (Key::of(&object), object)).collect();
        let mut rest = prunes(&live, &[], &Linked::default(), MANAGER);
        let (readers, accounts) = take_readers(&mut rest);
        let names = |prunes: &[Prune]| {
            prunes.iter().map(|prune| prune.target.key.name.clone()).collect::<BTreeSet<_>>()
        };
        assert_eq!(names(&readers), ["binding", "old", "old-token"].map(str::to_owned).into());
        assert_eq!(names(&rest), ["gateway", "other"].map(str::to_owned).into());
        assert_eq!(accounts, ["old".to_owned()].into());
    }

    #[test]
    fn what_holds_the_objects_of_others_stays() {
        let live = vec![
            object("Namespace", "n"),
            object("CustomResourceDefinition", "d"),
            object("Secret", "cacerts"),
            object("Lease", "kubectl-multimesh"),
        ];
        assert_eq!(pruned(live, &[], &Linked::default()), [""; 0]);
    }

    #[test]
    fn what_no_apply_made_stays() {
        let mut labelled = object("ConfigMap", "labelled-by-hand");
        labelled["metadata"]["annotations"] = json!({});
        let mut owned = object("ConfigMap", "made-by-a-controller");
        owned["metadata"]["ownerReferences"] = json!([{ "kind": "Service", "name": "s" }]);
        let mut copied = object("ConfigMap", "copied-with-all-its-marks");
        copied["metadata"]["managedFields"] =
            json!([{ "manager": "kubectl-create", "operation": "Update" }]);
        assert_eq!(label(&labelled, PART_OF), Some("set"));
        assert_eq!(pruned(vec![labelled, owned, copied], &[], &Linked::default()), [""; 0]);
    }

    #[test]
    fn links_to_members_stay_whether_they_answer_or_not() {
        let linked = Linked { names: ["east", "west"].into(), ..Linked::default() };
        assert_eq!(
            pruned(vec![link("east"), link("left")], &[], &linked),
            ["istio-remote-secret-left"]
        );
    }

    #[test]
    fn a_member_of_any_name_keeps_all_links() {
        let linked = Linked { names: ["east"].into(), unsure: true, known: ["left"].into() };
        assert_eq!(pruned(vec![link("east"), link("left")], &[], &linked), [""; 0]);
    }

    #[test]
    fn a_link_to_a_cluster_that_nobody_here_knows_goes_like_any_other_object() {
        let live = [link("left"), link("of-a-colleague")];
        let live = live.into_iter().map(|object| (Key::of(&object), object)).collect();
        let linked = Linked { known: ["left"].into(), ..Linked::default() };
        let pruned = prunes(&live, &[], &linked, MANAGER);
        let links: Vec<Option<&str>> = pruned.iter().map(|prune| prune.link.as_deref()).collect();
        assert_eq!(links, [Some("left"), None]);
    }
}
