//! Contexts that were deleted from the topology.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use multimesh_lab::Cluster;
use serde_json::Value;

use crate::Planes;
use crate::live::{eventually, inventory};
use crate::locks::{LEASE, take};

/// What a cluster holds that does not come and go by itself.
fn objects(planes: &Planes, index: usize) -> BTreeSet<String> {
    let all = inventory(&planes.lab, &planes.clusters[index]).into_keys();
    all.filter(|name| !name.starts_with("Lease ")).collect()
}

/// The token that one plane holds for another one.
fn token_held(planes: &Planes, holder: usize, of: usize) -> String {
    let name = &planes.clusters[of].context;
    let secret = format!("secret/istio-remote-secret-{name}");
    let secret = planes.kubectl(holder, &["get", &secret, "-n", "istio-system", "-o", "json"]);
    let secret: Value = serde_json::from_str(&secret).unwrap();
    let kubeconfig = BASE64_STANDARD.decode(secret["data"][name].as_str().unwrap()).unwrap();
    let kubeconfig: Value = serde_yaml::from_slice(&kubeconfig).unwrap();
    kubeconfig["users"][0]["user"]["token"].as_str().unwrap().to_owned()
}

/// Whether an API server accepts a token.
fn is_accepted(planes: &Planes, cluster: &Cluster, token: &str) -> bool {
    let file = planes.home().join("with-token");
    let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let mut config: Value = serde_yaml::from_str(&text).unwrap();
    config["users"][0]["user"] = serde_json::json!({ "token": token });
    std::fs::write(&file, config.to_string()).unwrap();
    let mut kubectl = planes.lab.command("kubectl").unwrap();
    kubectl.env("KUBECONFIG", &file).args(["get", "namespaces"]);
    kubectl.output().unwrap().status.success()
}

fn on_record(planes: &Planes, index: usize) -> bool {
    planes.state()["contexts"].get(&planes.clusters[index].context).is_some()
}

fn has_istiod(planes: &Planes, index: usize) -> bool {
    let istiod = ["get", "deployments", "-A", "-l", "app=istiod", "-o", "name"];
    !planes.kubectl(index, &istiod).is_empty()
}

const FLAT: &str = "network: flat";

#[test]
fn a_cluster_leaves_without_a_trace_and_nobody_can_read_it_any_more() {
    let planes = Planes::start(3);
    let before = [1, 2].map(|index| objects(&planes, index));
    planes.apply(&[]).expect(0);
    let leaver = &planes.clusters[2];
    let token = token_held(&planes, 0, 2);
    assert!(is_accepted(&planes, leaver, &token));

    planes.describe_as(&[(0, FLAT), (1, FLAT)]);
    let plan = planes.plan(&[], 0);
    let leaving = &plan["clusters"][2];
    assert_eq!(
        (&leaving["standing"], &leaving["context"]),
        (&"leaver".into(), &leaver.context.clone().into())
    );
    assert_eq!(leaving["leaving"]["links"].as_array().unwrap().len(), 2);
    assert_eq!(leaving["leaving"]["revokes"], true);

    // A run that leaves it out takes nothing from it.
    planes.apply(&["--contexts", &planes.clusters[0].context]).expect(0);
    assert_eq!((planes.links(0).len(), planes.links(1).len(), planes.links(2).len()), (1, 2, 2));
    assert!(is_accepted(&planes, leaver, &token) && on_record(&planes, 2));

    planes.apply(&[]).expect(3).says("nobody agreed to remove it").says("--keep-control-plane");
    assert_eq!((planes.links(0).len(), planes.links(1).len(), planes.links(2).len()), (1, 1, 0));
    assert!(!is_accepted(&planes, leaver, &token), "the token is refused at once");
    assert!(has_istiod(&planes, 2) && on_record(&planes, 2));

    // A run may be about it alone.
    planes.apply(&["--contexts", &leaver.context]).expect(3).says("nobody agreed");
    planes.apply(&["--contexts", &leaver.context, "--yes"]).expect(0).says("left the mesh");
    eventually("the end of all that was made there", || objects(&planes, 2) == before[1]);
    assert!(!on_record(&planes, 2));
    planes.apply(&[]).expect(0).says("nothing to change in 2 clusters");

    planes.describe_as(&[(0, FLAT)]);
    planes.apply(&["--yes"]).expect(0).says("is refused now (checked)");
    eventually("the end of all that was made there", || objects(&planes, 1) == before[0]);
    assert!(planes.links(0).is_empty() && !on_record(&planes, 1));
    planes.apply(&[]).expect(0).says("nothing to change in 1 cluster");
}

#[test]
fn a_cluster_that_left_stays_or_waits_or_is_given_up_as_the_user_says() {
    let mut planes = Planes::start(2);
    let leaver = planes.clusters[1].context.clone();
    planes.apply(&[]).expect(0);
    planes.describe_as(&[(0, FLAT)]);
    let file = planes.mesh("m").join("state.yaml");
    let record = std::fs::read_to_string(&file).unwrap();
    let said = || {
        let get = ["get", "configmap", "kubectl-multimesh", "-n", "istio-system"];
        planes.kubectl(1, &[&get[..], &["-o", "jsonpath={.data.left}"]].concat())
    };
    planes.apply(&["--keep-control-plane"]).expect(0).says("its control plane stays");
    assert!(has_istiod(&planes, 1) && planes.links(1).is_empty());
    planes.apply(&["--yes"]).expect(0).says("nothing to change in 1 cluster");

    // A colleague's mesh directory does not know of it.
    std::fs::write(&file, &record).unwrap();
    assert_eq!(said(), "kept");
    planes.apply(&["--yes"]).expect(0).says("its control plane stays");
    assert!(has_istiod(&planes, 1));
    planes.apply(&["--yes"]).expect(0).says("nothing to change in 1 cluster");

    // Who comes back and leaves again is asked about again.
    planes.describe_as(&[(0, FLAT), (1, FLAT)]);
    planes.apply(&[]).expect(0);
    assert_eq!((said(), planes.links(1).len()), (String::new(), 1));
    planes.describe_as(&[(0, FLAT)]);
    planes.apply(&[]).expect(3).says("nobody agreed to remove it");
    planes.apply(&["--keep-control-plane"]).expect(0);
    planes.run(&["teardown", "--yes", "--contexts", &leaver]).expect(0);
    assert!(planes.is_untouched(1) && !on_record(&planes, 1));
    planes.apply(&[]).expect(0).says("nothing to change in 1 cluster");

    // It does not answer: the others drop it, and it stays on record.
    planes.describe_as(&[(0, FLAT), (1, FLAT)]);
    planes.apply(&[]).expect(0);
    planes.describe_as(&[(0, FLAT)]);
    planes.clusters[1].kill_api_server().unwrap();
    planes.apply(&["--yes"]).expect(3).says(&format!("`{leaver}`")).says("--forget");
    assert!(planes.links(0).is_empty() && on_record(&planes, 1));
    planes.clusters[1].restart_api_server().unwrap();
    assert_eq!(planes.links(1).len(), 1);
    planes.apply(&["--yes"]).expect(0).says("left the mesh");
    assert!(planes.is_untouched(1) && !on_record(&planes, 1));

    // The kubeconfig lacks it: nothing can be done there, and it is told until it is given up.
    planes.describe_as(&[(0, FLAT), (1, FLAT)]);
    planes.apply(&[]).expect(0);
    planes.describe_as(&[(0, FLAT)]);
    let all: Vec<_> = planes.clusters.iter().map(Cluster::kubeconfig).collect();
    planes.user.set_kubeconfig(&all[0]);
    planes.apply(&["--yes"]).expect(3).says("the kubeconfig has it no more").says("--forget");
    assert!(planes.links(0).is_empty() && on_record(&planes, 1));
    assert_eq!(planes.plan(&[], 3)["clusters"][1]["standing"], "unknown");
    planes.apply(&["--forget", &planes.clusters[0].context]).expect(64).says("is in the topology");
    planes.apply(&["--forget", &leaver]).expect(0);
    assert!(!on_record(&planes, 1));
    planes.user.set_kubeconfig(std::env::join_paths(all).unwrap());
    planes.apply(&["--yes"]).expect(0).says("nothing to change in 1 cluster");
    assert!(has_istiod(&planes, 1), "what was given up is not touched");
}

#[test]
fn what_a_member_that_is_left_out_still_needs_stays() {
    let planes = Planes::start(3);
    planes.apply(&[]).expect(0);
    let [first, second, leaver] = [0, 1, 2].map(|index| planes.clusters[index].context.clone());
    let holds = |context: &str| format!("`{context}` still holds a link to it");
    let token = token_held(&planes, 0, 2);
    planes.describe_as(&[(0, FLAT), (1, FLAT)]);
    planes
        .apply(&["--contexts", &leaver, "--yes"])
        .expect(3)
        .says(&holds(&first))
        .says(&holds(&second));
    assert!(has_istiod(&planes, 2) && planes.links(2).is_empty() && on_record(&planes, 2));
    assert!(!is_accepted(&planes, &planes.clusters[2], &token), "it is revoked all the same");

    // Somebody else works on a member.
    let give_back = || planes.kubectl(1, &["delete", "lease", LEASE, "-n", "istio-system"]);
    take(&planes, 1, 3600);
    let run = planes.apply(&["--yes"]).expect(3).says(&holds(&second));
    assert!(!run.stderr.contains(&holds(&first)), "{}", run.stderr);
    assert!(has_istiod(&planes, 2) && planes.links(0).len() == 1 && planes.links(1).len() == 2);
    // Who gives it up now would lose track of that link.
    planes
        .apply(&["--forget", &leaver])
        .expect(3)
        .says(&format!("`{second}` may hold a link to it"))
        .says(&format!("kubectl multimesh apply --forget {leaver}"));
    assert!(on_record(&planes, 2));
    give_back();
    planes.apply(&["--yes"]).expect(0).says("is refused now (checked)");
    assert!(planes.is_untouched(2) && !on_record(&planes, 2));

    // Its link leads to the account that there is, and others reach it by the name that it has.
    let token = token_held(&planes, 1, 0);
    let links = planes.links(0);
    planes.describe_as(&[
        (0, "network: flat, serviceAccountReader: other"),
        (1, "network: flat, cluster: other"),
    ]);
    take(&planes, 1, 3600);
    let rename = ["--yes", "--allow-cluster-rename"];
    planes.apply(&rename).expect(3).says("and its token stay");
    assert!(is_accepted(&planes, &planes.clusters[0], &token));
    assert_eq!(planes.links(0), links);
    give_back();
    planes.apply(&rename).expect(0);
    eventually("the end of the former token", || {
        !is_accepted(&planes, &planes.clusters[0], &token)
    });
    assert_eq!(planes.links(0), ["secret/istio-remote-secret-other"]);
    planes.apply(&[]).expect(0).says("nothing to change in 2 clusters");
}

#[test]
fn only_the_cluster_that_left_is_taken_out() {
    let mut planes = Planes::start(2);
    let [member, leaver] = [0, 1].map(|index| planes.clusters[index].context.clone());
    planes.apply(&[]).expect(0);
    planes.describe_as(&[(0, FLAT)]);

    // The context points to another cluster now, a member even.
    let elsewhere = planes.kubeconfig_as(0, &leaver);
    let files = [planes.clusters[0].kubeconfig(), elsewhere];
    planes.user.set_kubeconfig(std::env::join_paths(files).unwrap());
    planes.apply(&["--yes"]).expect(3).says("the cluster that it was");
    assert!(has_istiod(&planes, 0) && has_istiod(&planes, 1) && on_record(&planes, 1));

    // The member has another context, and the former one is still there.
    let again = planes.kubeconfig_as(0, "again");
    let files = [planes.clusters[0].kubeconfig(), again, planes.clusters[1].kubeconfig()];
    planes.user.set_kubeconfig(std::env::join_paths(files).unwrap());
    let topology = format!("mesh_id: m\ncontexts:\n  again: {{{FLAT}}}\n  {leaver}: {{{FLAT}}}\n");
    planes.write("m", "topology.yaml", &topology);
    planes
        .apply(&["--yes", "--contexts", &member])
        .expect(1)
        .says("may be the cluster that `again` names now");
    assert!(has_istiod(&planes, 0));
    planes.apply(&["--yes"]).expect(0).says("`again` is the cluster that was applied as");
    assert!(has_istiod(&planes, 0) && has_istiod(&planes, 1));
    assert_eq!((planes.links(0).len(), planes.links(1).len()), (1, 1));

    // It is of another mesh now.
    let topology = format!("mesh_id: m\ncontexts:\n  again: {{{FLAT}}}\n");
    planes.write("m", "topology.yaml", &topology);
    let record = ["configmap", "kubectl-multimesh", "-n", "istio-system", "--type=merge"];
    let patch = ["-p", r#"{"data":{"mesh_id":"other"}}"#];
    planes.kubectl(1, &[&["patch"], &record[..], &patch].concat());
    planes.apply(&["--yes"]).expect(3).says("belongs to the mesh `other`");
    assert!(has_istiod(&planes, 1) && planes.links(1).len() == 1);
}
