//! Files as large as nobody writes them: they take a bounded time and a bounded memory.

use std::path::Path;
use std::time::{Duration, Instant};

use multimesh::engine::state::State;
use multimesh::istio::base::{self, Role};
use multimesh::kube::Kubeconfig;
use multimesh::pki::{Cacerts, Certificate, issue};
use multimesh::topology;

/// How long one file may take, without optimisation and with all tests at once.
const LIMIT: Duration = Duration::from_secs(30);

/// Reads `text` as each kind of YAML file.
#[track_caller]
fn read_as_everything(text: &str) {
    let started = Instant::now();
    let file = Path::new("f.yaml");
    let _ = topology::parse(text, file);
    let _ = base::read(text, file, Role::Base);
    let _ = State::parse(text, file);
    let _ = Kubeconfig::merge([(file.to_path_buf(), text)]);
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
}

/// The prefixes that lead each reader to where it takes values of any kind.
const PLACES: [&str; 3] = [
    "mesh_id: m\ncontexts:\n  a: ",
    "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n  values: ",
    "format: 1\nmesh_id: m\nsurprise: ",
];

#[test]
fn aliases_of_a_long_text_do_not_fill_the_memory() {
    let text = "x".repeat(200_000);
    let aliases = "*a,".repeat(40_000);
    for place in PLACES {
        read_as_everything(&format!("a: &a {text}\n{place}[{aliases}]\n"));
    }
}

#[test]
fn nesting_does_not_end_the_stack() {
    for place in PLACES {
        for (open, count) in [("[", 100_000), ("{a: ", 100_000), ("\n- ", 2_000), ("&a [", 50_000)]
        {
            read_as_everything(&format!("{place}{}", open.repeat(count)));
        }
        let indented: String = (1..2_000).map(|n| format!("{}a:\n", " ".repeat(n + 2))).collect();
        read_as_everything(&format!("{place}\n{indented}"));
    }
}

#[test]
fn lines_keys_and_comments_have_no_end() {
    let long = "x".repeat(3 << 20);
    for text in [
        format!("a: {long}"),
        format!("{long}: a"),
        format!("? {long}\n: a\n? {long}\n: b\n"),
        format!("#{long}"),
        format!("a: \"{long}"),
        format!("a: |\n  {long}"),
        format!("a: !{long} x"),
        format!("a: &{long} x"),
        format!("%{long}"),
        "- ".repeat(1 << 20),
        "\n".repeat(3 << 20),
        "--- a\n".repeat(200_000),
        "a: b\n".repeat(200_000),
        "\t".repeat(1 << 20),
        "\u{feff}".repeat(1 << 19),
    ] {
        read_as_everything(&text);
    }
}

#[test]
fn a_topology_of_thousands_is_read() {
    let contexts: String =
        (0..5_000).map(|n| format!("  context-{n}: {{network: n{n}, cluster: c{n}}}\n")).collect();
    let text = format!("mesh_id: m\ncontexts:\n{contexts}");
    let started = Instant::now();
    let topology = topology::parse(&text, Path::new("f.yaml")).unwrap();
    let names = topology::resolve(&topology, &std::collections::BTreeMap::new()).unwrap();
    assert_eq!(names.len(), 5_000);
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
}

#[test]
fn a_kubeconfig_of_thousands_is_read() {
    let list = |entry: fn(usize) -> String| (0..5_000).map(entry).collect::<String>();
    let text = format!(
        "clusters:\n{}users:\n{}contexts:\n{}",
        list(|n| format!("- {{name: c{n}, cluster: {{server: 'https://{n}'}}}}\n")),
        list(|n| format!("- {{name: u{n}, user: {{token: t}}}}\n")),
        list(|n| format!("- {{name: context-{n}, context: {{cluster: c{n}, user: u{n}}}}}\n")),
    );
    let started = Instant::now();
    let kubeconfig = Kubeconfig::merge([("f.yaml".into(), text)]).unwrap();
    assert_eq!(kubeconfig.contexts().len(), 5_000);
    assert_eq!(kubeconfig.context("context-4999").unwrap().server, "https://4999");
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
}

#[test]
fn thousands_of_certificates_are_no_endless_search() {
    let now = "2026-05-01T12:00:00Z".parse().unwrap();
    let root = issue::root("Example", now).unwrap();
    let cacerts = issue::intermediate(&root, "east-1", "istio-system", now).unwrap();
    let twins: String =
        (0..200).map(|_| issue::root("Example", now).unwrap().cert_pem).collect::<String>();
    let crowd = twins.repeat(10);
    let started = Instant::now();
    assert_eq!(Certificate::all_from_pem(&crowd).unwrap().len(), 2_000);
    let full =
        Cacerts { cert_chain: format!("{}{crowd}", cacerts.ca_cert), root_cert: crowd, ..cacerts };
    let error = full.verify_alone(now).unwrap_err();
    assert!(error.to_string().contains("too many possible issuers"), "{error}");
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
}

#[test]
fn pem_without_end_is_refused() {
    let started = Instant::now();
    for text in [
        "-----BEGIN CERTIFICATE-----\n".repeat(100_000),
        format!("-----BEGIN CERTIFICATE-----\n{}", "A\n".repeat(1 << 20)),
        format!("-----BEGIN CERTIFICATE-----{}", "-".repeat(4 << 20)),
        "-----BEGIN X-----\n-----END X-----\n".repeat(50_000),
    ] {
        Certificate::all_from_pem(&text).unwrap_err();
        let key = multimesh::pki::KeyPem::from(text.replace("CERTIFICATE", "PRIVATE KEY"));
        let root = issue::root("Example", "2026-05-01T12:00:00Z".parse().unwrap()).unwrap();
        key.matches(&root.certificate).unwrap_err();
    }
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
}
