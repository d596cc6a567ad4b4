//! What krew and its index ask of a manifest. Each rule is one function that gives sentences.

use super::manifest::{API_VERSION, NAME, Platform, Plugin, REPOSITORY};
use crate::dist::targets::TAG;

/// A rule, and where it comes from.
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) source: &'static str,
    pub(super) check: fn(&Plugin) -> Vec<String>,
}

const VALIDATE: &str = "krew: internal/index/validation/validate.go";
const VALIDATOR: &str = "krew: cmd/validate-krew-manifest/main.go";
const GUIDE: &str = "krew: site/content/docs/developer-guide/plugin-manifest.md";
const REVIEW: &str = "krew-index: review of new plugins";
const OURS: &str = "this project";

/// All rules.
pub(super) const RULES: &[Rule] = &[
    Rule { name: "format", source: VALIDATE, check: format },
    Rule { name: "name", source: VALIDATE, check: name },
    Rule { name: "version", source: VALIDATE, check: version },
    Rule { name: "homepage", source: GUIDE, check: homepage },
    Rule { name: "short description", source: REVIEW, check: short_description },
    Rule { name: "description", source: GUIDE, check: description },
    Rule { name: "caveats", source: GUIDE, check: caveats },
    Rule { name: "platforms", source: OURS, check: platforms },
    Rule { name: "selectors", source: VALIDATE, check: selectors },
    Rule { name: "supported platforms", source: VALIDATOR, check: supported },
    Rule { name: "no overlap", source: VALIDATOR, check: overlap },
    Rule { name: "archives", source: GUIDE, check: archives },
    Rule { name: "digests", source: VALIDATE, check: digests },
    Rule { name: "programs", source: GUIDE, check: programs },
    Rule { name: "licence", source: VALIDATOR, check: licence },
];

/// The platforms that krew itself runs on.
const SUPPORTED: [(&str, &str); 11] = [
    ("windows", "386"),
    ("windows", "amd64"),
    ("windows", "arm64"),
    ("linux", "386"),
    ("linux", "amd64"),
    ("linux", "arm"),
    ("linux", "arm64"),
    ("linux", "ppc64le"),
    ("darwin", "386"),
    ("darwin", "amd64"),
    ("darwin", "arm64"),
];

/// The sentence, unless the condition holds.
fn unless(holds: bool, sentence: impl FnOnce() -> String) -> Vec<String> {
    if holds { Vec::new() } else { vec![sentence()] }
}

/// A sentence for each platform that does not keep a rule.
fn each(plugin: &Plugin, rule: impl Fn(&Platform) -> Option<String>) -> Vec<String> {
    let platforms = plugin.spec.platforms.iter();
    platforms.filter_map(|it| Some(format!("{}: {}", it.name(), rule(it)?))).collect()
}

fn format(plugin: &Plugin) -> Vec<String> {
    unless(plugin.api_version == API_VERSION && plugin.kind == "Plugin", || {
        format!("`{}` of `{}` is not `Plugin` of `{API_VERSION}`", plugin.kind, plugin.api_version)
    })
}

fn name(plugin: &Plugin) -> Vec<String> {
    let name = &plugin.metadata.name;
    let kebab = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    unless(name == NAME && kebab && !name.starts_with("kube"), || {
        format!("the name is `{name}`, not `{NAME}`")
    })
}

fn version(plugin: &Plugin) -> Vec<String> {
    let version = &plugin.spec.version;
    let mut sentences =
        unless(is_semantic(version), || format!("`{version}` is not a semantic version with `v`"));
    sentences.extend(unless(version == TAG, || {
        format!("the version is `{version}`, and Cargo.toml says `{TAG}`")
    }));
    sentences
}

fn is_semantic(version: &str) -> bool {
    let Some(rest) = version.strip_prefix('v') else { return false };
    let rest = rest.split_once('+').map_or(rest, |(rest, _)| rest);
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let number = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let word = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(word))
}

fn homepage(plugin: &Plugin) -> Vec<String> {
    let homepage = &plugin.spec.homepage;
    unless(homepage == REPOSITORY && homepage.starts_with("https://"), || {
        format!("the homepage is `{homepage}`, not the repository `{REPOSITORY}`")
    })
}

fn short_description(plugin: &Plugin) -> Vec<String> {
    let text = &plugin.spec.short_description;
    let count = text.chars().count();
    unless((1..=50).contains(&count) && !text.contains(['\n', '\r']), || {
        format!("the short description is not one line of 1 to 50 characters: it has {count}")
    })
}

fn description(plugin: &Plugin) -> Vec<String> {
    let text = &plugin.spec.description;
    let mut sentences = unless(!text.trim().is_empty(), || "there is no description".to_owned());
    sentences.extend(too_long("description", text));
    sentences.extend(unless(!text.contains("kubectl ") && !text.contains(" --"), || {
        "the description shows commands, which belong into the help".to_owned()
    }));
    sentences
}

fn caveats(plugin: &Plugin) -> Vec<String> {
    too_long("caveats", &plugin.spec.caveats)
}

fn too_long(what: &str, text: &str) -> Vec<String> {
    let long = text.lines().filter(|line| line.chars().count() > 80);
    long.map(|line| format!("a line of `{what}` has more than 80 characters: {line}")).collect()
}

fn platforms(plugin: &Plugin) -> Vec<String> {
    let count = plugin.spec.platforms.len();
    unless(count >= 5, || format!("there are only {count} platforms, not five or more"))
}

fn selectors(plugin: &Plugin) -> Vec<String> {
    each(plugin, |platform| {
        let keys: Vec<_> = platform.selector.match_labels.keys().map(String::as_str).collect();
        (keys != ["arch", "os"])
            .then(|| format!("the selector is on {keys:?}, not on `os` and `arch`"))
    })
}

fn supported(plugin: &Plugin) -> Vec<String> {
    each(plugin, |platform| {
        let known = SUPPORTED.iter().any(|(os, arch)| platform.selects(os, arch));
        (!known).then(|| "krew does not run there".to_owned())
    })
}

fn overlap(plugin: &Plugin) -> Vec<String> {
    let twice = SUPPORTED.iter().filter(|(os, arch)| {
        plugin.spec.platforms.iter().filter(|it| it.selects(os, arch)).count() > 1
    });
    twice.map(|(os, arch)| format!("more than one entry is for {os}/{arch}")).collect()
}

fn archives(plugin: &Plugin) -> Vec<String> {
    each(plugin, |platform| {
        let uri = &platform.uri;
        let place = format!("{REPOSITORY}/releases/download/{}/", plugin.spec.version);
        let kind = [".tar.gz", ".zip"].iter().any(|end| uri.ends_with(end));
        (!kind || !uri.starts_with(&place))
            .then(|| format!("`{uri}` is no .tar.gz or .zip of the release {TAG}"))
    })
}

fn digests(plugin: &Plugin) -> Vec<String> {
    each(plugin, |platform| {
        let digest = platform.sha256.as_ref()?;
        (!is_digest(digest)).then(|| format!("`{digest}` is not a sha256 in lower case"))
    })
}

/// Whether this is a sha256 as krew wants it.
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

fn programs(plugin: &Plugin) -> Vec<String> {
    each(plugin, |platform| {
        let wanted = if platform.selects("windows", "amd64") || platform.selects("windows", "arm64")
        {
            "kubectl-multimesh.exe"
        } else {
            "kubectl-multimesh"
        };
        (platform.bin != wanted).then(|| format!("`bin` is `{}`, not `{wanted}`", platform.bin))
    })
}

fn licence(plugin: &Plugin) -> Vec<String> {
    each(plugin, |platform| {
        platform.files.as_ref().map(|_| {
            "`files` is given: without it krew extracts everything, LICENSE too".to_owned()
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::manifest::{Digests, Origin, plugin, read};
    use super::*;
    use crate::dist::targets::TARGETS;

    fn good() -> Plugin {
        let digests: Digests =
            TARGETS.iter().map(|it| (it.archive(), ("a".repeat(64), Origin::Archive))).collect();
        read(&plugin(&digests, "none")).expect("a manifest")
    }

    fn broken(plugin: &Plugin) -> Vec<&'static str> {
        let broken = RULES.iter().filter(|rule| !(rule.check)(plugin).is_empty());
        broken.map(|rule| rule.name).collect()
    }

    /// What makes a manifest break a rule.
    type Spoil<'a> = &'a dyn Fn(&mut Plugin);

    #[test]
    fn the_generated_manifest_keeps_all_rules() {
        for rule in RULES {
            assert_eq!((rule.check)(&good()), [""; 0], "{}", rule.name);
            assert!(!rule.source.is_empty());
        }
    }

    #[test]
    fn each_rule_finds_what_it_is_for() {
        let labels = |os: &str, arch: &str| {
            BTreeMap::from([("os", os), ("arch", arch)].map(|(k, v)| (k.to_owned(), v.to_owned())))
        };
        let cases: &[(&str, Spoil)] = &[
            ("format", &|it| it.api_version = "v1".into()),
            ("format", &|it| it.kind = "plugin".into()),
            ("name", &|it| it.metadata.name = "Multimesh".into()),
            ("version", &|it| it.spec.version = "0.1.0".into()),
            ("homepage", &|it| it.spec.homepage = "http://example.com".into()),
            ("short description", &|it| it.spec.short_description = "x".repeat(51)),
            ("short description", &|it| it.spec.short_description = "a\nb".into()),
            ("description", &|it| it.spec.description = "x".repeat(81)),
            ("description", &|it| it.spec.description = "Run kubectl multimesh apply".into()),
            ("description", &|it| it.spec.description = String::new()),
            ("caveats", &|it| it.spec.caveats = "x".repeat(81)),
            ("platforms", &|it| it.spec.platforms.truncate(4)),
            ("selectors", &|it| {
                it.spec.platforms[0].selector.match_labels.remove("arch");
            }),
            ("supported platforms", &|it| {
                it.spec.platforms[0].selector.match_labels = labels("plan9", "amd64");
            }),
            ("no overlap", &|it| {
                it.spec.platforms[0].selector.match_labels = labels("linux", "arm64");
            }),
            ("archives", &|it| it.spec.platforms[0].uri = "https://example.com/a.tar.gz".into()),
            ("archives", &|it| it.spec.platforms[0].uri.push_str(".xz")),
            ("digests", &|it| it.spec.platforms[0].sha256 = Some("A".repeat(64))),
            ("digests", &|it| it.spec.platforms[0].sha256 = Some("a".repeat(63))),
            ("programs", &|it| {
                let is_windows = |it: &&mut Platform| it.selector.match_labels["os"] == "windows";
                let all = it.spec.platforms.iter_mut();
                all.filter(is_windows).for_each(|it| it.bin = "kubectl-multimesh".into());
            }),
            ("licence", &|it| it.spec.platforms[0].files = Some(serde_json::json!([]))),
        ];
        for (rule, change) in cases {
            let mut plugin = good();
            change(&mut plugin);
            assert!(broken(&plugin).contains(rule), "{rule}: {:?}", broken(&plugin));
        }
        let tried = |rule: &Rule| cases.iter().any(|(name, _)| *name == rule.name);
        assert!(RULES.iter().all(tried), "a rule that no case breaks");
    }

    #[test]
    fn versions_are_semantic() {
        for good in ["v0.1.0", "v1.0.0-rc.1", "v10.20.30", "v1.0.0+build"] {
            assert!(is_semantic(good), "{good}");
        }
        for bad in ["0.1.0", "v1", "v1.0", "v01.0.0", "v1.0.0-", "v1.0.x", "v1.0.0.0"] {
            assert!(!is_semantic(bad), "{bad}");
        }
    }
}
