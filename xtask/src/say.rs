//! Talking to the one who runs a chore, and running other programs for them.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a chore talks to the one who runs it"
)]

use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Tells what goes on.
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// Prints a result.
pub(crate) fn print(text: &str) {
    println!("{text}");
}

/// Tells a failure and gives the exit code for it.
pub(crate) fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// The cargo that runs this chore.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Keeps from a command what `cargo run` told this program about itself: build scripts take it for a
/// change.
pub(crate) fn forget_chore(command: &mut Command) {
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map(PathBuf::from).unwrap_or(own)
}

/// A word for a shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
