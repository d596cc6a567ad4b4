//! Credentials that expire, are revoked or cannot be had cost nobody else anything.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use super::front::Fronted;
use super::ledger::{Book, Entry, at_length};
use super::links::lost_links;
use crate::live::{Run, eventually, eventually_within};

/// How long a run may take that is refused.
const LIMIT: Duration = Duration::from_secs(60);
/// How long the token lives that ends by itself.
const SHORT: Duration = Duration::from_secs(600);
/// How much longer an API server takes it, as clocks differ (go-jose: `jwt.DefaultLeeway`).
const LEEWAY: Duration = Duration::from_secs(60);
/// Gives the second cluster's user a credential.
type SetUser = Box<dyn Fn(&mut Fronted)>;
const REFUSED: &str = "does not accept the credentials of user";

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
fn plugin(fronted: &Fronted, index: usize, mode: &str, script: &str) -> String {
    let path = fronted.home().join(format!("plugin-{index}"));
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
    wrong.extend(lost_links(fronted, &[0, 1]));
    wrong
}

/// Applies while the user of the second cluster is not accepted, and once more when they are.
fn refused(fronted: &mut Fronted, set: &SetUser, says: &str, secret: &str) -> Entry {
    let (user, server) = (fronted.user(1), fronted.proxies[1].server());
    set(fronted);
    fronted.change();
    let started = Instant::now();
    let run = fronted.apply(&[]);
    let mut lost = wrong(fronted, &run, says);
    if started.elapsed() > LIMIT {
        lost.push(format!("it took {:?}", started.elapsed()));
    }
    if run.stderr.contains(secret) {
        lost.push("the token is told".into());
    }
    fronted.set_user(1, &user);
    fronted.set_server(1, &server);
    let next = fronted.apply(&[]);
    if next.code != 0 || !fronted.is_changed(1) {
        lost.push(format!("the next apply ended with {}: {}", next.code, next.stderr));
    }
    lost.extend(lost_links(fronted, &[0, 1]));
    Entry::of(1, run.code == 0, next.code == 0, lost)
}

#[test]
fn a_user_who_is_refused_in_one_cluster_is_told_and_loses_no_link() {
    let mut fronted = Fronted::start(2);
    fronted.apply(&[]).expect(0);
    let administrator = fronted.user(1);
    let mut book = Book::new("apply");
    let secret = token(&fronted, 1);
    fronted.set_user(1, &format!("{{token: {secret}}}"));
    fronted.apply(&[]).expect(0).says("nothing to change in 2 clusters");
    // The shortest life that an API server grants.
    let short = ["create", "token", "someone", "-n", "default", "--duration=10m"];
    let short = fronted.kubectl(1, &short).trim().to_owned();
    let made = Instant::now();
    let mut cases: Vec<(&'static str, SetUser, &str)> = Vec::new();
    let with = |user: String| -> SetUser {
        Box::new(move |fronted: &mut Fronted| fronted.set_user(1, &user))
    };
    if at_length() {
        let spent = with(format!("{{token: {short}}}"));
        spent(&mut fronted);
        assert!(!is_refused(&fronted), "a new token is refused");
        eventually_within(SHORT + LEEWAY + LIMIT, "the end of the short token", || {
            made.elapsed() > SHORT && is_refused(&fronted)
        });
        cases.push(("expired token", spent, REFUSED));
    }
    fronted.set_user(1, &format!("{{token: {secret}}}"));
    fronted.apply(&[]).expect(0).says("nothing to change in 2 clusters");
    fronted.kubectl(1, &["delete", "serviceaccount", "someone", "-n", "default"]);
    // An API server remembers for ten seconds that a token was good.
    eventually("the end of the token", || is_refused(&fronted));
    cases.push(("revoked token", with(format!("{{token: {secret}}}")), REFUSED));
    cases.push(("expired certificate", Box::new(|fronted| fronted.expire(1)), REFUSED));
    let fails = "echo your session has expired >&2; exit 7";
    let mut plugins = vec![
        ("credential plugin that fails", "Never", fails, "your session has expired"),
        ("credential plugin that prompts", "Always", "read -r answer", "credential plugin"),
    ];
    if at_length() {
        plugins.extend([
            (
                "credential plugin that prompts",
                "IfAvailable",
                "read -r answer || exit 9",
                "credential plugin",
            ),
            ("credential plugin that hangs", "Never", "sleep 100 & wait", "credential plugin"),
        ]);
    }
    for (index, (name, mode, script, says)) in plugins.into_iter().enumerate() {
        cases.push((name, with(plugin(&fronted, index, mode, script)), says));
    }
    fronted.set_user(1, &administrator);
    for (fault, set, says) in cases {
        book.add(fault, refused(&mut fronted, &set, says, &secret));
    }
    book.close();
}

/// Whether the second cluster does not accept its user.
fn is_refused(fronted: &Fronted) -> bool {
    fronted.run(&["status"]).stdout.contains("does not accept the credentials")
}
