//! Every fault of a request, against every command: survived, or told and finished by the next run.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use multimesh_lab::faults::{Fault, Rule};
use serde_json::Value;

use super::directory::unfinished;
use super::front::Fronted;
use super::ledger::{Book, Entry, at_length};
use super::links::lost_links;
use super::snapshot::{Objects, differences, objects};
use crate::live::{Run, eventually};

const SECOND: Duration = Duration::from_secs(1);

/// What is done to a cluster, and what a command has to say of it that cannot survive it.
struct Case {
    rule: Rule,
    fault: &'static str,
    says: &'static [&'static str],
}

fn case(fault: Fault, rule: impl FnOnce(Rule) -> Rule, says: &'static [&'static str]) -> Case {
    let name = fault.name();
    Case { rule: rule(Rule::new(fault)), fault: name, says }
}

/// Faults that pass.
fn passing() -> Vec<Case> {
    let mut cases = vec![
        case(Fault::Refuse(2 * SECOND), |it| it.writes().after(1).times(1), &[]),
        case(Fault::Reset, |it| it.writes().times(2), &[]),
        case(Fault::Cut, |it| it.writes().times(2), &[]),
        case(Fault::Conflict, |it| it.method("PATCH").times(2), &[]),
        case(Fault::TooManyRequests(1), |it| it.times(2), &[]),
        case(Fault::Webhook, |it| it.writes().times(2), &[]),
        case(Fault::Unavailable, |it| it.writes().times(2), &[]),
    ];
    if at_length() {
        cases.extend([
            case(Fault::Reset, |it| it.after(1).times(2), &[]),
            case(Fault::Hang, |it| it.writes().times(1), &[]),
            case(Fault::Slow(SECOND), |it| it.times(5), &[]),
            case(Fault::Cut, |it| it.times(2), &[]),
            case(Fault::TooManyRequests(1), |it| it.writes().times(2), &[]),
            case(Fault::Unavailable, |it| it.times(3), &[]),
        ]);
    }
    cases
}

/// Faults that stay.
fn staying() -> Vec<Case> {
    let refuse = Fault::Refuse(Duration::from_secs(3600));
    let mut cases = vec![
        case(Fault::Unauthorized, Rule::writes, &["does not accept the credentials of user"]),
        case(Fault::Forbidden, Rule::writes, &["cannot ", "no rule allows it"]),
        case(Fault::Unavailable, Rule::writes, &["cannot ", "(HTTP 503): apiserver is shutting"]),
    ];
    if at_length() {
        cases.extend([
            case(refuse.clone(), |it| it, &["the API server at https://"]),
            case(refuse, Rule::writes, &["the API server at https://"]),
            case(Fault::Reset, |it| it, &["closes the connection without an answer"]),
            case(Fault::Reset, Rule::writes, &["cannot ", "broke off before the answer"]),
            case(Fault::Hang, |it| it, &["did not answer within"]),
            case(Fault::Hang, Rule::writes, &["cannot ", "did not answer within"]),
            case(Fault::Slow(20 * SECOND), |it| it, &["did not answer within"]),
            case(Fault::Cut, |it| it, &["closes the connection without an answer"]),
            case(Fault::Cut, Rule::writes, &["cannot ", "broke off before the answer"]),
            case(Fault::Unauthorized, |it| it, &["does not accept the credentials of user"]),
            case(
                Fault::Conflict,
                |it| it.method("PATCH"),
                &["cannot ", "the object has been modified"],
            ),
            case(Fault::TooManyRequests(1), Rule::writes, &["cannot ", "(HTTP 429)"]),
            case(Fault::TooManyRequests(3600), Rule::writes, &["cannot ", "(HTTP 429)"]),
            case(Fault::Webhook, Rule::writes, &["cannot ", "`hook.example.com` did not answer"]),
            case(Fault::Unavailable, |it| it, &["(HTTP 503): apiserver is shutting down"]),
        ]);
    }
    cases
}

/// Runs a command while the second of two clusters has the fault. Returns how often that was
/// injected, how the run ended, and what is wrong with that.
fn run_with(
    fronted: &Fronted,
    case: &Case,
    words: &[&str],
    limit: Duration,
) -> (usize, Run, Vec<String>) {
    let proxy = &fronted.proxies[1];
    let count = || proxy.tally().injected.get(case.fault).copied().unwrap_or(0);
    let before = count();
    proxy.inject(case.rule.clone());
    let started = Instant::now();
    let run = fronted.run(words);
    let took = started.elapsed();
    proxy.clear();
    let mut wrong = Vec::new();
    if took > limit {
        wrong.push(format!("{words:?} took {took:?}: {}", run.stderr));
    }
    (count() - before, run, wrong)
}

/// Whether a run told what it left, and why, and what to do.
fn untold(fronted: &Fronted, case: &Case, run: &Run) -> Vec<String> {
    let context = format!("`{}`", fronted.clusters[1].context);
    let said = format!("{}{}", run.stdout, run.stderr);
    // What is printed for programs has a list of them.
    let hint = if run.stdout.starts_with('{') { "\"hints\": [\n" } else { "hint:" };
    let all = case.says.iter().copied().chain([context.as_str(), hint]);
    let silent = all.filter(|text| !said.contains(text));
    silent.map(|text| format!("{text:?} is not told in:\n{said}")).collect()
}

/// Applies once more, which has to finish what was left and find the planes as they should be. Says
/// whether it did finish, and what is wrong.
fn finish(fronted: &Fronted) -> (bool, Vec<String>) {
    let mut lost = Vec::new();
    let next = fronted.apply(&[]);
    if next.code != 0 {
        lost.push(format!("the next apply ended with {}: {}", next.code, next.stderr));
    }
    lost.extend(incomplete(fronted));
    (next.code == 0, lost)
}

/// What an apply that ended well did not do.
fn incomplete(fronted: &Fronted) -> Vec<String> {
    let mut lost = Vec::new();
    for index in 0..2 {
        if !fronted.is_changed(index) {
            lost.push(format!("plane {index} is not changed"));
        }
    }
    lost.extend(lost_links(fronted, &[0, 1]));
    let before = fronted.writes();
    let again = fronted.apply(&[]);
    if again.code != 0 || !again.stderr.contains("nothing to change in 2 clusters") {
        lost.push(format!("there is more to change: {}", again.stderr));
    }
    match fronted.writes() - before {
        0 => {}
        count => lost.push(format!("an apply with nothing to change wrote {count} times")),
    }
    lost.extend(unfinished(&fronted.mesh("m")));
    lost
}

fn told(case: &Case, lost: Vec<String>) -> Vec<String> {
    lost.into_iter().map(|lost| format!("{:?}: {lost}", case.rule)).collect()
}

#[test]
fn an_apply_survives_faults_that_pass_and_tells_of_those_that_stay() {
    let fronted = Fronted::start(2);
    fronted.apply(&[]).expect(0);
    let mut book = Book::new("apply");
    let mut expected = None;
    for case in passing() {
        fronted.thin_out(1);
        fronted.change();
        let words = ["apply", "--wait=false", "--request-timeout", "3s"];
        let (injected, run, mut lost) = run_with(&fronted, &case, &words, 40 * SECOND);
        if run.code != 0 {
            lost.push(format!("it ended with {}: {}", run.code, run.stderr));
        }
        lost.extend(incomplete(&fronted));
        book.add(case.fault, Entry::of(injected, run.code == 0, false, told(&case, lost)));
        expected.get_or_insert_with(|| objects(&fronted));
    }
    for case in staying() {
        fronted.thin_out(1);
        fronted.change();
        let words = ["apply", "--wait=false", "--request-timeout", "3s", "--timeout", "8s"];
        let (injected, run, mut lost) = run_with(&fronted, &case, &words, 60 * SECOND);
        if run.code != 3 {
            lost.push(format!("it ended with {}: {}", run.code, run.stderr));
        }
        if !fronted.is_changed(0) {
            lost.push("the other cluster is not changed".into());
        }
        lost.extend(lost_links(&fronted, &[0, 1]));
        lost.extend(untold(&fronted, &case, &run));
        let (next, after) = finish(&fronted);
        lost.extend(after);
        book.add(case.fault, Entry::of(injected, run.code == 0, next, told(&case, lost)));
    }
    let mut end = objects(&fronted);
    let mut expected = expected.unwrap();
    for plane in expected.iter_mut().chain(&mut end) {
        // The change itself: each run has another one.
        plane.retain(|name, _| !name.starts_with("ConfigMap istio-system "));
    }
    book.close();
    let lost = differences(&expected, &end);
    assert!(lost.is_empty(), "in the end:\n{}", lost.join("\n"));
}

/// The fault from the first question on, before which a server has said nothing.
fn from_the_first(mut case: Case) -> Case {
    case.rule = case.rule.after(0);
    case.says = match case.fault {
        "reset" | "cut" => &["closes the connection without an answer"],
        _ => case.says.strip_prefix(&["cannot "]).unwrap_or(case.says),
    };
    case
}

/// What status prints as JSON, without times.
fn status(run: &Run) -> Value {
    let json: Result<Value, _> = serde_json::from_str(&run.stdout);
    let mut json = json.unwrap_or_else(|why| panic!("{why}: {run:?}"));
    json.as_object_mut().unwrap().remove("observedAt");
    let trust = (0..2).map(|index| format!("/clusters/{index}/trust"));
    for place in trust.chain(["/root".to_owned()]) {
        if let Some(Value::Object(fields)) = json.pointer_mut(&place) {
            // A day less from the second on that follows an apply.
            fields.remove("daysLeft");
        }
    }
    json
}

#[test]
fn a_status_and_a_plan_survive_faults_that_pass_and_tell_of_those_that_stay() {
    let fronted = Fronted::start(2);
    fronted.apply(&[]).expect(0);
    let words = ["status", "-o", "json", "--request-timeout", "4s"];
    let limit = 12 * SECOND;
    // It tells which pods no node takes, once Kubernetes has made them.
    let mut expected = Value::Null;
    eventually("both clusters have their pods", || {
        expected = status(&fronted.run(&words));
        let findings = expected["findings"].as_array().unwrap();
        findings.len() == 2 && findings.iter().all(|it| it.to_string().contains("unschedulable"))
    });
    let mut book = Book::new("status");
    // It writes nothing, and does not ask a second time what takes all of its time.
    let reads = |cases: Vec<Case>| {
        cases
            .into_iter()
            .filter(|case| !matches!(case.fault, "409" | "500 webhook"))
            // Only one that has answered is taken to come back.
            .map(|case| Case { rule: case.rule.reads_too().after(6), ..case })
    };
    // Its questions go out together: a cluster that is gone before the first answer is not waited for.
    for case in reads(passing()).filter(|case| !matches!(case.fault, "hang" | "refuse")) {
        let (injected, run, mut lost) = run_with(&fronted, &case, &words, limit);
        let finished = status(&run) == expected;
        if !finished {
            lost.push(format!("it says something else: {}", run.stdout));
        }
        book.add(case.fault, Entry::of(injected, finished, false, told(&case, lost)));
    }
    for case in reads(staying()).map(from_the_first) {
        let (injected, run, mut lost) = run_with(&fronted, &case, &words, limit);
        // No istiod runs here, so that this is the end without a fault too.
        if run.code != 4 {
            lost.push(format!("it ended with {}: {}", run.code, run.stderr));
        }
        let seen = status(&run);
        let uid = |json: &Value| json.pointer("/clusters/0/uid").cloned();
        if uid(&seen) != uid(&expected) {
            lost.push(format!("the other cluster is not seen: {}", run.stdout));
        }
        if seen["clusters"][1] == expected["clusters"][1] {
            lost.push(format!("the cluster is shown as if it were seen: {}", run.stdout));
        }
        let table = ["status", "--request-timeout", "4s"];
        let (more, second, late) = run_with(&fronted, &case, &table, limit);
        lost.extend(late);
        lost.extend(untold(&fronted, &case, &second));
        // Without the fault it says again what it said before.
        let next = status(&fronted.run(&words)) == expected;
        if !next {
            lost.push("the next status says something else".into());
        }
        let mut entry = Entry::of(injected, seen == expected, next, told(&case, lost));
        // A table for people: that it tells the fault is looked at above.
        entry.add(Entry::of(more, second.code != 4, next, Vec::new()));
        book.add(case.fault, entry);
    }
    book.close();
    plan_with(&fronted, reads(staying()));
}

/// Plans with each fault: what cannot be seen is told, the rest is planned, and nothing is written.
fn plan_with(fronted: &Fronted, cases: impl Iterator<Item = Case>) {
    let mut book = Book::new("plan");
    fronted.change();
    let words = ["plan", "-o", "json", "--request-timeout", "4s"];
    let of = |run: &Run, index: usize| {
        let plan: Value = serde_json::from_str(&run.stdout).unwrap_or_default();
        plan["clusters"][index].clone()
    };
    let expected = fronted.run(&words);
    let before = fronted.writes();
    for case in cases.map(from_the_first) {
        let (injected, run, mut lost) = run_with(fronted, &case, &words, 40 * SECOND);
        if run.code != 3 {
            lost.push(format!("it ended with {}: {}", run.code, run.stderr));
        }
        if of(&run, 0) != of(&expected, 0) {
            lost.push(format!("the other cluster is planned otherwise: {}", run.stdout));
        }
        if of(&run, 1) == of(&expected, 1) {
            lost.push(format!("the cluster is planned as if it were seen: {}", run.stdout));
        }
        lost.extend(untold(fronted, &case, &run));
        let next = fronted.run(&words);
        if next.code != 0 || next.stdout != expected.stdout {
            lost.push(format!("the next plan is another one: {} {}", next.code, next.stderr));
        }
        let lost = told(&case, lost);
        book.add(case.fault, Entry::of(injected, run.code == 0, next.code == 0, lost));
    }
    failing_dry_runs(fronted, &mut book);
    assert_eq!(fronted.writes(), before, "a plan wrote to a cluster");
    book.close();
}

/// Plans where the API server of one cluster refuses each change that it is to try, or does not
/// answer any more.
fn failing_dry_runs(fronted: &Fronted, book: &mut Book) {
    let words = ["plan", "-o", "json", "--request-timeout", "4s"];
    let plan = |run: &Run| serde_json::from_str::<Value>(&run.stdout).unwrap_or_default();
    let expected = plan(&fronted.run(&words).expect(0));
    let mut cases = vec![
        (Fault::Webhook, 1, "`hook.example.com` did"),
        (Fault::Conflict, 1, "has been modified"),
        (Fault::Unauthorized, 3, "does not accept the credentials of user"),
        (Fault::Reset, 3, "broke off before the answer"),
    ];
    if at_length() {
        cases.extend([
            (Fault::Hang, 3, "did not answer within"),
            (Fault::TooManyRequests(1), 3, "(HTTP 429)"),
            (Fault::Unavailable, 3, "(HTTP 503): apiserver is shutting"),
        ]);
    }
    for (fault, code, says) in cases {
        let case = case(fault, |it| it.method("PATCH").path("dryRun=All"), &[]);
        let (injected, run, mut lost) = run_with(fronted, &case, &words, 40 * SECOND);
        if run.code != code {
            lost.push(format!("it ended with {}: {}", run.code, run.stderr));
        }
        let seen = plan(&run);
        if seen["clusters"][0] != expected["clusters"][0] {
            lost.push(format!("the other cluster is planned otherwise: {seen}"));
        }
        // A server that gives no answer has refused nothing.
        let cluster = &seen["clusters"][1];
        let (standing, told) = match code {
            1 => ("member", cluster["objects"].to_string()),
            _ => ("unknown", cluster["reason"].to_string()),
        };
        if cluster["standing"] != standing || !told.contains(says) {
            lost.push(format!("no {standing} of which {says:?} is told: {cluster}"));
        }
        if code == 1 {
            let (_, run, late) = run_with(fronted, &case, &["plan"], 40 * SECOND);
            lost.extend(late);
            for text in ["! refused:", says].iter().filter(|text| !run.stdout.contains(**text)) {
                lost.push(format!("{text:?} is not told in:\n{}", run.stdout));
            }
        }
        let next = fronted.run(&words);
        if next.code != 0 || plan(&next) != expected {
            lost.push(format!("the next plan is another one: {} {}", next.code, next.stdout));
        }
        let entry = Entry::of(injected, run.code == 0, next.code == 0, self::told(&case, lost));
        book.add(case.fault, entry);
    }
}

/// Applies and tears down with a fault; returns what is left of the mesh after the teardown, or
/// after the next one where that is to finish it.
fn torn_down(fronted: &Fronted, clean: &[Objects], case: &Case, code: i32) -> Entry {
    fronted.apply(&[]).expect(0);
    let words = ["teardown", "--yes", "--request-timeout", "3s", "--timeout", "60s"];
    let (injected, run, mut lost) = run_with(fronted, case, &words, 120 * SECOND);
    let mut finished = false;
    if run.code != code {
        lost.push(format!("it ended with {}: {}", run.code, run.stderr));
    }
    if code != 0 {
        lost.extend(untold(fronted, case, &run));
        lost.extend(differences(&clean[..1], &objects(fronted)[..1]));
        let next = fronted.run(&["teardown", "--yes"]);
        finished = next.code == 0;
        if !finished {
            lost.push(format!("the next teardown ended with {}: {}", next.code, next.stderr));
        }
    }
    lost.extend(differences(clean, &objects(fronted)));
    Entry::of(injected, run.code == 0, finished, told(case, lost))
}

#[test]
fn a_teardown_survives_faults_that_pass_and_tells_of_those_that_stay() {
    let fronted = Fronted::start(2);
    let clean = objects(&fronted);
    let mut book = Book::new("teardown");
    // Each takes half a minute: one of a kind.
    let deletions = |cases: Vec<Case>| {
        // It patches nothing.
        let mut known = BTreeSet::from(["500 webhook", "409"]);
        let cases = cases.into_iter().filter(move |case| known.insert(case.fault));
        if at_length() { cases.collect() } else { cases.skip(2).take(1).collect::<Vec<_>>() }
    };
    for case in deletions(passing()) {
        book.add(case.fault, torn_down(&fronted, &clean, &case, 0));
    }
    for case in deletions(staying()) {
        book.add(case.fault, torn_down(&fronted, &clean, &case, 3));
    }
    book.close();
}
