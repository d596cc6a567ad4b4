//! Ctrl-C ends a run within two seconds, wherever it is, and time limits tell what is missing.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use multimesh_lab::faults::{Fault, Rule};

use super::front::Fronted;
use super::ledger::{Book, Entry, at_length, points};
use crate::live::eventually;

/// How long a run may take to reach any of its steps.
const LIMIT: Duration = Duration::from_secs(60);
/// How long Ctrl-C may take.
const PROMPT: Duration = Duration::from_secs(2);

/// A run under way, which ends with the test at the latest.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(fronted: &Fronted, words: &[&str]) -> Self {
        let mut command = fronted.command(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Waits until the run prints a line with all of these.
    fn until(mut self, texts: &[&str]) -> Self {
        let stderr = BufReader::new(self.0.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // It reads to the end, so that a full pipe never stops the run.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let end = Instant::now() + LIMIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) if texts.iter().all(|text| line.contains(text)) => return self,
                Ok(_) => {}
                Err(why) => panic!("the run did not print {texts:?}: {why}"),
            }
        }
    }

    /// Waits until the run has asked a cluster this often.
    fn until_asked(self, fronted: &Fronted, index: usize, count: usize) -> Self {
        eventually("a request", || fronted.proxies[index].tally().all() >= count);
        self
    }

    /// Sends the signal of Ctrl-C; says what is wrong with how the run ended.
    fn interrupt(mut self) -> Vec<String> {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let interrupted = Instant::now();
        let mut status: Option<ExitStatus> = None;
        while status.is_none() && interrupted.elapsed() < PROMPT {
            status = self.0.try_wait().unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        match status.map(|status| status.code()) {
            Some(Some(130)) => Vec::new(),
            Some(code) => vec![format!("it ended with {code:?}")],
            None => vec!["it goes on after Ctrl-C".to_owned()],
        }
    }
}

fn entry(lost: Vec<String>) -> Entry {
    Entry { injected: 1, finished: 0, left: 1, lost }
}

#[test]
fn ctrl_c_ends_a_run_at_once_and_the_next_one_finishes() {
    let fronted = Fronted::start(2);
    let mut book = Book::default();
    let apply = ["apply", "--wait=false"];

    fronted.proxies[1].inject(Rule::new(Fault::Hang));
    let lost = Running::start(&fronted, &apply).until_asked(&fronted, 1, 1).interrupt();
    fronted.proxies[1].clear();
    book.add("Ctrl-C while a cluster hangs", entry(lost));

    let steps = ["creating the namespace", "writing accounts", "installing istiod"];
    for text in if at_length() { &steps[..] } else { &steps[1..2] } {
        let lost = Running::start(&fronted, &apply).until(&[text]).interrupt();
        book.add("Ctrl-C while it writes", entry(lost));
    }
    let rounds = if at_length() { points().min(20) } else { 1 };
    for round in 0..rounds {
        let before = fronted.proxies[0].tally().all();
        let lost = Running::start(&fronted, &apply)
            .until_asked(&fronted, 0, before + 1 + 97 * round % 130)
            .interrupt();
        fronted.thin_out(0);
        book.add("Ctrl-C at some request", entry(lost));
    }
    fronted.apply(&[]).expect(0);

    // Nothing runs pods here, so this waits until it is ended.
    fronted.thin_out(0);
    let waits = [fronted.clusters[0].context.as_str(), "waiting for istiod"];
    let lost = Running::start(&fronted, &["apply"]).until(&waits).interrupt();
    book.add("Ctrl-C while istiod starts", entry(lost));
    fronted.apply(&[]).expect(0).says("nothing to change in 2 clusters");

    let status = Running::start(&fronted, &["status"]);
    fronted.proxies[0].inject(Rule::new(Fault::Hang));
    let lost = status.until(&["an answer of"]).interrupt();
    fronted.proxies[0].clear();
    book.add("Ctrl-C in a status", entry(lost));

    let lost =
        Running::start(&fronted, &["teardown", "--yes"]).until(&["deleting webhooks"]).interrupt();
    book.add("Ctrl-C in a teardown", entry(lost));
    fronted.run(&["teardown", "--yes"]).expect(0);
    assert!(fronted.is_untouched(0) && fronted.is_untouched(1));
    book.close("all commands");
}

#[test]
fn ctrl_c_ends_a_run_that_waits_for_a_credential_plugin() {
    let mut fronted = Fronted::start(1);
    let (plugin, mark) = (fronted.home().join("plugin"), fronted.home().join("mark"));
    let script = format!("#!/bin/sh\necho run > {}\nsleep 100 & wait\n", mark.display());
    std::fs::write(&plugin, script).unwrap();
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
    fronted.set_user(0, &format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: {}}}",
        plugin.display()
    ));
    let run = Running::start(&fronted, &["apply", "--wait=false"]);
    eventually("the plugin", || mark.exists());
    assert_eq!(run.interrupt(), [""; 0]);
}

#[test]
fn a_wait_that_is_over_tells_what_is_missing() {
    let fronted = Fronted::start(1);
    let started = Instant::now();
    fronted
        .run(&["apply", "--timeout", "5s"])
        .expect(1)
        .says("Deployment istio-system/istiod did not get ready within 5 s")
        .says("0 of 1 ready")
        .says("unschedulable")
        .says("hint:");
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
}
