//! The Debian packages that a node of the lab is made of, and one by which tests set a clock.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command;
use crate::error::Result;
use crate::process::PATH;

/// A package and a program or file by which it is known to be there.
const PACKAGES: [(&str, &str); 9] = [
    ("busybox-static", "busybox"),
    ("containerd", "containerd"),
    ("containerd", "ctr"),
    ("containernetworking-plugins", "/usr/lib/cni/bridge"),
    ("faketime", "faketime"),
    ("iproute2", "ip"),
    ("iptables", "iptables-legacy"),
    ("runc", "runc"),
    ("util-linux", "nsenter"),
];

/// Finds a program in the folders of the system.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    if program.starts_with('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    let mut folders = PATH.split(':');
    folders.find_map(|folder| Some(Path::new(folder).join(program)).filter(|path| path.is_file()))
}

/// The packages that are not installed.
pub(crate) fn missing() -> Vec<&'static str> {
    let mut missing: Vec<_> = PACKAGES
        .iter()
        .filter(|(_, program)| find(program).is_none())
        .map(|(package, _)| *package)
        .collect();
    missing.dedup();
    missing
}

/// Whether packages can be installed here at all.
pub(crate) fn installable() -> bool {
    find("apt-get").is_some()
}

/// Installs what is missing, with apt.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let apt = |arguments: &[&str]| {
        command::run(
            Command::new("apt-get")
                .arg("--quiet=2")
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive"),
            Duration::from_secs(600),
        )
    };
    apt(&["update"])?;
    let install = ["install", "--yes", "--no-install-recommends"];
    apt(&[&install, packages].concat())?;
    Ok(())
}
