use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::topology::{Error, parse};

fn candidates(contexts: &[(&str, &str)]) -> Vec<Candidate> {
    contexts
        .iter()
        .map(|(context, server)| Candidate {
            context: ContextName::new(*context).unwrap(),
            server: (!server.is_empty()).then(|| (*server).to_owned()),
        })
        .collect()
}

fn text(contexts: &[(&str, &str)]) -> String {
    topology_text(&MeshId::new("mymeshname").unwrap(), &candidates(contexts))
}

/// What an editor does that takes the comment signs from all entries.
fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("  # ") {
        Some(rest) => format!("  {rest}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn network_of(contexts: &[(&str, &str)]) -> Vec<String> {
    let text = uncommented(&text(contexts));
    let topology = parse(&text, Path::new("topology.yaml")).unwrap();
    topology.members.iter().map(|member| member.network.to_string()).collect()
}

#[test]
fn the_fresh_file_is_valid_but_for_its_missing_contexts() {
    for contexts in [&[][..], &[("a", "https://10.0.0.1:6443")][..]] {
        let error = parse(&text(contexts), Path::new("topology.yaml")).unwrap_err();
        assert!(matches!(error, Error::NoContexts { .. }), "{error}");
        assert!(error.hint().unwrap().contains("un-comment"));
    }
}

#[test]
fn without_contexts_it_shows_the_seeds_example() {
    let text = uncommented(&text(&[]));
    let topology = parse(&text, Path::new("topology.yaml")).unwrap();
    let members: Vec<_> =
        topology.members.iter().map(|m| (m.context.as_str(), m.network.as_str())).collect();
    assert_eq!(
        members,
        [
            ("context-east-1", "network-east"),
            ("context-east-2", "network-east"),
            ("context-west-1", "network-west")
        ]
    );
    assert_eq!(topology.notes, []);
}

#[test]
fn every_context_is_an_entry_with_its_cluster_name() {
    let text = text(&[
        ("arn:aws:eks:eu-west-1:12:cluster/shop", "https://ABC.gr7.eu-west-1.eks.amazonaws.com"),
        ("kind-east", "https://127.0.0.1:40001"),
        ("no", "https://bob:s3cret@proxy/x"),
    ]);
    let (_, entries) = text.split_once("contexts:\n").unwrap();
    assert_eq!(
        entries,
        r#"  # "arn:aws:eks:eu-west-1:12:cluster/shop":  # https://ABC.gr7.eu-west-1.eks.amazonaws.com
  #   cluster: shop
  #   network: network-eu-west-1              # guessed: region eu-west-1
  # kind-east:                                # https://127.0.0.1:40001
  #   cluster: kind-east
  #   # network: network-1
  # "no":                                     # https://***@proxy/x
  #   cluster: "no"
  #   # network: network-1
"#
    );
    assert!(!text.contains("s3cret"));
    let topology = parse(&uncommented(&text), Path::new("topology.yaml")).unwrap();
    let clusters: Vec<_> =
        topology.members.iter().map(|m| m.cluster.as_ref().unwrap().to_string()).collect();
    assert_eq!(clusters, ["shop", "kind-east", "no"]);
}

#[test]
fn networks_are_guessed_where_there_is_reason() {
    assert_eq!(
        network_of(&[
            ("arn:aws:eks:eu-west-1:12:cluster/a", ""),
            ("alice@b.us-east-1.eksctl.io", ""),
            ("gke_proj_europe-west1-b_c", ""),
            ("gke_proj_europe-west1_d", ""),
            ("e", "https://10.1.2.3:6443"),
            ("f", "https://10.1.9.9"),
            ("g", "https://192.168.7.1:6443"),
            ("h", "https://127.0.0.1:6443"),
            ("i", "https://8.8.8.8:6443"),
            ("j", "")
        ]),
        [
            "network-eu-west-1",
            "network-us-east-1",
            "network-europe-west1",
            "network-europe-west1",
            "network-10-1",
            "network-10-1",
            "network-192-168",
            "default",
            "default",
            "default"
        ]
    );
    assert_eq!(
        network_of(&[
            ("arn:aws:eks:eu-west-1:12:cluster/a", ""),
            ("arn:aws:eks:eu-west-1:13:cluster/a", "")
        ]),
        ["network-eu-west-1-12", "network-eu-west-1-13"],
        "two accounts are two networks"
    );
}

#[test]
fn the_base_is_an_operator_without_a_note() {
    for text in [base_text().to_owned(), uncommented(base_text())] {
        let base =
            crate::istio::base::read(&text, Path::new("base.yaml"), crate::istio::base::Role::Base)
                .unwrap();
        assert_eq!(base.notes, []);
        assert_eq!(base.operator["spec"]["profile"], "minimal");
    }
}

proptest! {
    #[test]
    fn any_kubeconfig_gives_a_file_that_reads_back(
        contexts in prop::collection::btree_set("\\PC{1,20}", 1..8),
        server in prop::option::of("\\PC{0,30}"),
        mesh_id in "[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,5}[a-zA-Z0-9])?",
    ) {
        let candidates: Vec<_> = contexts
            .iter()
            .map(|context| Candidate {
                context: ContextName::new(context.as_str()).unwrap(),
                server: server.clone(),
            })
            .collect();
        let mesh_id = MeshId::new(mesh_id).unwrap();
        let text = uncommented(&topology_text(&mesh_id, &candidates));
        let topology = parse(&text, Path::new("topology.yaml"))
            .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&topology.mesh_id, &mesh_id);
        let read: Vec<_> = topology.contexts().cloned().collect();
        let given: Vec<_> = candidates.iter().map(|c| c.context.clone()).collect();
        prop_assert_eq!(read, given);
    }
}
