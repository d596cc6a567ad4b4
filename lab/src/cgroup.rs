//! The cgroups below which the nodes' pods run.
//!
//! Seen to work with version 1. For version 2 the lab follows the kubelet's documented settings
//! (a `cgroupRoot` with the controllers enabled on the way to it), but that was not run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::wait_for;
use crate::error::{Doing as _, Error, Result};
use crate::home::RunFolder;
use crate::state::Member;

/// What a kubelet insists on.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "cpuset", "memory", "pids"];
const ROOT: &str = "/sys/fs/cgroup";

/// The mounted hierarchies of control groups.
#[derive(Debug, PartialEq)]
enum Hierarchies {
    /// One folder for each set of controllers.
    V1(Vec<PathBuf>),
    /// One folder for all.
    V2(PathBuf),
}

/// Reads a table as in `/proc/mounts`; an error is a sentence.
fn hierarchies(mounts: &str) -> Result<Hierarchies, String> {
    let mut folders = Vec::new();
    let mut controllers = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(folder), Some(kind), Some(options)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if kind == "cgroup2" && folder == ROOT {
            return Ok(Hierarchies::V2(folder.into()));
        }
        if kind == "cgroup" {
            folders.push(folder.into());
            controllers.extend(options.split(','));
        }
    }
    match CONTROLLERS.iter().find(|it| !controllers.contains(it)) {
        None => Ok(Hierarchies::V1(folders)),
        Some(controller) => Err(format!(
            "the lab needs control groups for its nodes, and the controller {controller} is not \
             mounted below {ROOT}"
        )),
    }
}

fn mounted() -> Result<Hierarchies, String> {
    hierarchies(&fs::read_to_string("/proc/mounts").unwrap_or_default())
}

/// Whether nodes can have control groups here; an error is a sentence.
pub(crate) fn available() -> Result<(), String> {
    let folders = match mounted()? {
        Hierarchies::V1(folders) => folders,
        Hierarchies::V2(folder) => vec![folder],
    };
    for folder in folders {
        if rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK).is_err() {
            return Err(format!(
                "the lab needs control groups for its nodes, and {} is not writable",
                folder.display()
            ));
        }
    }
    Ok(())
}

/// Whether this machine has version 1.
pub(crate) fn is_v1() -> bool {
    matches!(mounted(), Ok(Hierarchies::V1(_)))
}

/// The name of the group of a node.
pub(crate) fn name(run: &RunFolder, member: &Member) -> String {
    format!("{}-{}", run.tag(), member.number)
}

/// Makes the group of a node in every hierarchy.
pub(crate) fn create(run: &RunFolder, member: &Member) -> Result<()> {
    let name = name(run, member);
    match mounted().map_err(Error::Refused)? {
        Hierarchies::V1(folders) => {
            for folder in folders {
                let group = folder.join(&name);
                make(&group)?;
                // A new cpuset group is empty, and takes no process before it is filled.
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    if let Ok(value) = fs::read_to_string(folder.join(file)) {
                        write(&group.join(file), value.trim())?;
                    }
                }
            }
        }
        Hierarchies::V2(folder) => {
            let group = folder.join(&name);
            for parent in [&folder, &group] {
                make(parent)?;
                for controller in ["cpu", "cpuset", "io", "memory", "pids"] {
                    let known = fs::read_to_string(parent.join("cgroup.controllers"));
                    if known.is_ok_and(|it| it.split_whitespace().any(|it| it == controller)) {
                        let control = parent.join("cgroup.subtree_control");
                        write(&control, &format!("+{controller}"))?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// The processes in the lab's groups, wherever in them.
pub(crate) fn processes(run: &RunFolder) -> Vec<i32> {
    let mut found = Vec::new();
    for group in groups(run) {
        visit(&group, &mut |folder| {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        });
    }
    found
}

/// Removes the lab's groups, once their processes are gone.
pub(crate) fn remove(run: &RunFolder) -> Result<()> {
    wait_for(Duration::from_secs(10), "the control groups to go", || {
        let mut failure = None;
        for group in groups(run) {
            visit(&group, &mut |folder| match fs::remove_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    failure = Some(format!("{}: {error}", folder.display()));
                }
                _ => {}
            });
        }
        failure.map_or(Ok(()), Err)
    })
}

/// The topmost groups of the lab in all hierarchies.
fn groups(run: &RunFolder) -> Vec<PathBuf> {
    let prefix = format!("{}-", run.tag());
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let folders = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let folder = fields.next()?;
        fields.next()?.starts_with("cgroup").then_some(folder)
    });
    let entries = folders
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str()?.strip_prefix(&prefix))
                .is_some_and(|number| number.parse::<u8>().is_ok())
        })
        .collect()
}

/// Calls `act` for every folder, the deepest first.
fn visit(folder: &Path, act: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            visit(&entry.path(), act);
        }
    }
    act(folder);
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).at("create the control group", folder)
}

fn write(file: &Path, value: &str) -> Result<()> {
    fs::write(file, value).at("write", file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_told_apart() {
        let v2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        assert_eq!(hierarchies(v2), Ok(Hierarchies::V2(ROOT.into())));
        let v1 = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                  cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n\
                  cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n\
                  cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
                  cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n\
                  cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let Ok(Hierarchies::V1(folders)) = hierarchies(v1) else {
            panic!("version 1 is there");
        };
        assert_eq!(folders.len(), 4);
        let error = hierarchies(&v1.replace(",memory", "")).expect_err("no memory");
        assert!(
            error.contains("the controller memory is not mounted"),
            "{error}"
        );
    }
}
