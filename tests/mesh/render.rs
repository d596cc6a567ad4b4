//! A mesh of files that `render` made and kubectl applied, by the commands in their README.md.

use std::path::Path;
use std::thread;

use multimesh_lab::{Cluster, Lab};

use crate::cleanup::{Cleanup, delete_echo};
use crate::clusters;
use crate::live::{Run, User, eventually, kubectl};
use crate::traffic::requests_are_answered_from_everywhere;

/// Which commands of a README.md are meant.
#[derive(Clone, Copy)]
enum Block {
    First,
    Links,
    Later,
}

/// Runs commands of the README.md in each cluster's folder, in all clusters at once.
fn follow(lab: &Lab, out: &Path, clusters: &[Cluster], block: Block) {
    let run = |cluster: &Cluster| {
        let folder = out.join(&cluster.context);
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        let mut blocks = readme.split("```sh\n").skip(1).map(|text| text.split("```").next());
        let script = blocks.nth(block as usize).flatten().unwrap();
        let mut shell = lab.command("sh").unwrap();
        shell.args(["-euxc", script]).current_dir(folder);
        Run::of(&shell.output().unwrap()).expect(0);
    };
    thread::scope(|scope| {
        for cluster in clusters {
            scope.spawn(|| run(cluster));
        }
    });
}

#[test]
fn a_mesh_that_kubectl_made_of_rendered_files_works() {
    let _alone = clusters();
    let user = User::new();
    let lab = &user.lab;
    let three: Vec<Cluster> = lab.clusters().unwrap().into_iter().filter(|c| c.has_node).collect();
    user.run(&["init", "--mesh-id", "rendered"]).expect(0);
    user.describe("rendered", &three.iter().collect::<Vec<_>>());
    let out = tempfile::tempdir().unwrap();
    let _cleanup = Cleanup(&user, Vec::new());
    let render = ["render", "--secrets", "--out", out.path().to_str().unwrap()];

    user.run(&render).expect(3).says("no links to");
    follow(lab, out.path(), &three, Block::First);
    user.run(&render).expect(0);
    follow(lab, out.path(), &three, Block::Links);
    eventually("a healthy mesh", || user.run(&["status"]).code == 0);
    requests_are_answered_from_everywhere(lab, &three);

    // istiod runs, and has written to some of the objects.
    user.run(&["plan", "--detailed-exitcode"]).expect(0);
    follow(lab, out.path(), &three[..1], Block::Later);
    user.run(&["apply"]).expect(0).says("nothing to change in 3 clusters");

    delete_echo(lab, &three);
    user.run(&["teardown", "--yes"]).expect(0);
    for cluster in &three {
        kubectl(lab, cluster, &["delete", "namespace", "istio-system", "--timeout=90s"]);
    }
}
