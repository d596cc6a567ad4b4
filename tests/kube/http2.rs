//! One connection for all requests, and what becomes of them when it breaks.

use std::time::Duration;

use base64::Engine as _;
use hyper::{Method, Version};
use multimesh::kube::error::{Error, TlsFault};
use multimesh::kube::{Apply, Cluster, ConnectOptions, Kubeconfig, ResourceId};
use serde_json::json;

use crate::apiserver::{self, ApiServer, Fault, Mood, Tls, connect_proxy, status};
use crate::{MAP, explicit, install_provider, map, map_id, options, patiently};

const MAPS: &str = "/api/v1/namespaces/istio-system/configmaps";

async fn connect_with(server: &ApiServer, proxy: &str, options: &ConnectOptions) -> Cluster {
    install_provider();
    let directory = tempfile::tempdir().unwrap();
    let authority = server.certificate().unwrap();
    let authority = base64::engine::general_purpose::STANDARD.encode(authority);
    let text = apiserver::kubeconfig("east", &server.url(), "{}").replace(
        "server:",
        &format!("certificate-authority-data: {authority}, proxy-url: '{proxy}', server:"),
    );
    let path = apiserver::write(directory.path(), "config", &text);
    let kubeconfig = Kubeconfig::load_from(&explicit(path)).unwrap();
    kubeconfig.connect("east", options).await.unwrap()
}

/// How long one attempt may take here: the tests run beside others.
const ATTEMPT: Duration = Duration::from_secs(20);

fn slowly() -> ConnectOptions {
    ConnectOptions {
        request_timeout: ATTEMPT,
        connect_timeout: ATTEMPT,
        first_answer: ATTEMPT,
        deadline: ATTEMPT,
        ..options()
    }
}

async fn connect(server: &ApiServer) -> Cluster {
    connect_with(server, "", &slowly()).await
}

async fn speaking(protocols: &[&str]) -> ApiServer {
    ApiServer::start_secure(Tls::new(protocols, false)).await
}

async fn read_forty_times(cluster: &Cluster) {
    let id = map_id();
    let reads = futures::future::join_all((0..40).map(|_| cluster.get(&id)));
    assert!(patiently(reads).await.into_iter().all(|read| read == Ok(Some(map()))));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_the_same_time_share_one_connection() {
    let server = speaking(&["h2", "http/1.1"]).await;
    server.put(MAP, map());
    read_forty_times(&connect(&server).await).await;
    assert_eq!(server.connections(), 1);
    assert!(server.received().iter().all(|request| request.version == Version::HTTP_2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_http2_gets_fewer_connections_than_requests() {
    for protocols in [&["http/1.1"][..], &[]] {
        let server = speaking(protocols).await;
        server.put(MAP, map());
        read_forty_times(&connect(&server).await).await;
        // Eight requests at once; a connection is free a moment after its answer is read.
        assert!((2..=20).contains(&server.connections()), "{}", server.connections());
        assert!(server.received().iter().all(|request| request.version == Version::HTTP_11));
    }
}

#[tokio::test]
async fn all_goes_through_one_tunnel() {
    let server = speaking(&["h2"]).await;
    server.put(MAP, map());
    let (proxy, tunnels) = connect_proxy("user:p@ss").await;
    let proxy = format!("http://user:p%40ss@{proxy}");
    read_forty_times(&connect_with(&server, &proxy, &slowly()).await).await;
    assert_eq!(tunnels.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_stream_to_a_container_is_asked_for_over_http1() {
    const EXEC: &str = "/api/v1/namespaces/istio-system/pods/istiod-1/exec";
    let server = speaking(&["h2", "http/1.1"]).await;
    server.inject(Method::GET, EXEC, 1, status(403, "Forbidden", "not for you"));
    let cluster = connect(&server).await;
    patiently(cluster.version()).await.unwrap();
    let ran = cluster.exec("istio-system", "istiod-1", "discovery", &["pilot-discovery"]);
    let error = patiently(ran).await.unwrap_err();
    assert!(error.to_string().contains("not for you"), "{error}");
    let received = server.received();
    let exec = received.iter().find(|request| request.path.starts_with(EXEC)).unwrap();
    assert_eq!(exec.version, Version::HTTP_11);
    assert_eq!(exec.upgrade.as_deref(), Some("websocket"));
}

#[tokio::test]
async fn large_objects_fit_through() {
    let server = speaking(&["h2"]).await;
    let cluster = connect(&server).await;
    let mut large = map();
    large["data"]["a"] = json!("x".repeat(1024 * 1024));
    patiently(cluster.apply(&large, Apply::default())).await.unwrap();
    let id = map_id();
    // More than the window of the connection.
    let reads = futures::future::join_all((0..6).map(|_| cluster.get(&id)));
    for read in patiently(reads).await {
        assert_eq!(read.unwrap().unwrap()["data"], large["data"]);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_that_goes_away_loses_no_request() {
    let server = speaking(&["h2"]).await;
    let cluster = connect(&server).await;
    patiently(cluster.version()).await.unwrap();
    server.mood(Mood::Leave);
    for name in ["a", "b", "c"] {
        let mut object = map();
        object["metadata"]["name"] = json!(name);
        patiently(cluster.create(&object, false)).await.unwrap();
        assert_eq!(server.object(&format!("{MAPS}/{name}")), Some(object));
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_creation_that_the_server_did_not_look_at_is_sent_again() {
    let server = speaking(&["h2"]).await;
    let cluster = connect(&server).await;
    patiently(cluster.version()).await.unwrap();
    server.inject(Method::POST, MAPS, 1, Fault::Refuse);
    patiently(cluster.create(&map(), false)).await.unwrap();
    assert_eq!(server.count(&Method::POST, MAPS), 2);
}

#[tokio::test]
async fn a_broken_answer_is_asked_for_again_unless_it_was_a_creation() {
    for fault in [Fault::Cut, Fault::Close] {
        let server = speaking(&["h2"]).await;
        let cluster = connect(&server).await;
        patiently(cluster.version()).await.unwrap();
        server.put(MAP, map());
        server.inject(Method::GET, MAP, 1, fault.clone());
        assert_eq!(patiently(cluster.get(&map_id())).await.unwrap(), Some(map()));
        assert_eq!(server.count(&Method::GET, MAP), 2);

        server.inject(Method::POST, MAPS, 1, fault);
        let error = patiently(cluster.create(&map(), false)).await.unwrap_err();
        assert!(matches!(&error, Error::Interrupted { .. }), "{error:?}");
        assert_eq!(server.count(&Method::POST, MAPS), 1);
    }
}

#[tokio::test]
async fn a_connection_that_died_unseen_is_left_for_another() {
    let server = speaking(&["h2"]).await;
    server.put(MAP, map());
    let attempt = Duration::from_secs(2);
    let options = ConnectOptions { request_timeout: attempt, ..slowly() };
    let cluster = connect_with(&server, "", &options).await;
    patiently(cluster.version()).await.unwrap();
    server.mood(Mood::Freeze);
    assert_eq!(patiently(cluster.get(&map_id())).await.unwrap(), Some(map()));
    assert!(server.connections() > 1);
}

#[tokio::test]
async fn one_request_that_hangs_holds_up_no_other() {
    let server = speaking(&["h2"]).await;
    server.put(MAP, map());
    server.inject(Method::GET, "/version", 1, Fault::Hang);
    let cluster = connect(&server).await;
    let hanging = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.version().await }
    });
    while server.count(&Method::GET, "/version") == 0 {
        tokio::task::yield_now().await;
    }
    read_forty_times(&cluster).await;
    assert!(!hanging.is_finished());
    assert_eq!(server.connections(), 1);
    hanging.abort();
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_says_so() {
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let server = ApiServer::start_secure(Tls::new(protocols, true)).await;
        let error = patiently(connect(&server).await.version()).await.unwrap_err();
        assert!(
            matches!(&error, Error::Tls { fault: TlsFault::ClientCertificate(_), .. }),
            "{protocols:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_lost_connection_is_made_anew_by_one_request() {
    let server = speaking(&["h2"]).await;
    server.put(MAP, map());
    let cluster = connect(&server).await;
    read_forty_times(&cluster).await;
    let (address, tls) = (server.address(), server.tls());
    drop(server);
    let reads = tokio::spawn(async move {
        let id = ResourceId::namespaced("v1", "ConfigMap", "istio-system", "istio");
        futures::future::join_all((0..40).map(|_| cluster.get(&id))).await
    });
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let server = ApiServer::start_secure_at(address, tls.unwrap()).await;
    server.put(MAP, map());
    let reads = patiently(reads).await.unwrap();
    assert!(reads.into_iter().all(|read| read.is_ok()));
    assert_eq!(server.connections(), 1);
}
