//! The archives that `cargo xtask dist` left, and the digest of what they were packaged from.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::manifest::{Digests, Origin};
use super::rules::is_digest;
use crate::dist::sums;
use crate::dist::targets::TARGETS;
use crate::say::root;

/// What goes into an archive, and what makes it.
const SOURCES: [&str; 6] =
    ["Cargo.lock", "Cargo.toml", "LICENSE", "rust-toolchain.toml", "src", "xtask/src/dist"];

/// The folder of the archives.
pub(super) fn folder() -> PathBuf {
    root().join("target/dist")
}

/// The digests of the archives in a folder.
pub(super) fn digests(folder: &Path) -> Result<Digests, String> {
    let mut digests = Digests::new();
    for target in TARGETS {
        let path = folder.join(target.archive());
        match fs::read(&path) {
            Ok(bytes) => {
                digests.insert(target.archive(), (sums::digest(&bytes), Origin::Archive));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
    Ok(digests)
}

/// Adds the digests of a list as sha256sum writes it, for archives that are not here. One that is
/// here has to have the digest that the list tells.
pub(super) fn add(digests: &mut Digests, list: &str) -> Result<(), String> {
    for line in list.lines().filter(|line| !line.trim().is_empty()) {
        let pair = line.split_once(char::is_whitespace);
        let Some((digest, name)) = pair.filter(|(digest, _)| is_digest(digest)) else {
            return Err(format!("`{line}` is not a line of sha256sum"));
        };
        let name = name.trim_start().trim_start_matches('*');
        if TARGETS.iter().all(|it| it.archive() != name) {
            continue;
        }
        match digests.get(name) {
            Some((here, _)) if here != digest => {
                return Err(format!(
                    "the archive {name} has the digest {here}, but the list says {digest}"
                ));
            }
            Some(_) => {}
            None => {
                digests.insert(name.to_owned(), (digest.to_owned(), Origin::List));
            }
        }
    }
    Ok(())
}

/// The digest of the files that archives are made of.
pub(super) fn source() -> Result<String, String> {
    let mut files = Vec::new();
    for name in SOURCES {
        collect(&root().join(name), &mut files)?;
    }
    files.sort();
    let mut list = String::new();
    for path in files {
        let text = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let name = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        list.extend([name.as_str(), " ", &sums::digest(&text), "\n"]);
    }
    Ok(sums::digest(list.as_bytes()))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let at = |e: io::Error| format!("{}: {e}", path.display());
    if path.is_file() {
        files.push(path.to_owned());
    } else if path.is_dir() {
        for entry in fs::read_dir(path).map_err(at)? {
            collect(&entry.map_err(at)?.path(), files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_of_the_archives_themselves() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = TARGETS[0].archive();
        fs::write(folder.path().join(&name), "abc").expect("an archive");
        let found = digests(folder.path()).expect("digests");
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(found[&name], (digest.to_owned(), Origin::Archive));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_list_fills_gaps_and_contradicts_nothing() {
        let (here, away) = (TARGETS[0].archive(), TARGETS[2].archive());
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let mut digests = Digests::from([(here.clone(), (one.clone(), Origin::Archive))]);
        let list = format!("{one}  {here}\n{two} *{away}\n{two}  something-else.json\n");
        add(&mut digests, &list).expect("a list");
        assert_eq!(digests[&here], (one, Origin::Archive));
        assert_eq!(digests[&away], (two.clone(), Origin::List));
        assert_eq!(digests.len(), 2);
        let error = add(&mut digests, &format!("{two}  {here}\n")).expect_err("another digest");
        assert!(error.contains("but the list says"), "{error}");
        add(&mut digests, "not a digest\n").expect_err("not a list");
    }
}
