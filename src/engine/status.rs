//! `status`: each cluster of the mesh as it is, and whether the mesh is healthy. Reads only.
//!
//! The clusters are looked at side by side, and each with all questions at once. Then the tokens
//! that they hold for each other are shown to the clusters that they lead to. What comes of it is
//! judged without a network, against the topology and the root CA in the mesh directory.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::link::{Seen, pairs, word};
pub(super) use self::look::ask_istiods;
use self::look::{Look, Unseen};
use self::token::Reviews;
pub(super) use self::trust::days;
use super::connect::{Unconnected, connect};
use super::event::{Event, Events};
use super::fleet;
use super::identity;
use super::local::{Local, Options, Site};
use crate::error::Failure;
use crate::istio::istiod::SyncStatus;
use crate::kube::Cluster;

mod ahead;
mod build;
mod cluster;
mod facts;
mod link;
mod look;
mod model;
#[cfg(test)]
mod tests;
pub(super) mod token;
mod trust;

pub use ahead::Ahead;
pub use model::*;

/// After this time the user is told which cluster is waited for.
const TELL: Duration = Duration::from_secs(3);
/// How often links that come up are looked at.
const INTERVAL: Duration = Duration::from_millis(250);
/// The longest wait for links after an apply.
const SETTLE: Duration = Duration::from_secs(60);
/// How long each call of the look after a long wait for links may take.
const AGAIN: Duration = Duration::from_secs(5);

/// A cluster that was looked at. Without a connection there is a reason in place of the look.
struct Visit<'a> {
    site: &'a Site,
    cluster: Option<Cluster>,
    look: Result<Look, Unseen>,
}

/// Looks at the selected clusters. One that does not answer is part of the answer.
pub async fn status(local: &Local, options: &Options, events: &Events) -> MeshStatus {
    let sites: Vec<&Site> = local.selected().collect();
    let visits = sites.iter().map(|site| async {
        let visit = Box::pin(async {
            match connect(local, options, site.context()).await {
                Ok(cluster) => visit(local, options, site, cluster, &sites).await,
                Err(why) => {
                    let look = Err(match why {
                        Unconnected::OtherCluster(failure) => Unseen::OtherCluster(failure),
                        Unconnected::Broken(failure) => Unseen::Unreachable(failure),
                    });
                    Visit { site, cluster: None, look }
                }
            }
        });
        told(site.context(), &site.entry.server, events, visit, why_not).await
    });
    let visits = fleet::all(options.parallel, visits).await;
    report(local, options, &visits).await
}

/// A cluster that an apply is done with.
pub struct Applied<'a> {
    /// Its place in the topology.
    pub site: &'a Site,
    /// The connection to it.
    pub cluster: &'a Cluster,
}

/// Reads the mesh back after an apply: the clusters that are done, waiting for links that come up.
/// A healthy mesh where nothing was written needs no look beyond those that were `ahead`.
pub async fn settled(
    local: &Local,
    options: &Options,
    done: &[Applied<'_>],
    ahead: Option<Ahead<'_>>,
    events: &Events,
) -> MeshStatus {
    let ahead = match ahead {
        Some(ahead) => ahead.finish(done).await,
        None => None,
    };
    if let Some((visits, reviews)) = ahead {
        let report = judge(local, &visits, &reviews);
        if report.verdict == Verdict::Healthy {
            return report;
        }
    }
    let sites: Vec<&Site> = done.iter().map(|applied| applied.site).collect();
    let visits = done
        .iter()
        .map(|Applied { site, cluster }| visit(local, options, site, (*cluster).clone(), &sites));
    let mut visits = fleet::all(options.parallel, visits).await;
    settle(local, options, &sites, &mut visits, events).await;
    report(local, options, &visits).await
}

async fn visit<'a>(
    local: &Local,
    options: &Options,
    site: &'a Site,
    cluster: Cluster,
    sites: &[&Site],
) -> Visit<'a> {
    let cluster = cluster.within(options.request_timeout);
    let peers = peers(site, sites);
    let look = Box::pin(look::look(site, &cluster, &peers, local.many_networks())).await;
    let look = look.and_then(|look| identify(local, options, site, look));
    Visit { site, cluster: Some(cluster), look }
}

/// Passes on a look at the cluster that the context was before, or that was never applied.
fn identify(local: &Local, options: &Options, site: &Site, look: Look) -> Result<Look, Unseen> {
    let checked = match &look.uid {
        Some(uid) => identity::check_uid(local, options, site, uid),
        None => Ok(()),
    };
    checked.map(|()| look).map_err(Unseen::OtherCluster)
}

/// The names of the clusters that a cluster should read.
fn peers<'a>(site: &Site, sites: &[&'a Site]) -> Vec<&'a str> {
    if !site.member.registry_join {
        return Vec::new();
    }
    let joined = sites.iter().filter(|s| s.member.registry_join && s.context() != site.context());
    joined.map(|site| site.cluster.as_ref()).collect()
}

fn why_not<'v>(visit: &'v Visit<'_>) -> Option<&'v Failure> {
    visit.look.as_ref().err().map(Unseen::failure)
}

/// Waits for a look at a cluster; tells when it takes long, and how it ended then.
pub(super) async fn told<T>(
    context: &str,
    server: &str,
    events: &Events,
    mut look: impl Future<Output = T> + Unpin,
    why_not: impl FnOnce(&T) -> Option<&Failure>,
) -> T {
    if let Ok(seen) = tokio::time::timeout(TELL, &mut look).await {
        return seen;
    }
    let context = context.to_owned();
    events
        .emit(Event::Waiting { context: context.clone(), what: format!("an answer of {server}") });
    let seen = look.await;
    events.emit(match why_not(&seen) {
        None => Event::Finished { context, what: "answered".into() },
        Some(failure) => Event::Failed { context, failure: failure.clone() },
    });
    seen
}

/// Asks the istiods of clusters with links that are not up again, until they are, or the time is
/// over. Where that took long, or no istiod was ready, there is more than links to look at again.
async fn settle(
    local: &Local,
    options: &Options,
    sites: &[&Site],
    visits: &mut [Visit<'_>],
    events: &Events,
) {
    let started = Instant::now();
    let limit = options.timeout.min(SETTLE);
    let mut told = BTreeSet::new();
    let mut again = BTreeSet::new();
    loop {
        let late = late(visits);
        tell_ends(&mut told, &late, events);
        if late.is_empty() || started.elapsed() >= limit {
            break;
        }
        let long = started.elapsed() >= TELL;
        let replicas = |index: usize| visits[index].look.as_ref().map_or(0, |l| l.replicas.len());
        again.extend(late.iter().map(|late| late.0).filter(|index| long || replicas(*index) == 0));
        if long {
            for (_, site, what) in &late {
                let context = site.context().to_owned();
                told.insert(context.clone());
                events.emit(Event::Waiting { context, what: what.clone() });
            }
        }
        tokio::time::sleep(INTERVAL).await;
        let asked = late.iter().filter_map(|&(index, ..)| {
            let Visit { site, cluster, .. } = &visits[index];
            let (cluster, peers) = (cluster.as_ref()?, peers(site, sites));
            Some(async move { (index, look::ask_istiods(cluster, site.namespace(), &peers).await) })
        });
        let answers = fleet::all(options.parallel, asked).await;
        for (index, answer) in answers {
            if let (Ok((pods, replicas)), Ok(look)) = (answer, &mut visits[index].look) {
                (look.pods, look.replicas) = (Some(pods), replicas);
            }
        }
    }
    let again = again.into_iter().filter_map(|index| {
        let Visit { site, cluster, .. } = &visits[index];
        let cluster = cluster.as_ref()?.within(AGAIN);
        Some(async move { (index, visit(local, options, site, cluster, sites).await) })
    });
    for (index, visit) in fleet::all(options.parallel, again).await {
        // One that does not answer just now was seen a moment ago.
        if !matches!(visit.look, Err(Unseen::Unreachable(_))) {
            visits[index] = visit;
        }
    }
    tell_ends(&mut told, &late(visits), events);
}

/// Tells which clusters that were told to be late are not any more.
fn tell_ends(told: &mut BTreeSet<String>, late: &[(usize, &Site, String)], events: &Events) {
    told.retain(|context| {
        let is_late = late.iter().any(|(_, site, _)| site.context() == context);
        if !is_late {
            let what = "all links are up".to_owned();
            events.emit(Event::Finished { context: context.clone(), what });
        }
        is_late
    });
}

/// The clusters whose istiod has a remote secret that it has not followed yet: index, site and what
/// is waited for.
fn late<'a>(visits: &[Visit<'a>]) -> Vec<(usize, &'a Site, String)> {
    let sites: Vec<&Site> = visits.iter().map(|visit| visit.site).collect();
    let late = visits.iter().enumerate().filter_map(|(index, Visit { site, look, .. })| {
        let look = look.as_ref().ok()?;
        let secrets = look.remote_secrets.as_deref().unwrap_or_default();
        let missing: Vec<String> = peers(site, &sites)
            .into_iter()
            .filter(|peer| token::held(secrets, peer).is_some())
            .filter(|peer| word(look, peer) != Some(SyncStatus::Synced))
            .map(|peer| format!("`{peer}`"))
            .collect();
        let what = match look.replicas.as_slice() {
            [] if look.pods.is_some() => "a ready replica of istiod".to_owned(),
            _ => format!("istiod reading {}", missing.join(", ")),
        };
        (!missing.is_empty()).then_some((index, *site, what))
    });
    late.collect()
}

fn seen<'v, 'a: 'v>(visits: &'v [Visit<'a>]) -> Vec<Seen<'v>> {
    visits.iter().map(|visit| (visit.site, &visit.look)).collect()
}

/// Has the tokens of all links reviewed, and judges.
async fn report(local: &Local, options: &Options, visits: &[Visit<'_>]) -> MeshStatus {
    judge(local, visits, &Reviews::ask(options.parallel, tokens(visits)).await)
}

/// The tokens of all links, each with the cluster that it leads to.
fn tokens(visits: &[Visit<'_>]) -> Vec<(Cluster, Zeroizing<String>)> {
    let seen = seen(visits);
    let tokens = pairs(&seen).filter_map(|((_, reader), (to, target))| {
        let secrets = reader.as_ref().ok()?.remote_secrets.as_ref()?;
        let token = token::held(secrets, to.cluster.as_ref())?.token?;
        let visit = visits.iter().find(|visit| visit.site.context() == to.context())?;
        target.is_ok().then_some((visit.cluster.clone()?, token))
    });
    tokens.collect()
}

fn judge(local: &Local, visits: &[Visit<'_>], reviews: &Reviews) -> MeshStatus {
    let now = Timestamp::now();
    // Nobody needs the fraction of the second.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    build::build(local, &seen(visits), reviews, now)
}
