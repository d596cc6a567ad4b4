//! Versions as they were found: data alone, which `ui` prints and other programs read.
//! `docs/version-json.md` describes the fields for them.

use std::path::PathBuf;

use serde::Serialize;

/// The kind of document.
pub const KIND: &str = "Versions";

/// What runs here and there, and whether it goes together.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// The version of the format; a field is never renamed or removed within one.
    pub api_version: &'static str,
    /// [`KIND`].
    pub kind: &'static str,
    /// This program.
    pub tool: Tool,
    /// The istioctl that an apply would render with.
    pub istioctl: IstioctlVersion,
    /// The mesh whose contexts were asked; `None` where it was the kubeconfig's, or nobody.
    pub mesh_id: Option<String>,
    /// The clusters that were asked, in the order of the topology or the kubeconfig.
    pub clusters: Vec<ClusterVersions>,
}

/// This program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// Its version.
    pub version: &'static str,
    /// Its file, where the system tells.
    pub path: Option<PathBuf>,
}

/// The istioctl that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IstioctlVersion {
    /// Whether it can be used.
    pub state: IstioctlState,
    /// Why it cannot.
    pub reason: Option<String>,
    /// What to do about that.
    pub hints: Vec<String>,
    /// Its version, as it tells it.
    pub version: Option<String>,
    /// Its file.
    pub path: Option<PathBuf>,
}

/// Whether an istioctl can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum IstioctlState {
    /// It can.
    Ok,
    /// Its version is not worked with any more.
    TooOld,
    /// There is none.
    Missing,
    /// It does not run, or does not tell a version.
    NotUsable,
}

/// What one cluster runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterVersions {
    /// The kubeconfig context.
    pub context: String,
    /// The API server, as the kubeconfig has it.
    pub server: String,
    /// Whether its versions go together.
    pub state: Combination,
    /// Why they do not, or why that is not known.
    pub reason: Option<String>,
    /// What to do about that.
    pub hints: Vec<String>,
    /// The version of its API server.
    pub kubernetes: Option<String>,
    /// The version of its control plane; several, separated by commas, during an upgrade or with
    /// several control planes.
    pub istio: Option<String>,
    /// By how many minor versions the istioctl that was found is newer than that control plane;
    /// negative where it is older. Of several the one that is furthest away.
    pub istioctl_ahead: Option<i64>,
}

/// Whether the Kubernetes and the Istio of a cluster go together. Those that come later are worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Combination {
    /// Istio says that they do.
    Supported,
    /// One of them is newer than those that are known to.
    NewerThanTested,
    /// One of them is too old.
    TooOld,
    /// There is no istiod in it.
    NoIstio,
    /// Which Istio it runs could not be told.
    Unknown,
    /// It is not the cluster that the context was at the last apply, or trusts another CA than then,
    /// so that nothing was sent to it.
    OtherCluster,
    /// It did not answer, or refused.
    Unreachable,
}

impl Combination {
    /// Whether the cluster told its versions.
    pub const fn answered(self) -> bool {
        !matches!(self, Self::OtherCluster | Self::Unreachable)
    }
}
