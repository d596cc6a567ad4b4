//! Who is in the mesh, and how much of it.

use crate::Planes;

/// Writes a topology with these settings beside the network of each plane, in their order.
fn describe_with(planes: &Planes, settings: &[&str]) {
    let entries = planes.clusters.iter().zip(settings);
    let entries = entries.map(|(c, more)| format!("  {}: {{network: flat{more}}}\n", c.context));
    let text = format!("mesh_id: m\ncontexts:\n{}", entries.collect::<String>());
    planes.write("m", "topology.yaml", &text);
}

fn link_to(planes: &Planes, index: usize) -> String {
    format!("secret/istio-remote-secret-{}", planes.clusters[index].context)
}

#[test]
fn a_cluster_may_have_its_control_plane_in_another_namespace() {
    let planes = Planes::start(2);
    describe_with(&planes, &["", ", namespace: mesh-system"]);
    planes.apply(&[]).expect(0).says("applied to 2 clusters");
    let links = "istio/multiCluster=true";
    let there = ["get", "secrets", "-n", "mesh-system", "-l", links, "-o", "name"];
    assert_eq!(planes.links(0), [link_to(&planes, 1)]);
    assert_eq!(planes.kubectl(1, &there).trim(), link_to(&planes, 0));
    let istiod = planes.kubectl(1, &["get", "deployments", "-A", "-l", "app=istiod", "-o", "name"]);
    assert_eq!(istiod.trim(), "deployment.apps/istiod");
    let usual = ["get", "namespace", "istio-system", "--ignore-not-found", "-o", "name"];
    assert_eq!(planes.kubectl(1, &usual), "");
    planes.apply(&[]).expect(0).says("nothing to change in 2 clusters");

    planes.run(&["teardown", "--yes"]).expect(0);
    let left = planes.kubectl(1, &["get", "namespace", "mesh-system", "--ignore-not-found"]);
    assert_eq!(left, "");
    assert!(planes.is_untouched(0) && planes.is_untouched(1));
}

#[test]
fn a_cluster_that_does_not_join_the_registry_has_no_link_in_either_direction() {
    let planes = Planes::start(2);
    describe_with(&planes, &["", ", disableRegistryJoin: true"]);
    planes.apply(&[]).expect(0).says("applied to 2 clusters");
    assert!(planes.links(0).is_empty() && planes.links(1).is_empty());
    describe_with(&planes, &["", ""]);
    planes.apply(&[]).expect(0).says("applied to 2 clusters");
    assert_eq!(planes.links(0), [link_to(&planes, 1)]);
    assert_eq!(planes.links(1), [link_to(&planes, 0)]);
}

#[test]
fn clusters_come_one_by_one_and_one_that_left_the_topology_is_cleaned_too() {
    let planes = Planes::start(2);
    let first = planes.clusters[0].context.clone();
    // The other one might hold this mesh's root already, so none is made up.
    planes.apply(&["--contexts", &first]).expect(1).says("there is no root CA");
    assert!(planes.is_untouched(0));
    planes.run(&["init", "--mesh-id", "m"]).expect(0);
    planes
        .apply(&["--contexts", &first])
        .expect(0)
        .says("applied to 1 cluster,")
        .says(&format!("is not linked with `{}`", planes.clusters[1].context));
    assert!(!planes.is_untouched(0) && planes.is_untouched(1));
    assert!(planes.links(0).is_empty());
    planes.apply(&[]).expect(0).says("applied to 2 clusters");
    assert_eq!((planes.links(0).len(), planes.links(1).len()), (1, 1));

    planes.describe(&[&planes.clusters[0]]);
    planes.run(&["teardown", "--yes"]).expect(0);
    assert!(planes.is_untouched(0) && planes.is_untouched(1));
    for index in 0..2 {
        let system = ["get", "namespace", "istio-system", "--ignore-not-found", "-o", "name"];
        assert_eq!(planes.kubectl(index, &system), "", "{}", planes.clusters[index].context);
    }
}

#[test]
fn a_root_whose_key_is_elsewhere_is_enough_until_a_cluster_joins() {
    let planes = Planes::start(2);
    planes.describe(&[&planes.clusters[0]]);
    planes.apply(&[]).expect(0);
    let key = planes.mesh("m").join("certs/root-key.pem");
    let safe = planes.home().join("safe");
    std::fs::rename(&key, &safe).unwrap();
    planes.apply(&[]).expect(0).says("nothing to change in 1 cluster");

    planes.describe(&planes.clusters.iter().collect::<Vec<_>>());
    planes.apply(&[]).expect(3).says("hint: put root-key.pem beside root-cert.pem for this run");
    assert!(planes.is_untouched(1));
    assert!(planes.links(0).is_empty());
    assert!(!key.exists(), "no other root is made");

    std::fs::rename(&safe, &key).unwrap();
    planes.apply(&[]).expect(0).says("applied to 2 clusters");
    assert_eq!((planes.links(0).len(), planes.links(1).len()), (1, 1));
}
