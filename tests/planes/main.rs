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
use multimesh_lab::{Cluster, MESH_BASE};
use serde_json::Value;

/// The lab's base without most of Istio's definitions. Each costs an API server a second of work, and
/// all tests start fresh ones; the tests of meshes have them all.
fn base() -> String {
    const LEFT_OUT: [&str; 11] = [
        "authorizationpolicies.security.istio.io",
        "destinationrules.networking.istio.io",
        "envoyfilters.networking.istio.io",
        "requestauthentications.security.istio.io",
        "serviceentries.networking.istio.io",
        "sidecars.networking.istio.io",
        "telemetries.telemetry.istio.io",
        "virtualservices.networking.istio.io",
        "wasmplugins.extensions.istio.io",
        "workloadentries.networking.istio.io",
        "workloadgroups.networking.istio.io",
    ];
    let values = format!("    base: {{excludedCRDs: [{}]}}\n    global:\n", LEFT_OUT.join(", "));
    let base = MESH_BASE.replace("    global:\n", &values);
    assert_ne!(base, MESH_BASE);
    base
}

/// Control planes of a test's own, which end with it.
struct Planes {
    user: User,
    contexts: Vec<String>,
    clusters: Vec<Cluster>,
}

impl Planes {
    /// Starts that many control planes, described as one mesh `m`.
    fn start(count: usize) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Another run may use the same lab.
        let contexts = (0..count)
            .map(|_| format!("plane-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
            .collect();
        // From here on whatever has started ends, also if another one does not start.
        let mut planes = Self { user: User::new(), contexts, clusters: Vec::new() };
        let lab = &planes.user.lab;
        let started: Vec<_> = thread::scope(|scope| {
            let starts: Vec<_> = planes
                .contexts
                .iter()
                .map(|context| scope.spawn(move || lab.add_control_plane(context)))
                .collect();
            starts.into_iter().map(|start| start.join().expect("no panic")).collect()
        });
        for cluster in started {
            planes.clusters.push(cluster.expect("a control plane"));
        }
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
        self.user.write("m", "base.yaml", &base());
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

impl Drop for Planes {
    fn drop(&mut self) {
        // By name, as one that did not start all the way gave no handle.
        let clusters = self.user.lab.clusters().unwrap_or_else(|error| {
            eprintln!("{} are left: {error}", self.contexts.join(", "));
            Vec::new()
        });
        for cluster in clusters.iter().filter(|it| self.contexts.contains(&it.context)) {
            if let Err(error) = self.user.lab.remove_control_plane(cluster) {
                eprintln!("{} is left: {error}", cluster.context);
            }
        }
    }
}
