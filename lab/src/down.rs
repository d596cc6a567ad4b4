//! Ends a lab and removes all its traces, whatever state it is in.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::Signal;

use crate::command::wait_for;
use crate::error::{Doing as _, Result};
use crate::home::{Home, RunFolder};
use crate::lab::LOCK;
use crate::state::Member;
use crate::{cgroup, process, sysctl};

/// Ends the lab of that name, also one that broke in the middle of its start, and removes its
/// processes, namespaces, control groups and files. The machine's settings are as before.
pub fn down(name: &str) -> Result<()> {
    let run = Home::find()?.run(name)?;
    let _lock = run.lock(LOCK)?;
    clear(&run)
}

/// What `down` does, for one who holds the lock.
pub(crate) fn clear(run: &RunFolder) -> Result<()> {
    // All at once, and again until nobody is left who could start another.
    wait_for(
        Duration::from_secs(30),
        "the lab's processes to end",
        || {
            let members = process::members(run);
            let Some(first) = members.first() else {
                return Ok(());
            };
            for member in &members {
                member
                    .signal(Signal::KILL)
                    .map_err(|error| error.to_string())?;
            }
            Err(format!("{} are left, one is {}", members.len(), first.pid))
        },
    )?;
    cgroup::remove(run)?;
    sysctl::restore(run)?;
    remove_folder(run)
}

/// Ends the processes of a cluster without a node and removes its files.
pub(crate) fn stop(run: &RunFolder, member: &Member) -> Result<()> {
    for name in ["scheduler", "controllers", "apiserver"] {
        let name = member.process(name);
        if let Some(process) = process::recorded(run, &name) {
            process.kill()?;
        }
        let pid = run.pid(&name);
        fs::remove_file(&pid).or_else(absent).at("remove", &pid)?;
    }
    let folder = run.cluster(member.number);
    fs::remove_dir_all(&folder)
        .or_else(absent)
        .at("remove", &folder)
}

fn remove_folder(run: &RunFolder) -> Result<()> {
    fs::remove_dir_all(run.path())
        .or_else(absent)
        .at("remove", run.path())
}

fn absent(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}
