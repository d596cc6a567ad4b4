//! A clock that is a day off, and an API server that is older than Istio supports.

use std::fs;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use multimesh::pki::Store;
use multimesh_lab::faults::{Fault, Rule};

use super::directory::lost_files;
use super::front::Fronted;
use super::ledger::{Book, Entry, at_length};
use crate::live::Run;

/// The library of the Debian package `faketime`, which the lab installs.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut files = folders.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    files.find(|file| file.exists()).expect("the library of faketime")
}

/// Runs the tool with another clock.
fn at(fronted: &Fronted, offset: &str, words: &[&str]) -> Run {
    let mut command = fronted.command(words);
    command.env("LD_PRELOAD", library()).env("FAKETIME", offset);
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Run::of(&command.output().unwrap())
}

#[test]
fn a_clock_that_is_a_day_off_makes_no_certificate_that_is_not_valid_now() {
    let fronted = Fronted::start(1);
    let mut book = Book::new("apply and status");
    let now = Timestamp::now();
    for (offset, name, hours) in
        [("+1d", "clock a day ahead", 24), ("-1d", "clock a day behind", -24)]
    {
        let mut lost = Vec::new();
        let apply = at(&fronted, offset, &["apply", "--wait=false"]);
        if apply.code != 0 {
            lost.push(format!("apply ended with {}: {}", apply.code, apply.stderr));
        }
        let mut entry = Entry::of(1, apply.code == 0, false, Vec::new());
        // Checks too that everything is valid now.
        lost.extend(lost_files(&fronted, &[0]));
        let root = Store::open(fronted.mesh("m").join("certs")).root().unwrap().unwrap();
        let (start, end) = (root.certificate.not_before, root.certificate.not_after);
        let skewed = now + SignedDuration::from_hours(hours);
        if !(start <= skewed && start <= now && end > now && end > skewed) {
            lost.push(format!("the root is valid from {start} to {end}"));
        }
        // Certificates begin two days before the clock that makes them: was it really another one?
        let clock = start + SignedDuration::from_hours(48);
        assert!(clock.duration_since(skewed).abs() < SignedDuration::from_hours(1), "{clock}");
        // Neither this clock nor another one finds anything to make anew.
        for clock in if at_length() { &["+0", "+1d", "-1d"][..] } else { &["+0"] } {
            let run = at(&fronted, clock, &["apply", "--wait=false"]);
            if !run.stderr.contains("nothing to change in 1 cluster") {
                lost.push(format!("at {clock} there is more to change: {}", run.stderr));
            }
            if *clock != "+0" {
                entry.add(Entry::of(1, run.code == 0, false, Vec::new()));
            }
            let status = at(&fronted, clock, &["status", "-o", "wide"]);
            for word in ["expired", "not valid"] {
                if status.stdout.contains(word) || status.stderr.contains(word) {
                    lost.push(format!("at {clock} status says {word:?}: {}", status.stdout));
                }
            }
        }
        fronted.run(&["teardown", "--yes"]).expect(0);
        fs::remove_dir_all(fronted.mesh("m").join("certs")).unwrap();
        entry.add(Entry { lost, ..Entry::default() });
        book.add(name, entry);
    }
    book.close();
}

#[test]
fn an_api_server_that_is_too_old_for_istio_is_told() {
    let fronted = Fronted::start(1);
    let version = r#"{"major": "1", "minor": "31", "gitVersion": "v1.31.14", "gitCommit": "",
        "gitTreeState": "clean", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}"#;
    let old = Rule::new(Fault::Answer(version.to_owned())).path("/version");
    fronted.proxies[0].inject(old);
    let context = &fronted.clusters[0].context;
    // As istioctl does: it says so and goes on.
    let told = "supports 1.32 and later";
    let apply = fronted.apply(&[]);
    let mut lost = lost_files(&fronted, &[0]);
    let version = format!("`{context}`: it runs Kubernetes v1.31.14");
    if !apply.stderr.contains(&version) || !apply.stderr.contains(told) {
        lost.push(format!("an apply does not tell: {}", apply.stderr));
    }
    let asked = || fronted.struck(0);
    let mut book = Book::new("apply and status");
    let mut entry = Entry::of(asked(), apply.code == 0, false, lost);
    let before = asked();
    let status = fronted.run(&["status"]);
    let wide = status.stdout.contains(told);
    let lost = if wide { Vec::new() } else { vec![format!("a status: {}", status.stdout)] };
    // Nothing runs here, so it is not healthy.
    entry.add(Entry::of(asked() - before, status.code == 4, false, lost));
    book.add("API server that says it is too old", entry);
    book.close();
}
