//! One broken cluster stops no other, and costs nobody a link.

use crate::Planes;

#[test]
fn a_dead_cluster_costs_the_others_nothing_and_is_finished_by_the_next_run() {
    let planes = Planes::start(3);
    planes.apply(&[]).expect(0).says("applied to 3 clusters");
    assert_eq!(planes.links(0).len(), 2);

    let dead = &planes.clusters[2];
    dead.kill_api_server().unwrap();
    planes.write(
        "m",
        "base.yaml",
        &multimesh_lab::MESH_BASE
            .replace("accessLogFile: /dev/stdout", "accessLogFile: /dev/stderr"),
    );
    planes
        .apply(&[])
        .expect(3)
        .says(&format!("`{}`", dead.context))
        .says("applied to 2 clusters of 3");
    assert_eq!(planes.links(0).len(), 2, "the link to the dead cluster stays");
    assert_eq!(planes.links(1).len(), 2, "the link to the dead cluster stays");

    dead.restart_api_server().unwrap();
    planes.apply(&[]).expect(0).says("applied to 3 clusters");
    let config = ["get", "configmap", "istio", "-n", "istio-system", "-o", "jsonpath={.data.mesh}"];
    assert!(planes.kubectl(2, &config).contains("/dev/stderr"));
    planes.apply(&[]).expect(0).says("nothing to change in 3 clusters");
}

#[test]
fn a_cluster_that_hangs_is_given_up_in_bounded_time() {
    let planes = Planes::start(2);
    // Without a root CA an apply would have to look at all clusters first.
    planes.run(&["init", "--mesh-id", "m"]).expect(0);
    let hanging = &planes.clusters[1];
    hanging.pause_api_server().unwrap();
    let started = std::time::Instant::now();
    let run = planes.apply(&["--request-timeout", "3s"]);
    hanging.resume_api_server().unwrap();
    run.expect(3).says(&format!("`{}`", hanging.context)).says("applied to 1 cluster of 2");
    assert!(started.elapsed().as_secs() < 45, "{:?}", started.elapsed());
}

#[test]
fn a_mesh_of_dead_clusters_fails() {
    let planes = Planes::start(1);
    planes.clusters[0].kill_api_server().unwrap();
    planes.apply(&[]).expect(1).says("hint:");
}
