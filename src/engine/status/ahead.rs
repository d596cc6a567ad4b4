//! What an apply with nothing to write asks at its end, asked while it is prepared: the clusters are
//! as they were seen a moment ago, and only what runs there is left to be asked.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::look::{Istiods, POD_LIMIT, ask_istiods, recall};
use super::token::Reviews;
use super::{Applied, Visit, late, peers, tokens};
use crate::engine::connect::Reached;
use crate::engine::links::{token_key, token_of};
use crate::engine::local::{Local, Options, Site};

/// A look that is older than that is made again: plugins and other clusters may have taken their time.
const MOMENT: Duration = Duration::from_secs(10);

/// Looks at all clusters of a run, of which the istiods and the tokens are asked still. What is
/// dropped is asked no longer.
pub struct Ahead<'a> {
    /// When the first of the looks began.
    since: Instant,
    visits: Vec<Visit<'a>>,
    istiods: JoinSet<(usize, Option<Istiods>)>,
    reviews: JoinSet<Reviews>,
}

impl<'a> Ahead<'a> {
    /// Begins to ask. `None` where what was seen does not do.
    pub(in crate::engine) fn ask(
        local: &Local,
        options: &Options,
        reached: &[Reached<'a>],
    ) -> Option<Self> {
        let visits = reached.iter().map(|Reached { site, cluster, seen }| {
            let look = recall(site, seen, local.many_networks())?;
            let cluster = cluster.within(options.request_timeout);
            Some(Visit { site, cluster: Some(cluster), look: Ok(look) })
        });
        let visits: Vec<Visit<'a>> = visits.collect::<Option<_>>()?;
        let since = reached.iter().map(|reached| reached.seen.at).min()?;
        let sites: Vec<&Site> = reached.iter().map(|reached| reached.site).collect();
        // A cluster that falls silent now is waited for again, by the full look.
        let mut istiods = JoinSet::new();
        for (index, Reached { site, cluster, .. }) in reached.iter().enumerate() {
            let cluster = cluster.within(POD_LIMIT);
            let namespace = site.namespace().to_owned();
            let peers: Vec<String> = peers(site, &sites).into_iter().map(str::to_owned).collect();
            istiods.spawn(async move {
                let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
                (index, ask_istiods(&cluster, &namespace, &peers).await.ok())
            });
        }
        let mut reviews = JoinSet::new();
        // None but its own is shown to a cluster: a peer may hold one of the cluster that was there
        // before.
        let own = |context: &str, token: &str| {
            let one = reached.iter().find(|one| one.site.context() == context);
            let made = one.and_then(|one| token_of(one.seen.ours.get(&token_key(one.site))?));
            made.is_some_and(|(_, made)| *made == token)
        };
        let mut tokens = tokens(&visits);
        tokens.retain(|(cluster, token)| own(cluster.context(), token));
        for (cluster, _) in &mut tokens {
            *cluster = cluster.within(POD_LIMIT);
        }
        let parallel = options.parallel;
        reviews.spawn(async move { Reviews::ask(parallel, tokens).await });
        Some(Self { since, visits, istiods, reviews })
    }

    /// Waits for the answers; `None` where one of them is missing, links are not up yet, the looks are
    /// too old by now, or not all of the clusters are `done`.
    pub(super) async fn finish(
        mut self,
        done: &[Applied<'_>],
    ) -> Option<(Vec<Visit<'a>>, Reviews)> {
        let asked = self.visits.iter().map(|visit| visit.site.context());
        if !asked.eq(done.iter().map(|one| one.site.context())) {
            return None;
        }
        while let Some(asked) = self.istiods.join_next().await {
            let (index, answer) = asked.ok()?;
            let look = self.visits.get_mut(index)?.look.as_mut().ok()?;
            let (pods, replicas) = answer?;
            (look.pods, look.replicas) = (Some(pods), replicas);
        }
        if !late(&self.visits).is_empty() {
            return None;
        }
        let reviews = self.reviews.join_next().await?.ok()?;
        (self.since.elapsed() < MOMENT).then_some((self.visits, reviews))
    }
}
