//! Kills a run at a point of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use multimesh_lab::faults::{Fault, FaultProxy, Seen, Tally};

use super::front::Fronted;

/// How long a run may take that is killed in the middle.
const LIMIT: Duration = Duration::from_secs(120);

/// How often the mesh directory is looked at: a file takes longer to be written.
const GLANCE: Duration = Duration::from_micros(200);

/// Where a run is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Point {
    /// At that request of all, which does not reach the API server, or does.
    Request { number: usize, lands: bool },
    /// At that write of all.
    Write { number: usize, lands: bool },
    /// After that many changes in the mesh directory.
    File { changes: usize },
}

impl Point {
    /// A point that comes earlier, for a run that ended before this one.
    pub(crate) fn earlier(self) -> Self {
        let less = |number: usize| (number * 3 / 4).max(1);
        match self {
            Self::Request { number, lands } => Self::Request { number: less(number), lands },
            Self::Write { number, lands } => Self::Write { number: less(number), lands },
            Self::File { changes } => Self::File { changes: less(changes) },
        }
    }
}

/// How long an undisturbed run is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length {
    requests: usize,
    writes: usize,
    changes: usize,
}

impl Length {
    /// A point of the run. As many of them as are wanted are spread evenly over all of it.
    pub(crate) fn point(self, index: usize) -> Point {
        // The golden ratio comes near no part twice.
        let part = (index * 618 + 500) % 1000;
        let spread = |all: usize| 1 + (all - 1) * part / 999;
        let lands = (index / 4).is_multiple_of(2);
        match index % 4 {
            0 => Point::Write { number: spread(self.writes), lands },
            1 => Point::Request { number: spread(self.requests), lands },
            2 => Point::Write { number: spread(self.writes), lands: !lands },
            _ => Point::File { changes: spread(self.changes) },
        }
    }
}

type Victim = Arc<Mutex<Option<Child>>>;

fn kill(victim: &Victim) {
    // One that has ended already is not killed, and that is seen by its status.
    let _ = victim.lock().unwrap().as_mut().unwrap().kill();
}

/// Starts the tool, and kills it at a point; gives how the run ended that ended before.
pub(crate) fn kill_at(fronted: &Fronted, words: &[&str], point: Point) -> Result<(), ExitStatus> {
    let reached = Arc::new(AtomicUsize::new(0));
    let strike = move |_: usize, seen: &Seen| {
        let (number, lands) = match point {
            Point::Request { number, lands } => (number, lands),
            Point::Write { number, lands } if seen.is_write() => (number, lands),
            Point::Write { .. } | Point::File { .. } => return Blow::Miss(None),
        };
        if reached.fetch_add(1, Ordering::SeqCst) + 1 != number {
            return Blow::Miss(None);
        }
        Blow::Hit((!lands).then_some(Fault::Reset))
    };
    let changes = match point {
        Point::File { changes } => changes,
        Point::Request { .. } | Point::Write { .. } => usize::MAX,
    };
    kill_when(fronted, words, strike, changes)
}

/// What becomes of a request, and of the run that made it.
pub(crate) enum Blow {
    /// The run goes on.
    Miss(Option<Fault>),
    /// It is killed.
    Hit(Option<Fault>),
}

/// Starts the tool, and kills it at a request for which `strike` says so, which is told the number
/// of its plane; or after so many changes in the mesh directory.
pub(crate) fn kill_when(
    fronted: &Fronted,
    words: &[&str],
    strike: impl Fn(usize, &Seen) -> Blow + Send + Clone + 'static,
    changes: usize,
) -> Result<(), ExitStatus> {
    let victim = Victim::default();
    for (plane, proxy) in fronted.proxies.iter().enumerate() {
        let (victim, strike) = (Arc::clone(&victim), strike.clone());
        proxy.observe(move |seen| match strike(plane, seen) {
            Blow::Miss(fault) => fault,
            Blow::Hit(fault) => {
                kill(&victim);
                fault
            }
        });
    }
    let mut seen = Changes::of(&fronted.mesh("m"));
    {
        // Taken, so that a request that comes at once waits until there is somebody to kill.
        let mut slot = victim.lock().unwrap();
        *slot = Some(start(fronted, words));
    }
    let end = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = victim.lock().unwrap().as_mut().unwrap().try_wait().unwrap() {
            break status;
        }
        if Instant::now() >= end {
            kill(&victim);
            panic!("{words:?} goes on for {LIMIT:?}");
        }
        if changes == usize::MAX {
            thread::sleep(Duration::from_millis(5));
        } else if seen.look() >= changes {
            kill(&victim);
        } else {
            thread::sleep(GLANCE);
        }
    };
    fronted.proxies.iter().for_each(FaultProxy::clear);
    if status.signal() == Some(9) { Ok(()) } else { Err(status) }
}

fn start(fronted: &Fronted, words: &[&str]) -> Child {
    let mut command = fronted.command(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Runs the tool undisturbed and measures how long the run is.
pub(crate) fn measure(fronted: &Fronted, words: &[&str]) -> Length {
    let sum = |tallies: Vec<Tally>| {
        let all = tallies.iter().map(Tally::all).sum::<usize>();
        (all, tallies.iter().map(|tally| tally.writes).sum::<usize>())
    };
    let before = sum(fronted.tallies());
    let mut changes = Changes::of(&fronted.mesh("m"));
    let mut child = start(fronted, words);
    let status = loop {
        changes.look();
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        thread::sleep(GLANCE);
    };
    assert_eq!(status.code(), Some(0), "{words:?} undisturbed");
    let after = sum(fronted.tallies());
    Length {
        requests: after.0 - before.0,
        writes: after.1 - before.1,
        changes: changes.count.max(1),
    }
}

/// The changes of a directory as somebody sees them who looks all the time.
struct Changes {
    dir: PathBuf,
    last: BTreeMap<PathBuf, (u64, SystemTime)>,
    count: usize,
}

impl Changes {
    fn of(dir: &Path) -> Self {
        let mut last = BTreeMap::new();
        list(dir, &mut last);
        Self { dir: dir.to_owned(), last, count: 0 }
    }

    fn look(&mut self) -> usize {
        let mut now = BTreeMap::new();
        list(&self.dir, &mut now);
        self.count += usize::from(now != self.last);
        self.last = now;
        self.count
    }
}

/// Everything below a directory but the lock, with length and time. What goes meanwhile is not in it.
fn list(dir: &Path, into: &mut BTreeMap<PathBuf, (u64, SystemTime)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if entry.file_name() == ".lock" {
            continue;
        }
        if metadata.is_dir() {
            list(&entry.path(), into);
        }
        let time = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        into.insert(entry.path(), (metadata.len(), time));
    }
}
