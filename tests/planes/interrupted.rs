//! Runs that end in the middle.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Instant;

use crate::Planes;
use crate::live::Run;

/// Starts an apply and waits until it prints this.
fn start_until(planes: &Planes, text: &str) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = planes
        .command(&["apply", "--wait=false"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "the run ended before {text:?}");
    }
    (child, stderr)
}

#[test]
fn ctrl_c_ends_at_once_and_the_next_run_finishes() {
    let planes = Planes::start(2);
    let (mut child, _stderr) = start_until(&planes, "writing accounts");
    let interrupted = Instant::now();
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert!(interrupted.elapsed().as_secs() < 2, "{:?}", interrupted.elapsed());
    assert_eq!(status.code(), Some(130));
    planes.apply(&[]).expect(0).says("applied to 2 clusters");
    planes.apply(&[]).expect(0).says("nothing to change");
}

#[test]
fn a_killed_run_is_finished_by_the_next_one() {
    let planes = Planes::start(2);
    for text in ["creating the namespace", "writing accounts", "installing istiod"] {
        let (mut child, _stderr) = start_until(&planes, text);
        child.kill().unwrap();
        child.wait().unwrap();
        let torn = Run::of(&planes.command(&["teardown", "--yes"]).output().unwrap());
        torn.expect(0);
        assert!(planes.is_untouched(0) && planes.is_untouched(1), "after {text:?}");
    }
    let (mut child, _stderr) = start_until(&planes, "installing istiod");
    child.kill().unwrap();
    child.wait().unwrap();
    planes.apply(&[]).expect(0).says("applied to 2 clusters");
    assert_eq!((planes.links(0).len(), planes.links(1).len()), (1, 1));
    planes.apply(&[]).expect(0).says("nothing to change");
}
