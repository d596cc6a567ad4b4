//! Two runs at the same time: on one machine, and on two.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::Planes;
use crate::live::{Run, User, versions};
use crate::running::Running;

pub(super) const LEASE: &str = "kubectl-multimesh";

/// The Lease of a plane: its holder, or nothing.
fn holder(planes: &Planes, index: usize) -> String {
    let path = "jsonpath={.items[*].spec.holderIdentity}";
    let select = format!("--field-selector=metadata.name={LEASE}");
    planes.kubectl(index, &["get", "leases", "-n", "istio-system", &select, "-o", path])
}

/// Takes the lease of a plane as a run on another machine would, which never renews it.
pub(super) fn take(planes: &Planes, index: usize, seconds: u32) {
    // Its clock is years off, which nobody believes.
    let lease = format!(
        "{{apiVersion: coordination.k8s.io/v1, kind: Lease, \
          metadata: {{name: {LEASE}, namespace: istio-system, annotations: \
            {{kubectl-multimesh/directory: another, kubectl-multimesh/command: apply}}}}, \
          spec: {{holderIdentity: 'bob@elsewhere, process 7', leaseDurationSeconds: {seconds}, \
            acquireTime: '2001-01-01T00:00:00.000000Z', renewTime: '2001-01-01T00:00:00.000000Z'}}}}"
    );
    let create = ["create", "-f", "-", "--field-manager=kubectl-multimesh"];
    planes.lab.kubectl(&planes.clusters[index], &create, Some(&lease)).unwrap();
}

/// Puts a lease back that a killed run had.
fn leave(planes: &Planes, lease: &Value) {
    let metadata = &lease["metadata"];
    let lease = json!({
        "apiVersion": lease["apiVersion"], "kind": lease["kind"], "spec": lease["spec"],
        "metadata": { "name": LEASE, "namespace": "istio-system",
            "annotations": metadata["annotations"] },
    });
    let create = ["create", "-f", "-", "--field-manager=kubectl-multimesh"];
    planes.lab.kubectl(&planes.clusters[0], &create, Some(&lease.to_string())).unwrap();
}

/// Makes something to write.
fn damage(planes: &Planes, index: usize) {
    planes.kubectl(index, &["delete", "configmap", "istio", "-n", "istio-system"]);
}

fn is_damaged(planes: &Planes, index: usize) -> bool {
    let get =
        ["get", "configmap", "istio", "-n", "istio-system", "--ignore-not-found", "-o", "name"];
    planes.kubectl(index, &get).is_empty()
}

/// How many Leases the API server was asked to make or delete since it started.
fn lease_writes(planes: &Planes, index: usize) -> Vec<String> {
    let metrics = planes.kubectl(index, &["get", "--raw", "/metrics"]);
    let counters = metrics.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && line.contains("resource=\"leases\"")
            && (line.contains("verb=\"POST\"") || line.contains("verb=\"DELETE\""))
    });
    counters.map(str::to_owned).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A colleague with a mesh directory of their own for the same mesh.
fn colleague(planes: &Planes) -> User {
    let mut user = User::new();
    let files: Vec<_> = planes.clusters.iter().map(|c| c.kubeconfig().into_os_string()).collect();
    user.set_kubeconfig(files.join(":".as_ref()));
    for file in ["topology.yaml", "base.yaml"] {
        user.write("m", file, &fs::read_to_string(planes.mesh("m").join(file)).unwrap());
    }
    assert_eq!(fs::read_to_string(user.mesh("m").join("base.yaml")).unwrap(), crate::base());
    copy(&planes.mesh("m").join("certs"), &user.mesh("m").join("certs"));
    user
}

#[test]
fn a_run_on_another_machine_is_told_waited_for_and_outlived() {
    let planes = Planes::start(2);
    planes.apply(&[]).expect(0);
    assert_eq!(holder(&planes, 0), "", "a lease ends with its run");

    // Where nothing is to be written, nobody is asked.
    let asked = lease_writes(&planes, 0);
    let before = versions(&planes.lab, &planes.clusters[0]);
    take(&planes, 0, 3600);
    let taken = lease_writes(&planes, 0);
    assert_ne!(asked, taken, "the counter counts");
    // What a killed run left of any CA goes all the same.
    let left = planes.mesh("m").join("certs/.intermediate-elsewhere.new");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("ca-key.pem"), "a key").unwrap();
    planes.apply(&[]).expect(0).says("nothing to change");
    assert!(!left.exists());
    assert_eq!(lease_writes(&planes, 0), taken);
    assert_eq!(versions(&planes.lab, &planes.clusters[0]), before);

    // One cluster is refused, the other one is done.
    damage(&planes, 0);
    damage(&planes, 1);
    let refused = "bob@elsewhere, process 7 is at work on this cluster (`apply`), since 2";
    planes
        .apply(&[])
        .expect(3)
        .says(refused)
        .says("last heard of ")
        .says("wait for it to end: `kubectl multimesh apply --wait-lock 5m`")
        .says("and the next run takes it over");
    assert!(is_damaged(&planes, 0) && !is_damaged(&planes, 1));
    assert!(holder(&planes, 0).starts_with("bob@"));
    let first = planes.clusters[0].context.clone();
    planes
        .apply(&["--contexts", &first])
        .expect(1)
        .says(refused)
        .says(&format!("--contexts {first}"));
    planes.run(&["teardown", "--yes", "--contexts", &first]).expect(1).says(refused);
    planes.apply(&["--contexts", &first, "--wait-lock", "2s"]).expect(1).says("waited 2 s");
    assert!(is_damaged(&planes, 0));

    // It is waited for.
    let command = planes.command(&["apply", "--wait=false", "--wait-lock", "5m"]);
    let waiting =
        Running::start(command).until(&["bob@elsewhere, process 7, who works on this cluster"]);
    planes.kubectl(0, &["delete", "lease", LEASE, "-n", "istio-system"]);
    assert_eq!(waiting.end().code(), Some(0));
    assert!(!is_damaged(&planes, 0));
    assert_eq!(holder(&planes, 0), "");

    // It is outlived, by the API server's clock.
    damage(&planes, 0);
    take(&planes, 0, 2);
    planes.apply(&["--wait-lock", "60s"]).expect(0).says("applied to 2 clusters");
    assert!(!is_damaged(&planes, 0));
    assert_eq!(holder(&planes, 0), "");

    // What is no lease of this tool is never taken over.
    damage(&planes, 0);
    let create = ["create", "-f", "-", "--field-manager=somebody"];
    let foreign = format!(
        "{{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {{name: {LEASE}, \
          namespace: istio-system}}, spec: {{leaseDurationSeconds: 1}}}}"
    );
    planes.lab.kubectl(&planes.clusters[0], &create, Some(&foreign)).unwrap();
    planes
        .apply(&["--wait-lock", "3s"])
        .expect(3)
        .says("is not of this tool")
        .says("delete lease kubectl-multimesh");
    assert!(is_damaged(&planes, 0));
    planes.kubectl(0, &["delete", "lease", LEASE, "-n", "istio-system"]);
    planes.run(&["teardown", "--yes"]).expect(0);
    assert!(planes.is_untouched(0) && planes.is_untouched(1));
}

#[test]
fn a_killed_run_is_no_obstacle_here_and_one_to_a_colleague() {
    let planes = Planes::start(1);
    planes.run(&["init", "--mesh-id", "m"]).expect(0);
    let colleague = colleague(&planes);
    let apply = || planes.command(&["apply", "--wait=false"]);
    drop(Running::start(apply()).until(&["installing istiod"]));
    let get = ["get", "lease", LEASE, "-n", "istio-system", "-o", "json"];
    let left_lease: Value = serde_json::from_str(&planes.kubectl(0, &get)).unwrap();
    let left = holder(&planes, 0);
    assert!(left.contains(", process "), "the lease of the killed run: {left:?}");

    // Before anything of the colleague's is written, as for one who looks only.
    let certificate =
        ["get", "secret", "cacerts", "-n", "istio-system", "-o", "jsonpath={.data.ca-cert\\.pem}"];
    let before = planes.kubectl(0, &certificate);
    let run = Run::of(&colleague.command(&["apply", "--wait=false"]).output().unwrap());
    run.expect(1).says(&format!("{left} is at work on this cluster"));
    let run = Run::of(&colleague.command(&["teardown", "--yes"]).output().unwrap());
    run.expect(1).says(&format!("{left} is at work on this cluster"));
    assert_eq!(planes.kubectl(0, &certificate), before);

    // A run whose lease somebody else takes, as it could not renew it, stops.
    let run = Running::start(planes.command(&["apply"])).until(&["waiting for istiod"]);
    let patch = r#"{"metadata": {"annotations": {"kubectl-multimesh/directory": "another"}},
        "spec": {"holderIdentity": "bob@elsewhere, process 7"}}"#;
    let patched = ["patch", "lease", LEASE, "-n", "istio-system", "--type=merge", "-p", patch];
    planes.kubectl(0, &patched);
    let run = run.until(&["bob@elsewhere, process 7 has taken this cluster over"]);
    assert_eq!(run.end().code(), Some(1));
    assert!(holder(&planes, 0).starts_with("bob@"), "it is not ours to delete");
    planes.kubectl(0, &["delete", "lease", LEASE, "-n", "istio-system"]);

    damage(&planes, 0);
    planes.apply(&[]).expect(0).says("applied to 1 cluster");
    assert_eq!(holder(&planes, 0), "");

    // As after a kill at the last moment of all.
    leave(&planes, &left_lease);
    planes.apply(&[]).expect(0).says("nothing to change");
    assert_eq!(holder(&planes, 0), "");
    let run = Run::of(&colleague.command(&["apply", "--wait=false"]).output().unwrap());
    run.expect(0);
    assert_eq!(holder(&planes, 0), "");

    damage(&planes, 0);
    drop(
        Running::start(planes.command(&["teardown", "--yes"]))
            .until(&["deleting gateways and istiod"]),
    );
    planes.run(&["teardown", "--yes"]).expect(0);
    assert!(planes.is_untouched(0));
    let namespace = ["get", "namespace", "istio-system", "--ignore-not-found", "-o", "name"];
    assert_eq!(planes.kubectl(0, &namespace), "");
    planes.kubectl(0, &["create", "namespace", "istio-system"]);
    leave(&planes, &left_lease);
    planes.run(&["teardown", "--yes"]).expect(0);
    assert_eq!(holder(&planes, 0), "");
}
