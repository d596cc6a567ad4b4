//! A running lab, as tests and the demo see it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::balancer::{self, LoadBalancer};
use crate::cluster::Cluster;
use crate::command::run_with;
use crate::controlplane::{self, Site};
use crate::error::{Error, Result};
use crate::home::{Home, RunFolder};
use crate::namespace::Namespace;
use crate::programs::Programs;
use crate::state::{Member, State};
use crate::status::{self, Status};
use crate::{down, kubeconfig, network, up};

/// How long a change of the lab waits for another one.
pub(crate) const LOCK: Duration = Duration::from_secs(300);
const KUBECTL: Duration = Duration::from_secs(120);

/// A running lab. Any number of processes can hold the same one.
#[derive(Debug, Clone)]
pub struct Lab {
    run: RunFolder,
    programs: Programs,
}

impl Lab {
    /// Opens a lab that is up.
    pub fn open(name: &str) -> Result<Self> {
        let home = Home::find()?;
        let lab = Self::new(home.run(name)?, Programs::of(&home));
        lab.namespace()?;
        Ok(lab)
    }

    /// Starts a lab, or whatever of it does not run; builds its programs if they are not there.
    /// `progress` gets a line a step.
    pub fn up(options: &up::Options, progress: &mut dyn FnMut(&str)) -> Result<Self> {
        up::up(options, progress)
    }

    /// Ends the lab and removes all its traces.
    pub fn down(&self) -> Result<()> {
        down::down(self.name())
    }

    pub(crate) fn new(run: RunFolder, programs: Programs) -> Self {
        Self { run, programs }
    }

    /// The name of the lab.
    pub fn name(&self) -> &str {
        self.run.name()
    }

    /// All clusters, by number.
    pub fn clusters(&self) -> Result<Vec<Cluster>> {
        let members = State::load(&self.run)?.clusters;
        Ok(members.into_iter().map(|member| self.handle(member)).collect())
    }

    /// The cluster of that number; the first one is number 1.
    pub fn cluster(&self, number: u8) -> Result<Cluster> {
        let mut clusters = self.clusters()?.into_iter();
        clusters.find(|it| it.number == number).ok_or_else(|| {
            Error::Refused(format!("the lab `{}` has no cluster {number}", self.name()))
        })
    }

    /// The kubeconfig file with a context for every cluster.
    pub fn kubeconfig(&self) -> PathBuf {
        self.run.kubeconfig()
    }

    /// The folder with `kubectl`, `istioctl` and the programs of the clusters.
    pub fn bin(&self) -> PathBuf {
        self.programs.bin()
    }

    /// The folder with a log file for every process of the lab.
    pub fn logs(&self) -> PathBuf {
        self.run.log("")
    }

    /// A `PATH` on which the lab's programs come first.
    pub fn path(&self) -> OsString {
        let mut path = self.bin().into_os_string();
        if let Some(rest) = env::var_os("PATH") {
            path.push(":");
            path.push(rest);
        }
        path
    }

    /// A command in the network of the lab, which alone reaches the clusters.
    ///
    /// It sees the files of the caller, `KUBECONFIG` and `PATH` are set, and the variables of
    /// proxies, which do not reach the clusters, are not.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut command = self.namespace()?.client(program);
        command.env("KUBECONFIG", self.kubeconfig()).env("PATH", self.path());
        Ok(command)
    }

    /// Runs `kubectl` as the administrator of a cluster and returns what it printed.
    pub fn kubectl(
        &self,
        cluster: &Cluster,
        arguments: &[&str],
        input: Option<&str>,
    ) -> Result<String> {
        let mut kubectl = self.site()?.kubectl(cluster.member());
        run_with(kubectl.args(arguments), input, KUBECTL)
    }

    /// Adds a cluster without a node, under a context of that name.
    pub fn add_control_plane(&self, context: &str) -> Result<Cluster> {
        if context.trim().is_empty() {
            return Err(Error::Refused("a context needs a name".into()));
        }
        let lock = self.run.lock(LOCK)?;
        let mut state = State::load(&self.run)?;
        let member = state.add(Some(context), false)?;
        controlplane::prepare(&self.run, &member)?;
        state.save(&self.run)?;
        kubeconfig::write_all(&self.run, &state)?;
        drop(lock);
        controlplane::start(&self.site()?, &member)?;
        Ok(self.handle(member))
    }

    /// Removes a cluster that `add_control_plane` added.
    pub fn remove_control_plane(&self, cluster: &Cluster) -> Result<()> {
        let member = cluster.member();
        if member.node {
            return Err(Error::Refused(format!(
                "{} has a node: only a control plane can leave a running lab",
                member.context
            )));
        }
        let _lock = self.run.lock(LOCK)?;
        down::stop(&self.run, member)?;
        let mut state = State::load(&self.run)?;
        state.clusters.retain(|it| it.generation != member.generation);
        state.save(&self.run)?;
        kubeconfig::write_all(&self.run, &state)
    }

    /// Keeps pods of two networks from reaching each other, as `network-east` and `network-west`
    /// are from the start.
    pub fn separate(&self, one: &str, other: &str) -> Result<()> {
        self.set_separated(one, other, true)
    }

    /// Lets pods of two networks reach each other.
    pub fn join(&self, one: &str, other: &str) -> Result<()> {
        self.set_separated(one, other, false)
    }

    fn set_separated(&self, one: &str, other: &str, separated: bool) -> Result<()> {
        let _lock = self.run.lock(LOCK)?;
        let mut state = State::load(&self.run)?;
        for network in [one, other] {
            if state.clusters.iter().all(|it| it.network != network) {
                return Err(Error::Refused(format!(
                    "no cluster of the lab is on a network {network}"
                )));
            }
        }
        if state.set_separated(one, other, separated) {
            state.save(&self.run)?;
        }
        network::apply(self.namespace()?, &state)
    }

    /// Says what Services of type `LoadBalancer` get in a cluster. Those that are there change.
    pub fn set_load_balancer(&self, cluster: &Cluster, mode: &LoadBalancer) -> Result<()> {
        let _lock = self.run.lock(LOCK)?;
        balancer::set(&self.run, &State::load(&self.run)?, cluster.member(), mode)
    }

    /// How the clusters are.
    pub fn status(&self) -> Result<Vec<Status>> {
        status::status(self)
    }

    /// Processes that should run and do not.
    pub fn dead(&self) -> Result<Vec<String>> {
        Ok(status::dead(&self.run, &State::load(&self.run)?))
    }

    pub(crate) fn handle(&self, member: Member) -> Cluster {
        Cluster::new(self.clone(), member)
    }

    pub(crate) fn run(&self) -> &RunFolder {
        &self.run
    }

    pub(crate) fn site(&self) -> Result<Site<'_>> {
        Ok(Site { run: &self.run, programs: &self.programs, space: self.namespace()? })
    }

    fn namespace(&self) -> Result<Namespace> {
        Namespace::find(&self.run).ok_or_else(|| {
            Error::Refused(format!(
                "the lab `{}` is not up: start it with `cargo xtask lab up`",
                self.name()
            ))
        })
    }
}
