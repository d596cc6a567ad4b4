//! A `base.yaml` that cannot be used.

use std::fs;

use insta::assert_snapshot;

use super::sandbox::{Run, Sandbox};
use super::{refused, shop, three_contexts};

fn with_base(text: &str) -> Sandbox {
    let sandbox = shop(&three_contexts(), "  context-east-1: {network: network-east}\n");
    fs::write(sandbox.mesh("shop").join("base.yaml"), text).unwrap();
    sandbox
}

/// Applies with this base, which is refused.
#[track_caller]
fn applied(text: &str) -> Run {
    refused(&with_base(text), &["apply"]).expect(1)
}

const HEAD: &str = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n";

#[test]
fn the_six_protected_values_of_the_seed() {
    let text = format!(
        "{HEAD}  values:
    gateway:
      istio-ingressgateway:
        env:
          ISTIO_MESH_NETWORK: network-east
    global:
      controlPlaneSecurityEnabled: true
      multiCluster:
        clusterName: east
      network: network-east
      meshNetworks: {{}}
    pilot:
      meshNetworks: {{}}
"
    );
    assert_snapshot!(applied(&text).told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/base.yaml:8:11: `values.gateway.istio-ingressgateway.env.ISTIO_MESH_NETWORK` may not be set in the base: the network of a gateway is `network` of its context in the topology, and no Istio ever read this variable
[dir]/home/.config/multimesh/shop/base.yaml:10:7: `values.global.controlPlaneSecurityEnabled` may not be set in the base: connections to the control plane are always secured, no Istio since 1.6 has the choice
[dir]/home/.config/multimesh/shop/base.yaml:12:9: `values.global.multiCluster.clusterName` may not be set in the base: every cluster has its own name, `cluster` of a context in the topology
[dir]/home/.config/multimesh/shop/base.yaml:13:7: `values.global.network` may not be set in the base: every cluster has its own network, `network` of a context in the topology
[dir]/home/.config/multimesh/shop/base.yaml:14:7: `values.global.meshNetworks` may not be set in the base: the gateways of the networks are found by themselves; an address that others see differently is `gateway` of a context in the topology
[dir]/home/.config/multimesh/shop/base.yaml:16:7: `values.pilot.meshNetworks` may not be set in the base: the gateways of the networks are found by themselves; an address that others see differently is `gateway` of a context in the topology
8 |           ISTIO_MESH_NETWORK: network-east
  |           ^
hint: take out lines 8, 10, 12, 13, 14, 16, and say it in topology.yaml
"#);
}

#[test]
fn the_three_protected_values_of_today() {
    let text = format!(
        "{HEAD}  values:
    global:
      meshID: shop
      multiCluster:
        clusterName: east
      network: network-east
"
    );
    assert_snapshot!(applied(&text).told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/base.yaml:6:7: `values.global.meshID` may not be set in the base: the mesh ID is `mesh_id` of the topology
[dir]/home/.config/multimesh/shop/base.yaml:8:9: `values.global.multiCluster.clusterName` may not be set in the base: every cluster has its own name, `cluster` of a context in the topology
[dir]/home/.config/multimesh/shop/base.yaml:9:7: `values.global.network` may not be set in the base: every cluster has its own network, `network` of a context in the topology
6 |       meshID: shop
  |       ^
hint: take out lines 6, 8, 9, and say it in topology.yaml
"#);
}

#[test]
fn a_protected_value_in_an_overlay() {
    let sandbox = shop(&three_contexts(), "  context-east-1: {overlay: east.yaml}\n");
    let overlay = format!("{HEAD}  values: {{global: {{network: network-east}}}}\n");
    fs::write(sandbox.mesh("shop").join("east.yaml"), overlay).unwrap();
    assert_snapshot!(refused(&sandbox, &["apply"]).told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/east.yaml:4:21: `values.global.network` may not be set in the overlay: every cluster has its own network, `network` of a context in the topology
4 |   values: {global: {network: network-east}}
  |                     ^
hint: take out line 4, and say it in topology.yaml
"#);
}

#[test]
fn something_else_than_an_operator() {
    assert_snapshot!(applied("pilot:\n  replicaCount: 2\n").told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/base.yaml:1:1: the base must be an `IstioOperator` of `install.istio.io/v1alpha1`, it is an object without `apiVersion` and `kind`
1 | pilot:
  | ^
hint: these look like values of a Helm chart: put them below `spec.values` of an IstioOperator
"#);
    assert_snapshot!(applied("# nothing yet\n").told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/base.yaml:1:1: the base is empty
hint: start it with `apiVersion: install.istio.io/v1alpha1`, `kind: IstioOperator` and `spec:`
"#);
    assert_snapshot!(applied(&format!("{HEAD}  profile: minimal\n profile: demo\n")).told(), @r#"
exit 1
error: [dir]/home/.config/multimesh/shop/base.yaml:5:2: invalid YAML: while parsing a block mapping, did not find expected key
5 |  profile: demo
  |  ^
hint: keys of one mapping must start in the same column
"#);
}

#[test]
fn an_operator_that_istioctl_rejects() {
    let sandbox = with_base(&format!("{HEAD}  profil: minimal\n"));
    // The words are those of istioctl 1.31; the real one is used with real clusters.
    sandbox.istioctl_of(
        "1.31.1",
        "echo \"Error: could not unmarshal: error unmarshaling JSON: while decoding JSON: json: \
         unknown field \\\"profil\\\" in $4\" >&2; exit 1",
    );
    let before = sandbox.tree();
    let run = sandbox.run(&["apply"]).expect(1);
    assert_snapshot!(run.told(), @r#"
exit 1
[seconds] reading what is there
error: istioctl rejects the operator that base.yaml makes: could not unmarshal: error unmarshaling JSON: while decoding JSON: json: unknown field "profil" in base.yaml
hint: mend base.yaml, or the overlay of the context
hint: try it alone: `[dir]/bin/istioctl manifest generate -f [dir]/home/.config/multimesh/shop/base.yaml`
"#);
    let written: Vec<_> = sandbox.tree().into_keys().filter(|p| !before.contains_key(p)).collect();
    let cache = sandbox.mesh("shop").join("cache");
    assert!(written.iter().all(|path| path.starts_with(&cache)), "{written:?}");
}
