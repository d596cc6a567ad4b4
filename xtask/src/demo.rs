//! `cargo xtask demo`: three clusters become one mesh, before the eyes of the one who runs it.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use multimesh_lab::{Cluster, Lab, MESH_BASE, Reply};

use crate::lab;
use crate::say::{cargo, fail, quoted, say};

/// Show the main job on real clusters: three of them become one mesh
#[derive(Args)]
pub(crate) struct Demo {
    /// The name of the lab that is used
    #[arg(long, default_value = "demo")]
    name: String,
}

const REQUESTS: usize = 30;
/// How long the sidecars may take to learn of the other clusters' pods.
const SPREAD: Duration = Duration::from_secs(60);

pub(crate) fn run(demo: &Demo) -> ExitCode {
    match attempt(demo) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn attempt(demo: &Demo) -> Result<(), String> {
    let started = Instant::now();
    headline("building kubectl-multimesh");
    let built = cargo().args(["build", "--quiet"]).status().map_err(|e| e.to_string())?;
    if !built.success() {
        return Err("kubectl-multimesh does not build".into());
    }
    headline("three clusters: two on network-east, one on network-west");
    let lab = lab::start(&demo.name, 3, false).map_err(|e| e.to_string())?;
    // In the run folder: it holds the UIDs of clusters that end with the lab.
    let home = lab.kubeconfig().with_file_name("demo");
    fs::create_dir_all(&home).map_err(|e| format!("{} cannot be made: {e}", home.display()))?;
    let bin = bin()?;

    headline("a mesh directory, its topology and its root CA");
    multimesh(&lab, (&home, &bin), &["init", "--mesh-id", "demo", "--org", "Example"])?;
    describe(&lab, &home.join("demo"))?;

    headline("one command");
    multimesh(&lab, (&home, &bin), &["apply"])?;
    headline("what came of it");
    multimesh(&lab, (&home, &bin), &["status"])?;

    headline("an application in every cluster, asked from every cluster");
    let clusters = lab.clusters().map_err(|e| e.to_string())?;
    lab.deploy_echo(&clusters).map_err(|e| e.to_string())?;
    for (cluster, replies) in ask_until_all_answer(&lab, &clusters)? {
        say(&format!(
            "{:16} {REQUESTS} requests, answered by {}",
            cluster.context,
            tally(&replies)
        ));
    }
    what_next(&demo.name, &home, &bin, started);
    Ok(())
}

/// Asks from every cluster until the answers come from all of them, for a minute at the most.
fn ask_until_all_answer<'a>(
    lab: &Lab,
    clusters: &'a [Cluster],
) -> Result<Vec<(&'a Cluster, Vec<Reply>)>, String> {
    let end = Instant::now() + SPREAD;
    loop {
        match clusters.iter().map(|from| ask(lab, clusters, from)).collect() {
            Ok(asked) => return Ok(asked),
            Err(lack) if Instant::now() > end => {
                return Err(format!(
                    "{lack}, even after {} s; the lab is left as it is",
                    SPREAD.as_secs()
                ));
            }
            Err(_) => thread::sleep(Duration::from_millis(500)),
        }
    }
}

fn ask<'a>(
    lab: &Lab,
    clusters: &[Cluster],
    from: &'a Cluster,
) -> Result<(&'a Cluster, Vec<Reply>), String> {
    let named = |lack: String| format!("`{}`: {lack}", from.context);
    let replies = lab.request_echo(from, REQUESTS).map_err(|e| named(e.to_string()))?;
    lack(clusters, &replies).map_or(Ok((from, replies)), |lack| Err(named(lack)))
}

/// What keeps replies from showing that all clusters answer.
fn lack(clusters: &[Cluster], replies: &[Reply]) -> Option<String> {
    if replies.len() < REQUESTS {
        return Some(format!("{} of {REQUESTS} requests got an answer", replies.len()));
    }
    if let Some(reply) = replies.iter().find(|reply| reply.code != "200") {
        return Some(format!("a request is still answered with status `{}`", reply.code));
    }
    let silent =
        clusters.iter().find(|c| replies.iter().all(|reply| reply.cluster != c.context))?;
    Some(format!("no request is answered by `{}`", silent.context))
}

fn headline(text: &str) {
    say(&format!("\n== {text}"));
}

/// The folder of the plugin, which cargo puts beside this program.
fn bin() -> Result<PathBuf, String> {
    let own = env::current_exe().map_err(|e| format!("this program cannot be found: {e}"))?;
    Ok(own.parent().map(PathBuf::from).unwrap_or_default())
}

/// Puts the lab's clusters into the topology that `init` proposed.
fn describe(lab: &Lab, dir: &Path) -> Result<(), String> {
    let clusters = lab.clusters().map_err(|e| e.to_string())?;
    let entries =
        clusters.iter().map(|c| format!("  {}:\n    network: {}\n", c.context, c.network));
    let topology = format!("mesh_id: demo\ncontexts:\n{}", entries.collect::<String>());
    say(&format!("\n{}:\n{topology}", dir.join("topology.yaml").display()));
    let write = |name: &str, text: &str| fs::write(dir.join(name), text);
    write("topology.yaml", &topology)
        .and_then(|()| write("base.yaml", MESH_BASE))
        .map_err(|e| format!("{} cannot be written: {e}", dir.display()))
}

/// Runs the plugin as its users do.
fn multimesh(lab: &Lab, places: (&Path, &Path), arguments: &[&str]) -> Result<(), String> {
    say(&format!("$ kubectl multimesh {}", arguments.join(" ")));
    let mut kubectl = command(lab, places)?;
    let status = kubectl.arg("multimesh").args(arguments).status().map_err(|e| e.to_string())?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`kubectl multimesh {}` failed; the lab is left as it is", arguments.join(" ")))
}

fn command(lab: &Lab, (home, bin): (&Path, &Path)) -> Result<Command, String> {
    let mut kubectl = lab.command("kubectl").map_err(|e| e.to_string())?;
    let mut path = OsString::from(bin);
    path.push(":");
    path.push(lab.path());
    kubectl.env("PATH", path).env("MULTIMESH_HOME", home);
    // They would name another mesh than the demo's.
    for name in ["WORKDIR", "MESH_ID", "ORG_NAME"] {
        kubectl.env_remove(name);
    }
    Ok(kubectl)
}

fn tally(replies: &[Reply]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reply in replies {
        *counts.entry(&reply.cluster).or_default() += 1;
    }
    let parts: Vec<String> = counts.iter().map(|(cluster, n)| format!("{cluster} {n}")).collect();
    parts.join(", ")
}

fn what_next(name: &str, home: &Path, bin: &Path, started: Instant) {
    let seconds = started.elapsed().as_secs();
    let exec = format!("cargo xtask lab exec --name {name} --");
    say(&format!(
        "\nThe demo took {seconds} s. Try next, in this shell:\n\n  \
         export MULTIMESH_HOME={home}\n  \
         export PATH={bin}:\"$PATH\"\n  \
         {exec} kubectl multimesh status -o wide\n  \
         {exec} kubectl multimesh apply            # nothing to change\n  \
         {exec} kubectl multimesh teardown\n  \
         {exec} kubectl --context context-east-1 get pods -A\n\n\
         Clean up:\n\n  cargo xtask lab down --name {name}\n",
        home = quoted(&home.to_string_lossy()),
        bin = quoted(&bin.to_string_lossy()),
    ));
}
