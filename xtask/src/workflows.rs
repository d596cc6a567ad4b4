//! What holds for all workflows of the repository.

use std::fs;

use serde_json::Value;

use crate::say::root;

/// How the path of a workflow of this repository begins.
const OWN: &str = "./.github/workflows/";

/// The name and text of each workflow.
fn workflows() -> Vec<(String, String)> {
    let folder = root().join(".github/workflows");
    let entries =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).expect("a workflow");
        (path.file_name().expect("a name").to_string_lossy().into_owned(), text)
    };
    let workflows: Vec<_> = entries.map(read).collect();
    assert!(!workflows.is_empty());
    workflows
}

/// The steps of all jobs. A job that is another workflow of this repository has none.
fn steps(workflow: &Value) -> Vec<&Value> {
    let jobs = workflow["jobs"].as_object().expect("jobs").values();
    let own = jobs.filter(|job| !job["uses"].as_str().is_some_and(|it| it.starts_with(OWN)));
    own.flat_map(|job| job["steps"].as_array().expect("steps")).collect()
}

fn is_pinned(line: &str) -> bool {
    let pin = line.split_once('@').and_then(|(_, pin)| pin.split_once(" # v"));
    pin.is_some_and(|(digest, version)| {
        digest.len() == 40
            && digest.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
            && version.starts_with(|c: char| c.is_ascii_digit())
    })
}

#[test]
fn every_action_is_pinned_by_a_full_digest() {
    for (name, text) in workflows() {
        let uses = text.lines().filter(|line| line.contains("uses:"));
        let lines: Vec<_> = uses.filter(|line| !line.contains(OWN)).collect();
        for line in &lines {
            assert!(is_pinned(line), "{name}: {line}");
        }
        let workflow: Value = serde_saphyr::from_str(&text).expect("YAML");
        let uses = steps(&workflow).iter().filter(|step| step.get("uses").is_some()).count();
        assert_eq!(uses, lines.len(), "{name}: an action that is not on a line of its own");
    }
    assert!(!is_pinned("uses: actions/checkout@v6"));
    assert!(!is_pinned("uses: actions/checkout@de0fac2 # v6.0.2"));
}

#[test]
fn jobs_have_no_right_that_they_do_not_name() {
    for (name, text) in workflows() {
        let workflow: Value = serde_saphyr::from_str(&text).expect("YAML");
        assert_eq!(workflow["permissions"], serde_json::json!({}), "{name}");
        for (job, it) in workflow["jobs"].as_object().expect("jobs") {
            assert!(it["permissions"].is_object(), "{name}: {job}");
        }
        for step in steps(&workflow) {
            let uses = step["uses"].as_str().unwrap_or_default();
            if uses.starts_with("actions/checkout@") {
                assert_eq!(step["with"]["persist-credentials"], false, "{name}: {step}");
            }
        }
    }
}
