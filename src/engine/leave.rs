//! A context that was deleted from the topology: its cluster leaves the mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::connect::{Purpose, Reached, reach};
use super::countdown::Countdown;
use super::event::{Event, Events};
use super::fleet::{self, REQUESTS};
use super::identity;
use super::lease::{ClusterLease, Leases};
use super::links::token_of;
use super::local::{Local, Options, Site};
use super::status::token::{Review, review};
use super::teardown::{self, Cleared, Demolition, look};
use crate::error::Failure;
use crate::istio::remote_secret;
use crate::kube::{Propagation, ResourceId, quote};
use crate::plan::object::{ACCOUNT_TOKEN, label};
use crate::plan::outline::Leaving;
use crate::plan::removal::Removal;

/// How long an API server may go on accepting a token that was revoked: it remembers for ten
/// seconds that it was good (k8s.io/kubernetes: `pkg/kubeapiserver/options/authentication.go`).
const MEMORY: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(250);

/// A cluster that leaves, with what is decided for it.
pub(super) struct Leaver<'a> {
    pub reached: Reached<'a>,
    /// Its own remote secrets.
    links: Vec<Value>,
    /// The Secrets with the tokens by which peers read it.
    tokens: Vec<Value>,
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
    /// Whether a token of it that its peers held was revoked, and seen to be refused.
    pub revoked: bool,
    /// What was removed of its control plane; none where that was kept.
    pub cleared: Option<Cleared>,
}

/// Looks at the clusters that leave. Each that cannot be worked on is told, and stops no other one.
pub(super) async fn survey<'a>(
    local: &'a Local,
    options: &Options,
    purpose: Purpose,
    events: &Events,
) -> (Vec<Leaver<'a>>, BTreeMap<String, Failure>) {
    let looks = local.leavers.iter().filter(|site| site.selected).map(|site| async move {
        let (context, what) = (site.context().to_owned(), "reading what is there".to_owned());
        events.emit(Event::Step { context, what });
        (site, Box::pin(survey_one(local, options, site, purpose)).await)
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
    for leaver in leavers {
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
) -> Result<Leaver<'a>, Failure> {
    let reached = Box::pin(reach(local, options, site, purpose)).await.map_err(Failure::from)?;
    identity::check(local, options, std::slice::from_ref(&reached))?;
    teardown::check_owner(local, options, &reached)?;
    let removal = look(&reached.cluster, site.namespace(), &reached.seen).await?;
    let secrets = || reached.seen.ours.values().filter(|object| object["kind"] == "Secret");
    let links = secrets().filter(|s| label(s, remote_secret::LABEL) == Some("true"));
    let links = links.cloned().collect();
    let tokens = secrets().filter(|s| s["type"] == ACCOUNT_TOKEN).cloned().collect();
    Ok(Leaver { reached, links, tokens, removal })
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

    /// How it would leave.
    pub(super) fn outline(&self, keep: bool) -> Leaving {
        let clusters = self.links.iter().flat_map(remote_secret::clusters);
        Leaving {
            links: clusters.map(str::to_owned).collect(),
            revokes: !self.tokens.is_empty(),
            removal: (!keep).then(|| self.removal.clone()),
        }
    }

    /// Takes it out of the mesh: its links and its credentials at once, then its control plane,
    /// when nobody is `linked` with it any more.
    pub(super) async fn leave(
        &self,
        local: &Local,
        options: &Options,
        fate: Fate,
        leases: &Leases,
        events: &Events,
        linked: &Countdown,
    ) -> Result<Departure, Failure> {
        let lease = self.lease(leases);
        let work = self.work(local, options, fate, &lease, events, linked);
        Box::pin(lease.during(work)).await
    }

    /// The lease of the cluster.
    pub(super) fn lease<'l>(&'l self, leases: &'l Leases) -> ClusterLease<'l> {
        leases.of(&self.reached.cluster, self.reached.site.namespace(), &self.reached.seen)
    }

    /// Whether there is anything to be written.
    pub(super) fn writes(&self, fate: Fate) -> bool {
        let removes = fate == Fate::Remove && self.has_control_plane();
        removes || !self.links.is_empty() || !self.tokens.is_empty()
    }

    async fn work(
        &self,
        local: &Local,
        options: &Options,
        fate: Fate,
        lease: &ClusterLease<'_>,
        events: &Events,
        linked: &Countdown,
    ) -> Result<Departure, Failure> {
        let step = |what: &str| {
            let context = self.context().to_owned();
            events.emit(Event::Step { context, what: what.to_owned() });
        };
        if !self.links.is_empty() {
            step("dropping links");
            self.delete(&self.links).await?;
        }
        if !self.tokens.is_empty() {
            step("revoking its credentials");
            self.delete(&self.tokens).await?;
        }
        let links = self.links.len();
        if fate != Fate::Remove {
            self.await_refusal().await?;
            let revoked = !self.tokens.is_empty();
            return Ok(Departure { links, revoked, cleared: None });
        }
        // What still sends requests here has to stop before anything that answers them goes.
        step("waiting for the others to drop their links");
        linked.end().await;
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
            futures::join!(Box::pin(demolition.run()), Box::pin(self.await_refusal()));
        refused?;
        let revoked = !self.tokens.is_empty();
        Ok(Departure { links, revoked, cleared: Some(cleared?) })
    }

    async fn delete(&self, secrets: &[Value]) -> Result<(), Failure> {
        let cluster = &self.reached.cluster;
        let deletes = secrets.iter().filter_map(|secret| {
            let uid = secret["metadata"]["uid"].as_str()?;
            let id = ResourceId::of(secret)?;
            Some(async move { cluster.delete(&id, Some(uid), Propagation::Background).await })
        });
        fleet::try_all(REQUESTS, deletes).await?;
        Ok(())
    }

    /// Waits until the API server refuses the tokens that were revoked.
    async fn await_refusal(&self) -> Result<(), Failure> {
        let tokens: BTreeSet<String> =
            self.tokens.iter().filter_map(|secret| Some(token_of(secret)?.1.to_string())).collect();
        let end = Instant::now() + MEMORY;
        for token in tokens {
            loop {
                match review(&self.reached.cluster, &token).await {
                    Review::Refused(_) => break,
                    Review::Unchecked(failure) if Instant::now() >= end => return Err(failure),
                    Review::Valid if Instant::now() >= end => {
                        return Err(Failure::new(format!(
                            "`{}`: its token was deleted, and the API server still accepts it after {} s",
                            self.context(),
                            MEMORY.as_secs()
                        ))
                        .hint("apply again: it is checked once more"));
                    }
                    Review::Valid | Review::Unchecked(_) => {
                        tokio::time::sleep(INTERVAL).await;
                    }
                }
            }
        }
        Ok(())
    }
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
