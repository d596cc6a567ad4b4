//! The leases of a run: one in each cluster that it writes to, so that two machines keep apart.
//!
//! A lease is taken after a look at a cluster and before the first write to it, renewed while the run
//! works, and deleted at the end. A run that is killed leaves its lease: the next one with the same
//! mesh directory takes it over at once, any other one when it was not renewed for long enough.

mod grip;
mod take;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::Instant;

use self::grip::{Grip, Moment};
use self::take::{Try, held, take};
use super::event::{Event, Events};
use super::local::{Local, Options};
use super::observe::Observed;
use crate::error::Failure;
use crate::files::{self, Lock};
use crate::kube::{Cluster, Error, ResourceId};
use crate::plan::lease::{self, Holder, Other};
use crate::plan::object::PARENT;

/// How often a lease that is waited for is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The leases of a run. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub struct Leases {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    run: OnceLock<Run>,
    /// By the UID of the cluster: a context is only a name.
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
}

/// What a run is to others.
struct Run {
    holder: Holder,
    /// How long to wait for others.
    wait: Duration,
    /// Until when, from the first time on.
    deadline: OnceLock<Instant>,
    /// The flags by which a command means the same.
    flags: String,
}

impl Run {
    /// Until when others are waited for.
    fn deadline(&self) -> Instant {
        *self.deadline.get_or_init(|| Instant::now() + self.wait)
    }
}

/// The lease of one cluster.
struct Slot {
    state: AsyncMutex<State>,
    /// Why the lease was lost, once it was.
    lost: watch::Sender<Option<Failure>>,
}

impl Default for Slot {
    fn default() -> Self {
        Self { state: AsyncMutex::default(), lost: watch::Sender::new(None) }
    }
}

#[derive(Default)]
enum State {
    /// Not taken yet.
    #[default]
    Open,
    /// This run has it.
    Held(Grip),
    /// Given back.
    Given,
    /// Not to be had.
    Refused(Failure),
}

/// The lease of one cluster, for the part of a run that works there.
#[derive(Clone)]
pub(super) struct ClusterLease<'a> {
    leases: &'a Leases,
    slot: Arc<Slot>,
    cluster: &'a Cluster,
    namespace: &'a str,
    seen: &'a Observed,
}

/// Whether what was prepared can be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// It is what is there.
    Current,
    /// Another run has written meanwhile: it has to be prepared again.
    Old,
}

/// What came of taking leases.
#[derive(Default)]
pub(super) struct Taken {
    /// The contexts whose lease is not to be had.
    pub refused: BTreeMap<String, Failure>,
    /// Whether another run may have written since the look at the clusters.
    pub old: bool,
}

impl Leases {
    /// Says who takes leases: the run that has this lock.
    pub fn begin(&self, lock: &Lock, local: &Local, options: &Options) {
        let user = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
        let user = user.filter(|user| !user.is_empty()).unwrap_or_else(|| "somebody".to_owned());
        let name = format!("{user}@{}, process {}", files::host(), std::process::id());
        let command = options.command.to_owned();
        let holder = Holder { directory: lock.identity(), name, command };
        let same_run = options.same_run(local.topology.mesh_id.as_ref());
        let (wait, deadline) = (options.wait_lock, OnceLock::new());
        let _ = self.inner.run.set(Run { holder, wait, deadline, flags: same_run });
    }

    fn run(&self) -> Result<&Run, Failure> {
        // A run without the lock of its directory is one that only looks.
        self.inner.run.get().ok_or_else(|| Failure::new("this command does not write to clusters"))
    }

    /// The lease of a cluster that looked so.
    pub(super) fn of<'a>(
        &'a self,
        cluster: &'a Cluster,
        namespace: &'a str,
        seen: &'a Observed,
    ) -> ClusterLease<'a> {
        let mut slots = self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = Arc::clone(slots.entry(seen.uid.clone()).or_default());
        ClusterLease { leases: self, slot, cluster, namespace, seen }
    }

    /// Takes the leases of clusters that are going to be written to, side by side, as far as there
    /// is a namespace for them. Nothing is held while another run is waited for, so that two runs
    /// never wait for each other.
    pub(super) async fn take_all(
        &self,
        wanted: &[ClusterLease<'_>],
        events: &Events,
    ) -> Result<Taken, Failure> {
        let run = self.run()?;
        let end = run.deadline();
        let wanted: Vec<_> = wanted.iter().filter(|lease| lease.has_ground()).collect();
        let mut taken = Taken::default();
        let mut told = BTreeMap::new();
        loop {
            let tries = wanted.iter().map(|lease| async { (*lease, lease.take_early(run).await) });
            let mut busy = Vec::new();
            for (lease, result) in join_all(tries).await {
                match result {
                    Ok(Early::Taken { old }) => taken.old |= old,
                    Ok(Early::Busy(other)) => busy.push((lease, other)),
                    // What goes with its namespace takes no lease, and needs none.
                    Err(Error::NoNamespace { .. }) => {}
                    Err(error) => {
                        taken.refused.insert(lease.context().to_owned(), Failure::from(error));
                    }
                }
            }
            if busy.is_empty() {
                return Ok(taken);
            }
            if Instant::now() >= end {
                for (lease, other) in busy {
                    let failure = held(run, lease.cluster, lease.namespace, &other);
                    *lease.slot.state.lock().await = State::Refused(failure.clone());
                    taken.refused.insert(lease.context().to_owned(), failure);
                }
                return Ok(taken);
            }
            taken.old = true;
            for (lease, other) in busy {
                let context = lease.context().to_owned();
                let before = told.insert(context.clone(), other.name.clone());
                if before.as_ref() != Some(&other.name) {
                    let what = format!("{}, who works on this cluster", other.name);
                    events.emit(Event::Waiting { context, what });
                }
            }
            self.release_all().await;
            tokio::time::sleep(INTERVAL.min(end.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Gives all leases back.
    pub async fn release_all(&self) {
        let slots: Vec<Arc<Slot>> = {
            let slots = self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.values().cloned().collect()
        };
        join_all(slots.iter().map(|slot| slot.release())).await;
    }
}

/// What came of an early try to take a lease.
enum Early {
    Taken { old: bool },
    Busy(Other),
}

impl Slot {
    /// Gives the lease back. Says whether this run has had it.
    async fn release(&self) -> bool {
        let mut state = self.state.lock().await;
        match std::mem::replace(&mut *state, State::Given) {
            State::Held(grip) => {
                grip.release().await;
                true
            }
            State::Given => true,
            before => {
                *state = before;
                false
            }
        }
    }
}

impl ClusterLease<'_> {
    fn context(&self) -> &str {
        self.cluster.context()
    }

    /// Whether there is a namespace that a lease can be in.
    fn has_ground(&self) -> bool {
        let ground = self.seen.namespace.as_ref();
        ground.is_some_and(|ns| !ns["metadata"]["deletionTimestamp"].is_string())
    }

    fn grip(&self, lease: Value, asked: Moment) -> Grip {
        Grip::new(self.cluster, lease, asked, self.slot.lost.clone())
    }

    /// Tries to take the lease, unless this run has it.
    async fn take_early(&self, run: &Run) -> Result<Early, Error> {
        let mut state = self.slot.state.lock().await;
        if matches!(*state, State::Held(_)) {
            return Ok(Early::Taken { old: false });
        }
        match take(&run.holder, self.cluster, self.namespace).await? {
            Try::Busy(other) => Ok(Early::Busy(other)),
            Try::Taken { lease, asked, over } => {
                *state = State::Held(self.grip(lease, asked));
                Ok(Early::Taken { old: over || !self.is_current().await? })
            }
        }
    }

    /// Makes sure, before a write, that this run has the lease: takes it where it has not, and
    /// renews it where it is about to end. If another run has written since the look at the cluster,
    /// it is not taken.
    pub(super) async fn ensure(&self) -> Result<(), Failure> {
        self.ensured().await.map(|_| ())
    }

    /// Makes sure of the lease; gives the cluster whose calls end with it, and how long the lease
    /// lasts at least.
    pub(super) async fn bound(&self) -> Result<(Cluster, Duration), Failure> {
        // A credential plugin may take its time, which is not to be the lease's.
        self.cluster.refresh().await?;
        let lasts = self.ensured().await?;
        Ok((self.cluster.under_lease(lasts), lasts))
    }

    /// As [`ClusterLease::bound`] where this run has the lease, which is renewed where it is about
    /// to end; else the cluster as it is.
    pub(super) async fn bound_if_held(&self) -> Result<Cluster, Failure> {
        self.cluster.refresh().await?;
        let lasts = match &*self.slot.state.lock().await {
            State::Held(grip) => grip.confirm().await?,
            State::Open | State::Given | State::Refused(_) => return Ok(self.cluster.clone()),
        };
        Ok(self.cluster.under_lease(lasts))
    }

    /// Makes sure of the lease; gives how long it lasts at least.
    async fn ensured(&self) -> Result<Duration, Failure> {
        let run = self.leases.run()?;
        // Others that want to write wait here meanwhile.
        let mut state = self.slot.state.lock().await;
        match &*state {
            State::Held(grip) => return grip.confirm().await,
            State::Refused(failure) => return Err(failure.clone()),
            State::Open | State::Given => {}
        }
        match self.take_late(run).await {
            Ok(grip) => {
                let lasts = grip.confirm().await;
                *state = State::Held(grip);
                lasts
            }
            Err(failure) => {
                *state = State::Refused(failure.clone());
                Err(failure)
            }
        }
    }

    async fn take_late(&self, run: &Run) -> Result<Grip, Failure> {
        let end = run.deadline();
        let Run { holder: Holder { command, .. }, flags: same_run, .. } = run;
        let grip = loop {
            match take(&run.holder, self.cluster, self.namespace).await? {
                Try::Taken { lease, asked, .. } => break self.grip(lease, asked),
                Try::Busy(_) if Instant::now() < end => tokio::time::sleep(INTERVAL).await,
                Try::Busy(other) => {
                    return Err(held(run, self.cluster, self.namespace, &other));
                }
            }
        };
        let failure = match self.is_current().await {
            Ok(true) => return Ok(grip),
            Ok(false) => Failure::new(format!(
                "`{}`: another run has written to this cluster since this one looked at it, so this \
                 one writes nothing more there",
                self.context()
            ))
            .hint(format!(
                "run it again, on what is there now: `kubectl multimesh {command}{same_run}`"
            )),
            Err(error) => error.into(),
        };
        grip.release().await;
        Err(failure)
    }

    /// Whether no run has changed what decides about trust and membership since the look: two runs
    /// that make a mesh at the same time must not replace each other's certificates.
    async fn is_current(&self) -> Result<bool, Error> {
        let parent = ResourceId::namespaced("v1", "ConfigMap", self.namespace, PARENT);
        let cacerts = ResourceId::namespaced("v1", "Secret", self.namespace, "cacerts");
        let (parent, cacerts) =
            futures::try_join!(self.cluster.get(&parent), self.cluster.get(&cacerts))?;
        let version = |object: &Option<Value>| {
            let metadata = &object.as_ref()?["metadata"];
            Some((metadata["uid"].clone(), metadata["resourceVersion"].clone()))
        };
        let seen = self.seen;
        Ok(version(&parent) == version(&seen.parent) && version(&cacerts) == version(&seen.cacerts))
    }

    /// Gives the lease back.
    pub(super) async fn release(&self) {
        self.slot.release().await;
    }

    /// Does the work of a run on this cluster, and stops it if somebody else takes the lease
    /// meanwhile. Gives the lease back at the end; what a killed run left goes in any case.
    pub(super) async fn during<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut lost = self.slot.lost.subscribe();
        let lost = async {
            // The slot, and so the sender, lives on.
            match lost.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone()) {
                Some(failure) => failure,
                None => std::future::pending().await,
            }
        };
        let result = tokio::select! {
            biased;
            failure = lost => Err(failure),
            result = work => result,
        };
        if !self.slot.release().await && result.is_ok() {
            self.sweep().await?;
        }
        result
    }

    /// Deletes the lease that a killed run with this mesh directory left.
    async fn sweep(&self) -> Result<(), Failure> {
        let run = self.leases.run()?;
        if let Some(left) = self.seen.lease.as_ref()
            && lease::is_of(left, &run.holder.directory)
        {
            self.cluster.delete_unchanged(left).await?;
        }
        Ok(())
    }
}
