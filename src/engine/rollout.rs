//! One cluster's part of an apply: its objects step by step, its links as its peers get ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::countdown::{Count, Countdown};
use super::event::{Event, Events};
use super::fleet::{self, REQUESTS};
use super::lease::ClusterLease;
use super::links::{self, CloseOnDrop, Exchange};
use super::local::Site;
use super::observe::Observed;
use super::quoted::without_secrets;
use super::wait::{Wait, rollout_missing, service_address};
use crate::error::Failure;
use crate::istio::operator::GATEWAY;
use crate::istio::remote_secret::Credential;
use crate::kube::{self, Apply, Cluster, Deletion, FIELD_MANAGER};
use crate::plan::change::{Change, Verb, change};
use crate::plan::object::{Key, label, set_id};
use crate::plan::order::Step;
use crate::plan::prune::{Prune, take_readers};

/// How an apply goes about its work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Whether to wait until everything is ready.
    pub wait: bool,
    /// Whether to take over objects and fields that somebody else manages.
    pub force: bool,
    /// Whether to delete what nothing wants any more. Links go in any case.
    pub prune: bool,
    /// How long to wait for one cluster.
    pub timeout: Duration,
}

/// How long one write may take with all its attempts: a loaded API server takes its time over a
/// large definition, and sending an object twice does no harm. No attempt outlasts the lease.
const WRITE_LIMIT: Duration = Duration::from_secs(120);
/// How long an API server may take to serve a kind that was just defined.
const KIND_LIMIT: Duration = Duration::from_secs(30);
/// How often the deletion of an object is tried that changes at this very moment.
const TRIES: usize = 10;
/// How many definitions are sent at once where istiod is waited for, which starts meanwhile: each
/// costs an API server a second of work. All at once they cost less together.
const DEFINITIONS: usize = 3;

/// What was written to a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Objects that were not there.
    pub created: usize,
    /// Objects that differed.
    pub updated: usize,
    /// Objects that somebody else had made.
    pub adopted: usize,
    /// Objects that went.
    pub pruned: usize,
}

impl Written {
    /// Whether nothing was written.
    pub const fn is_nothing(self) -> bool {
        self.created + self.updated + self.adopted + self.pruned == 0
    }
}

/// A cluster on its way into the mesh.
pub(super) struct Rollout<'a> {
    /// Its place in the topology.
    pub site: &'a Site,
    /// The connection to it.
    pub cluster: &'a Cluster,
    /// What was there before.
    pub seen: &'a Observed,
    /// All its objects but the remote secrets.
    pub desired: &'a [Arc<Value>],
    /// What has to be written.
    pub changes: Vec<Change>,
    /// What goes.
    pub prunes: Vec<Prune>,
    /// What is written when all else is done.
    pub last: Option<Change>,
    /// The contexts that it is to be linked with.
    pub peers: Vec<&'a Site>,
    /// Where credentials are exchanged.
    pub exchange: &'a Exchange,
    /// How to go about it.
    pub manner: Manner,
    /// The cluster's lease.
    pub lease: &'a ClusterLease<'a>,
    /// Where events go.
    pub events: &'a Events,
    /// How many clusters are written to at once.
    pub turns: &'a Semaphore,
    /// Held until the links to clusters that leave are gone here.
    pub leavers_linked: Option<Count<'a>>,
    /// Held until all links are made here.
    pub linking: Option<Count<'a>>,
    /// Until all links are made everywhere.
    pub all_links: &'a Countdown,
}

#[derive(Default)]
struct Counter {
    created: AtomicUsize,
    updated: AtomicUsize,
    adopted: AtomicUsize,
    pruned: AtomicUsize,
}

impl From<Counter> for Written {
    fn from(counter: Counter) -> Self {
        Self {
            created: counter.created.into_inner(),
            updated: counter.updated.into_inner(),
            adopted: counter.adopted.into_inner(),
            pruned: counter.pruned.into_inner(),
        }
    }
}

impl Rollout<'_> {
    /// Brings the cluster to where it should be.
    pub(super) async fn run(mut self) -> Result<Written, Failure> {
        let _close = CloseOnDrop(self.exchange, self.site.context());
        let counter = Counter::default();
        // Before any write: peers need not wait for a cluster that breaks now.
        if let Some(credential) = self.known_credential() {
            self.exchange.publish(self.site.context(), Some(credential));
        }
        {
            let _turn = self.turns.acquire().await;
            self.write(&counter, Step::Ground, "creating the namespace").await?;
            self.prune(&counter, "dropping links", |prune| prune.link.is_some()).await?;
            if let Some(count) = self.leavers_linked.take() {
                count.done();
            }
            let what = "writing accounts, rights and certificates";
            self.write(&counter, Step::Foundation, what).await?;
            self.write(&counter, Step::Tokens, what).await?;
        }
        let linking = self.linking.take();
        let (ready, istiod) = oneshot::channel();
        let link = async {
            let linked = self.link(&counter, istiod).await;
            if let Some(count) = linking.filter(|_| linked.is_ok()) {
                count.done();
            }
            linked
        };
        let (published, linked, installed) =
            futures::join!(self.publish(), link, self.install(&counter, ready));
        let failures = [published, linked, installed].into_iter().filter_map(Result::err);
        if let Some(failure) = Failure::combine(failures) {
            return Err(failure);
        }
        // Nothing goes before what takes its place is there.
        if self.manner.prune {
            let what = "deleting what is not wanted any more";
            let (readers, _) = take_readers(&mut self.prunes.clone());
            let is_reader = |prune: &Prune| readers.contains(prune);
            let is_other = |prune: &Prune| prune.link.is_none() && !is_reader(prune);
            self.prune(&counter, what, is_other).await?;
            // A peer that could not be given another token goes on with the former one.
            if !readers.is_empty() && self.all_links.end().await {
                self.prune(&counter, what, is_reader).await?;
            }
        }
        if let Some(change) = &self.last {
            self.send(&counter, change).await?;
        }
        Ok(counter.into())
    }

    /// How many objects go that are no links.
    pub(super) fn unwanted(&self) -> usize {
        self.prunes.iter().filter(|prune| prune.link.is_none()).count()
    }

    /// Deletes some of what goes, stage by stage.
    async fn prune(
        &self,
        counter: &Counter,
        what: &str,
        which: impl Fn(&Prune) -> bool,
    ) -> Result<(), Failure> {
        let prunes: Vec<&Prune> = self.prunes.iter().filter(|prune| which(prune)).collect();
        if prunes.is_empty() {
            return Ok(());
        }
        self.step(what);
        for stage in prunes.chunk_by(|a, b| a.target.stage == b.target.stage) {
            let deletes = stage.iter().map(|prune| async {
                let result = self.delete(prune).await?;
                let context = self.site.context();
                tracing::info!(context, object = %prune.target.key, ?result, "pruned");
                if matches!(result, Deletion::Deleted | Deletion::Deleting) {
                    counter.pruned.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, Failure>(())
            });
            fleet::try_all(REQUESTS, deletes).await?;
        }
        Ok(())
    }

    /// Deletes an object as it was seen, or, where it has changed since, as long as it is still an
    /// apply's.
    async fn delete(&self, prune: &Prune) -> Result<Deletion, Failure> {
        let (context, key) = (self.site.context(), &prune.target.key);
        let id = (&prune.target).into();
        let set_id = set_id(self.site.namespace());
        let mut object = prune.object.clone();
        for _ in 0..TRIES {
            let (cluster, _) = self.lease.bound().await?;
            match cluster.delete_unchanged(&object).await {
                Ok(Deletion::Replaced) => {}
                Ok(result) => return Ok(result),
                Err(error) => return Err(without_secrets(&object, None, error.into())),
            }
            match self.cluster.get(&id).await? {
                Some(found) if prune.is_still(&found, &set_id, FIELD_MANAGER) => object = found,
                None => return Ok(Deletion::AlreadyGone),
                Some(found) if found["metadata"]["deletionTimestamp"].is_string() => {
                    return Ok(Deletion::AlreadyGone);
                }
                Some(_) => {
                    self.note(format!(
                        "`{context}`: {key} was to go, but somebody has made it theirs meanwhile: it is kept"
                    ));
                    return Ok(Deletion::Replaced);
                }
            }
        }
        Err(Failure::new(format!(
            "`{context}`: {key} was not deleted: somebody changes it again and again"
        ))
        .hint("find out who: `metadata.managedFields` names the one; then apply again"))
    }

    /// The credential by which peers reach this cluster, where it is known from the start.
    fn known_credential(&self) -> Option<Credential> {
        if !self.site.member.registry_join {
            return None;
        }
        let token = links::token_key(self.site);
        let stays = !self.changes.iter().any(|change| change.key() == token);
        links::seen_credential(self.site, self.seen).filter(|_| stays)
    }

    /// Hands this cluster's credential to its peers.
    async fn publish(&self) -> Result<(), Failure> {
        if self.site.member.registry_join && !self.peers.is_empty() {
            let credential = match self.known_credential() {
                // It was handed out at the start.
                Some(_) => return Ok(()),
                None => links::credential(self.site, self.cluster).await,
            };
            self.exchange.publish(self.site.context(), credential.as_ref().ok().cloned());
            credential?;
        }
        Ok(())
    }

    /// Writes a remote secret for each peer as soon as the peer's credential is there.
    ///
    /// An istiod that starts is not ready before it has read every cluster that it is linked with,
    /// or for half a minute (istio: `PILOT_REMOTE_CLUSTER_TIMEOUT`), so one that is installed in
    /// this run gets its links when it is ready, while its gateway starts: `istiod` tells when.
    async fn link(&self, counter: &Counter, istiod: oneshot::Receiver<()>) -> Result<(), Failure> {
        if self.manner.wait && self.pending(Step::ControlPlane) {
            // An installation that fails gives the links free as well.
            let _ = istiod.await;
        }
        let links = self.peers.iter().map(|peer| async {
            let Some(credential) = self.exchange.credential(peer.context()).await else {
                return Ok(());
            };
            let (namespace, cluster) = (self.site.namespace(), peer.cluster.as_ref());
            if let Some(name) = links::held_by_another(&self.seen.remote_secrets, cluster, namespace) {
                self.note(format!(
                    "`{}`: the Secret {namespace}/{name} was made by somebody else and links `{cluster}`: it is kept",
                    self.site.context()
                ));
                return Ok(());
            }
            let secret = Arc::new(links::remote_secret_for(&credential, namespace));
            match change(&secret, self.seen.ours.get(&Key::of(&secret))) {
                Some(change) => self.send(counter, &change).await,
                None => Ok(()),
            }
        });
        // A link that cannot be made costs no other one.
        let results = fleet::all(usize::MAX, links).await;
        Failure::combine(results.into_iter().filter_map(Result::err)).map_or(Ok(()), Err)
    }

    /// Installs what runs. `ready` is used up once istiod is ready, or cannot be waited for.
    async fn install(&self, counter: &Counter, ready: oneshot::Sender<()>) -> Result<(), Failure> {
        {
            let _turn = self.turns.acquire().await;
            let (control_plane, definitions) = futures::join!(
                self.write(counter, Step::ControlPlane, "installing istiod"),
                self.write(counter, Step::Definitions, "installing istiod"),
            );
            control_plane.and(definitions)?;
        }
        let tell = |what: String| {
            self.events.emit(Event::Waiting { context: self.site.context().to_owned(), what });
        };
        let limit = self.manner.timeout;
        let deadline = Instant::now() + limit;
        let wait = Wait { cluster: self.cluster, deadline, limit, tell: &tell };
        if self.manner.wait {
            self.await_workloads(&wait, Step::ControlPlane, "waiting for istiod").await?;
        }
        // Nobody waits for it where nothing of istiod is written.
        let _ = ready.send(());
        if self.pending(Step::Gateways) && self.manner.wait {
            let revision = self.revision();
            self.step("waiting for the injection webhook");
            wait.injection(self.site.namespace(), &revision).await?;
        }
        self.write(counter, Step::Gateways, "installing the east-west gateway").await?;
        self.write(counter, Step::Routing, "opening the east-west gateway").await?;
        if self.manner.wait {
            self.await_workloads(&wait, Step::Gateways, "waiting for the east-west gateway")
                .await?;
            self.await_address(&wait).await?;
        }
        Ok(())
    }

    fn pending(&self, step: Step) -> bool {
        self.changes.iter().any(|change| change.step == step)
    }

    /// The revision that gateways are injected by.
    fn revision(&self) -> String {
        let desired = self.desired.iter().map(Arc::as_ref);
        let istiods = desired.chain(&self.seen.istiods);
        let mut labels = istiods.filter(|o| label(o, "app") == Some("istiod"));
        labels.find_map(|o| label(o, "istio.io/rev")).unwrap_or("default").to_owned()
    }

    /// Sends the changes of one step, several at once.
    async fn write(&self, counter: &Counter, step: Step, what: &str) -> Result<(), Failure> {
        if !self.pending(step) {
            return Ok(());
        }
        self.step(what);
        let changes = self.changes.iter().filter(|change| change.step == step);
        if step == Step::Ground {
            // The parent lives in the namespace.
            for change in changes {
                self.send(counter, change).await?;
            }
            return Ok(());
        }
        let sends = changes.map(|change| self.send(counter, change));
        let at_once = match step {
            Step::Definitions if self.manner.wait => DEFINITIONS,
            Step::Definitions => usize::MAX,
            _ => REQUESTS,
        };
        fleet::try_all(at_once, sends).await.map(|_| ())
    }

    async fn send(&self, counter: &Counter, change: &Change) -> Result<(), Failure> {
        // The lease lives in the namespace.
        let leased = change.verb != Verb::Create || change.object["kind"] != "Namespace";
        let apply = Apply { force: self.manner.force, dry_run: false };
        let limit = WRITE_LIMIT.min(self.manner.timeout);
        let started = Instant::now();
        loop {
            let (cluster, lasts) = if leased {
                self.lease.bound().await?
            } else {
                (self.cluster.under_lease(limit), limit)
            };
            let left = limit.saturating_sub(started.elapsed());
            let asked = Instant::now();
            let cluster = cluster.with_deadline(lasts.min(left));
            let Err(error) = cluster.apply(&change.object, apply).await else { break };
            if matches!(error, kube::Error::UnknownKind { .. })
                && started.elapsed() < KIND_LIMIT.min(limit)
            {
                // A kind is served a moment after its definition was written.
                tokio::time::sleep(Duration::from_millis(100)).await;
            } else if lasts >= left || asked.elapsed() < lasts / 2 {
                let before = change.before.as_ref();
                return Err(without_secrets(&change.object, before, error.into()));
            }
            // Else there was no time for more attempts under the lease as it was.
        }
        match change.verb {
            Verb::Create => counter.created.fetch_add(1, Ordering::Relaxed),
            Verb::Update => counter.updated.fetch_add(1, Ordering::Relaxed),
            Verb::Adopt => counter.adopted.fetch_add(1, Ordering::Relaxed),
            Verb::Prune => 0,
        };
        tracing::info!(context = self.site.context(), object = %change.key(), "applied");
        Ok(())
    }

    /// Waits for the Deployments of a step; those that were seen complete and are not written in
    /// this run need no further look.
    async fn await_workloads(
        &self,
        wait: &Wait<'_>,
        step: Step,
        what: &str,
    ) -> Result<(), Failure> {
        let deployments =
            self.desired.iter().filter(|o| o["kind"] == "Deployment" && Step::of(o) == step);
        let written: Vec<Key> = self.changes.iter().map(Change::key).collect();
        let waits = deployments.map(|o| Key::of(o)).filter(|key| {
            let complete =
                self.seen.ours.get(key).is_some_and(|live| rollout_missing(live).is_none());
            written.contains(key) || !complete
        });
        for key in waits {
            self.step(what);
            wait.deployment(&key).await?;
        }
        Ok(())
    }

    async fn await_address(&self, wait: &Wait<'_>) -> Result<(), Failure> {
        // Where the topology gives the address, there may be no load balancer at all.
        if self.site.member.gateway.is_some() {
            return Ok(());
        }
        let namespace = self.site.namespace();
        let mut services = self.desired.iter().filter(|o| o["kind"] == "Service");
        let Some(service) = services.find(|o| o["metadata"]["name"] == GATEWAY) else {
            return Ok(());
        };
        let load_balancer = service.pointer("/spec/type").is_none_or(|t| t == "LoadBalancer");
        let known = self.seen.ours.get(&Key::of(service)).and_then(service_address).is_some();
        if load_balancer && !known {
            self.step("waiting for the east-west gateway's address");
            wait.address(namespace, GATEWAY).await?;
        }
        Ok(())
    }

    fn step(&self, what: &str) {
        let context = self.site.context().to_owned();
        self.events.emit(Event::Step { context, what: what.to_owned() });
    }

    fn note(&self, text: String) {
        self.events.emit(Event::Note { text });
    }
}
