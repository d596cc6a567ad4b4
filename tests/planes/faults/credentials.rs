//! Credentials that expire, are revoked or cannot be had cost nobody else anything.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use super::front::Fronted;
use super::ledger::{Book, Entry, at_length};
use crate::live::Run;

/// A token for everything, of an account that can be deleted.
fn token(fronted: &Fronted, index: usize) -> String {
    let account = ["serviceaccount", "someone", "-n", "default"];
    fronted.kubectl(index, &[&["create"], &account[..]].concat());
    let binding = ["clusterrolebinding", "someone", "--clusterrole=cluster-admin"];
    let subject = "--serviceaccount=default:someone";
    fronted.kubectl(index, &[&["create"], &binding[..], &[subject]].concat());
    fronted.kubectl(index, &["create", "token", "someone", "-n", "default"]).trim().to_owned()
}

/// Writes a credential plugin; gives the user entry that runs it.
fn plugin(fronted: &Fronted, mode: &str, script: &str) -> String {
    let path = fronted.home().join("plugin");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: {mode}, command: {}}}",
        path.display()
    )
}

/// What is wrong with a run that had to do without the second cluster.
fn wrong(fronted: &Fronted, run: &Run, says: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if run.code != 3 {
        wrong.push(format!("it ended with {}: {}", run.code, run.stderr));
    }
    let context = format!("`{}`", fronted.clusters[1].context);
    for text in [says, &context, "hint:", "applied to 1 cluster of 2"] {
        if !run.stderr.contains(text) {
            wrong.push(format!("{text:?} is not told in: {}", run.stderr));
        }
    }
    if !fronted.is_changed(0) {
        wrong.push("the other cluster is not changed".into());
    }
    if [0, 1].iter().any(|&index| fronted.links(index).len() != 1) {
        wrong.push("a link is lost".into());
    }
    wrong
}

#[test]
fn a_user_who_is_refused_in_one_cluster_is_told_and_loses_no_link() {
    let mut fronted = Fronted::start(2);
    fronted.apply(&[]).expect(0);
    let administrator = fronted.user(1);
    let mut book = Book::new("apply");
    let secret = token(&fronted, 1);
    let mut try_with = |fronted: &mut Fronted, fault: &'static str, user: &str, says: &str| {
        fronted.set_user(1, user);
        fronted.change();
        let started = Instant::now();
        let run = fronted.apply(&[]);
        let mut lost = wrong(fronted, &run, says);
        if started.elapsed().as_secs() > 60 {
            lost.push(format!("it took {:?}", started.elapsed()));
        }
        if run.stderr.contains(&secret) {
            lost.push("the token is told".into());
        }
        fronted.set_user(1, &administrator);
        let next = fronted.apply(&[]);
        if next.code != 0 || !fronted.is_changed(1) {
            lost.push(format!("the next apply ended with {}: {}", next.code, next.stderr));
        }
        book.add(fault, Entry { injected: 1, finished: 0, left: 1, lost });
    };

    fronted.set_user(1, &format!("{{token: {secret}}}"));
    fronted.apply(&[]).expect(0).says("nothing to change in 2 clusters");
    fronted.kubectl(1, &["delete", "serviceaccount", "someone", "-n", "default"]);
    // An API server remembers for ten seconds that a token was good.
    crate::live::eventually("the end of the token", || {
        fronted.run(&["status"]).stdout.contains("does not accept the credentials")
    });
    let refused = "does not accept the credentials of user";
    try_with(&mut fronted, "revoked token", &format!("{{token: {secret}}}"), refused);
    let user = plugin(&fronted, "Never", "echo your session has expired >&2; exit 7");
    try_with(&mut fronted, "credential plugin that fails", &user, "your session has expired");
    let user = plugin(&fronted, "Always", "read -r answer");
    try_with(&mut fronted, "credential plugin that prompts", &user, "credential plugin");
    if at_length() {
        let expired = "{token: eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjF9.c2lnbmF0dXJl}";
        try_with(&mut fronted, "expired token", expired, refused);
        let user = plugin(&fronted, "IfAvailable", "read -r answer || exit 9");
        try_with(&mut fronted, "credential plugin that prompts", &user, "credential plugin");
        let user = plugin(&fronted, "Never", "sleep 100 & wait");
        try_with(&mut fronted, "credential plugin that hangs", &user, "credential plugin");
    }
    book.close();
}
