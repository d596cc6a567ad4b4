//! What a namespace holds that would be lost with it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::object::{Key, PARENT, is_ours};

/// The objects of a namespace that somebody else put there. `objects` is everything in it; `goes`
/// is what goes anyway.
pub fn foreign(objects: &[Value], set_id: &str, goes: &BTreeSet<Key>) -> Vec<Key> {
    let kept: BTreeSet<&str> = keepers(objects, set_id, goes);
    let stay = || objects.iter().filter(|object| kept.contains(uid(object)));
    let services: BTreeSet<&str> =
        stay().filter(|o| o["kind"] == "Service").filter_map(name).collect();
    // What a foreign object owns goes without saying.
    let roots = stay().filter(|object| {
        let owned = owners(object).any(|o| kept.contains(o["uid"].as_str().unwrap_or_default()));
        let follows =
            object["kind"] == "Endpoints" && name(object).is_some_and(|n| services.contains(n));
        !owned && !follows
    });
    let mut foreign: Vec<Key> = roots.map(Key::of).collect();
    foreign.sort();
    foreign
}

/// The UIDs of what would be there without the tool, istiod and Kubernetes itself.
fn keepers<'a>(objects: &'a [Value], set_id: &str, goes: &BTreeSet<Key>) -> BTreeSet<&'a str> {
    let all: BTreeSet<&str> = objects.iter().map(uid).collect();
    let namespaced: BTreeSet<String> = objects.iter().map(|o| Key::of(o).group_kind()).collect();
    let goes_by_itself = |object: &Value| {
        let key = Key::of(object);
        is_ours(object, set_id)
            || goes.contains(&key)
            || key.name == PARENT && matches!(key.kind.as_str(), "ConfigMap" | "Lease")
            || is_kubernetes_own(object, &key)
    };
    let mut gone: BTreeSet<&str> =
        objects.iter().filter(|object| goes_by_itself(object)).map(uid).collect();
    let named = |kind: &str| -> BTreeSet<&str> {
        let going = objects.iter().filter(|o| o["kind"] == kind && gone.contains(uid(o)));
        going.filter_map(name).collect()
    };
    let (services, accounts) = (named("Service"), named("ServiceAccount"));
    // Kubernetes collects what an object owned; owners that are gone already count as well.
    loop {
        let collected: Vec<&str> = objects
            .iter()
            .filter(|object| !gone.contains(uid(object)))
            .filter(|object| {
                owners_are_gone(object, &all, &gone, &namespaced)
                    || object["kind"] == "Endpoints"
                        && name(object).is_some_and(|name| services.contains(name))
                    || token_of(object).is_some_and(|account| accounts.contains(account))
            })
            .map(uid)
            .collect();
        if collected.is_empty() {
            break;
        }
        gone.extend(collected);
    }
    all.difference(&gone).copied().collect()
}

/// What every namespace has.
fn is_kubernetes_own(object: &Value, key: &Key) -> bool {
    match (key.kind.as_str(), key.name.as_str()) {
        ("ConfigMap", "kube-root-ca.crt") | ("ServiceAccount", "default") => true,
        // Clusters before 1.24 gave every account a Secret.
        ("Secret", _) => token_of(object) == Some("default"),
        _ => key.kind == "Event",
    }
}

/// Whether all owners of an object are among what is gone, or gone already. An owner outside of the
/// namespace cannot be told, so it counts as there.
fn owners_are_gone(
    object: &Value,
    all: &BTreeSet<&str>,
    gone: &BTreeSet<&str>,
    namespaced: &BTreeSet<String>,
) -> bool {
    const BUILT_IN: [&str; 6] = [
        "Service",
        "ReplicaSet.apps",
        "Deployment.apps",
        "DaemonSet.apps",
        "StatefulSet.apps",
        "Gateway.gateway.networking.k8s.io",
    ];
    let mut owners = owners(object).peekable();
    owners.peek().is_some()
        && owners.all(|owner| {
            let uid = owner["uid"].as_str().unwrap_or_default();
            let kind = Key::of(owner).group_kind();
            let lives_here = BUILT_IN.contains(&kind.as_str()) || namespaced.contains(&kind);
            gone.contains(uid) || (lives_here && !all.contains(uid))
        })
}

fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten()
}

fn uid(object: &Value) -> &str {
    object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default()
}

fn name(object: &Value) -> Option<&str> {
    object.pointer("/metadata/name").and_then(Value::as_str)
}

/// The account whose token a Secret is for.
fn token_of(object: &Value) -> Option<&str> {
    let annotations = object.pointer("/metadata/annotations")?;
    let account = annotations.get("kubernetes.io/service-account.name")?.as_str();
    account.filter(|_| object["kind"] == "Secret")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::object::PART_OF;
    use serde_json::json;

    const SET: &str = "set";

    fn object(api: &str, kind: &str, name: &str) -> Value {
        json!({ "apiVersion": api, "kind": kind,
            "metadata": { "name": name, "namespace": "n", "uid": format!("{kind}-{name}") } })
    }

    fn ours(api: &str, kind: &str, name: &str) -> Value {
        let mut object = object(api, kind, name);
        object["metadata"]["labels"][PART_OF] = json!(SET);
        object
    }

    fn owned_by(mut object: Value, api: &str, kind: &str, uid: &str) -> Value {
        object["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": api, "kind": kind, "uid": uid }]);
        object
    }

    fn found(objects: &[Value]) -> Vec<String> {
        foreign(objects, SET, &BTreeSet::new()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_goes_takes_what_it_owns_along() {
        let mut token = object("v1", "Secret", "istiod-token-x");
        token["metadata"]["annotations"]["kubernetes.io/service-account.name"] = json!("istiod");
        let objects = [
            ours("apps/v1", "Deployment", "istiod"),
            owned_by(
                object("apps/v1", "ReplicaSet", "istiod-1"),
                "apps/v1",
                "Deployment",
                "Deployment-istiod",
            ),
            owned_by(
                object("v1", "Pod", "istiod-1-a"),
                "apps/v1",
                "ReplicaSet",
                "ReplicaSet-istiod-1",
            ),
            ours("v1", "Service", "istiod"),
            object("v1", "Endpoints", "istiod"),
            owned_by(
                object("discovery.k8s.io/v1", "EndpointSlice", "istiod-x"),
                "v1",
                "Service",
                "Service-istiod",
            ),
            ours("v1", "ServiceAccount", "istiod"),
            token,
            object("v1", "ConfigMap", "kube-root-ca.crt"),
            object("v1", "ServiceAccount", "default"),
            object("v1", "ConfigMap", PARENT),
            object("coordination.k8s.io/v1", "Lease", PARENT),
        ];
        assert_eq!(found(&objects), [""; 0]);
    }

    #[test]
    fn what_somebody_put_there_is_found() {
        let objects = [
            ours("apps/v1", "Deployment", "istiod"),
            object("v1", "ConfigMap", "theirs"),
            object("v1", "Secret", "istio-remote-secret-old"),
            object("apps/v1", "Deployment", "their-gateway"),
            owned_by(
                object("apps/v1", "ReplicaSet", "their-gateway-1"),
                "apps/v1",
                "Deployment",
                "Deployment-their-gateway",
            ),
        ];
        assert_eq!(
            found(&objects),
            [
                "ConfigMap n/theirs",
                "Secret n/istio-remote-secret-old",
                "Deployment n/their-gateway",
            ]
        );
    }

    #[test]
    fn what_an_interrupted_teardown_left_is_on_its_way_out() {
        let pod =
            owned_by(object("v1", "Pod", "istiod-1-a"), "apps/v1", "ReplicaSet", "ReplicaSet-gone");
        assert_eq!(found(&[pod]), [""; 0]);
        let pod = owned_by(object("v1", "Pod", "static"), "v1", "Node", "Node-1");
        assert_eq!(found(&[pod]), ["Pod n/static"]);
    }

    #[test]
    fn what_goes_for_another_reason_is_not_foreign() {
        let lease = object("coordination.k8s.io/v1", "Lease", "istio-leader");
        let goes = BTreeSet::from([Key::of(&lease)]);
        assert_eq!(foreign(&[lease], SET, &goes), []);
    }
}
