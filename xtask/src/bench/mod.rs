//! `cargo xtask bench`: the tool, the manual way and the floor beside each other, in one run on one
//! machine. What is compared with what, and why, is told in docs/performance.md.

pub(crate) mod bare;
mod binary;
mod docs;
mod ground;
mod machine;
mod manual;
mod measure;
mod nodes;
mod planes;
mod quiet;
mod report;
mod scale;
mod scripts;
mod writes;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

use clap::{Args, ValueEnum};
use multimesh_lab::{programs, requirements};
use serde_json::{Map, Value};

use self::ground::Tools;
use self::report::Row;
use crate::dist;
use crate::interrupt::{INTERRUPTED, listen};
use crate::say::{cargo, fail, forget_chore, print, root, say};

/// How often something that takes less than a second is done on the same clusters.
const SHORT: usize = 15;
/// The floor needs no last percent, which costs minutes.
const FLOOR: [&str; 6] = [
    "--package",
    "xtask",
    "--config=profile.release.lto=\"off\"",
    "--config=profile.release.codegen-units=16",
    "--config=profile.release.opt-level=2",
    "--config=profile.release.strip=\"none\"",
];

/// Measure speed and size beside the manual way and the floor
#[derive(Args)]
pub(crate) struct Bench {
    /// How often everything is done; the medians count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    runs: u8,
    /// Only these rows
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Group>,
    /// Where the figures go, and beside them a log of every run [default: target/bench.json]
    #[arg(long)]
    json: Option<PathBuf>,
    /// Take the programs as the last run built them
    #[arg(long)]
    built: bool,
    /// Put the table into docs/performance.md
    #[arg(long)]
    write_docs: bool,
}

/// Rows that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Apply on fresh clusters
    Cold,
    /// Apply with nothing to do
    Idle,
    /// A cluster that joins
    Join,
    /// The status of a mesh
    Status,
    /// Many control planes
    Scale,
    /// The start of the binary
    Start,
    /// The size of the binary
    Binary,
}

/// The rows that are wanted.
struct Chosen(Vec<Group>);

impl Chosen {
    fn has(&self, group: Group) -> bool {
        self.0.is_empty() || self.0.contains(&group)
    }

    fn any(&self, groups: &[Group]) -> bool {
        groups.iter().any(|group| self.has(*group))
    }
}

pub(crate) fn run(bench: &Bench) -> ExitCode {
    match attempt(bench) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if INTERRUPTED.load(Ordering::Relaxed) => {
            say("interrupted; the lab is down");
            ExitCode::from(130)
        }
        Err(error) => fail(&error),
    }
}

fn attempt(bench: &Bench) -> Result<(), String> {
    requirements().map_err(|missing| missing.to_string())?;
    listen()?;
    let chosen = Chosen(bench.only.clone());
    if bench.write_docs && !chosen.0.is_empty() {
        return Err("`--write-docs` takes all rows: leave `--only` out".into());
    }
    let (tool, floor) = (dist::linux_amd64(!bench.built)?, floor(bench.built)?);
    let tools = Tools {
        tool,
        floor,
        bin: programs::build(&mut say).map_err(|e| e.to_string())?.bin(),
        runs: usize::from(bench.runs),
    };
    let json = bench.json.clone().unwrap_or_else(|| root().join("target/bench.json"));
    measure::keep_log(&json.with_extension("log"))?;
    let machine = machine::facts(&tools)?;
    let mut rows = Vec::new();
    let mut seconds = Map::new();
    let mut part = |name: &str, wanted: bool, work: &dyn Fn() -> Result<Vec<Row>, String>| {
        if !wanted {
            return Ok(());
        }
        say(&format!("\nmeasuring: {name}"));
        let started = Instant::now();
        rows.extend(work()?);
        let elapsed = started.elapsed().as_secs();
        say(&format!("{name} took {elapsed} s"));
        seconds.insert(name.into(), elapsed.into());
        Ok::<_, String>(())
    };
    let nodes = [Group::Cold, Group::Idle, Group::Join, Group::Status];
    part("binary", chosen.has(Group::Binary), &|| binary::size(&tools))?;
    part("start", chosen.has(Group::Start), &|| binary::start(&tools))?;
    part("clusters with nodes", chosen.any(&nodes), &|| nodes::measure(&tools, &chosen))?;
    let planes = chosen.any(&[Group::Idle, Group::Status]);
    part("ten control planes", planes, &|| planes::measure(&tools, &chosen))?;
    part("twenty control planes", chosen.has(Group::Scale), &|| scale::measure(&tools))?;
    print(&report::table(&rows));
    let text = format!("{:#}\n", report::to_json(&rows, &machine, &Value::Object(seconds)));
    std::fs::write(&json, text)
        .map_err(|e| format!("{} cannot be written: {e}", json.display()))?;
    say(&format!("\nwritten: {}", json.display()));
    if bench.write_docs {
        docs::write(&report::markdown(&rows, &machine))?;
    }
    Ok(())
}

/// This program, optimised: builds it, unless it is built, and says where it is.
fn floor(built: bool) -> Result<PathBuf, String> {
    if !built {
        say("building the floor, optimised");
        let mut cargo = cargo();
        forget_chore(&mut cargo);
        let status = cargo
            .args(["build", "--quiet", "--release"])
            .args(FLOOR)
            .status()
            .map_err(|e| format!("cargo cannot be run: {e}"))?;
        if !status.success() {
            return Err("the floor does not build".into());
        }
    }
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let file = root().join(folder).join("release/xtask");
    if file.is_file() {
        return Ok(file);
    }
    Err(format!("there is no {}: leave `--built` out", file.display()))
}
