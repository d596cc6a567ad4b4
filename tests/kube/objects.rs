use hyper::Method;
use multimesh::kube::error::Error;
use multimesh::kube::{Access, Apply, Deletion, Propagation, ResourceId};
use serde_json::{Value, json};

use crate::apiserver::{ApiServer, Fault, status};
use crate::{MAP, connect, map, map_id, patiently};

#[tokio::test]
async fn apply_is_sent_as_server_side_apply() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let mut object = map();
    object["metadata"]["managedFields"] = json!([{"manager": "kubectl"}]);
    patiently(cluster.apply(&object, Apply { dry_run: true, force: true })).await.unwrap();
    assert_eq!(server.object(MAP), None);
    let sent = server.received().pop().unwrap();
    assert_eq!(
        sent.path,
        format!(
            "{MAP}?fieldManager=kubectl-multimesh&fieldValidation=Strict&force=true&dryRun=All"
        )
    );
    assert_eq!(sent.content_type.as_deref(), Some("application/apply-patch+yaml"));
    assert_eq!(sent.body, map());
    // Its answer is compared, that of a write is not even read.
    assert_eq!(sent.accept.as_deref(), Some("application/json"));
    patiently(cluster.apply(&object, Apply::default())).await.unwrap();
    let accept = server.received().pop().unwrap().accept.unwrap();
    assert!(accept.starts_with("application/json;as=PartialObjectMetadata;"), "{accept}");
}

#[tokio::test]
async fn lists_come_in_pages_and_start_again_when_they_expire() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let base = "/api/v1/namespaces/a/secrets";
    let page = |names: &[&str], token: &str| {
        let items: Vec<Value> = names.iter().map(|n| json!({"metadata": {"name": n}})).collect();
        let body = json!({"kind": "SecretList", "apiVersion": "v1",
            "metadata": {"continue": token}, "items": items});
        Fault::Status(200, body, Vec::new())
    };
    let selector = "&labelSelector=istio%2FmultiCluster%3Dtrue";
    let second = format!("{base}?limit=500{selector}&continue=t%2F1");
    server.inject(Method::GET, &second, 1, page(&["two"], ""));
    server.inject(Method::GET, &format!("{base}?limit=500{selector}"), 1, page(&["one"], "t/1"));
    let list = || cluster.list("v1", "Secret", Some("a"), Some("istio/multiCluster=true"));
    let object =
        |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    assert_eq!(patiently(list()).await.unwrap(), [object("one"), object("two")]);

    server.inject(Method::GET, &second, 1, status(410, "Expired", "the continue token is too old"));
    server.inject(Method::GET, &format!("{base}?limit=500{selector}"), 1, page(&["one"], "t/1"));
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
        async move { cluster.delete(&id, None, Propagation::Background).await.unwrap() }
    };
    assert_eq!(patiently(delete(&unknown)).await, Deletion::AlreadyGone);
    assert_eq!(patiently(delete(&map_id())).await, Deletion::AlreadyGone);
    server.put(MAP, map());
    assert_eq!(patiently(delete(&map_id())).await, Deletion::Deleted);

    let thing = json!({"apiVersion": "example.io/v1", "kind": "Thing",
        "metadata": {"name": "b", "namespace": "a"}});
    let error = patiently(cluster.apply(&thing, Apply::default())).await.unwrap_err();
    assert!(matches!(&error, Error::UnknownKind { kind, .. } if kind == "Thing"), "{error:?}");
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
    assert!(server.object("/apis/example.io/v1/namespaces/a/things/b").is_some());

    let error = patiently(apply("Globe")).await.unwrap_err();
    assert!(matches!(error, Error::UnknownKind { .. }), "{error:?}");
    server.put("/apis/example.io/v1", list(&[things, ("globes", "Globe", false)]));
    patiently(apply("Globe")).await.unwrap();
    assert!(server.object("/apis/example.io/v1/globes/b").is_some());
}

#[tokio::test]
async fn objects_that_are_none_are_not_sent() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let homeless = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    let error = patiently(cluster.apply(&homeless, Apply::default())).await.unwrap_err();
    assert_eq!(error.to_string(), "`east`: cannot send Secret a: it lacks a namespace");
    let nameless = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {}});
    let error = patiently(cluster.apply(&nameless, Apply::default())).await.unwrap_err();
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
    let exec = asked.iter().find(|r| r.body["spec"]["resourceAttributes"]["subresource"] == "exec");
    assert_eq!(exec.unwrap().body["spec"]["resourceAttributes"]["resource"], "pods");
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
    patiently(cluster.patch_merge(&map_id(), &body)).await.unwrap();
    let sent = server.received().pop().unwrap();
    assert_eq!(sent.content_type.as_deref(), Some("application/merge-patch+json"));
    assert_eq!(sent.body, body);
    let answer = patiently(cluster.request(Method::PUT, MAP, Some(&map()))).await.unwrap();
    assert_eq!(answer["data"], map()["data"]);
}

#[tokio::test]
async fn a_command_in_a_pod_that_is_not_there() {
    let server = ApiServer::start().await;
    let path = "/api/v1/namespaces/a/pods/b/exec";
    server.inject(Method::GET, path, 1, status(404, "NotFound", "pods \"b\" not found"));
    let cluster = connect(&server.url()).await;
    let error = patiently(cluster.exec("a", "b", "discovery", &["true"])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`east`: cannot run `true` in container discovery of Pod a/b: pods \"b\" not found"
    );
    server.inject(Method::GET, path, 1, Fault::Body("{}"));
    let error = patiently(cluster.exec("a", "b", "discovery", &["true"])).await.unwrap_err();
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

#[tokio::test]
async fn what_somebody_has_changed_meanwhile_is_neither_deleted_nor_patched() {
    let server = ApiServer::start().await;
    let cluster = connect(&server.url()).await;
    let mut read = map();
    let error = patiently(cluster.delete_unchanged(&read)).await.unwrap_err();
    assert!(matches!(error, Error::InvalidObject { .. }), "{error:?}");
    read["metadata"]["uid"] = json!("u1");
    read["metadata"]["resourceVersion"] = json!("7");
    server.put(MAP, read.clone());
    assert_eq!(patiently(cluster.delete_unchanged(&read)).await.unwrap(), Deletion::Deleted);
    let sent = server.received().pop().unwrap();
    assert_eq!(sent.body["preconditions"], json!({"uid": "u1", "resourceVersion": "7"}));

    let message = "Operation cannot be fulfilled on ConfigMap \"istio\": Precondition failed: \
                   ResourceVersion in precondition: 7, ResourceVersion in object meta: 8";
    server.inject(Method::DELETE, MAP, 9, status(409, "Conflict", message));
    assert_eq!(patiently(cluster.delete_unchanged(&read)).await.unwrap(), Deletion::Replaced);
    assert_eq!(server.count(&Method::DELETE, MAP), 2, "it does not go away by trying again");

    let message = "Operation cannot be fulfilled on ConfigMap \"istio\": the object has been modified; \
                   please apply your changes to the latest version and try again";
    server.inject(Method::PATCH, MAP, 9, status(409, "Conflict", message));
    let error = patiently(cluster.patch_merge(&map_id(), &read)).await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error:?}");
    assert_eq!(server.count(&Method::PATCH, MAP), 1, "it does not go away by trying again");
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
    is_send(&cluster.delete_unchanged(&object));
    is_send(&cluster.allowed(&[]));
    is_send(&cluster.get_text("/readyz"));
    is_send(&cluster.exec("a", "b", "c", &["true"]));
}
