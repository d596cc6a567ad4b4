use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::topology::{GATEWAY_PORT, GatewayHost};

fn load(text: &str) -> Result<Topology, Error> {
    parse(text, Path::new("dir/topology.yaml"))
}

/// A topology whose context `east-1` has these keys; they start in line 4.
fn context(keys: &str) -> Result<Topology, Error> {
    let keys: Vec<_> = keys.lines().map(|line| format!("    {line}\n")).collect();
    let keys = keys.concat();
    load(&format!("mesh_id: m\ncontexts:\n  east-1:\n{keys}"))
}

fn one(keys: &str) -> Member {
    context(keys).unwrap().members.remove(0)
}

/// Message without the file's directory, and hint.
fn fault(result: Result<Topology, Error>) -> (String, String) {
    let error = result.unwrap_err();
    let place = error.place().unwrap();
    assert!(place.line >= 1 && place.column >= 1);
    let text = error.to_string();
    (text.strip_prefix("dir/").unwrap_or(&text).to_owned(), error.hint().unwrap_or_default())
}

#[test]
fn the_seeds_file_loads_unchanged() {
    let text = include_str!("../../../tests/fixtures/seed-workdir/topology.yaml");
    let topology = load(text).unwrap();
    assert_eq!(topology.mesh_id.as_str(), "mymeshname");
    assert_eq!(topology.notes, []);
    let networks: Vec<_> = topology
        .networks()
        .into_iter()
        .map(|(network, members)| {
            (network.to_string(), members.iter().map(|m| m.context.to_string()).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(
        networks,
        [
            ("network-east".into(), vec!["context-east-1".into(), "context-east-2".to_owned()]),
            ("network-west".into(), vec!["context-west-1".to_owned()]),
        ]
    );
    let member = topology.member("context-east-1").unwrap();
    assert_eq!(member.namespace.as_str(), "istio-system");
    assert_eq!(member.reader.as_str(), "istio-reader-service-account");
    assert!(member.registry_join);
    assert_eq!(member.control_plane, ControlPlane::Managed);
    let line = 1 + text.lines().position(|line| line.contains("context-east-1:")).unwrap();
    assert_eq!((member.place.line, member.place.column), (line, 3));
}

#[test]
fn every_key_is_read() {
    let member =
        one("network: net\ncluster: shop\nnamespace: mesh\nserviceAccountReader: reader\n\
                      disableRegistryJoin: true\nserver: https://api.example.com:6443\n\
                      tls_server_name: api\nproxy_url: http://proxy:3128\nca: certs/ca.pem\n\
                      gateway: gw.example.com:443\noverlay: /etc/overlay.yaml\n\
                      control_plane: managed");
    assert_eq!(member.network.as_str(), "net");
    assert_eq!(member.cluster.as_ref().unwrap().as_str(), "shop");
    assert_eq!(member.namespace.as_str(), "mesh");
    assert_eq!(member.reader.as_str(), "reader");
    assert!(!member.registry_join);
    assert_eq!(member.server.as_deref(), Some("https://api.example.com:6443"));
    assert_eq!(member.tls_server_name.as_deref(), Some("api"));
    assert_eq!(member.proxy_url.as_deref(), Some("http://proxy:3128"));
    assert_eq!(member.ca.as_deref(), Some(Path::new("dir/certs/ca.pem")));
    let gateway = member.gateway.as_ref().unwrap();
    assert_eq!((gateway.port, &gateway.host), (443, &GatewayHost::Name("gw.example.com".into())));
    assert_eq!(member.overlay.as_deref(), Some(Path::new("/etc/overlay.yaml")));
    assert_eq!(member.place_of("server").line, 9);
    assert_eq!(member.place_of("nothing").line, 3);
    assert_eq!(one("network: net\ngateway: 10.0.0.1").gateway.unwrap().port, GATEWAY_PORT);
    assert_eq!(one("network: net\ncontrol_plane: existing").control_plane, ControlPlane::Existing);
}

#[test]
fn names_may_be_quoted_or_not_and_mappings_may_be_in_flow_style() {
    let arn = "arn:aws:eks:eu-west-1:1:cluster/shop";
    for key in [arn.to_owned(), format!("\"{arn}\""), format!("'{arn}'")] {
        let topology =
            load(&format!("mesh_id: 'm'\ncontexts:\n  {key}:\n    network: net\n")).unwrap();
        assert_eq!(topology.members[0].context.as_str(), arn);
    }
    let flow = load("{mesh_id: m, contexts: {a: {network: x}, b: {network: z}}}").unwrap();
    assert_eq!(flow.members[1].place.column, 42);
    let crlf = load("\u{feff}mesh_id: m\r\ncontexts:\r\n  a:\r\n    network: x\r\n").unwrap();
    assert_eq!(crlf.members[0].network.as_str(), "x");
    let shared =
        "mesh_id: m\ncontexts:\n  a: &n {network: x}\n  b: *n\n  c: {<<: *n, cluster: c}\n";
    assert!(load(shared).unwrap().members.iter().all(|m| m.network.as_str() == "x"));
}

#[test]
fn members_keep_the_order_of_the_file() {
    let topology = load("contexts: {z: {network: net}, a: {network: net}}\nmesh_id: m\n").unwrap();
    assert_eq!(topology.contexts().map(ContextName::as_str).collect::<Vec<_>>(), ["z", "a"]);
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
    let error = load("mesh_id: m\ncontexts:\n  east-1:\n    netwrok: net\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "dir/topology.yaml:4:5: unknown key `netwrok` in context `east-1`"
    );
    assert_eq!(error.hint().unwrap(), "did you mean `network`?");
    assert_eq!(error.place().unwrap().text, "    netwrok: net");

    let (text, hint) = fault(load("meshId: m\ncontexts: {a: }\n"));
    assert_eq!(text, "topology.yaml:1:1: unknown key `meshId`");
    assert_eq!(hint, "did you mean `mesh_id`?");
    assert_eq!(fault(load("mesh_id: m\nclusters: {}\n")).1, "did you mean `contexts`?");
    assert!(fault(load("mesh_id: m\ncolour: red\n")).1.contains("`mesh_id`, `contexts`"));
    assert!(fault(load("apiVersion: v1\nmesh_id: m\n")).1.contains("base.yaml"));
}

#[rstest]
#[case("", "topology.yaml:1:1: the file is empty", "`contexts:`")]
#[case("# a\n", "topology.yaml:1:1: the file is empty", "mesh_id")]
#[case("contexts: {a: }\n", "topology.yaml:1:1: `mesh_id` is missing", "mesh_id: my-mesh")]
#[case("a: 1\nmesh_id:\n", "topology.yaml:1:1: unknown key `a`", "the keys here are")]
#[case("mesh_id:\ncontexts: {a: }\n", "topology.yaml:1:1: `mesh_id` is missing", "")]
#[case("mesh_id: m\n", "topology.yaml:1:1: the mesh has no contexts", "un-comment")]
#[case("mesh_id: m\ncontexts:\n", "topology.yaml:2:1: the mesh has no contexts", "un-comment")]
#[case("mesh_id: m\ncontexts: {}\n", "topology.yaml:2:1: the mesh has no contexts", "un-comment")]
#[case("- a\n", "topology.yaml:1:1: the file must be a mapping, it is a list", "mesh_id")]
#[case(
    "mesh_id: 12\ncontexts: {a: }\n",
    "topology.yaml:1:10: `mesh_id` must be text, it is a number",
    "write it in quotes: `mesh_id: \"12\"`"
)]
#[case(
    "mesh_id: ../x\ncontexts: {a: }\n",
    "topology.yaml:1:10: `mesh_id`: `../x` cannot be a mesh ID: only letters",
    ""
)]
#[case("mesh_id: ''\ncontexts: {a: }\n", "topology.yaml:1:10: `mesh_id`: `` cannot", "")]
#[case(
    "mesh_id: m\ncontexts:\n- context-west-9\n",
    "topology.yaml:2:1: `contexts` must be a mapping from context names to their settings, it is a list",
    "write `context-west-9:`"
)]
#[case(
    "mesh_id: m\ncontexts:\n- name: w\n  network: net\n",
    "topology.yaml:2:1: `contexts` must be a mapping",
    "write `w:`"
)]
#[case(
    "mesh_id: m\ncontexts:\n  a: network-east\n",
    "topology.yaml:3:3: `a` must be a mapping of its settings, it is text",
    "write `network: network-east` below it"
)]
#[case(
    "mesh_id: m\ncontexts:\n  a:\n    network: x\n  b:\n  a:\n",
    "topology.yaml:6:3: context `a` is listed twice, first in line 3",
    "keep one of the lines 3 and 6"
)]
#[case(
    "mesh_id: m\nmesh_id: n\ncontexts: {a: }\n",
    "topology.yaml:2:1: key `mesh_id` is written twice, first in line 1",
    ""
)]
#[case(
    "mesh_id: m\ncontexts:\n  a:\n    network: x\n    network: y\n",
    "topology.yaml:5:5: key `network` is written twice in `contexts.a`, first in line 4",
    ""
)]
#[case("mesh_id: m\ncontexts: {\"a\\eb\": }\n", "topology.yaml:2:12: `a\u{fffd}b` cannot", "")]
#[case(
    "mesh_id: m\n\tcontexts:\n",
    "topology.yaml:2:1: a tab character is used to indent",
    "spaces"
)]
#[case("mesh_id: m\n---\ncontexts:\n", "topology.yaml:3:1: a second YAML document", "---")]
fn files_that_are_refused(#[case] text: &str, #[case] message: &str, #[case] hint: &str) {
    let (found, found_hint) = fault(load(text));
    assert!(found.starts_with(message), "{found}");
    assert!(found_hint.contains(hint), "{found_hint}");
    assert_eq!(found.lines().count(), 1, "{found}");
}

#[rstest]
#[case("network: a b", "4:14: `network` in context `east-1`: `a b` cannot be a network: only", "")]
#[case(
    "network:",
    "4:12: `network` in context `east-1` must be text, it is empty",
    "take the line out"
)]
#[case(
    "network: no",
    "4:14: `network` in context `east-1` must be text, it is a boolean",
    "\"no\""
)]
#[case(
    "network: [a]",
    "4:14: `network` in context `east-1` must be text, it is a list",
    "one value"
)]
#[case("cluster: Kubernetes", "4:14: `cluster` in context `east-1`: `Kubernetes` cannot", "")]
#[case("cluster: a_b", "4:14: `cluster` in context `east-1`: `a_b` cannot be a cluster name", "")]
#[case("namespace: A", "4:16: `namespace` in context `east-1`: `A` cannot be a namespace", "")]
#[case("serviceAccountReader: a/b", "4:27: `serviceAccountReader` in", "")]
#[case(
    "server: 10.0.0.1:6443",
    "4:13: `server` in context `east-1`: it is no URL",
    "https://10.0.0.1:6443"
)]
#[case("server: http://a", "4:13: `server` in", "https://")]
#[case("server: https://127.0.0.1:6443", "4:13: `server` in", "reach")]
#[case(
    "proxy_url: proxy:3128",
    "4:16: `proxy_url` in context `east-1`: it is no URL",
    "http://proxy:3128"
)]
#[case("tls_server_name: api:1", "4:22: `tls_server_name` in", "`api`")]
#[case("gateway: http://a", "4:14: `gateway` in", "write `a`")]
#[case("ca: ~/ca.pem", "4:9: `ca` in", "whole path")]
#[case("ca: '-----BEGIN CERTIFICATE-----'", "4:9: `ca` in", "name it here")]
#[case(
    "control_plane: exsiting",
    "4:20: `control_plane` in context `east-1`: `exsiting` is neither",
    "did you mean `existing`?"
)]
#[case(
    "control_plane: existing\noverlay: o.yaml",
    "5:14: `overlay` in context `east-1`: nothing would read it",
    "one of the two"
)]
#[case(
    "disableRegistryJoin: 'yes'",
    "4:26: `disableRegistryJoin` in context `east-1` must be `true` or `false`, it is text",
    "without quotes"
)]
#[case("disableRegistryJoin: 1", "4:26: `disableRegistryJoin` in", "")]
#[case("Network: n", "4:5: unknown key `Network` in context `east-1`", "did you mean `network`?")]
fn values_that_are_refused(#[case] keys: &str, #[case] message: &str, #[case] hint: &str) {
    let (found, found_hint) = fault(context(keys));
    assert!(found.starts_with(&format!("topology.yaml:{message}")), "{found}");
    assert!(found_hint.contains(hint), "{found_hint}");
}

#[test]
fn booleans_are_kubectls_and_a_note_says_so() {
    for (written, join) in [("true", false), ("false", true)] {
        let topology = context(&format!("network: net\ndisableRegistryJoin: {written}")).unwrap();
        assert_eq!((topology.members[0].registry_join, topology.notes.len()), (join, 0));
    }
    for (written, join) in [("yes", false), ("off", true), ("True", false)] {
        let topology = context(&format!("network: net\ndisableRegistryJoin: {written}")).unwrap();
        assert_eq!(topology.members[0].registry_join, join);
        let note = topology.notes[0].to_string();
        assert!(
            note.contains(&format!(":5:26: `disableRegistryJoin: {written}` is read")),
            "{note}"
        );
    }
}

#[test]
fn a_context_without_a_network_is_noted() {
    for keys in ["", "cluster: c"] {
        let topology = context(keys).unwrap();
        assert_eq!(topology.members[0].network.as_str(), "default");
        assert_eq!(
            topology.notes[0].to_string(),
            "dir/topology.yaml:3:3: context `east-1` names no `network`: it is in `default`"
        );
    }
    let topology = load("mesh_id: m\ncontexts: {a: , b: , c: {}}\n").unwrap();
    assert_eq!(topology.notes.len(), 1, "one note for all");
    let topology = load("mesh_id: m\ncontexts: {a: , b: , c: {network: net}}\n").unwrap();
    assert_eq!(topology.notes.len(), 2);
}

#[test]
fn no_credentials_of_a_url_are_told() {
    for key in ["proxy_url: http", "server: https"] {
        let error = context(&format!("{key}://bob:s3cret@host:1")).unwrap_err();
        assert!(!format!("{error:?} {error} {:?}", error.hint()).contains("s3cret"), "{error}");
        assert!(error.to_string().contains("secrets"), "{error}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
        let _ = load(&text);
    }

    #[test]
    fn anything_like_a_topology_is_read_or_refused(
        text in "(mesh_id|contexts|network|server|gateway|ca|[-a-z:{}\\[\\],&*!|>'\"# \n\t]){0,60}",
    ) {
        if let Err(error) = load(&text) {
            prop_assert!(!error.to_string().is_empty());
            let _ = error.hint();
        }
    }

    #[test]
    fn any_value_is_read_or_refused_in_one_line(key in 0..keys::CONTEXT.len(), value in "\\PC{0,40}") {
        let text = format!("{}: {}", keys::CONTEXT[key], serde_json::json!(value));
        if let Err(error) = context(&text) {
            prop_assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
