//! The handle through which all calls to a cluster go.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use k8s_openapi::apimachinery::pkg::version::Info;
use serde_json::Value;
use tokio::sync::{OnceCell, RwLock, Semaphore};

use super::connect::Recipe;
use super::credential::Credential;
use super::error::{Call, Error};
use super::line::Line;
use super::resources::{Discovered, ResourceId};
use super::transport::Ask;

/// A cluster that can be talked to. Cheap to clone; clones share connections, credentials and what
/// is known of the cluster. Over HTTP/2 all calls share one connection; where the server speaks only
/// HTTP/1.1, each of those that run at the same time has one, kept for later calls.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
    deadline: Duration,
    /// Whether the deadline holds for credential plugins as well.
    under_lease: bool,
}

struct Inner {
    recipe: Recipe,
    live: RwLock<Live>,
    answered: AtomicBool,
    shared: AtomicBool,
    discovered: Discovered,
    uid: OnceCell<String>,
    reads: Semaphore,
}

/// How many reads of one API server are under way at once, each over a connection of its own.
const READS: usize = 8;
/// How many where they share one.
const SHARED_READS: usize = 32;

/// The client in use and the plugin's credential that it was built with.
struct Live {
    line: Line,
    credential: Option<Arc<Credential>>,
}

/// The version of an API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesVersion {
    /// As the server writes it: `v1.33.2`, `v1.31.7-eks-abcdef0`.
    pub git_version: String,
    /// The major version.
    pub major: u32,
    /// The minor version.
    pub minor: u32,
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.git_version)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("context", &self.context())
            .field("server", &self.server())
            .finish_non_exhaustive()
    }
}

impl Cluster {
    pub(super) fn new(recipe: Recipe, line: Line, credential: Option<Arc<Credential>>) -> Self {
        let deadline = recipe.options.deadline.max(recipe.options.request_timeout);
        Self {
            deadline,
            under_lease: false,
            inner: Arc::new(Inner {
                recipe,
                live: RwLock::new(Live { line, credential }),
                answered: AtomicBool::new(false),
                shared: AtomicBool::new(false),
                discovered: Discovered::default(),
                uid: OnceCell::new(),
                reads: Semaphore::new(READS),
            }),
        }
    }

    /// The kubeconfig context.
    pub fn context(&self) -> &str {
        &self.inner.recipe.entry.name
    }

    /// The flags by which kubectl asks this cluster, each with a space before it.
    pub fn same_cluster(&self) -> String {
        self.inner.recipe.entry.context().same_cluster()
    }

    /// The URL of the API server, as the kubeconfig has it.
    pub fn server(&self) -> &str {
        &self.inner.recipe.entry.server
    }

    /// The name in the API server's certificate, where the kubeconfig sets one.
    pub fn tls_server_name(&self) -> Option<&str> {
        self.inner.recipe.entry.tls_server_name.as_deref()
    }

    /// The CA certificates that the kubeconfig trusts for the API server, PEM; `None` where it
    /// leaves the choice to the system.
    pub fn certificate_authority(&self) -> Option<&str> {
        self.inner.recipe.authority.as_deref()
    }

    /// The fingerprints of those certificates, see [`super::Kubeconfig::authorities`].
    pub fn authorities(&self) -> &[String] {
        &self.inner.recipe.authorities
    }

    /// The proxy on the way to the API server, without user and password.
    pub fn proxy(&self) -> Option<&str> {
        self.inner.recipe.proxy.as_deref()
    }

    /// The same cluster with another deadline for each call, all its attempts included.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { inner: Arc::clone(&self.inner), deadline, under_lease: self.under_lease }
    }

    /// The same cluster, whose calls are over when a lease is that lasts so long, even where a
    /// credential plugin takes its time: nothing is sent after that.
    #[must_use]
    pub fn under_lease(&self, lasts: Duration) -> Self {
        Self { under_lease: true, ..self.within(lasts) }
    }

    /// Gets another credential where the present one has expired, which may take a plugin its time.
    pub async fn refresh(&self) -> Result<(), Error> {
        self.line().await.map(|_| ())
    }

    /// The same cluster, whose calls take no longer than this.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        self.with_deadline(self.deadline.min(limit))
    }

    /// The version of the API server. Every authenticated user may ask for it: a good first call.
    pub async fn version(&self) -> Result<KubernetesVersion, Error> {
        let ask = Ask::get("read", "the version".to_owned(), "/version".to_owned());
        let answer = self.ask_json(&ask).await?;
        let garbled = || Error::Garbled {
            call: Box::new(self.call("read", "the version".to_owned())),
            reason: "it names no Kubernetes version".to_owned(),
        };
        let info: Info = serde_json::from_value(answer).map_err(|_| garbled())?;
        // Some vendors write `33+`.
        let number = |text: &str| {
            let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().map_err(|_| garbled())
        };
        Ok(KubernetesVersion {
            major: number(&info.major)?,
            minor: number(&info.minor)?,
            git_version: info.git_version,
        })
    }

    /// The identity of the cluster: the UID of its namespace `kube-system`. Asked for once.
    pub async fn uid(&self) -> Result<&str, Error> {
        let uid = self.inner.uid.get_or_try_init(|| async {
            let id = ResourceId::cluster("v1", "Namespace", "kube-system");
            let missing = || Error::NotFound {
                call: Box::new(self.call("get", id.to_string())),
                message: "it does not exist, so the cluster has no identity".to_owned(),
            };
            let namespace = self.get(&id).await?.ok_or_else(missing)?;
            let uid = namespace.pointer("/metadata/uid").and_then(Value::as_str);
            uid.map(str::to_owned).ok_or_else(missing)
        });
        uid.await.map(String::as_str)
    }

    /// Sends a raw request with a JSON body and reads JSON. `PATCH` sends a merge patch. Only `GET`
    /// is repeated after it may have arrived.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let verb = match method {
            Method::GET => "get",
            Method::POST => "post to",
            Method::PUT => "replace",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "request",
        };
        let mut ask = Ask::get(verb, path.to_owned(), path.to_owned());
        ask.repeatable = method == Method::GET;
        if let Some(body) = body {
            ask.body = body.to_string().into_bytes();
            ask.content_type = match method {
                Method::PATCH => "application/merge-patch+json",
                _ => "application/json",
            };
        }
        ask.method = method;
        self.ask_json(&ask).await
    }

    /// Sends a question that is a `POST` and changes nothing, such as a `TokenReview`; it is repeated
    /// as a read is.
    pub async fn review(&self, path: &str, question: &Value) -> Result<Value, Error> {
        let mut ask = Ask::get("post to", path.to_owned(), path.to_owned());
        ask.method = Method::POST;
        ask.content_type = "application/json";
        ask.body = question.to_string().into_bytes();
        self.ask_json(&ask).await
    }

    /// Reads text that a pod serves, such as its metrics through
    /// `/api/v1/namespaces/NAMESPACE/pods/POD:PORT/proxy/metrics`.
    pub async fn get_text(&self, path: &str) -> Result<String, Error> {
        let mut ask = Ask::get("get", path.to_owned(), path.to_owned());
        ask.accept = "*/*";
        ask.of_pod = true;
        let bytes = self.ask(&ask).await?;
        String::from_utf8(bytes.into()).map_err(|_| Error::Garbled {
            call: Box::new(self.call("get", path.to_owned())),
            reason: "it is not text".to_owned(),
        })
    }

    pub(super) fn recipe(&self) -> &Recipe {
        &self.inner.recipe
    }

    /// The turns of those that read.
    pub(super) fn reads(&self) -> &Semaphore {
        &self.inner.reads
    }

    pub(super) fn discovered(&self) -> &Discovered {
        &self.inner.discovered
    }

    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(super) fn is_under_lease(&self) -> bool {
        self.under_lease
    }

    pub(super) fn has_answered(&self) -> bool {
        self.inner.answered.load(Ordering::Relaxed)
    }

    /// Notes that the API server has answered, and over what.
    pub(super) fn mark_answered(&self, line: &Line) {
        self.inner.answered.store(true, Ordering::Relaxed);
        if line.is_shared() && !self.inner.shared.swap(true, Ordering::Relaxed) {
            self.inner.reads.add_permits(SHARED_READS - READS);
        }
    }

    pub(super) fn call(&self, verb: &'static str, object: String) -> Call {
        let context = self.inner.recipe.entry.context();
        Call { context, server: self.server().to_owned(), verb, object }
    }

    /// The error for an answer that is not what an API server sends.
    pub(crate) fn garbled(&self, verb: &'static str, object: &str, reason: &str) -> Error {
        let call = Box::new(self.call(verb, object.to_owned()));
        Error::Garbled { call, reason: reason.to_owned() }
    }

    /// The client, with a credential that has not expired.
    pub(super) async fn line(&self) -> Result<(Line, Option<Arc<Credential>>), Error> {
        let expired = {
            let live = self.inner.live.read().await;
            match &live.credential {
                Some(credential) if credential.is_expired() => Arc::clone(credential),
                credential => return Ok((live.line.clone(), credential.clone())),
            }
        };
        self.renew(Some(&expired)).await?;
        let live = self.inner.live.read().await;
        Ok((live.line.clone(), live.credential.clone()))
    }

    /// Replaces the client unless another task has done so since `refused` was in use.
    pub(super) async fn renew(&self, refused: Option<&Arc<Credential>>) -> Result<(), Error> {
        let mut live = self.inner.live.write().await;
        let replaced = match (&live.credential, refused) {
            (Some(current), Some(refused)) => !Arc::ptr_eq(current, refused),
            _ => false,
        };
        if replaced {
            return Ok(());
        }
        let credential = self.inner.recipe.credential(refused).await?;
        live.line = self.inner.recipe.build(credential.as_deref()).await?;
        live.credential = credential;
        Ok(())
    }
}
