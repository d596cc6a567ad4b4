//! The help of every command, and how it calls the tool.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;

use insta::assert_snapshot;

use super::sandbox::{BINARY, Run, Sandbox};
use super::shown::{assert_ours, commands};
use super::three_contexts;

/// The words of every command that is shown, the program itself first.
fn all() -> Vec<Vec<String>> {
    fn below(command: &clap::Command, words: &[String], all: &mut Vec<Vec<String>>) {
        all.push(words.to_vec());
        for it in command.get_subcommands().filter(|it| !it.is_hide_set()) {
            below(it, &[words, &[it.get_name().to_owned()]].concat(), all);
        }
    }
    let mut all = Vec::new();
    below(&multimesh::cli::command(), &[], &mut all);
    all
}

fn help(sandbox: &Sandbox, words: &[String], flag: &str, columns: &str) -> String {
    let words: Vec<&str> = words.iter().map(String::as_str).chain([flag]).collect();
    let mut command = sandbox.command(&words);
    command.env("COLUMNS", columns);
    let run = sandbox.end(command).expect(0);
    assert_eq!(run.stderr, "", "{words:?}");
    run.stdout
}

#[test]
fn the_whole_help_stands_and_fits_eighty_columns() {
    let sandbox = Sandbox::new();
    let mut whole = String::new();
    for words in all() {
        let text = help(&sandbox, &words, "--help", "80");
        let title = format!("kubectl multimesh {}", words.join(" "));
        let long = text.lines().find(|line| line.chars().count() > 80);
        assert_eq!(long, None, "{title} does not fit");
        assert_eq!(help(&sandbox, &words, "-h", "80"), text, "{title} -h");
        for part in ["\nExamples:\n", "\nUsage: kubectl multimesh", "\nExit codes:\n"] {
            assert!(text.contains(part), "{title} lacks {part:?}: {text}");
        }
        // What is broken in two does not work as it is printed.
        let (_, examples) = text.split_once("\nExamples:\n").unwrap();
        let (examples, _) = examples.split_once("\n\nUsage: ").unwrap();
        for example in examples.split("\n\n") {
            let lines: Vec<&str> = example.lines().collect();
            assert!(lines.len() == 2 && lines[0].starts_with("  # "), "{title}: {example}");
        }
        let rule = "=".repeat(80);
        writeln!(whole, "{rule}\n{}\n{rule}\n{}", title.trim_end(), text.trim_end()).unwrap();
    }
    assert_snapshot!("help", whole);
}

#[test]
fn help_before_a_command_is_the_commands_help() {
    let sandbox = Sandbox::new();
    for words in [&[][..], &["apply"], &["completion", "install"]] {
        let asked = sandbox.run(&[&["help"], words].concat()).expect(0);
        let flagged = sandbox.run(&[words, &["--help"]].concat()).expect(0);
        assert_eq!(asked.output(), flagged.output(), "{words:?}");
    }
    assert_eq!(sandbox.run(&["help", "help"]).output(), sandbox.run(&["--help"]).output());
    let run = sandbox.run(&["help", "nonsense"]).expect(64);
    assert!(run.stderr.contains("unrecognized subcommand 'nonsense'"), "{}", run.stderr);
}

#[test]
fn a_wide_terminal_gets_lines_that_can_be_read_and_a_pipe_gets_eighty_columns() {
    let sandbox = Sandbox::new();
    for words in all() {
        let wide = help(&sandbox, &words, "--help", "200");
        assert!(wide.lines().all(|line| line.chars().count() <= 100), "{words:?}: {wide}");
        let words: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let mut command = sandbox.command(&words);
        command.write_stdin("");
        let piped = sandbox.end(command).expect(0).stdout;
        assert!(piped.lines().all(|line| line.chars().count() <= 80), "{words:?}: {piped}");
    }
}

#[test]
fn what_the_help_shows_is_taken() {
    let sandbox = Sandbox::new();
    for words in all() {
        let text = help(&sandbox, &words, "--help", "100");
        let (text, _) = text.split_once("\nUsage: ").unwrap();
        let (_, text) = text.split_once("\nExamples:\n").unwrap();
        let shown = [commands(text, "kubectl multimesh "), commands(text, "kubectl-multimesh ")];
        let shown = shown.concat();
        assert!(!shown.is_empty(), "{words:?}: {text}");
        for command in &shown {
            assert_ours(command, &format!("help of {words:?}"));
        }
    }
}

/// Runs the binary under a name, as whoever starts it hands it over.
fn called(sandbox: &Sandbox, name: &str, arguments: &[&str]) -> Run {
    let mut command = std::process::Command::new(BINARY);
    command.arg0(name).args(arguments).env_clear().envs(sandbox.environment());
    sandbox.ended(&command.current_dir(sandbox.path("home")).output().unwrap())
}

#[test]
fn usage_examples_and_hints_call_the_tool_as_the_user_did() {
    let sandbox = Sandbox::with(&three_contexts());
    // kubectl hands over the path that it found.
    let plugin = sandbox.path("bin/kubectl-multimesh").display().to_string();
    for (name, words, other) in [
        (plugin.as_str(), "kubectl multimesh", "kubectl-multimesh"),
        ("kubectl-multimesh", "kubectl-multimesh", "kubectl multimesh"),
        ("./kubectl-multimesh", "kubectl-multimesh", "kubectl multimesh"),
        ("mesh", "kubectl multimesh", "kubectl-multimesh"),
    ] {
        let help = called(&sandbox, name, &["apply", "--help"]).expect(0).stdout;
        assert!(help.contains(&format!("Usage: {words} apply [OPTIONS]")), "{name}: {help}");
        assert!(help.contains(&format!("\n  {words} apply -f topology.yaml")), "{name}: {help}");
        assert!(!help.contains(other), "{name}: {help}");
        let wrong = called(&sandbox, name, &["aply"]).expect(64).stderr;
        assert!(wrong.contains(&format!("Usage: {words} [OPTIONS] <COMMAND>")), "{name}: {wrong}");
        let refused = called(&sandbox, name, &["apply"]).expect(64).stderr;
        assert!(refused.contains(&format!("`{words} init --mesh-id <mesh id>`")), "{refused}");
        let dir = sandbox.path(&format!("{}-{}", words.len(), name.len())).display().to_string();
        let init = called(&sandbox, name, &["init", "--mesh-id", "shop", "--dir", &dir]).expect(0);
        assert!(init.stderr.contains(&format!("`{words} apply --dir {dir}`")), "{}", init.stderr);
        let version = called(&sandbox, name, &["--version"]).expect(0).stdout;
        assert!(
            version.starts_with(&format!("{words} {}", env!("CARGO_PKG_VERSION"))),
            "{version}"
        );
    }
}

#[test]
fn a_shell_hands_over_the_word_that_was_typed() {
    let sandbox = Sandbox::new();
    std::os::unix::fs::symlink(BINARY, sandbox.path("bin/kubectl-multimesh")).unwrap();
    let mut command = assert_cmd::Command::new("/bin/sh");
    command.env_clear().envs(sandbox.environment()).args(["-c", "kubectl-multimesh status --help"]);
    let help = sandbox.end(command).expect(0).stdout;
    assert!(help.contains("Usage: kubectl-multimesh status [OPTIONS]"), "{help}");
}
