//! Clusters that stay in the mesh lose their links to those that leave it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::engine::connect::connect;
use crate::engine::event::{Event, Events};
use crate::engine::fleet;
use crate::engine::identity;
use crate::engine::lease::{ClusterLease, Leases};
use crate::engine::links;
use crate::engine::local::{Local, Options, Site};
use crate::engine::observe::{Observed, observe};
use crate::error::Failure;
use crate::istio::remote_secret;
use crate::kube::Cluster;
use crate::plan::object::{Key, label};

/// A cluster that stays, with the remote secrets that it loses.
pub struct Peer<'a> {
    site: &'a Site,
    cluster: Cluster,
    seen: Observed,
    secrets: Vec<Value>,
}

/// A cluster that is not torn down, if it could be reached.
pub(super) struct Beside<'a> {
    site: &'a Site,
    found: Result<(Cluster, Observed), Failure>,
}

/// Reaches the clusters that are not selected. If all are, there are none.
pub(super) async fn reach<'a>(
    local: &'a Local,
    options: &Options,
    events: &Events,
) -> Vec<Beside<'a>> {
    let others = local.sites.iter().filter(|site| !site.selected).map(|site| async move {
        let (context, what) = (site.context().to_owned(), "looking for its links".to_owned());
        events.emit(Event::Step { context, what });
        let found = async {
            let cluster = connect(local, options, site.context()).await?;
            let seen = Box::pin(observe(&cluster, site.namespace())).await?;
            Ok((cluster, seen))
        };
        Beside { site, found: Box::pin(found).await }
    });
    fleet::all(options.parallel, others).await
}

/// Finds the links to the clusters of these names. What cannot be looked at is a failure: it may
/// hold some.
pub(super) fn decide<'a>(
    local: &Local,
    options: &Options,
    beside: Vec<Beside<'a>>,
    names: &BTreeSet<String>,
) -> (Vec<Peer<'a>>, Vec<(String, Failure)>) {
    let mut peers = Vec::new();
    let mut failed = Vec::new();
    for Beside { site, found } in beside {
        let checked = found.and_then(|(cluster, seen)| {
            check(local, options, site, &seen)?;
            Ok((cluster, seen))
        });
        match checked {
            Ok((cluster, seen)) => {
                let secrets = links(&seen, names);
                if !secrets.is_empty() {
                    peers.push(Peer { site, cluster, seen, secrets });
                }
            }
            Err(failure) => {
                let hint = "its links to the others stay until teardown runs again";
                failed.push((site.context().to_owned(), failure.hint(hint)));
            }
        }
    }
    (peers, failed)
}

/// A cluster of another mesh, or another cluster than it was, is not touched.
fn check(local: &Local, options: &Options, site: &Site, seen: &Observed) -> Result<(), Failure> {
    let context = site.context();
    if let Some(mesh) = seen.mesh_id().filter(|mesh| *mesh != local.topology.mesh_id.as_ref()) {
        return Err(Failure::new(format!("`{context}` belongs to the mesh `{mesh}`")));
    }
    identity::check_uid(local, options, site, &seen.uid)
}

/// The tool's own remote secrets for clusters of these names.
fn links(seen: &Observed, names: &BTreeSet<String>) -> Vec<Value> {
    let ours = seen.ours.values().filter(|object| {
        object["kind"] == "Secret" && label(object, remote_secret::LABEL) == Some("true")
    });
    let leaving = ours.filter(|secret| {
        let clusters = remote_secret::clusters(secret);
        !clusters.is_empty() && clusters.iter().all(|cluster| names.contains(*cluster))
    });
    leaving.cloned().collect()
}

impl Peer<'_> {
    /// The kubeconfig context.
    pub fn context(&self) -> &str {
        self.site.context()
    }

    /// Its lease.
    pub(super) fn lease<'l>(&'l self, leases: &'l Leases) -> ClusterLease<'l> {
        leases.of(&self.cluster, self.site.namespace(), &self.seen)
    }

    /// The API server.
    pub fn server(&self) -> &str {
        &self.site.entry.server
    }

    /// The remote secrets that it loses, each with the names of the clusters that it is for.
    pub fn links(&self) -> Vec<(Key, String)> {
        let link = |secret: &Value| (Key::of(secret), remote_secret::clusters(secret).join(", "));
        self.secrets.iter().map(link).collect()
    }

    /// Deletes the remote secrets.
    pub(super) async fn cut(&self, leases: &Leases, events: &Events) -> Result<usize, Failure> {
        let (context, what) = (self.context().to_owned(), "removing its links".to_owned());
        events.emit(Event::Step { context, what });
        let lease = self.lease(leases);
        lease.during(links::delete(&self.cluster, &self.secrets, Some(&lease))).await
    }
}
