//! Holds the manifest in the tree against the rules, the generator and the archives.

use std::fs;

use super::dist;
use super::manifest::{self, Digests, Origin, Plugin, template};
use super::rules::RULES;
use super::{MANIFEST, TEMPLATE};
use crate::say::root;

/// What a check found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What has to be mended.
    pub(crate) faults: Vec<String>,
    /// What is true, and would be a fault in a release.
    pub(crate) notes: Vec<String>,
}

/// Checks the files in the tree. In a release every archive has to be there with its digest.
pub(crate) fn tree(release: bool) -> Result<Report, String> {
    let read = |name: &str| {
        fs::read_to_string(root().join(name)).map_err(|e| {
            format!("{name} cannot be read: {e}\nhint: write it with `cargo xtask krew manifest`")
        })
    };
    let archives = dist::digests(&dist::folder())?;
    let mut report = check(&read(MANIFEST)?, &archives, &dist::source()?);
    if read(TEMPLATE)?.replace("\r\n", "\n") != template() {
        report
            .faults
            .push(format!("{TEMPLATE} differs from what `cargo xtask krew manifest` writes"));
    }
    if release {
        report.faults.append(&mut report.notes);
    }
    Ok(report)
}

fn check(text: &str, archives: &Digests, source: &str) -> Report {
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
    let packaged = packaged_from(&text);
    if manifest::plugin(&digests_of(&text, &plugin), packaged) != text {
        report.faults.push(format!(
            "{MANIFEST} differs from what `cargo xtask krew manifest` writes: was it edited?"
        ));
    }
    let same = packaged == source;
    if !same {
        report.notes.push(format!(
            "{MANIFEST} is of archives that were packaged from another source than this"
        ));
    }
    for platform in &plugin.spec.platforms {
        let name = platform.archive();
        match (&platform.sha256, archives.get(name)) {
            (None, None) => report.notes.push(format!(
                "{}: no digest yet, it waits for the release workflow",
                platform.name()
            )),
            (None, Some(_)) => report.notes.push(format!(
                "{}: no digest yet, although {name} is in target/dist",
                platform.name()
            )),
            (Some(_), None) => report.notes.push(format!(
                "{}: the digest was not compared, as {name} is not in target/dist",
                platform.name()
            )),
            (Some(told), Some((real, _))) if told != real => {
                let sentence =
                    format!("{}: the digest is {told}, but {name} has {real}", platform.name());
                // Archives of another source differ, and say nothing about the manifest.
                if same { report.faults.push(sentence) } else { report.notes.push(sentence) }
            }
            (Some(_), Some(_)) => {}
        }
    }
    report
}

/// What the manifest says that its archives were packaged from.
fn packaged_from(text: &str) -> &str {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix("# Packaged from source ")).unwrap_or_default()
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
    use crate::dist::targets::{TAG, TARGETS, Target};

    fn some() -> Digests {
        let digest =
            |index: usize| char::from(b'a' + u8::try_from(index).expect("few")).to_string();
        let one = |(index, it): (usize, &Target)| {
            let origin = if it.os == "darwin" { Origin::List } else { Origin::Archive };
            (it.archive(), (digest(index).repeat(64), origin))
        };
        TARGETS.iter().enumerate().map(one).collect()
    }

    #[test]
    fn what_is_in_the_tree_holds() {
        let report = tree(false).expect("files");
        assert_eq!(report.faults, [""; 0]);
    }

    #[test]
    fn a_full_manifest_has_no_note_where_its_archives_are() {
        let report = check(&manifest::plugin(&some(), "s"), &some(), "s");
        assert!(report.faults.is_empty() && report.notes.is_empty(), "{report:?}");
    }

    #[test]
    fn what_is_missing_is_told() {
        let report = check(&manifest::plugin(&Digests::new(), "s"), &Digests::new(), "t");
        assert_eq!(report.faults, [""; 0]);
        assert_eq!(report.notes.len(), 1 + TARGETS.len(), "{report:?}");
        let report = check(&manifest::plugin(&some(), "s"), &Digests::new(), "s");
        assert!(report.notes.iter().all(|note| note.contains("was not compared")), "{report:?}");
    }

    #[test]
    fn another_digest_is_a_fault_for_the_same_source_only() {
        let mut archives = some();
        archives.insert(TARGETS[0].archive(), ("0".repeat(64), Origin::Archive));
        let text = manifest::plugin(&some(), "s");
        let report = check(&text, &archives, "s");
        assert_eq!(report.faults.len(), 1, "{report:?}");
        assert!(report.faults[0].starts_with("linux/amd64: the digest is aaaa"), "{report:?}");
        let report = check(&text, &archives, "t");
        assert_eq!((report.faults.len(), report.notes.len()), (0, 2), "{report:?}");
    }

    #[test]
    fn an_edit_by_hand_is_noticed() {
        let text = manifest::plugin(&some(), "s").replace("many clusters", "all clusters");
        let report = check(&text, &some(), "s");
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
