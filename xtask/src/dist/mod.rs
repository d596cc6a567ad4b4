//! `cargo xtask dist`: builds what is released.

pub(crate) mod archive;
mod build;
mod command;
pub(crate) mod folder;
mod sbom;
pub(crate) mod source;
pub(crate) mod sums;
pub(crate) mod targets;
mod texts;
mod tools;
mod trial;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use self::build::Sources;
use self::targets::{TARGETS, Target};
use crate::binary::{self, MOST_MEGABYTES, megabytes};
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

/// Pack a binary for this machine as it is packed for a release
#[derive(Args)]
pub(crate) struct Pack {
    binary: PathBuf,
    /// The `.tar.gz` to write
    archive: PathBuf,
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
    let (sources, target) = (Sources::new(&root()), targets::find("linux_amd64")?);
    if build {
        return sources.build(target);
    }
    let file = sources.binary(target);
    if file.is_file() {
        return Ok(file);
    }
    Err(format!("there is no {}: leave `--built` out", file.display()))
}

pub(crate) fn pack(pack: &Pack) -> ExitCode {
    let packed = texts::collect(&pack.binary, &root()).and_then(|texts| {
        let archive = archived(targets::native()?, texts::read(&pack.binary)?, texts)?;
        std::fs::write(&pack.archive, archive)
            .map_err(|e| format!("{} cannot be written: {e}", pack.archive.display()))
    });
    match packed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn attempt(dist: &Dist) -> Result<()> {
    let mut wanted = dist.target.clone();
    if wanted.is_empty() {
        wanted = TARGETS.iter().filter(|it| it.is_built_here()).collect();
    }
    if let Some(other) = wanted.iter().find(|it| !it.is_built_here()) {
        return Err(format!("{} is built on {} only", other.triple, builder(other)));
    }
    let sources = Sources::new(&root());
    if dist.twice {
        committed(&sources.root)?;
    }
    let source = source::digest(&sources.root)?;
    let out = dist.out.clone().unwrap_or_else(folder::usual);
    folder::open(&out, &source)?;
    let made = make(&sources, &wanted)?;
    if source::digest(&sources.root)? != source {
        return Err("the sources were changed while they were built: build them again".into());
    }
    for (name, content) in &made.files {
        folder::write(&out, name, content)?;
    }
    folder::sum(&out)?;
    if dist.twice {
        say("once more, from another folder");
        let other = tempfile::tempdir().map_err(|e| e.to_string())?;
        let copy = other.path().join("source");
        command::clone(&sources.root, &copy)?;
        let again = make(&Sources::new(&copy), &wanted)?;
        let mut both = made.files.iter().zip(&again.files);
        if let Some(((name, _), _)) = both.find(|(one, other)| one != other) {
            return Err(format!("{name} has other bytes when it is built in another folder"));
        }
        say(&format!("both builds gave the same bytes, of {} files", made.files.len()));
    }
    print(&made.table.join("\n"));
    Ok(())
}

/// Where a target is built.
fn builder(target: &Target) -> &'static str {
    if target.os == "darwin" { "macOS" } else { "Linux" }
}

/// What was made.
struct Made {
    /// Archives and the bill of materials, by name.
    files: Vec<(String, Vec<u8>)>,
    /// A line for each target: what its binary is, and how it was run.
    table: Vec<String>,
}

/// Builds, checks, runs and packs.
fn make(sources: &Sources, wanted: &[&Target]) -> Result<Made> {
    // What runs here writes the texts for all.
    let texts = texts::collect(&sources.build(&targets::native()?)?, &sources.root)?;
    let mut made = Made { files: Vec::new(), table: Vec::new() };
    for &&target in wanted {
        let path = sources.build(&target)?;
        let binary = texts::read(&path)?;
        check(target, &binary)?;
        let trial = trial::run(target, &path, VERSION)?;
        let size = megabytes(binary.len());
        let archive = archived(target, binary, texts.clone())?;
        let sum = sums::digest(&archive);
        made.table.push(format!("{:27} {size:5.2} MB  {sum}  {trial}", target.triple));
        made.files.push((target.archive(), archive));
    }
    let bill = format!("kubectl-multimesh_v{VERSION}_sbom.cdx.json");
    made.files.push((bill, sbom::write(sources)?));
    Ok(made)
}

/// Packs a binary with its texts.
fn archived(target: Target, binary: Vec<u8>, texts: archive::Files) -> Result<Vec<u8>> {
    let mut files = texts;
    files.insert(target.binary().to_owned(), binary);
    if target.os == "windows" {
        archive::zip(&files).map_err(|e| e.to_string())
    } else {
        archive::tar(&files).map_err(|e| e.to_string())
    }
}

/// What has to hold of a binary before it is packed.
fn check(target: Target, binary: &[u8]) -> Result<()> {
    let at = |fault| format!("the binary for {} {fault}", target.triple);
    binary::check(binary).map_err(at)?;
    let size = megabytes(binary.len());
    if target.os == "linux" && target.arch == "amd64" && size > MOST_MEGABYTES {
        return Err(at(format!("has {size:.2} MB, more than {MOST_MEGABYTES} MB")));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binary::tests::elf_file;

    #[test]
    fn a_binary_that_is_dynamic_or_too_large_is_refused() {
        let linux = TARGETS[0];
        let error = check(linux, &elf_file(200, 3)).unwrap_err();
        assert!(error.ends_with("linux-musl is not linked statically"), "{error}");
        let error = check(linux, &elf_file(10_000_001, 1)).unwrap_err();
        assert!(error.ends_with("more than 10 MB"), "{error}");
        assert_eq!(check(linux, &elf_file(10_000_000, 1)), Ok(()));
    }
}
