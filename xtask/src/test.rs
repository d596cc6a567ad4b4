//! `cargo xtask test`: all checks and all tiers of tests, and one closing line that counts them.

use std::fmt::Display;
use std::io::BufReader;
use std::num::NonZero;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Args;
use multimesh_lab::{Cluster, Lab, requirements};

use crate::interrupt;
use crate::krew;
use crate::lab;
use crate::say::{cargo, fail, say};
use crate::scratch::Scratch;

/// The lab of the tests, beside the user's own.
const LAB: &str = "test";
/// The test targets that need a lab.
const LAB_TARGETS: [&str; 2] = [PLANES, "mesh"];
/// Those that run on control planes without nodes.
const PLANES: &str = "planes";

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

impl Tally {
    /// Counts what failed without being a test that cargo counts.
    fn fail(&mut self, count: usize, why: &dyn Display) {
        say(&format!("error: {why}"));
        self.failed += count;
    }
}

pub(crate) fn run(test: &Test) -> ExitCode {
    if let Err(error) = interrupt::listen() {
        return fail(&error);
    }
    let started = Instant::now();
    let mut tally = Tally::default();
    let filter = test.filter.as_deref();
    if filter.is_none() {
        checks(&mut tally);
    }
    tier(&mut tally, "unit and binary", &["--workspace"], filter, None);
    lab_tiers(test, &mut tally);
    if interrupt::happened() {
        say("\ninterrupted");
        return ExitCode::from(130);
    }
    if let Some(filter) = filter
        && tally.passed + tally.failed + tally.skipped == 0
    {
        tally.fail(1, &format!("no test has a name that contains `{filter}`"));
    }
    say(&format!("\nall tiers took {} s", started.elapsed().as_secs()));
    say(&format!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped));
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Format, lints and the rules for dependencies; each counts as one test.
fn checks(tally: &mut Tally) {
    let lints = ["clippy", "--quiet", "--workspace", "--all-targets", "--features", "lab"];
    let mut clippy = lints.to_vec();
    clippy.extend(["--", "-D", "warnings"]);
    check(tally, "format", &["fmt", "--all", "--check"]);
    check(tally, "lints", &clippy);
    if !answers(cargo().args(["deny", "--version"])) {
        say("installing cargo-deny (a few minutes, once)");
        let install = ["install", "--quiet", "--locked", "cargo-deny", "--version", "0.20.2"];
        check(tally, "cargo-deny is installed", &install);
    }
    check(
        tally,
        "dependencies",
        &["deny", "--log-level", "error", "check", "bans", "licenses", "sources"],
    );
    manifest(tally);
}

/// Holds krew's manifest against its rules, and tells what it lacks for a release.
fn manifest(tally: &mut Tally) {
    match krew::tree(false) {
        Ok(report) if report.faults.is_empty() => {
            for note in &report.notes {
                say(&format!("note: {note}"));
            }
            say("check krew manifest ... ok");
            tally.passed += 1;
        }
        Ok(report) => tally.fail(1, &format!("check krew manifest: {}", report.faults.join("; "))),
        Err(error) => tally.fail(1, &format!("check krew manifest: {error}")),
    }
}

fn check(tally: &mut Tally, name: &str, arguments: &[&str]) {
    if interrupt::happened() {
        return;
    }
    match interrupt::spawn(cargo().args(arguments)).and_then(interrupt::wait) {
        Ok(status) if status.success() => {
            say(&format!("check {name} ... ok"));
            tally.passed += 1;
        }
        Ok(_) => {
            say(&format!("check {name} ... FAILED"));
            tally.failed += 1;
        }
        Err(error) => tally.fail(1, &format!("check {name}: cargo cannot be run: {error}")),
    }
}

fn answers(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs the tiers that need a lab. Where that cannot be, their tests count as skipped, or as
/// failed if everything must run.
fn lab_tiers(test: &Test, tally: &mut Tally) {
    if interrupt::happened() {
        return;
    }
    let filter = test.filter.as_deref();
    let mut tests = Vec::new();
    for target in LAB_TARGETS {
        match list(target, filter) {
            Ok(0) if filter.is_some() => {}
            Ok(0) => tally.fail(1, &format!("tier {target} has no test")),
            Ok(count) => tests.push((target, count)),
            Err(why) => tally.fail(1, &format!("tier {target}: {why}")),
        }
    }
    if tests.is_empty() {
        return;
    }
    if let Err(missing) = requirements() {
        let required = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        for (target, count) in tests {
            if required {
                tally.fail(count, &format!("tier {target}: its {count} tests must run: {missing}"));
            } else {
                say(&format!("tier {target}: {count} tests skipped: {missing}"));
                tally.skipped += count;
            }
        }
        return;
    }
    match start_lab() {
        Ok(lab) => {
            for (target, _) in tests {
                let arguments = ["--features", "lab", "--test", target];
                tier(tally, target, &arguments, filter, Some(&lab));
                // They cost the next tier time, even if nobody uses them.
                if let Err(error) = remove_planes(&lab) {
                    tally
                        .fail(1, &format!("control planes of the tier {target} are left: {error}"));
                }
            }
            if test.keep_lab && !interrupt::happened() {
                say(&format!("the lab is left up: `cargo xtask lab down --name {LAB}`"));
                return;
            }
        }
        Err(error) => {
            say(&format!("error: the lab `{LAB}` does not start: {error}"));
            for (target, count) in tests {
                tally.fail(count, &format!("tier {target}: its {count} tests have no lab"));
            }
        }
    }
    // The second one is of a test, which may have been interrupted.
    for name in [LAB, &format!("life-{LAB}")] {
        if let Err(error) = multimesh_lab::down(name) {
            tally.fail(1, &format!("the lab `{name}` does not end: {error}"));
        }
    }
}

/// Starts the lab of the tests, or takes the one that was kept.
fn start_lab() -> multimesh_lab::Result<Lab> {
    say("\nthe lab: building what is missing, starting three clusters");
    if let Ok(lab) = Lab::open(LAB) {
        remove_planes(&lab)?;
    }
    lab::start(LAB, 3, false)
}

/// Removes the control planes that tests have claimed, also those of tests that were interrupted. One
/// that is half gone keeps the others from leaving without an error, so what counts is the end of it.
fn remove_planes(lab: &Lab) -> multimesh_lab::Result<()> {
    let leave = |cluster: &Cluster| (!cluster.has_node).then(|| lab.remove_control_plane(cluster));
    let results: Vec<_> = lab.clusters()?.iter().filter_map(leave).collect();
    if lab.clusters()?.iter().any(|cluster| !cluster.has_node) {
        results.into_iter().collect::<multimesh_lab::Result<()>>()?;
    }
    Ok(())
}

/// Compiles a test target and counts its tests.
fn list(target: &str, filter: Option<&str>) -> Result<usize, String> {
    let list = cargo()
        .args(["test", "--quiet", "--features", "lab", "--test", target, "--", "--list"])
        .args(filter)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cargo cannot be run: {e}"))?;
    if !list.status.success() {
        return Err(format!("its tests cannot be listed: cargo ended with {}", list.status));
    }
    let list = String::from_utf8_lossy(&list.stdout);
    Ok(list.lines().filter(|line| line.ends_with(": test")).count())
}

/// Runs one tier and adds what cargo counted.
fn tier(
    tally: &mut Tally,
    name: &str,
    arguments: &[&str],
    filter: Option<&str>,
    lab: Option<&Lab>,
) {
    if interrupt::happened() {
        return;
    }
    say(&format!("\ntier: {name}"));
    let scratch = match Scratch::new() {
        Ok(scratch) => scratch,
        Err(error) => return tally.fail(1, &format!("tier {name}: no temporary folder: {error}")),
    };
    let mut command = cargo();
    command.env("TMPDIR", scratch.path());
    command.args(["test", "--no-fail-fast"]).args(arguments).args(filter);
    if let Some(lab) = lab {
        command.env("MULTIMESH_TEST_LAB", lab.name());
    }
    // Its tests wait for API servers and time limits as well as compute.
    if name == PLANES && std::env::var_os("RUST_TEST_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        command.env("RUST_TEST_THREADS", (cores + cores.div_ceil(2)).to_string());
    }
    let mut child = match interrupt::spawn(command.stdout(Stdio::piped())) {
        Ok(child) => child,
        Err(error) => return tally.fail(1, &format!("tier {name}: cargo cannot be run: {error}")),
    };
    let output = child.stdout.take().map(BufReader::new);
    let (passed, failed) = (tally.passed, tally.failed);
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
    match interrupt::wait(child) {
        // Counted by nobody, as it is no result.
        _ if interrupt::happened() => {}
        // A target that does not compile, or a process that dies, counts no test as failed itself.
        Ok(status) if !status.success() && tally.failed == failed => {
            tally.fail(1, &format!("tier {name}: cargo ended with {status}"));
        }
        Ok(_) if tally.passed + tally.failed == passed + failed && filter.is_none() => {
            tally.fail(1, &format!("tier {name} ran no test"));
        }
        Ok(_) => {}
        Err(error) => tally.fail(1, &format!("tier {name}: cargo did not end: {error}")),
    }
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
