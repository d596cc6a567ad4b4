//! The lock of a directory, which one process has at a time.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{Error, create_private_dir, private_options, sweep, write_error};
use crate::hex::hex;

/// The process that holds a [`Lock`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// When it took the lock.
    pub since: Timestamp,
    /// The command that it runs, as in `apply`, where it said so.
    pub command: Option<String>,
}

impl Holder {
    pub(super) fn describe(holder: Option<&Self>) -> String {
        holder.map_or_else(
            || "another process".to_owned(),
            |Self { pid, since, command }| {
                let what = command.as_ref().map_or_else(String::new, |c| format!(" (`{c}`)"));
                format!("process {pid}{what}, since {since}")
            },
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let pid = words.next()?.parse().ok()?;
        let since = words.next()?.parse().ok()?;
        let is_command = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        Some(Self { pid, since, command: words.next().filter(is_command).map(str::to_owned) })
    }
}

/// The exclusive lock of a directory, held until it is dropped or the process ends in any way.
#[derive(Debug)]
pub struct Lock {
    file: File,
    dir: PathBuf,
}

/// How often a lock that is waited for is tried.
const TRY: Duration = Duration::from_millis(100);

impl Lock {
    /// Takes the lock of `dir`, which is created if it is missing, and removes what a killed writer
    /// left unfinished in it. Does not wait. `command` is told to others, as in `apply`.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process holds it, [`Error::Write`] when `dir` cannot be
    /// written.
    pub fn acquire(dir: &Path, command: &str) -> Result<Self, Error> {
        create_private_dir(dir)?;
        let path = dir.join(".lock");
        let mut file = private_options()
            .read(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| write_error(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let holder = file.read_to_string(&mut text).ok().and_then(|_| Holder::parse(&text));
                return Err(Error::Locked { dir: dir.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(write_error(&path, &error)),
        }
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        file.set_len(0)
            .and_then(|()| writeln!(file, "{} {now} {command}", std::process::id()))
            .map_err(|error| write_error(&path, &error))?;
        sweep(dir)?;
        Ok(Self { file, dir: dir.to_owned() })
    }

    /// As [`Lock::acquire`], but waits up to `limit` for another process to end; `tell` is called
    /// once with the reason, before the wait. Blocks the thread.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    pub fn wait(
        dir: &Path,
        command: &str,
        limit: Duration,
        tell: impl FnOnce(&Error),
    ) -> Result<Self, Error> {
        let end = Instant::now() + limit;
        let mut tell = Some(tell);
        loop {
            match Self::acquire(dir, command) {
                Err(error @ Error::Locked { .. }) if Instant::now() < end => {
                    if let Some(tell) = tell.take() {
                        tell(&error);
                    }
                    std::thread::sleep(TRY.min(end.saturating_duration_since(Instant::now())));
                }
                result => return result,
            }
        }
    }

    /// What tells the locked directory, on this machine since it was started, from all others, in
    /// hexadecimal. Two runs with the same identity cannot be alive at the same time.
    pub fn identity(&self) -> String {
        let mut digest = Sha256::new();
        let mut add = |text: &str| digest.update(format!("{}:{text}", text.len()));
        add(&host());
        add(&fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default());
        add(&fs::canonicalize(&self.dir).unwrap_or_default().to_string_lossy());
        if let Ok(about) = self.file.metadata() {
            #[cfg(unix)]
            {
                use std::os::unix::fs::MetadataExt as _;
                add(&format!("{} {}", about.dev(), about.ino()));
            }
            // A copy of the directory on another machine was made at another time.
            let made = about.created().ok();
            let made = made.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            add(&made.map_or_else(String::new, |since| since.as_nanos().to_string()));
        }
        hex(&digest.finalize())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The lock goes with the file handle; an old name in the file would only mislead.
        let _ = self.file.rewind().and_then(|()| self.file.set_len(0));
    }
}

/// The name of this machine; empty where it cannot be told.
pub fn host() -> String {
    #[cfg(unix)]
    {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }
    #[cfg(not(unix))]
    {
        std::env::var("COMPUTERNAME").unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::tests::{mode, names};
    use crate::files::{PRIVATE, prepare, write_private};

    #[test]
    fn a_second_locker_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let mesh = dir.path().join("mesh");
        let lock = Lock::acquire(&mesh, "apply").unwrap();
        #[cfg(unix)]
        assert_eq!((mode(&mesh), mode(&mesh.join(".lock"))), (0o700, 0o600));

        match Lock::acquire(&mesh, "apply").unwrap_err() {
            Error::Locked { dir, holder } => {
                assert_eq!(dir, mesh);
                #[cfg(unix)]
                {
                    let holder = holder.unwrap();
                    assert_eq!(holder.pid, std::process::id());
                    assert_eq!(holder.command.as_deref(), Some("apply"));
                }
            }
            other => panic!("{other}"),
        }
        drop(lock);
        Lock::acquire(&mesh, "apply").unwrap();
    }

    #[test]
    fn a_lock_is_waited_for_as_long_as_asked() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::acquire(dir.path(), "apply").unwrap();
        let mut told = false;
        let limit = Duration::from_millis(150);
        let error = Lock::wait(dir.path(), "init", limit, |_| told = true).unwrap_err();
        assert!(matches!(error, Error::Locked { .. }) && told);
        std::thread::scope(|scope| {
            let wait = || Lock::wait(dir.path(), "init", Duration::from_secs(30), |_| drop(held));
            scope.spawn(wait).join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_directory_has_an_identity_of_its_own() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let identity = |dir: &Path| Lock::acquire(dir, "apply").unwrap().identity();
        assert_eq!(identity(one.path()), identity(one.path()));
        assert_ne!(identity(one.path()), identity(other.path()));
    }

    #[test]
    fn a_lock_of_an_earlier_version_names_no_command() {
        let holder = Holder::parse("7 2026-05-01T12:00:00Z").unwrap();
        assert_eq!(Holder::describe(Some(&holder)), "process 7, since 2026-05-01T12:00:00Z");
        let holder = Holder::parse("7 2026-05-01T12:00:00Z apply").unwrap();
        assert_eq!(
            Holder::describe(Some(&holder)),
            "process 7 (`apply`), since 2026-05-01T12:00:00Z"
        );
        assert_eq!(Holder::parse("7 2026-05-01T12:00:00Z \x1b[1m").unwrap().command, None);
    }

    #[test]
    fn taking_the_lock_removes_what_a_killed_writer_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.yaml");
        write_private(&path, "kept").unwrap();
        // What a kill between writing and renaming leaves.
        prepare(&path, b"half", PRIVATE).unwrap().keep().unwrap();
        assert_eq!(names(dir.path()).len(), 2);
        let _lock = Lock::acquire(dir.path(), "apply").unwrap();
        assert_eq!(names(dir.path()), [".lock", "state.yaml"]);
    }
}
