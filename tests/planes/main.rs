//! Real API servers without nodes: what an apply refuses, survives and leaves alone. Run by
//! `cargo xtask test`.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../support/live.rs"]
#[expect(dead_code, reason = "the other tier uses more of it")]
mod live;

mod broken;
mod foreign;
mod identity;
mod interrupted;
mod istioctl;
mod rights;

use std::ffi::OsString;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

use live::{Run, User};
use multimesh_lab::Cluster;

/// Control planes of a test's own, which end with it.
struct Planes {
    user: User,
    clusters: Vec<Cluster>,
}

impl Planes {
    /// Starts that many control planes, described as one mesh `m`.
    fn start(count: usize) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let mut user = User::new();
        let clusters: Vec<Cluster> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..count)
                .map(|_| {
                    let context = format!("plane-{}", NEXT.fetch_add(1, Ordering::Relaxed));
                    let lab = user.lab.clone();
                    scope.spawn(move || lab.add_control_plane(&context).expect("a control plane"))
                })
                .collect();
            starts.into_iter().map(|start| start.join().expect("a control plane")).collect()
        });
        let files: Vec<OsString> =
            clusters.iter().map(|cluster| cluster.kubeconfig().into_os_string()).collect();
        user.set_kubeconfig(files.join(":".as_ref()));
        let planes = Self { user, clusters };
        planes.describe(&planes.clusters.iter().collect::<Vec<_>>());
        planes
    }

    fn describe(&self, clusters: &[&Cluster]) {
        // One network, as there are no nodes that a gateway could run on.
        let entries = clusters.iter().map(|c| format!("  {}: {{network: flat}}\n", c.context));
        let topology = format!("mesh_id: m\ncontexts:\n{}", entries.collect::<String>());
        self.user.write("m", "topology.yaml", &topology);
        self.user.write("m", "base.yaml", multimesh_lab::MESH_BASE);
    }

    /// Applies without waiting for pods, which nothing runs here.
    fn apply(&self, arguments: &[&str]) -> Run {
        self.user.run(&[&["apply", "--wait=false"], arguments].concat())
    }

    fn kubectl(&self, index: usize, arguments: &[&str]) -> String {
        live::kubectl(&self.user.lab, &self.clusters[index], arguments)
    }

    /// The names of the remote secrets that a cluster holds.
    fn links(&self, index: usize) -> Vec<String> {
        let select =
            ["get", "secrets", "-n", "istio-system", "-l", "istio/multiCluster=true", "-o", "name"];
        self.kubectl(index, &select).lines().map(str::to_owned).collect()
    }

    /// Whether the tool wrote anything to a cluster.
    fn is_untouched(&self, index: usize) -> bool {
        let ours = "applyset.kubernetes.io/part-of";
        let kinds =
            "namespaces,clusterroles,customresourcedefinitions,mutatingwebhookconfigurations";
        let members = self.kubectl(index, &["get", kinds, "-l", ours, "-o", "name"]);
        let secrets =
            self.kubectl(index, &["get", "secrets,configmaps", "-A", "-l", ours, "-o", "name"]);
        members.trim().is_empty() && secrets.trim().is_empty()
    }
}

impl Deref for Planes {
    type Target = User;

    fn deref(&self) -> &User {
        &self.user
    }
}

impl Drop for Planes {
    fn drop(&mut self) {
        for cluster in &self.clusters {
            if let Err(error) = self.user.lab.remove_control_plane(cluster) {
                eprintln!("{} is left: {error}", cluster.context);
            }
        }
    }
}
