//! The binary without any cluster: bad input, local files, and what is told about them. Each test
//! has a home and an environment of its own.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/apiserver.rs"]
#[expect(dead_code, reason = "the tests of `kube` use more of it")]
mod apiserver;
#[path = "../support/kubeconfig.rs"]
mod kubeconfig;
#[path = "../support/sandbox.rs"]
mod sandbox;
#[path = "../support/shown.rs"]
mod shown;
#[path = "../support/verbs.rs"]
mod verbs;

mod bad_base;
mod bad_topology;
mod completion;
mod contexts;
mod files;
mod help;
mod hints;
mod init;
mod interrupt;
mod istioctl;
mod list;
mod memory;
mod printed;
mod render;
mod seed;
mod terminals;
mod usage;
mod version;
mod wrong_cluster;

use kubeconfig::Kubeconfig;
use sandbox::{Run, Sandbox};

/// The contexts of the seed's example, none of which can be reached.
fn three_contexts() -> Kubeconfig {
    Kubeconfig::default()
        .unreachable("context-east-1", "https://10.1.0.1:6443")
        .unreachable("context-east-2", "https://10.1.0.2:6443")
        .unreachable("context-west-1", "https://10.2.0.1:6443")
}

/// A user with the mesh `shop`, its root CA made by `init`, and this topology below `contexts:`.
fn shop(kubeconfig: &Kubeconfig, contexts: &str) -> Sandbox {
    let sandbox = Sandbox::with(kubeconfig);
    sandbox.run(&["init", "--mesh-id", "shop"]).expect(0);
    topology(&sandbox, &format!("mesh_id: shop\ncontexts:\n{contexts}"));
    sandbox
}

/// Writes the topology of the mesh `shop`.
fn topology(sandbox: &Sandbox, text: &str) {
    std::fs::write(sandbox.mesh("shop").join("topology.yaml"), text).unwrap();
}

/// Runs a command that is refused: nothing may be written.
#[track_caller]
fn refused(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    let before = sandbox.tree();
    let run = sandbox.run(arguments);
    assert_eq!(sandbox.tree(), before, "something was written: {}", run.stderr);
    assert_ne!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.stdout, "", "data is for stdout, and there is none");
    run
}
