//! `teardown`: what the tool owns goes, on all clusters side by side; everything else stays.

mod demolition;
mod links;
mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

pub use demolition::Cleared;
pub use links::Peer;

pub(super) use self::demolition::Demolition;
use self::look::Owner;
pub(super) use self::look::look;
use super::connect::{Purpose, Reached, Unreached, nobody, reach_all};
use super::event::{Event, Events};
use super::fleet;
use super::identity;
use super::lease::{Basis, ClusterLease, Leases};
use super::local::{Local, Options, Site};
use super::policy::{self, Kinds};
use crate::error::Failure;
use crate::kube::{self, quote, without};
use crate::plan::object::PARENT;
use crate::plan::removal::Removal;

/// What a teardown would do.
pub struct Survey<'a> {
    /// The clusters that are taken out of the mesh.
    pub clusters: Vec<Planned<'a>>,
    /// The clusters that stay in it and lose their links to the others.
    pub peers: Vec<Peer<'a>>,
    /// The contexts that cannot be worked on, and why.
    pub failed: Vec<(String, Failure)>,
    /// Contexts whose record is another name of a cluster that is worked on, with its UID.
    renamed: BTreeMap<String, String>,
    /// The contexts whose lease another run has.
    refused: BTreeMap<String, Failure>,
}

/// A cluster with what is decided for it.
pub struct Planned<'a> {
    reached: Reached<'a>,
    /// What goes and what stays.
    pub removal: Removal,
}

impl Planned<'_> {
    /// The kubeconfig context.
    pub fn context(&self) -> &str {
        self.reached.site.context()
    }

    /// The namespace of the control plane.
    pub fn namespace(&self) -> &str {
        self.reached.site.namespace()
    }

    fn lease<'l>(&'l self, leases: &'l Leases) -> ClusterLease<'l> {
        leases.of(&self.reached.cluster, self.namespace(), &self.reached.seen)
    }

    /// The API server.
    pub fn server(&self) -> &str {
        &self.reached.site.entry.server
    }
}

impl Survey<'_> {
    /// Whether nothing has to be deleted anywhere.
    pub fn is_nothing(&self) -> bool {
        self.clusters.iter().all(|c| c.removal.is_nothing()) && self.peers.is_empty()
    }
}

/// How a teardown ended.
#[derive(Debug)]
pub struct Outcome {
    /// What became of each cluster, in the order of the topology.
    pub clusters: Vec<(String, Result<Cleared, Failure>)>,
    /// How many links each remaining cluster lost.
    pub peers: Vec<(String, Result<usize, Failure>)>,
    /// How long it took.
    pub elapsed: Duration,
    renamed: Vec<String>,
}

impl Outcome {
    /// How many clusters are clean.
    pub fn done(&self) -> usize {
        self.clusters.iter().filter(|(_, result)| result.is_ok()).count()
    }

    /// All failures.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        let clusters = self.clusters.iter().filter_map(|(_, result)| result.as_ref().err());
        clusters.chain(self.peers.iter().filter_map(|(_, result)| result.as_ref().err()))
    }
}

/// Looks at all clusters and decides; nothing is written. If it is to write, missing rights are
/// refused here, before anything is deleted anywhere.
pub async fn survey<'a>(
    local: &'a Local,
    options: &Options,
    purpose: Purpose,
    events: &Events,
) -> Result<Survey<'a>, Failure> {
    let contexts = local.sites.iter().map(|s| s.context().to_owned()).collect();
    events.emit(Event::Started { contexts });
    let (fleet, beside) = futures::join!(
        reach_all(local, options, purpose, events),
        links::reach(local, options, events),
    );
    let fleet = fleet?.some()?;
    let (reached, renamed) = unify(local, fleet.reached);
    identity::check(local, options, &reached)?;
    policy::join(reached.iter().filter_map(|r| check_owner(local, options, r).err()).collect())
        .map_or(Ok(()), Err)?;
    for text in identity::notes(local, &reached) {
        events.emit(Event::Note { text });
    }
    let looks = reached.into_iter().map(|reached| async {
        let site = reached.site;
        (site, Box::pin(plan(reached, purpose)).await)
    });
    let mut failed = fleet.failed;
    let (mut clusters, mut refused) = (Vec::new(), Vec::new());
    for (site, look) in fleet::all(options.parallel, looks).await {
        match look {
            Ok(planned) => clusters.push(planned),
            Err(Unreached::Refused(missing)) => refused.push(missing),
            Err(Unreached::Broken(failure)) => {
                tell(events, site.context(), Err(&failure));
                failed.insert(site.context().to_owned(), failure);
            }
        }
    }
    policy::join(refused).map_or(Ok(()), Err)?;
    if clusters.is_empty() {
        return Err(nobody(failed));
    }
    let names: BTreeSet<String> = clusters.iter().flat_map(|c| cluster_names(&c.reached)).collect();
    let (peers, unreached) = links::decide(local, options, beside, &names);
    failed.extend(unreached);
    failed.extend(unreachable_records(local, options, &clusters, &renamed));
    let failed = in_order(local, failed);
    Ok(Survey { clusters, peers, failed, renamed, refused: BTreeMap::new() })
}

/// A cluster that is listed under several names, one of them of an earlier topology, is one.
fn unify<'a>(
    local: &Local,
    reached: Vec<Reached<'a>>,
) -> (Vec<Reached<'a>>, BTreeMap<String, String>) {
    let mut uids = BTreeSet::new();
    let mut renamed = BTreeMap::new();
    let mut kept = Vec::new();
    // Leavers come last in `Local::sites`.
    for reached in reached {
        let listed = local.topology.member(reached.site.context()).is_some();
        if uids.insert(reached.seen.uid.clone()) || listed {
            kept.push(reached);
        } else {
            renamed.insert(reached.site.context().to_owned(), reached.seen.uid.clone());
        }
    }
    let records = local.state.contexts.iter().filter(|(context, record)| {
        uids.contains(&record.uid) && !local.sites.iter().any(|s| s.context() == *context)
    });
    renamed.extend(records.map(|(context, record)| (context.clone(), record.uid.clone())));
    (kept, renamed)
}

/// Refuses an apply set of another tool, and one of another mesh.
pub(super) fn check_owner(
    local: &Local,
    options: &Options,
    reached: &Reached<'_>,
) -> Result<(), Failure> {
    let Reached { site, seen, .. } = reached;
    let (context, namespace) = (site.context(), site.namespace());
    let mesh_id = local.topology.mesh_id.as_ref();
    let without = format!("leave it out here: `{}`", without(context));
    match look::owner(seen, mesh_id) {
        // Labels alone do not say whose mesh it is.
        Owner::Us
            if identity::former(local, context, &seen.uid).is_some()
                && seen.mesh_id().is_none()
                && !seen.ours.is_empty() =>
        {
            Err(Failure::new(format!(
                "`{context}` is another cluster than at the last apply, and no ConfigMap {namespace}/{PARENT} \
                 there says that what it holds is of the mesh `{mesh_id}`; nothing there is deleted"
            ))
            .hint(without))
        }
        Owner::Us => Ok(()),
        Owner::Tool(tooling) => Err(Failure::new(format!(
            "`{context}`: the ConfigMap {namespace}/{PARENT} belongs to another tool ({}), so what it lists is not deleted",
            if tooling.is_empty() { "it names none" } else { &tooling },
        ))
        .hint(without)),
        Owner::Mesh(mesh) => Err(Failure::new(format!(
            "`{context}` belongs to the mesh `{mesh}`, not to `{mesh_id}`; nothing there is deleted"
        ))
        .hint(format!(
            "tear that one down: `kubectl multimesh teardown --mesh {} --contexts {}{}`",
            quote(&mesh),
            quote(context),
            options.choice.same_kubeconfig()
        ))
        .hint(without)),
    }
}

/// Finds out what goes of a cluster. If it is to be written to, missing rights come first: those that
/// the look needs before it, and those that what it finds needs after it.
async fn plan(reached: Reached<'_>, purpose: Purpose) -> Result<Planned<'_>, Unreached> {
    let (site, cluster) = (reached.site, &reached.cluster);
    if purpose == Purpose::Write
        && let Some(missing) = policy::check_rights(site, cluster).await?
    {
        return Err(Unreached::Refused(missing));
    }
    let removal = match look(cluster, site.namespace(), &reached.seen).await {
        // What cannot be looked at for want of a right is not torn down in part.
        Err(error @ kube::Error::Forbidden { .. }) if purpose == Purpose::Write => {
            return Err(Unreached::Refused(error.into()));
        }
        look => look?,
    };
    if purpose == Purpose::Write {
        let kinds = kinds(&removal);
        if let Some(missing) = policy::check_more_rights(site, cluster, &kinds).await? {
            return Err(Unreached::Refused(missing));
        }
    }
    Ok(Planned { reached, removal })
}

/// The kinds of what goes.
pub(super) fn kinds(removal: &Removal) -> Kinds<'_> {
    let targets = removal.targets.iter().map(|t| (t.api_version.as_str(), t.key.kind.as_str()));
    Kinds { deleted: targets.collect(), ..Kinds::default() }
}

/// The names that a cluster is or was linked under.
fn cluster_names(reached: &Reached<'_>) -> Vec<String> {
    let parent = reached.seen.parent.as_ref();
    let recorded = parent.and_then(|p| p.pointer("/data/cluster")?.as_str()).map(str::to_owned);
    recorded.into_iter().chain([reached.site.cluster.to_string()]).collect()
}

/// Contexts that were applied and that neither the topology nor the kubeconfig has any more.
fn unreachable_records(
    local: &Local,
    options: &Options,
    clusters: &[Planned<'_>],
    renamed: &BTreeMap<String, String>,
) -> Vec<(String, Failure)> {
    if !options.contexts.is_empty() {
        return Vec::new();
    }
    let known = |context: &String| {
        local.sites.iter().any(|s| s.context() == context)
            || renamed.contains_key(context)
            || clusters.iter().any(|c| c.context() == context)
    };
    let lost = local.state.contexts.iter().filter(|(context, _)| !known(context));
    lost.map(|(context, record)| {
        let failure = Failure::new(format!(
            "`{context}` was applied ({}), but the kubeconfig has it no more: what is there cannot be removed",
            record.server
        ))
        .hint("add the context to your kubeconfig and run teardown again")
        .hint(format!(
            "or, if that cluster is gone, remove `{context}` under `contexts` in {}",
            local.home.state().display()
        ));
        (context.clone(), failure)
    })
    .collect()
}

/// In the order of the topology; what it does not list comes last.
fn in_order(local: &Local, mut failed: BTreeMap<String, Failure>) -> Vec<(String, Failure)> {
    let order: Vec<&str> = local.sites.iter().map(Site::context).collect();
    let mut ordered: Vec<(String, Failure)> =
        order.into_iter().filter_map(|context| failed.remove_entry(context)).collect();
    ordered.extend(failed);
    ordered
}

/// Takes the leases of the clusters that something is to be deleted in. Those whose lease another run
/// has are left out, as failed. Where another run has written since the survey, that is made anew.
pub async fn take_leases(
    survey: &mut Survey<'_>,
    leases: &Leases,
    events: &Events,
) -> Result<Basis, Failure> {
    let busy: Vec<&Planned<'_>> =
        survey.clusters.iter().filter(|c| !c.removal.is_nothing()).collect();
    let contexts = busy.iter().map(|c| c.context()).chain(survey.peers.iter().map(Peer::context));
    events.emit(Event::Started { contexts: contexts.map(str::to_owned).collect() });
    let wanted = busy.iter().map(|c| c.lease(leases));
    let wanted: Vec<_> = wanted.chain(survey.peers.iter().map(|p| p.lease(leases))).collect();
    let taken = leases.take_all(&wanted, events).await?;
    drop((wanted, busy));
    if taken.old {
        return Ok(Basis::Old);
    }
    survey.refused = taken.refused;
    Ok(Basis::Current)
}

/// Does what the survey says, on all clusters side by side.
pub async fn carry_out(
    survey: Survey<'_>,
    local: &Local,
    options: &Options,
    leases: &Leases,
    events: &Events,
) -> Outcome {
    let started = Instant::now();
    let refused = &survey.refused;
    let clears = survey.clusters.iter().map(|planned| async move {
        let context = planned.context().to_owned();
        if planned.removal.is_nothing() {
            let stays = planned.removal.stays.clone();
            let nothing = async { Ok(Cleared { deleted: 0, stays }) };
            return (context, planned.lease(leases).during(nothing).await);
        }
        let result = match refused.get(&context) {
            Some(failure) => Err(failure.clone()),
            None => Box::pin(clear(planned, local, options, leases, events)).await,
        };
        let what = |cleared: &Cleared| format!("{} deleted, nothing is left", cleared.deleted);
        tell(events, &context, result.as_ref().map(what));
        (context, result)
    });
    let cuts = survey.peers.iter().map(|peer| async move {
        let context = peer.context().to_owned();
        let result = match refused.get(&context) {
            Some(failure) => Err(failure.clone()),
            None => peer.cut(leases, events).await,
        };
        tell(events, &context, result.as_ref().map(|links| format!("links removed: {links}")));
        (context, result)
    });
    let (mut clusters, peers) =
        futures::join!(fleet::all(options.parallel, clears), fleet::all(options.parallel, cuts));
    let ended = survey.clusters.iter().zip(&clusters).filter(|(_, (_, result))| result.is_ok());
    let clean: BTreeSet<&str> =
        ended.map(|(planned, _)| planned.reached.seen.uid.as_str()).collect();
    let renamed = survey.renamed.into_iter().filter(|(_, uid)| clean.contains(uid.as_str()));
    let renamed = renamed.map(|(context, _)| context).collect();
    clusters.extend(survey.failed.into_iter().map(|(context, failure)| (context, Err(failure))));
    Outcome { clusters, peers, elapsed: started.elapsed(), renamed }
}

async fn clear(
    planned: &Planned<'_>,
    local: &Local,
    options: &Options,
    leases: &Leases,
    events: &Events,
) -> Result<Cleared, Failure> {
    let lease = planned.lease(leases);
    let demolition = Demolition {
        cluster: &planned.reached.cluster,
        namespace: planned.reached.site.namespace(),
        mesh_id: local.topology.mesh_id.as_ref(),
        limit: options.timeout,
        deadline: tokio::time::Instant::now() + options.timeout,
        lease: &lease,
        events,
    };
    lease.during(demolition.run()).await
}

fn tell(events: &Events, context: &str, result: Result<String, &Failure>) {
    let context = context.to_owned();
    events.emit(match result {
        Ok(what) => Event::Finished { context, what },
        Err(failure) => Event::Failed { context, failure: failure.clone() },
    });
}

/// Forgets the clusters that are clean.
pub fn record(local: &mut Local, outcome: &Outcome) -> Result<(), Failure> {
    let clean = outcome.clusters.iter().filter(|(_, result)| result.is_ok());
    for context in clean.map(|(context, _)| context).chain(&outcome.renamed) {
        local.state.contexts.remove(context);
    }
    if local.state.contexts.is_empty() {
        // No cluster has the root any more, so another one may take its place.
        local.state.root = None;
    }
    let path = local.home.state();
    if path.exists() { local.state.save(&path) } else { Ok(()) }
}
