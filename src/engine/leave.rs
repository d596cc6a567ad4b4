//! A context that was deleted from the topology: its cluster leaves the mesh.

mod members;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use zeroize::Zeroizing;

pub(super) use self::members::Members;
use super::connect::{Purpose, Reached, reach};
use super::event::{Event, Events};
use super::fleet;
use super::identity;
use super::lease::{ClusterLease, Leases};
use super::links::{self, token_of};
use super::local::{Local, Options, Site};
use super::policy;
use super::status::token::{Review, try_review};
use super::teardown::{self, Cleared, Demolition, look};
use crate::error::Failure;
use crate::istio::remote_secret;
use crate::kube::{Apply, Error, quote};
use crate::plan::desired::{is_kept, kept};
use crate::plan::object::{ACCOUNT_TOKEN, is_ours, label, set_id};
use crate::plan::outline::Leaving;
use crate::plan::removal::Removal;

/// How long an API server may go on accepting a token that was revoked: it remembers for ten
/// seconds that it was good (k8s.io/kubernetes: `pkg/kubeapiserver/options/authentication.go`).
const MEMORY: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(250);
/// How long a look may take though that time is over.
const LEAST: Duration = Duration::from_secs(1);

/// A cluster that leaves, with what is decided for it.
pub(super) struct Leaver<'a> {
    pub reached: Reached<'a>,
    /// Its own remote secrets.
    links: Vec<Value>,
    /// The Secrets with the tokens by which peers read it.
    tokens: Vec<Value>,
    /// The tokens by which its peers read it, as far as they still hold them.
    held: Vec<Zeroizing<String>>,
    /// What a teardown would remove.
    removal: Removal,
}

/// What becomes of the control plane of a cluster that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is removed: the user agreed.
    Remove,
    /// It stays: the user wishes so.
    Keep,
    /// It stays until the user agrees.
    Ask,
}

/// What became of a cluster that left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// How many remote secrets were deleted in it.
    pub links: usize,
    /// Whether a token of it that its peers held was seen to be refused.
    pub revoked: bool,
    /// What was removed of its control plane; none where that was kept.
    pub cleared: Option<Cleared>,
}

/// Looks at the clusters that leave. Each that cannot be worked on is told, and stops no other one.
/// With `keep` their control planes stay.
pub(super) async fn survey<'a>(
    local: &'a Local,
    options: &Options,
    purpose: Purpose,
    keep: bool,
    events: &Events,
) -> (Vec<Leaver<'a>>, BTreeMap<String, Failure>) {
    let looks = local.leavers.iter().filter(|site| site.selected).map(|site| async move {
        let (context, what) = (site.context().to_owned(), "reading what is there".to_owned());
        events.emit(Event::Step { context, what });
        (site, Box::pin(survey_one(local, options, site, purpose, keep)).await)
    });
    let mut leavers = Vec::new();
    let mut failed = BTreeMap::new();
    for (site, result) in fleet::all(options.parallel, looks).await {
        match result {
            Ok(leaver) => leavers.push(leaver),
            Err(failure) => {
                let failure = give_up_hint(local, options, site.context(), failure);
                let context = site.context().to_owned();
                events.emit(Event::Failed { context, failure: failure.clone() });
                failed.insert(site.context().to_owned(), failure);
            }
        }
    }
    if options.contexts.is_empty() {
        failed.extend(local.lost().map(|(context, record)| {
            let failure = Failure::new(format!(
                "`{context}` left the mesh ({}), but the kubeconfig has it no more: what is there cannot be removed",
                record.server
            ))
            .hint("add the context to your kubeconfig and apply again");
            (context.clone(), give_up_hint(local, options, context, failure))
        }));
    }
    (leavers, failed)
}

/// Takes out of those that leave what is, or may be, a member under another name; nothing is done
/// there. A name of its own has to tell it from every member.
pub(super) fn sort_out<'a>(
    local: &Local,
    members: &[Reached<'_>],
    leavers: Vec<Leaver<'a>>,
    events: &Events,
) -> (Vec<Leaver<'a>>, BTreeMap<String, Failure>) {
    let mut uids: BTreeMap<&str, &str> = BTreeMap::new();
    let mut nameless = Vec::new();
    for site in &local.sites {
        let context = site.context();
        if let Some(record) = local.state.contexts.get(context) {
            uids.insert(&record.uid, context);
        } else if !members.iter().any(|member| member.site.context() == context) {
            nameless.push(context);
        }
    }
    uids.extend(members.iter().map(|member| (member.seen.uid.as_str(), member.site.context())));
    let mut doubtful = BTreeMap::new();
    let mut sure = Vec::new();
    for mut leaver in leavers {
        leaver.held = held(local, members, leaver.reached.site);
        let context = leaver.context();
        let Some(failure) = doubt(context, &leaver.reached.seen.uid, &uids, &nameless) else {
            sure.push(leaver);
            continue;
        };
        events.emit(Event::Failed { context: context.to_owned(), failure: failure.clone() });
        doubtful.insert(context.to_owned(), failure);
    }
    (sure, doubtful)
}

/// The tokens by which members read a cluster, in links that are the tool's.
fn held(local: &Local, members: &[Reached<'_>], site: &Site) -> Vec<Zeroizing<String>> {
    let links = members.iter().flat_map(|member| {
        let id = set_id(member.site.namespace());
        member.seen.remote_secrets.iter().filter(move |secret| is_ours(secret, &id))
    });
    let links = links.filter(|link| members::leads_to(local, link, site));
    links.filter_map(|link| remote_secret::token(link, site.cluster.as_ref())).collect()
}

/// Why a cluster that leaves may be a member: `members` are the contexts that are known by the UID
/// of their cluster, `nameless` are those whose cluster is not known.
fn doubt(
    context: &str,
    uid: &str,
    members: &BTreeMap<&str, &str>,
    nameless: &[&str],
) -> Option<Failure> {
    if let Some(member) = members.get(uid) {
        return Some(
            Failure::new(format!(
                "`{context}` is the cluster that the topology lists as `{member}`, so it does not leave"
            ))
            .hint("apply again: the record is put right"),
        );
    }
    let unknown = nameless.first()?;
    Some(
        Failure::new(format!(
            "`{context}` left the topology, but it may be the cluster that `{unknown}` names now, which was not looked at: nothing is removed there"
        ))
        .hint(format!("apply again when `{unknown}` answers, and without `--contexts`")),
    )
}

fn give_up_hint(local: &Local, options: &Options, context: &str, failure: Failure) -> Failure {
    let same_mesh = options.same_mesh(local.topology.mesh_id.as_ref());
    failure.hint(format!(
        "the others drop it all the same; to give up what is there: `kubectl multimesh apply --forget {}{same_mesh}`",
        quote(context)
    ))
}

async fn survey_one<'a>(
    local: &Local,
    options: &Options,
    site: &'a Site,
    purpose: Purpose,
    keep: bool,
) -> Result<Leaver<'a>, Failure> {
    let reached = Box::pin(reach(local, options, site, purpose)).await.map_err(Failure::from)?;
    identity::check(local, options, std::slice::from_ref(&reached))?;
    teardown::check_owner(local, options, &reached)?;
    if purpose == Purpose::Write {
        let missing = policy::check_rights(site, &reached.cluster).await?;
        missing.map_or(Ok(()), Err)?;
    }
    let removal = look(&reached.cluster, site.namespace(), &reached.seen).await?;
    let keep = keep || reached.seen.parent.as_ref().is_some_and(is_kept);
    if purpose == Purpose::Write && !keep {
        let kinds = teardown::kinds(&removal);
        let missing = policy::check_more_rights(site, &reached.cluster, &kinds).await?;
        missing.map_or(Ok(()), Err)?;
    }
    let secrets = || reached.seen.ours.values().filter(|object| object["kind"] == "Secret");
    let links = secrets().filter(|s| label(s, remote_secret::LABEL) == Some("true"));
    let links = links.cloned().collect();
    let tokens = secrets().filter(|s| s["type"] == ACCOUNT_TOKEN).cloned().collect();
    Ok(Leaver { reached, links, tokens, held: Vec::new(), removal })
}

impl Leaver<'_> {
    /// The kubeconfig context.
    pub(super) fn context(&self) -> &str {
        self.reached.site.context()
    }

    /// Whether there is anything of a control plane to be agreed about.
    pub(super) fn has_control_plane(&self) -> bool {
        !self.removal.is_nothing()
    }

    /// Whether its control plane stays, as an earlier run from anywhere was told.
    pub(super) fn is_kept(&self) -> bool {
        self.reached.seen.parent.as_ref().is_some_and(is_kept)
    }

    /// How it would leave.
    pub(super) fn outline(&self, keep: bool) -> Leaving {
        let keep = keep || self.is_kept();
        let clusters = self.links.iter().flat_map(remote_secret::clusters);
        Leaving {
            links: clusters.map(str::to_owned).collect(),
            revokes: !self.tokens.is_empty(),
            removal: (!keep).then(|| self.removal.clone()),
        }
    }

    /// Takes it out of the mesh: its links and its credentials at once, then its control plane,
    /// when no member holds a link to it any more.
    pub(super) async fn leave(
        &self,
        local: &Local,
        options: &Options,
        fate: Fate,
        leases: &Leases,
        events: &Events,
        members: &Members<'_>,
    ) -> Result<Departure, Failure> {
        let lease = self.lease(leases);
        let work = self.work(local, options, fate, &lease, events, members);
        Box::pin(lease.during(work)).await
    }

    /// The lease of the cluster.
    pub(super) fn lease<'l>(&'l self, leases: &'l Leases) -> ClusterLease<'l> {
        leases.of(&self.reached.cluster, self.reached.site.namespace(), &self.reached.seen)
    }

    /// Whether there is anything to be written.
    pub(super) fn writes(&self, fate: Fate) -> bool {
        let removes = fate == Fate::Remove && self.has_control_plane();
        let marks = fate == Fate::Keep && self.mark().is_some();
        removes || marks || !self.links.is_empty() || !self.tokens.is_empty()
    }

    async fn work(
        &self,
        local: &Local,
        options: &Options,
        fate: Fate,
        lease: &ClusterLease<'_>,
        events: &Events,
        members: &Members<'_>,
    ) -> Result<Departure, Failure> {
        let step = |what: &str| {
            let context = self.context().to_owned();
            events.emit(Event::Step { context, what: what.to_owned() });
        };
        if !self.links.is_empty() {
            step("dropping links");
            self.delete(&self.links, lease).await?;
        }
        if !self.tokens.is_empty() {
            step("revoking its credentials");
            self.delete(&self.tokens, lease).await?;
        }
        let links = self.links.len();
        if fate != Fate::Remove {
            let revoked = self.await_refusal(events).await?;
            if fate == Fate::Keep
                && let Some(parent) = self.mark()
            {
                let (cluster, _) = lease.bound().await?;
                cluster.apply(&parent, Apply::default()).await?;
            }
            return Ok(Departure { links, revoked, cleared: None });
        }
        if !self.has_control_plane() {
            // What may have come there since the look, nobody agreed to remove.
            let revoked = self.await_refusal(events).await?;
            let stays = self.removal.stays.clone();
            return Ok(Departure { links, revoked, cleared: Some(Cleared { deleted: 0, stays }) });
        }
        // What still sends requests here has to stop before anything that answers them goes.
        step("waiting for the others to drop their links");
        if let Some(failure) = members.linked_with(local, options, self.reached.site).await {
            self.await_refusal(events).await?;
            return Err(failure);
        }
        members.await_forgotten(local, options, self.reached.site).await;
        if self.has_ground() {
            lease.ensure().await?;
        }
        let demolition = Demolition {
            cluster: &self.reached.cluster,
            namespace: self.reached.site.namespace(),
            mesh_id: local.topology.mesh_id.as_ref(),
            limit: options.timeout,
            deadline: Instant::now() + options.timeout,
            lease,
            events,
        };
        let (cleared, refused) =
            futures::join!(Box::pin(demolition.run()), Box::pin(self.await_refusal(events)));
        Ok(Departure { links, revoked: refused?, cleared: Some(cleared?) })
    }

    /// Whether there is a namespace that a lease can be in: what is outside of it needs none.
    fn has_ground(&self) -> bool {
        let ground = self.reached.seen.namespace.as_ref();
        ground.is_some_and(|namespace| !namespace["metadata"]["deletionTimestamp"].is_string())
    }

    /// The apply set's parent as it says that the control plane stays; none where it says so already.
    fn mark(&self) -> Option<Value> {
        self.reached.seen.parent.as_ref().filter(|parent| !is_kept(parent)).map(kept)
    }

    async fn delete(&self, secrets: &[Value], lease: &ClusterLease<'_>) -> Result<(), Failure> {
        let lease = Some(lease).filter(|_| self.has_ground());
        links::delete(&self.reached.cluster, secrets, lease).await?;
        Ok(())
    }

    /// Waits until the API server refuses the tokens that were revoked; says whether it is seen to:
    /// there may be none, and it may not tell.
    async fn await_refusal(&self, events: &Events) -> Result<bool, Failure> {
        let revoked = self.tokens.iter().filter_map(|secret| Some(token_of(secret)?.1));
        // A run that was cut short may have revoked what peers still hold.
        let mut tokens: Vec<Zeroizing<String>> = revoked.chain(self.held.iter().cloned()).collect();
        tokens.sort_by(|a, b| a.as_str().cmp(b));
        tokens.dedup();
        let end = Instant::now() + MEMORY;
        for token in &tokens {
            loop {
                let left = end.saturating_duration_since(Instant::now());
                let cluster = self.reached.cluster.within(left.max(LEAST));
                match try_review(&cluster, token).await {
                    Ok(Review::Refused(_)) => break,
                    Err(error) if error.is_final() => {
                        events.emit(Event::Note { text: unchecked(self.context(), &error) });
                        return Ok(false);
                    }
                    Err(error) if Instant::now() >= end => return Err(error.into()),
                    Ok(Review::Valid) if Instant::now() >= end => {
                        return Err(Failure::new(format!(
                            "`{}`: the Secrets with its tokens are deleted, and the API server still accepts one that its peers held, after {} s",
                            self.context(),
                            MEMORY.as_secs()
                        ))
                        .hint("apply again: it is checked once more"));
                    }
                    Ok(_) | Err(_) => tokio::time::sleep(INTERVAL).await,
                }
            }
        }
        Ok(!tokens.is_empty())
    }
}

/// What there is to say where the API server does not tell whether it refuses a token.
fn unchecked(context: &str, error: &Error) -> String {
    format!(
        "`{context}`: the token that its peers held was deleted; whether it is refused could not be checked: {error}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_is_or_may_be_a_member_does_not_leave() {
        let members = BTreeMap::from([("u1", "east")]);
        assert_eq!(doubt("old", "u2", &members, &[]), None);
        let same = doubt("old", "u1", &members, &[]).unwrap();
        assert!(same.message.contains("lists as `east`"), "{same}");
        let unknown = doubt("old", "u2", &members, &["new"]).unwrap();
        assert!(unknown.message.contains("may be the cluster that `new` names now"), "{unknown}");
    }
}
