//! A context leaves while one of the clusters is broken: a member, or the one that leaves.

use std::time::{Duration, Instant};

use multimesh_lab::faults::{Fault, Rule};

use super::directory::lost_files;
use super::front::Fronted;
use super::killed::{APPLY, APPLY_ALL};
use super::ledger::{Book, Entry, at_length};
use super::links::{Secrets, wrong_links};
use super::snapshot::{Objects, differences, objects};

/// How long an apply may take beside a cluster that does not answer.
const LIMIT: Duration = Duration::from_secs(60);
const MEMBER: usize = 1;
const LEAVER: usize = 2;

/// What happens, and what the run has to say of it.
fn cases() -> Vec<(&'static str, usize, Rule, &'static str)> {
    let dead = || Rule::new(Fault::Refuse(Duration::MAX));
    let mut cases =
        vec![("a member hangs", MEMBER, Rule::new(Fault::Hang), "did not answer within")];
    if at_length() {
        let forbidden = || Rule::new(Fault::Forbidden).writes();
        cases.extend([
            ("a member is dead", MEMBER, dead(), "refused the connection"),
            ("a member says 403", MEMBER, forbidden(), "no rule allows it"),
            ("the leaver hangs", LEAVER, Rule::new(Fault::Hang), "did not answer within"),
            ("the leaver is dead", LEAVER, dead(), "refused the connection"),
            ("the leaver says 403", LEAVER, forbidden(), "no rule allows it"),
            // After its lease, its links and its token.
            ("the leaver dies half way", LEAVER, dead().writes().after(5), "the API server at"),
        ]);
    }
    cases
}

#[test]
fn a_leave_costs_no_link_whoever_is_broken() {
    let fronted = Fronted::start(3);
    let clean = objects(&fronted);
    let mut book = Book::new("apply, a context left");
    for (fault, broken, rule, says) in cases() {
        fronted.describe(&[0, 1, 2]);
        fronted.run(APPLY).expect(0);
        fronted.describe(&[0, 1]);
        let struck = fronted.struck(broken);
        fronted.proxies[broken].inject(rule);
        let bounds = ["--request-timeout", "3s", "--timeout", "20s"];
        let started = Instant::now();
        let run = fronted.run(&[APPLY_ALL, &bounds].concat());
        let took = started.elapsed();
        fronted.proxies[broken].clear();
        let injected = usize::from(fronted.struck(broken) > struck);

        let mut lost = Vec::new();
        if took > LIMIT {
            lost.push(format!("it took {took:?}"));
        }
        let context = format!("`{}`", fronted.clusters[broken].context);
        for text in [says, &context, "hint:"] {
            if run.code != 3 || !run.stderr.contains(text) {
                lost.push(format!("{text:?} is not told in {}: {}", run.code, run.stderr));
            }
        }
        let secrets = Secrets::of_all(&fronted);
        lost.extend(wrong_links(&fronted, &secrets, 0, &[1], &[]));
        if broken == LEAVER {
            lost.extend(wrong_links(&fronted, &secrets, MEMBER, &[0], &[]));
        } else {
            // It could not be told to drop its link, so what that link leads to has to stay.
            lost.extend(wrong_links(&fronted, &secrets, MEMBER, &[0], &[LEAVER]));
            let istiod = ["get", "deployment", "-n", "istio-system", "-o", "name"];
            if !fronted.kubectl(LEAVER, &istiod).contains("istiod") {
                lost.push("the control plane went before the links to it".into());
            }
        }
        if fronted.state()["contexts"].get(&fronted.clusters[LEAVER].context).is_none() {
            lost.push("the cluster that has not left is not on record".into());
        }
        let next = fronted.run(APPLY_ALL);
        if next.code != 0 {
            lost.push(format!("the next apply ended with {}: {}", next.code, next.stderr));
        }
        lost.extend(unfinished(&fronted, &clean));
        book.add(fault, Entry::of(injected, run.code == 0, next.code == 0, lost));
    }
    book.close();
}

/// What the apply after the fault leaves undone.
fn unfinished(fronted: &Fronted, clean: &[Objects]) -> Vec<String> {
    let mut lost = lost_files(fronted, &[0, 1]);
    lost.extend(differences(&clean[LEAVER..], &objects(fronted)[LEAVER..]));
    if fronted.state()["contexts"].get(&fronted.clusters[LEAVER].context).is_some() {
        lost.push("the cluster that left is still on record".into());
    }
    lost
}
