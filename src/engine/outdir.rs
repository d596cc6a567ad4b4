//! The folder that a render fills: files of an earlier render are replaced, files of anybody else
//! are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::Failure;
use crate::files;
use crate::kube::quote;
use crate::plan::folder::{KUSTOMIZATION, SECRETS, is_marked};

/// The content of a file.
pub(super) enum Content {
    /// For everybody who may read the folder.
    Shared(String),
    /// For its owner alone.
    Private(Zeroizing<String>),
}

impl Content {
    fn text(&self) -> &str {
        match self {
            Self::Shared(text) => text,
            Self::Private(text) => text,
        }
    }
}

/// What became of the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files that are new or changed.
    pub written: usize,
    /// Files that were as they should be.
    pub unchanged: usize,
    /// Files of an earlier render that nothing wants any more.
    pub removed: usize,
}

/// The folder.
pub(super) struct OutDir<'a> {
    dir: &'a Path,
    mesh_id: &'a str,
}

impl<'a> OutDir<'a> {
    /// The folder for the files of a mesh; nothing is touched yet. `mesh` is the mesh directory,
    /// which may be neither around nor inside any of these folders for a cluster.
    pub(super) fn new<'b>(
        dir: &'a Path,
        mesh_id: &'a str,
        mesh: &Path,
        mut clusters: impl Iterator<Item = &'b str>,
    ) -> Result<Self, Failure> {
        let (real, mesh_real) = (real(dir), real(mesh));
        let around = |cluster| mesh_real.starts_with(real.join(cluster));
        if real.starts_with(&mesh_real) || clusters.any(around) {
            return Err(Failure::usage(format!(
                "the files of a render do not go into the mesh directory `{}`, which holds the keys of the mesh",
                mesh.display()
            ))
            .hint("name a folder elsewhere: `--out <folder>`"));
        }
        Ok(Self { dir, mesh_id })
    }

    /// Refuses if any of these files is there and was not made by a render of this mesh.
    pub(super) fn check<'b>(&self, paths: impl Iterator<Item = &'b String>) -> Result<(), Failure> {
        let mut foreign = Vec::new();
        for path in paths {
            let path = self.dir.join(path);
            if path.symlink_metadata().is_ok() && !self.is_ours(&path)? {
                foreign.push(path);
            }
        }
        let Some(first) = foreign.first() else { return Ok(()) };
        let list: Vec<String> =
            foreign.iter().take(5).map(|path| format!("\n  `{}`", path.display())).collect();
        let more = foreign.len().saturating_sub(list.len());
        let more = if more == 0 { String::new() } else { format!("\n  and {more} more") };
        Err(Failure::new(format!(
            "nothing was written, because files are in the way that no render of the mesh `{}` made:{}{more}",
            self.mesh_id,
            list.concat()
        ))
        .hint("name another folder: `--out <folder>`")
        .hint(format!(
            "or, if nobody needs them, move them away: `mv {0} {0}.old`",
            quote(&first.to_string_lossy())
        )))
    }

    /// Writes the files that differ from what is there.
    pub(super) fn write(
        &self,
        files: &BTreeMap<String, Content>,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        for (path, content) in files {
            let path = self.dir.join(path);
            let private = matches!(content, Content::Private(_));
            let there = fs::read_to_string(&path).map(Zeroizing::new);
            let same = there.is_ok_and(|there| there.as_str() == content.text());
            if same && !(private && is_open(&path)) {
                tally.unchanged += 1;
                continue;
            }
            let write = if private { files::write_private } else { files::write_shared };
            write(&path, content.text()).map_err(unwritten)?;
            tally.written += 1;
        }
        Ok(())
    }

    /// Makes a folder for secrets, which is its owner's alone. A checkout of git may have made it
    /// for everybody.
    pub(super) fn make_private(&self, folder: &str) -> Result<(), Failure> {
        let path = self.dir.join(folder);
        if let Some(above) = path.parent() {
            let failed = |error| unwritten(files::write_error(above, &error));
            fs::create_dir_all(above).map_err(failed)?;
        }
        files::create_private_dir(&path).map_err(unwritten)?;
        #[cfg(unix)]
        if is_open(&path) {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            fs::set_permissions(&path, mode).map_err(|error| files::write_error(&path, &error))?;
        }
        Ok(())
    }

    /// The names of the files that a render of this mesh left in a folder.
    pub(super) fn ours(&self, folder: &str) -> Result<BTreeSet<String>, Failure> {
        let dir = self.dir.join(folder);
        let mut names = BTreeSet::new();
        for (name, path) in entries(&dir)? {
            if path.is_file() && self.is_ours(&path)? {
                names.insert(name);
            }
        }
        Ok(names)
    }

    /// The folders of clusters that a render of this mesh made.
    pub(super) fn clusters(&self) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        for (name, path) in entries(self.dir)? {
            let lists = [path.join(KUSTOMIZATION), path.join(SECRETS).join(KUSTOMIZATION)];
            if self.is_ours(&lists[0])? || self.is_ours(&lists[1])? {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Removes from a folder what a render of this mesh left there but for what `stays`, and the
    /// folder where nothing else is in it.
    pub(super) fn clear(
        &self,
        folder: &str,
        stays: impl Fn(&str) -> bool,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let dir = self.dir.join(folder);
        if !dir.is_dir() {
            return Ok(());
        }
        files::sweep(&dir)?;
        for name in self.ours(folder)?.iter().filter(|name| !stays(name)) {
            let path = dir.join(name);
            fs::remove_file(&path).map_err(|error| files::write_error(&path, &error))?;
            tally.removed += 1;
        }
        // One that holds something stays.
        let _ = fs::remove_dir(&dir);
        Ok(())
    }

    fn is_ours(&self, path: &Path) -> Result<bool, Failure> {
        match fs::read(path).map(Zeroizing::new) {
            Ok(bytes) => {
                let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
                Ok(is_marked(&String::from_utf8_lossy(line), self.mesh_id))
            }
            Err(_) if path.is_dir() || !path.exists() => Ok(false),
            Err(error) => Err(files::read_error(path, &error).into()),
        }
    }
}

/// Why a file of a render could not be written: the mesh's own files are not at fault.
fn unwritten(error: files::Error) -> Failure {
    use files::Cause::{Missing, NotADirectory, Permission, ReadOnly};
    let elsewhere = matches!(
        &error,
        files::Error::Write { cause: Missing | NotADirectory | Permission | ReadOnly, .. }
    );
    let mut failure = Failure::from(error);
    if elsewhere {
        failure.hints = vec!["name a folder that you may write to: `--out <folder>`".to_owned()];
    }
    failure
}

/// What is in a folder, in order; nothing where there is none.
fn entries(dir: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(files::read_error(dir, &error).into()),
    };
    let named = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name, entry.path()))
    });
    Ok(named.collect())
}

/// Whether others than its owner may read a file or enter a folder.
fn is_open(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

/// A path without links and dots, though it need not be there.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut real = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                real.pop();
            }
            part => real.push(part),
        }
        if let Ok(found) = real.canonicalize() {
            real = found;
        }
    }
    real
}
