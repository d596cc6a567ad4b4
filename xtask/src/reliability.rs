//! `cargo xtask reliability`: faults at length, counted, and written into docs/reliability.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde_json::Value;

use crate::interrupt;
use crate::lab;
use crate::say::{cargo, fail, root, say};
use crate::scratch::Scratch;

/// Inject faults at length, and count what is lost
#[derive(Args)]
pub(crate) struct Reliability {
    /// At how many points of each command it is killed
    #[arg(long, default_value_t = 100)]
    points: usize,
    /// The name of the lab that is used
    #[arg(long, default_value = "reliability")]
    name: String,
    /// Only tests whose name contains this: the other rows of the table stay
    filter: Option<String>,
}

/// Where the table begins and ends in the document.
const BEGIN: &str = "<!-- written by cargo xtask reliability -->";
const END: &str = "<!-- to here -->";
const HEADER: &str = "| command | fault | injected | finished in spite of it | ended, finished by \
                      the next run | lost |\n| --- | --- | ---: | ---: | ---: | ---: |\n";

pub(crate) fn run(reliability: &Reliability) -> ExitCode {
    match attempt(reliability) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) if interrupt::happened() => {
            say("interrupted; the lab is down");
            ExitCode::from(130)
        }
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

fn attempt(reliability: &Reliability) -> Result<bool, String> {
    interrupt::listen()?;
    let started = Instant::now();
    // Another run has another lab.
    let ledger = root().join(format!("target/reliability-{}.jsonl", reliability.name));
    let _ = fs::remove_file(&ledger);
    lab::start(&reliability.name, 1, true).map_err(|e| e.to_string())?;
    let passed = tests(reliability, &ledger);
    multimesh_lab::down(&reliability.name).map_err(|e| e.to_string())?;
    let passed = passed?;
    let rows = rows(&fs::read_to_string(&ledger).unwrap_or_default())?;
    if !passed {
        // A test that ends early has counted nothing of what it lost.
        say(&format!("\n{}\nnot written to docs/reliability.md: tests failed", show(&rows)));
        return Ok(false);
    }
    let document = root().join("docs/reliability.md");
    let table = write(&document, rows, reliability.filter.is_some())?;
    say(&format!("\n{table}\nwritten to {}", document.display()));
    say(&format!("it took {} s", started.elapsed().as_secs()));
    Ok(true)
}

/// Runs the tests of faults; says whether all of them passed.
fn tests(reliability: &Reliability, ledger: &Path) -> Result<bool, String> {
    let mut command = cargo();
    command.args(["test", "--no-fail-fast", "--features", "lab", "--test", "planes", "--"]);
    match &reliability.filter {
        Some(filter) => command.arg(format!("faults::{filter}")),
        None => command.arg("faults::"),
    };
    command
        .env("MULTIMESH_TEST_LAB", &reliability.name)
        .env("MULTIMESH_FAULT_POINTS", reliability.points.to_string())
        .env("MULTIMESH_RELIABILITY", ledger);
    let scratch = Scratch::new().map_err(|e| format!("no temporary folder: {e}"))?;
    let status = interrupt::spawn(command.env("TMPDIR", scratch.path()))
        .and_then(interrupt::wait)
        .map_err(|e| format!("cargo cannot be run: {e}"))?;
    Ok(status.success())
}

/// What is counted in a row: injected, finished, left, lost.
type Counts = [u64; 4];
/// Counts by command and fault.
type Rows = BTreeMap<(String, String), Counts>;

/// Adds the lines of the tests up.
fn rows(ledger: &str) -> Result<Rows, String> {
    let mut rows = Rows::new();
    for line in ledger.lines() {
        let line: Value = serde_json::from_str(line).map_err(|e| format!("{line}: {e}"))?;
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let counts = rows.entry((text("command"), text("fault"))).or_default();
        for (count, key) in counts.iter_mut().zip(["injected", "finished", "left", "lost"]) {
            *count += line[key].as_u64().unwrap_or_default();
        }
    }
    Ok(rows)
}

/// The rows of a table that was written before.
fn parse(table: &str) -> Rows {
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [command, fault, counts @ ..] = cells.as_slice() else { return None };
        let counts: Vec<u64> = counts.iter().filter_map(|it| it.parse().ok()).collect();
        Some(((command.to_string(), fault.to_string()), counts.try_into().ok()?))
    };
    table.lines().filter(|line| !line.starts_with("| **")).filter_map(row).collect()
}

fn show(rows: &Rows) -> String {
    let cells = |counts: &Counts| counts.map(|it| it.to_string()).join(" | ");
    let mut all = Counts::default();
    let mut table = HEADER.to_owned();
    for ((command, fault), counts) in rows {
        all.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        table += &["| ", command, " | ", fault, " | ", &cells(counts), " |\n"].concat();
    }
    table + &["| **all** | | ", &cells(&all), " |\n"].concat()
}

/// Puts the table into the document; with `keep`, rows stay that are not in this one.
fn write(document: &PathBuf, rows: Rows, keep: bool) -> Result<String, String> {
    let text = fs::read_to_string(document)
        .map_err(|e| format!("{} cannot be read: {e}", document.display()))?;
    let marks = || {
        let (before, rest) = text.split_once(BEGIN)?;
        let (table, after) = rest.split_once(END)?;
        Some((before, table, after))
    };
    let (before, old, after) =
        marks().ok_or_else(|| format!("{} has no place for the table", document.display()))?;
    let mut all = if keep { parse(old) } else { Rows::new() };
    all.extend(rows);
    let table = show(&all);
    let text = format!("{before}{BEGIN}\n{table}{END}{after}");
    fs::write(document, text)
        .map_err(|e| format!("{} cannot be written: {e}", document.display()))?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_up_and_read_again() {
        let ledger = r#"{"command": "apply", "fault": "cut", "injected": 2, "finished": 1, "left": 1, "lost": 0}
{"command": "apply", "fault": "cut", "injected": 3, "finished": 0, "left": 1, "lost": 0}
{"command": "status", "fault": "cut", "injected": 1, "finished": 1, "left": 0, "lost": 1}
"#;
        let rows = rows(ledger).expect("rows");
        assert_eq!(rows[&("apply".into(), "cut".into())], [5, 1, 2, 0]);
        let table = show(&rows);
        assert!(table.ends_with("| **all** | | 6 | 2 | 2 | 1 |\n"), "{table}");
        assert_eq!(parse(&table), rows);
    }
}
