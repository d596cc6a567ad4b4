//! `cargo xtask dist`: builds what is released.

mod archive;
mod build;
mod command;
mod sbom;
pub(crate) mod sums;
pub(crate) mod targets;
mod texts;
mod tools;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use self::build::Sources;
use self::targets::{TARGETS, Target};
use crate::elf::{MOST_MEGABYTES, is_static, megabytes};
use crate::say::{fail, print, root, say};

/// The version of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Build the archives of a release, their digests and a bill of materials
#[derive(Args)]
pub(crate) struct Dist {
    /// Only this target, by its triple or as in `linux_amd64`; all that this machine builds if
    /// there is none
    #[arg(long, value_parser = targets::find)]
    target: Vec<&'static Target>,
    /// Where everything goes [default: target/dist]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Build everything again from another folder, and fail if a byte differs
    #[arg(long)]
    twice: bool,
}

type Result<T> = std::result::Result<T, String>;

pub(crate) fn run(dist: &Dist) -> ExitCode {
    match attempt(dist) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// The binary that is released for Linux on `x86_64`: builds it where that is wanted, and says where
/// it is.
pub(crate) fn linux_amd64(build: bool) -> Result<PathBuf> {
    let (sources, target) = (Sources::new(&root())?, targets::find("linux_amd64")?);
    if build {
        return sources.build(target);
    }
    let file = sources.binary(target);
    if file.is_file() {
        return Ok(file);
    }
    Err(format!("there is no {}: leave `--built` out", file.display()))
}

fn attempt(dist: &Dist) -> Result<()> {
    let mut wanted = dist.target.clone();
    if wanted.is_empty() {
        wanted = TARGETS.iter().filter(|it| it.is_built_here()).collect();
    }
    if let Some(other) = wanted.iter().find(|it| !it.is_built_here()) {
        return Err(format!("{} is built on {} only", other.triple, builder(other)));
    }
    let sources = Sources::new(&root())?;
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let copy = folder.path().join("source");
    if dist.twice {
        committed(&sources.root)?;
    }
    clone(&sources.root, &copy)?;
    let out = dist.out.clone().unwrap_or_else(|| root().join("target/dist"));
    fs::create_dir_all(&out).map_err(|e| format!("{} cannot be made: {e}", out.display()))?;
    let write = |name: &str, content: &[u8]| {
        let path = out.join(name);
        fs::write(&path, content).map_err(|e| format!("{} cannot be written: {e}", path.display()))
    };

    let mut sums = Vec::new();
    let mut table = Vec::new();
    for (target, packed) in wanted.iter().zip(pack(&sources, &wanted)?) {
        let name = target.archive();
        write(&name, &packed.archive)?;
        let (sum, size) = (sums::digest(&packed.archive), megabytes(packed.size));
        table.push(format!("{:27} {size:5.2} MB  {sum}  {}", target.triple, packed.trial));
        sums.push((name, sum));
    }
    let bill = sbom::write(&copy, &sources)?;
    let name = format!("kubectl-multimesh_v{VERSION}_sbom.cdx.json");
    write(&name, &bill)?;
    sums.push((name, sums::digest(&bill)));
    write("SHA256SUMS", sums::list(&sums).as_bytes())?;
    if dist.twice {
        say("once more, from another folder");
        let again = Sources { time: sources.time, ..Sources::new(&copy)? };
        for (target, packed) in wanted.iter().zip(pack(&again, &wanted)?) {
            let name = target.archive();
            if !sums.contains(&(name.clone(), sums::digest(&packed.archive))) {
                return Err(format!("{name} has other bytes when it is built in another folder"));
            }
        }
        say("both builds gave the same bytes");
    }
    print(&table.join("\n"));
    Ok(())
}

/// Where a target is built.
fn builder(target: &Target) -> &'static str {
    if target.os == "darwin" { "macOS" } else { "Linux" }
}

/// What was made for one target.
struct Packed {
    archive: Vec<u8>,
    /// The length of the binary.
    size: usize,
    /// How it was run.
    trial: String,
}

/// Builds, checks, runs and packs.
fn pack(sources: &Sources, wanted: &[&Target]) -> Result<Vec<Packed>> {
    let texts = texts::collect(&sources.build_for_host()?, &sources.root)?;
    let one = |target: &&Target| {
        let path = sources.build(target)?;
        let binary = texts::read(&path)?;
        check(target, &binary)?;
        let trial = trial::run(target, &path, VERSION)?;
        let size = binary.len();
        let mut files = texts.clone();
        files.insert(target.binary().to_owned(), binary);
        let archive = if target.os == "windows" {
            archive::zip(&files).map_err(|e| e.to_string())?
        } else {
            archive::tar(&files, sources.time).map_err(|e| e.to_string())?
        };
        Ok(Packed { archive, size, trial })
    };
    wanted.iter().map(one).collect()
}

/// What has to hold of a binary before it is packed.
fn check(target: &Target, binary: &[u8]) -> Result<()> {
    if target.os == "linux" && !is_static(binary) {
        return Err(format!("the binary for {} is not linked statically", target.triple));
    }
    let size = megabytes(binary.len());
    if target.os == "linux" && target.arch == "amd64" && size > MOST_MEGABYTES {
        return Err(format!("the binary has {size:.2} MB, more than {MOST_MEGABYTES} MB"));
    }
    Ok(())
}

/// Whether the last commit is all there is: a copy has nothing else.
fn committed(root: &Path) -> Result<()> {
    let mut git = Command::new("git");
    let changes = command::output(git.args(["status", "--porcelain"]).current_dir(root))?;
    if changes.trim().is_empty() {
        return Ok(());
    }
    Err("`--twice` builds the last commit again, and there are changes: commit them first".into())
}

/// Copies the sources of the last commit.
fn clone(root: &Path, to: &Path) -> Result<()> {
    command::run(Command::new("git").args(["clone", "--quiet"]).arg(root).arg(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_that_is_dynamic_or_too_large_is_refused() {
        let linux = &TARGETS[0];
        let error = check(linux, b"#!/bin/sh").unwrap_err();
        assert!(error.contains("not linked statically"), "{error}");
        // An ELF header with one program header of kind 1, then nothing.
        let mut elf = vec![0; 10_000_001];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[32], elf[54], elf[56], elf[64]) = (64, 56, 1, 1);
        let error = check(linux, &elf).unwrap_err();
        assert!(error.ends_with("more than 10 MB"), "{error}");
        elf.truncate(10_000_000);
        assert_eq!(check(linux, &elf), Ok(()));
    }
}
