//! Other names for what is there: no more is done than they need.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Planes;
use crate::live::versions;
use crate::locks::{LEASE, take};
use crate::plan::changes;

/// The resource versions of everything but definitions, whose status the API server still writes
/// a while after they were made, and what Kubernetes makes of Deployments.
fn all_versions(planes: &Planes) -> Vec<Vec<(String, String)>> {
    let restless = ["CustomResourceDefinition ", "ReplicaSet ", "Pod "];
    let of = |cluster| {
        let all = versions(&planes.lab, cluster).into_iter();
        all.filter(|(name, _)| !restless.iter().any(|kind| name.starts_with(kind))).collect()
    };
    planes.clusters.iter().map(of).collect()
}

/// The objects of each cluster that differ from then.
fn changed(planes: &Planes, then: &[Vec<(String, String)>]) -> Vec<BTreeSet<String>> {
    let differ = |(now, then): (Vec<_>, &Vec<_>)| {
        let (now, then): (BTreeSet<_>, BTreeSet<_>) =
            (now.into_iter().collect(), then.iter().cloned().collect());
        now.symmetric_difference(&then).map(|(name, _): &(String, String)| name.clone()).collect()
    };
    all_versions(planes).into_iter().zip(then).map(differ).collect()
}

/// The objects of each cluster that a plan changes.
fn planned(plan: &Value) -> Vec<BTreeSet<String>> {
    [0, 1].map(|index| changes(plan, index).into_values().flatten().collect()).to_vec()
}

#[test]
fn another_context_of_the_same_cluster_changes_nothing_there() {
    let mut planes = Planes::start(2);
    planes.apply(&[]).expect(0);
    let then = all_versions(&planes);
    let (first, former) = (planes.clusters[0].context.clone(), planes.clusters[1].context.clone());

    // The kubeconfig has another address for it too; the others go on with the one they have.
    let server = planes.clusters[1].server.clone();
    let file = planes.kubeconfig_as(1, "renamed");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(&server), "{text}");
    std::fs::write(&file, text.replace(&server, &format!("{server}/"))).unwrap();
    planes
        .user
        .set_kubeconfig(std::env::join_paths([planes.clusters[0].kubeconfig(), file]).unwrap());
    let topology = format!(
        "mesh_id: m\ncontexts:\n  {first}: {{network: flat}}\n  renamed: {{network: flat, server: '{server}'}}\n"
    );
    planes.write("m", "topology.yaml", &topology);
    let plan = planes.plan(&["--detailed-exitcode"], 0);
    assert_eq!(plan["clusters"][1]["cluster"], former);
    assert!(planes.state()["contexts"].get("renamed").is_none(), "a plan writes nothing");

    planes
        .apply(&[])
        .expect(0)
        .says(&format!("`renamed` is the cluster that was applied as `{former}`"));
    assert_eq!(changed(&planes, &then), vec![BTreeSet::new(); 2]);
    let contexts = planes.state()["contexts"].clone();
    assert_eq!(contexts["renamed"]["cluster"], former);
    assert!(contexts.get(&former).is_none());
    planes.apply(&[]).expect(0).says("nothing to change in 2 clusters");

    // Another name in Istio is another thing.
    let topology = topology.replace("server:", "cluster: other, server:");
    planes.write("m", "topology.yaml", &topology);
    let kept = planes.links(0);
    planes.apply(&["--contexts", &first]).expect(0).says("nothing to change");
    assert_eq!(planes.links(0), kept, "nobody drops a link to a cluster that was left out");
    planes
        .apply(&[])
        .expect(1)
        .says(&format!("has the cluster name `{former}` and would become `other`"))
        .says("--allow-cluster-rename");
    assert_eq!(changed(&planes, &then), vec![BTreeSet::new(); 2]);
    let plan = planes.plan(&["--allow-cluster-rename"], 0);
    planes.apply(&["--allow-cluster-rename"]).expect(0);
    assert_eq!(planes.links(0), ["secret/istio-remote-secret-other"]);
    assert_eq!(planned(&plan), changed(&planes, &then));
    planes.apply(&[]).expect(0).says("nothing to change in 2 clusters");
}

#[test]
fn a_teardown_that_fails_keeps_what_is_on_record_under_a_former_name() {
    let mut planes = Planes::start(1);
    planes.apply(&[]).expect(0);
    let former = planes.clusters[0].context.clone();
    planes.user.set_kubeconfig(planes.kubeconfig_as(0, "renamed"));
    let topology =
        format!("mesh_id: m\ncontexts:\n  renamed: {{network: flat, cluster: {former}}}\n");
    planes.write("m", "topology.yaml", &topology);
    take(&planes, 0, 3600);
    let before = planes.state();
    planes.run(&["teardown", "--yes"]).expect(1).says("bob@elsewhere");
    assert_eq!(planes.state(), before);
    planes.kubectl(0, &["delete", "lease", LEASE, "-n", "istio-system"]);
    planes.run(&["teardown", "--yes"]).expect(0);
    assert!(planes.state()["contexts"].get(&former).is_none());
}

#[test]
fn another_network_or_gateway_address_replaces_no_pod() {
    let planes = Planes::start(2);
    let describe = |second: &str| planes.describe_as(&[(0, "network: one"), (1, second)]);
    describe("network: two");
    planes.apply(&[]).expect(0);
    let gateway = || {
        let path = "jsonpath={.metadata.uid}";
        let name = "deployment/istio-eastwestgateway";
        planes.kubectl(1, &["get", name, "-n", "istio-system", "-o", path])
    };
    let (uid, then) = (gateway(), all_versions(&planes));
    describe("network: three");
    let plan = planes.plan(&[], 0);
    let run = planes.apply(&[]).expect(0).says("moves from the network `two` to `three`");
    assert_eq!(gateway(), uid, "it is the same Deployment:\n{}", run.stderr);
    let written = changed(&planes, &then);
    assert_eq!(written[0], BTreeSet::new());
    let by_the_tool = planned(&plan);
    assert!(by_the_tool[1].is_subset(&written[1]), "{by_the_tool:?} {written:?}");
    assert!(!by_the_tool[1].iter().any(|name| name.starts_with("Secret ")), "{by_the_tool:?}");
    planes.apply(&[]).expect(0).says("nothing to change in 2 clusters");

    describe("network: three, gateway: 192.0.2.7");
    planes.apply(&[]).expect(0);
    let then = all_versions(&planes);
    describe("network: three, gateway: 192.0.2.8");
    planes.apply(&[]).expect(0);
    // The mesh's configuration, and what else istiod reads the same values from.
    let config = ["istio", "istio-sidecar-injector", "values"];
    let config: BTreeSet<_> =
        config.iter().map(|name| format!("ConfigMap istio-system {name}")).collect();
    assert_eq!(changed(&planes, &then), [config.clone(), config]);
}
