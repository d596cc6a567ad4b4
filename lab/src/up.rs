//! Brings a lab up, or completes one.

use std::ffi::OsString;
use std::fs;
use std::num::NonZero;
use std::process::Command;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Instant;

use crate::controlplane::Site;
use crate::error::{Doing as _, Error, Result};
use crate::home::{Home, RunFolder};
use crate::lab::{LOCK, Lab};
use crate::namespace::Namespace;
use crate::programs::{self, Programs};
use crate::requirements::{bridge_filter, requirements};
use crate::state::{EAST, Member, State, WEST};
use crate::{balancer, controlplane, down, kubeconfig, network, node, parallel};
use crate::{status, sysctl};

const MOST: u8 = 20;

/// Which lab is wanted.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of the lab: labs of different names share nothing but the programs.
    pub name: String,
    /// How many clusters, from 1 to 20.
    pub clusters: u8,
    /// Whether the clusters do without nodes, and so cannot run pods.
    pub control_planes_only: bool,
    /// The command line of a program that calls `serve_load_balancers`. Without it, Services of
    /// type `LoadBalancer` never get an address.
    pub load_balancer: Option<Vec<OsString>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "default".into(),
            clusters: 3,
            control_planes_only: false,
            load_balancer: None,
        }
    }
}

pub(crate) fn up(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Lab> {
    if !(1..=MOST).contains(&options.clusters) {
        return Err(Error::Refused(format!(
            "a lab starts with 1 to {MOST} clusters, not {}",
            options.clusters
        )));
    }
    let home = Home::find()?;
    let run = home.run(&options.name)?;
    if Namespace::find(&run).is_none() {
        requirements()?;
        bridge_filter(&[]);
    }
    let programs = programs::build(progress)?;
    let _lock = run.lock(LOCK)?;
    let started = Instant::now();
    let mut say = |line: &str| {
        progress(&format!("[{:4.1}s] {line}", started.elapsed().as_secs_f64()));
    };
    let space = match Namespace::find(&run) {
        Some(space) => space,
        None => begin(&run, &mut say)?,
    };

    let mut state = State::load(&run)?;
    if let Some(refusal) = other_kind(&state, options) {
        return Err(refusal);
    }
    let complete = state.clusters.len() >= usize::from(options.clusters)
        && status::dead(&run, &state).is_empty();
    if complete {
        say(&format!("already up: {} clusters", state.clusters.len()));
        return Ok(Lab::new(run, programs));
    }
    if state.clusters.is_empty() {
        state.set_separated(EAST, WEST, true);
    }
    while state.clusters.len() < usize::from(options.clusters) {
        let member = state.add(None, !options.control_planes_only)?;
        controlplane::prepare(&run, &member)?;
    }
    state.balanced |= options.load_balancer.is_some();
    state.save(&run)?;
    kubeconfig::write_all(&run, &state)?;
    start(&run, &programs, space, &state, &mut say)?;

    if let Some(words) = &options.load_balancer
        && state.clusters.iter().any(|it| it.node)
    {
        balancer::start(&run, || command(words, &home))?;
    }
    say(&format!("the lab `{}` is up: {} clusters", run.name(), state.clusters.len()));
    Ok(Lab::new(run, programs))
}

/// Why a lab of that state cannot become what is wanted. Clusters that were added to it have names
/// of their own, and no node whatever the lab is.
fn other_kind(state: &State, options: &Options) -> Option<Error> {
    let name = &options.name;
    let first = state.clusters.iter().find(|it| it.has_default_context())?;
    let (there, wanted) = match (first.node, !options.control_planes_only) {
        (true, false) => ("nodes", "control planes only"),
        (false, true) => ("control planes only", "nodes"),
        _ => return None,
    };
    Some(Error::Refused(format!(
        "the lab `{name}` is up with {there}, and cannot change to {wanted}\n\
         hint: end it first: `cargo xtask lab down --name {name}`"
    )))
}

/// Makes the namespace of a lab, after what an earlier one may have left is gone.
fn begin(run: &RunFolder, say: &mut dyn FnMut(&str)) -> Result<Namespace> {
    if run.path().exists() {
        say("clearing what an earlier lab left");
        down::clear(run)?;
    }
    fs::create_dir_all(run.path()).at("create", run.path())?;
    Namespace::create(run)
}

fn start(
    run: &RunFolder,
    programs: &Programs,
    space: Namespace,
    state: &State,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    let site = Site { run, programs, space };
    sysctl::set(run)?;
    balancer::write_hosts(run, state)?;
    network::apply(space, state)?;
    controlplane::start_etcd(&site)?;
    // More at once only take the processors from each other.
    let width = thread::available_parallelism().map_or(1, NonZero::get).max(2) * 4;
    parallel::each(&state.clusters, width, say, |member, lines| start_cluster(&site, member, lines))
}

fn start_cluster(site: &Site<'_>, member: &Member, lines: &Sender<String>) -> Result<()> {
    let say = |what: &str| {
        // Nobody listens any more only if another cluster failed, and that is told.
        let _ = lines.send(format!("{}: {what}", member.context));
    };
    if !member.node {
        controlplane::start(site, member)?;
        say("control plane ready");
        return Ok(());
    }
    parallel::both(
        || {
            node::start_runtime(site, member)?;
            say("images imported");
            Ok(())
        },
        || {
            controlplane::start(site, member)?;
            say("control plane ready");
            Ok(())
        },
    )?;
    node::start(site, member)?;
    say("node ready");
    Ok(())
}

fn command(words: &[OsString], home: &Home) -> Command {
    let mut words = words.iter();
    let mut command = Command::new(words.next().cloned().unwrap_or_default());
    command.args(words).envs([home.variable()]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_of_the_other_kind_is_refused() {
        for control_planes_only in [false, true] {
            let options = Options { control_planes_only, ..Options::default() };
            let mut state = State::default();
            // Added to a lab of either kind.
            state.add(Some("plane-1"), false).expect("a cluster");
            assert!(other_kind(&state, &options).is_none());
            state.add(None, !control_planes_only).expect("a cluster");
            assert!(other_kind(&state, &options).is_none());
            let other = Options { control_planes_only: !control_planes_only, ..options };
            let error = other_kind(&state, &other).expect("a refusal").to_string();
            assert!(error.contains("`cargo xtask lab down --name default`"), "{error}");
        }
    }
}
