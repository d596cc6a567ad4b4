//! The folder of a release: what is in it was made of one source.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::sums;
use super::texts::read;
use crate::say::root;

/// The file that tells the digest of the source.
const SOURCE: &str = "SOURCE";
const SUMS: &str = "SHA256SUMS";
/// How the names of archives and of the bill of materials begin.
const OURS: &str = "kubectl-multimesh_";

/// Where `cargo xtask dist` puts everything.
pub(crate) fn usual() -> PathBuf {
    root().join("target/dist")
}

/// The digest of the source that a folder's archives were made of, if it has any.
pub(crate) fn source(folder: &Path) -> Result<Option<String>, String> {
    match fs::read_to_string(folder.join(SOURCE)) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", folder.join(SOURCE).display())),
    }
}

/// Makes a folder ready for what is made of a source; what was made of another one is removed.
pub(super) fn open(folder: &Path, digest: &str) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|e| format!("{} cannot be made: {e}", folder.display()))?;
    if source(folder)?.is_none_or(|it| it != digest) {
        for name in names(folder)? {
            let path = folder.join(name);
            fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        write(folder, SOURCE, format!("{digest}\n").as_bytes())?;
    }
    Ok(())
}

/// Writes a file into it.
pub(super) fn write(folder: &Path, name: &str, content: &[u8]) -> Result<(), String> {
    let path = folder.join(name);
    fs::write(&path, content).map_err(|e| format!("{} cannot be written: {e}", path.display()))
}

/// Writes `SHA256SUMS` of all that is in it.
pub(super) fn sum(folder: &Path) -> Result<(), String> {
    let mut list = Vec::new();
    for name in names(folder)? {
        let digest = sums::digest(&read(&folder.join(&name))?);
        list.push((name, digest));
    }
    write(folder, SUMS, sums::list(&list).as_bytes())
}

fn names(folder: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let names = entries.map(|entry| entry.map(|it| it.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<std::io::Result<Vec<_>>>().map_err(|e| e.to_string())?;
    Ok(names.into_iter().filter(|name| name.starts_with(OURS)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_of_another_source_do_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("dist");
        open(&folder, "one").unwrap();
        write(&folder, "kubectl-multimesh_a", b"abc").unwrap();
        write(&folder, "somebody's", b"").unwrap();
        open(&folder, "one").unwrap();
        sum(&folder).unwrap();
        let list = fs::read_to_string(folder.join(SUMS)).unwrap();
        assert!(
            list.starts_with("ba7816bf") && list.ends_with("  kubectl-multimesh_a\n"),
            "{list}"
        );
        open(&folder, "two").unwrap();
        sum(&folder).unwrap();
        assert_eq!(fs::read_to_string(folder.join(SUMS)).unwrap(), "");
        assert_eq!(source(&folder), Ok(Some("two".into())));
        assert!(folder.join("somebody's").exists());
    }
}
