//! Contexts that the kubeconfig lacks, or with which nothing can be done.

use insta::assert_snapshot;

use super::kubeconfig::{Kubeconfig, TOKEN};
use super::{refused, shop, three_contexts};

#[test]
fn a_context_that_the_kubeconfig_lacks() {
    let sandbox = shop(&three_contexts(), "  context-east-1: {}\n  context-eats-2: {}\n");
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(1).told(), @r#"
exit 1
error: the kubeconfig has no context `context-eats-2`; did you mean `context-east-2`?
  --> [dir]/home/.config/multimesh/shop/topology.yaml:4:3
4 |   context-eats-2: {}
  |   ^
hint: list the contexts: `kubectl config get-contexts -o name`
"#);
    let sandbox = shop(&three_contexts(), "  north: {}\n");
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(1).told(), @r#"
exit 1
error: the kubeconfig has no context `north`; it has `context-east-1`, `context-east-2`, `context-west-1`
  --> [dir]/home/.config/multimesh/shop/topology.yaml:3:3
3 |   north: {}
  |   ^
hint: list the contexts: `kubectl config get-contexts -o name`
"#);
}

#[test]
fn a_context_whose_user_entry_is_missing() {
    let kubeconfig = three_contexts().without_user("context-east-1");
    let sandbox = shop(&kubeconfig, "  context-east-1: {}\n");
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(1).told(), @r#"
exit 1
error: `context-east-1`: the kubeconfig has no user entry `context-east-1-user`, which this context names
  --> [dir]/home/.config/multimesh/shop/topology.yaml:3:3
3 |   context-east-1: {}
  |   ^
hint: add the entry with `kubectl config set-credentials context-east-1-user`, or point the context elsewhere: `kubectl config set-context context-east-1 --user=<name>`
"#);
}

#[test]
fn a_context_whose_cluster_entry_is_missing() {
    let sandbox = shop(&Kubeconfig::default().context_alone("east"), "  east: {}\n");
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(1).told(), @r#"
exit 1
error: `east`: the kubeconfig has no cluster entry `east`, which this context names
  --> [dir]/home/.config/multimesh/shop/topology.yaml:3:3
3 |   east: {}
  |   ^
hint: add the entry with `kubectl config set-cluster east --server=<url>`, or point the context elsewhere: `kubectl config set-context east --cluster=<name>`
"#);
}

#[test]
fn no_kubeconfig_at_all() {
    let sandbox = shop(&three_contexts(), "  context-east-1: {}\n");
    std::fs::remove_file(sandbox.path("home/.kube/config")).unwrap();
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(1).told(), @r#"
exit 1
error: there is no kubeconfig, and so no context `context-east-1`
  --> [dir]/home/.config/multimesh/shop/topology.yaml:3:3
3 |   context-east-1: {}
  |   ^
hint: give one: `--kubeconfig <file>`, or set `KUBECONFIG`; the usual place is ~/.kube/config
"#);
    let run = refused(&sandbox, &["apply", "--kubeconfig", "none"]).expect(1);
    assert_snapshot!(run.told(), @r#"
exit 1
error: cannot read the kubeconfig none: no such file or directory
hint: check the file: `ls -l none`
"#);
}

#[test]
fn a_kubeconfig_that_is_none() {
    let sandbox = shop(&three_contexts(), "  context-east-1: {}\n");
    let text = format!("users:\n- name: a\n  user: {{token: \"{TOKEN}\"\n");
    std::fs::write(sandbox.path("home/.kube/config"), text).unwrap();
    let run = refused(&sandbox, &["apply", "-vvv"]).expect(1);
    assert!(!run.output().contains("secret-of-the-kubeconfig"));
    assert_snapshot!(run.told(), @r#"
exit 1
error: the kubeconfig [dir]/home/.kube/config, line 3, column 9, is not valid: unclosed bracket
hint: correct it, then try `kubectl --kubeconfig [dir]/home/.kube/config config view`
"#);
}

#[test]
fn an_api_server_that_only_this_machine_can_reach() {
    let kubeconfig = Kubeconfig::default()
        .context("kind-east", "https://127.0.0.1:6443")
        .context("kind-west", "https://127.0.0.1:6444");
    let sandbox = shop(&kubeconfig, "  kind-east: {}\n  kind-west: {}\n");
    assert_snapshot!(refused(&sandbox, &["apply"]).expect(1).told(), @r#"
exit 1
error: `kind-east`: its API server is at https://127.0.0.1:[port], which the other clusters cannot reach
hint: give the address that they can use: `server: https://<address>:<port>` under `kind-east` in [dir]/home/.config/multimesh/shop/topology.yaml
"#);

    // With the address that the others can use it goes on to what is missing next.
    let sandbox = shop(
        &kubeconfig,
        "  kind-east: {server: \"https://10.0.0.1:6443\"}\n  \
         kind-west: {server: \"https://10.0.0.2:6443\"}\n",
    );
    let run = refused(&sandbox, &["apply"]).expect(1);
    assert!(run.stderr.contains("there is no `istioctl` on PATH"), "{}", run.stderr);
    // A mesh of one needs no peer.
    let sandbox = shop(&kubeconfig, "  kind-east: {}\n");
    let run = refused(&sandbox, &["apply"]).expect(1);
    assert!(run.stderr.contains("there is no `istioctl` on PATH"), "{}", run.stderr);
}

#[test]
fn contexts_that_are_not_in_the_topology_cannot_be_chosen() {
    let sandbox = shop(&three_contexts(), "  context-east-1: {}\n  context-east-2: {}\n");
    let run = refused(&sandbox, &["apply", "--contexts", "context-west-1"]);
    assert_snapshot!(run.told(), @r#"
exit 64
error: `context-west-1` matches no context
hint: did you mean `context-east-1`?
"#);
    let run = refused(&sandbox, &["apply", "--contexts", "/east/,^/context/"]);
    assert_snapshot!(run.told(), @r#"
exit 64
error: `/east/`, `^/context/` leave no context
hint: the contexts are `context-east-1`, `context-east-2`
"#);
    assert_snapshot!(refused(&sandbox, &["apply", "--contexts", "/(/"]).told(), @r#"
exit 64
error: `/(/` selects nothing: the regular expression is not valid: unclosed group
hint: a selector is a context, `/regex/`, or either of them after `^` to leave it out
"#);
}

#[test]
fn a_cluster_that_cannot_be_reached() {
    let kubeconfig = Kubeconfig::default().context("east", "https://127.0.0.1:9");
    let sandbox = shop(&kubeconfig, "  east: {network: network-east}\n");
    sandbox.good_istioctl();
    assert_snapshot!(sandbox.run(&["apply"]).told(), @r#"
exit 1
[seconds] reading what is there
[seconds] east  the API server at https://127.0.0.1:9 refused the connection
error: `east`: the API server at https://127.0.0.1:9 refused the connection
hint: check that it is running: `kubectl --context east version`
"#);
    assert!(!sandbox.mesh("shop").join("state.yaml").exists());
}

#[test]
fn status_shows_a_cluster_that_cannot_be_reached_as_a_row() {
    let kubeconfig = Kubeconfig::default().context("east", "https://127.0.0.1:9");
    let sandbox = shop(&kubeconfig, "  east: {network: network-east}\n");
    let before = sandbox.tree();
    let run = sandbox.run(&["status", "-o", "json"]).expect(4);
    assert_eq!(sandbox.tree(), before);
    let data: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(data.to_string().contains("refused the connection"), "{data}");
    let run = sandbox.run(&["status"]).expect(4);
    assert!(run.stdout.contains("east"), "{}", run.stdout);
}

#[test]
fn no_cluster_that_can_be_reached() {
    let contexts = "  context-east-1: {network: east}\n  context-west-1: {network: west}\n";
    let sandbox = shop(&three_contexts(), contexts);
    sandbox.good_istioctl();
    let run = sandbox.run(&["apply"]).expect(1);
    let told: Vec<_> =
        run.told().lines().skip_while(|l| !l.starts_with("error:")).map(str::to_owned).collect();
    assert_snapshot!(told.join("\n"), @r#"
error: none of the 2 clusters could be worked on:
  `context-east-1`: the proxy http://127.0.0.1:9 on the way to the API server at https://10.1.0.1:6443 refused the connection
  `context-west-1`: the proxy http://127.0.0.1:9 on the way to the API server at https://10.2.0.1:6443 refused the connection
hint: check the proxy; one that the environment names is gone round by `NO_PROXY=10.1.0.1 kubectl --context context-east-1 version`
hint: check the proxy; one that the environment names is gone round by `NO_PROXY=10.2.0.1 kubectl --context context-west-1 version`
"#);
}
