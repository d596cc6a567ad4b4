//! Files that only their owner may read: private directories, atomic writes, and the lock of a
//! mesh directory.
//!
//! Every file that the tool writes goes through here. A reader sees the old content or the new one,
//! never a part; a file is readable by its owner alone from the moment it exists, unless it is meant
//! for others too.

mod lock;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

pub use lock::{Holder, Lock, host};

/// The largest file that is read, in bytes; a device or a pipe without an end is refused there.
const MAX_BYTES: u64 = 16 << 20;

/// What can go wrong with a local file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory exists but cannot be read.
    #[error("cannot read `{}`: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: Cause,
    },
    /// A file or directory cannot be written, created, renamed or removed.
    #[error("cannot write `{}`: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: Cause,
    },
    /// Another process holds the lock of the directory.
    #[error("`{}` is in use by {}", dir.display(), Holder::describe(holder.as_ref()))]
    Locked {
        /// The locked directory.
        dir: PathBuf,
        /// Who holds it, where that could be read.
        holder: Option<Holder>,
    },
}

/// Why an operation on a file failed, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The file system is mounted read-only.
    ReadOnly,
    /// The device is full, or the user's quota on it.
    NoSpace,
    /// The user may not do this.
    Permission,
    /// The file, or a directory above it, does not exist.
    Missing,
    /// A directory was expected and something else is there.
    NotADirectory,
    /// A file was expected and a directory is there.
    IsADirectory,
    /// The content is not UTF-8 text.
    NotText,
    /// The file is larger than 16 MiB, or than the file system takes.
    TooLarge,
    /// Anything else, as the operating system says it.
    Other(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "the file system is read-only",
            Self::NoSpace => "no space is left on the device",
            Self::Permission => "permission denied",
            Self::Missing => "no such file or directory",
            Self::NotADirectory => "a part of the path is not a directory",
            Self::IsADirectory => "it is a directory",
            Self::NotText => "it is not text (UTF-8)",
            Self::TooLarge => "the file is too large",
            Self::Other(text) => text,
        })
    }
}

impl From<&io::Error> for Cause {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            io::ErrorKind::PermissionDenied => Self::Permission,
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::NotADirectory => Self::NotADirectory,
            io::ErrorKind::IsADirectory => Self::IsADirectory,
            io::ErrorKind::InvalidData => Self::NotText,
            io::ErrorKind::FileTooLarge => Self::TooLarge,
            _ => {
                let text = error.to_string();
                Self::Other(text.split(" (os error").next().unwrap_or(&text).to_owned())
            }
        }
    }
}

/// Starts a program, and tries again for a second while its file is being written: another thread
/// that forks at that moment holds the file open (`ETXTBSY`).
pub fn start_when_written<T>(mut spawn: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(1);
    loop {
        match spawn() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy
                    && std::time::Instant::now() < end =>
            {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

/// Reads a text file; `None` when it does not exist.
///
/// # Errors
/// [`Error::Read`] for every other failure, content that is not UTF-8 included.
pub fn read(path: &Path) -> Result<Option<String>, Error> {
    let text = read_bytes(path).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    });
    match text {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(read_error(path, &error)),
    }
}

/// Reads a file that is not larger than any file of a user reasonably is.
pub(crate) fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // Room for all of it at once, where the size is known.
    let size = file.metadata().map_or(0, |meta| meta.len()).min(MAX_BYTES);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_BYTES) {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::FileTooLarge.into())
    }
}

/// Writes `content` to `path` so that the file holds all of it or is left as it was, even when the
/// machine loses power. The file gets mode 0600, directories that are missing get 0700. For writers
/// that hold the [`Lock`].
///
/// # Errors
/// [`Error::Write`].
pub fn write_private(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Error> {
    let temporary = prepare(path, content.as_ref(), PRIVATE)?;
    temporary.persist(path).map_err(|error| write_error(path, &error.error))?;
    sync_dir(parent(path))
}

/// Like [`write_private`], but for content that is no secret: the file and directories that are
/// missing get the mode that the user's umask gives.
///
/// # Errors
/// [`Error::Write`].
pub fn write_shared(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Error> {
    let dir = parent(path);
    fs::create_dir_all(dir).map_err(|error| write_error(dir, &error))?;
    let temporary = prepare(path, content.as_ref(), SHARED)?;
    temporary.persist(path).map_err(|error| write_error(path, &error.error))?;
    sync_dir(dir)
}

/// Like [`write_private`], but leaves a file that already exists alone. Says whether it wrote.
///
/// # Errors
/// [`Error::Write`].
pub fn create_private(path: &Path, content: impl AsRef<[u8]>) -> Result<bool, Error> {
    if path.symlink_metadata().is_ok() {
        return Ok(false);
    }
    let temporary = prepare(path, content.as_ref(), PRIVATE)?;
    match temporary.persist_noclobber(path) {
        Ok(_) => sync_dir(parent(path)).map(|()| true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(write_error(path, &error.error)),
    }
}

/// Creates `dir` and what is missing above it with mode 0700. Existing directories stay as they
/// are.
///
/// # Errors
/// [`Error::Write`].
pub fn create_private_dir(dir: &Path) -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::Write { path: dir.to_owned(), cause: Cause::NotADirectory }
        }
        _ => write_error(dir, &error),
    })
}

/// Renames `from` to `to` within one directory and makes that durable.
///
/// # Errors
/// [`Error::Write`] naming `to`.
pub fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|error| write_error(to, &error))?;
    sync_dir(parent(to))
}

/// Removes the temporary files of writers that were killed. For the holder of the [`Lock`].
///
/// # Errors
/// [`Error::Read`] or [`Error::Write`].
pub fn sweep(dir: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(|error| read_error(dir, &error))? {
        let entry = entry.map_err(|error| read_error(dir, &error))?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(TEMPORARY) {
            let path = entry.path();
            fs::remove_file(&path).map_err(|error| write_error(&path, &error))?;
        }
    }
    Ok(())
}

/// The operation `error` happened in, as our error: a failed read of `path`.
pub(crate) fn read_error(path: &Path, error: &io::Error) -> Error {
    Error::Read { path: path.to_owned(), cause: error.into() }
}

/// The operation `error` happened in, as our error: a failed write of `path`.
pub(crate) fn write_error(path: &Path, error: &io::Error) -> Error {
    Error::Write { path: path.to_owned(), cause: error.into() }
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    // Elsewhere a directory cannot be opened like a file, and renames are journalled.
    if cfg!(unix) {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| write_error(dir, &error))?;
    }
    Ok(())
}

/// How the names of temporary files begin; none of the tool's own files begins so.
const TEMPORARY: &str = ".multimesh-writing-";

/// The mode of a file that is its owner's alone.
const PRIVATE: u32 = 0o600;
/// The mode of a file for everybody, before the umask.
const SHARED: u32 = 0o666;

fn prepare(path: &Path, content: &[u8], mode: u32) -> Result<tempfile::NamedTempFile, Error> {
    let dir = parent(path);
    create_private_dir(dir)?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    let mut file =
        builder.prefix(TEMPORARY).tempfile_in(dir).map_err(|error| write_error(path, &error))?;
    file.write_all(content)
        .and_then(|()| file.as_file().sync_all())
        .map_err(|error| write_error(path, &error))?;
    Ok(file)
}

fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// The first file on PATH that has the name of this program.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path).map(|dir| dir.join(&name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    pub(super) fn mode(path: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    pub(super) fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_private_and_so_are_the_directories_made_for_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let path = open.join("a/b/key.pem");

        write_private(&path, "one").unwrap();
        assert_eq!(
            (mode(&path), mode(&open.join("a/b")), mode(&open.join("a"))),
            (0o600, 0o700, 0o700)
        );
        assert_eq!(mode(&open), 0o755, "a directory that was there is left alone");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&path, "two").unwrap();
        assert_eq!((mode(&path), read(&path).unwrap().as_deref()), (0o600, Some("two")));
        assert_eq!(names(&open.join("a/b")), ["key.pem"], "no temporary file stays");
    }

    #[test]
    fn create_leaves_an_existing_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("topology.yaml");
        assert!(create_private(&path, "mine").unwrap());
        assert!(!create_private(&path, "theirs").unwrap());
        assert_eq!(read(&path).unwrap().as_deref(), Some("mine"));
        assert_eq!(names(dir.path()), ["topology.yaml"]);
    }

    #[test]
    fn a_missing_file_is_none_and_an_unreadable_one_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&dir.path().join("nothing")).unwrap(), None);

        let path = dir.path().join("binary");
        fs::write(&path, [0xff, 0xfe]).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert_eq!(error, format!("cannot read `{}`: it is not text (UTF-8)", path.display()));

        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("it is a directory"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_an_end_is_refused() {
        let error = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(error, "cannot read `/dev/zero`: the file is too large");
    }

    #[test]
    fn a_write_that_cannot_work_says_where_and_why() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = write_private(&file.join("below/key.pem"), "x").unwrap_err();
        assert!(matches!(&error, Error::Write { cause: Cause::NotADirectory, .. }), "{error}");
        for (kind, words) in [
            (io::ErrorKind::ReadOnlyFilesystem, "the file system is read-only"),
            (io::ErrorKind::StorageFull, "no space is left on the device"),
            (io::ErrorKind::QuotaExceeded, "no space is left on the device"),
            (io::ErrorKind::PermissionDenied, "permission denied"),
        ] {
            let error = write_error(&file, &kind.into()).to_string();
            assert_eq!(error, format!("cannot write `{}`: {words}", file.display()));
        }
    }
}
