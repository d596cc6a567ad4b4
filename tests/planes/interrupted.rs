//! Runs that end in the middle.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::Planes;
use crate::live::Run;

/// How long an apply may take to reach any of its steps.
const LIMIT: Duration = Duration::from_secs(60);

/// A run under way, which ends with the test at the latest.
pub(crate) struct Running(Child, mpsc::Receiver<String>);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts an apply and waits until it prints this.
    fn start_until(planes: &Planes, text: &str) -> Self {
        Self::start(planes.command(&["apply", "--wait=false"]), text)
    }

    /// Starts a run and waits until it prints this.
    pub(crate) fn start(mut command: Command, text: &str) -> Self {
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let (sender, lines) = mpsc::channel();
        let mut run = Self(command.spawn().unwrap(), lines);
        let stderr = BufReader::new(run.0.stderr.take().unwrap());
        // It reads to the end, so that a full pipe never stops the run.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        run.await_line(text);
        run
    }

    /// Waits until the run prints this.
    pub(crate) fn await_line(&self, text: &str) {
        let end = Instant::now() + LIMIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.1.recv_timeout(left) {
                Ok(line) if line.contains(text) => return,
                Ok(_) => {}
                Err(why) => panic!("the run did not print {text:?}: {why}"),
            }
        }
    }

    /// Waits for the run to end by itself.
    pub(crate) fn end(mut self) -> ExitStatus {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends the signal of Ctrl-C; gives how the run ended, within two seconds.
    fn interrupt(mut self) -> ExitStatus {
        let pid = self.0.id().to_string();
        let kill = Command::new("kill").args(["-INT", &pid]).status();
        assert!(kill.unwrap().success());
        let interrupted = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(interrupted.elapsed().as_secs() < 2, "it goes on after Ctrl-C");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn ctrl_c_ends_at_once_and_the_next_run_finishes() {
    let planes = Planes::start(2);
    let status = Running::start_until(&planes, "writing accounts").interrupt();
    assert_eq!(status.code(), Some(130));
    planes.apply(&[]).expect(0).says("applied to 2 clusters");
    planes.apply(&[]).expect(0).says("nothing to change");
}

#[test]
fn a_killed_run_is_finished_by_the_next_one() {
    let planes = Planes::start(2);
    for text in ["creating the namespace", "writing accounts", "installing istiod"] {
        drop(Running::start_until(&planes, text));
        let torn = Run::of(&planes.command(&["teardown", "--yes"]).output().unwrap());
        torn.expect(0);
        assert!(planes.is_untouched(0) && planes.is_untouched(1), "after {text:?}");
    }
    drop(Running::start_until(&planes, "installing istiod"));
    planes.apply(&[]).expect(0).says("applied to 2 clusters");
    assert_eq!((planes.links(0).len(), planes.links(1).len()), (1, 1));
    planes.apply(&[]).expect(0).says("nothing to change");
}
