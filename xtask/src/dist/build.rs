//! Builds of the released binary that give the same bytes from every folder.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::{output, run};
use super::targets::Target;
use super::tools::{Zig, install_std};
use crate::say::{cargo, forget_chore, say};

/// The sources of a build, and where its parts go.
pub(super) struct Sources {
    pub(super) root: PathBuf,
    pub(super) parts: PathBuf,
    /// The time of the release, in seconds.
    pub(super) time: u64,
}

impl Sources {
    pub(super) fn new(root: &Path) -> Result<Self, String> {
        let time = if let Ok(time) = env::var("SOURCE_DATE_EPOCH") {
            time
        } else {
            let words = ["log", "-1", "--format=%ct"];
            output(Command::new("git").args(words).current_dir(root))?
        };
        let time = time.trim().parse().map_err(|e| format!("`SOURCE_DATE_EPOCH`: {e}"))?;
        Ok(Self { root: root.to_owned(), parts: root.join("target/dist-build"), time })
    }

    /// Builds the binary for a target, and says where it is.
    pub(super) fn build(&self, target: &Target) -> Result<PathBuf, String> {
        install_std(target.triple)?;
        say(&format!("building for {}", target.triple));
        let mut command = if target.os == "darwin" {
            let mut cargo = cargo();
            cargo.arg("build");
            cargo
        } else {
            Zig::install()?.build()
        };
        forget_chore(&mut command);
        let (rust, c) = self.flags()?;
        command
            .args(["--quiet", "--release", "--locked", "--bin", "kubectl-multimesh"])
            .args(["--target", target.triple, "--target-dir"])
            .arg(&self.parts)
            .current_dir(&self.root)
            .env_remove("RUSTFLAGS")
            .env("CARGO_ENCODED_RUSTFLAGS", rust)
            .env("CFLAGS", c)
            .env("SOURCE_DATE_EPOCH", self.time.to_string());
        run(&mut command)?;
        Ok(self.binary(target))
    }

    /// Where the binary for a target is once it is built.
    pub(super) fn binary(&self, target: &Target) -> PathBuf {
        self.parts.join(target.triple).join("release").join(target.binary())
    }

    /// Builds the binary for this machine; its speed does not count.
    pub(super) fn build_for_host(&self) -> Result<PathBuf, String> {
        let mut cargo = cargo();
        forget_chore(&mut cargo);
        cargo
            .args(["build", "--quiet", "--locked", "--bin", "kubectl-multimesh", "--target-dir"])
            .arg(&self.parts)
            .current_dir(&self.root);
        run(&mut cargo)?;
        Ok(self.parts.join("debug/kubectl-multimesh"))
    }

    /// Flags of both compilers that keep this machine's folders out of the binary.
    fn flags(&self) -> Result<(String, String), String> {
        let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
        let home = home.ok_or("neither `CARGO_HOME` nor `HOME` is set")?;
        let folders = [
            (self.root.display().to_string(), "/source"),
            (home.display().to_string(), "/cargo"),
            (sysroot.trim().to_owned(), "/rust"),
        ];
        let flags = |flag: &str, between: &str| {
            let flag = |(from, to): &(String, &str)| format!("{flag}={from}={to}");
            folders.iter().map(flag).collect::<Vec<_>>().join(between)
        };
        Ok((flags("--remap-path-prefix", "\x1f"), flags("-ffile-prefix-map", " ")))
    }
}
