//! What was injected and what was lost, for `cargo xtask reliability`.

use std::env;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::json;

/// At how many points a run is interrupted that is interrupted everywhere: a few, or as many as
/// `MULTIMESH_FAULT_POINTS` says.
pub(crate) fn points() -> usize {
    let wanted = env::var("MULTIMESH_FAULT_POINTS").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(2)
}

/// Whether the tests run at length.
pub(crate) fn at_length() -> bool {
    env::var_os("MULTIMESH_FAULT_POINTS").is_some()
}

/// What came of the faults of one kind.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// How often the fault was injected.
    pub(crate) injected: usize,
    /// Runs that finished in spite of it.
    pub(crate) finished: usize,
    /// Runs that ended with it or were killed, and were finished by the next one.
    pub(crate) left: usize,
    /// What was lost or wrong after the run that finished.
    pub(crate) lost: Vec<String>,
}

impl Entry {
    /// What came of one run with a fault: whether it finished, and if it did not, whether the next
    /// one did.
    pub(crate) fn of(injected: usize, finished: bool, next: bool, lost: Vec<String>) -> Self {
        let left = usize::from(!finished && next);
        Self { injected, finished: usize::from(finished), left, lost }
    }

    /// Adds what came of others.
    pub(crate) fn add(&mut self, other: Self) {
        self.injected += other.injected;
        self.finished += other.finished;
        self.left += other.left;
        self.lost.extend(other.lost);
    }

    /// Writes the entry down.
    fn note(&self, fault: &str, command: &str) {
        let Self { injected, finished, left, lost } = self;
        let Some(path) = env::var_os("MULTIMESH_RELIABILITY").map(PathBuf::from) else { return };
        let line = json!({ "fault": fault, "command": command, "injected": injected,
            "finished": finished, "left": left, "lost": lost.len() });
        let file = File::options().create(true).append(true).open(path);
        // In one write: other tests add their lines.
        file.unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// What came of several faults in a command.
pub(crate) struct Book {
    command: &'static str,
    entries: Vec<(&'static str, Entry)>,
}

impl Book {
    /// A book for faults of this command.
    pub(crate) fn new(command: &'static str) -> Self {
        Self { command, entries: Vec::new() }
    }

    /// Adds what came of one of them, and writes it down at once.
    pub(crate) fn add(&mut self, fault: &'static str, entry: Entry) {
        entry.note(fault, self.command);
        match self.entries.iter_mut().find(|(name, _)| *name == fault) {
            Some((_, all)) => all.add(entry),
            None => self.entries.push((fault, entry)),
        }
    }

    /// Fails the test if anything was lost, or a fault was never injected.
    #[track_caller]
    pub(crate) fn close(self) {
        let mut bad = Vec::new();
        for (fault, entry) in &self.entries {
            bad.extend(entry.lost.iter().map(|lost| format!("{fault}: {lost}")));
            if entry.injected == 0 {
                bad.push(format!("{fault} was never injected"));
            }
        }
        assert!(bad.is_empty(), "{}:\n{}", self.command, bad.join("\n"));
    }
}
