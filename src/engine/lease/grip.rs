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
/// How much longer a lease has to last for a write to begin.
const ENOUGH: Duration = Duration::from_secs(30);
/// How long a renewal may take that a write waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A moment on both clocks: one goes on while the machine sleeps, nobody sets the other one.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    instant: Instant,
    time: SystemTime,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }

    /// The time since then, on the clock that says more.
    fn age(self) -> Duration {
        self.instant.elapsed().max(self.time.elapsed().unwrap_or_default())
    }
}

/// A lease that this run has, renewed in the background as long as the value lives.
pub(super) struct Grip {
    hold: Arc<Mutex<Hold>>,
    task: JoinHandle<()>,
}

struct Hold {
    cluster: Cluster,
    lease: Value,
    /// When the last renewal that succeeded was asked for.
    renewed: Moment,
    lost: watch::Sender<Option<Failure>>,
}

impl Grip {
    /// Keeps a lease that was just taken, by a request that began at `asked`. `lost` is told if
    /// somebody else takes it, or if it could not be renewed when that was needed.
    pub(super) fn new(
        cluster: &Cluster,
        lease: Value,
        asked: Moment,
        lost: watch::Sender<Option<Failure>>,
    ) -> Self {
        let hold = Hold { cluster: cluster.with_deadline(LIMIT), lease, renewed: asked, lost };
        let hold = Arc::new(Mutex::new(hold));
        let renewed = Arc::clone(&hold);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWAL).await;
                // Who lost it was told.
                match renewed.lock().await.renew(LIMIT).await {
                    Err(_) => return,
                    Ok(Err(error)) => tracing::info!(%error, "the lease was not renewed"),
                    Ok(Ok(())) => {}
                }
            }
        });
        Self { hold, task }
    }

    /// Makes sure that the lease is still this run's, and goes on to be for a while: the machine may
    /// have slept, or its network may have been away. Gives how long it lasts at least.
    ///
    /// # Errors
    /// If somebody else has it now, or if it is about to end and cannot be renewed: somebody else
    /// may take it then, so whoever holds it writes no more.
    pub(super) async fn confirm(&self) -> Result<Duration, Failure> {
        self.hold.lock().await.confirm().await
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
    /// How long the lease lasts without another renewal.
    fn left(&self) -> Duration {
        DURATION.unsigned_abs().saturating_sub(self.renewed.age())
    }

    async fn confirm(&mut self) -> Result<Duration, Failure> {
        if let Some(failure) = self.lost.borrow().clone() {
            return Err(failure);
        }
        if self.left() >= ENOUGH {
            return Ok(self.left());
        }
        match self.renew(PATIENCE).await? {
            Ok(()) => Ok(self.left()),
            // It went with its namespace, where nobody else can have one either.
            Err(Error::NoNamespace { .. }) => Ok(ENOUGH),
            Err(error) => {
                let failure = Failure::from(error);
                self.lost.send_replace(Some(failure.clone()));
                Err(failure)
            }
        }
    }

    fn id(&self) -> Option<ResourceId> {
        ResourceId::of(&self.lease)
    }

    /// Renews the lease.
    ///
    /// # Errors
    /// The outer one if the lease is lost, the inner one if the renewal did not succeed.
    async fn renew(&mut self, limit: Duration) -> Result<Result<(), Error>, Failure> {
        if let Some(failure) = self.lost.borrow().clone() {
            return Err(failure);
        }
        let Some(id) = self.id() else { return Ok(Ok(())) };
        let version = self.lease.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        let patch = lease::renewal(version.unwrap_or_default(), Timestamp::now());
        let asked = Moment::now();
        let renewed = match self.cluster.with_deadline(limit).patch_merge(&id, &patch).await {
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
        Ok(renewed.map(|lease| {
            self.lease = lease;
            self.renewed = asked;
        }))
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

#[cfg(test)]
#[path = "../../../tests/support/apiserver.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod apiserver;

#[cfg(test)]
mod tests {
    use hyper::Method;
    use serde_json::json;

    use super::apiserver::{self, ApiServer, status};
    use super::*;
    use crate::kube::kubeconfig::Sources;
    use crate::kube::{ConnectOptions, Kubeconfig};
    use crate::plan::lease::Holder;

    const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/istio-system/leases";

    fn holder() -> Holder {
        let (name, command) = ("anna@laptop, process 1".into(), "apply".into());
        Holder { directory: "anna".into(), name, command }
    }

    /// A lease that was renewed so long ago.
    async fn held(server: &ApiServer, since: Duration) -> Hold {
        let directory = tempfile::tempdir().unwrap();
        let text = apiserver::kubeconfig("east", &server.url(), "{}");
        let path = apiserver::write(directory.path(), "config", &text);
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sources = Sources { explicit: Some(path), ..Sources::default() };
        let kubeconfig = Kubeconfig::load_from(&sources).unwrap();
        let cluster = kubeconfig.connect("east", &ConnectOptions::default()).await.unwrap();
        let mut lease = lease::lease("istio-system", &holder(), Timestamp::now());
        lease["metadata"]["resourceVersion"] = json!("1");
        server.put(&format!("{LEASES}/{}", lease::NAME), lease.clone());
        let now = Moment::now();
        let renewed = Moment { time: now.time - since, ..now };
        Hold { cluster, lease, renewed, lost: watch::Sender::new(None) }
    }

    #[tokio::test]
    async fn a_lease_that_lasts_is_not_renewed_for_a_write() {
        let server = ApiServer::start().await;
        let mut hold = held(&server, Duration::from_secs(20)).await;
        let left = hold.confirm().await.unwrap();
        assert!(left >= ENOUGH && left <= Duration::from_secs(40), "{left:?}");
        assert_eq!(server.count(&Method::PATCH, LEASES), 0);
    }

    #[tokio::test]
    async fn a_write_waits_for_the_renewal_of_a_lease_that_is_about_to_end() {
        let server = ApiServer::start().await;
        let mut hold = held(&server, Duration::from_secs(45)).await;
        assert!(hold.confirm().await.unwrap() > ENOUGH);
        assert_eq!(server.count(&Method::PATCH, LEASES), 1);
    }

    #[tokio::test]
    async fn nothing_is_written_under_a_lease_that_cannot_be_renewed() {
        let server = ApiServer::start().await;
        let mut hold = held(&server, Duration::from_secs(45)).await;
        server.inject(Method::PATCH, LEASES, 1, status(403, "Forbidden", "not any more"));
        let failure = hold.confirm().await.unwrap_err();
        assert!(failure.message.contains("not any more"), "{failure}");
        // For the whole run: what it knows of the cluster may be over.
        assert_eq!(hold.confirm().await.unwrap_err().message, failure.message);
        assert!(hold.lost.borrow().is_some());
        assert_eq!(server.count(&Method::PATCH, LEASES), 1);
    }

    #[tokio::test]
    async fn a_renewal_in_the_background_may_fail() {
        let server = ApiServer::start().await;
        let mut hold = held(&server, Duration::from_secs(20)).await;
        server.inject(Method::PATCH, LEASES, 1, status(403, "Forbidden", "not now"));
        assert!(hold.renew(LIMIT).await.unwrap().is_err());
        assert!(hold.confirm().await.is_ok() && hold.lost.borrow().is_none());
    }
}
