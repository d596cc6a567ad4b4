//! A user of the binary with nothing of the caller's environment: a home, a PATH with what a test
//! puts there, and a way to see every change of a file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use assert_cmd::Command;
use regex::Regex;

use super::kubeconfig::Kubeconfig;

/// What the binary of these tests is.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_kubectl-multimesh");
/// How long a run may take that is not about time.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A folder of a test's own; it goes with the value.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
}

/// What one run of the binary gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    dir: String,
}

impl Sandbox {
    /// A user with an empty home and nothing on the PATH.
    pub(crate) fn new() -> Self {
        let sandbox = Self { dir: tempfile::tempdir().unwrap() };
        for folder in ["bin", "home", "tmp"] {
            fs::create_dir(sandbox.path(folder)).unwrap();
        }
        sandbox
    }

    /// A user with a kubeconfig.
    pub(crate) fn with(kubeconfig: &Kubeconfig) -> Self {
        let sandbox = Self::new();
        sandbox.write("home/.kube/config", &kubeconfig.text());
        sandbox
    }

    /// A path in the sandbox.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The directory of a mesh, where the tool keeps it by itself.
    pub(crate) fn mesh(&self, id: &str) -> PathBuf {
        self.path("home/.config/multimesh").join(id)
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Puts an `istioctl` on the PATH: a shell script of builtins, as there are no other programs.
    pub(crate) fn istioctl(&self, script: &str) {
        self.program("bin/istioctl", script);
    }

    /// Puts an `istioctl` of this version on the PATH, for which `generate` is run otherwise.
    pub(crate) fn istioctl_of(&self, version: &str, generate: &str) {
        self.istioctl(&format!(
            "if [ \"$1\" = version ]; then\n\
             echo '{{\"clientVersion\": {{\"version\": \"{version}\"}}}}'\nelse\n{generate}\nfi\n"
        ));
    }

    /// Puts an `istioctl` on the PATH that renders one object.
    pub(crate) fn good_istioctl(&self) {
        let object = "{apiVersion: v1, kind: ConfigMap, metadata: {name: istio}}";
        self.istioctl_of("1.31.1", &format!("echo '{object}'"));
    }

    /// Writes a shell script that can be run.
    pub(crate) fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.write(name, &format!("#!/bin/sh\n{script}"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// The variables that the binary gets: these and no others.
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 3] {
        [("HOME", self.path("home")), ("PATH", self.path("bin")), ("TMPDIR", self.path("tmp"))]
    }

    /// The binary, ready to run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.env_clear().envs(self.environment()).current_dir(self.path("home"));
        command.args(arguments).timeout(LIMIT);
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.end(self.command(arguments))
    }

    /// Runs a command to its end.
    pub(crate) fn end(&self, mut command: Command) -> Run {
        self.ended(&command.output().unwrap())
    }

    /// What a command gave that has ended.
    pub(crate) fn ended(&self, output: &std::process::Output) -> Run {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            dir: self.dir.path().display().to_string(),
        }
    }

    /// Every file and folder: kind, mode, time of the last change and content.
    pub(crate) fn tree(&self) -> BTreeMap<PathBuf, String> {
        let mut tree = BTreeMap::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let meta = path.symlink_metadata().unwrap();
                // Taking the lock leaves its file as it was, but for the time.
                let lock = path.ends_with(".lock");
                let time = if lock { 0 } else { meta.mtime_nsec() };
                let mut about = format!("{:o} {time}", meta.mode());
                if meta.is_dir() {
                    folders.push(path.clone());
                } else {
                    about.extend([" ".to_owned(), text_of(&path)]);
                }
                tree.insert(path, about);
            }
        }
        tree
    }

    /// The modes of everything below a path, by its relative name.
    pub(crate) fn modes(&self, below: &Path) -> BTreeMap<String, String> {
        let modes = self.tree().into_iter().filter_map(|(path, about)| {
            let name = path.strip_prefix(below).ok()?.display().to_string();
            let mode = about.split(' ').next()?;
            Some((name, mode.get(mode.len() - 3..)?.to_owned()))
        });
        modes.collect()
    }
}

/// The content of a file, whatever it is.
fn text_of(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

impl Run {
    /// The exit code and everything that was told, with the sandbox as `[dir]` and what differs
    /// between two runs as `[date]`, `[time]`, `[seconds]` and `[pid]`.
    pub(crate) fn told(&self) -> String {
        let mut told = format!("exit {}\n{}", self.code, self.stderr.replace(&self.dir, "[dir]"));
        if !self.stdout.is_empty() {
            told.extend(["--- stdout\n", &self.stdout.replace(&self.dir, "[dir]")]);
        }
        for (pattern, name) in [
            (r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", "[time]"),
            (r"\d{4}-\d{2}-\d{2}", "[date]"),
            (r"\[ *\d+\.\ds\]", "[seconds]"),
            (r"process \d+", "process [pid]"),
            (r"ps -fp \d+", "ps -fp [pid]"),
            (r"127\.0\.0\.1:\d{3,5}", "127.0.0.1:[port]"),
        ] {
            told = Regex::new(pattern).unwrap().replace_all(&told, name).into_owned();
        }
        told
    }

    /// Fails the test with everything that was printed unless the run ended with this code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Everything that was printed.
    pub(crate) fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}
