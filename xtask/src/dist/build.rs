//! Builds of the released binary that give the same bytes from every folder.

use std::env;
use std::path::{Path, PathBuf};

use super::archive;
use super::command::run;
use super::targets::Target;
use super::tools;
use crate::say::say;

/// The sources of a build, and where its parts go.
pub(super) struct Sources {
    pub(super) root: PathBuf,
    parts: PathBuf,
}

impl Sources {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), parts: root.join("target/dist-build") }
    }

    /// Builds the binary for a target, and says where it is.
    pub(super) fn build(&self, target: &Target) -> Result<PathBuf, String> {
        let sysroot = tools::rust(target.triple)?;
        say(&format!("building for {}", target.triple));
        let apple = target.os == "darwin";
        let mut command = if apple { tools::cargo_build() } else { tools::zig_build()? };
        let (rust, c) = self.flags(&sysroot)?;
        command
            .args(["--quiet", "--release", "--locked", "--bin", "kubectl-multimesh"])
            .args(["--target", target.triple, "--target-dir"])
            .arg(&self.parts)
            .current_dir(&self.root)
            .env("CARGO_ENCODED_RUSTFLAGS", rust)
            // mimalloc would put its memory in order at the end of a process, which nothing needs.
            .env("CFLAGS", c + " -DMI_SKIP_COLLECT_ON_EXIT")
            // The linker for Windows and the C code of mimalloc write the time into the binary.
            .env("SOURCE_DATE_EPOCH", archive::TIME.to_string());
        run(&mut command)?;
        Ok(self.binary(target))
    }

    /// Where the binary for a target is once it is built.
    pub(super) fn binary(&self, target: &Target) -> PathBuf {
        self.parts.join(target.triple).join("release").join(target.binary())
    }

    /// Flags of both compilers that keep this machine's folders out of the binary.
    fn flags(&self, sysroot: &Path) -> Result<(String, String), String> {
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
        let home = home.ok_or("neither `CARGO_HOME` nor `HOME` is set")?;
        let folders = [(&*self.root, "/source"), (&*home, "/cargo"), (sysroot, "/rust")];
        let flags = |flag: &str, between: &str| {
            let flag = |(from, to): &(&Path, &str)| format!("{flag}={}={to}", from.display());
            folders.iter().map(flag).collect::<Vec<_>>().join(between)
        };
        Ok((flags("--remap-path-prefix", "\x1f"), flags("-ffile-prefix-map", " ")))
    }
}
