//! A measurement begins when what went before it has ended: API servers are busy for seconds after
//! they have started, and after definitions came or went.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::measure::go_on;
use crate::say::say;

/// The share of the processors' time that servers with nothing to do may take.
const IDLE: f64 = 0.3;
const WINDOW: Duration = Duration::from_secs(1);
/// So many windows in a row have to be quiet: busy servers pause as well.
const WINDOWS: usize = 3;
const LIMIT: Duration = Duration::from_secs(60);

/// Waits until the processors have little to do. Where they stay busy, says so, and goes on.
pub(super) fn settle() -> Result<(), String> {
    let started = Instant::now();
    let mut last = times()?;
    let mut quiet = 0;
    while quiet < WINDOWS {
        go_on()?;
        thread::sleep(WINDOW);
        let now = times()?;
        let share = now.busy_since(&last);
        last = now;
        quiet = if share <= IDLE { quiet + 1 } else { 0 };
        if started.elapsed() > LIMIT {
            say(&format!(
                "the machine stays busy ({:.0} %): the figures will be rough",
                share * 100.0
            ));
            break;
        }
    }
    Ok(())
}

/// What the processors did since the machine started, in ticks.
struct Times {
    busy: u64,
    all: u64,
}

impl Times {
    /// The share of the time that they were busy.
    fn busy_since(&self, earlier: &Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1);
        #[expect(clippy::cast_precision_loss, reason = "hundreds")]
        let share = self.busy.saturating_sub(earlier.busy) as f64 / all as f64;
        share
    }
}

fn times() -> Result<Times, String> {
    let text = fs::read_to_string("/proc/stat").map_err(|e| format!("/proc/stat: {e}"))?;
    parse(&text).ok_or_else(|| "/proc/stat does not tell what the processors do".to_owned())
}

/// Reads the first line: user, nice, system, idle, iowait, irq, softirq, steal; what follows is
/// counted in the first two already (`proc_stat(5)`).
fn parse(text: &str) -> Option<Times> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|n| n.parse().ok()).collect();
    let all: u64 = ticks.iter().sum();
    let waiting = ticks.get(3)? + ticks.get(4)?;
    Some(Times { busy: all - waiting, all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_time_is_not_busy() {
        let at = |line| parse(line).expect("a line of processors");
        let before = at("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n");
        let after = at("cpu  120 0 60 850 60 5 5 0 7 0\n");
        assert!((after.busy_since(&before) - 0.4).abs() < 1e-9);
        assert!(parse("intr 5\n").is_none());
        assert!(parse("cpu  1 2 3\n").is_none());
    }
}
