use insta::assert_snapshot;
use serde_json::json;

use super::*;
use crate::plan::object::Key;

fn change(verb: Verb, before: Option<Value>, after: Option<Value>) -> ObjectChange {
    let object = after.as_ref().or(before.as_ref()).unwrap();
    ObjectChange {
        verb,
        key: Key::of(object),
        api_version: object["apiVersion"].as_str().unwrap_or_default().to_owned(),
        link: None,
        before,
        after,
        refusal: None,
    }
}

fn update(before: Value, after: Value) -> String {
    diff(&change(Verb::Update, Some(before), Some(after)), Extent::Folded).to_string()
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
    let shown = diff(&change(Verb::Create, None, Some(map)), Extent::Folded);
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
fn temp_manifest() {
    let text = std::fs::read_to_string("/tmp/planui-x/manifest.yaml").unwrap();
    let mut out = String::new();
    let t = std::time::Instant::now();
    for object in crate::istio::manifest::parse(&text).unwrap() {
        let c = change(Verb::Create, None, Some(object.clone()));
        out += &format!("=== {} {}\n", c.key, diff(&c, Extent::Folded).to_string().len());
        out += &diff(&c, Extent::Whole).to_string();
        out += "\n";
        let back: Value = serde_saphyr::from_str(&yaml(&object)).unwrap();
        let mut want = redacted(&object);
        noise::strip(&mut want);
        assert_eq!(back, want, "{}", c.key);
    }
    println!("{:?}", t.elapsed());
    std::fs::write("/tmp/planui-x/out.txt", out).unwrap();
}
