//! Files made from what they are to mean: what is read is what was meant.

use std::path::{Path, PathBuf};

use multimesh::engine::state::{Left, Record, State};
use multimesh::kube::Kubeconfig;
use multimesh::pki::{Certificate, issue};
use proptest::prelude::*;

use crate::checks;

/// Texts that YAML's readers take for something else, and any others.
fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "",
            "~",
            "null",
            "yes",
            "no",
            "on",
            "true",
            "0644",
            "0x1F",
            "0o7",
            "1e3",
            "1_000",
            ".inf",
            ".nan",
            "-",
            "?",
            "a: b",
            "#x",
            "!x",
            "&x",
            "*x",
            "<<",
            "=",
            "1:30",
            "2001-01-01",
            "'",
            "\"",
            "\u{feff}x",
            " x",
            "x ",
            "a\nb",
            "a\n",
            "\n",
            "\t",
            "\u{85}",
            "\u{2028}",
            "\u{1b}[31m",
            "---",
            "...",
            "%TAG",
            "@x",
            "`x`",
            "{",
            "[",
            "|",
            ">",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,20}",
        any::<String>(),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let texts = (scalar(), scalar(), scalar(), scalar(), scalar(), prop::option::of(scalar()));
    let left = prop::option::of(prop::sample::select(vec![Left::Pending, Left::Kept]));
    let ca = prop::option::of(prop::collection::vec(scalar(), 0..3));
    (texts, ca, left).prop_map(|((uid, cluster, network, namespace, server, istio), ca, left)| {
        Record { uid, cluster, network, namespace, server, ca, istio, left }
    })
}

/// A context and what it names, all of them short, so that files have some in common.
type Context = (String, String);

fn kubeconfig(contexts: &[Context], current: Option<&String>) -> String {
    let mut entries = Vec::new();
    for (name, server) in contexts {
        entries.push(serde_json::json!({
            "name": name, "context": {"cluster": name, "user": name}, "cluster": {"server": server},
        }));
    }
    let with = |key: &str| -> serde_json::Value {
        entries.iter().map(|e| serde_json::json!({"name": e["name"], key: e[key]})).collect()
    };
    serde_json::json!({
        "clusters": with("cluster"),
        "contexts": with("context"),
        "users": entries.iter().map(|e| serde_json::json!({"name": e["name"], "user": {}})).collect::<Vec<_>>(),
        "current-context": current,
    })
    .to_string()
}

fn contexts() -> impl Strategy<Value = Vec<Context>> {
    prop::collection::btree_map("[a-e]", "https://[a-z]{1,5}", 0..5)
        .prop_map(|contexts| contexts.into_iter().collect())
}

proptest! {
    #[test]
    fn a_state_is_read_as_it_was_written(
        mesh_id in scalar(),
        root in prop::option::of(scalar()),
        contexts in prop::collection::btree_map(scalar(), record(), 0..4),
    ) {
        let state = State { root, contexts, ..State::new(&mesh_id) };
        let file = Path::new("state.yaml");
        let text = state.text(file).unwrap();
        prop_assert_eq!(State::parse(&text, file), Ok(state), "{}", text);
    }

    #[test]
    fn of_kubeconfigs_the_first_with_a_name_wins(
        files in prop::collection::vec((contexts(), prop::option::of("[a-f]?")), 1..4)
    ) {
        let texts = files.iter().enumerate().map(|(n, (contexts, current))| {
            (PathBuf::from(format!("/{n}")), kubeconfig(contexts, current.as_ref()))
        });
        let merged = Kubeconfig::merge(texts).unwrap();
        let mut expected: Vec<Context> = Vec::new();
        for context in files.iter().flat_map(|(contexts, _)| contexts) {
            if !expected.iter().any(|(name, _)| *name == context.0) {
                expected.push(context.clone());
            }
        }
        let found: Vec<Context> =
            merged.contexts().into_iter().map(|entry| (entry.name, entry.server)).collect();
        prop_assert_eq!(found, expected);
        let mut current = files.iter().filter_map(|(_, current)| current.as_deref());
        prop_assert_eq!(merged.current_context(), current.find(|name| !name.is_empty()));
    }

    #[test]
    fn any_bytes_are_read_or_refused(data in prop::collection::vec(any::<u8>(), 0..200)) {
        checks::topology::check(&data);
        checks::base::check(&data);
        checks::kubeconfig::check(&data);
        checks::pem::check(&data);
        checks::state::check(&data);
    }

    #[test]
    fn a_damaged_certificate_is_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let root = issue::root("Example", "2027-01-01T12:00:00Z".parse().unwrap()).unwrap();
        let mut pem = root.cert_pem.into_bytes();
        let at = at.index(pem.len());
        pem[at] = byte;
        pem.extend_from_slice(root.key.unwrap().as_str().as_bytes());
        checks::pem::check(&pem);
    }

    #[test]
    fn text_around_certificates_changes_nothing(before in "[^-]{0,80}", after in "[^-]{0,80}") {
        let root = issue::root("Example", "2027-01-01T12:00:00Z".parse().unwrap()).unwrap();
        let text = format!("{before}\n{}{after}", root.cert_pem);
        prop_assert_eq!(Certificate::all_from_pem(&text).unwrap(), vec![root.certificate]);
    }
}
