//! A context that may lead to another cluster than at the last apply.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use insta::assert_snapshot;
use multimesh::pki::Certificate;
use serde_json::json;

use super::kubeconfig::Kubeconfig;
use super::sandbox::Sandbox;
use super::{refused, shop};

const CONTEXT: &str = "  context-east-1: {network: network-east}\n";

/// A server that closes every connection, and how many there were.
fn curt_server() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    (url, count)
}

/// The mesh `shop`, applied to a cluster with other CAs than these that the kubeconfig trusts now.
fn applied_elsewhere(server: &str, ca: &str) -> Sandbox {
    let cluster = json!({
        "server": server, "certificate-authority-data": BASE64_STANDARD.encode(ca),
    });
    let kubeconfig = Kubeconfig::default().cluster("context-east-1", &cluster);
    let sandbox = shop(&kubeconfig, CONTEXT);
    sandbox.good_istioctl();
    let state = format!(
        "format: 1\nmesh_id: shop\ncontexts:\n  context-east-1:\n    uid: 7c9e6679-7425\n    \
         cluster: context-east-1\n    network: network-east\n    namespace: istio-system\n    \
         server: https://10.1.0.1:6443\n    ca: [{}, {}]\n",
        "ab".repeat(32),
        "cd".repeat(32)
    );
    std::fs::write(sandbox.mesh("shop").join("state.yaml"), state).unwrap();
    sandbox
}

fn certificate() -> String {
    let workdir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read_to_string(workdir.join("seed-workdir/certs/root-cert.pem")).unwrap()
}

#[test]
fn nothing_is_sent_to_a_server_of_another_ca_unless_that_is_accepted() {
    let (url, connections) = curt_server();
    let sandbox = applied_elsewhere(&url, &certificate());
    assert_snapshot!(refused(&sandbox, &["teardown", "--yes"]).expect(1).told(), @r#"
exit 1
[seconds] reading what is there
error: `context-east-1` may not be the cluster that it was: its kubeconfig entry trusts another CA, so nothing was sent to it; at the last apply https://10.1.0.1:6443, UID 7c9e6679-7425, CA abababababababab+cdcdcdcdcdcdcdcd; now https://127.0.0.1:[port], UID not asked for, CA 4b7d477882db3edc
hint: point the context to the right cluster in your kubeconfig
hint: or, if its CA was rotated, accept the new one; another cluster is refused still, and told: `kubectl multimesh teardown --accept-identity context-east-1`
"#);
    let teardown = ["teardown", "--dry-run", "--contexts", "context-east-1"];
    let run = refused(&sandbox, &teardown).expect(1);
    let accept =
        "`kubectl multimesh teardown --contexts context-east-1 --accept-identity context-east-1`";
    assert!(run.stderr.contains(accept), "{}", run.stderr);
    let refusal = "`context-east-1` may not be the cluster that it was";
    for command in ["apply", "plan"] {
        let run = sandbox.run(&[command]).expect(1);
        assert!(run.stderr.contains(refusal), "{}", run.stderr);
        let accept = format!("`kubectl multimesh {command} --accept-identity context-east-1`");
        assert!(run.stderr.contains(&accept), "{}", run.stderr);
    }
    let status = sandbox.run(&["status"]).expect(4);
    assert!(status.stdout.contains(refusal), "{}", status.stdout);
    assert!(status.stdout.contains("`kubectl multimesh apply --accept-identity context-east-1`"));
    let version = sandbox.run(&["version", "--contexts", "context-east-1"]).expect(3);
    assert!(version.stdout.contains("other cluster"), "{}", version.stdout);
    assert!(version.stdout.contains("may not be the cluster that it was"), "{}", version.stdout);
    assert_eq!(connections.load(Ordering::SeqCst), 0, "it was talked to");

    for accepted in ["context-east-1", "context-east-1=7c9e6679"] {
        let before = connections.load(Ordering::SeqCst);
        let run = sandbox.run(&["apply", "--accept-identity", accepted]).expect(1);
        assert!(!run.stderr.contains(refusal), "{}", run.stderr);
        assert_ne!(connections.load(Ordering::SeqCst), before);
    }
}

#[test]
fn a_ca_that_is_being_rotated_is_asked_for_its_uid() {
    let (url, connections) = curt_server();
    let sandbox = applied_elsewhere(&url, &certificate());
    let state = sandbox.mesh("shop").join("state.yaml");
    let text = std::fs::read_to_string(&state).unwrap();
    let print = Certificate::from_pem(&certificate()).unwrap().fingerprint;
    std::fs::write(&state, text.replace(&"cd".repeat(32), &print)).unwrap();
    let run = sandbox.run(&["apply"]).expect(1);
    assert!(!run.stderr.contains("may not be the cluster"), "{}", run.stderr);
    assert_ne!(connections.load(Ordering::SeqCst), 0);
}

#[test]
fn a_context_that_the_mesh_does_not_have_cannot_be_accepted() {
    let sandbox = applied_elsewhere("https://127.0.0.1:9", &certificate());
    let short = ["apply", "--accept-identity", "context-east-1=7c9e667"];
    let run = refused(&sandbox, &short).expect(64);
    assert!(run.stderr.contains("too little of a UID"), "{}", run.stderr);
    for command in ["apply", "plan", "teardown"] {
        let run =
            refused(&sandbox, &[command, "--no-input", "--accept-identity", "east"]).expect(64);
        if command == "apply" {
            assert_snapshot!(run.told(), @r#"
exit 64
error: `--accept-identity east`: the mesh has no such context
hint: the contexts are listed in [dir]/home/.config/multimesh/shop/topology.yaml
"#);
        }
    }
}
