//! A mesh as it was found: data alone, which `ui` prints and other programs read.
//! `docs/status-json.md` describes the fields for them.

use jiff::Timestamp;
use serde::Serialize;

use crate::istio::istiod::SyncStatus;

/// The version of the format; a field is never renamed or removed within one.
pub const API_VERSION: &str = "multimesh/v1";
/// The kind of document.
pub const KIND: &str = "MeshStatus";

/// A mesh as it was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshStatus {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// [`KIND`].
    pub kind: &'static str,
    /// When the last cluster had answered.
    pub observed_at: Timestamp,
    /// The mesh ID.
    pub mesh_id: String,
    /// Whether everything is as it should be.
    pub verdict: Verdict,
    /// The figures in one place.
    pub summary: Summary,
    /// The root CA that clusters are compared with.
    pub root: Option<Root>,
    /// The networks, sorted.
    pub networks: Vec<String>,
    /// The clusters that were looked at, in the order of the topology.
    pub clusters: Vec<ClusterStatus>,
    /// Every link that there should be among them.
    pub links: Vec<LinkStatus>,
    /// Contexts of the topology that were not looked at.
    pub left_out: Vec<String>,
    /// What is wrong, or worth knowing; the worst first.
    pub findings: Vec<Finding>,
}

/// Whether a mesh is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// There is no problem; there may be warnings.
    Healthy,
    /// There is a problem.
    Degraded,
}

/// Figures of the whole mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Clusters that were looked at.
    pub clusters: usize,
    /// Those of them that answered, and are the ones that they were.
    pub reachable: usize,
    /// Control planes of which all replicas are ready.
    pub control_planes_ready: usize,
    /// The links.
    pub links: Tally,
    /// Findings that make the mesh degraded.
    pub problems: usize,
    /// Findings that may become a problem.
    pub warnings: usize,
}

/// How many of what should be there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Those that are.
    pub up: usize,
    /// Those that should be.
    pub expected: usize,
}

/// A root CA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    /// Its subject.
    pub subject: String,
    /// SHA-256 of its certificate, in hexadecimal.
    pub fingerprint: String,
    /// Its last second.
    pub not_after: Timestamp,
    /// Whole days until then.
    pub days_left: i64,
    /// Whether it is the one in the mesh directory; else it was found in a cluster.
    pub local: bool,
}

/// A cluster as it was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The kubeconfig context.
    pub context: String,
    /// The Istio cluster name.
    pub cluster: String,
    /// The network.
    pub network: String,
    /// The namespace of the control plane.
    pub namespace: String,
    /// The API server, as the kubeconfig has it.
    pub server: String,
    /// `managed` or `existing`.
    pub control_plane: String,
    /// Whether it could be looked at.
    pub state: ClusterState,
    /// Why it could not.
    pub reason: Option<String>,
    /// The UID of its `kube-system`.
    pub uid: Option<String>,
    /// The version of its API server.
    pub kubernetes: Option<String>,
    /// The version of its control plane; several, separated by commas, during an upgrade.
    pub istio: Option<String>,
    /// Its control plane; `None` where it is not known.
    pub istiod: Option<Istiod>,
    /// Its east-west gateway; `None` where it is not known, or not needed.
    pub gateway: Option<Gateway>,
    /// Its certificate authority.
    pub trust: Trust,
    /// The links by which it reads others.
    pub links: Tally,
}

/// Whether a cluster could be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ClusterState {
    /// It answered, and is in the mesh.
    Member,
    /// It answered, and was never applied.
    NotApplied,
    /// It is not the cluster that the context was at the last apply, or trusts another CA than then,
    /// so that nothing was sent to it.
    OtherCluster,
    /// It did not answer, or refused.
    Unreachable,
}

/// A control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Istiod {
    /// Replicas that are ready, of the latest generation.
    pub ready: i64,
    /// Replicas that there should be.
    pub wanted: i64,
    /// The replicas that were asked.
    pub replicas: Vec<ReplicaStatus>,
}

/// A ready replica of istiod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// Its pod.
    pub pod: String,
    /// The version that it was built as.
    pub version: Option<String>,
    /// When the CA with which it signs ends.
    pub ca_not_after: Option<Timestamp>,
}

/// An east-west gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// The IPs or hostnames under which other networks reach it.
    pub addresses: Vec<String>,
    /// Replicas that are ready.
    pub ready: i64,
    /// Replicas that there should be.
    pub wanted: i64,
    /// What it lacks, shortly.
    pub missing: Option<String>,
}

/// The certificate authority of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trust {
    /// Whether the other clusters can trust it.
    pub state: TrustState,
    /// SHA-256 of its first root, in hexadecimal.
    pub root: Option<String>,
    /// The last second of its intermediate.
    pub not_after: Option<Timestamp>,
    /// Whole days until then.
    pub days_left: Option<i64>,
}

/// Whether the other clusters can trust a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TrustState {
    /// Its intermediate comes from the mesh's root.
    Ok,
    /// There is no Secret `cacerts`: istiod signs with a root of its own.
    NoCacerts,
    /// Its root is another one than the mesh's.
    OtherRoot,
    /// Its intermediate is past its end.
    Expired,
    /// Its `cacerts` is damaged, or does not lead to its root.
    NotUsable,
    /// istiod does not sign with what is in `cacerts`.
    NotLoaded,
    /// It could not be read.
    Unknown,
}

/// One cluster's reading of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkStatus {
    /// The context of the cluster that reads.
    pub from: String,
    /// The context of the cluster that is read.
    pub to: String,
    /// Whether it works.
    pub state: LinkState,
    /// Why it does not, or why that is not known.
    pub reason: Option<String>,
    /// The word of the reader's istiod, the worst of its replicas.
    pub istiod: Option<SyncStatus>,
    /// The Secret in the reader that holds the credential.
    pub secret: Option<String>,
    /// What the API server that is read says of the credential.
    pub token: TokenState,
}

/// Whether a link works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LinkState {
    /// Every ready replica of istiod has read the other cluster, with a credential that is valid
    /// as far as that could be asked.
    Up,
    /// It does not work.
    Down,
    /// There was nobody to ask.
    Unknown,
}

/// What the API server that is read says of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TokenState {
    /// It is accepted.
    Valid,
    /// It is not accepted.
    Refused,
    /// It was not asked: there is none, the user may not ask, or the server did not answer.
    Unchecked,
}

/// Something that is wrong, or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was checked: the same word in every version.
    pub check: Check,
    /// The context that it is about, unless it is about several.
    pub context: Option<String>,
    /// A sentence.
    pub message: String,
    /// What to do next.
    pub hints: Vec<String>,
}

impl Finding {
    /// A finding without hints.
    pub(super) fn new(
        level: Level,
        check: Check,
        context: Option<&str>,
        message: impl Into<String>,
    ) -> Self {
        let context = context.map(str::to_owned);
        Self { level, check, context, message: message.into(), hints: Vec::new() }
    }

    /// Adds what to do next.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// The mesh is degraded.
    Problem,
    /// It may become a problem.
    Warning,
    /// Worth knowing.
    Note,
}

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// The cluster answers.
    Reachable,
    /// The context is the cluster that it was, and no other context is the same one.
    Identity,
    /// The cluster is in this mesh, under its name and network.
    Membership,
    /// Everything could be read.
    Rights,
    /// Kubernetes is one that Istio supports.
    KubernetesVersion,
    /// All clusters run the same Istio.
    IstioVersion,
    /// The control plane is ready.
    Istiod,
    /// The east-west gateway is ready, and open.
    Gateway,
    /// The clusters trust each other.
    Trust,
    /// The mesh's root CA is at hand.
    Root,
    /// The clusters read each other.
    Link,
    /// The remote secrets are as they should be.
    RemoteSecret,
    /// The credentials of links could be asked about.
    Token,
    /// All of the mesh was looked at.
    Selection,
}
