//! Tests against a running lab: the binary in the lab's network, and looks at its clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use multimesh_lab::{Cluster, Lab, MESH_BASE};
use serde_json::Value;

/// What these tests run.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_kubectl-multimesh");

/// The lab that `cargo xtask test` started.
pub(crate) fn lab() -> Lab {
    let name = std::env::var("MULTIMESH_TEST_LAB")
        .expect("these tests need a lab: run them by `cargo xtask test`");
    Lab::open(&name).expect("the lab is up")
}

/// A user with a configuration folder of their own, and the lab's kubeconfig.
pub(crate) struct User {
    pub(crate) lab: Lab,
    home: tempfile::TempDir,
    kubeconfig: OsString,
}

/// What one run of the binary gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Fails the test with everything that was printed unless the run ended with this code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless this was printed to stderr.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not in:\n{}", self.stderr);
        self
    }
}

impl User {
    pub(crate) fn new() -> Self {
        let lab = lab();
        let kubeconfig = lab.kubeconfig().into_os_string();
        Self { lab, home: tempfile::tempdir().expect("a temporary folder"), kubeconfig }
    }

    /// Gives the user another `$KUBECONFIG`.
    pub(crate) fn set_kubeconfig(&mut self, list: impl Into<OsString>) {
        self.kubeconfig = list.into();
    }

    /// The folder with this user's meshes.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The directory of a mesh.
    pub(crate) fn mesh(&self, id: &str) -> PathBuf {
        self.home().join(id)
    }

    /// Writes the topology and the lab's base for a mesh of these clusters.
    pub(crate) fn describe(&self, id: &str, clusters: &[&Cluster]) -> PathBuf {
        let entries =
            clusters.iter().map(|c| format!("  {}: {{network: {}}}\n", c.context, c.network));
        let topology = format!("mesh_id: {id}\ncontexts:\n{}", entries.collect::<String>());
        self.write(id, "topology.yaml", &topology);
        self.write(id, "base.yaml", MESH_BASE);
        self.mesh(id)
    }

    /// Writes a file into a mesh directory.
    pub(crate) fn write(&self, id: &str, name: &str, text: &str) {
        std::fs::create_dir_all(self.mesh(id)).expect("the mesh directory");
        std::fs::write(self.mesh(id).join(name), text).expect("a file of the mesh");
    }

    /// The binary, ready to run in the lab with nothing of the caller's environment that matters.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command_of(BINARY);
        command.args(arguments);
        command
    }

    /// The binary, ready to run at a terminal: what is written to it is typed there, and all that it
    /// prints comes from stdout. No argument may need quoting.
    pub(crate) fn at_terminal(&self, arguments: &[&str]) -> Command {
        let mut command = self.command_of("script");
        let line = [&[BINARY], arguments].concat().join(" ");
        command.env("TERM", "dumb").args(["-qefc", &line, "/dev/null"]);
        command
    }

    /// Another program, ready to run in the same way.
    pub(crate) fn command_of(&self, program: &str) -> Command {
        let mut command = self.lab.command(program).expect("a command in the lab");
        for name in ["MESH_ID", "ORG_NAME", "WORKDIR", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY"] {
            command.env_remove(name);
        }
        command.env("KUBECONFIG", &self.kubeconfig);
        command.env("MULTIMESH_HOME", self.home()).env("NO_COLOR", "1");
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(&self.command(arguments).output().expect("the binary runs"))
    }
}

/// Everything that a cluster serves, by kind, namespace and name, with its resource version.
/// Events are left out, as they come and go by themselves.
pub(crate) fn inventory(lab: &Lab, cluster: &Cluster) -> BTreeMap<String, Value> {
    let kinds = kubectl(lab, cluster, &["api-resources", "--verbs=list", "-o", "name"]);
    let kinds: BTreeSet<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let kinds: Vec<&str> = kinds.into_iter().collect();
    let list = kubectl(lab, cluster, &["get", &kinds.join(","), "-A", "-o", "json"]);
    let list: Value = serde_json::from_str(&list).expect("kubectl prints JSON");
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().map(|object| (name_of(&object), object)).collect()
}

fn name_of(object: &Value) -> String {
    let text = |path| object.pointer(path).and_then(Value::as_str).unwrap_or("-");
    let (kind, namespace, name) =
        (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
    format!("{kind} {namespace} {name}")
}

/// The resource versions of everything that does not change by itself.
pub(crate) fn versions(lab: &Lab, cluster: &Cluster) -> BTreeMap<String, String> {
    let restless = ["Lease ", "Node ", "CSINode ", "Endpoints ", "EndpointSlice "];
    inventory(lab, cluster)
        .into_iter()
        .filter(|(name, _)| !restless.iter().any(|kind| name.starts_with(kind)))
        .filter(|(_, object)| {
            // istiod's leader elections renew themselves.
            object
                .pointer("/metadata/annotations/control-plane.alpha.kubernetes.io~1leader")
                .is_none()
        })
        .map(|(name, object)| {
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            (name, version.to_owned())
        })
        .collect()
}

/// Runs kubectl against a cluster.
#[track_caller]
pub(crate) fn kubectl(lab: &Lab, cluster: &Cluster, arguments: &[&str]) -> String {
    lab.kubectl(cluster, arguments, None).expect("kubectl")
}

/// Waits until a condition holds, for two minutes at the most.
#[track_caller]
pub(crate) fn eventually(what: &str, holds: impl FnMut() -> bool) {
    eventually_within(Duration::from_secs(120), what, holds);
}

/// Waits until a condition holds, for so long at the most.
#[track_caller]
pub(crate) fn eventually_within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < end, "{what} did not come true within {limit:?}");
        std::thread::sleep(Duration::from_millis(300));
    }
}
