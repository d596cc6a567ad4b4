//! Runs that are watched while they go on.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a run may take to reach any of its steps, or its end.
const LIMIT: Duration = Duration::from_secs(60);

/// A run under way, which ends with the test at the latest.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts a run.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // It reads to the end, so that a full pipe never stops the run.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// Waits until the run prints a line with all of these.
    pub(crate) fn until(self, texts: &[&str]) -> Self {
        let end = Instant::now() + LIMIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if texts.iter().all(|text| line.contains(text)) => return self,
                Ok(_) => {}
                Err(why) => panic!("the run did not print {texts:?}: {why}"),
            }
        }
    }

    /// Waits for the run to end by itself.
    pub(crate) fn end(mut self) -> ExitStatus {
        self.wait(LIMIT).expect("it does not end")
    }

    /// Waits for the run to end by itself; gives what it printed since [`Running::until`] too.
    pub(crate) fn end_and_words(mut self) -> (ExitStatus, String) {
        let status = self.wait(LIMIT).expect("it does not end");
        let lines: Vec<String> = self.lines.iter().collect();
        (status, lines.join("\n"))
    }

    /// Sends the signal of Ctrl-C; gives how the run ended if it did so within that time.
    pub(crate) fn interrupt(mut self, limit: Duration) -> Option<ExitStatus> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.wait(limit)
    }

    fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            match self.child.try_wait().unwrap() {
                None if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                status => return status,
            }
        }
    }
}
