//! One lease that this run has.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::Failure;
use crate::kube::{Cluster, Deletion, Error, ResourceId};
use crate::plan::lease::{self, DIRECTORY, DURATION};
use crate::plan::object::annotation;

/// How often a lease is renewed.
const RENEWAL: Duration = Duration::from_secs(10);
/// How long one renewal, and giving the lease back, may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A lease that this run has, renewed in the background as long as the value lives.
pub(super) struct Grip {
    hold: Arc<Mutex<Hold>>,
    task: JoinHandle<()>,
}

struct Hold {
    cluster: Cluster,
    lease: Value,
    renewed: Instant,
    /// The same on the clock that goes on while the machine sleeps.
    renewed_at: SystemTime,
    lost: watch::Sender<Option<Failure>>,
}

impl Grip {
    /// Keeps a lease that was just taken. `lost` is told if somebody else takes it.
    pub(super) fn new(
        cluster: &Cluster,
        lease: Value,
        lost: watch::Sender<Option<Failure>>,
    ) -> Self {
        let hold = Hold {
            cluster: cluster.with_deadline(LIMIT),
            lease,
            renewed: Instant::now(),
            renewed_at: SystemTime::now(),
            lost,
        };
        let hold = Arc::new(Mutex::new(hold));
        let renewed = Arc::clone(&hold);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWAL).await;
                // Who lost it was told.
                if renewed.lock().await.renew().await.is_err() {
                    return;
                }
            }
        });
        Self { hold, task }
    }

    /// Makes sure that the lease is still this run's, if it could have ended: the machine may have
    /// slept, or its network may have been away.
    pub(super) async fn confirm(&self) -> Result<(), Failure> {
        let mut hold = self.hold.lock().await;
        if hold.is_overdue() {
            return hold.renew().await;
        }
        let lost = hold.lost.borrow().clone();
        lost.map_or(Ok(()), Err)
    }

    /// Gives the lease back. What cannot be deleted now is taken over later.
    pub(super) async fn release(self) {
        self.task.abort();
        let hold = self.hold.lock().await;
        if let Err(error) = hold.delete().await {
            let context = hold.cluster.context();
            tracing::warn!(context, %error, "the lease could not be given back");
        }
    }
}

impl Drop for Grip {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hold {
    fn is_overdue(&self) -> bool {
        let limit = DURATION.unsigned_abs();
        let asleep = self.renewed_at.elapsed().is_ok_and(|since| since >= limit);
        asleep || self.renewed.elapsed() >= limit
    }

    fn id(&self) -> Option<ResourceId> {
        ResourceId::of(&self.lease)
    }

    /// Renews the lease.
    ///
    /// # Errors
    /// Only if somebody else has it now. A cluster that does not answer lets nobody else take it
    /// either.
    async fn renew(&mut self) -> Result<(), Failure> {
        if let Some(failure) = self.lost.borrow().clone() {
            return Err(failure);
        }
        let Some(id) = self.id() else { return Ok(()) };
        let version = self.lease.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        let patch = lease::renewal(version.unwrap_or_default(), Timestamp::now());
        let (asked, asked_at) = (Instant::now(), SystemTime::now());
        let renewed = match self.cluster.patch_merge(&id, &patch).await {
            Err(Error::Changed { .. }) => match self.cluster.get(&id).await {
                // A renewal whose answer did not arrive.
                Ok(Some(found)) if self.is_ours(&found) => Ok(found),
                Ok(Some(other)) => return Err(self.lose(&other)),
                Ok(None) => self.take_again().await?,
                Err(error) => Err(error),
            },
            Err(Error::NotFound { .. }) => self.take_again().await?,
            result => result,
        };
        match renewed {
            Ok(lease) => {
                self.lease = lease;
                (self.renewed, self.renewed_at) = (asked, asked_at);
            }
            Err(error) => {
                tracing::info!(context = self.cluster.context(), %error, "not renewed");
            }
        }
        Ok(())
    }

    /// Takes a lease again that was deleted by hand, or goes with its namespace.
    async fn take_again(&self) -> Result<Result<Value, Error>, Failure> {
        let mut wanted = self.lease.clone();
        if let Some(metadata) = wanted["metadata"].as_object_mut() {
            metadata.retain(|key, _| matches!(key.as_str(), "name" | "namespace" | "annotations"));
        }
        let made = self.cluster.create(&wanted, false).await;
        if !matches!(made, Err(Error::AlreadyExists { .. })) {
            return Ok(made);
        }
        let Some(id) = self.id() else { return Ok(made) };
        match self.cluster.get(&id).await {
            Ok(Some(found)) if self.is_ours(&found) => Ok(Ok(found)),
            Ok(Some(other)) => Err(self.lose(&other)),
            _ => Ok(made),
        }
    }

    /// Whether a lease is this run's: it has the lock of its mesh directory.
    fn is_ours(&self, other: &Value) -> bool {
        annotation(&self.lease, DIRECTORY).is_some_and(|own| lease::is_of(other, own))
    }

    /// Tells that somebody else has the lease.
    fn lose(&self, other: &Value) -> Failure {
        let context = self.cluster.context();
        let name = lease::holder_name(other);
        let failure = Failure::new(format!(
            "`{context}`: {} has taken this cluster over while this run could not reach it; nothing \
             more is written to it",
            name.as_deref().unwrap_or("somebody else")
        ))
        .hint("wait for that run to end, then run the same command again");
        self.lost.send_replace(Some(failure.clone()));
        failure
    }

    /// Deletes the lease, unless it is somebody else's by now.
    async fn delete(&self) -> Result<(), Error> {
        let mut lease = self.lease.clone();
        while self.cluster.delete_unchanged(&lease).await? == Deletion::Replaced {
            let Some(id) = self.id() else { return Ok(()) };
            match self.cluster.get(&id).await? {
                // A renewal that was under way.
                Some(found) if self.is_ours(&found) => lease = found,
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}
