//! Reaching the clusters of a run, each with one look at what is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::{Event, Events};
use super::fleet;
use super::identity;
use super::local::{Local, Options, Site};
use super::observe::{Observed, observe};
use super::policy;
use crate::error::Failure;
use crate::kube::{self, Cluster, ConnectOptions};

/// What a run is about to do to the clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It only looks.
    Look,
    /// It writes where there is something to write, and needs the rights to.
    Write,
}

/// A cluster that answered.
pub struct Reached<'a> {
    /// Its place in the topology.
    pub site: &'a Site,
    /// The connection to it.
    pub cluster: Cluster,
    /// What is there.
    pub seen: Arc<Observed>,
}

/// The clusters of a run.
pub struct Fleet<'a> {
    /// Those that answered.
    pub reached: Vec<Reached<'a>>,
    /// Those that did not, and why.
    pub failed: BTreeMap<String, Failure>,
}

/// Why a cluster is not connected to.
pub enum Unconnected {
    /// The context may lead to another cluster now; nothing was sent there.
    OtherCluster(Failure),
    /// Its entries, credentials or plugin are not in order.
    Broken(Failure),
}

impl Unconnected {
    /// The reason.
    pub(super) const fn failure(&self) -> &Failure {
        match self {
            Self::OtherCluster(failure) | Self::Broken(failure) => failure,
        }
    }
}

impl From<Unconnected> for Failure {
    fn from(why: Unconnected) -> Self {
        match why {
            Unconnected::OtherCluster(failure) | Unconnected::Broken(failure) => failure,
        }
    }
}

/// Prepares to talk to a cluster, unless its context trusts another CA than at the last apply: no
/// credential goes to a wrong cluster.
pub async fn connect(
    local: &Local,
    options: &Options,
    context: &str,
) -> Result<Cluster, Unconnected> {
    identity::check_authority(local, options, context).map_err(Unconnected::OtherCluster)?;
    let cluster = local.kubeconfig.connect(context, &connect_options(options)).await;
    cluster.map_err(|error| Unconnected::Broken(error.into()))
}

/// How a run connects.
pub(super) fn connect_options(options: &Options) -> ConnectOptions {
    ConnectOptions {
        request_timeout: options.request_timeout,
        no_input: options.no_input,
        ..ConnectOptions::default()
    }
}

/// Reaches all selected clusters. One that does not answer stops no other, see [`Fleet::some`]; one
/// that may not even be looked at stops a run that is going to write.
pub async fn reach_all<'a>(
    local: &'a Local,
    options: &Options,
    purpose: Purpose,
    events: &Events,
) -> Result<Fleet<'a>, Failure> {
    let reaches = local.selected().map(|site| async move {
        let what = "reading what is there".to_owned();
        events.emit(Event::Step { context: site.context().to_owned(), what });
        (site, Box::pin(reach(local, options, site, purpose)).await)
    });
    let mut fleet = Fleet { reached: Vec::new(), failed: BTreeMap::new() };
    let mut refused = Vec::new();
    for (site, result) in fleet::all(options.parallel, reaches).await {
        let failure = match result {
            Ok(cluster) => {
                fleet.reached.push(cluster);
                continue;
            }
            Err(Unreached::Refused(failure)) => {
                refused.push(failure);
                continue;
            }
            Err(Unreached::Broken(failure)) => failure,
        };
        let context = site.context().to_owned();
        events.emit(Event::Failed { context: context.clone(), failure: failure.clone() });
        fleet.failed.insert(context, failure);
    }
    policy::join(refused).map_or(Ok(fleet), Err)
}

impl Fleet<'_> {
    /// Fails where no cluster answered: the first reason is the run's.
    pub fn some(self) -> Result<Self, Failure> {
        if self.reached.is_empty() { Err(nobody(self.failed)) } else { Ok(self) }
    }
}

/// Why a cluster cannot be worked on.
pub(super) enum Unreached {
    /// The user has to decide or do something first.
    Refused(Failure),
    /// It does not answer as it should.
    Broken(Failure),
}

impl From<kube::Error> for Unreached {
    fn from(error: kube::Error) -> Self {
        Self::Broken(error.into())
    }
}

impl From<Unconnected> for Unreached {
    fn from(why: Unconnected) -> Self {
        match why {
            Unconnected::OtherCluster(failure) => Self::Refused(failure),
            Unconnected::Broken(failure) => Self::Broken(failure),
        }
    }
}

impl From<Unreached> for Failure {
    fn from(unreached: Unreached) -> Self {
        match unreached {
            Unreached::Refused(failure) | Unreached::Broken(failure) => failure,
        }
    }
}

/// Reaches one cluster.
pub(super) async fn reach<'a>(
    local: &Local,
    options: &Options,
    site: &'a Site,
    purpose: Purpose,
) -> Result<Reached<'a>, Unreached> {
    let cluster = connect(local, options, site.context()).await?;
    match Box::pin(observe(&cluster, site.namespace())).await {
        Ok(seen) => Ok(Reached { site, seen: Arc::new(seen), cluster }),
        Err(error) => Err(policy::unreached(site, &cluster, purpose, error).await),
    }
}

/// Of so many clusters it is told why they cannot be worked on; of the others, how many they are.
const TOLD: usize = 8;

pub(super) fn nobody(failed: BTreeMap<String, Failure>) -> Failure {
    let (count, more) = (failed.len(), failed.len().saturating_sub(TOLD));
    let failures: Vec<Failure> = failed.into_values().take(TOLD).collect();
    let head = format!("none of the {count} clusters could be worked on:");
    let mut failure = policy::join_as(&head, failures)
        .unwrap_or_else(|| Failure::usage("no context is selected"));
    if more > 0 {
        failure.message.extend(["\n  and ", &more.to_string(), " more"]);
    }
    failure
}
