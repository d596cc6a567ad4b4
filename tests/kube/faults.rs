use std::time::{Duration, Instant};

use hyper::Method;
use multimesh::kube::error::{Contact, Error};
use multimesh::kube::{Access, Apply, ConnectOptions, Deletion, Propagation, ResourceId};
use serde_json::{Value, json};

use crate::apiserver::{ApiServer, Fault, nobody, resetting, status};
use crate::{connect, connect_to, connect_with, options, patiently};

const MAP: &str = "/api/v1/namespaces/istio-system/configmaps/istio";

fn map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"a": "b"}})
}

fn map_id() -> ResourceId {
    ResourceId::namespaced("v1", "ConfigMap", "istio-system", "istio")
}

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
    assert_eq!(
        error.hint().unwrap(),
        "check that it is running: `kubectl --context east version`"
    );
    assert!(error.is_unreachable());
}

#[tokio::test]
async fn unknown_host_is_named() {
    let cluster = connect("https://api.cluster.invalid:6443").await;
    let error = patiently(cluster.version()).await.unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Unreachable {
                cause: Contact::UnknownHost,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        error.hint().unwrap(),
        "check the name: `getent hosts api.cluster.invalid`"
    );
}

#[tokio::test]
async fn reset_connections_are_no_answer() {
    let (address, _task) = resetting().await;
    for scheme in ["http", "https"] {
        let cluster = connect(&format!("{scheme}://{address}")).await;
        let error = patiently(cluster.version()).await.unwrap_err();
        assert!(
            matches!(
                &error,
                Error::Unreachable {
                    cause: Contact::Closed,
                    ..
                }
            ),
            "{scheme}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart() {
    let server = ApiServer::start().await;
    let cluster = connect(&format!("https://{}", server.address())).await;
    let error = patiently(cluster.version()).await.unwrap_err();
    assert!(
        error.to_string().ends_with("failed: it does not speak TLS"),
        "{error}"
    );
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
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let short = ConnectOptions {
        connect_timeout: Duration::from_millis(300),
        ..quick()
    };
    let tls = connect_with(&format!("https://{address}"), "{}", &short).await;
    let error = patiently(tls.version()).await.unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Unreachable {
                cause: Contact::NoAnswer(_),
                ..
            } | Error::TimedOut { .. }
        ),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("did not answer within 0.3 s"),
        "{error}"
    );
}

#[tokio::test]
async fn a_known_server_that_hangs_once_is_asked_again() {
    let server = ApiServer::start().await;
    let cluster = connect_with(&server.url(), "{}", &quick()).await;
    patiently(cluster.version()).await.unwrap();
    server.inject(Method::PATCH, MAP, 1, Fault::Hang);
    patiently(cluster.apply(&map(), Apply::default()))
        .await
        .unwrap();
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
        error
            .to_string()
            .starts_with("`east`: cannot get ConfigMap istio-system/istio: "),
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
        assert_eq!(
            patiently(cluster.get(&map_id())).await.unwrap(),
            Some(map())
        );
        assert_eq!(server.count(&Method::GET, MAP), 2);

        server.inject(
            Method::POST,
            "/api/v1/namespaces/istio-system/configmaps",
            1,
            fault,
        );
        let error = patiently(cluster.create(&map(), false)).await.unwrap_err();
        assert!(matches!(&error, Error::Interrupted { .. }), "{error:?}");
        assert_eq!(server.count(&Method::POST, "/api/v1/namespaces"), 1);
    }
}

#[tokio::test]
async fn garbage_is_no_answer_of_an_api_server() {
    let server = ApiServer::start().await;
    server.inject(
        Method::GET,
        "/version",
        1,
        Fault::Body("<html>Log in to WiFi</html>"),
    );
    let cluster = connect(&server.url()).await;
    let error = patiently(cluster.version()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`east`: cannot read the version: the answer is not from a Kubernetes API server: \
         it is not JSON"
    );
    server.inject(
        Method::GET,
        "/version",
        1,
        Fault::Body(r#"{"hello": "world"}"#),
    );
    let error = patiently(cluster.version()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("it names no Kubernetes version"),
        "{error}"
    );
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
    patiently(cluster.apply(&map(), Apply::default()))
        .await
        .unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.count(&Method::PATCH, MAP), 2);

    // A delay beyond the deadline is not waited for.
    let long = Fault::Status(429, json!({}), vec![("retry-after", "3600".to_owned())]);
    server.inject(Method::PATCH, MAP, 1, long);
    let started = Instant::now();
    let error = patiently(cluster.apply(&map(), Apply::default()))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable { code: 429, .. }),
        "{error:?}"
    );
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
async fn a_webhook_that_starts_is_waited_for() {
    let server = ApiServer::start().await;
    let message = "Internal error occurred: failed calling webhook \"rev.validation.istio.io\": \
                   failed to call webhook: Post \"https://istiod\": connection refused";
    server.inject(Method::PATCH, MAP, 2, status(500, "InternalError", message));
    let cluster = connect(&server.url()).await;
    patiently(cluster.apply(&map(), Apply::default()))
        .await
        .unwrap();
    assert_eq!(server.count(&Method::PATCH, MAP), 3);

    server.inject(
        Method::PATCH,
        MAP,
        1000,
        status(500, "InternalError", message),
    );
    let brief = cluster.with_deadline(Duration::from_millis(500));
    let error = patiently(brief.apply(&map(), Apply::default()))
        .await
        .unwrap_err();
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
    let error = patiently(cluster.apply(&map(), Apply::default()))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`east`: cannot apply ConfigMap istio-system/istio: {message}")
    );
    assert_eq!(server.count(&Method::PATCH, MAP), 1);

    server.inject(
        Method::GET,
        "/version",
        1000,
        status(401, "Unauthorized", "Unauthorized"),
    );
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
    let error = patiently(cluster.apply(&map(), Apply::default()))
        .await
        .unwrap_err();
    let Error::Conflict { conflicts, .. } = &error else {
        panic!("{error:?}")
    };
    let fields: Vec<_> = conflicts
        .iter()
        .map(|c| (c.field.as_str(), c.manager.as_str()))
        .collect();
    assert_eq!(
        fields,
        [(".data.a", "helm"), (".data.b", "pilot-discovery")]
    );
    assert!(error.hint().unwrap().contains("--force-conflicts"));
}

#[tokio::test]
async fn an_apply_that_is_overtaken_tries_again() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let message = "Operation cannot be fulfilled: the object has been modified; please apply your \
                   changes to the latest version and try again";
    server.inject(Method::PATCH, MAP, 2, status(409, "Conflict", message));
    patiently(cluster.apply(&map(), Apply::default()))
        .await
        .unwrap();
    assert_eq!(server.count(&Method::PATCH, MAP), 3);
}

#[tokio::test]
async fn apply_is_sent_as_server_side_apply() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let mut object = map();
    object["metadata"]["managedFields"] = json!([{"manager": "kubectl"}]);
    patiently(cluster.apply(
        &object,
        Apply {
            dry_run: true,
            force: true,
        },
    ))
    .await
    .unwrap();
    assert_eq!(server.object(MAP), None);
    let sent = server.received().pop().unwrap();
    assert_eq!(
        sent.path,
        format!(
            "{MAP}?fieldManager=kubectl-multimesh&fieldValidation=Strict&force=true&dryRun=All"
        )
    );
    assert_eq!(
        sent.content_type.as_deref(),
        Some("application/apply-patch+yaml")
    );
    assert_eq!(sent.body, map());
}

#[tokio::test]
async fn lists_come_in_pages_and_start_again_when_they_expire() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let base = "/api/v1/namespaces/a/secrets";
    let page = |names: &[&str], token: &str| {
        let items: Vec<Value> = names
            .iter()
            .map(|n| json!({"metadata": {"name": n}}))
            .collect();
        let body = json!({"kind": "SecretList", "apiVersion": "v1",
            "metadata": {"continue": token}, "items": items});
        Fault::Status(200, body, Vec::new())
    };
    let selector = "&labelSelector=istio%2FmultiCluster%3Dtrue";
    let second = format!("{base}?limit=500{selector}&continue=t%2F1");
    server.inject(Method::GET, &second, 1, page(&["two"], ""));
    server.inject(
        Method::GET,
        &format!("{base}?limit=500{selector}"),
        1,
        page(&["one"], "t/1"),
    );
    let list = || cluster.list("v1", "Secret", Some("a"), Some("istio/multiCluster=true"));
    let object =
        |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    assert_eq!(
        patiently(list()).await.unwrap(),
        [object("one"), object("two")]
    );

    server.inject(
        Method::GET,
        &second,
        1,
        status(410, "Expired", "the continue token is too old"),
    );
    server.inject(
        Method::GET,
        &format!("{base}?limit=500{selector}"),
        1,
        page(&["one"], "t/1"),
    );
    let all = format!("{base}?limit=0{selector}");
    server.inject(Method::GET, &all, 1, page(&["one", "two", "three"], ""));
    assert_eq!(patiently(list()).await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_is_not_there_is_none_empty_or_gone() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    assert_eq!(patiently(cluster.get(&map_id())).await.unwrap(), None);
    let gateways = cluster.list("networking.istio.io/v1", "Gateway", None, None);
    assert_eq!(patiently(gateways).await.unwrap(), Vec::<Value>::new());
    let unknown = ResourceId::namespaced("example.io/v1", "Thing", "a", "b");
    assert_eq!(patiently(cluster.get(&unknown)).await.unwrap(), None);
    let delete = |id: &ResourceId| {
        let (cluster, id) = (cluster.clone(), id.clone());
        async move {
            cluster
                .delete(&id, None, Propagation::Background)
                .await
                .unwrap()
        }
    };
    assert_eq!(patiently(delete(&unknown)).await, Deletion::AlreadyGone);
    assert_eq!(patiently(delete(&map_id())).await, Deletion::AlreadyGone);
    server.put(MAP, map());
    assert_eq!(patiently(delete(&map_id())).await, Deletion::Deleted);

    let thing = json!({"apiVersion": "example.io/v1", "kind": "Thing",
        "metadata": {"name": "b", "namespace": "a"}});
    let error = patiently(cluster.apply(&thing, Apply::default()))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::UnknownKind { kind, .. } if kind == "Thing"),
        "{error:?}"
    );
}

#[tokio::test]
async fn unknown_kinds_are_looked_up_and_looked_up_again_when_new() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let list = |kinds: &[(&str, &str, bool)]| {
        let resources: Vec<Value> = kinds
            .iter()
            .map(|(name, kind, namespaced)| {
                json!({"name": name, "kind": kind, "namespaced": namespaced,
                    "singularName": "", "verbs": []})
            })
            .collect();
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "example.io/v1",
            "resources": resources})
    };
    let things = ("things", "Thing", true);
    let subresource = ("things/status", "Thing", true);
    server.put("/apis/example.io/v1", list(&[things, subresource]));
    let apply = |kind: &str| {
        let object = json!({"apiVersion": "example.io/v1", "kind": kind,
            "metadata": {"name": "b", "namespace": "a"}});
        let cluster = cluster.clone();
        async move { cluster.apply(&object, Apply::default()).await }
    };
    patiently(apply("Thing")).await.unwrap();
    patiently(apply("Thing")).await.unwrap();
    assert_eq!(server.count(&Method::GET, "/apis/example.io/v1"), 1);
    assert!(
        server
            .object("/apis/example.io/v1/namespaces/a/things/b")
            .is_some()
    );

    let error = patiently(apply("Globe")).await.unwrap_err();
    assert!(matches!(error, Error::UnknownKind { .. }), "{error:?}");
    server.put(
        "/apis/example.io/v1",
        list(&[things, ("globes", "Globe", false)]),
    );
    patiently(apply("Globe")).await.unwrap();
    assert!(server.object("/apis/example.io/v1/globes/b").is_some());
}

#[tokio::test]
async fn objects_that_are_none_are_not_sent() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let homeless = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    let error = patiently(cluster.apply(&homeless, Apply::default()))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`east`: cannot send Secret a: it lacks a namespace"
    );
    let nameless = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {}});
    let error = patiently(cluster.apply(&nameless, Apply::default()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InvalidObject { .. }), "{error:?}");
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn rights_cost_an_administrator_one_request() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let wanted = [
        Access::new("get", "", "secrets", Some("istio-system")),
        Access::new("create", "", "pods/exec", Some("istio-system")),
        Access::new("patch", "apps", "deployments", Some("istio-system")),
    ];
    assert_eq!(patiently(cluster.allowed(&wanted)).await.unwrap(), []);
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(server.count(&Method::POST, reviews), 1);

    let no = Fault::Status(201, json!({"status": {"allowed": false}}), Vec::new());
    server.inject(Method::POST, reviews, 4, no);
    assert_eq!(patiently(cluster.allowed(&wanted)).await.unwrap(), wanted);
    assert_eq!(server.count(&Method::POST, reviews), 5);
    let asked = server.received();
    let exec = asked
        .iter()
        .find(|r| r.body["spec"]["resourceAttributes"]["subresource"] == "exec");
    assert_eq!(
        exec.unwrap().body["spec"]["resourceAttributes"]["resource"],
        "pods"
    );
}

#[tokio::test]
async fn a_pod_behind_the_server_that_fails_is_asked_once() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let path = "/api/v1/namespaces/istio-system/pods/istiod-1:15014/proxy/metrics";
    let message = "error trying to reach service: dial tcp 10.1.0.9:15014: connect: connection \
                   refused";
    server.inject(
        Method::GET,
        path,
        10,
        status(503, "ServiceUnavailable", message),
    );
    let error = patiently(cluster.get_text(path)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable { code: 503, .. }),
        "{error:?}"
    );
    assert_eq!(server.count(&Method::GET, path), 1);
    server.inject(Method::GET, path, 0, Fault::Hang);
    server.put("/x", json!("text"));
    assert_eq!(patiently(cluster.get_text("/x")).await.unwrap(), "\"text\"");
}

#[tokio::test]
async fn parallel_calls_share_what_is_kept_open() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    server.put(MAP, map());
    let calls = (0..8).map(|_| {
        let cluster = cluster.clone();
        async move { cluster.get(&map_id()).await.unwrap().is_some() }
    });
    let all = patiently(futures::future::join_all(calls)).await;
    assert_eq!(all, [true; 8]);
}

#[tokio::test]
async fn a_raw_request_and_a_merge_patch() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let body = json!({"metadata": {"labels": {"a": null}}});
    patiently(cluster.patch_merge(&map_id(), &body))
        .await
        .unwrap();
    let sent = server.received().pop().unwrap();
    assert_eq!(
        sent.content_type.as_deref(),
        Some("application/merge-patch+json")
    );
    assert_eq!(sent.body, body);
    let answer = patiently(cluster.request(Method::PUT, MAP, Some(&map())))
        .await
        .unwrap();
    assert_eq!(answer["data"], map()["data"]);
}

#[tokio::test]
async fn a_command_in_a_pod_that_is_not_there() {
    let server = ApiServer::start().await;
    let path = "/api/v1/namespaces/a/pods/b/exec";
    server.inject(
        Method::GET,
        path,
        1,
        status(404, "NotFound", "pods \"b\" not found"),
    );
    let cluster = connect(&server.url()).await;
    let error = patiently(cluster.exec("a", "b", "discovery", &["true"]))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`east`: cannot run `true` in container discovery of Pod a/b: pods \"b\" not found"
    );
    server.inject(Method::GET, path, 1, Fault::Body("{}"));
    let error = patiently(cluster.exec("a", "b", "discovery", &["true"]))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Garbled { .. }), "{error:?}");
}

#[tokio::test]
async fn the_identity_of_a_cluster_is_asked_for_once() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let error = patiently(cluster.uid()).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { .. }), "{error:?}");
    let path = "/api/v1/namespaces/kube-system";
    server.put(path, json!({"metadata": {"uid": "6f6b"}}));
    assert_eq!(patiently(cluster.uid()).await.unwrap(), "6f6b");
    assert_eq!(patiently(cluster.clone().uid()).await.unwrap(), "6f6b");
    assert_eq!(server.count(&Method::GET, path), 2);
}

#[tokio::test]
async fn deletions_name_the_very_object() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let id = map_id();
    let delete = || cluster.delete(&id, Some("u1"), Propagation::Foreground);
    server.put(MAP, map());
    patiently(delete()).await.unwrap();
    let sent = server.received().pop().unwrap();
    assert_eq!(sent.body["preconditions"], json!({"uid": "u1"}));
    assert_eq!(sent.body["propagationPolicy"], "Foreground");

    let message = "Operation cannot be fulfilled on ConfigMap \"istio\": the UID in the precondition \
                   (u1) does not match the UID in record (u2)";
    server.inject(Method::DELETE, MAP, 9, status(409, "Conflict", message));
    assert_eq!(patiently(delete()).await.unwrap(), Deletion::Replaced);
    assert_eq!(server.count(&Method::DELETE, MAP), 2);
}

/// Calls can be made from tasks of their own.
#[tokio::test]
async fn calls_are_send() {
    fn is_send<T: Send>(_: &T) {}
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let (id, object) = (map_id(), map());
    is_send(&cluster.uid());
    is_send(&cluster.get(&id));
    is_send(&cluster.list("v1", "Secret", None, None));
    is_send(&cluster.list_metadata("v1", "Secret", None, None));
    is_send(&cluster.apply(&object, Apply::default()));
    is_send(&cluster.create(&object, false));
    is_send(&cluster.patch_merge(&id, &object));
    is_send(&cluster.delete(&id, None, Propagation::Orphan));
    is_send(&cluster.allowed(&[]));
    is_send(&cluster.get_text("/readyz"));
    is_send(&cluster.exec("a", "b", "c", &["true"]));
}
