//! The files of Istio 1.4's `setup-mesh.sh` work as they are.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;

use super::sandbox::Sandbox;
use super::three_contexts;

/// A user of 2019 with a `WORKDIR`, the three contexts, and the variables that the seed wanted.
fn user() -> Sandbox {
    let sandbox = Sandbox::with(&three_contexts());
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/seed-workdir");
    copy(&fixture, &sandbox.path("home/workdir"));
    sandbox
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

fn command(sandbox: &Sandbox, arguments: &[&str]) -> assert_cmd::Command {
    let mut command = sandbox.command(arguments);
    command.env("WORKDIR", "workdir").env("MESH_ID", "mymeshname").env("ORG_NAME", "Example");
    command
}

#[test]
fn prep_mesh_keeps_everything() {
    let sandbox = user();
    let before = sandbox.tree();
    let run = sandbox.end(command(&sandbox, &["prep-mesh"]));
    assert_snapshot!(run.told(), @r#"
exit 0
note: workdir/certs/root-key.pem can be read by others: `chmod 600 workdir/certs/root-key.pem`
mesh mymeshname in workdir: everything is there, nothing was changed
  kept     certs/root-key.pem   private key of the root CA
  kept     certs/root-cert.pem  root CA `O=Example, CN=Root CA`, until [date]
  kept     base.yaml            what istioctl installs in every cluster
  kept     topology.yaml        the clusters
next: edit workdir/topology.yaml, then run `kubectl multimesh apply --dir workdir`
"#);
    assert_eq!(sandbox.tree(), before);
}

#[test]
fn apply_reads_topology_base_and_root_and_goes_on_to_the_clusters() {
    let sandbox = user();
    sandbox.good_istioctl();
    let before = sandbox.tree();
    let run = sandbox.end(command(&sandbox, &["apply"])).expect(1);
    let notes: Vec<_> = run.stderr.lines().filter(|line| line.starts_with("note:")).collect();
    assert_snapshot!(notes.join("\n"), @r#"
note: workdir/base.yaml:3:1: `IstioControlPlane` is of Istio 1.4: it is read as an `IstioOperator`
note: workdir/base.yaml:7:7: `values.security.selfSigned` is dropped: every cluster gets an intermediate CA of the mesh's root
note: workdir/base.yaml:10:9: `values.global.mtls.enabled` is dropped: proxies use mutual TLS by themselves; to refuse plain text as well, apply a PeerAuthentication with mode STRICT
"#);
    let error: Vec<_> =
        run.told().lines().filter(|l| l.starts_with("error:")).map(str::to_owned).collect();
    assert_snapshot!(error.join("\n"), @"error: none of the 3 clusters could be worked on:");

    let after = sandbox.tree();
    for (path, about) in before.iter().filter(|(path, _)| path.is_file()) {
        assert_eq!(&after[path], about, "{}", path.display());
    }
}
