//! The binary at a terminal, with somebody who answers.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::Planes;

/// How long a run may take to ask or to end.
const LIMIT: Duration = Duration::from_secs(60);

/// A run at a terminal, which ends with the test at the latest.
pub(crate) struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    text: String,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Terminal {
    pub(crate) fn start(planes: &Planes, arguments: &[&str]) -> Self {
        let mut command = planes.at_terminal(arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (keyboard, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, screen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                let _ = sender.send(bytes[..count].to_vec());
            }
        });
        Self { child, keyboard, screen, text: String::new() }
    }

    /// Waits until a question is asked that says this.
    #[track_caller]
    pub(crate) fn is_asked(&mut self, question: &str) {
        let end = Instant::now() + LIMIT;
        while !(self.text.contains(question) && self.text.trim_end().ends_with("[y/N]")) {
            let left = end.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(why) => panic!("{question:?} is not asked ({why}):\n{}", self.text),
            }
        }
    }

    /// Types an answer.
    pub(crate) fn answer(&mut self, text: &str) {
        writeln!(self.keyboard, "{text}").unwrap();
        self.text.push_str("answered\n");
    }

    /// Presses Ctrl-C.
    pub(crate) fn interrupt(&mut self) {
        self.keyboard.write_all(b"\x03").unwrap();
    }

    /// Waits for the end; gives everything that was printed, and fails unless that was the code.
    #[track_caller]
    pub(crate) fn expect(mut self, code: i32) -> String {
        let end = Instant::now() + LIMIT;
        while let Ok(bytes) =
            self.screen.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{}", self.text);
        std::mem::take(&mut self.text)
    }
}
