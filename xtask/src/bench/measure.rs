//! One process, measured: how long it takes, and how much memory at its peak.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::interrupt::INTERRUPTED;

/// Where every process is noted, with what it said to its standard error.
static LOG: OnceLock<File> = OnceLock::new();

const LOOK: Duration = Duration::from_millis(5);
/// The longest that anything here may take.
const LIMIT: Duration = Duration::from_secs(600);

/// What a run of a process gave.
pub(super) struct Sample {
    /// From its start to its end.
    pub(super) seconds: f64,
    /// The most memory that was resident, in KiB, as the kernel counted it up to 5 ms before the
    /// end.
    pub(super) peak: u64,
    /// Seconds that processors worked for it and for what it ran.
    pub(super) work: f64,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Begins the log.
pub(super) fn keep_log(path: &Path) -> Result<(), String> {
    let file = File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
    // It is begun once.
    let _ = LOG.set(file);
    Ok(())
}

fn log(command: &Command, sample: &Sample) {
    if let Some(mut log) = LOG.get() {
        // What cannot be noted is measured all the same.
        let _ = writeln!(
            log,
            "{:.3} s, {} KiB: {}\n{}",
            sample.seconds,
            sample.peak,
            shown(command),
            sample.stderr
        );
    }
}

/// Fails if the user wants no more.
pub(super) fn go_on() -> Result<(), String> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err("interrupted".into()) } else { Ok(()) }
}

/// Runs a command that must succeed.
pub(super) fn run(command: &mut Command) -> Result<Sample, String> {
    run_to(command, &[0])
}

/// Runs a command that must end with one of these exit codes.
pub(super) fn run_to(command: &mut Command, codes: &[i32]) -> Result<Sample, String> {
    let (sample, code) = attempt(command)?;
    if code.is_some_and(|code| codes.contains(&code)) {
        return Ok(sample);
    }
    let said = [sample.stdout.trim(), sample.stderr.trim()].join("\n");
    let start = said.char_indices().rev().nth(2000).map_or(0, |(start, _)| start);
    Err(format!("`{}` failed:\n{}", shown(command), said[start..].trim()))
}

/// Runs a command that may fail; tells its exit code, if no signal ended it.
pub(super) fn attempt(command: &mut Command) -> Result<(Sample, Option<i32>), String> {
    go_on()?;
    let failed = |e: std::io::Error| e.to_string();
    let (mut stdout, mut stderr) =
        (tempfile::tempfile().map_err(failed)?, tempfile::tempfile().map_err(failed)?);
    command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().map_err(failed)?)
        .stderr(stderr.try_clone().map_err(failed)?);
    let before = work_of_children()?;
    let started = Instant::now();
    let mut child =
        command.spawn().map_err(|e| format!("`{}` cannot be run: {e}", shown(command)))?;
    let ended = AtomicBool::new(false);
    let id = child.id();
    let (status, seconds, peak) = thread::scope(|scope| {
        let watch = scope.spawn(|| watch(id, started, &ended));
        let status = child.wait();
        let seconds = started.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        (status, seconds, watch.join().unwrap_or_default())
    });
    let code = status.map_err(failed)?.code();
    go_on()?;
    let work = work_of_children()? - before;
    let (stdout, stderr) = (text(&mut stdout)?, text(&mut stderr)?);
    let sample = Sample { seconds, peak, work, stdout, stderr };
    log(command, &sample);
    Ok((sample, code))
}

/// Reads the peak of a process until it has ended; ends it when its time is over.
fn watch(id: u32, started: Instant, ended: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !ended.load(Ordering::Relaxed) {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim_end_matches("kB").trim().parse().ok());
        peak = peak.max(now.unwrap_or(0));
        if (INTERRUPTED.load(Ordering::Relaxed) || started.elapsed() > LIMIT)
            && let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw)
        {
            // If it has ended in between, the wait for it is over too.
            let _ = kill_process(pid, Signal::KILL);
        }
        thread::sleep(LOOK);
    }
    peak
}

/// The seconds that processors worked for the children of this process that have ended, and for
/// theirs: `cutime` and `cstime` of `proc_pid_stat(5)`, in ticks of a hundredth.
fn work_of_children() -> Result<f64, String> {
    let stat =
        fs::read_to_string("/proc/self/stat").map_err(|e| format!("/proc/self/stat: {e}"))?;
    // The name before it, in brackets, may hold anything.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_whitespace());
    let ticks: Option<Vec<u32>> =
        fields.map(|it| it.skip(13).take(2).map_while(|n| n.parse().ok()).collect());
    match ticks.as_deref() {
        Some([user, system]) => Ok(f64::from(user + system) / 100.0),
        _ => Err("/proc/self/stat does not tell what children took".into()),
    }
}

fn text(file: &mut File) -> Result<String, String> {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn shown(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_measured() {
        let mut sh = Command::new("sh");
        let words = "sleep 0.1; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done";
        let sample = run(sh.args(["-c", words])).expect("sh");
        assert!(sample.seconds >= 0.1 && sample.peak > 100, "{} s", sample.seconds);
        assert!(sample.work > 0.0);
        assert_eq!(sample.stdout, "done\n");
    }

    #[test]
    fn a_failure_carries_what_was_said() {
        let mut sh = Command::new("sh");
        let error = run(sh.args(["-c", "echo why >&2; exit 1"])).err().expect("it fails");
        assert!(error.ends_with("why"), "{error}");
    }
}
