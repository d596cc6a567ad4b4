//! A `topology.yaml` that cannot be used: the place, the reason, what to do, and nothing written.

use insta::assert_snapshot;

use super::sandbox::Run;
use super::{refused, shop, three_contexts, topology};

/// Applies this topology, which is refused.
#[track_caller]
fn applied(text: &str) -> Run {
    let sandbox = shop(&three_contexts(), "");
    topology(&sandbox, text);
    refused(&sandbox, &["apply"]).expect(1)
}

#[test]
fn invalid_yaml() {
    assert_snapshot!(
        applied("mesh_id: shop\ncontexts:\n  context-east-1:\n    network: \"network-east\n").told(),
        @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:4:14: invalid YAML: unclosed quote
4 |     network: "network-east
  |              ^
hint: close the quote
"#
    );
    assert_snapshot!(applied("mesh_id: shop\ncontexts:\n\t- a\n").told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:3:1: a tab character is used to indent
3 |  - a
  | ^
hint: YAML is indented with spaces: replace the tab
"#);
    assert_snapshot!(applied("").told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:1:1: the file is empty
hint: it needs `mesh_id: <name>` and `contexts:`
hint: or remove it, and have one written to start from: `kubectl multimesh init --mesh-id <mesh id>`
"#);
    assert_snapshot!(applied("- mesh_id: shop\n").told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:1:1: the file must be a mapping, it is a list
1 | - mesh_id: shop
  | ^
hint: start with `mesh_id: <name>` and `contexts:`
"#);
}

#[test]
fn a_duplicate_context() {
    assert_snapshot!(
        applied("mesh_id: shop\ncontexts:\n  context-east-1: {}\n  \"context-east-1\": {}\n").told(),
        @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:4:3: context `context-east-1` is listed twice, first in line 3
4 |   "context-east-1": {}
  |   ^
hint: keep one of the lines 3 and 4
"#
    );
}

#[test]
fn an_unknown_key() {
    assert_snapshot!(applied("meshid: shop\ncontexts:\n  context-east-1: {}\n").told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:1:1: unknown key `meshid`
1 | meshid: shop
  | ^
hint: did you mean `mesh_id`?
"#);
    assert_snapshot!(
        applied("mesh_id: shop\ncontexts:\n  context-east-1:\n    netwrok: network-east\n").told(),
        @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:4:5: unknown key `netwrok` in context `context-east-1`
4 |     netwrok: network-east
  |     ^
hint: did you mean `network`?
"#
    );
    assert_snapshot!(
        applied("mesh_id: shop\ncontexts:\n  context-east-1:\n    colour: red\n").told(),
        @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:4:5: unknown key `colour` in context `context-east-1`
4 |     colour: red
  |     ^
hint: the keys here are `network`, `cluster`, `namespace`, `serviceAccountReader`, `disableRegistryJoin`, `server`, `tls_server_name`, `proxy_url`, `ca`, `gateway`, `overlay`, `control_plane`
"#
    );
}

#[test]
fn a_missing_or_bad_mesh_id() {
    assert_snapshot!(applied("contexts:\n  context-east-1: {}\n").told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:1:1: `mesh_id` is missing
hint: add a line such as `mesh_id: my-mesh` at the top
"#);
    assert_snapshot!(applied("mesh_id:\ncontexts:\n  context-east-1: {}\n").told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:1:1: `mesh_id` is missing
1 | mesh_id:
  | ^
hint: add a line such as `mesh_id: my-mesh` at the top
"#);
    assert_snapshot!(applied("mesh_id: ../x\ncontexts:\n  context-east-1: {}\n").told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:1:10: `mesh_id`: `../x` cannot be a mesh ID: only letters, digits, `-`, `_` and `.` are allowed, and it must start and end with a letter or digit
1 | mesh_id: ../x
  |          ^
"#);
    let long = format!("mesh_id: {}\ncontexts:\n  context-east-1: {{}}\n", "m".repeat(300));
    assert_snapshot!(applied(&long).told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:1:10: `mesh_id`: `mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm...` cannot be a mesh ID: it has 300 characters, 63 are allowed
"#);
    assert_snapshot!(applied("mesh_id: 7\ncontexts:\n  context-east-1: {}\n").told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:1:10: `mesh_id` must be text, it is a number
1 | mesh_id: 7
  |          ^
hint: write it in quotes: `mesh_id: "7"`
"#);
}

#[test]
fn no_contexts() {
    assert_snapshot!(applied("mesh_id: shop\ncontexts:\n").told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:2:1: the mesh has no contexts
2 | contexts:
  | ^
hint: un-comment an entry or add one: a kubeconfig context with its `network:` below it
hint: the contexts that there are: `kubectl config get-contexts -o name`
"#);
}

#[test]
fn cluster_names_that_collide() {
    assert_snapshot!(
        applied(
            "mesh_id: shop\ncontexts:\n  context-east-1:\n    cluster: shop\n  context-west-1:\n    \
             cluster: shop\n"
        )
        .told(),
        @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:6:5: `context-west-1` and `context-east-1` have the same cluster name `shop`, the other one in line 4
6 |     cluster: shop
  |     ^
hint: give `context-west-1` another name with `cluster:`
"#
    );
}

#[test]
fn a_value_of_the_wrong_kind() {
    assert_snapshot!(
        applied("mesh_id: shop\ncontexts:\n  context-east-1:\n    network: 10\n").told(),
        @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:4:14: `network` in context `context-east-1` must be text, it is a number
4 |     network: 10
  |              ^
hint: write it in quotes: `network: "10"`
"#
    );
    assert_snapshot!(
        applied("mesh_id: shop\ncontexts:\n  context-east-1:\n    control_plane: exsting\n").told(),
        @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:4:20: `control_plane` in context `context-east-1`: `exsting` is neither `managed` nor `existing`
4 |     control_plane: exsting
  |                    ^
hint: did you mean `existing`?
"#
    );
}

#[test]
fn a_proxy_password_is_refused_and_not_shown() {
    let run = applied(
        "mesh_id: shop\ncontexts:\n  context-east-1:\n    proxy_url: http://bob:s3cret@p:1\n",
    );
    assert!(!run.output().contains("s3cret"), "{}", run.stderr);
    assert_snapshot!(run.told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/topology.yaml:4:16: `proxy_url` in context `context-east-1`: it holds credentials, and a topology file is no place for secrets
4 |     proxy_url: http://***@p:1
  |                ^
hint: take out what is before the `@`
"#);
}

#[test]
fn a_file_of_another_mesh() {
    let sandbox = shop(&three_contexts(), "  context-east-1: {}\n");
    sandbox.write("home/bank.yaml", "mesh_id: bank\ncontexts:\n  context-east-1: {}\n");
    let run = refused(&sandbox, &["apply", "-f", "bank.yaml", "--mesh", "shop"]);
    assert_snapshot!(run.told(), @r#"
exit 64
error: bank.yaml is the topology of the mesh `bank`, not of `shop`
hint: unset MESH_ID and leave out `--mesh`, or name the right topology
"#);
}

#[test]
fn certificates_of_an_api_server_that_are_not_there_or_are_none() {
    let text = "mesh_id: shop\ncontexts:\n  context-east-1:\n    ca: base.yaml\n";
    assert_snapshot!(applied(text).told(), @r#"
exit 1
error: `context-east-1`: `[dir]/home/.config/multimesh/shop/base.yaml`: it holds no certificate in PEM
  --> [dir]/home/.config/multimesh/shop/topology.yaml:4:5
4 |     ca: base.yaml
  |     ^
hint: it has to hold the certificates that signed the API server's, in PEM
"#);
    let text = "mesh_id: shop\ncontexts:\n  context-east-1:\n    ca: /none/ca.pem\n";
    assert_snapshot!(applied(text).told(), @r#"
exit 1
error: `context-east-1`: cannot read `/none/ca.pem`: no such file or directory
  --> [dir]/home/.config/multimesh/shop/topology.yaml:4:5
4 |     ca: /none/ca.pem
  |     ^
hint: look at what is there: `ls -la /`
"#);
}

#[test]
fn an_overlay_that_is_not_there() {
    assert_snapshot!(
        applied("mesh_id: shop\ncontexts:\n  context-east-1:\n    overlay: east.yaml\n").told(),
        @r#"
exit 1
error: `context-east-1`: cannot read `[dir]/home/.config/multimesh/shop/east.yaml`: no such file or directory
  --> [dir]/home/.config/multimesh/shop/topology.yaml:4:5
4 |     overlay: east.yaml
  |     ^
hint: look at what is there: `ls -la [dir]/home/.config/multimesh/shop`
"#
    );
}
