use insta::assert_snapshot;
use serde_json::json;

use super::*;
use crate::plan::object::Key;
use crate::plan::outline::CertificateChange;

fn change(verb: Verb, before: Option<Value>, after: Option<Value>) -> ObjectChange {
    let object = after.as_ref().or(before.as_ref()).unwrap();
    ObjectChange {
        verb,
        key: Key::of(object),
        api_version: object["apiVersion"].as_str().unwrap_or_default().to_owned(),
        link: None,
        before,
        after: after.map(std::sync::Arc::new),
        refusal: None,
    }
}

fn update(before: Value, after: Value) -> String {
    compare(&change(Verb::Update, Some(before), Some(after)), Extent::Folded).to_string()
}

/// A Deployment as the API server answers with it.
fn istiod(image: &str, generation: u64) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "istiod", "namespace": "istio-system", "uid": "8d7e", "generation": generation,
            "resourceVersion": format!("10{generation}"), "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": { "deployment.kubernetes.io/revision": generation.to_string(),
                DIGEST: format!("digest of {generation}") },
            "labels": { "app": "istiod" },
            "managedFields": [{ "manager": "kubectl-multimesh", "time": generation.to_string() }],
        },
        "spec": { "replicas": 1, "template": { "metadata": { "labels": { "app": "istiod" } }, "spec": {
            "containers": [{
                "args": ["discovery", "--monitoringAddr=:15014"],
                "env": [{ "name": "REVISION", "value": "default" }],
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "name": "discovery",
                "ports": [{ "containerPort": 8080 }],
            }],
            "dnsPolicy": "ClusterFirst",
        } } },
        "status": { "observedGeneration": generation },
    })
}

#[test]
fn an_update_shows_the_fields_that_change_and_where() {
    assert_snapshot!(update(istiod("pilot:1.30.0", 1), istiod("pilot:1.31.0", 2)), @r#"
    @@ -19,7 +19,7 @@ spec.template.spec.containers
             env:
             - name: REVISION
               value: default
    -        image: pilot:1.30.0
    +        image: pilot:1.31.0
             imagePullPolicy: IfNotPresent
             name: discovery
             ports:
    "#);
}

#[test]
fn a_creation_begins_with_what_names_the_object() {
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "mesh": "a: 1\nb: no\n",
        "flag": "no", "long": "word ".repeat(40) },
        "binaryData": { "icon": "AAECAwQF" },
        "metadata": { "namespace": "n", "name": "istio" } });
    let shown = compare(&change(Verb::Create, None, Some(map)), Extent::Folded);
    assert_snapshot!(shown.to_string(), @r#"
    +apiVersion: v1
    +kind: ConfigMap
    +metadata:
    +  name: istio
    +  namespace: "n"
    +binaryData:
    +  icon: sha256:17e88db1…
    +data:
    +  flag: "no"
    +  long: "word word word word word word word word word word word word word word word word word word word word word word word word word word word word word word word word word word word word word word word word "
    +  mesh: |
    +    a: 1
    +    b: no
    "#);
}

#[test]
fn what_controllers_and_the_api_server_write_is_no_difference() {
    assert_eq!(
        compare(
            &change(Verb::Update, Some(istiod("pilot", 1)), Some(istiod("pilot", 2))),
            Extent::Folded
        ),
        Diff::Record
    );
    let mut same = istiod("pilot", 2);
    same["metadata"]["annotations"][DIGEST] = json!("digest of 1");
    assert_eq!(update(istiod("pilot", 1), same), "no field changes");
}

#[test]
fn what_istiod_owns_is_no_difference() {
    let webhook = |ca: &str, policy: &str, path: &str| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": "istio-validator", "uid": "u" },
            "webhooks": [{ "name": "v", "failurePolicy": policy,
                "clientConfig": { "caBundle": ca, "service": { "path": path } } }],
        })
    };
    assert_eq!(
        update(webhook("Q0E=", "Fail", "/a"), webhook("", "Ignore", "/a")),
        "no field changes"
    );
    let shown = update(webhook("Q0E=", "Fail", "/a"), webhook("", "Ignore", "/b"));
    assert!(shown.contains("+      path: /b") && !shown.contains("Q0E"), "{shown}");
}

#[test]
fn what_the_api_server_picks_is_shown_only_where_it_was_asked_for() {
    let service = |port: u32, fields: Value| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "gateway", "uid": "u", "managedFields": [{ "fieldsV1": fields }] },
            "spec": { "clusterIP": "10.0.0.1", "ports": [{ "port": 15443, "nodePort": port }] },
        })
    };
    let created =
        |after| compare(&change(Verb::Create, None, Some(after)), Extent::Folded).to_string();
    assert!(!created(service(30_001, json!({}))).contains("30001"));
    assert!(!created(service(30_001, json!({}))).contains("10.0.0.1"));
    assert!(created(service(30_001, json!({ "f:nodePort": {} }))).contains("nodePort: 30001"));
    let desired = json!({ "kind": "Service", "metadata": { "name": "gateway" },
        "spec": { "ports": [{ "nodePort": 30_001 }] } });
    assert!(created(desired).contains("nodePort: 30001"));
}

#[test]
fn without_an_answer_of_the_api_server_defaults_are_no_difference() {
    let desired = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "istiod", "namespace": "istio-system" },
        "spec": { "template": { "spec": {
            "containers": [{ "name": "discovery", "image": "pilot:2" }],
            "hostNetwork": false,
        } } } });
    assert_snapshot!(update(istiod("pilot:1", 1), desired), @r#"
    @@ -19,7 +19,7 @@ spec.template.spec.containers
             env:
             - name: REVISION
               value: default
    -        image: pilot:1
    +        image: pilot:2
             imagePullPolicy: IfNotPresent
             name: discovery
             ports:
    "#);
}

#[test]
fn a_change_deep_in_a_text_is_placed_by_its_fields() {
    let map = |value: &str| {
        let mesh = format!(
            "a: 1\nb: 2\ndefaultConfig:\n  c: 3\n  d: 4\n  e: 5\n  tracing:\n    - f: 6\n      sampling: {value}\n"
        );
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "istio", "uid": "u" },
            "data": { "mesh": mesh } })
    };
    let shown = update(map("1"), map("100"));
    assert!(shown.starts_with("@@ -12,4 +12,4 @@ data.mesh.defaultConfig.tracing\n"), "{shown}");
}

#[test]
fn changes_far_apart_are_hunks_of_their_own() {
    let map = |first: &str, last: &str| {
        let mut map = json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "istio", "uid": "u", "labels": { "l": first } }, "data": {} });
        for n in 10..20 {
            map["data"][format!("k{n}")] = json!("v");
        }
        map["data"]["k20"] = json!(last);
        map
    };
    assert_snapshot!(update(map("a", "x"), map("b", "y")), @r#"
    @@ -2,7 +2,7 @@ metadata.labels
     kind: ConfigMap
     metadata:
       labels:
    -    l: a
    +    l: b
       name: istio
     data:
       k10: v
    @@ -15,4 +15,4 @@ data
       k17: v
       k18: v
       k19: v
    -  k20: x
    +  k20: "y"
    "#);
}

#[test]
fn a_secret_shows_that_it_changes_and_not_what() {
    let secret = |field: &str, value: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "name": "cacerts", "namespace": "n", "uid": "u",
                "labels": { "copy": "Zmlyc3Q=" },
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{\"key\":\"Zmlyc3Q=\"}}",
                    "example.com/copy": "a copy of something",
                    "networking.istio.io/cluster": "east",
                } },
            (field): { "key": value },
        })
    };
    assert_snapshot!(update(secret("data", "Zmlyc3Q="), secret("data", "c2Vjb25k")), @r#"
    @@ -9,5 +9,5 @@ data
       name: cacerts
       namespace: "n"
     data:
    -  key: sha256:a7937b64…
    +  key: sha256:16367aac…
     type: Opaque
    "#);
    let hash = "sha256:a7937b64…";
    for other in [secret("data", "Zmlyc3Q="), secret("stringData", "first")] {
        let shown = compare(&change(Verb::Create, None, Some(other)), Extent::Folded).to_string();
        assert!(shown.contains(&format!("+  key: {hash}")), "{shown}");
    }
}

#[test]
fn long_objects_that_come_or_go_are_folded_unless_asked_for() {
    let definition = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "gateways.networking.istio.io" }, "spec": { "scope": "Namespaced" } });
    let mut long =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "long" } });
    long["data"]["text"] = json!("line\n".repeat(400));
    for (object, lines) in [(definition, 6), (long, 406)] {
        let created = change(Verb::Create, None, Some(object.clone()));
        assert_eq!(compare(&created, Extent::Folded), Diff::Folded(Some(lines)));
        let Diff::Lines(all) = compare(&created, Extent::Whole) else { panic!("folded") };
        assert_eq!(all.len(), lines);
        let pruned = change(Verb::Prune, Some(object), None);
        assert_eq!(compare(&pruned, Extent::Folded), Diff::Folded(Some(lines)));
    }
}

#[test]
fn a_link_whose_token_is_not_made_yet_says_so() {
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "istio-remote-secret-east" } });
    let mut link = change(Verb::Create, None, Some(secret.clone()));
    link.link = Some("east".into());
    link.after = None;
    assert_eq!(compare(&link, Extent::Folded), Diff::Pending);
    link.verb = Verb::Update;
    link.before = Some(secret);
    assert_eq!(compare(&link, Extent::Folded), Diff::Pending);
    link.verb = Verb::Prune;
    assert!(matches!(compare(&link, Extent::Folded), Diff::Lines(_)));
}

#[test]
fn a_certificate_that_is_issued_is_not_compared() {
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "cacerts" },
        "data": { "ca-key.pem": "bmV3" } });
    let change = change(Verb::Create, None, Some(secret));
    let with = |certificate| Changes { certificate, ..Changes::default() };
    for issued in [CertificateChange::Issue, CertificateChange::Renew] {
        assert_eq!(diff(&with(Some(issued)), &change, Extent::Whole), Diff::Pending);
    }
    for kept in [Some(CertificateChange::Store), None] {
        assert!(matches!(diff(&with(kept), &change, Extent::Whole), Diff::Lines(_)));
    }
}

#[test]
fn a_definition_of_which_the_content_was_not_read_is_not_compared() {
    let read = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "gateways.networking.istio.io" }, "spec": { "scope": "Namespaced" } });
    let mut listed = read.clone();
    listed.as_object_mut().unwrap().remove("spec");
    for change in [
        change(Verb::Update, Some(listed.clone()), Some(read)),
        change(Verb::Prune, Some(listed), None),
    ] {
        assert_eq!(compare(&change, Extent::Whole), Diff::Folded(None));
    }
}
