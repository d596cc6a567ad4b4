//! Local files that are damaged, locked, on a full device, or secret.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use assert_cmd::Command;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use insta::assert_snapshot;
use multimesh::files::Lock;

use super::kubeconfig::TOKEN;
use super::sandbox::{BINARY, LIMIT, Run, Sandbox};
use super::{refused, shop, three_contexts, topology};

const ONE: &str = "  context-east-1: {network: network-east}\n";

fn throwaway(name: &str) -> String {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/throwaway-test-keys");
    fs::read_to_string(keys.join(name)).unwrap()
}

/// Applies with this root key, which is refused.
#[track_caller]
fn with_key(key: &str) -> Run {
    let sandbox = shop(&three_contexts(), ONE);
    fs::write(sandbox.mesh("shop").join("certs/root-key.pem"), key).unwrap();
    let run = refused(&sandbox, &["apply"]).expect(1);
    let init = refused(&sandbox, &["init", "--mesh-id", "shop"]).expect(1);
    assert_eq!(init.stderr, run.stderr);
    let lines = key.lines().filter(|line| line.len() > 20 && !line.starts_with("-----"));
    lines.for_each(|line| assert!(!run.output().contains(line), "{}", run.stderr));
    run
}

#[test]
fn a_root_key_that_cannot_be_used() {
    assert_snapshot!(with_key(&throwaway("p256-sec1.key.pem")).told(), @r#"
exit 1
error: the private key in `[dir]/home/.config/multimesh/shop/certs/root-key.pem` does not belong to the certificate in `[dir]/home/.config/multimesh/shop/certs/root-cert.pem`
hint: restore the two of them from your backup
"#);
    assert_snapshot!(with_key("garbage").told(), @r#"
exit 1
error: `[dir]/home/.config/multimesh/shop/certs/root-key.pem`: it holds no private key in PEM
hint: restore the file from your backup
"#);
    assert_snapshot!(with_key(&throwaway("rsa-2048-pkcs8-encrypted.key.pem")).told(), @r#"
exit 1
error: `[dir]/home/.config/multimesh/shop/certs/root-key.pem`: the private key is protected by a passphrase
hint: store it without a passphrase: `openssl pkey -in <key> -out root-key.pem`
"#);
    assert_snapshot!(with_key(&throwaway("p521-pkcs8.key.pem")).told(), @r#"
exit 1
error: `[dir]/home/.config/multimesh/shop/certs/root-key.pem`: the private key cannot be used: it is damaged, or not RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519
hint: restore the file from your backup
"#);
}

#[test]
fn a_root_key_that_cannot_be_read() {
    let sandbox = shop(&three_contexts(), ONE);
    let key = sandbox.mesh("shop").join("certs/root-key.pem");
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(1).told(), @r#"
exit 1
error: cannot read `[dir]/home/.config/multimesh/shop/certs/root-key.pem`: it is a directory
hint: look at what is there: `ls -la [dir]/home/.config/multimesh/shop/certs`
"#);
}

#[test]
fn a_root_that_was_lost_or_replaced() {
    let sandbox = shop(&three_contexts(), ONE);
    let state = format!("format: 1\nmesh_id: shop\nroot: {}\ncontexts: {{}}\n", "ab".repeat(32));
    fs::write(sandbox.mesh("shop").join("state.yaml"), state).unwrap();
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(1).told(), @r#"
exit 1
error: the root CA in [dir]/home/.config/multimesh/shop/certs is not the one that this mesh was made with
hint: restore root-cert.pem and root-key.pem: clusters with different roots refuse each other's traffic
hint: compare: `openssl x509 -noout -fingerprint -sha256 -in [dir]/home/.config/multimesh/shop/certs/root-cert.pem` should give abababababababababababababababababababababababababababababababab
"#);
    fs::remove_dir_all(sandbox.mesh("shop").join("certs")).unwrap();
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(1).told(), @r#"
exit 1
error: the root CA of this mesh is missing from [dir]/home/.config/multimesh/shop/certs
hint: restore root-cert.pem and root-key.pem from your backup
"#);
}

#[test]
fn a_record_that_is_damaged_or_of_another_mesh() {
    let sandbox = shop(&three_contexts(), ONE);
    let state = sandbox.mesh("shop").join("state.yaml");
    fs::write(&state, "format: 1\nmesh_id: shop\ncontext").unwrap();
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(1).told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/state.yaml is damaged: simple key expected ':' at line 3, column 1
hint: move it away (`mv [dir]/home/.config/multimesh/shop/state.yaml [dir]/home/.config/multimesh/shop/state.yaml.damaged`) and apply again: the members are found again; which cluster each context was, and which ones have left the topology and are not cleaned yet, is not
"#);
    fs::write(&state, "format: 1\nmesh_id: bank\ncontexts: {}\n").unwrap();
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(1).told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/state.yaml belongs to the mesh `bank`, not to `shop`
hint: a mesh ID cannot be changed in place: give each mesh a directory of its own
"#);
}

#[test]
fn a_directory_that_another_run_works_on() {
    let sandbox = shop(&three_contexts(), ONE);
    let _lock = Lock::acquire(&sandbox.mesh("shop"), "apply").unwrap();
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(1).told(), @r#"
exit 1
error: `[dir]/home/.config/multimesh/shop` is in use by process [pid] (`apply`), since [time]
hint: wait for it to end (see `ps -fp [pid]`), then run the same command again, or give it `--wait-lock 5m`
"#);
    fs::remove_file(sandbox.mesh("shop").join("base.yaml")).unwrap();
    refused(&sandbox, &["init", "--mesh-id", "shop"]).expect(1);
}

#[test]
fn another_run_in_the_directory_is_waited_for() {
    let sandbox = shop(&three_contexts(), ONE);
    sandbox.good_istioctl();
    fs::remove_file(sandbox.mesh("shop").join("base.yaml")).unwrap();
    for (arguments, code) in [
        (&["apply", "--wait-lock", "60s"][..], 1),
        (&["teardown", "--yes", "--wait-lock", "60s"], 1),
        (&["init", "--mesh-id", "shop", "--wait-lock", "60s"], 0),
    ] {
        let lock = Lock::acquire(&sandbox.mesh("shop"), "apply").unwrap();
        let mut child = std::process::Command::new(BINARY)
            .env_clear()
            .envs(sandbox.environment())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let first = lines.next().unwrap();
        let about = format!("is in use by process {} (`apply`), since ", std::process::id());
        assert!(first.starts_with("waiting: ") && first.contains(&about), "{first}");
        drop(lock);
        let rest = lines.collect::<Vec<_>>().join("\n");
        // Nobody can be reached, but that is another matter.
        assert_eq!(child.wait().unwrap().code(), Some(code), "{rest}");
        assert!(!rest.contains("is in use"), "{rest}");
    }
}

#[test]
fn a_folder_that_is_none() {
    let sandbox = Sandbox::with(&three_contexts());
    sandbox.write("home/file", "text");
    let mut command = sandbox.command(&["init", "--mesh-id", "shop"]);
    command.env("MULTIMESH_HOME", sandbox.path("home/file"));
    assert_snapshot!(sandbox.end(command).expect(1).told(), @r#"
exit 1
error: cannot read `[dir]/home/file/shop/topology.yaml`: a part of the path is not a directory
hint: look at what is there: `ls -la [dir]/home/file`
"#);
    let run = refused(&sandbox, &["init", "--mesh-id", "shop", "--dir", "file"]).expect(1);
    assert_snapshot!(run.told(), @r#"
exit 1
error: cannot read `file/topology.yaml`: a part of the path is not a directory
hint: look at what is there: `ls -la file`
"#);
}

#[test]
#[cfg(target_os = "linux")]
fn a_folder_that_cannot_be_made() {
    let sandbox = Sandbox::with(&three_contexts());
    let mut command = sandbox.command(&["init", "--mesh-id", "shop"]);
    command.env("MULTIMESH_HOME", "/proc/none");
    assert_snapshot!(sandbox.end(command).expect(1).told(), @r#"
exit 1
error: cannot write `/proc/none/shop`: no such file or directory
hint: keep the mesh's files elsewhere: `MULTIMESH_HOME=<folder>`, or `--dir <folder>`
"#);
}

/// Runs a shell script with the arguments sandbox folder and binary, as root of a mount namespace
/// of its own. None where this machine allows no such thing.
fn in_mount_namespace(sandbox: &Sandbox, script: &str) -> Option<Run> {
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let ways = [&["--mount"][..], &["--map-root-user", "--mount"]];
    let probe = format!("mount -t tmpfs none {}", sandbox.path("tmp").display());
    let way = ways.into_iter().find(|way| {
        let mut command = std::process::Command::new("unshare");
        command.args(*way).args(["sh", "-c", &probe]).env("PATH", path);
        command.output().is_ok_and(|output| output.status.success())
    })?;
    let mut command = Command::new("unshare");
    command.args(way).args(["sh", "-euc", script, "sh"]).arg(sandbox.path("home")).arg(BINARY);
    command.env_clear().envs(sandbox.environment()).env("PATH", path).timeout(LIMIT);
    Some(sandbox.end(command))
}

/// Says that a test cannot run here. Where everything must run it fails instead.
fn skip(reason: &str) {
    use std::io::Write as _;
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
    // Past the test harness, which shows nothing of a test that passes.
    let line = format!("skipped: {reason}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

const NO_MOUNTS: &str = "a full or read-only device needs the right to mount one";

#[test]
fn a_read_only_folder() {
    let sandbox = Sandbox::new();
    let script = "mkdir $1/meshes; mount -t tmpfs -o ro none $1/meshes\n\
                  MULTIMESH_HOME=$1/meshes $2 init --mesh-id shop";
    let Some(run) = in_mount_namespace(&sandbox, script) else { return skip(NO_MOUNTS) };
    assert_snapshot!(run.told(), @r#"
exit 1
error: cannot write `[dir]/home/meshes/shop`: the file system is read-only
hint: keep the mesh's files elsewhere: `MULTIMESH_HOME=<folder>`, or `--dir <folder>`
"#);
}

#[test]
fn a_full_device_leaves_nothing_half_written_and_the_next_run_finishes() {
    let script = "export MULTIMESH_HOME=$1/meshes; mkdir $1/meshes $1/full $1/roomy\n\
                  mount -t tmpfs -o size=${SIZE}k none $1/meshes\n\
                  if $2 init --mesh-id shop; then exit 99; fi\n\
                  cp -a $1/meshes/. $1/full\n\
                  mount -o remount,size=1m $1/meshes\n\
                  $2 init --mesh-id shop\n\
                  cp -a $1/meshes/. $1/roomy";
    for size in [4, 8, 12, 16] {
        let sandbox = Sandbox::new();
        let script = script.replace("${SIZE}", &size.to_string());
        let Some(run) = in_mount_namespace(&sandbox, &script) else { return skip(NO_MOUNTS) };
        let run = run.expect(0);
        assert!(run.stderr.contains("no space is left on the device"), "{size}: {}", run.stderr);
        assert!(run.stderr.contains("hint: make room: `df -h "), "{size}: {}", run.stderr);
        let roomy = sandbox.path("home/roomy/shop");
        let full = sandbox.path("home/full/shop");
        for (name, mode) in sandbox.modes(&full) {
            let expected = if name.is_empty() || name == "certs" { "700" } else { "600" };
            assert_eq!(mode, expected, "{size}: {name}");
            let (there, whole) = (full.join(&name), roomy.join(&name));
            if there.is_file() && whole.is_file() {
                let same = fs::read(there).unwrap() == fs::read(whole).unwrap();
                assert!(same, "{size}: {name} was half written");
            }
        }
        for name in ["topology.yaml", "base.yaml", "certs/root-key.pem", "certs/root-cert.pem"] {
            assert!(!fs::read(roomy.join(name)).unwrap().is_empty(), "{size}: {name}");
        }
    }
}

/// The parts of a file by which its content would be known again.
fn key_material(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter(|l| l.len() > 20 && !l.starts_with("-----")).map(str::to_owned).collect()
}

#[test]
fn no_secret_is_shown_at_any_verbosity() {
    let kubeconfig = three_contexts().context("refuses", "https://127.0.0.1:9");
    let sandbox = Sandbox::with(&kubeconfig);
    let mut outputs = Vec::new();
    outputs.push(sandbox.run(&["init", "--mesh-id", "shop", "-vvv"]).expect(0));
    outputs.push(sandbox.run(&["init", "--mesh-id", "shop", "-vvv"]).expect(0));
    topology(&sandbox, &format!("mesh_id: shop\ncontexts:\n{ONE}"));
    sandbox.good_istioctl();
    outputs.push(sandbox.run(&["apply", "-vvv"]).expect(1));
    topology(&sandbox, "mesh_id: shop\ncontexts: {refuses: {network: network-east}}\n");
    outputs.push(sandbox.run(&["apply", "-vvv"]).expect(1));

    let mut secrets = key_material(&sandbox.mesh("shop").join("certs/root-key.pem"));
    assert!(secrets.len() > 1);
    secrets.extend([TOKEN.to_owned(), BASE64_STANDARD.encode(TOKEN)]);
    for (run, secret) in outputs.iter().flat_map(|run| secrets.iter().map(move |s| (run, s))) {
        assert!(!run.output().contains(secret), "a secret is in:\n{}", run.output());
    }
}

#[test]
fn what_an_apply_writes_is_private() {
    let sandbox = shop(&three_contexts(), ONE);
    sandbox.good_istioctl();
    sandbox.run(&["apply"]).expect(1);
    let modes = sandbox.modes(&sandbox.mesh("shop"));
    assert!(modes.contains_key("cache/istioctl-version"), "{modes:?}");
    for (name, mode) in modes {
        let folder = ["", "cache", "certs"].contains(&name.as_str());
        assert_eq!(mode, if folder { "700" } else { "600" }, "{name}");
    }
}
