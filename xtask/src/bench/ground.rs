//! What all measurements stand on: a lab that ends with them, the tool in it, and the floor.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use multimesh_lab::{Cluster, Lab, MESH_BASE};
use serde_json::Value;

use super::bare::{Script, Target};
use super::measure::{self, Sample, go_on};
use super::quiet::settle;
use crate::lab;
use crate::say::say;

/// The lab of the measurements, beside the user's own.
const LAB: &str = "bench";
/// What of the caller's environment would change what the tool does.
const MISLEADING: [&str; 5] = ["MESH_ID", "ORG_NAME", "WORKDIR", "MULTIMESH_LOG", "RUST_LOG"];

/// The programs that are compared, and how often.
pub(super) struct Tools {
    /// The released form of kubectl-multimesh.
    pub(super) tool: PathBuf,
    /// This program, optimised.
    pub(super) floor: PathBuf,
    /// The folder of the lab's programs.
    pub(super) bin: PathBuf,
    /// How often everything is done.
    pub(super) runs: usize,
}

/// A lab of its own; it ends when this is dropped.
pub(super) struct Ground<'a> {
    pub(super) lab: Lab,
    pub(super) tools: &'a Tools,
}

impl<'a> Ground<'a> {
    /// Starts fresh clusters.
    pub(super) fn start(tools: &'a Tools, clusters: u8, nodes: bool) -> Result<Self, String> {
        go_on()?;
        // What an earlier run may have left would not be fresh.
        multimesh_lab::down(LAB).map_err(|e| e.to_string())?;
        let lab = lab::start_quietly(LAB, clusters, !nodes).inspect_err(|_| end());
        let ground = Self { lab: lab.map_err(|e| e.to_string())?, tools };
        settle()?;
        Ok(ground)
    }

    /// Adds clusters until there are that many.
    pub(super) fn grow(&self, clusters: u8, nodes: bool) -> Result<(), String> {
        go_on()?;
        lab::start_quietly(self.lab.name(), clusters, !nodes).map(drop).map_err(|e| e.to_string())
    }

    pub(super) fn clusters(&self) -> Result<Vec<Cluster>, String> {
        self.lab.clusters().map_err(|e| e.to_string())
    }

    /// A program in the network of the lab.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Result<Command, String> {
        self.lab.command(program.as_ref()).map_err(|e| e.to_string())
    }

    /// What kubectl prints of a cluster.
    pub(super) fn kubectl(&self, cluster: &Cluster, words: &[&str]) -> Result<String, String> {
        go_on()?;
        self.lab.kubectl(cluster, words, None).map_err(|e| e.to_string())
    }

    /// A cluster as the floor addresses it.
    pub(super) fn target(&self, cluster: &Cluster) -> Result<Target, String> {
        let config = self.kubectl(cluster, &["config", "view", "--raw", "-o", "json"])?;
        let config: Value = serde_json::from_str(&config).map_err(|e| e.to_string())?;
        let text = |path: &str| {
            let found = config.pointer(path).and_then(Value::as_str).map(str::to_owned);
            found.ok_or_else(|| format!("the kubeconfig of {} lacks {path}", cluster.context))
        };
        Ok(Target {
            context: cluster.context.clone(),
            server: cluster.server.clone(),
            ca: text("/clusters/0/cluster/certificate-authority-data")?,
            certificate: text("/users/0/user/client-certificate-data")?,
            key: text("/users/0/user/client-key-data")?,
        })
    }

    /// Prepares the floor; every run of what comes back is one measurement.
    pub(super) fn floor(&self, script: &Script) -> Result<Floor<'_>, String> {
        let file = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
        serde_json::to_writer(file.as_file(), script).map_err(|e| e.to_string())?;
        Ok(Floor { ground: self, file })
    }
}

impl Drop for Ground<'_> {
    fn drop(&mut self) {
        end();
    }
}

fn end() {
    if let Err(error) = multimesh_lab::down(LAB) {
        say(&format!("the lab `{LAB}` is left: {error}"));
    }
}

/// Prepared requests.
pub(super) struct Floor<'a> {
    ground: &'a Ground<'a>,
    file: tempfile::NamedTempFile,
}

impl Floor<'_> {
    /// Sends them.
    pub(super) fn run(&self) -> Result<Sample, String> {
        let mut command = self.ground.command(&self.ground.tools.floor)?;
        measure::run(command.arg("floor").arg(self.file.path()))
    }
}

/// A mesh of the tool, with a home of its own.
pub(super) struct Mesh<'a> {
    ground: &'a Ground<'a>,
    home: tempfile::TempDir,
}

impl<'a> Mesh<'a> {
    /// A mesh that is described and not applied.
    pub(super) fn new(ground: &'a Ground<'a>, clusters: &[Cluster]) -> Result<Self, String> {
        let home = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mesh = Self { ground, home };
        mesh.describe(clusters, None)?;
        Ok(mesh)
    }

    /// Writes the topology; `network` puts all clusters on that one.
    pub(super) fn describe(
        &self,
        clusters: &[Cluster],
        network: Option<&str>,
    ) -> Result<(), String> {
        let entries = clusters
            .iter()
            .map(|c| format!("  {}: {{network: {}}}\n", c.context, network.unwrap_or(&c.network)));
        let topology = format!("mesh_id: mesh1\ncontexts:\n{}", entries.collect::<String>());
        let folder = self.home.path().join("mesh1");
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join("topology.yaml"), topology))
            .and_then(|()| fs::write(folder.join("base.yaml"), MESH_BASE))
            .map_err(|e| e.to_string())
    }

    /// Runs the tool to its success.
    pub(super) fn run(&self, words: &[&str]) -> Result<Sample, String> {
        measure::run(&mut self.command(words)?)
    }

    /// As [`Mesh::run`], where a mesh that is not healthy is a success too.
    pub(super) fn look(&self, words: &[&str]) -> Result<Sample, String> {
        measure::run_to(&mut self.command(words)?, &[0, 4])
    }

    /// How many requests a run makes, by its own log.
    pub(super) fn requests(&self, words: &[&str]) -> Result<usize, String> {
        let sample = self.look(&[words, &["-vv"]].concat())?;
        Ok(sample.stderr.lines().filter(|line| line.contains("method=")).count())
    }

    fn command(&self, words: &[&str]) -> Result<Command, String> {
        let mut command = self.ground.command(&self.ground.tools.tool)?;
        for name in MISLEADING {
            command.env_remove(name);
        }
        command.env("MULTIMESH_HOME", self.home.path()).env("NO_COLOR", "1").args(words);
        Ok(command)
    }
}
