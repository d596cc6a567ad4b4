//! `cargo xtask fuzz`: runs the coverage-guided targets in `fuzz/`, and keeps their corpus small.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use crate::say::{fail, root, say};

/// One for each kind of file that users hand in.
const TARGETS: [&str; 5] = ["topology", "base", "kubeconfig", "pem", "state"];
/// The longest input, in bytes.
const LONGEST: u64 = 8192;
/// How long one input may take, in seconds.
const TIMEOUT: u64 = 10;
/// The most memory that one input may take, in MiB.
const MEMORY: u64 = 1024;
/// The largest file that is kept of what was found, in bytes.
const LARGEST: u64 = 2048;
/// The most files that the corpus of a target keeps.
const MOST_FILES: usize = 48;
/// How the names of files begin that a run has found; others are written by hand and stay.
const FOUND: &str = "found-";

/// Look for input that breaks the reading of files
///
/// Needs a nightly compiler and cargo-fuzz.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// How long each target runs, in seconds
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// The targets to run; all of them if there are none
    #[arg(value_parser = TARGETS)]
    targets: Vec<String>,
}

type Result<T> = std::result::Result<T, String>;

/// What a run of one target did.
struct Run {
    executions: u64,
    took: Duration,
    /// Files with an input that broke something.
    faults: Vec<PathBuf>,
}

pub(crate) fn run(fuzz: &Fuzz) -> ExitCode {
    match run_all(fuzz) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(faults) => fail(&format!(
            "{faults} inputs break something; repeat one: `cargo +nightly fuzz run --sanitizer \
             none TARGET FILE`"
        )),
        Err(error) => fail(&error),
    }
}

/// Runs the targets one after the other; gives the number of inputs that break something.
fn run_all(fuzz: &Fuzz) -> Result<usize> {
    check_tools()?;
    say("building the targets");
    done(cargo_fuzz("build"), "the targets do not build")?;
    let mut lines = Vec::new();
    let mut faults = 0;
    let chosen = |name: &str| fuzz.targets.is_empty() || fuzz.targets.iter().any(|t| t == name);
    for target in TARGETS.into_iter().filter(|name| chosen(name)) {
        say(&format!("\n{target}: {} s", fuzz.seconds));
        let run = run_target(target, fuzz.seconds)?;
        lines.push(format!(
            "{target}: {} executions in {} s, {} inputs that break something, {} files in the corpus",
            run.executions,
            run.took.as_secs(),
            run.faults.len(),
            files(&corpus(target))?.len(),
        ));
        lines.extend(run.faults.iter().map(|file| format!("  {}", file.display())));
        faults += run.faults.len();
    }
    say("");
    for line in &lines {
        say(line);
    }
    Ok(faults)
}

/// Whether the compiler and cargo-fuzz are there; what to do if not.
fn check_tools() -> Result<()> {
    let nightly = ["+nightly", "--version"];
    let tool = ["+nightly", "fuzz", "--version"];
    for (arguments, remedy) in [
        (&nightly[..], "rustup toolchain install nightly --profile minimal"),
        (&tool[..], "cargo install cargo-fuzz --locked"),
    ] {
        let mut command = plain_cargo();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if !command.status().is_ok_and(|status| status.success()) {
            return Err(format!("fuzzing needs what is not installed here: `{remedy}`"));
        }
    }
    Ok(())
}

/// rustup's cargo, which takes `+nightly`; the one that runs this chore is of one toolchain.
fn plain_cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    cargo
}

/// A command of cargo-fuzz. The code under test has no `unsafe`, so there is nothing for an address
/// sanitizer to find that would pay for its slowness.
fn cargo_fuzz(command: &str) -> Command {
    let mut cargo = plain_cargo();
    cargo.args(["+nightly", "fuzz", command, "--sanitizer", "none"]);
    cargo
}

fn done(mut command: Command, failure: &str) -> Result<()> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{failure}: cargo ended with {status}")),
        Err(error) => Err(format!("cargo cannot be run: {error}")),
    }
}

fn corpus(target: &str) -> PathBuf {
    root().join("fuzz/corpus").join(target)
}

/// Runs one target on a copy of its corpus, and takes over what is worth keeping.
fn run_target(target: &str, seconds: u64) -> Result<Run> {
    let work = root().join("fuzz/target/corpus").join(target);
    let artifacts = root().join("fuzz/artifacts").join(target);
    for folder in [&work, &artifacts] {
        fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
    }
    let before: BTreeSet<_> = files(&artifacts)?.into_iter().collect();
    let started = Instant::now();
    let mut executions = 0;
    // A run ends with its first fault; what is left of the time goes on behind it.
    loop {
        let left = seconds.saturating_sub(started.elapsed().as_secs());
        if left == 0 {
            break;
        }
        let log = fuzz_for(target, left, &work)?;
        executions += counted(&log);
    }
    let took = started.elapsed();
    let faults: Vec<_> = files(&artifacts)?.into_iter().filter(|f| !before.contains(f)).collect();
    keep(target, &work)?;
    Ok(Run { executions, took, faults })
}

/// Fuzzes until the time is over or something breaks. Gives libFuzzer's own words.
fn fuzz_for(target: &str, seconds: u64, work: &Path) -> Result<String> {
    let output = cargo_fuzz("run")
        .arg(target)
        .args([work, &corpus(target)])
        .arg("--")
        .args([
            format!("-max_total_time={seconds}"),
            format!("-max_len={LONGEST}"),
            format!("-timeout={TIMEOUT}"),
            format!("-rss_limit_mb={MEMORY}"),
            "-print_final_stats=1".to_owned(),
        ])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    if counted(&log) == 0 {
        return Err(format!("{target} did not run:\n{log}"));
    }
    if !output.status.success() {
        say(&log);
    }
    Ok(log)
}

/// The number of executions in what libFuzzer says at its end.
fn counted(log: &str) -> u64 {
    let mut lines = log.lines();
    lines
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok())
        .unwrap_or_default()
}

/// Keeps, of all that was found, the few files that add most to what the files written by hand reach.
fn keep(target: &str, work: &Path) -> Result<()> {
    let corpus = corpus(target);
    let rest = root().join("fuzz/target/rest").join(target);
    let control = root().join("fuzz/target").join(format!("{target}.control"));
    let _ = fs::remove_dir_all(&rest);
    let _ = fs::remove_file(&control);
    fs::create_dir_all(&rest).map_err(|error| cannot(&rest, &error))?;
    let mut merge = cargo_fuzz("run");
    merge.arg(target).args([&rest, &corpus, work]).arg("--").args([
        "-set_cover_merge=1".to_owned(),
        // How often something is reached does not count here.
        "-use_counters=0".to_owned(),
        format!("-merge_control_file={}", control.display()),
        format!("-timeout={TIMEOUT}"),
        format!("-rss_limit_mb={MEMORY}"),
    ]);
    merge.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    done(merge, "what was found cannot be merged")?;
    let text = fs::read_to_string(&control).map_err(|error| cannot(&control, &error))?;
    let (seeds, found): (Vec<_>, Vec<_>) = reached(&text)
        .into_iter()
        .partition(|input| input.file.starts_with(&corpus) && !is_found(&input.file));
    let most = MOST_FILES.saturating_sub(seeds.len());
    // Read first: among the chosen are files that are replaced.
    let chosen = chosen(&seeds, found, most)
        .into_iter()
        .map(|file| fs::read(&file).map_err(|error| cannot(&file, &error)).map(|text| (file, text)))
        .collect::<Result<Vec<_>>>()?;
    for file in files(&corpus)?.into_iter().filter(|file| is_found(file)) {
        fs::remove_file(&file).map_err(|error| cannot(&file, &error))?;
    }
    for (file, content) in chosen {
        let name = name(&file);
        let to = corpus.join(format!("{FOUND}{:.12}", name.trim_start_matches(FOUND)));
        fs::write(&to, content).map_err(|error| cannot(&to, &error))?;
    }
    Ok(())
}

/// An input and what it reaches, as numbers of libFuzzer's.
struct Input {
    file: PathBuf,
    size: u64,
    reaches: Vec<u64>,
}

/// Reads the control file of a merge: the number of files, how many of them are in the first
/// folder, their names; then `STARTED <file> <size>` and `FT <file> <reached>...` for each.
fn reached(control: &str) -> Vec<Input> {
    let mut lines = control.lines();
    let count = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    let mut inputs: Vec<_> = lines
        .by_ref()
        .skip(1)
        .take(count)
        .map(|file| Input { file: file.into(), size: 0, reaches: Vec::new() })
        .collect();
    for line in lines {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        let mut numbers = words.filter_map(|word| word.parse::<u64>().ok());
        let at = numbers.next().and_then(|at| usize::try_from(at).ok());
        let Some(input) = at.and_then(|at| inputs.get_mut(at)) else { continue };
        match kind {
            "STARTED" => input.size = numbers.next().unwrap_or_default(),
            "FT" => input.reaches = numbers.collect(),
            _ => {}
        }
    }
    inputs
}

/// At most `most` of `found`: first the one that adds most to what is reached already, and so on.
fn chosen(seeds: &[Input], mut found: Vec<Input>, most: usize) -> Vec<PathBuf> {
    let mut covered: BTreeSet<u64> =
        seeds.iter().flat_map(|input| input.reaches.iter().copied()).collect();
    found.retain(|input| input.size <= LARGEST);
    let mut chosen = Vec::new();
    while chosen.len() < most {
        for input in &mut found {
            input.reaches.retain(|it| !covered.contains(it));
        }
        found.retain(|input| !input.reaches.is_empty());
        let best = found
            .iter()
            .enumerate()
            .max_by_key(|(_, input)| (input.reaches.len(), std::cmp::Reverse(input.size)));
        let Some((at, _)) = best else { break };
        let input = found.swap_remove(at);
        covered.extend(&input.reaches);
        chosen.push(input.file);
    }
    chosen
}

fn is_found(file: &Path) -> bool {
    name(file).starts_with(FOUND)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| cannot(folder, &error))?;
    let mut files = entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(|error| cannot(folder, &error)))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn cannot(path: &Path, error: &std::io::Error) -> String {
    format!("`{}`: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_counted() {
        let log = "Done 5 runs in 1 second(s)\nstat::number_of_executed_units: 1234\nstat::x: 1\n";
        assert_eq!(counted(log), 1234);
        assert_eq!(counted("error: no such target"), 0);
    }

    #[test]
    fn what_adds_most_is_chosen_and_of_equals_the_smallest() {
        let control = "4\n1\n/c/seed\n/w/a\n/w/b\n/w/c\nSTARTED 0 5\nFT 0 1 2\nCOV 0 1\n\
                       STARTED 1 9\nFT 1 1 2 3\nSTARTED 2 8\nFT 2 3 4 5\nSTARTED 3 7\nFT 3 5 3 4\n";
        let mut inputs = reached(control);
        assert_eq!((inputs.len(), inputs[1].size), (4, 9));
        let found = inputs.split_off(1);
        assert_eq!(chosen(&inputs, found, 5), [PathBuf::from("/w/c")]);
    }

    #[test]
    fn every_target_has_a_corpus() {
        for target in TARGETS {
            assert!(!files(&corpus(target)).unwrap().is_empty(), "{target}");
        }
    }
}
