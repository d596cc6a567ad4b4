//! The room `kube` against faults: an API server that misbehaves, kubeconfigs and credential
//! plugins of all sorts. What real API servers do is tested against real ones.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../support/apiserver.rs"]
mod apiserver;

mod credentials;
mod faults;
mod http2;
mod kubeconfig;
mod objects;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use multimesh::kube::kubeconfig::Sources;
use multimesh::kube::{Cluster, ConnectOptions, Kubeconfig, ProxyVariables, ResourceId};
use serde_json::{Value, json};

/// The object of most tests, and where it lives.
const MAP: &str = "/api/v1/namespaces/istio-system/configmaps/istio";

fn map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"a": "b"}})
}

fn map_id() -> ResourceId {
    ResourceId::namespaced("v1", "ConfigMap", "istio-system", "istio")
}

/// Options that do not depend on the environment, and are short enough for tests.
fn options() -> ConnectOptions {
    ConnectOptions {
        request_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        first_answer: Duration::from_secs(5),
        deadline: Duration::from_secs(10),
        plugin_timeout: Duration::from_secs(10),
        no_input: true,
        proxies: ProxyVariables::default(),
    }
}

fn explicit(path: PathBuf) -> Sources {
    Sources { explicit: Some(path), ..Sources::default() }
}

fn install_provider() {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

async fn connect_with(server: &str, user: &str, options: &ConnectOptions) -> Cluster {
    install_provider();
    let directory = tempfile::tempdir().unwrap();
    let text = apiserver::kubeconfig("east", server, user);
    let path = apiserver::write(directory.path(), "config", &text);
    let kubeconfig = Kubeconfig::load_from(&explicit(path)).unwrap();
    kubeconfig.connect("east", options).await.unwrap()
}

async fn connect(server: &str) -> Cluster {
    connect_with(server, "{}", &options()).await
}

async fn connect_to(address: SocketAddr) -> Cluster {
    connect(&format!("http://{address}")).await
}

/// Fails the test instead of hanging it.
async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(apiserver::PATIENCE, future).await.expect("the call hangs")
}
