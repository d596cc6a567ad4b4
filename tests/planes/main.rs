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
#[path = "../support/secrets.rs"]
mod secrets;
#[path = "../support/verbs.rs"]
mod verbs;

mod faults;
mod foreign;
mod identity;
mod istioctl;
mod lab;
mod leave;
mod locks;
mod plan;
mod prune;
mod rename;
mod render;
mod rights;
mod running;
mod shown;
mod terminal;
mod version;

use std::ffi::OsString;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{process, thread};

use live::{Run, User};
use multimesh_lab::{Claim, Cluster};
use serde_json::Value;

/// Control planes of a test's own, as new. Other tests have them afterwards.
struct Planes {
    user: User,
    clusters: Vec<Cluster>,
    _claims: Vec<Claim>,
}

impl Planes {
    /// Claims that many control planes, described as one mesh `m`.
    fn start(count: usize) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let user = User::new();
        let claim = || {
            // Another run may use the same lab.
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            user.lab.claim_control_plane(&format!("plane-{}-{number}", process::id()))
        };
        let claims: Vec<Claim> = thread::scope(|scope| {
            let claims: Vec<_> = (0..count).map(|_| scope.spawn(claim)).collect();
            let claims = claims.into_iter().map(|claim| claim.join().expect("no panic"));
            claims.map(|claim| claim.expect("a control plane")).collect()
        });
        let clusters = claims.iter().map(|claim| claim.cluster.clone()).collect();
        let mut planes = Self { user, clusters, _claims: claims };
        let files: Vec<OsString> =
            planes.clusters.iter().map(|cluster| cluster.kubeconfig().into_os_string()).collect();
        planes.user.set_kubeconfig(files.join(":".as_ref()));
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

    /// What an apply would do, as the document that `plan -o json` prints.
    #[track_caller]
    fn plan(&self, arguments: &[&str], code: i32) -> Value {
        let run = self.run(&[&["plan", "-o", "json"], arguments].concat()).expect(code);
        serde_json::from_str(&run.stdout).expect("a document")
    }

    /// Writes a topology with these settings for planes by their number, in a mesh `m`.
    fn describe_as(&self, members: &[(usize, &str)]) {
        let entries = members.iter().map(|(index, settings)| {
            format!("  {}: {{{settings}}}\n", self.clusters[*index].context)
        });
        let text = format!("mesh_id: m\ncontexts:\n{}", entries.collect::<String>());
        self.write("m", "topology.yaml", &text);
    }

    /// Sends an object as kubectl does.
    fn kubectl_apply(&self, index: usize, object: &str) {
        let cluster = &self.clusters[index];
        self.lab.kubectl(cluster, &["apply", "-f", "-"], Some(object)).expect("kubectl apply");
    }

    /// The record of what was applied where.
    fn state(&self) -> Value {
        let text = std::fs::read_to_string(self.mesh("m").join("state.yaml")).expect("a record");
        serde_yaml::from_str(&text).expect("the record is YAML")
    }

    /// A kubeconfig with one context of that name, which leads to a plane.
    fn kubeconfig_as(&self, index: usize, context: &str) -> PathBuf {
        let cluster = &self.clusters[index];
        let text = std::fs::read_to_string(cluster.kubeconfig()).expect("a kubeconfig");
        let path = self.home().join(format!("kubeconfig-{index}-{context}"));
        std::fs::write(&path, text.replace(&cluster.context, context)).expect("a kubeconfig");
        path
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
