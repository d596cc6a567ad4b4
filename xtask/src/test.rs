//! `cargo xtask test`: all checks and all tiers of tests, and one closing line that counts them.

use std::io::BufReader;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Args;
use multimesh_lab::{Lab, requirements};

use crate::lab;
use crate::say::{cargo, fail, say};

/// The lab of the tests, beside the user's own.
const LAB: &str = "test";
/// The test targets that need a lab.
const LAB_TARGETS: [&str; 2] = ["planes", "mesh"];

/// Run all checks and tests
#[derive(Args)]
pub(crate) struct Test {
    /// Leave the lab up for the next run
    #[arg(long)]
    keep_lab: bool,
    /// Only tests whose name contains this, without the checks
    filter: Option<String>,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

pub(crate) fn run(test: &Test) -> ExitCode {
    match attempt(test) {
        Ok(tally) if tally.failed == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

fn attempt(test: &Test) -> Result<Tally, String> {
    let started = Instant::now();
    let mut tally = Tally::default();
    if test.filter.is_none() {
        checks(&mut tally)?;
    }
    tier(&mut tally, "unit and binary", &["--workspace"], test.filter.as_deref(), None)?;
    match requirements() {
        Ok(()) => with_lab(test, &mut tally)?,
        Err(missing) => without_lab(&mut tally, &missing.to_string())?,
    }
    say(&format!("\nall tiers took {} s", started.elapsed().as_secs()));
    say(&format!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped));
    Ok(tally)
}

/// Format, lints and the rules for dependencies; each counts as one test.
fn checks(tally: &mut Tally) -> Result<(), String> {
    let lints = ["clippy", "--quiet", "--workspace", "--all-targets", "--features", "lab"];
    let mut clippy = lints.to_vec();
    clippy.extend(["--", "-D", "warnings"]);
    check(tally, "format", &["fmt", "--all", "--check"])?;
    check(tally, "lints", &clippy)?;
    if !answers(cargo().args(["deny", "--version"])) {
        say("installing cargo-deny (a few minutes, once)");
        let install = ["install", "--quiet", "--locked", "cargo-deny", "--version", "0.20.2"];
        check(tally, "cargo-deny is installed", &install)?;
    }
    // The database of advisories is fetched from the network, so it is a check of its own in CI.
    check(
        tally,
        "dependencies",
        &["deny", "--log-level", "error", "check", "bans", "licenses", "sources"],
    )
}

fn check(tally: &mut Tally, name: &str, arguments: &[&str]) -> Result<(), String> {
    let status =
        cargo().args(arguments).status().map_err(|e| format!("cargo cannot be run: {e}"))?;
    let word = if status.success() { "ok" } else { "FAILED" };
    say(&format!("check {name} ... {word}"));
    if status.success() {
        tally.passed += 1;
    } else {
        tally.failed += 1;
    }
    Ok(())
}

fn answers(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn with_lab(test: &Test, tally: &mut Tally) -> Result<(), String> {
    say("\nthe lab: building what is missing, starting three clusters");
    let lab = lab::start(LAB, 3, false).map_err(|e| e.to_string())?;
    let result = LAB_TARGETS.iter().try_for_each(|target| {
        let arguments = ["--features", "lab", "--test", target];
        tier(tally, target, &arguments, test.filter.as_deref(), Some(&lab))
    });
    if test.keep_lab {
        say(&format!("the lab is left up: `cargo xtask lab down --name {LAB}`"));
    } else {
        lab.down().map_err(|e| e.to_string())?;
    }
    result
}

/// Counts the tests that cannot run here; where everything must run, they are failures.
fn without_lab(tally: &mut Tally, why: &str) -> Result<(), String> {
    let required = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    for target in LAB_TARGETS {
        let list = cargo()
            .args(["test", "--quiet", "--features", "lab", "--test", target, "--", "--list"])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| format!("cargo cannot be run: {e}"))?;
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        let count = list.lines().filter(|line| line.ends_with(": test")).count();
        say(&format!("tier {target}: {count} tests skipped: {why}"));
        if required {
            tally.failed += count.max(1);
        } else {
            tally.skipped += count;
        }
    }
    Ok(())
}

/// Runs one tier and adds what cargo counted.
fn tier(
    tally: &mut Tally,
    name: &str,
    arguments: &[&str],
    filter: Option<&str>,
    lab: Option<&Lab>,
) -> Result<(), String> {
    say(&format!("\ntier: {name}"));
    let mut command = cargo();
    command.args(["test", "--no-fail-fast"]).args(arguments).args(filter);
    if let Some(lab) = lab {
        command.env("MULTIMESH_TEST_LAB", lab.name());
    }
    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|e| format!("cargo cannot be run: {e}"))?;
    let output = child.stdout.take().map(BufReader::new);
    let before = tally.passed + tally.failed;
    let mut skipped = 0;
    for line in output.into_iter().flat_map(std::io::BufRead::lines).map_while(Result::ok) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            // A test that finds that it cannot run here says so, and passes for cargo.
            tally.passed += counted(counts, "passed").saturating_sub(skipped);
            tally.skipped += std::mem::take(&mut skipped);
            tally.failed += counted(counts, "failed");
            tally.skipped += counted(counts, "ignored");
        }
        skipped += usize::from(line.starts_with("skipped: "));
        say(&line);
    }
    let status = child.wait().map_err(|e| format!("cargo did not end: {e}"))?;
    // A target that does not compile, or a process that dies, counts no test as failed itself.
    if !status.success() && tally.failed == 0 {
        tally.failed += 1;
    }
    if tally.passed + tally.failed == before && filter.is_none() {
        return Err(format!("tier {name} ran no test"));
    }
    Ok(())
}

/// The number before a word in `ok. 3 passed; 0 failed; 1 ignored; ...`.
fn counted(counts: &str, word: &str) -> usize {
    let mut parts = counts.split([';', '.']).map(str::trim);
    parts.find_map(|part| part.strip_suffix(word)?.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_counted_is_read() {
        let line =
            "FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.02s";
        assert_eq!(counted(line, "passed"), 12);
        assert_eq!(counted(line, "failed"), 3);
        assert_eq!(counted(line, "ignored"), 1);
        assert_eq!(counted("nonsense", "passed"), 0);
    }
}
