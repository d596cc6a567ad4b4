//! Programs that a release is made with.

use std::path::Path;
use std::process::Command;

/// Runs a command that must succeed.
pub(super) fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| cannot(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` ended with {status}", name(command))) }
}

/// Runs a command that must succeed, and gives what it printed.
pub(super) fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| cannot(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{}` ended with {}: {}", name(command), output.status, said.trim()))
}

fn cannot(command: &Command, error: &std::io::Error) -> String {
    format!("`{}` cannot be run: {error}", name(command))
}

fn name(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Copies what is committed in a repository.
pub(super) fn clone(root: &Path, to: &Path) -> Result<(), String> {
    run(Command::new("git").args(["clone", "--quiet"]).arg(root).arg(to))
}
