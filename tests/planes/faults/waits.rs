//! `kill -9` while a run waits, and waits for a server that falls silent.
//!
//! Nothing runs pods here: a proxy answers for those that are to be ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use multimesh_lab::faults::{Fault, Rule, Seen};

use super::directory::{lost_files, lost_now};
use super::front::Fronted;
use super::kill::{Blow, kill_when};
use super::killed::{APPLY, TEARDOWN};
use super::ledger::{Book, Entry, at_length};
use super::snapshot::{differences, objects};
use crate::running::Running;

/// What an apply waits for, in its order.
const WAITS: [&str; 4] = [
    "/deployments/istiod",
    "/pods?",
    "/deployments/istio-eastwestgateway",
    "/services/istio-eastwestgateway",
];

/// Which wait a request is a look of.
fn wait_of(seen: &Seen) -> Option<usize> {
    let wait = WAITS.iter().position(|path| seen.path.contains(path))?;
    let method = if wait == 1 { "POST" } else { "GET" };
    (seen.method == method).then_some(wait)
}

/// The answer with which a wait ends.
fn ready(wait: usize) -> Fault {
    let answer = match wait {
        1 => r#"{"kind": "Pod", "spec": {"containers": [{"name": "a", "image": "a"}]}}"#,
        3 => {
            r#"{"kind": "Service", "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}"#
        }
        _ => {
            r#"{"kind": "Deployment", "metadata": {"generation": 1}, "spec": {"replicas": 1},
                "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1,
                "availableReplicas": 1}}"#
        }
    };
    Fault::Answer(answer.to_owned())
}

/// Describes two planes behind gateways whose addresses their clusters give.
fn describe(fronted: &Fronted) {
    let settings: Vec<String> = (0..2)
        .map(|index| format!("network: n{index}, server: '{}'", fronted.clusters[index].server))
        .collect();
    fronted.describe_as(&[(0, &settings[0]), (1, &settings[1])]);
}

#[test]
fn a_run_that_is_killed_while_it_waits_is_finished_by_the_next_one() {
    let fronted = Fronted::start(2);
    describe(&fronted);
    fronted.run(APPLY).expect(0);
    let end = objects(&fronted);
    let mut book = Book::new("apply, while it waits");
    let looks = if at_length() { 4 } else { 1 };
    for (wait, look) in (0..WAITS.len()).flat_map(|wait| (1..=looks).map(move |look| (wait, look)))
    {
        fronted.run(TEARDOWN).expect(0);
        let looked = Arc::new(AtomicUsize::new(0));
        let strike = move |plane: usize, seen: &Seen| match wait_of(seen) {
            Some(now) if plane == 1 || now < wait => Blow::Miss(Some(ready(now))),
            Some(now) if now == wait && looked.fetch_add(1, Ordering::SeqCst) + 1 == look => {
                Blow::Hit(None)
            }
            _ => Blow::Miss(None),
        };
        let killed = kill_when(&fronted, &["apply", "--timeout", "60s"], strike, usize::MAX);
        let mut lost = lost_now(&fronted, &[]);
        if let Err(status) = killed {
            lost.push(format!("not killed, it ended with {status}"));
        }
        let next = fronted.run(APPLY);
        if next.code != 0 {
            lost.push(format!("the next apply ended with {}: {}", next.code, next.stderr));
        }
        lost.extend(differences(&end, &objects(&fronted)));
        lost.extend(lost_files(&fronted, &[0, 1]));
        let lost = lost.into_iter().map(|lost| format!("{}: {lost}", WAITS[wait])).collect();
        let injected = usize::from(killed.is_ok());
        book.add("kill -9", Entry::of(injected, false, next.code == 0, lost));
    }
    book.close();
}

#[test]
fn a_server_that_falls_silent_does_not_prolong_a_wait() {
    let fronted = Fronted::start(1);
    let mut book = Book::new("apply, while it waits");
    let path = WAITS[0];
    // Looks come every tenth of a second at first: the last that is answered tells of the pod.
    fronted.proxies[0].inject(Rule::new(Fault::Hang).method("GET").path(path).after(20));
    let run = fronted.command(&["apply", "--timeout", "15s", "--request-timeout", "60s"]);
    let (run, started) = (Running::start(run).until(&["waiting for istiod"]), Instant::now());
    let (status, said) = run.end_and_words();
    let took = started.elapsed();
    let mut lost = Vec::new();
    if took > Duration::from_secs(20) {
        lost.push(format!("it took {took:?}"));
    }
    for text in ["did not get ready within 15 s", "0 of 1 ready", "no answer for", "hint:"] {
        if status.code() != Some(1) || !said.contains(text) {
            lost.push(format!("{text:?} is not told in {status}: {said}"));
        }
    }
    let injected = fronted.proxies[0].tally().injected["hang"];
    fronted.proxies[0].clear();
    let next = fronted.apply(&[]);
    if next.code != 0 {
        lost.push(format!("the next apply ended with {}: {}", next.code, next.stderr));
    }
    lost.extend(lost_files(&fronted, &[0]));
    book.add("hang", Entry::of(injected, status.success(), next.code == 0, lost));

    book.close();

    let mut book = Book::new("teardown, while it waits");
    fronted.proxies[0].inject(Rule::new(Fault::Hang).method("GET").path(path));
    let before = fronted.proxies[0].tally().injected["hang"];
    let run = ["teardown", "--yes", "--timeout", "15s", "--request-timeout", "60s"];
    let run = Running::start(fronted.command(&run)).until(&["deleting webhooks"]);
    let started = Instant::now();
    let (status, said) = run.end_and_words();
    let took = started.elapsed();
    let mut lost = Vec::new();
    if took > Duration::from_secs(20) {
        lost.push(format!("it took {took:?}"));
    }
    for text in ["not done within 15 s", "did not answer within", "hint:"] {
        if status.code() != Some(1) || !said.contains(text) {
            lost.push(format!("{text:?} is not told in {status}: {said}"));
        }
    }
    let injected = fronted.proxies[0].tally().injected["hang"] - before;
    fronted.proxies[0].clear();
    let next = fronted.run(TEARDOWN);
    if next.code != 0 || !fronted.is_untouched(0) {
        lost.push(format!("the next teardown ended with {}: {}", next.code, next.stderr));
    }
    book.add("hang", Entry::of(injected, status.success(), next.code == 0, lost));
    book.close();
}
