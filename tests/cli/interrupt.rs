//! Ctrl-C, and the other signals that tell a run to stop.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

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

/// An apply that waits for a cluster to answer.
fn waiting(sandbox: &Sandbox, server: &mpsc::Receiver<TcpStream>, before: &str) -> Child {
    let script = format!("{before} exec \"$0\" apply -vvv");
    // A shell cannot listen to a signal that it was started without, as tests under `nohup` are.
    let (program, listen) = if cfg!(target_os = "linux") {
        ("/usr/bin/env", &["--default-signal=HUP", "/bin/sh"][..])
    } else {
        ("/bin/sh", &[][..])
    };
    let child = Command::new(program)
        .env_clear()
        .envs(sandbox.environment())
        .args(listen)
        .args(["-c", &script, BINARY])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A request is under way once its first bytes are here.
    let mut connection = server.recv_timeout(LIMIT).unwrap();
    connection.set_read_timeout(Some(LIMIT)).unwrap();
    connection.read_exact(&mut [0; 4]).unwrap();
    child
}

fn send(child: &Child, signal: &str) {
    let kill = ["-c", "kill -$0 $1", signal, &child.id().to_string()];
    assert!(Command::new("/bin/sh").args(kill).status().unwrap().success());
}

/// The end of a run that was told to stop.
fn ended(sandbox: &Sandbox, mut child: Child) -> super::Run {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(2) {
            child.kill().unwrap();
            panic!("it goes on");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    sandbox.ended(&child.wait_with_output().unwrap())
}

#[test]
fn an_apply_that_waits_for_a_cluster_ends_at_once() {
    for signal in ["INT", "TERM", "HUP"] {
        ends_at_once(signal);
    }
}

fn ends_at_once(signal: &str) {
    let (url, server) = silent_server();
    let kubeconfig = Kubeconfig::default().context("east", &url);
    let sandbox = shop(&kubeconfig, "  east: {network: network-east}\n");
    sandbox.good_istioctl();
    let before = sandbox.tree();
    let child = waiting(&sandbox, &server, "");
    send(&child, signal);
    let run = ended(&sandbox, child);
    assert_eq!(run.code, 130, "{signal}: {}", run.stderr);
    let last: Vec<_> = run.stderr.lines().skip_while(|line| !line.starts_with("error:")).collect();
    let told = [
        "error: interrupted",
        "hint: no file and no object is half written: run the same command again to finish",
    ];
    assert_eq!(last, told, "{signal}");
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

#[cfg(target_os = "linux")]
#[test]
fn a_run_under_nohup_outlives_its_terminal() {
    let (url, server) = silent_server();
    let kubeconfig = Kubeconfig::default().context("east", &url);
    let sandbox = shop(&kubeconfig, "  east: {network: network-east}\n");
    sandbox.good_istioctl();
    let child = waiting(&sandbox, &server, "trap '' HUP;");
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let mask = |name: &str| {
        let text = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(text.trim(), 16).unwrap()
    };
    // The first bit is that of SIGHUP, the second that of SIGINT.
    assert_eq!((mask("SigIgn:") & 1, mask("SigCgt:") & 0b11), (1, 0b10), "{status}");
    send(&child, "TERM");
    assert_eq!(ended(&sandbox, child).code, 130);
}
