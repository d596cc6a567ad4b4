//! `apply`: from the topology to one mesh over all clusters.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::connect::Reached;
use super::countdown::Countdown;
use super::event::{Event, Events};
use super::lease::{Basis, Leases};
use super::leave::{Departure, Fate, Leaver, Members};
use super::links::Exchange;
use super::local::{Local, Options, Site};
pub use super::prepare::Wishes;
use super::prepare::{Prepared, Work, leave_out, unlisted_kinds};
use super::rollout::{Manner, Rollout, Written};
use super::state::{Left, Record, State};
use super::status::Applied;
use crate::error::{Exit, Failure};
use crate::kube::{Cluster, quote};
use crate::plan::change::{Change, Verb};
use crate::plan::desired::naming;
use crate::plan::object::{DIGEST, PARENT, annotation};
use crate::plan::order::Step;

/// How an apply goes about its work.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Whether to wait until everything is ready.
    pub wait: bool,
    /// Whether the user agreed to delete what nothing wants any more. Links go in any case.
    pub prune: bool,
    /// What becomes of the control planes of clusters that leave, by context.
    pub fates: BTreeMap<String, Fate>,
}

impl Terms {
    /// What becomes of the control plane of a cluster that leaves; where there is none, or it was
    /// to stay before, nothing is to be agreed about.
    fn fate(&self, leaver: &Leaver<'_>) -> Fate {
        let agreed = self.fates.get(leaver.context()).copied().unwrap_or(Fate::Ask);
        match leaver.has_control_plane() {
            false => Fate::Remove,
            true if leaver.is_kept() => Fate::Keep,
            true => agreed,
        }
    }
}

/// What became of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It is a member of the mesh.
    Member(Written),
    /// It left the mesh.
    Left(Departure),
}

/// How an apply ended.
pub struct Outcome {
    /// What became of each selected context, in the order of the topology, then of those that left.
    pub clusters: Vec<(String, Result<Done, Failure>)>,
    /// What is on record now.
    pub state: State,
    /// The contexts that the user gives up, and that stay on record for now.
    pub not_given_up: Vec<String>,
    /// The connections of the run, by context.
    connections: BTreeMap<String, Cluster>,
}

impl Outcome {
    /// How many clusters are done.
    pub fn done(&self) -> usize {
        self.clusters.iter().filter(|(_, result)| result.is_ok()).count()
    }

    /// The connection to a member that is done.
    fn done_cluster(&self, context: &str) -> Option<&Cluster> {
        let member = |result: &Result<Done, Failure>| matches!(result, Ok(Done::Member(_)));
        let done = self.clusters.iter().any(|(name, result)| name == context && member(result));
        self.connections.get(context).filter(|_| done)
    }

    /// The members that are done.
    pub fn done_members<'a>(&'a self, local: &'a Local) -> Vec<Applied<'a>> {
        let done =
            |site: &'a Site| Some(Applied { site, cluster: self.done_cluster(site.context())? });
        local.selected().filter_map(done).collect()
    }

    /// Whether something waits for nothing but the user's agreement.
    pub fn waits(&self) -> bool {
        let waits = |result: &Result<Done, Failure>| {
            result.as_ref().is_err_and(|failure| failure.exit == Exit::Partial)
        };
        self.clusters.iter().any(|(_, result)| waits(result))
    }

    /// Whether everything was as it should be in the members that are done.
    pub fn wrote_nothing(&self) -> bool {
        self.clusters.iter().all(|(_, result)| match result {
            Ok(Done::Member(written)) => written.is_nothing(),
            Ok(Done::Left(_)) => false,
            Err(_) => true,
        })
    }

    /// Whether everything was as it should be.
    pub fn is_unchanged(&self) -> bool {
        self.clusters
            .iter()
            .all(|(_, result)| matches!(result, Ok(Done::Member(written)) if written.is_nothing()))
    }
}

/// Takes the leases of the clusters that are going to be written to. Those whose lease another run
/// has are left out, as failed, and the others keep what those may still need.
pub async fn take_leases(
    local: &Local,
    prepared: &mut Prepared<'_>,
    terms: &Terms,
    leases: &Leases,
    events: &Events,
) -> Result<Basis, Failure> {
    let members = prepared.work.iter().filter(|work| work.writes(terms.prune));
    let members = members.map(|work| {
        let Reached { site, cluster, seen } = &work.reached;
        leases.of(cluster, site.namespace(), seen)
    });
    let leavers = prepared.leavers.iter().filter(|leaver| leaver.writes(terms.fate(leaver)));
    let wanted: Vec<_> = members.chain(leavers.map(|leaver| leaver.lease(leases))).collect();
    let taken = leases.take_all(&wanted, events).await?;
    drop(wanted);
    if taken.old {
        return Ok(Basis::Old);
    }
    let lost = &taken.refused;
    prepared.leavers.retain(|leaver| !lost.contains_key(leaver.context()));
    if !lost.is_empty() {
        leave_out(&mut prepared.work, lost, local, events);
    }
    prepared.failed.extend(taken.refused);
    Ok(Basis::Current)
}

/// Makes the selected clusters one mesh, as it was prepared.
pub async fn carry_out(
    prepared: Prepared<'_>,
    local: &Local,
    options: &Options,
    wishes: &Wishes,
    terms: &Terms,
    leases: &Leases,
    events: &Events,
) -> Result<Outcome, Failure> {
    let Prepared { istio, trust, work, leavers, failed, .. } = prepared;
    trust.save(&local.home.certs())?;
    // On record before the first write: what a run leaves half done must be found again.
    let mut state = local.state.clone();
    state.root = Some(trust.root.certificate.fingerprint.clone());
    state
        .contexts
        .extend(work.iter().map(|one| (one.context().to_owned(), record(&one.reached, &istio))));
    // What is given up stays on record until nobody can hold a link to it any more.
    state.contexts.extend(local.given_up.iter().cloned());
    for (context, record) in &mut state.contexts {
        if local.topology.member(context).is_none() && record.left.is_none() {
            record.left = Some(Left::Pending);
        }
    }
    state.save(&local.home.state())?;
    let named = |one: &Work<'_>| (one.context().to_owned(), one.reached.cluster.clone());
    let connections: BTreeMap<String, Cluster> = work.iter().map(named).collect();
    let manner = Manner {
        wait: terms.wait,
        force: wishes.force,
        prune: terms.prune,
        timeout: options.timeout,
    };
    let linked = Countdown::of(work.len());
    let members = Members { connections: &connections, linked: &linked };
    let (mut results, left) = futures::join!(
        roll_out(local, options, manner, leases, events, work, &linked),
        leave(local, options, terms, leases, events, &leavers, &members),
    );
    for (context, result) in &left {
        forget(&mut state, context, result.as_ref().ok());
    }
    results.extend(left);
    results.extend(failed.into_iter().map(|(context, failure)| (context, Err(failure))));
    let not_given_up = give_up(local, &mut state, &results, events);
    state.save(&local.home.state())?;
    let mut clusters: Vec<(String, Result<Done, Failure>)> = local
        .sites
        .iter()
        .chain(&local.leavers)
        .filter_map(|site| results.remove_entry(site.context()))
        .collect();
    clusters.extend(results);
    Ok(Outcome { clusters, state, not_given_up, connections })
}

/// Strikes a cluster that left off the record, or notes that it was left standing.
fn forget(state: &mut State, context: &str, done: Option<&Done>) {
    let Some(Done::Left(departure)) = done else { return };
    if departure.cleared.is_some() {
        state.contexts.remove(context);
    } else if let Some(record) = state.contexts.get_mut(context) {
        record.left = Some(Left::Kept);
    }
}

/// Strikes what the user gives up off the record, once no member can hold a link to it any more;
/// gives what stays there until then.
fn give_up(
    local: &Local,
    state: &mut State,
    results: &BTreeMap<String, Result<Done, Failure>>,
    events: &Events,
) -> Vec<String> {
    let is_done = |site: &Site| results.get(site.context()).is_some_and(Result::is_ok);
    let missing: Vec<&str> =
        local.sites.iter().filter(|site| !is_done(site)).map(Site::context).collect();
    if missing.is_empty() {
        state.contexts.retain(|context, _| local.given_up.iter().all(|(gone, _)| gone != context));
        return Vec::new();
    }
    for (context, _) in &local.given_up {
        let text = format!(
            "`{context}` is not given up yet: `{}` may hold a link to it; when that is mended, run this \
             again: `kubectl multimesh apply --forget {}{}` (without `--forget`, an apply \
             asks to remove what is there)",
            missing.join("`, `"),
            quote(context),
            local.same_mesh
        );
        events.emit(Event::Note { text });
    }
    local.given_up.iter().map(|(context, _)| context.clone()).collect()
}

/// Takes the clusters that leave out of the mesh, side by side.
async fn leave(
    local: &Local,
    options: &Options,
    terms: &Terms,
    leases: &Leases,
    events: &Events,
    leavers: &[Leaver<'_>],
    members: &Members<'_>,
) -> BTreeMap<String, Result<Done, Failure>> {
    let departures = leavers.iter().map(|leaver| async move {
        let context = leaver.context().to_owned();
        let fate = terms.fate(leaver);
        let mut result =
            Box::pin(leaver.leave(local, options, fate, leases, events, members)).await;
        if result.is_ok() && fate == Fate::Ask {
            result = Err(standing(local, options, &context));
        }
        events.emit(match &result {
            Ok(_) => Event::Finished { context: context.clone(), what: "left the mesh".into() },
            Err(failure) => Event::Failed { context: context.clone(), failure: failure.clone() },
        });
        (context, result.map(Done::Left))
    });
    super::fleet::all(options.parallel, departures).await.into_iter().collect()
}

/// What is done as far as it was agreed to.
fn waiting(message: String) -> Failure {
    Failure { exit: Exit::Partial, ..Failure::new(message) }
}

/// A cluster that is out of the mesh and still has a control plane, as nobody agreed to remove it.
fn standing(local: &Local, options: &Options, context: &str) -> Failure {
    let same_mesh = options.same_mesh(local.topology.mesh_id.as_ref());
    waiting(format!(
        "`{context}`: it has no links to the mesh any more, and its control plane is still there: nobody agreed to remove it"
    ))
    .hint(format!("look at what would go: `kubectl multimesh plan{same_mesh}`"))
    .hint(format!("remove it: `kubectl multimesh apply --yes{same_mesh}`"))
    .hint(format!("or leave it standing: `kubectl multimesh apply --keep-control-plane{same_mesh}`"))
}

/// A cluster that is as it should be but for what nothing wants any more.
fn unwanted(local: &Local, options: &Options, context: &str, count: usize) -> Failure {
    let same_run = options.same_run(local.topology.mesh_id.as_ref());
    let (what, stays) = match count {
        1 => ("1 object".to_owned(), "is still there"),
        _ => (format!("{count} objects"), "are still there"),
    };
    waiting(format!(
        "`{context}`: done, but {what} that earlier applies made and nothing wants any more {stays}: nobody agreed to delete",
    ))
    .hint(format!("look at what would go: `kubectl multimesh plan{same_run}`"))
    .hint(format!("delete it: `kubectl multimesh apply --yes{same_run}`"))
}

/// Rolls out all clusters side by side.
async fn roll_out(
    local: &Local,
    options: &Options,
    manner: Manner,
    leases: &Leases,
    events: &Events,
    work: Vec<Work<'_>>,
    linked: &Countdown,
) -> BTreeMap<String, Result<Done, Failure>> {
    let contexts: Vec<String> = work.iter().map(|w| w.context().to_owned()).collect();
    let exchange = Exchange::new(contexts.iter().map(String::as_str));
    let turns = Semaphore::new(options.parallel);
    let all_links = Countdown::of(contexts.len());
    let runs = work.into_iter().map(|mut work| {
        let (exchange, turns, all_links) = (&exchange, &turns, &all_links);
        async move {
            let last = keep_kinds(&mut work).filter(|_| manner.prune);
            let Work { reached, desired, changes, prunes, .. } = work;
            let site = reached.site;
            let lease = leases.of(&reached.cluster, site.namespace(), &reached.seen);
            let rollout = Rollout {
                site,
                cluster: &reached.cluster,
                seen: &reached.seen,
                desired: &desired,
                changes,
                prunes,
                last,
                peers: local.peers_of(site),
                exchange,
                manner,
                lease: &lease,
                events,
                turns,
                leavers_linked: Some(linked.one()),
                linking: Some(all_links.one()),
                all_links,
            };
            let context = site.context().to_owned();
            let stay = if manner.prune { 0 } else { rollout.unwanted() };
            let mut result = Box::pin(lease.during(rollout.run())).await;
            if result.is_ok() && stay > 0 {
                result = Err(unwanted(local, options, &context, stay));
            }
            events.emit(match &result {
                Ok(written) => Event::Finished { context: context.clone(), what: tell(*written) },
                Err(failure) => {
                    Event::Failed { context: context.clone(), failure: failure.clone() }
                }
            });
            (context, result.map(Done::Member))
        }
    });
    futures::future::join_all(runs).await.into_iter().collect()
}

/// Where objects go whose kind only the apply set's parent tells, it goes on naming that kind until
/// they are gone: a run that is cut short would lose them otherwise. Gives the parent as it is
/// written in the end.
fn keep_kinds(work: &mut Work<'_>) -> Option<Change> {
    let kinds = unlisted_kinds(&work.prunes);
    let parent = work.desired.iter().find(|o| o["metadata"]["name"] == PARENT)?;
    let meanwhile = naming(parent, &kinds)?;
    let last = Change {
        verb: Verb::Update,
        step: Step::Ground,
        object: Arc::clone(parent),
        before: work.reached.seen.parent.clone(),
    };
    let (key, live) = (last.key(), last.before.as_ref());
    if live.and_then(|live| annotation(live, DIGEST)) == annotation(&meanwhile, DIGEST) {
        work.changes.retain(|change| change.key() != key);
    } else {
        work.changes.iter_mut().find(|change| change.key() == key)?.object = Arc::new(meanwhile);
    }
    Some(last)
}

fn tell(written: Written) -> String {
    let Written { created, updated, adopted, pruned } = written;
    let parts: Vec<String> =
        [(created, "created"), (updated, "updated"), (adopted, "taken over"), (pruned, "deleted")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
    if parts.is_empty() { "nothing to change".into() } else { parts.join(", ") }
}

fn record(reached: &Reached<'_>, istio: &str) -> Record {
    let site = reached.site;
    Record {
        uid: reached.seen.uid.clone(),
        cluster: site.cluster.to_string(),
        network: site.member.network.to_string(),
        namespace: site.namespace().to_owned(),
        server: site.entry.server.clone(),
        ca: Some(reached.cluster.authorities().to_vec()),
        istio: Some(istio.to_owned()),
        left: None,
    }
}
