//! What somebody else made is neither overwritten nor deleted.

use crate::Planes;

const ROOT: &str = include_str!("../fixtures/seed-workdir/certs/root-cert.pem");
const CA: &str =
    include_str!("../fixtures/seed-workdir/certs/intermediate-context-east-1/ca-cert.pem");
const KEY: &str =
    include_str!("../fixtures/seed-workdir/certs/intermediate-context-east-1/ca-key.pem");

fn apply_object(planes: &Planes, index: usize, object: &str) {
    let cluster = &planes.clusters[index];
    planes.lab.kubectl(cluster, &["apply", "-f", "-"], Some(object)).unwrap();
}

#[test]
fn cacerts_with_another_root_are_refused_before_any_write() {
    let planes = Planes::start(2);
    planes.kubectl(1, &["create", "namespace", "istio-system"]);
    let indent = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let entry = |name: &str, pem: &str| format!("  {name}: |\n{}", indent(pem));
    apply_object(
        &planes,
        1,
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
    apply_object(
        &planes,
        0,
        "apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec:
  selector: {matchLabels: {app: istiod}}
  template:
    metadata: {labels: {app: istiod}}
    spec: {containers: [{name: discovery, image: 'docker.io/istio/pilot:1.30.2'}]}
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
    apply_object(&planes, 0, &by_hand);
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
