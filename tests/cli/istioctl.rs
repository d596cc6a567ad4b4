//! istioctl that is missing, too old or not what it seems. All of it is told at once, whatever the
//! clusters do.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use insta::assert_snapshot;

use super::kubeconfig::Kubeconfig;
use super::sandbox::Sandbox;
use super::{refused, shop};

/// A mesh of one cluster, whose API server accepts connections and never answers.
fn silent() -> (TcpListener, Sandbox) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let kubeconfig = Kubeconfig::default().context("east", &server);
    (listener, shop(&kubeconfig, "  east: {network: network-east}\n"))
}

#[test]
fn none_on_the_path() {
    let (_server, sandbox) = silent();
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(1).told(), @r#"
exit 1
error: there is no `istioctl` on PATH, and it renders what the clusters get
hint: install the istioctl of the Istio version that you want (https://istio.io/latest/docs/setup/getting-started/#download)
hint: or name it: `--istioctl <path>`
"#);
}

#[test]
fn one_that_was_named_and_is_not_there() {
    let (_server, sandbox) = silent();
    let run = refused(&sandbox, &["apply", "--istioctl", "/opt/istio/istioctl"]).expect(1);
    assert_snapshot!(run.told(), @r#"
exit 1
error: there is no istioctl at /opt/istio/istioctl
hint: name the program itself: `--istioctl <path>`
"#);
}

#[test]
fn one_that_is_too_old_is_told_at_once() {
    let (_server, sandbox) = silent();
    sandbox.istioctl_of("1.28.3", "exit 1");
    let started = Instant::now();
    let run = refused(&sandbox, &["apply"]).expect(1);
    assert!(started.elapsed() < Duration::from_secs(5), "it waited for the cluster");
    assert_snapshot!(run.told(), @r#"
exit 1
error: istioctl 1.28.3 ([dir]/bin/istioctl) is too old: Istio 1.29 is the oldest that works
hint: install a newer istioctl, or name another: `--istioctl <path>`
"#);
}

#[test]
fn one_that_is_something_else() {
    let (_server, sandbox) = silent();
    sandbox.istioctl("echo hello\n");
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(1).told(), @r#"
exit 1
error: [dir]/bin/istioctl does not tell its version
hint: see what it says: `[dir]/bin/istioctl version --remote=false`
"#);

    sandbox.istioctl_of("latest", "exit 1");
    let run = refused(&sandbox, &["apply"]).expect(1);
    let error = run.told().lines().find(|line| line.starts_with("error:")).unwrap().to_owned();
    assert_snapshot!(error, @"error: istioctl ([dir]/bin/istioctl) says that its version is `latest`, which is none of Istio's");
}

#[test]
fn one_that_cannot_be_run() {
    let (_server, sandbox) = silent();
    sandbox.write("home/istioctl", "text");
    let run = refused(&sandbox, &["apply", "--istioctl", "istioctl"]).expect(1);
    assert_snapshot!(run.told(), @r#"
exit 1
error: failed to run [dir]/home/istioctl: permission denied
hint: is it executable, and for this machine?
"#);
}

#[test]
fn it_gets_no_kubeconfig() {
    let (_server, sandbox) = silent();
    sandbox.istioctl("echo \"Error: KUBECONFIG is '$KUBECONFIG'\" >&2; exit 1\n");
    let mut command = sandbox.command(&["apply"]);
    command.env("KUBECONFIG", sandbox.path("home/.kube/config"));
    let run = sandbox.end(command).expect(1);
    assert!(!run.stderr.contains(".kube/config"), "{}", run.stderr);
}
