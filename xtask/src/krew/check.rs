//! Holds the manifest in the tree against the rules, the generator and the archives.

use std::fs;

use super::dist::{self, Archives};
use super::manifest::{self, Digests, Origin, Plugin, template};
use super::rules::RULES;
use super::{MANIFEST, TEMPLATE};
use crate::dist::targets::TAG;
use crate::dist::{folder, source};
use crate::say::root;

/// How the files are written.
const WRITE: &str = "`cargo xtask krew manifest`";

/// What a check found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Where each digest comes from, a line a platform.
    pub(crate) kinds: Vec<String>,
    /// What has to be mended.
    pub(crate) faults: Vec<String>,
    /// What is true, and would be a fault in a release.
    pub(crate) notes: Vec<String>,
}

/// Checks the files in the tree. In a release every archive has to be there with its digest.
pub(crate) fn tree(release: bool) -> Result<Report, String> {
    let read = |name: &str| {
        fs::read_to_string(root().join(name)).map_err(|e| format!("{name} cannot be read: {e}"))
    };
    let archives = dist::look(&folder::usual())?;
    let source = source::digest(&root())?;
    let log = read("CHANGELOG.md")?;
    let mut report = check(&read(MANIFEST)?, &archives, &source, is_dated(&log));
    if read(TEMPLATE)?.replace("\r\n", "\n") != template() {
        report.faults.push(format!("{TEMPLATE} differs from what {WRITE} writes"));
    }
    if release {
        report.faults.append(&mut report.notes);
    }
    Ok(report)
}

/// Whether the entry on top of the change log has a date: then the tree is a release, and what is
/// committed with it has to be of this source.
fn is_dated(log: &str) -> bool {
    let entry = log.lines().find(|line| line.starts_with("## [")).unwrap_or_default();
    entry.split_once("] - ").is_some_and(|(_, date)| date.starts_with(|c: char| c.is_ascii_digit()))
}

fn check(text: &str, archives: &Archives, source: &str, dated: bool) -> Report {
    let text = text.replace("\r\n", "\n");
    let mut report = Report::default();
    let plugin = match manifest::read(&text) {
        Ok(plugin) => plugin,
        Err(error) => {
            report.faults.push(format!("{MANIFEST}: {error}"));
            return report;
        }
    };
    for rule in RULES {
        let found = (rule.check)(&plugin);
        report.faults.extend(
            found.into_iter().map(|it| format!("{}: {it} (from {})", rule.name, rule.source)),
        );
    }
    report.faults.extend(archives.faults.iter().cloned());
    let made_of = made_of(&text);
    let digests = digests_of(&text, &plugin);
    report.kinds = manifest::kinds(&digests);
    if manifest::plugin(&digests, made_of) != text {
        report.faults.push(format!("{MANIFEST} differs from what {WRITE} writes: was it edited?"));
    }
    if made_of != source {
        let told = format!("{MANIFEST} is of archives of another source than this");
        if dated {
            report.faults.push(format!(
                "{told}, and CHANGELOG.md gives a date to version {TAG}\nhint: `cargo xtask dist && \
                 cargo xtask krew manifest`, or begin the next version"
            ));
        } else {
            report
                .notes
                .push(format!("{told}; before a release: `cargo xtask dist`, then {WRITE}"));
        }
    }
    let same = archives.source.as_deref() == Some(made_of);
    for platform in &plugin.spec.platforms {
        let name = platform.archive();
        let (faults, notes) = (&mut report.faults, &mut report.notes);
        match (&platform.sha256, archives.digests.get(name)) {
            (None, None) => notes.push(format!(
                "{}: no digest yet, it waits for the release workflow",
                platform.name()
            )),
            (None, Some(_)) => notes.push(format!(
                "{}: no digest yet, although {name} is in target/dist",
                platform.name()
            )),
            (Some(_), None) => notes.push(format!(
                "{}: the digest was not compared, as {name} is not in target/dist",
                platform.name()
            )),
            (Some(told), Some((real, _))) if told != real && same => faults.push(format!(
                "{}: the digest is {told}, but {name} of the same source has {real}",
                platform.name()
            )),
            (Some(_), Some(_)) if !same => notes.push(format!(
                "{}: the digest was not compared, as {name} in target/dist is of another source",
                platform.name()
            )),
            (Some(_), Some(_)) => {}
        }
    }
    report
}

/// What the manifest says that its archives were made of.
fn made_of(text: &str) -> &str {
    text.lines().find_map(|line| line.strip_prefix(manifest::MADE_OF)).unwrap_or_default()
}

/// The digests in a manifest, and where it says that they come from.
fn digests_of(text: &str, plugin: &Plugin) -> Digests {
    let platforms = plugin.spec.platforms.iter();
    let digests = platforms.filter_map(|platform| {
        let digest = platform.sha256.clone()?;
        let line = text.lines().find(|line| line.contains(&digest))?;
        let told = line.ends_with(Origin::List.comment());
        let origin = if told { Origin::List } else { Origin::Archive };
        Some((platform.archive().to_owned(), (digest, origin)))
    });
    digests.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::targets::{TARGETS, Target};

    fn some() -> Digests {
        let digest =
            |index: usize| char::from(b'a' + u8::try_from(index).expect("few")).to_string();
        let one = |(index, it): (usize, &Target)| {
            let origin = if it.os == "darwin" { Origin::List } else { Origin::Archive };
            (it.archive(), (digest(index).repeat(64), origin))
        };
        TARGETS.iter().enumerate().map(one).collect()
    }

    /// A folder with archives of these digests, made of source `s`.
    fn folder_of(digests: Digests) -> Archives {
        Archives { digests, source: Some("s".into()), faults: Vec::new() }
    }

    #[test]
    fn what_is_in_the_tree_holds() {
        let report = tree(false).expect("files");
        assert_eq!(report.faults, [""; 0]);
    }

    #[test]
    fn a_full_manifest_has_no_note_where_its_archives_are() {
        let report = check(&manifest::plugin(&some(), "s"), &folder_of(some()), "s", true);
        assert!(report.faults.is_empty() && report.notes.is_empty(), "{report:?}");
        let of = |origin: Origin| move |line: &&String| line.ends_with(origin.comment());
        assert_eq!(report.kinds.iter().filter(of(Origin::Archive)).count(), 4, "{report:?}");
        assert_eq!(report.kinds.iter().filter(of(Origin::List)).count(), 2, "{report:?}");
    }

    #[test]
    fn what_is_missing_is_told() {
        let empty = Archives::default();
        let report = check(&manifest::plugin(&Digests::new(), "s"), &empty, "t", false);
        assert_eq!(report.faults, [""; 0]);
        assert_eq!(report.notes.len(), 1 + TARGETS.len(), "{report:?}");
        let report = check(&manifest::plugin(&some(), "s"), &empty, "s", true);
        assert!(report.notes.iter().all(|note| note.contains("was not compared")), "{report:?}");
    }

    #[test]
    fn another_digest_is_a_fault_for_the_same_source_only() {
        let mut archives = some();
        archives.insert(TARGETS[0].archive(), ("0".repeat(64), Origin::Archive));
        let archives = folder_of(archives);
        let report = check(&manifest::plugin(&some(), "s"), &archives, "s", false);
        assert_eq!(report.faults.len(), 1, "{report:?}");
        assert!(report.faults[0].starts_with("linux/amd64: the digest is aaaa"), "{report:?}");
        let report = check(&manifest::plugin(&some(), "t"), &archives, "t", false);
        assert_eq!((report.faults.len(), report.notes.len()), (0, TARGETS.len()), "{report:?}");
    }

    #[test]
    fn a_release_is_of_its_own_source() {
        let text = manifest::plugin(&some(), "s");
        let report = check(&text, &folder_of(some()), "t", false);
        assert_eq!((report.faults.len(), report.notes.len()), (0, 1), "{report:?}");
        let report = check(&text, &folder_of(some()), "t", true);
        assert!(report.faults[0].contains("another source than this, and CHANGELOG"), "{report:?}");
        assert!(is_dated("# Log\n\n## [0.2.0] - 2026-12-01\n\n## [0.1.0] - unreleased\n"));
        assert!(!is_dated("# Log\n\n## [0.2.0] - unreleased\n\n## [0.1.0] - 2026-12-01\n"));
    }

    #[test]
    fn an_edit_by_hand_is_noticed() {
        let text = manifest::plugin(&some(), "s").replace("many clusters", "all clusters");
        let report = check(&text, &folder_of(some()), "s", false);
        assert!(report.faults.iter().any(|it| it.contains("was it edited")), "{report:?}");
    }

    #[test]
    fn the_template_of_the_bot_gives_the_manifest_of_a_release() {
        let mut text = template();
        for target in TARGETS {
            let name = target.archive();
            let uri = format!("{}/releases/download/{}/{name}", manifest::REPOSITORY, TAG);
            let call = format!(
                "{{{{addURIAndSha \"{}\" .TagName | indent 6 }}}}",
                uri.replace(TAG, "{{ .TagName }}")
            );
            assert!(text.contains(&call), "{call}");
            text = text.replace(&call, &format!("uri: {uri}\n      sha256: {}", some()[&name].0));
        }
        let rendered = manifest::read(&text.replace("{{ .TagName }}", TAG)).expect("YAML");
        for rule in RULES {
            assert_eq!((rule.check)(&rendered), [""; 0], "{}", rule.name);
        }
    }

    #[test]
    fn the_change_log_begins_with_this_version() {
        let log = fs::read_to_string(root().join("CHANGELOG.md")).expect("a change log");
        let first = log.lines().find(|line| line.starts_with("## [")).expect("an entry");
        assert!(first.starts_with(&format!("## [{}]", env!("CARGO_PKG_VERSION"))), "{first}");
    }
}
