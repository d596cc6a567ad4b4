//! The network and mount namespaces in which all of a lab lives.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::{run, run_with, wait_for};
use crate::error::{Error, Result};
use crate::home::{COVERED, RunFolder};
use crate::process::{self, Process};

/// The process that keeps the namespaces.
const HOLDER: &str = "lab";
/// Made last, so that a half-made namespace is known as such.
const READY: &str = "/run/lab/ready";
/// What of the caller's environment would send a client elsewhere than to the lab's clusters.
const MISLEADING: [&str; 9] = [
    "KUBECONFIG",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];
const QUICK: Duration = Duration::from_secs(20);

/// The namespaces of a lab.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Namespace {
    holder: Process,
}

impl Namespace {
    /// The namespaces of a running lab.
    pub(crate) fn find(lab: &RunFolder) -> Option<Self> {
        let holder = process::recorded(lab, HOLDER)?;
        let found = Self { holder };
        found.path(READY).exists().then_some(found)
    }

    /// Makes the namespaces, with a bridge that the clusters share.
    pub(crate) fn create(lab: &RunFolder) -> Result<Self> {
        let holder = process::ensure(lab, HOLDER, || {
            let mut unshare = Command::new("unshare");
            unshare.args(["--net", "--mount", "--propagation", "private"]);
            unshare.args(["sleep", "infinity"]);
            unshare
        })?;
        let made = Self { holder };
        wait_for(QUICK, "the lab's namespaces", || {
            let line = fs::read(format!("/proc/{}/cmdline", holder.pid)).unwrap_or_default();
            if line.starts_with(b"sleep") {
                Ok(())
            } else {
                Err(process::last_line(&lab.log(HOLDER)))
            }
        })?;
        // Without mtab: it would be written to the machine's /run.
        made.run(&["mount", "--no-mtab", "--make-rshared", "/"])?;
        for folder in COVERED {
            if Path::new(folder).is_dir() {
                made.run(&["mount", "--no-mtab", "-t", "tmpfs", "-o", "mode=0755", "lab", folder])?;
            }
        }
        made.run(&["mkdir", "-p", "/run/netns", "/run/lock", "/run/lab"])?;
        made.write_sysctl("net/ipv4/ip_forward", "1")?;
        // Nodes must not learn a way round the router, whose rules separate the networks.
        made.write_sysctl("net/ipv4/conf/all/send_redirects", "0")?;
        made.write_sysctl("net/ipv4/conf/default/send_redirects", "0")?;
        // What the router forwards it must route, not bridge past its rules.
        made.write_sysctl("net/bridge/bridge-nf-call-iptables", "0")?;
        // A bridge without an address of its own takes the lowest of its ports': with every node
        // that comes it might be another, and the other nodes would lose the router for a minute.
        made.ip("link set lo up\n\
             link add br0 address 02:00:0a:63:00:01 type bridge\n\
             addr add 10.99.0.1/16 dev br0\n\
             link set br0 up\n")?;
        made.run(&["touch", READY])?;
        Ok(made)
    }

    /// A command in both namespaces.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.enter();
        command.args(["--mount", "--"]).arg(program);
        command
    }

    /// A command in the network namespace that sees the files of the caller, but neither its
    /// proxies nor its kubeconfig.
    pub(crate) fn client(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.enter();
        command.arg("--").arg(program);
        command
    }

    /// A command in the network namespace of a node.
    pub(crate) fn node(self, node: &str, program: impl AsRef<OsStr>) -> Command {
        // Not by `ip netns exec`, which mounts another /sys that hides the control groups.
        let mut command = self.command("nsenter");
        command.arg(format!("--net=/run/netns/{node}")).arg("--").arg(program);
        command
    }

    /// A file as the processes of the lab see it, for the caller.
    pub(crate) fn path(self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.holder.pid)).join(path.trim_start_matches('/'))
    }

    /// The network namespace, as a file.
    #[cfg(feature = "faults")]
    pub(crate) fn network(self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.holder.pid))
    }

    /// Runs a short command in both namespaces.
    pub(crate) fn run(self, words: &[&str]) -> Result<String> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(Error::Refused("an empty command".into()));
        };
        run(self.command(program).args(arguments), QUICK)
    }

    /// Runs commands of `ip`, one a line.
    pub(crate) fn ip(self, commands: &str) -> Result<()> {
        let mut ip = self.command("ip");
        run_with(ip.args(["-batch", "-"]), Some(commands), QUICK)?;
        Ok(())
    }

    fn write_sysctl(self, name: &str, value: &str) -> Result<()> {
        write_sysctl(&mut self.command("tee"), name, value)
    }

    fn enter(self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.holder.pid)).arg("--net");
        for name in MISLEADING {
            command.env_remove(name);
        }
        command
    }
}

/// Sets a setting of a network namespace by a `tee` in it: `/proc/sys/net` shows the namespace
/// of the process that opens it.
pub(crate) fn write_sysctl(tee: &mut Command, name: &str, value: &str) -> Result<()> {
    run_with(tee.arg(format!("/proc/sys/{name}")), Some(value), QUICK)?;
    Ok(())
}
