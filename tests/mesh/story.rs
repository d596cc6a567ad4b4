//! The life of a mesh: made, used, applied again, joined, torn down.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use multimesh_lab::{Cluster, Lab};
use serde_json::Value;

use crate::live::{User, eventually, inventory, kubectl, versions};
use crate::{clusters, secrets};

/// The contexts that answer requests from a cluster.
fn answering(lab: &Lab, from: &Cluster) -> BTreeSet<String> {
    let replies = lab.request_echo(from, 30).unwrap_or_default();
    replies.into_iter().map(|reply| reply.cluster).collect()
}

fn names(lab: &Lab, cluster: &Cluster) -> BTreeSet<String> {
    // Pods, and what is made for them, have names of their own each time.
    let passing = ["Pod ", "ReplicaSet ", "PodMetrics ", "EndpointSlice ", "ControllerRevision "];
    let all = inventory(lab, cluster).into_keys();
    all.filter(|name| !passing.iter().any(|kind| name.starts_with(kind))).collect()
}

/// Tears the mesh down when its test fails, so that the next test finds the clusters free.
struct Cleanup<'a>(&'a User, Vec<String>);

impl Drop for Cleanup<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let arguments: Vec<&str> = self.1.iter().map(String::as_str).collect();
            let run = self.0.run(&[&["teardown", "--yes"], &arguments[..]].concat());
            for cluster in self.0.lab.clusters().into_iter().flatten() {
                let delete = ["delete", "namespace", "demo", "--ignore-not-found", "--timeout=90s"];
                let _ = self.0.lab.kubectl(&cluster, &delete, None);
            }
            eprintln!("cleaning up ended with {}:\n{}", run.code, run.stderr);
        }
    }
}

#[test]
fn a_mesh_is_made_used_and_removed_without_a_trace() {
    let _alone = clusters();
    let user = User::new();
    let lab = &user.lab;
    let three: Vec<Cluster> = lab.clusters().unwrap().into_iter().filter(|c| c.has_node).collect();
    let before: Vec<_> = three.iter().map(|cluster| names(lab, cluster)).collect();

    user.run(&["init", "--mesh-id", "story", "--org", "Example"]).expect(0);
    let dir = user.describe("story", &three.iter().collect::<Vec<_>>());
    let _cleanup = Cleanup(&user, Vec::new());
    let applied = user.run(&["apply", "-vv"]).expect(0).says("applied to 3 clusters");
    assert_eq!(applied.stdout, "", "stdout is for data");
    let material = secrets::material(&dir, lab, &three);
    secrets::assert_absent(&material, &applied.stderr);
    check_permissions(&dir);

    requests_are_answered_from_everywhere(lab, &three);
    check_status(&user, &material);

    let settled: Vec<_> = three.iter().map(|cluster| versions(lab, cluster)).collect();
    user.run(&["apply"]).expect(0).says("nothing to change in 3 clusters");
    for (cluster, settled) in three.iter().zip(&settled) {
        assert_eq!(&versions(lab, cluster), settled, "{}", cluster.context);
    }

    for cluster in &three {
        kubectl(lab, cluster, &["delete", "namespace", "demo", "--wait=true", "--timeout=90s"]);
    }
    user.run(&["teardown"]).expect(64).says("--yes");
    let gone = user.run(&["teardown", "--yes", "-vv"]).expect(0);
    secrets::assert_absent(&material, &(gone.stdout + &gone.stderr));
    for (cluster, before) in three.iter().zip(&before) {
        let mut after = BTreeSet::new();
        let end = Instant::now() + Duration::from_secs(60);
        while after != *before && Instant::now() < end {
            after = names(lab, cluster);
        }
        let differ: Vec<&String> = before.symmetric_difference(&after).collect();
        assert!(
            differ.is_empty(),
            "{} differs from before the first apply: {differ:?}",
            cluster.context
        );
    }
    assert!(dir.join("certs/root-key.pem").is_file(), "local files stay");
    user.run(&["teardown", "--yes"]).expect(0);
}

/// Every cluster's requests are answered by all three, encrypted, and in the other network through
/// the gateway.
fn requests_are_answered_from_everywhere(lab: &Lab, three: &[Cluster]) {
    lab.deploy_echo(three).unwrap();
    let all: BTreeSet<String> = three.iter().map(|cluster| cluster.context.clone()).collect();
    for cluster in three {
        eventually(&format!("answers from everywhere to {}", cluster.context), || {
            answering(lab, cluster) == all
        });
        let replies = lab.request_echo(cluster, 30).unwrap();
        for reply in &replies {
            let certificate = reply.headers.get("X-Forwarded-Client-Cert");
            let certificate = certificate.map(String::as_str).unwrap_or_default();
            assert!(
                certificate.contains("URI=spiffe://cluster.local/ns/demo/sa/default"),
                "{} -> {}: {certificate:?}",
                cluster.context,
                reply.cluster
            );
        }
    }
    for cluster in three {
        let endpoints = endpoints(lab, cluster);
        for other in three {
            let direct = pod_ip(lab, other);
            let gateway = format!("{}:15443", other.node_address());
            let same = other.network == cluster.network;
            assert_eq!(
                (endpoints.contains(&format!("{direct}:8080")), endpoints.contains(&gateway)),
                (same, !same),
                "{} -> {}: {endpoints:?}",
                cluster.context,
                other.context
            );
        }
    }
}

/// What the proxy of the application in a cluster knows as endpoints of the service.
fn endpoints(lab: &Lab, cluster: &Cluster) -> BTreeSet<String> {
    let pod = kubectl(
        lab,
        cluster,
        &[
            "get",
            "pods",
            "-n",
            "demo",
            "-l",
            "app=echo",
            "-o",
            "jsonpath={.items[0].metadata.name}",
        ],
    );
    let ask = ["exec", "-n", "demo", &pod, "-c", "istio-proxy", "--"];
    let text =
        kubectl(lab, cluster, &[&ask[..], &["pilot-agent", "request", "GET", "clusters"]].concat());
    let echo = "outbound|80||echo.demo.svc.cluster.local";
    let endpoints = text.lines().filter_map(|line| {
        let (name, rest) = line.split_once("::")?;
        let (address, _) = rest.split_once("::")?;
        (name == echo && address.contains(':')).then(|| address.to_owned())
    });
    endpoints.collect()
}

fn pod_ip(lab: &Lab, cluster: &Cluster) -> String {
    let path = "jsonpath={.items[0].status.podIP}";
    kubectl(lab, cluster, &["get", "pods", "-n", "demo", "-l", "app=echo", "-o", path])
}

fn check_status(user: &User, material: &[String]) {
    let status = user.run(&["status", "-o", "json", "-vv"]).expect(0);
    secrets::assert_absent(material, &(status.stdout.clone() + &status.stderr));
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    let clusters = status["clusters"].as_array().unwrap();
    assert_eq!(clusters.len(), 3, "{status:#}");
    user.run(&["status"]).expect(0);
}

/// Private keys are the user's alone, and so are the folders they are in.
fn check_permissions(dir: &Path) {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut left = vec![dir.join("certs"), dir.join("cache")];
    let mut seen = BTreeSet::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            assert_eq!(mode(&path), 0o700, "{}", path.display());
            left.extend(std::fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            seen.insert(path);
        }
    }
    assert_eq!(mode(&dir.join("state.yaml")), 0o600);
    assert!(seen.len() >= 2 + 3 * 4, "root and intermediates: {seen:?}");
}

#[test]
fn the_files_of_2019_make_a_mesh_and_a_third_cluster_joins() {
    let _alone = clusters();
    let user = User::new();
    let lab = &user.lab;
    let three: Vec<Cluster> = lab.clusters().unwrap().into_iter().filter(|c| c.has_node).collect();
    let workdir = user.home().join("workdir");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/seed-workdir"), &workdir);
    // The lab's values go into overlays, so that the seed's own base.yaml stays as it is.
    std::fs::write(workdir.join("lab.yaml"), multimesh_lab::MESH_BASE).unwrap();
    let seed = std::fs::read_to_string(workdir.join("topology.yaml")).unwrap();
    let with_overlays = |contexts: &[&Cluster]| {
        let entries = contexts.iter().map(|c| {
            format!("  {}:\n    network: {}\n    overlay: lab.yaml\n", c.context, c.network)
        });
        let head: String = seed
            .lines()
            .take_while(|l| !l.starts_with("contexts:"))
            .map(|l| format!("{l}\n"))
            .collect();
        format!("{head}contexts:\n{}", entries.collect::<String>())
    };
    let two = [&three[0], &three[1]];
    std::fs::write(workdir.join("topology.yaml"), with_overlays(&two)).unwrap();
    let dir = workdir.to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| user.run(&[arguments, &["--dir", &dir]].concat());
    let _cleanup = Cleanup(&user, vec!["--dir".into(), dir.clone()]);

    run(&["apply"]).expect(0).says("IstioControlPlane").says("applied to 2 clusters");
    let issuer = kubectl(
        lab,
        &three[0],
        &[
            "get",
            "secret",
            "cacerts",
            "-n",
            "istio-system",
            "-o",
            "jsonpath={.data.root-cert\\.pem}",
        ],
    );
    assert!(!issuer.is_empty());
    let links = |cluster: &Cluster| {
        let selector = "istio/multiCluster=true";
        let names = kubectl(
            lab,
            cluster,
            &["get", "secrets", "-n", "istio-system", "-l", selector, "-o", "name"],
        );
        names.lines().count()
    };
    assert_eq!((links(&three[0]), links(&three[1])), (1, 1));

    let all: Vec<&Cluster> = three.iter().collect();
    std::fs::write(workdir.join("topology.yaml"), with_overlays(&all)).unwrap();
    let pods = |cluster: &Cluster| {
        kubectl(
            lab,
            cluster,
            &["get", "pods", "-n", "istio-system", "-l", "app=istiod", "-o", "name"],
        )
    };
    let before = [pods(&three[0]), pods(&three[1])];
    run(&["apply"]).expect(0).says("applied to 3 clusters");
    assert_eq!([pods(&three[0]), pods(&three[1])], before, "no istiod is restarted for a join");
    assert!(three.iter().all(|cluster| links(cluster) == 2));
    requests_are_answered_from_everywhere(lab, &three);
    run(&["status"]).expect(0);

    for cluster in &three {
        kubectl(lab, cluster, &["delete", "namespace", "demo", "--wait=true", "--timeout=90s"]);
    }
    run(&["teardown", "--yes"]).expect(0);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}
