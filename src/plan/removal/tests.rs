use serde_json::json;

use super::*;
use crate::plan::object::mark;

const NAMESPACE: &str = "istio-system";
const MANAGER: &str = "the-tool";

fn object(api: &str, kind: &str, namespace: &str, name: &str) -> Value {
    let mut object = json!({ "apiVersion": api, "kind": kind,
        "metadata": { "name": name, "uid": format!("{kind}/{name}") } });
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

fn ours(api: &str, kind: &str, namespace: &str, name: &str) -> Value {
    let mut object = object(api, kind, namespace, name);
    mark(&mut object, &set_id(NAMESPACE));
    object
}

#[derive(Default)]
struct Found {
    ours: BTreeMap<Key, Value>,
    parent: Option<Value>,
    ground: Option<Value>,
    istiods: Vec<Value>,
    leftovers: Vec<Value>,
    users: BTreeMap<String, Vec<Value>>,
    contents: Vec<Value>,
    unlisted: Vec<String>,
    pods: Vec<Value>,
}

impl Found {
    /// A cluster with one object of each stage.
    fn mesh() -> Self {
        let istiod = ours("apps/v1", "Deployment", NAMESPACE, "istiod");
        let ground = ours("v1", "Namespace", "", NAMESPACE);
        let members = [
            ground.clone(),
            istiod.clone(),
            ours("v1", "ConfigMap", NAMESPACE, "istio"),
            ours("networking.istio.io/v1", "Gateway", NAMESPACE, "cross-network-gateway"),
            ours("rbac.authorization.k8s.io/v1", "ClusterRole", "", "istiod"),
            ours(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                "",
                "gateways.networking.istio.io",
            ),
            ours(
                "admissionregistration.k8s.io/v1",
                "MutatingWebhookConfiguration",
                "",
                "istio-sidecar-injector",
            ),
        ];
        Self {
            ours: members.map(|o| (Key::of(&o), o)).into(),
            parent: Some(object("v1", "ConfigMap", NAMESPACE, "kubectl-multimesh")),
            ground: Some(ground),
            istiods: vec![istiod],
            leftovers: vec![object("v1", "ConfigMap", "demo", "istio-ca-root-cert")],
            ..Self::default()
        }
    }

    fn decide(&self) -> Removal {
        decide(&Scene {
            manager: MANAGER,
            namespace: NAMESPACE,
            ours: &self.ours,
            parent: self.parent.as_ref(),
            ground: self.ground.as_ref(),
            istiods: &self.istiods,
            leftovers: &self.leftovers,
            users: &self.users,
            contents: &self.contents,
            unlisted: &self.unlisted,
            pods: &self.pods,
        })
    }
}

fn names(removal: &Removal) -> Vec<&str> {
    removal.targets.iter().map(|target| target.key.name.as_str()).collect()
}

#[test]
fn everything_goes_in_an_order_that_blocks_nothing() {
    let removal = Found::mesh().decide();
    assert_eq!(
        names(&removal),
        [
            "istio-sidecar-injector",
            "istiod",
            "cross-network-gateway",
            "istio",
            "gateways.networking.istio.io",
            "istiod",
            "istio-ca-root-cert",
        ]
    );
    assert_eq!(removal.ground, Ground::Delete);
    assert_eq!(removal.count(), 9);
    assert_eq!(removal.stays, []);
    assert!(removal.targets.iter().all(|target| !target.uid.is_empty()));
}

#[test]
fn nothing_is_left_of_a_cluster_that_is_clean() {
    assert!(Found::default().decide().is_nothing());
    let ground = object("v1", "Namespace", "", NAMESPACE);
    assert_eq!(Found { ground: Some(ground), ..Found::default() }.decide(), Removal::default());
}

#[test]
fn a_definition_with_objects_of_the_user_stays_alone() {
    let mut found = Found::mesh();
    let definition = "gateways.networking.istio.io";
    let gateway =
        |namespace: &str, name: &str| object("networking.istio.io/v1", "Gateway", namespace, name);
    found.users.insert(definition.into(), vec![gateway(NAMESPACE, "cross-network-gateway")]);
    assert!(names(&found.decide()).contains(&definition), "the tool's own object keeps nothing");
    found.users.get_mut(definition).unwrap().push(gateway("shop", "front"));
    let removal = found.decide();
    assert!(!names(&removal).contains(&definition));
    assert!(names(&removal).contains(&"cross-network-gateway"));
    let keys = vec![Key::of(&gateway("shop", "front"))];
    assert_eq!(removal.stays[0].reason, Reason::InUse(keys));
    assert_eq!(removal.ground, Ground::Delete, "the definition is not in the namespace");
}

#[test]
fn a_namespace_with_foreign_objects_stays_and_is_released() {
    let mut found = Found::mesh();
    found.contents = vec![
        ours("v1", "ConfigMap", NAMESPACE, "istio"),
        object("v1", "ConfigMap", NAMESPACE, "kubectl-multimesh"),
        object("v1", "Secret", NAMESPACE, "theirs"),
    ];
    let removal = found.decide();
    assert_eq!(removal.ground, Ground::Release);
    let holds = vec![Key::of(&found.contents[2])];
    assert_eq!(
        removal.stays,
        [Stay { key: Key::of(found.ground.as_ref().unwrap()), reason: Reason::Holds(holds) }]
    );
    found.contents.pop();
    found.unlisted.push("metrics.k8s.io/v1beta1".into());
    assert_eq!(found.decide().ground, Ground::Release, "what cannot be seen may be there");
}

#[test]
fn a_namespace_of_somebody_else_loses_only_our_label() {
    let mut found = Found::mesh();
    let mut ground = object("v1", "Namespace", "", NAMESPACE);
    found.ours.remove(&Key::of(&ground));
    found.ground = Some(ground.clone());
    assert_eq!(found.decide().ground, Ground::Clean, "somebody else's network label is theirs");
    ground["metadata"]["managedFields"] = json!([{ "manager": MANAGER, "operation": "Apply" }]);
    found.ground = Some(ground);
    let removal = found.decide();
    assert_eq!(removal.ground, Ground::Release);
    assert_eq!(removal.stays[0].reason, Reason::Foreign);
}

#[test]
fn what_another_istio_needs_stays() {
    let mut found = Found::mesh();
    let cacerts = ours("v1", "Secret", NAMESPACE, "cacerts");
    found.ours.insert(Key::of(&cacerts), cacerts);
    found.istiods.push(object("apps/v1", "Deployment", "other", "istiod"));
    let removal = found.decide();
    assert!(names(&removal).contains(&"cacerts"));
    assert!(!names(&removal).contains(&"gateways.networking.istio.io"));
    assert!(!names(&removal).contains(&"istio-ca-root-cert"));
    found.istiods[1]["metadata"]["namespace"] = json!(NAMESPACE);
    let removal = found.decide();
    assert!(!names(&removal).contains(&"cacerts"));
    assert_eq!(removal.ground, Ground::Release);
}

#[test]
fn sidecars_of_the_users_lose_their_control_plane() {
    let pod = |namespace: &str, app: &str, revision: &str| {
        let mut pod = object("v1", "Pod", namespace, app);
        pod["metadata"]["labels"]["app"] = json!(app);
        pod["metadata"]["annotations"]["sidecar.istio.io/status"] =
            json!(format!("{{\"revision\":\"{revision}\"}}"));
        pod
    };
    let mut found = Found::mesh();
    let mut gateway = ours("apps/v1", "Deployment", NAMESPACE, "eastwest");
    gateway["spec"]["selector"]["matchLabels"]["app"] = json!("eastwest");
    found.ours.insert(Key::of(&gateway), gateway);
    found.pods = vec![
        pod("demo", "a", "default"),
        pod("demo", "b", "default"),
        pod("shop", "c", "canary"),
        pod(NAMESPACE, "eastwest", "default"),
        object("v1", "Pod", "demo", "plain"),
    ];
    assert_eq!(found.decide().orphans, BTreeMap::from([("demo".to_owned(), 2)]));
}

#[test]
fn what_remains_without_its_parent_still_goes() {
    let mut found = Found::mesh();
    found.parent = None;
    found.ground = None;
    found.istiods.clear();
    let removal = found.decide();
    assert_eq!(removal.targets.len(), 7);
    assert!(!removal.is_nothing());
}
