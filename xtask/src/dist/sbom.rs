//! The bill of materials: what the released package is made of, on all platforms.

use std::path::Path;
use std::process::Command;

use super::build::Sources;
use super::command::run;
use super::texts::read;
use super::tools;

/// Lists it in `CycloneDX`'s JSON, without the folder of the sources. The tool writes beside each
/// manifest, so `copy` is a copy of the sources that may be written to.
pub(super) fn write(copy: &Path, sources: &Sources) -> Result<Vec<u8>, String> {
    let words = ["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5"];
    let mut command = Command::new(tools::cyclonedx()?);
    command
        .args(words)
        .args(["--target", "all", "--override-filename", "sbom.cdx"])
        .current_dir(copy)
        .env("SOURCE_DATE_EPOCH", sources.time.to_string());
    run(&mut command)?;
    let text = String::from_utf8(read(&copy.join("sbom.cdx.json"))?).map_err(|e| e.to_string())?;
    Ok(text.replace(&copy.display().to_string(), "/source").into_bytes())
}
