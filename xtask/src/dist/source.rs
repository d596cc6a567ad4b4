//! What the archives are made of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::sums;

/// What goes into an archive, and what makes it.
const SOURCES: [&str; 6] =
    [".cargo", "Cargo.lock", "Cargo.toml", "LICENSE", "src", "xtask/src/dist"];

/// The digest of the files that archives are made of: the same source gives the same archives.
pub(crate) fn digest(root: &Path) -> Result<String, String> {
    let mut files = Vec::new();
    for name in SOURCES {
        collect(&root.join(name), &mut files)?;
    }
    files.sort();
    let mut list = String::new();
    for path in files {
        let text = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        list.extend([name.as_str(), " ", &sums::digest(&text), "\n"]);
    }
    Ok(sums::digest(list.as_bytes()))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let at = |e: io::Error| format!("{}: {e}", path.display());
    if path.is_dir() {
        for entry in fs::read_dir(path).map_err(at)? {
            collect(&entry.map_err(at)?.path(), files)?;
        }
    } else {
        files.push(path.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_in_any_file_makes_another_source() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in SOURCES {
            let path = folder.path().join(name);
            let file = if name.contains('.') && name != ".cargo" || name == "LICENSE" {
                path
            } else {
                path.join("deep/file")
            };
            fs::create_dir_all(file.parent().expect("a parent")).expect("a folder");
            fs::write(file, name).expect("a file");
        }
        let digests = |name: &str| {
            fs::write(folder.path().join(name), "changed").expect("a file");
            digest(folder.path()).expect("a digest")
        };
        let all = ["Cargo.lock", "LICENSE", "src/deep/file", "xtask/src/dist/new"].map(digests);
        let mut each = all.to_vec();
        each.sort();
        each.dedup();
        assert_eq!(each.len(), all.len());
        assert_eq!(digest(folder.path()).as_ref(), Ok(&all[3]));
        fs::remove_file(folder.path().join("LICENSE")).expect("a file");
        assert!(digest(folder.path()).expect_err("a missing file").contains("LICENSE"));
    }
}
