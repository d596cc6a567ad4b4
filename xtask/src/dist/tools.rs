//! The tools that a release is made with: installed once, at these versions.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use super::command::{output, run};
use crate::say::{cargo, root, say};

/// The compiler and its cargo: others make other bytes of the same source.
const RUST: &str = "1.95.0";
const ZIGBUILD: &str = "0.24.0";
const ZIG: &str = "0.17.1";
const CYCLONEDX: &str = "0.5.9";

/// What a build takes from the environment, so that a user's own settings make other bytes.
const SETTINGS: [&str; 9] = [
    "CARGO_BUILD_",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "CFLAGS",
    "RUSTFLAGS",
    "TARGET_CFLAGS",
];

/// Where the tools are; another version is another folder.
fn folder(name: &str, version: &str) -> PathBuf {
    root().join("target/dist-tools").join(format!("{name}-{version}"))
}

/// Has a command, and all that it starts, use the compiler of releases and nobody's own settings.
fn pinned(mut command: Command) -> Command {
    for (variable, _) in env::vars_os() {
        let name = variable.to_string_lossy();
        if SETTINGS.iter().any(|setting| name.starts_with(setting)) {
            command.env_remove(&variable);
        }
    }
    // This chore's own cargo may be another one.
    command.env_remove("CARGO").env("RUSTUP_TOOLCHAIN", RUST);
    command
}

/// A command that takes what `cargo build` takes.
pub(super) fn cargo_build() -> Command {
    let mut cargo = pinned(Command::new("cargo"));
    cargo.arg("build");
    cargo
}

/// The same with zig as C compiler and linker, by cargo-zigbuild.
pub(super) fn zig_build() -> Result<Command, String> {
    let folder = folder("zig", &format!("{ZIG}-{ZIGBUILD}"));
    let (python, program) = (folder.join("bin/python"), folder.join("bin/cargo-zigbuild"));
    if !program.is_file() {
        say("installing zig and cargo-zigbuild");
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let pins = [format!("ziglang=={ZIG}"), format!("cargo-zigbuild=={ZIGBUILD}")];
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(pins))?;
    }
    let mut command = pinned(Command::new(program));
    command
        .arg("zigbuild")
        .env("CARGO_ZIGBUILD_PYTHON_PATH", python)
        .env("CARGO_ZIGBUILD_CACHE_DIR", folder.join("cache"));
    Ok(command)
}

/// Installs the compiler with the standard library of a target, and says in which folder it is.
pub(super) fn rust(triple: &str) -> Result<PathBuf, String> {
    let sysroot = || {
        let mut rustc = pinned(Command::new("rustc"));
        let folder = output(rustc.args(["--print", "sysroot"]))?;
        Ok::<_, String>(PathBuf::from(folder.trim()))
    };
    let mut found = sysroot();
    if found.is_err() {
        say(&format!("installing Rust {RUST}"));
        let words = ["toolchain", "install", RUST, "--profile", "minimal", "--no-self-update"];
        run(Command::new("rustup").args(words))?;
        found = sysroot();
    }
    let found = found?;
    if !found.join("lib/rustlib").join(triple).is_dir() {
        say(&format!("installing the standard library for {triple}"));
        run(Command::new("rustup").args(["target", "add", "--toolchain", RUST, triple]))?;
    }
    Ok(found)
}

/// cargo-cyclonedx, which lists what the released package is made of.
pub(super) fn cyclonedx() -> Result<Command, String> {
    let folder = folder("cyclonedx", CYCLONEDX);
    let program = folder.join("bin/cargo-cyclonedx");
    if !program.is_file() {
        say("installing cargo-cyclonedx (a few minutes, once)");
        let words = ["install", "--quiet", "--locked", "cargo-cyclonedx", "--version", CYCLONEDX];
        run(cargo().args(words).arg("--root").arg(&folder))?;
    }
    Ok(pinned(Command::new(program)))
}

/// zig's C compiler.
pub(super) fn zig_cc() -> Result<Command, String> {
    let program = PathBuf::from(zig_build()?.get_program());
    let mut command = Command::new(program.with_file_name("python"));
    command.args(["-m", "ziglang", "cc"]);
    Ok(command)
}
