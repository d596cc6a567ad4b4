use std::time::{Duration, Instant};

use hyper::Method;
use multimesh::kube::error::{Contact, Error};
use multimesh::kube::{Apply, ConnectOptions};
use serde_json::json;

use crate::apiserver::{ApiServer, Fault, nobody, resetting, status};
use crate::{MAP, connect, connect_to, connect_with, map, map_id, options, patiently};

fn quick() -> ConnectOptions {
    ConnectOptions {
        request_timeout: Duration::from_millis(300),
        first_answer: Duration::from_millis(300),
        deadline: Duration::from_secs(2),
        ..options()
    }
}

#[tokio::test]
async fn refused_connection_is_said_soon() {
    let address = nobody().await;
    let cluster = connect_to(address).await;
    let started = Instant::now();
    let error = patiently(cluster.version()).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(
        error.to_string(),
        format!("`east`: the API server at http://{address} refused the connection")
    );
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("check that it is running: `kubectl --kubeconfig "), "{hint}");
    assert!(hint.ends_with(" --context east version`"), "{hint}");
    assert!(error.is_unreachable());
}

#[tokio::test]
async fn unknown_host_is_named() {
    let cluster = connect("https://api.cluster.invalid:6443").await;
    let error = patiently(cluster.version()).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { cause: Contact::UnknownHost, .. }), "{error:?}");
    assert_eq!(error.hint().unwrap(), "check the name: `getent hosts api.cluster.invalid`");
}

#[tokio::test]
async fn reset_connections_are_no_answer() {
    let (address, _task) = resetting().await;
    for scheme in ["http", "https"] {
        let cluster = connect(&format!("{scheme}://{address}")).await;
        let error = patiently(cluster.version()).await.unwrap_err();
        assert!(
            matches!(&error, Error::Unreachable { cause: Contact::Closed, .. }),
            "{scheme}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart() {
    let server = ApiServer::start().await;
    let cluster = connect(&format!("https://{}", server.address())).await;
    let error = patiently(cluster.version()).await.unwrap_err();
    assert!(error.to_string().ends_with("failed: it does not speak TLS"), "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_from_the_start_is_asked_once() {
    let server = ApiServer::start().await;
    server.inject(Method::GET, "/version", 10, Fault::Hang);
    let cluster = connect_with(&server.url(), "{}", &quick()).await;
    let error = patiently(cluster.version()).await.unwrap_err();
    assert!(matches!(&error, Error::TimedOut { .. }), "{error:?}");
    assert_eq!(server.count(&Method::GET, "/version"), 1);
}

#[tokio::test]
async fn a_silent_listener_counts_as_hanging() {
    // Accepts into its backlog and never reads.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let short = ConnectOptions { connect_timeout: Duration::from_millis(300), ..quick() };
    let tls = connect_with(&format!("https://{address}"), "{}", &short).await;
    let error = patiently(tls.version()).await.unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Unreachable { cause: Contact::NoAnswer(_), .. } | Error::TimedOut { .. }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("did not answer within 0.3 s"), "{error}");
}

#[tokio::test]
async fn a_known_server_that_hangs_once_is_asked_again() {
    let server = ApiServer::start().await;
    let cluster = connect_with(&server.url(), "{}", &quick()).await;
    patiently(cluster.version()).await.unwrap();
    server.inject(Method::PATCH, MAP, 1, Fault::Hang);
    patiently(cluster.apply(&map(), Apply::default())).await.unwrap();
    assert_eq!(server.count(&Method::PATCH, MAP), 2);
}

#[tokio::test]
async fn the_deadline_bounds_all_attempts() {
    let server = ApiServer::start().await;
    let cluster = connect_with(&server.url(), "{}", &quick()).await;
    patiently(cluster.version()).await.unwrap();
    server.inject(Method::GET, MAP, 1000, Fault::Hang);
    let started = Instant::now();
    let error = patiently(cluster.get(&map_id())).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(4));
    assert!(matches!(&error, Error::TimedOut { .. }), "{error:?}");
    assert!(
        error.to_string().starts_with("`east`: cannot get ConfigMap istio-system/istio: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_restarting_server_is_waited_for() {
    let server = ApiServer::start().await;
    let address = server.address();
    let cluster = connect_to(address).await;
    patiently(cluster.version()).await.unwrap();
    drop(server);
    let asked = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.version().await }
    });
    // The call is under way and finds nobody.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let _server = ApiServer::start_at(address).await;
    let version = patiently(asked).await.unwrap().unwrap();
    assert_eq!((version.major, version.minor), (1, 33));
    assert_eq!(version.git_version, "v1.33.2-fake");
}

#[tokio::test]
async fn a_broken_answer_is_asked_for_again_unless_it_was_a_creation() {
    for fault in [Fault::Cut, Fault::Close] {
        let server = ApiServer::start().await;
        let cluster = connect(&server.url()).await;
        patiently(cluster.version()).await.unwrap();
        server.put(MAP, map());
        server.inject(Method::GET, MAP, 1, fault.clone());
        assert_eq!(patiently(cluster.get(&map_id())).await.unwrap(), Some(map()));
        assert_eq!(server.count(&Method::GET, MAP), 2);

        server.inject(Method::POST, "/api/v1/namespaces/istio-system/configmaps", 1, fault);
        let error = patiently(cluster.create(&map(), false)).await.unwrap_err();
        assert!(matches!(&error, Error::Interrupted { .. }), "{error:?}");
        assert_eq!(server.count(&Method::POST, "/api/v1/namespaces"), 1);
    }
}

#[tokio::test]
async fn a_question_is_asked_again_though_it_is_posted() {
    const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    patiently(cluster.version()).await.unwrap();
    server.inject(Method::POST, PATH, 1, Fault::Cut);
    patiently(cluster.review(PATH, &json!({"spec": {"token": "t"}}))).await.unwrap();
    assert_eq!(server.count(&Method::POST, PATH), 2);
}

#[tokio::test]
async fn garbage_is_no_answer_of_an_api_server() {
    let server = ApiServer::start().await;
    server.inject(Method::GET, "/version", 1, Fault::Body("<html>Log in to WiFi</html>"));
    let cluster = connect(&server.url()).await;
    let error = patiently(cluster.version()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`east`: cannot read the version: the answer is not from a Kubernetes API server: \
         it is not JSON"
    );
    server.inject(Method::GET, "/version", 1, Fault::Body(r#"{"hello": "world"}"#));
    let error = patiently(cluster.version()).await.unwrap_err();
    assert!(error.to_string().ends_with("it names no Kubernetes version"), "{error}");
}

#[tokio::test]
async fn a_busy_server_says_when() {
    let server = ApiServer::start().await;
    let busy = json!({"kind": "Status", "code": 429, "reason": "TooManyRequests",
        "message": "too many requests"});
    let fault = Fault::Status(429, busy, vec![("retry-after", "1".to_owned())]);
    server.inject(Method::PATCH, MAP, 1, fault.clone());
    let cluster = connect(&server.url()).await;
    let started = Instant::now();
    patiently(cluster.apply(&map(), Apply::default())).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.count(&Method::PATCH, MAP), 2);

    // A delay beyond the deadline is not waited for.
    let long = Fault::Status(429, json!({}), vec![("retry-after", "3600".to_owned())]);
    server.inject(Method::PATCH, MAP, 1, long);
    let started = Instant::now();
    let error = patiently(cluster.apply(&map(), Apply::default())).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { code: 429, .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_unavailable_server_is_asked_again_until_the_deadline() {
    let server = ApiServer::start().await;
    let cluster = connect_with(&server.url(), "{}", &quick()).await;
    server.put(MAP, map());
    let fault = status(503, "ServiceUnavailable", "apiserver is shutting down");
    server.inject(Method::GET, MAP, 2, fault.clone());
    assert!(patiently(cluster.get(&map_id())).await.unwrap().is_some());
    server.inject(Method::GET, MAP, 1000, fault);
    let error = patiently(cluster.get(&map_id())).await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("cannot serve the request now (HTTP 503): apiserver is shutting down"),
        "{error}"
    );
}

#[tokio::test]
async fn what_a_server_said_is_told_though_its_last_answer_did_not_come() {
    let server = ApiServer::start().await;
    let short = ConnectOptions {
        request_timeout: Duration::from_secs(10),
        deadline: Duration::from_secs(1),
        ..quick()
    };
    let cluster = connect_with(&server.url(), "{}", &short).await;
    patiently(cluster.version()).await.unwrap();
    server.inject(Method::GET, MAP, 1, status(503, "ServiceUnavailable", "etcd has no leader"));
    server.inject(Method::GET, MAP, 10, Fault::Hang);
    let error = patiently(cluster.get(&map_id())).await.unwrap_err();
    assert!(error.to_string().ends_with("(HTTP 503): etcd has no leader"), "{error}");
    assert_eq!(server.count(&Method::GET, MAP), 2);
}

#[tokio::test]
async fn reads_that_wait_for_their_turn_do_not_wait_for_a_first_answer_again() {
    let server = ApiServer::start().await;
    server.inject(Method::GET, MAP, 100, Fault::Hang);
    let second = ConnectOptions {
        request_timeout: Duration::from_secs(5),
        first_answer: Duration::from_secs(1),
        deadline: Duration::from_secs(5),
        ..options()
    };
    let cluster = connect_with(&server.url(), "{}", &second).await;
    let started = Instant::now();
    let id = map_id();
    let reads = futures::future::join_all((0..40).map(|_| cluster.get(&id)));
    assert!(patiently(reads).await.iter().all(Result::is_err));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_webhook_that_starts_is_waited_for() {
    let server = ApiServer::start().await;
    let message = "Internal error occurred: failed calling webhook \"rev.validation.istio.io\": \
                   failed to call webhook: Post \"https://istiod\": connection refused";
    server.inject(Method::PATCH, MAP, 2, status(500, "InternalError", message));
    let cluster = connect(&server.url()).await;
    patiently(cluster.apply(&map(), Apply::default())).await.unwrap();
    assert_eq!(server.count(&Method::PATCH, MAP), 3);

    server.inject(Method::PATCH, MAP, 1000, status(500, "InternalError", message));
    let brief = cluster.with_deadline(Duration::from_millis(500));
    let error = patiently(brief.apply(&map(), Apply::default())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`east`: cannot apply ConfigMap istio-system/istio: the admission webhook \
         `rev.validation.istio.io` did not answer: failed to call webhook: Post \
         \"https://istiod\": connection refused"
    );
}

#[tokio::test]
async fn refusals_are_final_and_in_the_servers_words() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let message = "configmaps \"istio\" is forbidden: User \"jane\" cannot patch resource \
                   \"configmaps\" in API group \"\" in the namespace \"istio-system\"";
    server.inject(Method::PATCH, MAP, 1000, status(403, "Forbidden", message));
    let error = patiently(cluster.apply(&map(), Apply::default())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`east`: cannot apply ConfigMap istio-system/istio: {message}")
    );
    assert_eq!(server.count(&Method::PATCH, MAP), 1);

    server.inject(Method::GET, "/version", 1000, status(401, "Unauthorized", "Unauthorized"));
    let error = patiently(cluster.version()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`east`: cannot read the version: the API server does not accept the credentials of \
         user `east`"
    );
    assert_eq!(server.count(&Method::GET, "/version"), 1);
}

#[tokio::test]
async fn conflicts_name_fields_and_managers() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let cause = |field: &str, manager: &str| {
        json!({"reason": "FieldManagerConflict", "field": field,
            "message": format!("conflict with \"{manager}\" using v1")})
    };
    let body = json!({"kind": "Status", "code": 409, "reason": "Conflict",
        "message": "Apply failed with 2 conflicts", "details": {"name": "istio",
        "causes": [cause(".data.a", "helm"), cause(".data.b", "pilot-discovery")]}});
    server.inject(Method::PATCH, MAP, 1, Fault::Status(409, body, Vec::new()));
    let error = patiently(cluster.apply(&map(), Apply::default())).await.unwrap_err();
    let Error::Conflict { conflicts, .. } = &error else { panic!("{error:?}") };
    let fields: Vec<_> = conflicts.iter().map(|c| (c.field.as_str(), c.manager.as_str())).collect();
    assert_eq!(fields, [(".data.a", "helm"), (".data.b", "pilot-discovery")]);
    assert!(error.hint().unwrap().contains("--force-conflicts"));
}

#[tokio::test]
async fn an_apply_that_is_overtaken_tries_again() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let message = "Operation cannot be fulfilled: the object has been modified; please apply your \
                   changes to the latest version and try again";
    server.inject(Method::PATCH, MAP, 2, status(409, "Conflict", message));
    patiently(cluster.apply(&map(), Apply::default())).await.unwrap();
    assert_eq!(server.count(&Method::PATCH, MAP), 3);
}

#[tokio::test]
async fn a_pod_behind_the_server_that_fails_is_asked_once() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let path = "/api/v1/namespaces/istio-system/pods/istiod-1:15014/proxy/metrics";
    let message = "error trying to reach service: dial tcp 10.1.0.9:15014: connect: connection \
                   refused";
    server.inject(Method::GET, path, 10, status(503, "ServiceUnavailable", message));
    let error = patiently(cluster.get_text(path)).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { code: 503, .. }), "{error:?}");
    assert_eq!(server.count(&Method::GET, path), 1);
    server.inject(Method::GET, path, 0, Fault::Hang);
    server.put("/x", json!("text"));
    assert_eq!(patiently(cluster.get_text("/x")).await.unwrap(), "\"text\"");
}
