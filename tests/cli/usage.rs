//! The command line itself.

use insta::assert_snapshot;

use super::sandbox::Sandbox;
use super::{refused, shop, three_contexts};

#[test]
fn help_and_version_are_data() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["--version"],
        &["init", "--help"],
        &["prep-mesh", "--help"],
        &["apply", "--help"],
        &["status", "--help"],
        &["describe", "--help"],
        &["teardown", "--help"],
    ] {
        let run = sandbox.run(arguments).expect(0);
        assert!(run.stdout.contains("kubectl multimesh"), "{arguments:?}: {}", run.stdout);
        assert_eq!(run.stderr, "", "{arguments:?}");
    }
}

#[test]
fn wrong_usage_ends_with_64() {
    let sandbox = Sandbox::with(&three_contexts());
    for arguments in [
        &[][..],
        &["aply"],
        &["apply", "--no-such-flag"],
        &["apply", "--timeout", "soon"],
        &["apply", "--parallel", "0"],
        &["apply", "--wait-lock", "18446744073709551615"],
        &["teardown", "--timeout", "18446744073709551615"],
        &["apply", "extra"],
        &["init", "--mesh-id"],
        &["init", "--dir", ""],
    ] {
        let run = refused(&sandbox, arguments).expect(64);
        assert!(run.stderr.contains("--help") || arguments.is_empty(), "{}", run.stderr);
    }
    assert_snapshot!(refused(&sandbox, &["aply"]).told(), @r#"
exit 64
error: unrecognized subcommand 'aply'

  tip: a similar subcommand exists: 'apply'

Usage: kubectl multimesh [OPTIONS] <COMMAND>

For more information, try '--help'.
"#);
    assert_snapshot!(refused(&sandbox, &["apply", "--timeout", "soon"]).told(), @r#"
exit 64
error: invalid value 'soon' for '--timeout <TIME>': a duration is written as in 90s, 5m or 1h30m

For more information, try '--help'.
"#);
    assert_snapshot!(refused(&sandbox, &["apply", "--wait-lock", "721h"]).told(), @r#"
exit 64
error: invalid value '721h' for '--wait-lock <TIME>': a duration cannot be longer than 30 days, 720h

For more information, try '--help'.
"#);
    assert_snapshot!(refused(&sandbox, &["plan", "--show-all", "--kubeconfig", "k"]).told(), @r#"
exit 64
error: `--show-all` is for the differences, and goes with `-o diff`
hint: `kubectl multimesh plan -o diff --show-all --kubeconfig k`
"#);
}

#[test]
fn a_command_needs_one_mesh() {
    let sandbox = Sandbox::with(&three_contexts());
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(64).told(), @r#"
exit 64
error: there is no mesh in [dir]/home/.config/multimesh
hint: create one: `kubectl multimesh init --mesh-id <mesh id>`
hint: or name its files: `--dir <mesh directory>` or `-f <topology.yaml>`
"#);
    assert_snapshot!(refused(&sandbox, &["apply", "--mesh", "shop"]).told(), @r#"
exit 64
error: there is no mesh `shop` in [dir]/home/.config/multimesh
hint: create it: `kubectl multimesh init --mesh-id shop`
"#);
    assert_snapshot!(refused(&sandbox, &["apply", "--dir", "shop"]).told(), @r#"
exit 1
error: the mesh directory shop does not exist
hint: create it: `kubectl multimesh init --mesh-id <mesh id> --dir shop`
"#);
    assert_snapshot!(refused(&sandbox, &["apply", "-f", "shop.yaml"]).told(), @r#"
exit 1
error: there is no topology file `shop.yaml`
hint: if it is kept elsewhere, name it: `-f <topology.yaml>`
hint: a new mesh gets one: `kubectl multimesh init --mesh-id <mesh id> -f shop.yaml`
"#);
    assert_snapshot!(refused(&sandbox, &["apply", "--mesh", "../x"]).told(), @r#"
exit 64
error: `../x` cannot be a mesh ID: only letters, digits, `-`, `_` and `.` are allowed, and it must start and end with a letter or digit
"#);

    sandbox.run(&["init", "--mesh-id", "shop"]).expect(0);
    sandbox.run(&["init", "--mesh-id", "bank"]).expect(0);
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(64).told(), @r#"
exit 64
error: there are several meshes: bank, shop
hint: say which one is meant: `--mesh <mesh id>`
"#);
}

#[test]
fn a_teardown_that_nobody_can_confirm_does_nothing() {
    let sandbox = shop(&three_contexts(), "  context-east-1: {network: network-east}\n");
    assert_snapshot!(refused(&sandbox, &["teardown"]).expect(64).told(), @r#"
exit 64
error: teardown deletes, so it asks first, and here is nobody to ask
hint: look at what it would do: `kubectl multimesh teardown --dry-run`
hint: do it without being asked: `kubectl multimesh teardown --yes`
"#);
    let run = refused(&sandbox, &["teardown", "--yes"]).expect(1);
    assert!(run.stderr.contains("refused the connection"), "{}", run.stderr);
    refused(&sandbox, &["teardown", "--yes", "--mesh", "bank"]).expect(64);
}

#[test]
fn colours_are_for_those_who_ask() {
    let sandbox = shop(&three_contexts(), "");
    let plain = refused(&sandbox, &["apply"]);
    assert!(!plain.stderr.contains('\u{1b}'), "{}", plain.stderr);
    let colored = refused(&sandbox, &["apply", "--color", "always"]);
    assert!(colored.stderr.contains("\u{1b}["), "{}", colored.stderr);
}
