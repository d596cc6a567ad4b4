//! The tools that a release is made with: installed once, at these versions.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::{output, run};
use crate::say::{cargo, root, say};

const ZIGBUILD: &str = "0.24.0";
const ZIG: &str = "0.17.1";
const CYCLONEDX: &str = "0.5.9";

/// Where the tools are; another version is another folder.
fn folder(name: &str, version: &str) -> PathBuf {
    root().join("target/dist-tools").join(format!("{name}-{version}"))
}

/// zig as C compiler and linker for other platforms, and cargo-zigbuild, which hands it to cargo.
pub(super) struct Zig {
    folder: PathBuf,
}

impl Zig {
    pub(super) fn install() -> Result<Self, String> {
        let folder = folder("zig", &format!("{ZIG}-{ZIGBUILD}"));
        let zig = Self { folder };
        if !zig.folder.join("bin/cargo-zigbuild").is_file() {
            say("installing zig and cargo-zigbuild");
            run(Command::new("python3").args(["-m", "venv"]).arg(&zig.folder))?;
            let pins = [format!("ziglang=={ZIG}"), format!("cargo-zigbuild=={ZIGBUILD}")];
            let words = ["-m", "pip", "install", "--quiet"];
            run(Command::new(zig.python()).args(words).args(pins))?;
        }
        Ok(zig)
    }

    fn python(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    /// A command that takes what `cargo build` takes.
    pub(super) fn build(&self) -> Command {
        let mut command = Command::new(self.folder.join("bin/cargo-zigbuild"));
        command
            .arg("zigbuild")
            .env("CARGO_ZIGBUILD_PYTHON_PATH", self.python())
            .env("CARGO_ZIGBUILD_CACHE_DIR", self.folder.join("cache"));
        command
    }
}

/// The standard library of a target.
pub(super) fn install_std(triple: &str) -> Result<(), String> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(triple).is_dir() {
        return Ok(());
    }
    say(&format!("installing the standard library for {triple}"));
    run(Command::new("rustup").args(["target", "add", triple]))
}

/// cargo-cyclonedx, which lists what the released package is made of.
pub(super) fn cyclonedx() -> Result<PathBuf, String> {
    let folder = folder("cyclonedx", CYCLONEDX);
    let program = folder.join("bin/cargo-cyclonedx");
    if !program.is_file() {
        say("installing cargo-cyclonedx (a few minutes, once)");
        let words = ["install", "--quiet", "--locked", "cargo-cyclonedx", "--version", CYCLONEDX];
        run(cargo().args(words).arg("--root").arg(&folder))?;
    }
    Ok(program)
}
