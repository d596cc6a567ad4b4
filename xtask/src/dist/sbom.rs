//! The bill of materials: what the released package is made of, on all platforms.

use std::process::Command;

use super::build::Sources;
use super::command::{clone, output, run};
use super::texts::read;
use super::tools;

/// Lists it in `CycloneDX`'s JSON, for the last commit and at its time. The tool writes beside each
/// manifest, so it works on a copy.
pub(super) fn write(sources: &Sources) -> Result<Vec<u8>, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let copy = folder.path().join("source");
    clone(&sources.root, &copy)?;
    let log = ["log", "-1", "--format=%ct"];
    let time = output(Command::new("git").args(log).current_dir(&copy))?;
    let words = ["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5"];
    let mut command = tools::cyclonedx()?;
    command
        .args(words)
        .args(["--target", "all", "--override-filename", "sbom.cdx"])
        .current_dir(&copy)
        .env("SOURCE_DATE_EPOCH", time.trim());
    run(&mut command)?;
    let text = String::from_utf8(read(&copy.join("sbom.cdx.json"))?).map_err(|e| e.to_string())?;
    Ok(text.replace(&copy.display().to_string(), "/source").into_bytes())
}
