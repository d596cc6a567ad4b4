//! What somebody else made is neither overwritten nor deleted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use multimesh::pki::{Store, issue};
use multimesh_lab::programs;
use serde_json::{Value, json};

use crate::Planes;
use crate::live::versions;
use crate::terminal::Terminal;

const ROOT: &str = include_str!("../fixtures/seed-workdir/certs/root-cert.pem");
const CA: &str =
    include_str!("../fixtures/seed-workdir/certs/intermediate-context-east-1/ca-cert.pem");
const KEY: &str =
    include_str!("../fixtures/seed-workdir/certs/intermediate-context-east-1/ca-key.pem");

#[test]
fn cacerts_with_another_root_are_refused_before_any_write() {
    let planes = Planes::start(2);
    planes.kubectl(1, &["create", "namespace", "istio-system"]);
    let indent = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let entry = |name: &str, pem: &str| format!("  {name}: |\n{}", indent(pem));
    planes.kubectl_apply(1,
        &format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: cacerts, namespace: istio-system}}\nstringData:\n{}{}{}{}",
            entry("root-cert.pem", ROOT),
            entry("ca-cert.pem", CA),
            entry("ca-key.pem", KEY),
            entry("cert-chain.pem", &format!("{CA}{ROOT}")),
        ),
    );
    planes.run(&["init", "--mesh-id", "m"]).expect(0);
    planes
        .apply(&[])
        .expect(1)
        .says("another root")
        .says(&planes.clusters[1].context)
        .says("hint:");
    assert!(planes.is_untouched(0) && planes.is_untouched(1));
}

#[test]
fn an_istio_of_somebody_else_is_refused_before_any_write() {
    let planes = Planes::start(2);
    planes.kubectl(0, &["create", "namespace", "istio-system"]);
    planes.kubectl_apply(
        0,
        "apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec:
  selector: {matchLabels: {app: istiod}}
  template:
    metadata: {labels: {app: istiod}}
    spec: {containers: [{name: discovery, image: 'localhost/istio/pilot:1.30.2'}]}
",
    );
    planes
        .apply(&[])
        .expect(1)
        .says("has an Istio 1.30.2 that somebody else installed")
        .says("control_plane: existing");
    assert!(planes.is_untouched(0) && planes.is_untouched(1));
}

#[test]
fn objects_of_somebody_else_are_taken_over_only_when_asked_to() {
    let planes = Planes::start(1);
    let name = "istio-reader-clusterrole-istio-system";
    planes.kubectl(0, &["create", "clusterrole", name, "--verb=get", "--resource=pods"]);
    planes.apply(&[]).expect(1).says(name).says("--force-conflicts");
    assert!(planes.is_untouched(0));
    planes.apply(&["--force-conflicts"]).expect(0);
    assert!(!planes.is_untouched(0));
}

#[test]
fn a_namespace_of_somebody_else_stays_theirs() {
    let planes = Planes::start(1);
    planes.kubectl(0, &["create", "namespace", "istio-system"]);
    planes.kubectl(0, &["create", "configmap", "theirs", "-n", "istio-system"]);
    planes.apply(&[]).expect(0);
    planes.apply(&[]).expect(0).says("nothing to change");
    planes.run(&["teardown", "--yes"]).expect(0);
    let left = planes.kubectl(0, &["get", "configmaps", "-n", "istio-system", "-o", "name"]);
    assert!(left.contains("configmap/theirs"), "{left}");
    let namespace = planes.kubectl(0, &["get", "namespace", "istio-system", "-o", "yaml"]);
    assert!(!namespace.contains("topology.istio.io/network"), "{namespace}");
    assert!(planes.is_untouched(0));
}

#[test]
fn a_remote_secret_made_by_hand_survives_everything() {
    let planes = Planes::start(2);
    planes.kubectl(0, &["create", "namespace", "istio-system"]);
    let by_hand = format!(
        "apiVersion: v1
kind: Secret
metadata:
  name: by-hand
  namespace: istio-system
  labels: {{istio/multiCluster: 'true'}}
stringData: {{{}: theirs}}
",
        planes.clusters[1].context
    );
    planes.kubectl_apply(0, &by_hand);
    planes.apply(&[]).expect(0).says("by-hand").says("it is kept");
    assert_eq!(planes.links(0), ["secret/by-hand"]);
    assert_eq!(planes.links(1).len(), 1);
    planes.run(&["teardown", "--yes"]).expect(0);
    assert_eq!(planes.links(0), ["secret/by-hand"]);
}

#[test]
fn what_somebody_changed_is_put_right_or_told() {
    let planes = Planes::start(1);
    planes.apply(&[]).expect(0);
    let patch = r#"{"data":{"mesh_id":"other"}}"#;
    let config = ["configmap", "istio", "-n", "istio-system"];
    planes.kubectl(
        0,
        &[&["patch"], &config[..], &["--type=merge", "-p", r#"{"data":{"mesh":"x"}}"#]].concat(),
    );
    // The field has another manager now, so it is told and not fought over.
    planes.apply(&[]).expect(1).says("ConfigMap istio-system/istio").says("--force-conflicts");
    planes.apply(&["--force-conflicts"]).expect(0).says("applied to 1 cluster");
    let mesh =
        planes.kubectl(0, &[&["get"], &config[..], &["-o", "jsonpath={.data.mesh}"]].concat());
    assert!(mesh.contains("rootNamespace"), "{mesh}");
    planes.apply(&[]).expect(0).says("nothing to change");

    // Who sends the whole object back sends its digest too.
    let definition = ["crd", "gateways.networking.istio.io"];
    for (object, field, edit) in [
        (&config[..], "/data/mesh", json!("x")),
        (&definition[..], "/spec/names/shortNames", json!(["edited"])),
    ] {
        let text = planes.kubectl(0, &[&["get"], object, &["-o", "json"]].concat());
        let mut edited: Value = serde_json::from_str(&text).unwrap();
        *edited.pointer_mut(field).unwrap() = edit;
        let send = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        planes.lab.kubectl(&planes.clusters[0], &send, Some(&edited.to_string())).unwrap();
        planes.apply(&["--force-conflicts"]).expect(0).says("1 updated");
        planes.apply(&[]).expect(0).says("nothing to change");
    }
    planes.kubectl(
        0,
        &[
            "patch",
            "configmap",
            "kubectl-multimesh",
            "-n",
            "istio-system",
            "--type=merge",
            "-p",
            patch,
        ],
    );
    planes.apply(&[]).expect(1).says("belongs to the mesh `other`");
}

/// The Deployment of an istiod that somebody else installed, which calls its cluster so.
fn istiod_named(cluster: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: istiod, namespace: istio-system, labels: {{app: istiod}}}}
spec:
  selector: {{matchLabels: {{app: istiod}}}}
  template:
    metadata: {{labels: {{app: istiod}}}}
    spec:
      containers:
      - name: discovery
        image: localhost/istio/pilot:{}
        env: [{{name: CLUSTER_ID, value: '{cluster}'}}]
",
        programs::ISTIO_VERSION
    )
}

#[test]
fn an_existing_istiod_joins_when_it_fits_and_stays_as_it_is() {
    let planes = Planes::start(2);
    let [own, theirs] = [&planes.clusters[0].context, &planes.clusters[1].context];
    let topology = format!(
        "mesh_id: m\ncontexts:\n  {own}: {{network: flat}}\n  {theirs}: {{network: flat, control_plane: existing}}\n"
    );
    planes.run(&["init", "--mesh-id", "m"]).expect(0);
    planes.write("m", "topology.yaml", &topology);
    planes.apply(&[]).expect(1).says(theirs).says("has no istiod in the namespace istio-system");

    planes.kubectl(1, &["create", "namespace", "istio-system"]);
    planes.kubectl_apply(1, &istiod_named("other"));
    planes
        .apply(&[])
        .expect(1)
        .says("its istiod calls the cluster `other`")
        .says(&format!("hint: say `cluster: other` under `{theirs}`"));
    planes.kubectl_apply(1, &istiod_named("Kubernetes"));
    planes.apply(&[]).expect(1).says(&format!("multiCluster.clusterName: {theirs}"));
    planes.kubectl_apply(1, &istiod_named(theirs));
    planes.apply(&[]).expect(1).says("signs with a root of its own").says("hint:");
    assert!(planes.is_untouched(0) && planes.is_untouched(1));

    let root = Store::open(planes.mesh("m").join("certs")).root().unwrap().unwrap();
    let cacerts = issue::intermediate(&root, theirs, "istio-system", Timestamp::now()).unwrap();
    let data: BTreeMap<&str, &str> = cacerts.entries().into_iter().collect();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "cacerts", "namespace": "istio-system" },
        "stringData": data,
    });
    planes.kubectl_apply(1, &secret.to_string());
    let reader = "istio-reader-service-account";
    planes.kubectl(1, &["create", "serviceaccount", reader, "-n", "istio-system"]);
    let theirs_now = || {
        let object = |kind: &str, name: &str, fields: &str| {
            let path = format!("jsonpath={fields}");
            planes.kubectl(1, &["get", kind, name, "-n", "istio-system", "-o", &path])
        };
        [
            object("deployment", "istiod", "{.metadata.generation} {.metadata.labels}"),
            object("secret", "cacerts", "{.metadata} {.data}"),
            object("serviceaccount", reader, "{.metadata}"),
        ]
    };
    let before = theirs_now();
    planes.apply(&[]).expect(0).says("cacerts was made by somebody else").says("it is kept");
    assert_eq!((planes.links(0).len(), planes.links(1).len()), (1, 1));
    assert!(!planes.is_untouched(1));
    planes.apply(&[]).expect(0).says("nothing to change in 2 clusters");
    assert_eq!(theirs_now(), before);

    // Its credentials would stay behind where nobody looks for them.
    let existing = "control_plane: existing";
    planes.write(
        "m",
        "topology.yaml",
        &topology.replace(existing, &format!("{existing}, namespace: elsewhere")),
    );
    planes
        .apply(&[])
        .expect(1)
        .says("brought in the namespace istio-system, and the topology says elsewhere")
        .says(&format!("`namespace: istio-system` under `{theirs}`"));
    planes.write("m", "topology.yaml", &topology);

    planes.run(&["teardown", "--yes"]).expect(0);
    assert!(planes.is_untouched(0) && planes.is_untouched(1));
    assert!(planes.links(1).is_empty());
    assert_eq!(theirs_now(), before);
}

#[test]
fn without_the_apply_sets_parent_the_configuration_says_whose_a_mesh_is() {
    let planes = Planes::start(1);
    planes.apply(&[]).expect(0);
    planes.kubectl(0, &["delete", "configmap", "kubectl-multimesh", "-n", "istio-system"]);
    let before = versions(&planes.lab, &planes.clusters[0]);
    let topology = std::fs::read_to_string(planes.mesh("m").join("topology.yaml")).unwrap();
    planes.write("other", "topology.yaml", &topology.replace("mesh_id: m", "mesh_id: other"));
    let teardown = planes.run(&["teardown", "--mesh", "other", "--yes"]);
    teardown.expect(1).says("belongs to the mesh `m`, not to `other`");
    assert!(versions(&planes.lab, &planes.clusters[0]) == before, "something was deleted");
    planes.apply(&["--mesh", "m"]).expect(0).says("1 created");
}

#[test]
fn what_changes_while_a_teardown_asks_is_looked_at_again() {
    let planes = Planes::start(1);
    planes.apply(&[]).expect(0);
    let parent = ["configmap", "kubectl-multimesh", "-n", "istio-system"];
    let write =
        |change: &[&str]| planes.kubectl(0, &[&change[..1], &parent[..], &change[1..]].concat());

    let mut terminal = Terminal::start(&planes, &["teardown"]);
    terminal.is_asked("Tear down mesh m");
    write(&["annotate", "by=a-colleague"]);
    terminal.answer("yes");
    terminal.is_asked("another run has written meanwhile");
    // Nobody has to wait for an answer.
    let leases = planes.kubectl(0, &["get", "leases", "-n", "istio-system", "-o", "name"]);
    assert_eq!(leases, "");

    // It becomes another mesh's.
    write(&["patch", "--type=merge", "-p", r#"{"data":{"mesh_id":"other"}}"#]);
    let before = versions(&planes.lab, &planes.clusters[0]);
    terminal.answer("yes");
    let screen = terminal.expect(1);
    assert!(screen.contains("belongs to the mesh `other`"), "{screen}");
    assert!(versions(&planes.lab, &planes.clusters[0]) == before, "something was deleted");
    planes.run(&["teardown", "--yes"]).expect(1).says("belongs to the mesh `other`");

    write(&["patch", "--type=merge", "-p", r#"{"data":{"mesh_id":"m"}}"#]);
    let mut terminal = Terminal::start(&planes, &["teardown"]);
    terminal.is_asked("Tear down mesh m");
    write(&["annotate", "--overwrite", "by=another"]);
    terminal.answer("yes");
    terminal.is_asked("another run has written meanwhile");
    terminal.answer("yes");
    terminal.expect(0);
    assert!(planes.is_untouched(0));
}
