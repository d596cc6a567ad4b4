//! `apply`: from the topology to one mesh over all clusters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::connect::{Reached, reach_all};
use super::event::{Event, Events};
use super::fleet::{self, REQUESTS};
use super::identity;
use super::istioctl::Istioctl;
use super::lease::Leases;
use super::links::Exchange;
use super::local::{Local, Options, Site};
use super::observe::Observed;
use super::policy;
use super::rollout::{Manner, Rollout, Written};
use super::state::Record;
use super::trust::{self, Trust};
use crate::error::Failure;
use crate::istio::base::Base;
use crate::istio::operator::Variant;
use crate::istio::remote_secret;
use crate::kube::{Cluster, ResourceId};
use crate::plan::change::{Change, Verb, changes};
use crate::plan::desired::{Place, desired};
use crate::plan::object::{self, Key};

/// What the user wants of an apply.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// The organisation of a root CA that has to be made.
    pub organization: Option<String>,
    /// Whether to wait until everything is ready.
    pub wait: bool,
    /// Whether to take over objects and fields that somebody else manages.
    pub force: bool,
}

/// How an apply ended.
#[derive(Debug)]
pub struct Outcome {
    /// What became of each selected context, in the order of the topology.
    pub clusters: Vec<(String, Result<Written, Failure>)>,
    /// How long it took.
    pub elapsed: Duration,
    /// The connections of the run, by context.
    connections: BTreeMap<String, Cluster>,
}

impl Outcome {
    /// How many clusters are done.
    pub fn done(&self) -> usize {
        self.clusters.iter().filter(|(_, result)| result.is_ok()).count()
    }

    /// The connection to a cluster that is done.
    pub(super) fn done_cluster(&self, context: &str) -> Option<&Cluster> {
        let done = self.clusters.iter().any(|(name, result)| name == context && result.is_ok());
        self.connections.get(context).filter(|_| done)
    }

    /// Whether everything was as it should be.
    pub fn is_unchanged(&self) -> bool {
        self.clusters.iter().all(|(_, r)| r.as_ref().is_ok_and(|w| w.is_nothing()))
    }
}

/// A cluster with everything that was decided for it.
struct Work<'a> {
    reached: &'a Reached<'a>,
    desired: Vec<Value>,
    changes: Vec<Change>,
    /// Objects under names that the mesh needs, made by somebody else.
    foreign: Vec<(String, Key)>,
}

/// Makes the selected clusters one mesh.
pub async fn apply(
    local: &mut Local,
    options: &Options,
    wishes: &Wishes,
    leases: &Leases,
    events: &Events,
) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let base = local.check()?;
    emit_notes(local, &base, events);
    let contexts: Vec<String> = local.selected().map(|s| s.context().to_owned()).collect();
    events.emit(Event::Started { contexts });
    let cache = local.home.cache();
    let istioctl = Istioctl::find(options.istioctl.as_deref(), &cache).await?;
    let render = render_all(local, &istioctl, &base);
    let reach = reach_all(local, options, true, events);
    // What istioctl refuses is told at once, and before anything that a cluster says.
    let (fleet, rendered) = futures::try_join!(reach.map(Ok), render)?;
    let fleet = fleet?;
    policy::check(local, options, &fleet.reached, &istioctl.version)?;
    let organization = wishes.organization.as_deref().unwrap_or(trust::DEFAULT_ORGANIZATION);
    let observed: Vec<(&Site, &Observed)> =
        fleet.reached.iter().map(|r| (r.site, &r.seen)).collect();
    let trust = trust::decide(local, &observed, organization, Timestamp::now())?;
    let notes = identity::notes(local, &fleet.reached);
    for text in notes.into_iter().chain(trust.notes.clone()).chain(unlinked(local, &observed)) {
        events.emit(Event::Note { text });
    }
    let same_run = options.same_run(local.topology.mesh_id.as_ref());
    let planned = plan(local, options, &fleet.reached, &rendered, &trust, &istioctl.version).await;
    let (work, failed) = planned;
    let foreign: Vec<(String, Key)> =
        work.iter().flat_map(|work| work.foreign.iter().cloned()).collect();
    if !foreign.is_empty() && !wishes.force {
        return Err(policy::foreign_objects(&foreign, &same_run));
    }
    for (context, failure) in &failed {
        events.emit(Event::Failed { context: context.clone(), failure: failure.clone() });
    }
    // On record before the first write: what a run leaves half done must be found again.
    let mut state = local.state.clone();
    state.root = Some(trust.root.certificate.fingerprint.clone());
    state.contexts.extend(work.iter().map(|work| {
        (work.reached.site.context().to_owned(), record(work.reached, &istioctl.version))
    }));
    state.save(&local.home.state())?;
    let mut results = roll_out(local, options, wishes, leases, events, work).await;
    results.extend(failed.into_iter().map(|(context, failure)| (context, Err(failure))));
    let connections = fleet.reached.iter();
    let connections =
        connections.map(|r| (r.site.context().to_owned(), r.cluster.clone())).collect();
    results.extend(fleet.failed);
    let order: Vec<String> = local.selected().map(|s| s.context().to_owned()).collect();
    local.state = state;
    let clusters = order
        .into_iter()
        .filter_map(|context| results.remove(&context).map(|result| (context, result)))
        .collect();
    Ok(Outcome { clusters, elapsed: started.elapsed(), connections })
}

fn emit_notes(local: &Local, base: &Base, events: &Events) {
    let overlays = local.selected().filter_map(|site| site.overlay.as_ref());
    let bases = std::iter::once(base).chain(overlays).flat_map(|base| &base.notes);
    for note in local.topology.notes.iter().chain(bases) {
        events.emit(Event::Note { text: note.to_string() });
    }
}

/// Renders each variant once; clusters that share a base share its run of istioctl.
async fn render_all(
    local: &Local,
    istioctl: &Istioctl,
    base: &Base,
) -> Result<BTreeMap<String, Arc<Vec<Value>>>, Failure> {
    let mut by_input: BTreeMap<(Variant, Option<String>), Arc<Vec<Value>>> = BTreeMap::new();
    let mut by_context = BTreeMap::new();
    for site in local.selected() {
        let variant = variant(local, site);
        let overlay = site.overlay.as_ref().map(|overlay| &overlay.operator);
        let input = (variant.clone(), overlay.map(Value::to_string));
        let objects = if !variant.control_plane && !variant.gateway {
            Arc::default()
        } else if let Some(objects) = by_input.get(&input) {
            Arc::clone(objects)
        } else {
            let cache = local.home.cache();
            Arc::new(
                istioctl
                    .render(&base.operator, overlay, &variant, &cache, &local.home.base())
                    .await?,
            )
        };
        by_input.insert(input, Arc::clone(&objects));
        by_context.insert(site.context().to_owned(), objects);
    }
    Ok(by_context)
}

fn variant(local: &Local, site: &Site) -> Variant {
    Variant {
        mesh_id: local.topology.mesh_id.to_string(),
        namespace: site.namespace().to_owned(),
        control_plane: site.managed(),
        gateway: local.many_networks(),
        addresses: local.gateway_addresses(),
    }
}

/// Compares what every cluster should hold with what it holds, and finds what is somebody else's
/// before anything is written anywhere. A cluster that cannot be compared stops no other one.
async fn plan<'a>(
    local: &Local,
    options: &Options,
    reached: &'a [Reached<'a>],
    rendered: &BTreeMap<String, Arc<Vec<Value>>>,
    trust: &Trust,
    istio: &str,
) -> (Vec<Work<'a>>, BTreeMap<String, Failure>) {
    let mut failed = trust.failed.clone();
    let in_order = reached.iter().filter(|r| !failed.contains_key(r.site.context()));
    let compared = in_order.map(|reached| compare(local, reached, rendered, trust, istio));
    let mut work = Vec::new();
    for (context, result) in fleet::all(options.parallel, compared).await {
        match result {
            Ok(one) => work.push(one),
            Err(failure) => {
                failed.insert(context, failure);
            }
        }
    }
    (work, failed)
}

async fn compare<'a>(
    local: &Local,
    reached: &'a Reached<'a>,
    rendered: &BTreeMap<String, Arc<Vec<Value>>>,
    trust: &Trust,
    istio: &str,
) -> (String, Result<Work<'a>, Failure>) {
    let (site, seen) = (reached.site, &reached.seen);
    let id = object::set_id(site.namespace());
    let place = Place {
        mesh_id: local.topology.mesh_id.as_ref(),
        cluster: site.cluster.as_ref(),
        network: site.member.network.as_ref(),
        namespace: site.namespace(),
        reader: site.member.reader.as_ref(),
        joined: site.member.registry_join,
        gateway: local.many_networks(),
        own_address: site.member.gateway.is_some(),
        istio,
        own_namespace: seen.namespace.as_ref().is_none_or(|ns| object::is_ours(ns, &id)),
    };
    let objects = rendered.get(site.context()).map_or(&[][..], |objects| objects.as_slice());
    let desired = desired(&place, objects, trust.cacerts.get(site.context()));
    let mut live = seen.ours.clone();
    let known = [&seen.namespace, &seen.parent].into_iter().flatten();
    live.extend(known.map(|object| (Key::of(object), object.clone())));
    let changes = changes(desired.clone(), &live);
    let foreign = find_foreign(reached, &changes).await;
    let work = foreign.map(|foreign| Work { reached, desired, changes, foreign });
    (site.context().to_owned(), work)
}

/// Links that this run does not make, as one side of them is left out.
fn unlinked(local: &Local, observed: &[(&Site, &Observed)]) -> Vec<String> {
    let left_out = || local.sites.iter().filter(|s| !s.selected && s.member.registry_join);
    let joined = observed.iter().filter(|(site, _)| site.member.registry_join);
    joined
        .filter_map(|(site, seen)| {
            let missing = left_out().filter(|other| {
                let name = other.cluster.as_ref();
                !seen.remote_secrets.iter().any(|s| remote_secret::clusters(s).contains(&name))
            });
            let missing: Vec<String> = missing.map(|o| format!("`{}`", o.context())).collect();
            (!missing.is_empty()).then(|| {
                format!(
                    "`{}` is not linked with {}, as `--contexts` leaves that out",
                    site.context(),
                    missing.join(", ")
                )
            })
        })
        .collect()
}

/// Objects that are to be created, but exist: without our mark they are somebody else's.
async fn find_foreign(
    reached: &Reached<'_>,
    changes: &[Change],
) -> Result<Vec<(String, Key)>, Failure> {
    // In a namespace that is not there yet, nothing of it can be.
    let fresh = reached.seen.namespace.is_none();
    let looks = changes
        .iter()
        .filter(|change| change.verb == Verb::Create)
        .filter(|change| !fresh || change.key().namespace.is_empty())
        .filter(|change| change.object["kind"] != "Namespace")
        .map(|change| async {
            let Some(id) = ResourceId::of(&change.object) else { return Ok(None) };
            let found = reached.cluster.get(&id).await?;
            Ok::<_, Failure>(found.map(|_| (reached.site.context().to_owned(), change.key())))
        });
    Ok(fleet::try_all(REQUESTS, looks).await?.into_iter().flatten().collect())
}

/// Rolls out all clusters side by side.
async fn roll_out(
    local: &Local,
    options: &Options,
    wishes: &Wishes,
    leases: &Leases,
    events: &Events,
    work: Vec<Work<'_>>,
) -> BTreeMap<String, Result<Written, Failure>> {
    let exchange = Exchange::new(work.iter().map(|w| w.reached.site.context()));
    let turns = Semaphore::new(options.parallel);
    let manner = Manner { wait: wishes.wait, force: wishes.force, timeout: options.timeout };
    let runs = work.into_iter().map(|work| {
        let (exchange, turns) = (&exchange, &turns);
        async move {
            let site = work.reached.site;
            let rollout = Rollout {
                site,
                cluster: &work.reached.cluster,
                seen: &work.reached.seen,
                desired: &work.desired,
                changes: work.changes,
                peers: local.peers_of(site),
                exchange,
                manner,
                leases,
                events,
                turns,
            };
            let context = site.context().to_owned();
            let (cluster, seen) = (&work.reached.cluster, &work.reached.seen);
            let result = leases.while_writing(cluster, seen, rollout.run()).await;
            events.emit(match &result {
                Ok(written) => Event::Finished { context: context.clone(), what: tell(*written) },
                Err(failure) => {
                    Event::Failed { context: context.clone(), failure: failure.clone() }
                }
            });
            (context, result)
        }
    });
    futures::future::join_all(runs).await.into_iter().collect()
}

fn tell(written: Written) -> String {
    match (written.created, written.updated) {
        (0, 0) => "nothing to change".into(),
        (created, 0) => format!("{created} created"),
        (0, updated) => format!("{updated} updated"),
        (created, updated) => format!("{created} created, {updated} updated"),
    }
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
    }
}
