//! What each command prints at terminals of all kinds, in a CI log and into a pipe: nothing that
//! the reader cannot show, and nothing cut.

#![cfg(target_os = "linux")]

use assert_cmd::Command;
use regex::Regex;

use super::sandbox::{BINARY, LIMIT, Sandbox};
use super::{shop, three_contexts};

/// A line of each kind of output: help, tables, progress, errors, a preview.
const COMMANDS: [&[&str]; 15] = [
    &["--help"],
    &["apply", "--help"],
    &["init", "--mesh-id", "shop"],
    &["plan"],
    &["apply"],
    &["status"],
    &["status", "-o", "wide"],
    &["plan", "-o", "diff"],
    &["version", "--contexts", "/./"],
    &["completion", "install", "--in", "."],
    &["teardown", "--dry-run"],
    &["render", "--out", "clusters"],
    &["list"],
    &["version"],
    &["nonsense"],
];

/// Two clusters that do not answer.
fn user() -> Sandbox {
    let contexts = "  context-east-1: {network: east}\n  context-west-1: {network: west}\n";
    let sandbox = shop(&three_contexts(), contexts);
    sandbox.good_istioctl();
    sandbox
}

/// Runs the binary at a terminal of 80 columns with these variables; gives all that it printed there.
fn at_terminal(sandbox: &Sandbox, variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let line = format!("/bin/stty cols 80 rows 24; exec {BINARY} {}", arguments.join(" "));
    let mut script = Command::new("/usr/bin/script");
    script.env_clear().envs(sandbox.environment()).env("SHELL", "/bin/sh");
    script.envs(variables.iter().copied()).current_dir(sandbox.path("home"));
    script.args(["-qec", &line, "/dev/null"]).timeout(LIMIT);
    sandbox.end(script).stdout.replace("\r\n", "\n")
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).unwrap().is_match(text)
}

/// Whether the text sets a colour or a weight.
fn is_painted(text: &str) -> bool {
    matches("\u{1b}\\[[0-9;]*m", text)
}

/// Whether the text goes back to what was printed before.
fn is_redrawn(text: &str) -> bool {
    matches("\r|\u{1b}\\[[0-9;?]*[A-Zhln]", text)
}

#[test]
fn a_terminal_that_can_do_all_gets_colours_and_lines_that_change() {
    let sandbox = user();
    let told = at_terminal(&sandbox, &[("TERM", "xterm-256color")], &["apply"]);
    assert!(is_painted(&told) && is_redrawn(&told), "{told:?}");
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let sandbox = user();
    for command in COMMANDS {
        let told = at_terminal(&sandbox, &[("TERM", "dumb")], command);
        assert!(!told.is_empty() && !told.contains(['\u{1b}', '\r']), "{command:?}: {told:?}");
    }
}

#[test]
fn no_color_means_no_colours() {
    let sandbox = user();
    for command in COMMANDS {
        let variables = [("TERM", "xterm-256color"), ("NO_COLOR", "1")];
        let told = at_terminal(&sandbox, &variables, command);
        assert!(!told.is_empty() && !is_painted(&told), "{command:?}: {told:?}");
    }
}

#[test]
fn a_ci_log_keeps_every_line() {
    let sandbox = user();
    for command in COMMANDS {
        let variables = [("TERM", "xterm-256color"), ("CI", "true")];
        let told = at_terminal(&sandbox, &variables, command);
        assert!(!told.is_empty() && !is_redrawn(&told), "{command:?}: {told:?}");
    }
}

#[test]
fn a_pipe_gets_plain_lines_whatever_the_terminal() {
    let sandbox = user();
    for arguments in COMMANDS {
        let mut command = sandbox.command(arguments);
        command.env("TERM", "xterm-256color");
        let told = sandbox.end(command).output();
        assert!(!told.is_empty() && !told.contains(['\u{1b}', '\r']), "{arguments:?}: {told:?}");
    }
}

#[test]
fn tables_and_help_fit_eighty_columns() {
    let sandbox = user();
    for command in [&["--help"][..], &["apply", "--help"], &["plan", "--help"], &["version"]] {
        let told = at_terminal(&sandbox, &[("TERM", "dumb")], command);
        // Where programs stand is the user's own, and told whole.
        let bin = sandbox.path("bin").display().to_string();
        let told = told.replace(BINARY, "/usr/local/bin/kubectl-multimesh").replace(&bin, "/bin");
        let wide = told.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{command:?}");
    }
}

#[test]
fn lines_that_change_hide_and_cut_no_error() {
    let sandbox = user();
    let told = at_terminal(&sandbox, &[("TERM", "xterm-256color")], &["apply"]);
    let plain =
        Regex::new("\u{1b}\\[[0-9;?]*[a-zA-Z]").unwrap().replace_all(&told, "").into_owned();
    let lines: Vec<&str> = plain.split(['\n', '\r']).collect();
    for (context, address) in [("context-east-1", "10.1.0.1"), ("context-west-1", "10.2.0.1")] {
        let why = format!(
            "the proxy http://127.0.0.1:9 on the way to the API server at https://{address}:6443 \
             refused the connection"
        );
        let rows = lines.iter().filter(|it| it.starts_with("x ") && it.ends_with(&why));
        let rows: Vec<_> = rows.filter(|row| row.contains(context)).collect();
        assert_eq!(rows.len(), 1, "{context}: {plain}");
        assert!(lines.contains(&format!("  `{context}`: {why}").as_str()), "{context}: {plain}");
    }
    let error = lines.iter().position(|line| line.starts_with("error: none of the 2 clusters"));
    let last_row = lines.iter().rposition(|line| line.starts_with("x "));
    assert!(error > last_row && last_row.is_some(), "{plain}");
}
