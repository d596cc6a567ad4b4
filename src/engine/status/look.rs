//! One look at a cluster: everything at once, nothing is written.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::engine::fleet;
use crate::engine::local::Site;
use crate::engine::observe::Observed;
use crate::error::Failure;
use crate::istio::istiod::{self, Metrics, RemoteClusters, SyncStatus};
use crate::istio::operator::GATEWAY;
use crate::istio::remote_secret;
use crate::kube::{Cluster, Error, KubernetesVersion, ResourceId};
use crate::plan::desired::CROSS_NETWORK_GATEWAY;
use crate::plan::object::PARENT;

/// How long a pod may take to tell of itself.
pub(super) const POD_LIMIT: Duration = Duration::from_secs(5);

/// What was read; `None` where it could not be, for a reason that [`Look::unread`] tells.
pub(super) type Known<T> = Option<T>;

/// A cluster as it was seen. It has no `Debug`, as it holds secrets.
pub(super) struct Look {
    /// The version of the API server.
    pub kubernetes: KubernetesVersion,
    /// The UID of `kube-system`.
    pub uid: Known<String>,
    /// The namespace of the control plane.
    pub namespace: Known<Option<Value>>,
    /// The apply set's parent.
    pub parent: Known<Option<Value>>,
    /// The Secret `cacerts`.
    pub cacerts: Known<Option<Value>>,
    /// The remote secrets in the namespace of the control plane.
    pub remote_secrets: Known<Vec<Value>>,
    /// The Deployments of istiod in that namespace.
    pub istiods: Known<Vec<Value>>,
    /// The pods of istiod.
    pub pods: Known<Vec<Value>>,
    /// The ready replicas of istiod, and what they tell.
    pub replicas: Vec<Replica>,
    /// The east-west gateway, where it was looked for.
    pub gateway: Option<GatewayLook>,
    /// What could not be read, and why.
    pub unread: Vec<Error>,
}

impl Look {
    /// Whether the cluster was never applied.
    pub(super) fn is_fresh(&self) -> bool {
        matches!(self.parent, Some(None))
    }
}

/// Why there is no look at a cluster.
#[derive(Clone)]
pub(super) enum Unseen {
    /// It does not answer, or refuses.
    Unreachable(Failure),
    /// It is not the cluster that it was at the last apply: nothing there is compared, and no
    /// token is shown to it.
    OtherCluster(Failure),
}

impl Unseen {
    /// The reason.
    pub(super) fn failure(&self) -> &Failure {
        match self {
            Self::Unreachable(failure) | Self::OtherCluster(failure) => failure,
        }
    }
}

impl From<Error> for Unseen {
    fn from(error: Error) -> Self {
        Self::Unreachable(error.into())
    }
}

/// The parts of an east-west gateway.
pub(super) struct GatewayLook {
    /// Its Deployment.
    pub deployment: Known<Option<Value>>,
    /// Its Service.
    pub service: Known<Option<Value>>,
    /// The Gateway that opens it to the mesh.
    pub opening: Known<Option<Value>>,
}

/// A ready replica of istiod.
pub(in crate::engine) struct Replica {
    /// Its pod.
    pub pod: String,
    /// What it says of itself; nothing where its metrics cannot be had.
    pub metrics: Metrics,
    /// The remote clusters as it sees them.
    pub clusters: RemoteClusters,
    /// Why a cluster may be missing in `clusters` though it sees it.
    pub unsure: Option<Failure>,
}

impl Replica {
    /// How it sees a cluster; `None` where that is not known.
    pub(in crate::engine) fn sees(&self, cluster: &str) -> Option<SyncStatus> {
        let told = self.clusters.get(cluster).copied();
        told.or_else(|| self.unsure.is_none().then_some(SyncStatus::Absent))
    }
}

/// Looks at a cluster. `peers` are the names of the clusters that it should read.
pub(super) async fn look(
    site: &Site,
    cluster: &Cluster,
    peers: &[&str],
    gateway: bool,
) -> Result<Look, Unseen> {
    let ns = site.namespace();
    let namespace = ResourceId::cluster("v1", "Namespace", ns);
    let named = |api: &str, kind: &str, name: &str| ResourceId::namespaced(api, kind, ns, name);
    let parent = named("v1", "ConfigMap", PARENT);
    let cacerts = named("v1", "Secret", "cacerts");
    let remote = format!("{}=true", remote_secret::LABEL);
    let gateway = async {
        if !gateway {
            return None;
        }
        let (deployment, service, opening) = (
            named("apps/v1", "Deployment", GATEWAY),
            named("v1", "Service", GATEWAY),
            named("networking.istio.io/v1", "Gateway", CROSS_NETWORK_GATEWAY),
        );
        Some(futures::join!(cluster.get(&deployment), cluster.get(&service), cluster.get(&opening)))
    };
    let (version, uid, namespace, parent, cacerts, secrets, istiods, pods, gateway) = futures::join!(
        cluster.version(),
        cluster.uid(),
        cluster.get(&namespace),
        cluster.get(&parent),
        cluster.get(&cacerts),
        cluster.list("v1", "Secret", Some(ns), Some(&remote)),
        cluster.list("apps/v1", "Deployment", Some(ns), Some(istiod::SELECTOR)),
        ask_istiods(cluster, ns, peers),
        gateway,
    );
    let mut reader = Reader::default();
    let kubernetes = version?;
    let (pods, replicas) = reader.keep(pods)?.map_or((None, Vec::new()), |(p, r)| (Some(p), r));
    let gateway = match gateway {
        None => None,
        Some((deployment, service, opening)) => Some(GatewayLook {
            deployment: reader.keep(deployment)?,
            service: reader.keep(service)?,
            opening: reader.keep(opening)?,
        }),
    };
    Ok(Look {
        kubernetes,
        uid: reader.keep(uid)?.map(str::to_owned),
        namespace: reader.keep(namespace)?,
        parent: reader.keep(parent)?,
        cacerts: reader.keep(cacerts)?,
        remote_secrets: reader.keep(secrets)?,
        istiods: reader.keep(istiods)?,
        pods,
        replicas,
        gateway,
        unread: reader.unread,
    })
}

/// What a look would show of a cluster that is as it was `seen` a moment ago, without the pods of
/// istiod. `None` where its gateway is not the tool's.
pub(super) fn recall(site: &Site, seen: &Observed, gateway: bool) -> Option<Look> {
    let ns = site.namespace();
    let part = |api_version: &str, kind: &str, name: &str| {
        let key = ResourceId::namespaced(api_version, kind, ns, name).key();
        seen.ours.get(&key).cloned().map(Some)
    };
    let gateway = if gateway {
        Some(GatewayLook {
            deployment: Some(part("apps/v1", "Deployment", GATEWAY)?),
            service: Some(part("v1", "Service", GATEWAY)?),
            opening: Some(part("networking.istio.io/v1", "Gateway", CROSS_NETWORK_GATEWAY)?),
        })
    } else {
        None
    };
    let istiods = seen.istiods.iter().filter(|istiod| istiod["metadata"]["namespace"] == ns);
    Some(Look {
        kubernetes: seen.kubernetes.clone(),
        uid: Some(seen.uid.clone()),
        namespace: Some(seen.namespace.clone()),
        parent: Some(seen.parent.clone()),
        cacerts: Some(seen.cacerts.clone()),
        remote_secrets: Some(seen.remote_secrets.clone()),
        istiods: Some(istiods.cloned().collect()),
        pods: None,
        replicas: Vec::new(),
        gateway,
        unread: Vec::new(),
    })
}

/// Sorts answers into what is known, what is not, and a cluster that does not answer at all.
#[derive(Default)]
struct Reader {
    unread: Vec<Error>,
}

impl Reader {
    fn keep<T>(&mut self, answer: Result<T, Error>) -> Result<Known<T>, Error> {
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_unreachable() => Err(error),
            Err(error) => {
                self.unread.push(error);
                Ok(None)
            }
        }
    }
}

/// The pods of istiod, and what those say that are ready.
pub(in crate::engine) type Istiods = (Vec<Value>, Vec<Replica>);

/// Lists the pods of istiod, and asks those that are ready.
pub(in crate::engine) async fn ask_istiods(
    cluster: &Cluster,
    namespace: &str,
    peers: &[&str],
) -> Result<Istiods, Error> {
    let pods = cluster.list("v1", "Pod", Some(namespace), Some(istiod::SELECTOR)).await?;
    let cluster = cluster.with_deadline(POD_LIMIT);
    let ready = pods.iter().filter(|pod| is_ready(pod));
    let names: Vec<&str> =
        ready.filter_map(|pod| pod.pointer("/metadata/name")?.as_str()).collect();
    let asked: Vec<BoxFuture<'_, Replica>> =
        names.into_iter().map(|pod| replica(&cluster, namespace, pod, peers).boxed()).collect();
    let replicas = fleet::all(fleet::REQUESTS, asked).await;
    Ok((pods, replicas))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Asks one replica: its metrics, which are cheap, and where they do not say `synced` of every
/// peer its own list, as the metric stays at `closed` once a remote secret was updated.
async fn replica(cluster: &Cluster, namespace: &str, pod: &str, peers: &[&str]) -> Replica {
    let path =
        format!("/api/v1/namespaces/{namespace}/pods/{pod}:{}/proxy/metrics", istiod::METRICS_PORT);
    let metrics = match cluster.get_text(&path).await {
        Ok(text) => istiod::metrics(&text),
        Err(error) => {
            tracing::info!(context = cluster.context(), pod, %error, "no metrics");
            Metrics::default()
        }
    };
    let pod = pod.to_owned();
    let synced = |peer: &&str| metrics.clusters.get(*peer) == Some(&SyncStatus::Synced);
    if peers.iter().all(synced) {
        return Replica { pod, clusters: metrics.clusters.clone(), metrics, unsure: None };
    }
    match cluster.exec(namespace, &pod, istiod::CONTAINER, &istiod::CLUSTERZ).await {
        Ok(answer) => match istiod::clusterz(&answer) {
            Some(clusters) => Replica { pod, metrics, clusters, unsure: None },
            None => by_metrics(
                metrics,
                Failure::new(format!(
                    "`{}`: istiod's list of remote clusters in Pod {namespace}/{pod} cannot be read",
                    cluster.context()
                )),
                pod,
            ),
        },
        Err(error) => by_metrics(metrics, error.into(), pod),
    }
}

/// What the metrics alone say for certain: all but `closed`.
fn by_metrics(metrics: Metrics, why: Failure, pod: String) -> Replica {
    let certain = metrics.clusters.iter().filter(|(_, status)| **status != SyncStatus::Closed);
    let clusters = certain.map(|(name, status)| (name.clone(), *status)).collect();
    Replica { pod, metrics, clusters, unsure: Some(why) }
}
