//! Ctrl-C.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use insta::assert_snapshot;

use super::kubeconfig::Kubeconfig;
use super::sandbox::{BINARY, LIMIT, Sandbox};
use super::shop;

/// A server that accepts connections, tells of each, and never answers.
fn silent_server() -> (String, mpsc::Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if stream.is_ok_and(|stream| sender.send(stream).is_err()) {
                return;
            }
        }
    });
    (url, receiver)
}

fn interrupted(sandbox: &Sandbox, server: &mpsc::Receiver<TcpStream>) -> super::Run {
    let mut child = Command::new(BINARY)
        .env_clear()
        .envs(sandbox.environment())
        .args(["apply", "-vvv"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A request is under way once its first bytes are here.
    let mut connection = server.recv_timeout(LIMIT).unwrap();
    connection.set_read_timeout(Some(LIMIT)).unwrap();
    connection.read_exact(&mut [0; 4]).unwrap();
    let interrupt = ["-c", "kill -INT $0", &child.id().to_string()];
    assert!(Command::new("/bin/sh").args(interrupt).status().unwrap().success());
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(2) {
            child.kill().unwrap();
            panic!("it goes on after Ctrl-C");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    sandbox.ended(&child.wait_with_output().unwrap())
}

#[test]
fn an_apply_that_waits_for_a_cluster_ends_at_once() {
    let (url, server) = silent_server();
    let kubeconfig = Kubeconfig::default().context("east", &url);
    let sandbox = shop(&kubeconfig, "  east: {network: network-east}\n");
    sandbox.good_istioctl();
    let before = sandbox.tree();
    let run = interrupted(&sandbox, &server);
    assert_eq!(run.code, 130, "{}", run.stderr);
    let last: Vec<_> = run.stderr.lines().skip_while(|line| !line.starts_with("error:")).collect();
    assert_snapshot!(last.join("\n"), @r#"
error: interrupted
hint: nothing is half written: run the same command again to finish
"#);
    let cache = sandbox.mesh("shop").join("cache");
    let after = sandbox.tree();
    for (path, about) in &after {
        // The mesh directory's own time changes when the cache is made in it.
        let content = before.get(path).is_some_and(|old| path.is_dir() || old == about);
        assert!(content || path.starts_with(&cache), "{} was written", path.display());
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(!name.starts_with(".multimesh-writing-"), "{name} is half written");
    }
    // The lock went with the process.
    drop(multimesh::files::Lock::acquire(&sandbox.mesh("shop"), "apply").unwrap());
}
