//! Runs programs to their end and waits for conditions, both bounded in time.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::error::{Doing as _, Error, Result};

/// Runs a command and returns what it wrote to its standard output.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<String> {
    run_with(command, None, limit)
}

/// Runs a command that reads `input`.
pub(crate) fn run_with(
    command: &mut Command,
    input: Option<&str>,
    limit: Duration,
) -> Result<String> {
    // Files instead of pipes: nothing blocks when a grandchild keeps an end open.
    let scratch = || tempfile::tempfile().doing(|| "create a temporary file".into());
    let (mut output, mut errors) = (scratch()?, scratch()?);
    let clone = |file: &File| file.try_clone().doing(|| "share a temporary file".into());
    let stdin = match input {
        None => Stdio::null(),
        Some(text) => {
            let mut file = scratch()?;
            file.write_all(text.as_bytes())
                .and_then(|()| file.rewind())
                .doing(|| "write a temporary file".into())?;
            file.into()
        }
    };
    let shown = shown(command);
    let mut child = command
        .stdin(stdin)
        .stdout(clone(&output)?)
        .stderr(clone(&errors)?)
        .spawn()
        .doing(|| format!("run `{shown}`"))?;

    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = child.try_wait().doing(|| format!("wait for `{shown}`"))? {
            break Some(status);
        }
        if started.elapsed() > limit {
            // It may have ended by itself in between.
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    let text = |file: &mut File| {
        let mut bytes = Vec::new();
        file.rewind()
            .and_then(|()| file.read_to_end(&mut bytes))
            .doing(|| format!("read the output of `{shown}`"))?;
        Ok::<_, Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (output, errors) = (text(&mut output)?, text(&mut errors)?);
    let said = || {
        let said = [errors.trim(), output.trim()].join("\n");
        tail(said.trim(), 2000).to_owned()
    };
    match status {
        Some(status) if status.success() => Ok(output),
        Some(status) => Err(Error::Program {
            output: match said() {
                said if said.is_empty() => status.to_string(),
                said => said,
            },
            program: shown,
        }),
        None => Err(Error::Timeout {
            what: format!("`{shown}`"),
            seconds: limit.as_secs(),
            last: match said() {
                said if said.is_empty() => "it wrote nothing".into(),
                said => said,
            },
        }),
    }
}

/// Polls a condition until it holds; `Err` carries what stands in the way.
pub(crate) fn wait_for<T>(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<T, String>,
) -> Result<T> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(last) if started.elapsed() > limit => {
                return Err(Error::Timeout {
                    what: what.to_owned(),
                    seconds: limit.as_secs(),
                    last,
                });
            }
            Err(_) => thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// The SHA-256 of some bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    digits(&Sha256::digest(bytes))
}

/// Bytes in hexadecimal.
pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The command line for messages, without the way into a namespace.
fn shown(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    let mut words = words.as_slice();
    while words.first().is_some_and(|it| it == "nsenter")
        && let Some(end) = words.iter().position(|it| it == "--")
    {
        words = &words[end + 1..];
    }
    let line = words.join(" ");
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

fn tail(text: &str, length: usize) -> &str {
    let start = text.len().saturating_sub(length);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at));
    &text[start.unwrap_or(0)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_returned_and_input_is_read() {
        let mut cat = Command::new("cat");
        let text = run_with(&mut cat, Some("hello"), Duration::from_secs(5)).expect("cat");
        assert_eq!(text, "hello");
    }

    #[test]
    fn a_failure_carries_what_the_program_said() {
        let mut sh = Command::new("sh");
        sh.args(["-c", "echo no such thing >&2; exit 3"]);
        let error = run(&mut sh, Duration::from_secs(5)).expect_err("exit 3");
        assert!(error.to_string().ends_with("no such thing"), "{error}");
    }

    #[test]
    fn a_hanging_program_is_ended() {
        let mut sleep = Command::new("sleep");
        sleep.arg("60");
        let error = run(&mut sleep, Duration::ZERO).expect_err("a timeout");
        assert!(
            error.to_string().contains("waiting for `sleep 60`"),
            "{error}"
        );
    }

    #[test]
    fn the_way_into_a_namespace_is_not_shown() {
        let mut command = Command::new("nsenter");
        command.args([
            "--net", "--", "nsenter", "--net=x", "--", "ip", "--", "link",
        ]);
        assert_eq!(shown(&command), "ip -- link");
    }

    #[test]
    fn the_end_of_a_text_respects_characters() {
        assert_eq!(tail("aé", 1), "");
        assert_eq!(tail("aéb", 3), "éb");
        assert_eq!(tail("ab", 9), "ab");
    }
}
