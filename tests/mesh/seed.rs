//! A mesh directory of 2019, used as it is.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use multimesh::pki::Certificate;
use multimesh_lab::{Cluster, Lab};

use crate::cleanup::{Cleanup, delete_echo};
use crate::clusters;
use crate::live::{User, kubectl, versions};
use crate::traffic::requests_are_answered_from_everywhere;

#[test]
fn the_files_of_2019_make_a_mesh_and_a_third_cluster_joins() {
    let _alone = clusters();
    let user = User::new();
    let lab = &user.lab;
    let three: Vec<Cluster> = lab.clusters().unwrap().into_iter().filter(|c| c.has_node).collect();
    let workdir = user.home().join("workdir");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/seed-workdir");
    copy(&fixture, &workdir);
    // The lab's values go into overlays, so that the seed's own base.yaml stays as it is.
    std::fs::write(workdir.join("lab.yaml"), multimesh_lab::MESH_BASE).unwrap();
    // Two networks from the start: the one that joins brings nothing new but itself.
    let [east, joining, west] = [&three[0], &three[1], &three[2]];
    assert_eq!((east.network == west.network, east.network == joining.network), (false, true));
    write_topology(&fixture, &workdir, &[east, west]);
    let dir = workdir.to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| user.run(&[arguments, &["--dir", &dir]].concat());
    let _cleanup = Cleanup(&user, vec!["--dir".into(), dir.clone()]);

    run(&["apply"]).expect(0).says("IstioControlPlane").says("applied to 2 clusters");
    let root = std::fs::read_to_string(fixture.join("certs/root-cert.pem")).unwrap();
    for cluster in [east, west] {
        assert_eq!(cacerts(lab, cluster, "root-cert.pem"), root, "{}", cluster.context);
    }
    let live = cacerts(lab, east, "ca-cert.pem");
    let file = "certs/intermediate-context-east-1/ca-cert.pem";
    let expired = std::fs::read_to_string(fixture.join(file)).unwrap();
    assert_ne!(live, expired, "the intermediate of 2019 has expired");
    assert_eq!(live, std::fs::read_to_string(workdir.join(file)).unwrap());
    let organization = |pem: &str| Certificate::from_pem(pem).unwrap().organization;
    assert_eq!(organization(&live), organization(&root));
    assert!(organization(&root).is_some());

    assert_eq!([links(lab, east), links(lab, west)], [1, 1]);
    let before = [versions(lab, east), versions(lab, west)];
    write_topology(&fixture, &workdir, &three.iter().collect::<Vec<_>>());
    run(&["apply"]).expect(0).says("applied to 3 clusters");
    for (cluster, before) in [east, west].into_iter().zip(&before) {
        let after = versions(lab, cluster);
        let link = format!("Secret istio-system istio-remote-secret-{}", joining.context);
        assert_eq!(changed(before, &after), [link], "{}", cluster.context);
    }
    assert!(three.iter().all(|cluster| links(lab, cluster) == 2));
    requests_are_answered_from_everywhere(lab, &three);
    run(&["status"]).expect(0);

    delete_echo(lab, &three);
    run(&["teardown", "--yes"]).expect(0);
}

/// Writes the topology of the fixture with other contexts, each with the lab's overlay.
fn write_topology(fixture: &Path, workdir: &Path, contexts: &[&Cluster]) {
    let seed = std::fs::read_to_string(fixture.join("topology.yaml")).unwrap();
    let (head, _) = seed.split_once("contexts:\n").unwrap();
    let entries = contexts
        .iter()
        .map(|c| format!("  {}:\n    network: {}\n    overlay: lab.yaml\n", c.context, c.network));
    let text = format!("{head}contexts:\n{}", entries.collect::<String>());
    std::fs::write(workdir.join("topology.yaml"), text).unwrap();
}

/// An entry of the Secret that istiod takes its CA from.
fn cacerts(lab: &Lab, cluster: &Cluster, entry: &str) -> String {
    let path = format!("jsonpath={{.data.{}}}", entry.replace('.', "\\."));
    let base64 =
        kubectl(lab, cluster, &["get", "secret", "cacerts", "-n", "istio-system", "-o", &path]);
    String::from_utf8(BASE64_STANDARD.decode(base64).unwrap()).unwrap()
}

/// How many other clusters a cluster reads.
fn links(lab: &Lab, cluster: &Cluster) -> usize {
    let select =
        ["get", "secrets", "-n", "istio-system", "-l", "istio/multiCluster=true", "-o", "name"];
    kubectl(lab, cluster, &select).lines().count()
}

/// What came, went or was written.
fn changed<'a>(
    before: &'a BTreeMap<String, String>,
    after: &'a BTreeMap<String, String>,
) -> Vec<&'a str> {
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    let written = after.iter().filter(|(name, version)| before.get(*name) != Some(version));
    gone.chain(written.map(|(name, _)| name)).map(String::as_str).collect()
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
