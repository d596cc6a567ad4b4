//! A mesh from nothing: per cluster the control plane, then its gateway; then all links; then until
//! every istiod reads every other cluster. Or all of it without waiting for anything that runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::client::Server;
use super::script::{Call, Member};

const LOOK: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(200);
const NAMESPACE: &str = "istio-system";
const READER: &str = "istio-reader-service-account-istio-remote-secret-token";

pub(super) async fn run(members: Vec<Member>, waits: bool) -> Result<(), String> {
    let mut clusters = Vec::new();
    let mut tasks = JoinSet::new();
    for member in members {
        let server = Arc::new(Server::new(&member.target)?);
        clusters.push((
            member.target.context.clone(),
            member.target.server.clone(),
            Arc::clone(&server),
        ));
        tasks.spawn(async move { roll_out(&server, &member, waits).await });
    }
    all(tasks).await?;
    link(&clusters).await?;
    if !waits {
        return Ok(());
    }
    let mut tasks = JoinSet::new();
    for (_, _, server) in &clusters {
        let (server, peers) = (Arc::clone(server), clusters.len() - 1);
        tasks.spawn(async move { synced(&server, peers).await });
    }
    all(tasks).await
}

async fn all(mut tasks: JoinSet<Result<(), String>>) -> Result<(), String> {
    while let Some(done) = tasks.join_next().await {
        done.map_err(|e| e.to_string())??;
    }
    Ok(())
}

async fn roll_out(server: &Arc<Server>, member: &Member, waits: bool) -> Result<(), String> {
    server.succeed(&Call::apply(0, &member.namespace)).await?;
    send_all(server, &member.control_plane).await?;
    if waits {
        ready(server, "istiod").await?;
    }
    send_all(server, &member.gateway).await?;
    if !waits {
        return Ok(());
    }
    ready(server, "istio-eastwestgateway").await?;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/services/istio-eastwestgateway");
    until("the address of the gateway", || async {
        let service = server.send(&Call::get(0, path.as_str())).await?.json();
        Ok(service.pointer("/status/loadBalancer/ingress/0").map(drop))
    })
    .await
}

/// Sends objects at once. A kind whose definition is among them is served a moment later.
async fn send_all(server: &Arc<Server>, objects: &[Value]) -> Result<(), String> {
    let mut tasks = JoinSet::new();
    for object in objects {
        let (server, call) = (Arc::clone(server), Call::apply(0, object));
        tasks.spawn(async move {
            let end = Instant::now() + LIMIT;
            loop {
                let answer = server.send(&call).await?;
                match answer.status {
                    ..300 => return Ok(()),
                    404 if Instant::now() < end => tokio::time::sleep(LOOK).await,
                    status => {
                        let path = &call.path;
                        return Err(format!("{path}: {status} {}", answer.json()["message"]));
                    }
                }
            }
        });
    }
    all(tasks).await
}

async fn ready(server: &Server, deployment: &str) -> Result<(), String> {
    let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{deployment}");
    until(deployment, || async {
        let found = server.send(&Call::get(0, path.as_str())).await?.json();
        let number = |pointer| found.pointer(pointer).and_then(Value::as_i64);
        let wanted = number("/spec/replicas").unwrap_or(1);
        Ok((number("/status/availableReplicas") >= Some(wanted)).then_some(()))
    })
    .await
}

async fn link(clusters: &[(String, String, Arc<Server>)]) -> Result<(), String> {
    let mut tasks = JoinSet::new();
    for (context, address, server) in clusters {
        let peers: Vec<_> = clusters.iter().filter(|(other, ..)| other != context).collect();
        let peers: Vec<_> = peers.into_iter().map(|(.., peer)| Arc::clone(peer)).collect();
        let (context, address, server) = (context.clone(), address.clone(), Arc::clone(server));
        tasks.spawn(async move {
            let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{READER}");
            let secret = until("the token of the reader", || async {
                let secret = server.send(&Call::get(0, path.as_str())).await?.json();
                Ok(secret.pointer("/data/token").is_some().then_some(secret))
            })
            .await?;
            let secret = remote_secret(&context, &address, &secret["data"])?;
            let mut tasks = JoinSet::new();
            for peer in peers {
                let call = Call::apply(0, &secret);
                tasks.spawn(async move { peer.succeed(&call).await.map(drop) });
            }
            all(tasks).await
        });
    }
    all(tasks).await
}

/// The shape of `istioctl create-remote-secret`.
fn remote_secret(cluster: &str, server: &str, data: &Value) -> Result<Value, String> {
    let token = data["token"].as_str().unwrap_or_default();
    let token = BASE64_STANDARD.decode(token).map_err(|e| e.to_string())?;
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {
            "server": server, "certificate-authority-data": data["ca.crt"],
        }}],
        "users": [{"name": cluster, "user": {"token": String::from_utf8_lossy(&token)}}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
        "current-context": cluster,
    });
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": format!("istio-remote-secret-{cluster}"),
            "namespace": NAMESPACE,
            "labels": {"istio/multiCluster": "true"},
            "annotations": {"networking.istio.io/cluster": cluster},
        },
        "stringData": {cluster: kubeconfig.to_string()},
    }))
}

/// Waits until the istiod of a cluster says of all its peers that it reads them.
async fn synced(server: &Server, peers: usize) -> Result<(), String> {
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app%3Distiod");
    let pods = server.succeed(&Call::get(0, pods)).await?.json();
    let pod = pods.pointer("/items/0/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:15014/proxy/metrics");
    until("istiod reading its peers", || async {
        let answer = server.send(&Call::get(0, path.as_str())).await?;
        let text = String::from_utf8_lossy(&answer.body);
        let synced = text.lines().filter(|line| {
            line.starts_with("istiod_remote_cluster_sync_status{")
                && line.contains("status=\"synced\"")
                && line.ends_with(" 1")
        });
        Ok((synced.count() >= peers).then_some(()))
    })
    .await
}

async fn until<T, F>(what: &str, look: impl Fn() -> F) -> Result<T, String>
where
    F: Future<Output = Result<Option<T>, String>>,
{
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > end {
            return Err(format!("{what} is not there after {} s", LIMIT.as_secs()));
        }
        tokio::time::sleep(LOOK).await;
    }
}
