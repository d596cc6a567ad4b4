//! What an apply would do to a mesh: data alone, which an apply carries out and which `ui` shows.

use std::sync::Arc;

use std::fmt;

use serde::Serialize;
use serde_json::Value;

pub use super::change::Verb;
use super::object::Key;
use super::removal::Removal;

/// What an apply would do to a mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// The mesh ID.
    pub mesh_id: String,
    /// The version of Istio.
    pub istio: String,
    /// The subject of the root CA, where it has to be made.
    pub new_root: Option<String>,
    /// The clusters in the order of the topology, then those that leave.
    pub clusters: Vec<ClusterOutline>,
}

/// What an apply would do to one cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterOutline {
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
    /// What is known of it and wanted with it.
    pub standing: Standing,
}

/// What is wanted with a cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It is, or becomes, a member of the mesh.
    Member(Changes),
    /// It was deleted from the topology and leaves.
    Leaver(Leaving),
    /// It could not be looked at, stopped answering, or may not be written to; it keeps what it has.
    Unknown {
        /// Why.
        reason: String,
        /// What to do about it.
        hints: Vec<String>,
    },
}

/// What changes in a member.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// The intermediate CA, where it is issued, renewed or taken over.
    pub certificate: Option<CertificateChange>,
    /// The objects that change, in the order of the apply, links among them.
    pub objects: Vec<ObjectChange>,
    /// How many objects stay as they are.
    pub unchanged: usize,
}

/// What becomes of the intermediate CA of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CertificateChange {
    /// The cluster has none.
    Issue,
    /// It is due, or over.
    Renew,
    /// The mesh directory has none, or an older one: the cluster's own is stored there.
    Store,
}

/// An object that changes. Its content may be secret.
#[derive(Clone, PartialEq)]
pub struct ObjectChange {
    /// What happens.
    pub verb: Verb,
    /// Which object it is.
    pub key: Key,
    /// Its group and version.
    pub api_version: String,
    /// The cluster that it links, where it is a remote secret.
    pub link: Option<String>,
    /// The object as it is; none where it is created.
    pub before: Option<Value>,
    /// The object as it would be; none where it is pruned, and for a link whose token is not made yet.
    pub after: Option<Arc<Value>>,
    /// Why the API server would not take it, where it was asked.
    pub refusal: Option<String>,
}

/// How a cluster leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaving {
    /// The clusters that it holds remote secrets for.
    pub links: Vec<String>,
    /// Whether the token that its peers hold is there to be revoked.
    pub revokes: bool,
    /// What is removed of its control plane; none where that is kept.
    pub removal: Option<Removal>,
}

impl Outline {
    /// Whether an apply would change nothing.
    pub fn is_nothing(&self) -> bool {
        self.new_root.is_none() && self.clusters.iter().all(ClusterOutline::is_nothing)
    }

    /// Whether an apply would delete or take over something, which it asks about first.
    pub fn needs_consent(&self) -> bool {
        self.clusters.iter().any(|cluster| match &cluster.standing {
            Standing::Member(changes) => changes.objects.iter().any(ObjectChange::needs_consent),
            Standing::Leaver(leaving) => leaving.removal.as_ref().is_some_and(|r| !r.is_nothing()),
            Standing::Unknown { .. } => false,
        })
    }
}

impl ClusterOutline {
    /// Whether nothing changes there.
    pub fn is_nothing(&self) -> bool {
        match &self.standing {
            Standing::Member(changes) => {
                changes.certificate.is_none() && changes.objects.is_empty()
            }
            Standing::Leaver(leaving) => {
                leaving.links.is_empty()
                    && !leaving.revokes
                    && leaving.removal.as_ref().is_none_or(Removal::is_nothing)
            }
            Standing::Unknown { .. } => true,
        }
    }
}

impl Changes {
    /// Whether the content of an object is made only when it is applied. A look at the mesh issues
    /// an intermediate CA too, but another one each time.
    pub fn is_pending(&self, object: &ObjectChange) -> bool {
        let issued =
            matches!(self.certificate, Some(CertificateChange::Issue | CertificateChange::Renew));
        let is_cacerts = object.key.kind == "Secret" && object.key.name == "cacerts";
        issued && is_cacerts && object.verb != Verb::Prune
    }
}

impl ObjectChange {
    /// Whether the user is asked first. A link that goes was agreed to by changing the topology.
    pub fn needs_consent(&self) -> bool {
        match self.verb {
            Verb::Create | Verb::Update => false,
            Verb::Adopt => true,
            Verb::Prune => self.link.is_none(),
        }
    }
}

impl fmt::Debug for ObjectChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, key, link, .. } = self;
        f.debug_struct("ObjectChange")
            .field("verb", verb)
            .field("key", key)
            .field("link", link)
            .finish_non_exhaustive()
    }
}
