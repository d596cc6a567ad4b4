//! Ctrl-C ends a run within two seconds, wherever it is, and time limits tell what is missing.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use multimesh_lab::faults::{Fault, Rule};

use super::directory::unfinished;
use super::front::Fronted;
use super::ledger::{Book, Entry, at_length, points};
use crate::live::{Run, eventually};
use crate::locks::{LEASE, take};
use crate::running::Running;
use crate::terminal::Terminal;

/// How long a run may take that waits for less.
const LIMIT: Duration = Duration::from_secs(60);
/// How long Ctrl-C may take.
const PROMPT: Duration = Duration::from_secs(2);

fn start(fronted: &Fronted, words: &[&str]) -> Running {
    Running::start(fronted.command(words))
}

/// Waits until the run has asked a cluster this often.
fn asked(run: Running, fronted: &Fronted, index: usize, count: usize) -> Running {
    eventually("a request", || fronted.proxies[index].tally().all() >= count);
    run
}

/// Starts a run that waits for the answer to this request of the first cluster, counted from 0.
fn held(fronted: &Fronted, words: &[&str], number: usize) -> Running {
    let (seen, held) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let holds = Arc::clone(&held);
    fronted.proxies[0].observe(move |_| {
        if seen.fetch_add(1, Ordering::SeqCst) != number {
            return None;
        }
        holds.store(true, Ordering::SeqCst);
        Some(Fault::Hang)
    });
    let run = start(fronted, words);
    eventually("the request", || held.load(Ordering::SeqCst));
    run
}

/// Sends the signal of Ctrl-C; says what is wrong with how the run ended.
fn interrupt(run: Running) -> Vec<String> {
    match run.interrupt(PROMPT).map(|status| status.code()) {
        Some(Some(130)) => Vec::new(),
        Some(code) => vec![format!("it ended with {code:?}")],
        None => vec!["it goes on after Ctrl-C".to_owned()],
    }
}

/// Runs that were interrupted, until another one has finished what they left.
struct Interrupted {
    book: Book,
    open: Vec<(&'static str, Vec<String>)>,
}

impl Interrupted {
    fn add(&mut self, fault: &'static str, lost: Vec<String>) {
        self.open.push((fault, lost));
    }

    /// Runs a command that has to finish what they left.
    fn finish(&mut self, fronted: &Fronted, words: &[&str]) -> Run {
        let run = fronted.run(words);
        for (fault, mut lost) in self.open.drain(..) {
            if run.code != 0 {
                lost.push(format!("the next run ended with {}: {}", run.code, run.stderr));
            }
            lost.extend(unfinished(&fronted.mesh("m")));
            self.book.add(fault, Entry::of(1, false, run.code == 0, lost));
        }
        run
    }
}

#[test]
fn ctrl_c_ends_a_run_at_once_and_the_next_one_finishes() {
    let fronted = Fronted::start(2);
    let mut runs = Interrupted { book: Book::new("all commands"), open: Vec::new() };
    let apply = ["apply", "--wait=false"];

    fronted.proxies[1].inject(Rule::new(Fault::Hang));
    let lost = interrupt(asked(start(&fronted, &apply), &fronted, 1, 1));
    fronted.proxies[1].clear();
    runs.add("Ctrl-C while a cluster hangs", lost);

    let steps = ["creating the namespace", "writing accounts", "installing istiod"];
    for text in if at_length() { &steps[..] } else { &steps[1..2] } {
        let lost = interrupt(start(&fronted, &apply).until(&[text]));
        runs.add("Ctrl-C while it writes", lost);
    }
    runs.finish(&fronted, &apply);
    fronted.thin_out(0);
    let before = fronted.proxies[0].tally().all();
    fronted.apply(&[]).expect(0);
    let length = fronted.proxies[0].tally().all() - before;
    let rounds = if at_length() { points().min(20) } else { 1 };
    for round in 0..rounds {
        fronted.thin_out(0);
        let lost = interrupt(held(&fronted, &apply, length * (2 * round + 1) / (2 * rounds)));
        fronted.proxies[0].clear();
        runs.add("Ctrl-C at some request", lost);
        runs.finish(&fronted, &apply);
    }

    // Nothing runs pods here, so this waits until it is ended.
    fronted.thin_out(0);
    let lost = interrupt(start(&fronted, &["apply"]).until(&["waiting for istiod"]));
    runs.add("Ctrl-C while istiod starts", lost);
    runs.finish(&fronted, &apply);
    fronted.apply(&[]).expect(0).says("nothing to change in 2 clusters");

    let status = start(&fronted, &["status"]);
    fronted.proxies[0].inject(Rule::new(Fault::Hang));
    let lost = interrupt(status.until(&["an answer of"]));
    fronted.proxies[0].clear();
    runs.add("Ctrl-C in a status", lost);
    // Nothing runs here, so the next one ends with 4.
    fronted.run(&["status"]).expect(4);

    fronted.thin_out(0);
    let lost = interrupt(held(&fronted, &["plan"], 5));
    fronted.proxies[0].clear();
    runs.add("Ctrl-C in a plan", lost);
    runs.finish(&fronted, &["plan"]);

    take(&fronted, 0, 3600);
    let waits = [&apply[..], &["--wait-lock", "5m"]].concat();
    let lost = interrupt(start(&fronted, &waits).until(&["who works on this cluster"]));
    fronted.kubectl(0, &["delete", "lease", LEASE, "-n", "istio-system"]);
    runs.add("Ctrl-C while another run is waited for", lost);
    runs.finish(&fronted, &apply);

    fronted.describe(&[0]);
    let leave = [&apply[..], &["--yes"]].concat();
    let lost = interrupt(start(&fronted, &leave).until(&["dropping links"]));
    runs.add("Ctrl-C in a leave", lost);
    runs.finish(&fronted, &leave);
    assert!(fronted.is_untouched(1));
    fronted.describe(&[0, 1]);
    fronted.apply(&[]).expect(0);

    let mut terminal = Terminal::start(&fronted, &["teardown"]);
    terminal.is_asked("Tear down mesh m");
    let asked = Instant::now();
    terminal.interrupt();
    terminal.expect(130);
    let late = asked.elapsed() > PROMPT;
    let lost = late.then(|| format!("it ended after {:?}", asked.elapsed()));
    runs.add("Ctrl-C at a question", lost.into_iter().collect());
    assert_eq!(fronted.links(0).len(), 1, "nobody has said yes");

    let lost = interrupt(start(&fronted, &["teardown", "--yes"]).until(&["deleting webhooks"]));
    runs.add("Ctrl-C in a teardown", lost);
    runs.finish(&fronted, &["teardown", "--yes"]);
    assert!(fronted.is_untouched(0) && fronted.is_untouched(1));
    runs.book.close();
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
    let run = start(&fronted, &["apply", "--wait=false"]);
    eventually("the plugin", || mark.exists());
    assert_eq!(interrupt(run), [""; 0]);
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
