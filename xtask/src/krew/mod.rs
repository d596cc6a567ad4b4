//! `cargo xtask krew`: the manifest under which krew installs the plugin.

mod check;
mod dist;
mod manifest;
mod rules;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::dist::{folder, source};
use crate::say::{fail, root, say};

pub(crate) use check::tree;

/// The manifest.
const MANIFEST: &str = "plugin.yaml";
/// The template from which krew-release-bot makes it at a release.
const TEMPLATE: &str = "krew/template.yaml";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Write plugin.yaml and krew/template.yaml, with the digests of the archives in target/dist
    Manifest {
        /// A SHA256SUMS of the release workflow, for archives that are not here
        #[arg(long, value_name = "FILE")]
        digests: Option<PathBuf>,
    },
    /// Hold plugin.yaml against krew's rules and the archives in target/dist
    Check {
        /// As a release needs it: every archive is here, and has its digest
        #[arg(long)]
        release: bool,
    },
}

pub(crate) fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::Manifest { digests } => write(digests.as_ref()),
        Command::Check { release } => tell(*release),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn write(list: Option<&PathBuf>) -> Result<(), String> {
    let archives = dist::look(&folder::usual())?;
    if archives.source.is_some_and(|it| Ok(it) != source::digest(&root())) {
        return Err("the archives in target/dist were made of another source than this\n\
                    hint: make them again with `cargo xtask dist`"
            .into());
    }
    let mut digests = archives.digests;
    if let Some(path) = list {
        let at = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let text = fs::read_to_string(path).map_err(|e| at(&e))?;
        dist::add(&mut digests, &text).map_err(|e| at(&e))?;
    }
    let plugin = manifest::plugin(&digests, &source::digest(&root())?);
    for (name, text) in [(MANIFEST, plugin), (TEMPLATE, manifest::template())] {
        let path = root().join(name);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        say(&format!("written: {name}"));
    }
    for line in manifest::kinds(&digests) {
        say(&line);
    }
    Ok(())
}

fn tell(release: bool) -> Result<(), String> {
    let report = tree(release)?;
    for line in &report.kinds {
        say(line);
    }
    for note in &report.notes {
        say(&format!("note: {note}"));
    }
    if report.faults.is_empty() {
        say(&format!("{MANIFEST} keeps krew's {} rules", rules::RULES.len()));
        return Ok(());
    }
    Err(report.faults.join("\nerror: "))
}
