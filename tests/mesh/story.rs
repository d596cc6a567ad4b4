//! The life of a mesh: made, used, applied again, torn down.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use multimesh_lab::Cluster;
use serde_json::Value;

use crate::cleanup::{Cleanup, delete_echo};
use crate::live::{Run, User, versions};
use crate::traces::{differences, objects};
use crate::traffic::{answering, requests_are_answered_from_everywhere};
use crate::{clusters, secrets};

#[test]
fn a_mesh_is_made_used_and_removed_without_a_trace() {
    let _alone = clusters();
    let user = User::new();
    let lab = &user.lab;
    let three: Vec<Cluster> = lab.clusters().unwrap().into_iter().filter(|c| c.has_node).collect();
    let before: Vec<_> = three.iter().map(|cluster| objects(lab, cluster)).collect();

    user.run(&["init", "--mesh-id", "story", "--org", "Example"]).expect(0);
    let dir = user.describe("story", &three.iter().collect::<Vec<_>>());
    let _cleanup = Cleanup(&user, Vec::new());
    let applied = user.run(&["apply", "-vvv"]).expect(0).says("applied to 3 clusters");
    assert_eq!(applied.stdout, "", "stdout is for data");
    let material = secrets::material(&dir, lab, &three);
    secrets::assert_absent(&material, &applied.stderr);
    fits_a_log(&applied.stderr);
    check_permissions(&dir);

    requests_are_answered_from_everywhere(lab, &three);
    check_status(&user, &material);

    // Of pods the names alone: a kubelet writes their status, and a new one has another name.
    let versions = |cluster: &Cluster| {
        let mut versions = versions(lab, cluster);
        let pods = versions.iter_mut().filter(|(name, _)| name.starts_with("Pod "));
        pods.for_each(|(_, version)| version.clear());
        versions
    };
    let settled: Vec<_> = three.iter().map(versions).collect();
    let again = user.run(&["apply", "-vv"]).expect(0).says("nothing to change in 3 clusters");
    assert!(again.stderr.contains("6 of 6 links up"), "{}", again.stderr);
    let looks = |run: &Run| run.stderr.lines().filter(|l| l.contains("path=\"/version\"")).count();
    assert_eq!(looks(&again), 3, "what was not written is not read again:\n{}", again.stderr);
    for (cluster, settled) in three.iter().zip(&settled) {
        assert_eq!(&versions(cluster), settled, "{}", cluster.context);
    }
    let link = format!("istio-remote-secret-{}", three[1].context);
    lab.kubectl(&three[0], &["-n", "istio-system", "delete", "secret", &link], None).unwrap();
    let mended = user.run(&["apply", "-vv"]).expect(0).says("1 created").says("6 of 6 links up");
    assert!(looks(&mended) >= 6, "all is read again after a write:\n{}", mended.stderr);

    one_leaves_while_requests_go_on(&user, &three);
    delete_echo(lab, &three);
    user.run(&["teardown"]).expect(64).says("--yes");
    let gone = user.run(&["teardown", "--yes", "-vvv"]).expect(0);
    fits_a_log(&gone.stderr);
    secrets::assert_absent(&material, &(gone.stdout + &gone.stderr));
    for (cluster, before) in three.iter().zip(&before) {
        let end = Instant::now() + Duration::from_secs(60);
        let mut differ = differences(before, &objects(lab, cluster));
        while !differ.is_empty() && Instant::now() < end {
            differ = differences(before, &objects(lab, cluster));
        }
        assert!(
            differ.is_empty(),
            "{} differs from before the first apply:\n{}",
            cluster.context,
            differ.join("\n")
        );
    }
    assert!(dir.join("certs/root-key.pem").is_file(), "local files stay");
    user.run(&["teardown", "--yes"]).expect(0);
}

/// What a run of three clusters tells is 30 lines at most. Those of `-vvv` do not count, they begin with
/// a date, nor do waits, of which a slow machine has more.
#[track_caller]
fn fits_a_log(stderr: &str) {
    let told = stderr.lines().filter(|line| !line.starts_with("20"));
    let told: Vec<&str> = told.filter(|line| !line.contains("still waiting")).collect();
    assert!((5..=30).contains(&told.len()), "{} lines:\n{}", told.len(), told.join("\n"));
}

/// The last one leaves: what the others ask for is answered all the while, and in the end by them.
fn one_leaves_while_requests_go_on(user: &User, three: &[Cluster]) {
    let (lab, stay) = (&user.lab, &three[..2]);
    user.describe("story", &stay.iter().collect::<Vec<_>>());
    let ask = || {
        for cluster in stay {
            let replies = lab.request_echo(cluster, 20).unwrap();
            assert_eq!(replies.len(), 20);
            for reply in replies {
                assert_eq!(reply.code, "200", "{} -> {:?}", cluster.context, reply.cluster);
            }
        }
    };
    std::thread::scope(|scope| {
        let run = scope.spawn(|| user.run(&["apply", "--yes"]));
        while !run.is_finished() {
            ask();
        }
        run.join().unwrap().expect(0).says("the token that its peers held is refused now");
    });
    ask();
    let names: BTreeSet<String> = stay.iter().map(|cluster| cluster.context.clone()).collect();
    for cluster in stay {
        assert_eq!(answering(lab, cluster), names, "the one that left answers {}", cluster.context);
    }
}

fn check_status(user: &User, material: &[String]) {
    let status = user.run(&["status", "-o", "json", "-vvv"]).expect(0);
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
