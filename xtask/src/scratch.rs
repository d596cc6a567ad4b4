//! A temporary folder for tests: what those leave that are interrupted goes with it.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// A folder that goes with the value, with all that is mounted in it.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    /// Makes a new folder.
    pub(crate) fn new() -> io::Result<Self> {
        tempfile::Builder::new().prefix("multimesh-tests-").tempdir().map(Self)
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for point in points.filter(|point| Path::new(point).starts_with(self.path())) {
            // A folder that cannot be removed is left; the next line of the run says nothing of it.
            let _ = Command::new("umount").args(["--lazy", point]).status();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_goes_with_it() {
        let scratch = Scratch::new().expect("a folder");
        let path = scratch.path().to_owned();
        fs::create_dir_all(path.join("a/b")).expect("a folder in it");
        fs::write(path.join("a/b/c"), "left").expect("a file in it");
        drop(scratch);
        assert!(!path.exists());
    }
}
