//! What a teardown deletes in one cluster, in which order, and what it leaves and why.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::contents;
use super::object::{Key, annotation, group, is_applied_by, is_ours, label, set_id};

/// The order of deletion: nothing is left without what it needs while it is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Webhooks and admission policies: with their server gone they would block the rest.
    Webhooks,
    /// What runs, and the configuration that it follows.
    Workloads,
    /// Services, configuration, secrets, accounts.
    Foundation,
    /// Custom resource definitions.
    Definitions,
    /// Roles and their bindings.
    Rights,
    /// What istiod made, once it cannot make it again.
    Leftovers,
}

impl Stage {
    /// The stage in which a member of the apply set is deleted.
    pub(super) fn of(key: &Key) -> Self {
        match key.kind.as_str() {
            "MutatingWebhookConfiguration"
            | "ValidatingWebhookConfiguration"
            | "ValidatingAdmissionPolicy"
            | "ValidatingAdmissionPolicyBinding" => Self::Webhooks,
            "CustomResourceDefinition" => Self::Definitions,
            _ if matches!(key.group.as_str(), "apps" | "autoscaling" | "policy" | "batch") => {
                Self::Workloads
            }
            _ if key.group == "rbac.authorization.k8s.io" => Self::Rights,
            // Custom resources have to be gone before their definitions.
            _ if is_custom(&key.group) => Self::Workloads,
            _ => Self::Foundation,
        }
    }
}

/// Whether a group is one of custom resources.
fn is_custom(group: &str) -> bool {
    group.contains('.') && !group.ends_with(".k8s.io") || group == "gateway.networking.k8s.io"
}

/// An object that is deleted: this very one, not another one that may take its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// When it is deleted.
    pub stage: Stage,
    /// Which object it is.
    pub key: Key,
    /// Its group and version.
    pub api_version: String,
    /// Its UID.
    pub uid: String,
}

impl Target {
    /// The target of an object that is deleted in this stage.
    pub fn new(stage: Stage, object: &Value) -> Self {
        let text = |path| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        Self {
            stage,
            key: Key::of(object),
            api_version: text("/apiVersion").to_owned(),
            uid: text("/metadata/uid").to_owned(),
        }
    }
}

/// Why an object stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// These objects are the user's, and would be lost or broken without it.
    InUse(Vec<Key>),
    /// An Istio that somebody else installed works with it.
    OtherIstio(Key),
    /// The namespace holds these objects of somebody else.
    Holds(Vec<Key>),
    /// It was there before the tool.
    Foreign,
    /// What the namespace holds could not be told: these groups of the API did not answer.
    Unknown(Vec<String>),
}

/// Something that stays, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stay {
    /// The object.
    pub key: Key,
    /// Why it stays.
    pub reason: Reason,
}

/// What becomes of the namespace of the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Ground {
    /// There is nothing to do: it is not there, or bears no mark of the tool.
    #[default]
    Clean,
    /// It is deleted with everything in it.
    Delete,
    /// It stays, and loses the tool's labels.
    Release,
}

/// What a teardown does to one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    /// What is deleted, in order.
    pub targets: Vec<Target>,
    /// What becomes of the namespace.
    pub ground: Ground,
    /// Whether the apply set's parent is there. It goes last, as the proof of what else is ours.
    pub parent: bool,
    /// What stays.
    pub stays: Vec<Stay>,
    /// Pods with a sidecar that lose their control plane, by namespace.
    pub orphans: BTreeMap<String, usize>,
}

impl Removal {
    /// Whether there is nothing to do.
    pub fn is_nothing(&self) -> bool {
        self.targets.is_empty() && self.ground == Ground::Clean && !self.parent
    }

    /// How many objects are deleted.
    pub fn count(&self) -> usize {
        self.targets.len() + usize::from(self.parent) + usize::from(self.ground == Ground::Delete)
    }

    /// The members of the apply set that stay.
    pub fn kept(&self) -> BTreeSet<&Key> {
        self.stays.iter().map(|stay| &stay.key).collect()
    }
}

/// What was found in a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The field manager of everything that the tool applies.
    pub manager: &'a str,
    /// The namespace of the control plane.
    pub namespace: &'a str,
    /// The members of the apply set.
    pub ours: &'a BTreeMap<Key, Value>,
    /// The apply set's parent.
    pub parent: Option<&'a Value>,
    /// The namespace as an object.
    pub ground: Option<&'a Value>,
    /// The Deployments of istiod, whoever made them.
    pub istiods: &'a [Value],
    /// What our istiod made by itself, see [`super::leftover`].
    pub leftovers: &'a [Value],
    /// Objects that need a definition or class of ours or of our istiod, by its name.
    pub users: &'a BTreeMap<String, Vec<Value>>,
    /// Everything in the namespace.
    pub contents: &'a [Value],
    /// Groups of the API that did not tell what they hold in the namespace.
    pub unlisted: &'a [String],
    /// Pods in all namespaces, those without a sidecar as well.
    pub pods: &'a [Value],
}

/// Decides what goes and what stays.
pub fn decide(scene: &Scene<'_>) -> Removal {
    let id = set_id(scene.namespace);
    let others: Vec<&Value> = scene.istiods.iter().filter(|d| !is_ours(d, &id)).collect();
    let mut removal = Removal { parent: scene.parent.is_some(), ..Removal::default() };
    let members = scene.ours.iter().filter(|(key, _)| key.kind != "Namespace");
    let members = members.map(|(key, object)| (Stage::of(key), key.clone(), object));
    let leftovers = scene.leftovers.iter().filter(|_| others.is_empty());
    let leftovers = leftovers.map(|object| (Stage::Leftovers, Key::of(object), object));
    for (stage, key, object) in members.chain(leftovers) {
        match keep(scene, &others, &key) {
            Some(reason) => removal.stays.push(Stay { key, reason }),
            None => removal.targets.push(Target::new(stage, object)),
        }
    }
    removal.targets.sort_by(|a, b| (a.stage, &a.key).cmp(&(b.stage, &b.key)));
    removal.orphans = orphans(scene, &id);
    if let Some(ground) = scene.ground {
        let (fate, stay) = ground_fate(scene, ground, &removal);
        removal.ground = fate;
        removal.stays.extend(stay);
    }
    removal
}

/// Why something that could go has to stay, if it does.
fn keep(scene: &Scene<'_>, others: &[&Value], key: &Key) -> Option<Reason> {
    let is_definition = key.kind == "CustomResourceDefinition";
    let needing = others.iter().find(|other| match key.kind.as_str() {
        "CustomResourceDefinition" => true,
        "Secret" => key.name == "cacerts" && other["metadata"]["namespace"] == scene.namespace,
        _ => false,
    });
    if let Some(other) = needing {
        return Some(Reason::OtherIstio(Key::of(other)));
    }
    let users = scene.users.get(&key.name);
    let users = users.filter(|_| is_definition || key.kind == "GatewayClass")?;
    let theirs: Vec<Key> =
        users.iter().map(Key::of).filter(|key| !scene.ours.contains_key(key)).collect();
    (!theirs.is_empty()).then_some(Reason::InUse(theirs))
}

/// What becomes of the namespace, and why it stays if it does although the tool made it.
fn ground_fate(scene: &Scene<'_>, ground: &Value, removal: &Removal) -> (Ground, Option<Stay>) {
    let id = set_id(scene.namespace);
    let stay = |reason| Some(Stay { key: Key::of(ground), reason });
    if !is_ours(ground, &id) {
        if !is_applied_by(ground, scene.manager) {
            let there = removal.parent || !removal.targets.is_empty();
            return (Ground::Clean, if there { stay(Reason::Foreign) } else { None });
        }
        return (Ground::Release, stay(Reason::Foreign));
    }
    let goes: BTreeSet<Key> = removal.targets.iter().map(|target| target.key.clone()).collect();
    let mut holds = contents::foreign(scene.contents, &id, &goes);
    let kept = removal.stays.iter().map(|stay| &stay.key);
    holds.extend(kept.filter(|key| key.namespace == scene.namespace).cloned());
    if !holds.is_empty() {
        (Ground::Release, stay(Reason::Holds(holds)))
    } else if !scene.unlisted.is_empty() {
        (Ground::Release, stay(Reason::Unknown(scene.unlisted.to_vec())))
    } else {
        (Ground::Delete, None)
    }
}

/// Pods whose sidecar was injected by our istiod, by namespace; not those that go themselves.
fn orphans(scene: &Scene<'_>, id: &str) -> BTreeMap<String, usize> {
    let revisions: BTreeSet<&str> = scene
        .istiods
        .iter()
        .filter(|istiod| is_ours(istiod, id))
        .map(|istiod| label(istiod, "istio.io/rev").unwrap_or("default"))
        .collect();
    let mut orphans = BTreeMap::new();
    for pod in scene.pods {
        let Some(status) = annotation(pod, "sidecar.istio.io/status") else { continue };
        let status: Value = serde_json::from_str(status).unwrap_or_default();
        let revision = status["revision"].as_str().unwrap_or("default");
        if revisions.contains(revision) && !goes_itself(pod, scene.ours) {
            *orphans.entry(Key::of(pod).namespace).or_default() += 1;
        }
    }
    orphans
}

/// Whether a pod is of one of our workloads.
fn goes_itself(pod: &Value, ours: &BTreeMap<Key, Value>) -> bool {
    ours.values()
        .filter(|object| group(object) == "apps")
        .filter(|object| object["metadata"]["namespace"] == pod["metadata"]["namespace"])
        .filter_map(|object| object.pointer("/spec/selector/matchLabels")?.as_object())
        .any(|selector| selector.iter().all(|(key, value)| label(pod, key) == value.as_str()))
}

#[cfg(test)]
mod tests;
