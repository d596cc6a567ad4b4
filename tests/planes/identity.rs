//! Never the wrong cluster.

mod membership;

use crate::Planes;

#[test]
fn two_contexts_of_one_cluster_are_refused() {
    let mut planes = Planes::start(1);
    let context = planes.clusters[0].context.clone();
    let text = std::fs::read_to_string(planes.clusters[0].kubeconfig()).unwrap();
    let twin = planes.home().join("twin");
    std::fs::write(&twin, text.replace(&context, "twin")).unwrap();
    let list = format!("{}:{}", planes.clusters[0].kubeconfig().display(), twin.display());
    planes.user.set_kubeconfig(list);
    let topology = format!(
        "mesh_id: m\ncontexts:\n  {context}: {{network: flat}}\n  twin: {{network: flat}}\n"
    );
    planes.write("m", "topology.yaml", &topology);
    planes.apply(&[]).expect(1).says("are the same cluster").says("topology.yaml:4");
    assert!(planes.is_untouched(0));
}

#[test]
fn a_context_that_points_elsewhere_now_is_refused() {
    let mut planes = Planes::start(2);
    planes.describe(&[&planes.clusters[0]]);
    planes.apply(&[]).expect(0);
    let (first, second) = (planes.clusters[0].context.clone(), planes.clusters[1].context.clone());
    let text = std::fs::read_to_string(planes.clusters[1].kubeconfig()).unwrap();
    let moved = planes.home().join("moved");
    std::fs::write(&moved, text.replace(&second, &first)).unwrap();
    planes.user.set_kubeconfig(moved);
    planes.apply(&[]).expect(1).says("is not the cluster that it was");
    planes.run(&["teardown", "--yes"]).expect(1).says("is not the cluster that it was");
    assert!(planes.is_untouched(1));
}

#[test]
fn a_missing_file_in_the_list_of_kubeconfigs_is_no_fault() {
    let mut planes = Planes::start(1);
    let list = format!("/nowhere:{}", planes.clusters[0].kubeconfig().display());
    let before = std::fs::read(planes.clusters[0].kubeconfig()).unwrap();
    planes.user.set_kubeconfig(list);
    planes.apply(&[]).expect(0);
    let after = std::fs::read(planes.clusters[0].kubeconfig()).unwrap();
    assert_eq!(before, after, "a kubeconfig is never written");
}
