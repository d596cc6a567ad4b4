//! What an apply is going to do, decided from one look at every cluster; nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::check::check;
use super::connect::{Fleet, Purpose, Reached, Unreached, reach_all};
use super::event::{Event, Events};
use super::fleet::{self, REQUESTS};
use super::identity;
use super::istioctl::Istioctl;
use super::leave::{self, Leaver};
use super::links::{self, LinkChange};
use super::local::{Local, Options, Site};
use super::observe::{self, Observed};
use super::policy::{self, Kinds};
use super::status::Ahead;
use super::trust::{self, Trust};
use crate::error::Failure;
use crate::istio::base::Base;
use crate::istio::operator::Variant;
use crate::istio::remote_secret;
use crate::kube::{self, FIELD_MANAGER, ResourceId};
use crate::plan::change::{Change, Verb, changes};
use crate::plan::desired::{Place, Rendering, desired};
use crate::plan::object::{self, Key};
use crate::plan::prune::{Prune, prunes, take_readers};

/// What the user wants of an apply.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// The organisation of a root CA that has to be made.
    pub organization: Option<String>,
    /// Whether to take over objects and fields that somebody else manages.
    pub force: bool,
    /// Whether a cluster may get another name than it has.
    pub rename: bool,
    /// Whether the control planes of clusters that leave stay.
    pub keep_control_plane: bool,
    /// Whether the mesh is read back at the end.
    pub read_back: bool,
}

/// What an apply is going to do.
pub struct Prepared<'a> {
    /// The version of Istio.
    pub(super) istio: String,
    /// The certificate authorities.
    pub(super) trust: Trust,
    /// The clusters that can be worked on.
    pub(super) work: Vec<Work<'a>>,
    /// The clusters that leave.
    pub(super) leavers: Vec<Leaver<'a>>,
    /// The clusters that cannot be worked on, and why.
    pub(super) failed: BTreeMap<String, Failure>,
    /// What is asked already of a mesh that is to be read back, where nothing is to be written.
    pub(super) ahead: Option<Ahead<'a>>,
}

/// A cluster with everything that was decided for it.
pub(super) struct Work<'a> {
    pub reached: Reached<'a>,
    /// All its objects but the remote secrets.
    pub desired: Vec<Arc<Value>>,
    /// Those of them that have to be written.
    pub changes: Vec<Change>,
    /// What goes.
    pub prunes: Vec<Prune>,
    /// Its remote secrets that change, as far as it is known already.
    pub links: Vec<LinkChange>,
}

impl Work<'_> {
    /// The kubeconfig context.
    pub(super) fn context(&self) -> &str {
        self.reached.site.context()
    }

    /// The kinds of what is written and of what may go.
    fn kinds(&self) -> Kinds<'_> {
        let applied = self.changes.iter().filter_map(|change| {
            let object = &change.object;
            Some((object["apiVersion"].as_str()?, object["kind"].as_str()?))
        });
        let deleted = self.prunes.iter().map(|prune| &prune.target);
        Kinds {
            applied: applied.collect(),
            deleted: deleted.map(|t| (t.api_version.as_str(), t.key.kind.as_str())).collect(),
        }
    }

    /// Whether there is anything to be written, as far as it is known already. `prune` says whether
    /// what is not wanted any more goes; links go in any case.
    pub(super) fn writes(&self, prune: bool) -> bool {
        let goes = |one: &Prune| prune || one.link.is_some();
        !self.changes.is_empty() || !self.links.is_empty() || self.prunes.iter().any(goes)
    }
}

impl<'a> Prepared<'a> {
    /// Takes what is asked already of a mesh that is to be read back.
    pub fn take_ahead(&mut self) -> Option<Ahead<'a>> {
        self.ahead.take()
    }

    /// Refuses to take over what somebody else made, unless the user wishes so.
    pub fn check_foreign(&self, wishes: &Wishes, same_run: &str) -> Result<(), Failure> {
        let foreign = self.work.iter().flat_map(|work| {
            let adopted = work.changes.iter().filter(|change| change.verb == Verb::Adopt);
            adopted.map(|change| (work.context().to_owned(), change.key()))
        });
        let foreign: Vec<(String, Key)> = foreign.collect();
        if foreign.is_empty() || wishes.force {
            return Ok(());
        }
        Err(policy::foreign_objects(&foreign, same_run))
    }
}

/// Looks at everything and decides. With `purpose` to write, missing rights are refused here, where
/// there is something to write.
pub async fn prepare<'a>(
    local: &'a Local,
    options: &Options,
    wishes: &Wishes,
    purpose: Purpose,
    events: &Events,
) -> Result<Prepared<'a>, Failure> {
    let base = check(local)?;
    emit_notes(local, &base, events);
    let contexts = local.selected().chain(local.leavers.iter().filter(|s| s.selected));
    let contexts = contexts.map(|s| s.context().to_owned()).collect();
    events.emit(Event::Started { contexts });
    let istioctl = Istioctl::find(options.istioctl.as_deref(), local.home.cache())?;
    let render = render_all(local, &istioctl, &base);
    let reach = reach_all(local, options, purpose, events);
    let leave = leave::survey(local, options, purpose, wishes.keep_control_plane, events);
    // What istioctl refuses is told at once, and before anything that a cluster says.
    let looks = async {
        let istio = istioctl.version().await?.to_owned();
        let (fleet, left) = futures::join!(reach, leave);
        Ok((istio, fleet, left))
    };
    let ((istio, fleet, (leavers, lost)), rendered) = futures::try_join!(looks, render)?;
    let fleet = fleet?;
    let (leavers, doubtful) = leave::sort_out(local, &fleet.reached, leavers, events);
    let mut lost = lost;
    lost.extend(doubtful);
    // A run may be about nothing but clusters that leave.
    let fleet = if leavers.is_empty() { some_of(fleet, &lost)? } else { fleet };
    policy::check(local, options, &fleet.reached, &istio, wishes.rename)?;
    let ahead = wishes.read_back.then(|| Ahead::ask(local, options, &fleet.reached)).flatten();
    let organization = wishes.organization.as_deref().unwrap_or(trust::DEFAULT_ORGANIZATION);
    let observed: Vec<(&Site, &Observed)> =
        fleet.reached.iter().map(|r| (r.site, r.seen.as_ref())).collect();
    let trust = trust::decide(local, &observed, organization, Timestamp::now())?;
    let old = policy::too_old(&fleet.reached, &istio);
    let pins = identity::notes(local, &fleet.reached);
    let notes = pins.into_iter().chain(old).chain(trust.notes.clone());
    tell(notes.chain(unlinked(local, &observed)).chain(moved(&observed)), events);
    let mut failed = trust.failed.clone();
    let in_order = fleet.reached.into_iter().filter(|r| !failed.contains_key(r.site.context()));
    let in_order: Vec<Reached<'_>> = in_order.collect();
    let at_hand = in_order.iter().map(|reached| reached.site.context().to_owned()).collect();
    let look = Look { local, rendered, trust: &trust, istio: &istio, at_hand };
    let mut compared = fleet::spread(in_order, |reached| compare(&look, reached));
    let looks = compared.iter_mut().map(|one| Box::pin(look_closer(one, purpose)));
    let looks = fleet::all(options.parallel, looks.collect::<Vec<_>>()).await;
    let (mut work, mut refused) = (Vec::new(), Vec::new());
    for (one, result) in compared.into_iter().zip(looks) {
        match result {
            Ok(()) => work.push(one),
            Err(Unreached::Refused(failure)) => refused.push(failure),
            Err(Unreached::Broken(failure)) => {
                failed.insert(one.context().to_owned(), failure);
            }
        }
    }
    policy::join(refused).map_or(Ok(()), Err)?;
    for (context, failure) in &failed {
        events.emit(Event::Failed { context: context.clone(), failure: failure.clone() });
    }
    tell(settle(local, &mut work), events);
    // What a killed run left is deleted as well.
    let touched = |one: &&Work<'_>| one.writes(true) || one.reached.seen.lease.is_some();
    let written = work.iter().filter(|one| purpose == Purpose::Write && touched(one));
    let written = written.map(|one| (&one.reached, one.kinds()));
    let silent = policy::check_all_rights(options.parallel, written).await?;
    if !silent.is_empty() {
        leave_out(&mut work, &silent, local, events);
        failed.extend(silent);
    }
    let ahead = ahead.filter(|_| leavers.is_empty() && !work.iter().any(|one| one.writes(true)));
    failed.extend(fleet.failed);
    failed.extend(lost);
    Ok(Prepared { istio, trust, work, leavers, failed, ahead })
}

/// Leaves clusters out that failed after all, and tells what comes of it.
pub(super) fn leave_out(
    work: &mut Vec<Work<'_>>,
    lost: &BTreeMap<String, Failure>,
    local: &Local,
    events: &Events,
) {
    work.retain(|one| !lost.contains_key(one.context()));
    for (context, failure) in lost {
        events.emit(Event::Failed { context: context.clone(), failure: failure.clone() });
    }
    tell(settle(local, work), events);
}

fn tell(notes: impl IntoIterator<Item = String>, events: &Events) {
    for text in notes {
        events.emit(Event::Note { text });
    }
}

/// Fails where there is nothing at all to work on.
fn some_of<'a>(
    mut fleet: Fleet<'a>,
    lost: &BTreeMap<String, Failure>,
) -> Result<Fleet<'a>, Failure> {
    if fleet.reached.is_empty() {
        fleet.failed.extend(lost.clone());
    }
    fleet.some()
}

/// Tells what there is to say about the files of the user.
pub(super) fn emit_notes(local: &Local, base: &Base, events: &Events) {
    let overlays = local.selected().filter_map(|site| site.overlay.as_ref());
    let bases = std::iter::once(base).chain(overlays).flat_map(|base| &base.notes);
    for note in local.topology.notes.iter().chain(bases) {
        events.emit(Event::Note { text: note.to_string() });
    }
}

/// Renders each variant once; clusters that share a base share its run of istioctl.
pub(super) async fn render_all(
    local: &Local,
    istioctl: &Istioctl,
    base: &Base,
) -> Result<BTreeMap<String, Arc<Rendering>>, Failure> {
    let mut by_input: BTreeMap<(Variant, Option<String>), Arc<Rendering>> = BTreeMap::new();
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
            let path = local.home.base();
            Arc::new(istioctl.render(&base.operator, overlay, &variant, &path).await?)
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

/// What a cluster is in the mesh. `own_namespace` says whether the namespace is the tool's.
pub(super) fn place<'a>(
    local: &'a Local,
    site: &'a Site,
    istio: &'a str,
    own_namespace: bool,
) -> Place<'a> {
    Place {
        mesh_id: local.topology.mesh_id.as_ref(),
        cluster: site.cluster.as_ref(),
        network: site.member.network.as_ref(),
        namespace: site.namespace(),
        reader: site.member.reader.as_ref(),
        joined: site.member.registry_join,
        gateway: local.many_networks(),
        own_address: site.member.gateway.is_some(),
        istio,
        own_namespace,
    }
}

/// What the clusters are compared with.
struct Look<'a> {
    local: &'a Local,
    rendered: BTreeMap<String, Arc<Rendering>>,
    trust: &'a Trust,
    istio: &'a str,
    /// The contexts that this run works on.
    at_hand: BTreeSet<String>,
}

/// Compares what a cluster should hold with what it holds.
fn compare<'a>(look: &Look<'_>, reached: Reached<'a>) -> Work<'a> {
    let Look { local, rendered, trust, istio, at_hand } = look;
    let (site, seen) = (reached.site, &reached.seen);
    let id = object::set_id(site.namespace());
    let own_namespace = seen.namespace.as_ref().is_none_or(|ns| object::is_ours(ns, &id));
    let place = place(local, site, istio, own_namespace);
    let rendering = rendered.get(site.context()).map(Arc::clone).unwrap_or_default();
    let desired = desired(&place, &rendering, trust.cacerts.get(site.context()));
    let changes = changes(&desired, |key| seen.live(key));
    let linked = local.linked_with(site, at_hand);
    let prunes = prunes(&seen.ours, &desired, &linked, FIELD_MANAGER);
    Work { reached, desired, changes, prunes, links: Vec::new() }
}

/// As [`find_foreign`], for a run with this purpose.
async fn look_closer(one: &mut Work<'_>, purpose: Purpose) -> Result<(), Unreached> {
    match find_foreign(&one.reached, &mut one.changes).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let Reached { site, cluster, .. } = &one.reached;
            Err(policy::unreached(site, cluster, purpose, error).await)
        }
    }
}

/// Finds objects that are to be created, but exist: without our mark they are somebody else's.
async fn find_foreign(reached: &Reached<'_>, changes: &mut [Change]) -> Result<(), kube::Error> {
    // In a namespace that is not there yet, nothing of it can be.
    let fresh = reached.seen.namespace.is_none();
    let unsure = changes
        .iter()
        .enumerate()
        .filter(|(_, change)| change.verb == Verb::Create)
        .filter(|(_, change)| !fresh || change.key().namespace.is_empty())
        .filter(|(_, change)| change.object["kind"] != "Namespace")
        .filter_map(|(index, change)| Some((index, ResourceId::of(&change.object)?)));
    let looks = unsure.map(|(index, id)| async move {
        Ok::<_, kube::Error>((index, reached.cluster.get(&id).await?))
    });
    let looks: Vec<_> = looks.collect();
    let id = object::set_id(reached.site.namespace());
    for (index, found) in fleet::try_all(REQUESTS, looks).await? {
        // One that is ours came after the list: what a killed run has sent may land as late as that.
        if let Some(found) = found.filter(|found| !object::is_ours(found, &id)) {
            changes[index].verb = Verb::Adopt;
            changes[index].before = Some(found);
        }
    }
    Ok(())
}

/// Decides what depends on which clusters are at hand: `work` is all of them. To be asked again
/// where one is left out after all. Gives what there is to say.
fn settle(local: &Local, work: &mut [Work<'_>]) -> Vec<String> {
    let at_hand: BTreeSet<String> = work.iter().map(|one| one.context().to_owned()).collect();
    for one in &mut *work {
        let Reached { site, seen, .. } = &one.reached;
        let linked = local.linked_with(site, &at_hand);
        let goes = prunes(&seen.ours, &one.desired, &linked, FIELD_MANAGER);
        one.prunes.retain(|prune| goes.contains(prune));
    }
    find_link_changes(local, work);
    keep_readers(local, work, &at_hand)
}

/// Finds the remote secrets that change, where the credentials are there already.
fn find_link_changes(local: &Local, work: &mut [Work<'_>]) {
    let credentials: BTreeMap<String, links::Known> = work
        .iter()
        .filter(|one| one.reached.site.member.registry_join)
        .map(|one| {
            let site = one.reached.site;
            let token = links::token_key(site);
            // Marking it anew leaves the token as it is.
            let made = |change: &Change| change.verb != Verb::Update && change.key() == token;
            let stays = !one.changes.iter().any(made);
            let known = links::Known {
                cluster: site.cluster.to_string(),
                credential: links::seen_credential(site, &one.reached.seen).filter(|_| stays),
            };
            (site.context().to_owned(), known)
        })
        .collect();
    for one in work {
        let peers = local.peers_of(one.reached.site);
        let peers = peers.into_iter().filter_map(|peer| credentials.get(peer.context()));
        one.links = links::changes(one.reached.site, &one.reached.seen, peers);
    }
}

/// Keeps the accounts that a cluster was read with before, as long as not every peer is at hand to
/// get a token of the new one.
fn keep_readers(local: &Local, work: &mut [Work<'_>], at_hand: &BTreeSet<String>) -> Vec<String> {
    let mut notes = Vec::new();
    for one in work {
        let site = one.reached.site;
        let mut joined = local.sites.iter().filter(|other| other.member.registry_join);
        let away = joined.find(|other| !at_hand.contains(other.context()));
        let Some(away) = away.filter(|_| site.member.registry_join) else { continue };
        let (_, accounts) = take_readers(&mut one.prunes);
        notes.extend(accounts.iter().map(|account| {
            format!(
                "`{}`: the account `{account}` and its token stay, as `{}` may still use them and is not worked on",
                site.context(),
                away.context()
            )
        }));
    }
    notes
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

/// What a changed network means for the pods that run already.
fn moved(observed: &[(&Site, &Observed)]) -> Vec<String> {
    let moved = observed.iter().filter_map(|(site, seen)| {
        let before = seen.parent.as_ref()?.pointer("/data/network")?.as_str()?;
        let now = site.member.network.as_ref();
        (before != now).then(|| {
            format!(
                "`{}` moves from the network `{before}` to `{now}`; pods with a sidecar there tell the former one until they are restarted",
                site.context()
            )
        })
    });
    moved.collect()
}

/// The kinds of what goes that only the apply set's parent knows of: it has to name them until
/// they are gone.
pub(super) fn unlisted_kinds(prunes: &[Prune]) -> BTreeSet<String> {
    let kinds = prunes.iter().map(|prune| prune.target.key.group_kind());
    kinds.filter(|kind| !observe::is_listed(kind)).collect()
}
