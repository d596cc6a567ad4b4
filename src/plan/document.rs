//! An outline as a document for other programs; `docs/plan-json.md` describes the fields for them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::diff::{Diff, Extent, diff};
use super::object::{Key, PARENT};
use super::outline::{
    CertificateChange, Changes, ClusterOutline, Leaving, ObjectChange, Outline, Standing, Verb,
};
use super::redact::Redactor;
use super::removal::{Ground, Reason, Removal, Stay};
use super::tally::{Links, Objects, Tally};

/// The version of the format; a field is never renamed or removed within one.
pub const API_VERSION: &str = "multimesh/v1";
/// The kind of document.
pub const KIND: &str = "MeshPlan";

/// What an apply would do to a mesh. The same outline gives the same document.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshPlan {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// [`KIND`].
    pub kind: &'static str,
    /// The mesh ID.
    pub mesh_id: String,
    /// The version of Istio.
    pub istio: String,
    /// Whether an apply would change anything.
    pub changes: bool,
    /// Whether it would delete or take over something, which it asks about first.
    pub needs_consent: bool,
    /// The subject of the root CA, where it has to be made.
    pub new_root: Option<String>,
    /// The figures of the whole mesh.
    pub summary: Tally,
    /// The clusters in the order of the topology, then those that leave.
    pub clusters: Vec<ClusterPlan>,
}

/// What an apply would do to one cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPlan {
    /// The kubeconfig context.
    pub context: String,
    /// The Istio cluster name.
    pub cluster: String,
    /// The network.
    pub network: String,
    /// The namespace of the control plane.
    pub namespace: String,
    /// The API server.
    pub server: String,
    /// What is wanted with it.
    pub standing: ClusterStanding,
    /// Whether an apply would change anything there.
    pub changes: bool,
    /// Its figures.
    pub summary: ClusterSummary,
    /// What becomes of its intermediate CA.
    pub certificate: Option<CertificateChange>,
    /// The objects that change, links among them, sorted.
    pub objects: Vec<ObjectPlan>,
    /// How many objects stay as they are.
    pub unchanged: usize,
    /// How it leaves.
    pub leaving: Option<LeavingPlan>,
    /// Why nothing is known of it.
    pub reason: Option<String>,
    /// What to do about it.
    pub hints: Vec<String>,
}

/// Figures of one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSummary {
    /// The objects, but for links.
    pub objects: Objects,
    /// The remote secrets.
    pub links: Links,
    /// The objects of its control plane that are deleted, where it leaves.
    pub deletes: usize,
    /// The changes that the API server would refuse.
    pub refused: usize,
}

/// What is wanted with a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ClusterStanding {
    /// It is, or becomes, a member of the mesh.
    Member,
    /// It was deleted from the topology.
    Leaver,
    /// It could not be looked at, stopped answering, or may not be written to.
    Unknown,
}

/// An object that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectPlan {
    /// What happens.
    pub verb: Verb,
    /// Which object it is.
    #[serde(flatten)]
    pub object: ObjectName,
    /// The cluster that it links, where it is a remote secret.
    pub link: Option<String>,
    /// Why the API server would not take it.
    pub refusal: Option<String>,
    /// A unified diff of its YAML.
    pub diff: Option<String>,
    /// Why there is no diff.
    pub diff_note: Option<DiffNote>,
}

/// Why there is no diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DiffNote {
    /// It is long, and all of it comes or goes.
    Folded,
    /// Nothing but the record of what was applied changes.
    RecordOnly,
    /// Nothing that people would look at changes.
    NoFields,
    /// Its content is made only when it is applied.
    Pending,
}

/// An object by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectName {
    /// Its group and version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; none for cluster-scoped objects.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// How a cluster leaves.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeavingPlan {
    /// The clusters that it holds remote secrets for.
    pub links: Vec<String>,
    /// Whether the token that its peers hold is revoked.
    pub revokes: bool,
    /// What is removed of its control plane; none where that is kept.
    pub removal: Option<RemovalPlan>,
}

/// What is removed of a control plane.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RemovalPlan {
    /// What becomes of the namespace.
    pub namespace: Ground,
    /// What is deleted, sorted.
    pub deletes: Vec<ObjectName>,
    /// What stays; sorted.
    pub stays: Vec<StayPlan>,
    /// Pods with a sidecar that lose their control plane, by namespace.
    pub orphans: BTreeMap<String, usize>,
}

/// An object that stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StayPlan {
    /// Its group, empty for the core.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; none for cluster-scoped objects.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Why it stays.
    pub reason: StayReason,
}

/// Why an object stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StayReason {
    /// Objects of the user need it.
    InUse,
    /// An Istio that somebody else installed works with it.
    OtherIstio,
    /// It holds objects of somebody else.
    Holds,
    /// It was there before the tool.
    Foreign,
    /// What it holds could not be told.
    Unknown,
}

impl MeshPlan {
    /// The document of an outline.
    pub fn of(outline: &Outline) -> Self {
        Self {
            api_version: API_VERSION,
            kind: KIND,
            mesh_id: outline.mesh_id.clone(),
            istio: outline.istio.clone(),
            changes: !outline.is_nothing(),
            needs_consent: outline.needs_consent(),
            new_root: outline.new_root.clone(),
            summary: Tally::of(outline),
            clusters: outline.clusters.iter().map(ClusterPlan::of).collect(),
        }
    }
}

impl ClusterPlan {
    fn of(outline: &ClusterOutline) -> Self {
        let Tally { objects, links, deletes, refused, .. } = Tally::of_cluster(outline);
        let mut plan = Self {
            context: outline.context.clone(),
            cluster: outline.cluster.clone(),
            network: outline.network.clone(),
            namespace: outline.namespace.clone(),
            server: outline.server.clone(),
            standing: ClusterStanding::Member,
            changes: !outline.is_nothing(),
            summary: ClusterSummary { objects, links, deletes, refused },
            certificate: None,
            objects: Vec::new(),
            unchanged: 0,
            leaving: None,
            reason: None,
            hints: Vec::new(),
        };
        match &outline.standing {
            Standing::Member(changes) => {
                let objects = changes.objects.iter().map(|object| ObjectPlan::of(changes, object));
                plan.certificate = changes.certificate;
                plan.objects = sorted(objects, |object| object.object.clone());
                plan.unchanged = changes.unchanged;
            }
            Standing::Leaver(leaving) => {
                plan.standing = ClusterStanding::Leaver;
                plan.leaving = Some(LeavingPlan::of(leaving, &outline.namespace));
            }
            Standing::Unknown { reason, hints } => {
                plan.standing = ClusterStanding::Unknown;
                plan.reason = Some(reason.clone());
                plan.hints.clone_from(hints);
            }
        }
        plan
    }
}

impl ObjectPlan {
    fn of(changes: &Changes, change: &ObjectChange) -> Self {
        let shown = diff(changes, change, Extent::Folded);
        let note = match shown {
            Diff::Lines(_) => None,
            Diff::Folded(_) => Some(DiffNote::Folded),
            Diff::Record => Some(DiffNote::RecordOnly),
            Diff::Nothing => Some(DiffNote::NoFields),
            Diff::Pending => Some(DiffNote::Pending),
        };
        Self {
            verb: change.verb,
            object: ObjectName::of(&change.key, &change.api_version),
            link: change.link.clone(),
            refusal: refusal(change),
            diff: note.is_none().then(|| format!("{shown}\n")),
            diff_note: note,
        }
    }
}

/// Why the API server would not take an object, without the values of a Secret.
pub fn refusal(change: &ObjectChange) -> Option<String> {
    change.refusal.as_deref().map(|refusal| Redactor::of(change).text(refusal))
}

impl ObjectName {
    fn of(key: &Key, api_version: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: key.kind.clone(),
            namespace: namespace(key),
            name: key.name.clone(),
        }
    }
}

impl LeavingPlan {
    fn of(leaving: &Leaving, namespace: &str) -> Self {
        Self {
            links: sorted(leaving.links.iter().cloned(), String::clone),
            revokes: leaving.revokes,
            removal: leaving.removal.as_ref().map(|removal| RemovalPlan::of(removal, namespace)),
        }
    }
}

impl RemovalPlan {
    fn of(removal: &Removal, namespace: &str) -> Self {
        let core = |kind: &str, namespace: Option<&str>, name: &str| ObjectName {
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        };
        let ground = (removal.ground == Ground::Delete).then(|| core("Namespace", None, namespace));
        let parent = removal.parent.then(|| core("ConfigMap", Some(namespace), PARENT));
        let deletes = removal
            .targets
            .iter()
            .map(|target| ObjectName::of(&target.key, &target.api_version))
            .chain(ground)
            .chain(parent);
        Self {
            namespace: removal.ground.clone(),
            deletes: sorted(deletes, ObjectName::clone),
            stays: sorted(removal.stays.iter().map(StayPlan::of), StayPlan::clone),
            orphans: removal.orphans.clone(),
        }
    }
}

impl StayPlan {
    fn of(stay: &Stay) -> Self {
        Self {
            group: stay.key.group.clone(),
            kind: stay.key.kind.clone(),
            namespace: namespace(&stay.key),
            name: stay.key.name.clone(),
            reason: match stay.reason {
                Reason::InUse(_) => StayReason::InUse,
                Reason::OtherIstio(_) => StayReason::OtherIstio,
                Reason::Holds(_) => StayReason::Holds,
                Reason::Foreign => StayReason::Foreign,
                Reason::Unknown(_) => StayReason::Unknown,
            },
        }
    }
}

fn namespace(key: &Key) -> Option<String> {
    Some(&key.namespace).filter(|namespace| !namespace.is_empty()).cloned()
}

fn sorted<T, K: Ord>(items: impl Iterator<Item = T>, key: impl FnMut(&T) -> K) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_by_key(key);
    items
}
