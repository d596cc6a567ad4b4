//! Files as large as nobody writes them take the binary a bounded memory, whatever it makes of them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::sandbox::{BINARY, LIMIT, Sandbox};
use super::{shop, three_contexts};

/// The most memory that a run may have resident, in KiB. The files have up to 1 MiB.
const MOST: u64 = 128 << 10;
/// How often a run is looked at: the peak is known up to so long before its end.
const LOOK: Duration = Duration::from_millis(1);

/// Runs the binary; gives the most memory that it had resident, in KiB.
fn peak_of(sandbox: &Sandbox, arguments: &[&str]) -> u64 {
    let mut command = Command::new(BINARY);
    command.env_clear().envs(sandbox.environment()).current_dir(sandbox.path("home"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let (started, mut peak) = (Instant::now(), 0);
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
        peak = now.unwrap_or(0).max(peak);
        if let Some(ended) = child.try_wait().unwrap() {
            let code = ended.code();
            assert!(code.is_some_and(|code| code != 101), "{arguments:?} ended with {ended}");
            return peak;
        }
        if peak > MOST || started.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(peak > MOST, "{arguments:?} goes on for {LIMIT:?}");
            return peak;
        }
        thread::sleep(LOOK);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn no_file_fills_the_memory() {
    let sandbox = shop(&three_contexts(), "  context-east-1: {network: network-east}\n");
    sandbox.good_istioctl();
    let dir = sandbox.mesh("shop");
    // Each is led to where its reader takes values of any kind.
    let files = [
        (dir.join("topology.yaml"), "status", "mesh_id: shop\ncontexts:\n  context-east-1: "),
        (
            dir.join("base.yaml"),
            "apply",
            "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n  values: ",
        ),
        (dir.join("state.yaml"), "status", "format: 1\nmesh_id: shop\nsurprise: "),
        (sandbox.path("home/.kube/config"), "status", "apiVersion: v1\nkind: Config\nsurprise: "),
    ];
    let usual = peak_of(&sandbox, &["status"]);
    assert!(usual > 1 << 10 && usual < MOST, "a run with small files takes {usual} KiB");
    for (path, command, place) in &files {
        let former = fs::read(path).ok();
        for (shape, text) in shapes(place) {
            fs::write(path, text).unwrap();
            let peak = peak_of(&sandbox, &[command]);
            assert!(peak < MOST, "{shape} in {} take {peak} KiB", path.display());
            assert!(peak >= usual / 2, "{shape} in {}: not measured", path.display());
        }
        restore(path, former);
    }
}

/// Texts that are larger when they are read, or deeper than a stack.
fn shapes(place: &str) -> [(&'static str, String); 4] {
    let long = "x".repeat(200_000);
    // Each is twice the one before.
    let doubling: String =
        (1..40).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1)).collect();
    [
        ("aliases of a long text", format!("a: &a {long}\n{place}[{}]\n", "*a,".repeat(40_000))),
        ("aliases of aliases", format!("a0: &a0 [x]\n{doubling}{place}*a39\n")),
        ("nested lists", format!("{place}{}", "[".repeat(100_000))),
        ("long texts", format!("{place}{}\n", "x".repeat(1 << 20))),
    ]
}

fn restore(path: &Path, former: Option<Vec<u8>>) {
    match former {
        Some(text) => fs::write(path, text).unwrap(),
        None => fs::remove_file(path).unwrap(),
    }
}
