//! What is in a cluster before anything is written there: one look, all questions at once.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::time::Instant;

use super::fleet;
use crate::istio::remote_secret;
use crate::kube::{Cluster, Error, FIELD_MANAGER, KubernetesVersion, ResourceId};
use crate::plan::compare::{LARGE, is_on_record};
use crate::plan::lease;
use crate::plan::object::{GROUP_KINDS, Key, PARENT, annotation, member_selector, set_id};

/// The kinds that the tool's objects are of; others are found through the apply set's parent.
const KINDS: [(&str, &str); 17] = [
    ("v1", "Namespace"),
    ("v1", "ServiceAccount"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "DaemonSet"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("networking.istio.io/v1", "Gateway"),
];

/// A cluster as it was found.
#[derive(Clone)]
pub struct Observed {
    /// When the look began.
    pub at: Instant,
    /// The UID of `kube-system`: the cluster's identity.
    pub uid: String,
    /// The API server's version.
    pub kubernetes: KubernetesVersion,
    /// The members of the tool's apply set.
    pub ours: BTreeMap<Key, Value>,
    /// The apply set's parent.
    pub parent: Option<Value>,
    /// The namespace of the control plane.
    pub namespace: Option<Value>,
    /// The `cacerts` Secret, whoever made it.
    pub cacerts: Option<Value>,
    /// The Deployments of istiod in all namespaces, whoever made them.
    pub istiods: Vec<Value>,
    /// The remote secrets in the namespace, whoever made them.
    pub remote_secrets: Vec<Value>,
    /// The Lease of a run that works on the cluster, or was killed.
    pub lease: Option<Value>,
}

impl Observed {
    /// An object that an apply may write, as it is. What is large is known by its metadata alone, where
    /// that is enough.
    pub fn live(&self, key: &Key) -> Option<&Value> {
        let beside = || [&self.namespace, &self.parent].into_iter().flatten();
        self.ours.get(key).or_else(|| beside().find(|object| Key::of(object) == *key))
    }

    /// The mesh that the cluster belongs to already, by the apply set's parent.
    pub fn mesh_id(&self) -> Option<&str> {
        self.parent.as_ref()?.pointer("/data/mesh_id")?.as_str()
    }
}

/// Looks at a cluster.
pub(super) async fn observe(cluster: &Cluster, namespace: &str) -> Result<Observed, Error> {
    let at = Instant::now();
    let id = set_id(namespace);
    let parent = ResourceId::namespaced("v1", "ConfigMap", namespace, PARENT);
    let selector = format!("{}=true", remote_secret::LABEL);
    let held = ResourceId::namespaced(lease::API_VERSION, "Lease", namespace, lease::NAME);
    let (uid, version, parent, istiods, remote_secrets, lease, ours) = futures::try_join!(
        cluster.uid(),
        cluster.version(),
        cluster.get(&parent),
        cluster.list("apps/v1", "Deployment", None, Some("app=istiod")),
        cluster.list("v1", "Secret", Some(namespace), Some(&selector)),
        cluster.get(&held),
        members(cluster, &id, &KINDS),
    )?;
    // Where the record of who wrote what is not the tool's alone, their content is compared as well;
    // without the parent it tells whose they are.
    let is_told = |kind: &str| {
        let mut objects = ours.values().filter(|object| object["kind"] == kind);
        match &parent {
            Some(_) => objects.all(|object| is_on_record(object, FIELD_MANAGER)),
            None => objects.next().is_none(),
        }
    };
    let untold = KINDS.into_iter().filter(|(_, kind)| LARGE.contains(kind) && !is_told(kind));
    let selector = member_selector(&id);
    let whole =
        untold.map(|(api_version, kind)| cluster.list(api_version, kind, None, Some(&selector)));
    let (others, whole, ns, cacerts) = futures::try_join!(
        members_of_other_kinds(cluster, &id, parent.as_ref()),
        fleet::try_all(LARGE.len(), whole.collect::<Vec<_>>()),
        find(cluster, &ours, ResourceId::cluster("v1", "Namespace", namespace)),
        find(cluster, &ours, ResourceId::namespaced("v1", "Secret", namespace, "cacerts")),
    )?;
    let mut ours = ours;
    ours.extend(others);
    ours.extend(whole.into_iter().flatten().map(|object| (Key::of(&object), object)));
    Ok(Observed {
        at,
        uid: uid.to_owned(),
        kubernetes: version,
        ours,
        parent,
        namespace: ns,
        cacerts,
        istiods,
        remote_secrets,
        lease,
    })
}

/// Finds an object among those that were listed, and where it is somebody else's, or not there, by
/// asking.
async fn find(
    cluster: &Cluster,
    listed: &BTreeMap<Key, Value>,
    id: ResourceId,
) -> Result<Option<Value>, Error> {
    match listed.get(&id.key()) {
        Some(object) => Ok(Some(object.clone())),
        None => cluster.get(&id).await,
    }
}

/// Lists the members of an apply set that are of these kinds, each `(apiVersion, kind)`.
pub(super) async fn members(
    cluster: &Cluster,
    set_id: &str,
    kinds: &[(&str, &str)],
) -> Result<BTreeMap<Key, Value>, Error> {
    let selector = member_selector(set_id);
    let lists: Vec<BoxFuture<'_, Result<Vec<Value>, Error>>> = kinds
        .iter()
        .map(|&(api_version, kind)| {
            if LARGE.contains(&kind) {
                cluster.list_metadata(api_version, kind, None, Some(&selector)).boxed()
            } else {
                cluster.list(api_version, kind, None, Some(&selector)).boxed()
            }
        })
        .collect();
    let lists = fleet::try_all(kinds.len(), lists).await?;
    Ok(lists.into_iter().flatten().map(|object| (Key::of(&object), object)).collect())
}

/// Members of kinds that only the parent knows of: from an overlay of the user, or from a version
/// of the tool that made others.
async fn members_of_other_kinds(
    cluster: &Cluster,
    set_id: &str,
    parent: Option<&Value>,
) -> Result<BTreeMap<Key, Value>, Error> {
    let recorded = parent.and_then(|p| annotation(p, GROUP_KINDS)).unwrap_or_default();
    let known: BTreeSet<String> = KINDS.iter().map(|(api, kind)| group_kind(api, kind)).collect();
    let others = recorded.split(',').filter(|gk| !gk.is_empty() && !known.contains(*gk));
    let mut found = BTreeMap::new();
    for group_kind in others {
        let (kind, group) = group_kind.split_once('.').unwrap_or((group_kind, ""));
        let Some(api_version) = cluster.preferred_version(group).await? else { continue };
        found.extend(members(cluster, set_id, &[(&api_version, kind)]).await?);
    }
    Ok(found)
}

/// Whether objects of a kind, as apply sets write it, are found without the apply set's parent.
pub(super) fn is_listed(kind: &str) -> bool {
    KINDS.iter().any(|(api_version, name)| group_kind(api_version, name) == kind)
}

fn group_kind(api_version: &str, kind: &str) -> String {
    match api_version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}"),
        None => kind.to_owned(),
    }
}
