//! Processes of a lab: told apart for certain, started once, found again.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::command::wait_for;
use crate::error::{Doing as _, Error, Result};
use crate::home::RunFolder;

/// Marks the processes of a lab, and what they start, with the run folder.
const MARK: &str = "MULTIMESH_LAB_RUN";

/// One process, not to be confused with a later one that got the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    start: u64,
}

impl Process {
    /// The running process of that number; one that ended but was not yet collected is none.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, start) = state_and_start_time(&line)?;
        // The first thread may end before the others, which still hold its ports.
        let threads = || fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        let over = matches!(state, "Z" | "X") && threads() < 2;
        (!over).then_some(Self { pid, start })
    }

    pub(crate) fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends a signal; a process that is gone already is no error.
    pub(crate) fn signal(self, signal: Signal) -> Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(());
        };
        // The descriptor stays with this process whatever happens to its number.
        let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else {
            return Ok(());
        };
        if !self.alive() {
            return Ok(());
        }
        match pidfd_send_signal(descriptor, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).doing(|| format!("signal process {}", self.pid)),
        }
    }

    /// Ends the process at once and waits until it is gone.
    pub(crate) fn kill(self) -> Result<()> {
        self.signal(Signal::KILL)?;
        let what = format!("process {} to end", self.pid);
        wait_for(Duration::from_secs(10), &what, || {
            if self.alive() { Err("it is still there".to_owned()) } else { Ok(()) }
        })
    }

    /// Whether the process accepts connections at a port, in its own network namespace.
    pub(crate) fn sees_listener(self, port: u16) -> bool {
        ["tcp", "tcp6"].iter().any(|table| {
            fs::read_to_string(format!("/proc/{}/net/{table}", self.pid))
                .is_ok_and(|text| listens(&text, port))
        })
    }

    fn namespace(self, kind: &str) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/ns/{kind}", self.pid)).ok()
    }
}

/// The state and the start time from a line of `/proc/PID/stat`.
fn state_and_start_time(stat: &str) -> Option<(&str, u64)> {
    // The name in parentheses may itself contain blanks and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Whether a table as in `/proc/net/tcp` has a listening socket at that port.
fn listens(table: &str, port: u16) -> bool {
    let suffix = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&suffix)) && fields.nth(1) == Some("0A")
    })
}

/// The recorded process of that name, if it still runs.
pub(crate) fn recorded(run: &RunFolder, name: &str) -> Option<Process> {
    let text = fs::read_to_string(run.pid(name)).ok()?;
    let (pid, start) = text.trim().split_once(' ')?;
    let process = Process { pid: pid.parse().ok()?, start: start.parse().ok()? };
    process.alive().then_some(process)
}

/// Starts a daemon under a name, unless it runs. Its output goes to a log file of that name.
pub(crate) fn ensure(
    run: &RunFolder,
    name: &str,
    command: impl FnOnce() -> Command,
) -> Result<Process> {
    if let Some(process) = recorded(run, name) {
        return Ok(process);
    }
    let (log, pid) = (run.log(name), run.pid(name));
    for path in [&log, &pid] {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).at("create", parent)?;
        }
    }
    let output = File::options().create(true).append(true).open(&log).at("open", &log)?;
    let errors = output.try_clone().at("share", &log)?;
    let inner = command();
    // A session of its own: no Ctrl-C of the terminal reaches it.
    let mut daemon = Command::new("setsid");
    daemon
        .arg(inner.get_program())
        .args(inner.get_args())
        // A proxy or a kubeconfig of the caller's environment must not reach a cluster.
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", run.path())
        .envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))))
        .env(MARK, run.path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    let mut child = daemon.spawn().doing(|| format!("start {name}"))?;
    let id = i32::try_from(child.id()).unwrap_or(i32::MAX);
    if let Some(process) = Process::of(id) {
        fs::write(&pid, format!("{} {}\n", process.pid, process.start)).at("write", &pid)?;
    }
    // Collects the process when it ends during the life of this one.
    thread::spawn(move || child.wait());
    recorded(run, name)
        .ok_or_else(|| Error::Program { program: name.to_owned(), output: last_line(&log) })
}

/// Where the programs of the Debian packages are.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The end of a log file, for messages.
pub(crate) fn last_line(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{} ends with: {}", log.display(), line.trim()),
        None => format!("{} is empty", log.display()),
    }
}

/// All processes of the lab, recorded or not, except the caller's own line of ancestors.
pub(crate) fn members(run: &RunFolder) -> Vec<Process> {
    let everything: Vec<_> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Process::of)
        .collect();
    let mark = [MARK.as_bytes(), b"=", run.path().as_os_str().as_encoded_bytes()].concat();
    let marked: HashSet<_> = everything
        .iter()
        .copied()
        .filter(|process| {
            fs::read(format!("/proc/{}/environ", process.pid))
                .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|it| it == mark))
        })
        .collect();
    // A namespace is the lab's if a marked process is in it and the caller is not.
    let kinds = ["net", "mnt"];
    let outside: HashSet<_> = Process::of(own_pid())
        .into_iter()
        .chain(Process::of(1))
        .flat_map(|process| kinds.map(|kind| process.namespace(kind)))
        .collect();
    let inside: HashSet<_> = marked
        .iter()
        .flat_map(|process| kinds.map(|kind| process.namespace(kind)))
        .filter(|namespace| namespace.is_some() && !outside.contains(namespace))
        .collect();
    let grouped: HashSet<_> = crate::cgroup::processes(run).into_iter().collect();
    let spared = ancestors();
    everything
        .into_iter()
        .filter(|process| {
            !spared.contains(&process.pid)
                && (marked.contains(process)
                    || grouped.contains(&process.pid)
                    || kinds.iter().any(|kind| inside.contains(&process.namespace(kind))))
        })
        .collect()
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(i32::MAX)
}

fn ancestors() -> HashSet<i32> {
    let parent = |pid: i32| -> Option<i32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_whitespace().nth(1)?.parse().ok()
    };
    let line = std::iter::successors(Some(own_pid()), |pid| parent(*pid).filter(|it| *it > 0));
    line.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_survives_odd_names() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4 0 0 0 0 1 2 3 4 20 0 1 0 4711 9 9";
        assert_eq!(state_and_start_time(stat), Some(("S", 4711)));
        assert_eq!(state_and_start_time("nonsense"), None);
    }

    #[test]
    fn this_process_is_alive_and_spared() {
        let own = Process::of(own_pid()).expect("this process");
        assert!(own.alive());
        assert!(ancestors().contains(&own.pid));
        let earlier = Process { start: own.start + 1, ..own };
        assert!(!earlier.alive());
    }

    #[test]
    fn listening_sockets_are_seen() {
        let table = "  sl  local_address rem_address   st tx_queue\n   \
                     0: 0100007F:3039 00000000:0000 0A 00000000:00000000\n   \
                     1: 0100007F:1F90 0100007F:3039 01 00000000:00000000\n";
        assert!(listens(table, 12345));
        assert!(!listens(table, 8080));
        assert!(!listens(table, 80));
    }
}
