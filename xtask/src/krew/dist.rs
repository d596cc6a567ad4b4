//! The archives that `cargo xtask dist` left, and lists of digests.

use std::fs;
use std::io;
use std::path::Path;

use super::manifest::{Digests, Origin};
use super::rules::is_digest;
use crate::dist::archive;
use crate::dist::folder;
use crate::dist::sums;
use crate::dist::targets::TARGETS;

/// What a folder of archives holds.
#[derive(Debug, Default)]
pub(super) struct Archives {
    pub(super) digests: Digests,
    /// The digest of the source that they were made of.
    pub(super) source: Option<String>,
    /// What krew would miss in one.
    pub(super) faults: Vec<String>,
}

/// Reads the archives in a folder.
pub(super) fn look(folder: &Path) -> Result<Archives, String> {
    let mut archives = Archives { source: folder::source(folder)?, ..Archives::default() };
    for target in TARGETS {
        let name = target.archive();
        let bytes = match fs::read(folder.join(&name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{name}: {error}")),
        };
        match archive::paths(&name, &bytes) {
            Ok(paths) => {
                let lacks = |wanted: &&str| !paths.iter().any(|path| path == wanted);
                let missing = ["LICENSE", target.binary()].into_iter().filter(lacks);
                archives.faults.extend(missing.map(|it| format!("{name} has no {it}")));
            }
            Err(error) => archives.faults.push(format!("{name} cannot be unpacked: {error}")),
        }
        archives.digests.insert(name, (sums::digest(&bytes), Origin::Archive));
    }
    if archives.source.is_none() && !archives.digests.is_empty() {
        return Err(format!(
            "{} does not tell what its archives were made of\nhint: make them with `cargo xtask dist`",
            folder.display()
        ));
    }
    Ok(archives)
}

/// Adds the digests of a list as sha256sum writes it, for archives that are not here. One that is
/// here has to have the digest that the list tells, and there has to be one: it shows that both were
/// made of the same source.
pub(super) fn add(digests: &mut Digests, list: &str) -> Result<(), String> {
    let mut common = false;
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
            Some(_) => common = true,
            None => {
                digests.insert(name.to_owned(), (digest.to_owned(), Origin::List));
            }
        }
    }
    if common {
        return Ok(());
    }
    Err("none of the list's archives is in target/dist, so nothing shows that they are of this \
         source\nhint: make one with `cargo xtask dist --target linux_amd64`"
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_of_the_archives_themselves() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(look(folder.path()).expect("an empty folder").digests, Digests::new());
        let name = TARGETS[0].archive();
        fs::write(folder.path().join(&name), "abc").expect("an archive");
        let error = look(folder.path()).expect_err("nobody knows what it was made of");
        assert!(error.contains("`cargo xtask dist`"), "{error}");
        fs::write(folder.path().join("SOURCE"), "s\n").expect("a file");
        let found = look(folder.path()).expect("digests");
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(found.digests[&name], (digest.to_owned(), Origin::Archive));
        assert_eq!((found.digests.len(), found.source.as_deref()), (1, Some("s")));
        assert!(found.faults[0].contains("cannot be unpacked"), "{found:?}");
    }

    #[test]
    fn an_archive_without_licence_or_program_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("SOURCE"), "s\n").expect("a file");
        let files = [("kubectl-multimesh".to_owned(), Vec::new())].into();
        for target in TARGETS {
            let packed = if target.os == "windows" {
                archive::zip(&files).expect("an archive")
            } else {
                archive::tar(&files).expect("an archive")
            };
            fs::write(folder.path().join(target.archive()), packed).expect("an archive");
        }
        let faults = look(folder.path()).expect("digests").faults;
        let of = |os: &str| faults.iter().filter(|it| it.contains(os)).count();
        assert_eq!((of("_linux_"), of("_windows_"), of("_darwin_")), (2, 4, 2), "{faults:?}");
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
        let error = add(&mut digests, &format!("{two}  {}\n", TARGETS[1].archive()));
        assert!(error.expect_err("nothing in common").contains("of this source"));
    }
}
