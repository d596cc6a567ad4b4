//! Where the lab keeps its files: built programs for all labs, a run folder for each.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::{hex, wait_for};
use crate::error::{Doing as _, Error, Result};

/// The folder that holds everything: `builds/` and `run/`.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    path: PathBuf,
}

impl Home {
    /// Finds the folder from the environment.
    pub(crate) fn find() -> Result<Self> {
        let path = variable(VARIABLE)
            .map(PathBuf::from)
            .or_else(|| variable("XDG_CACHE_HOME").map(|it| Path::new(&it).join("multimesh-lab")))
            .or_else(|| variable("HOME").map(|it| Path::new(&it).join(".cache/multimesh-lab")))
            .ok_or_else(|| {
                Error::Refused(
                    "the lab needs a folder: set MULTIMESH_LAB, XDG_CACHE_HOME or HOME".into(),
                )
            })?;
        let path = std::path::absolute(&path).at("resolve", &path)?;
        // The lab covers these folders for its own processes, which could not read their files.
        for covered in COVERED {
            if path.starts_with(covered) {
                return Err(Error::Refused(format!(
                    "the lab cannot live below {covered}: set MULTIMESH_LAB to another folder \
                     than {}",
                    path.display()
                )));
            }
        }
        Ok(Self { path })
    }

    /// The variable from which a process of the lab finds the same folder, wherever it starts.
    pub(crate) fn variable(&self) -> (&'static str, &Path) {
        (VARIABLE, &self.path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn builds(&self) -> PathBuf {
        self.path.join("builds")
    }

    pub(crate) fn run(&self, name: &str) -> Result<RunFolder> {
        check_name(name)?;
        Ok(RunFolder {
            path: self.path.join("run").join(name),
            lock: self.path.join("locks").join(format!("lab-{name}")),
            name: name.to_owned(),
        })
    }

    /// Takes the lock that lets one build run at a time.
    pub(crate) fn lock_builds(&self, limit: Duration) -> Result<File> {
        lock(&self.path.join("locks/builds"), "another build", limit)
    }
}

const VARIABLE: &str = "MULTIMESH_LAB";

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Folders of the machine that processes of the lab see empty, so that nothing is left in them.
pub(crate) const COVERED: [&str; 4] = ["/run", "/var/log", "/var/lib", "/opt"];

/// The files of one lab while it runs.
#[derive(Debug, Clone)]
pub(crate) struct RunFolder {
    path: PathBuf,
    lock: PathBuf,
    name: String,
}

impl RunFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path.join("lab.json")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// Where clients keep what they learn about the API servers. Another lab has other servers at
    /// the same addresses, so it must not outlive this one.
    pub(crate) fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// The file that the cluster DNS reads host names of load balancers from.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.path.join("hosts")
    }

    pub(crate) fn pid(&self, process: &str) -> PathBuf {
        self.path.join("pids").join(process)
    }

    pub(crate) fn log(&self, process: &str) -> PathBuf {
        self.path.join("logs").join(process)
    }

    /// The folder of a cluster.
    pub(crate) fn cluster(&self, number: u8) -> PathBuf {
        self.path.join(format!("c{number}"))
    }

    /// Tells this lab from one of the same name in another home.
    pub(crate) fn tag(&self) -> String {
        let mut hash = hex(self.path.as_os_str().as_encoded_bytes());
        hash.truncate(6);
        format!("multimesh-{}-{hash}", self.name)
    }

    /// Takes the lock under which the lab is changed.
    pub(crate) fn lock(&self, limit: Duration) -> Result<File> {
        let what = format!("another change of the lab `{}`", self.name);
        lock(&self.lock, &what, limit)
    }
}

fn lock(path: &Path, holder: &str, limit: Duration) -> Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).at("create", parent)?;
    }
    let file =
        File::options().create(true).truncate(false).write(true).open(path).at("open", path)?;
    let mut failure = None;
    wait_for(limit, &format!("{holder} to end"), || match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(format!("{} is locked", path.display())),
        Err(TryLockError::Error(error)) => {
            failure = Some(error);
            Ok(())
        }
    })?;
    match failure {
        Some(error) => Err(error).at("lock", path),
        None => Ok(file),
    }
}

/// Refuses a name that could not be part of a file name, a host name and a cgroup name.
fn check_name(name: &str) -> Result<()> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=63).contains(&name.len())
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
    {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "`{name}` cannot be the name of a lab: it takes 1 to 63 lower-case letters, digits and \
         dashes, with no dash at either end"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dns_labels_are_names() {
        for name in ["default", "a", "tests-2", "0"] {
            check_name(name).expect(name);
        }
        let long = "a".repeat(64);
        for name in ["", "-a", "a-", "A", "a.b", "../x", "a/b", "é", &long] {
            let error = check_name(name).expect_err(name);
            assert!(error.to_string().contains("cannot be the name of a lab"));
        }
    }

    #[test]
    fn labs_of_one_name_in_two_homes_differ() {
        let tag = |home: &str| {
            let home = Home { path: home.into() };
            home.run("default").expect("a name").tag()
        };
        assert_ne!(tag("/a"), tag("/b"));
        assert!(tag("/a").starts_with("multimesh-default-"));
    }
}
