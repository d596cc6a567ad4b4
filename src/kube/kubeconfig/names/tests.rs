use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The names that the reader of the whole file finds; `None` where the file is not valid.
fn by_the_reader(content: &[u8]) -> Option<Vec<String>> {
    let whole = document::read(Path::new("/c"), content).ok()?;
    let contexts = whole.contexts.into_iter().filter(|named| named.context.is_some());
    Some(contexts.map(|named| named.name).collect())
}

/// A kubeconfig as kubectl writes it, with that many contexts and certificates of that size.
fn written_by_kubectl(contexts: usize, certificate: usize) -> String {
    let data = "QUJD".repeat(certificate / 4);
    let entries = |entry: &dyn Fn(usize) -> String| (0..contexts).map(entry).collect::<String>();
    let clusters = entries(&|n| {
        format!(
            "- cluster:\n    certificate-authority-data: {data}\n    server: https://10.0.0.{n}:6443\n  name: c{n}\n"
        )
    });
    let named = entries(&|n| {
        format!("- context:\n    cluster: c{n}\n    user: u{n}\n  name: context-{n}\n")
    });
    let users = entries(&|n| {
        format!(
            "- name: u{n}\n  user:\n    client-certificate-data: {data}\n    exec:\n      args:\n      - --region\n      - \"eu\"\n      env: null\n"
        )
    });
    format!(
        "apiVersion: v1\nclusters:\n{clusters}contexts:\n{named}current-context: context-0\nkind: Config\npreferences: {{}}\nusers:\n{users}"
    )
}

#[test]
fn what_is_read_of_a_file_does_not_grow_with_its_certificates() {
    let small = written_by_kubectl(50, 4);
    let large = written_by_kubectl(50, 40_000);
    assert!(large.len() > 100 * small.len());
    let (of_small, of_large) = (section(&small).unwrap(), section(&large).unwrap());
    assert_eq!(of_small, of_large);
    assert!(of_small.starts_with("contexts:\n- context:") && of_small.ends_with("context-49\n"));
    for text in [&small, &large] {
        assert_eq!(Some(names(text.as_bytes())), by_the_reader(text.as_bytes()));
    }
    assert_eq!(
        plain_names(of_large).map(|names| names.len()),
        Some(50),
        "no reader of YAML is needed"
    );
}

#[test]
fn a_section_that_is_not_as_kubectl_writes_it_is_left_to_a_reader_of_yaml() {
    let minikube = "contexts:\n- context:\n    cluster: a\n    extensions:\n    - extension:\n        \
                    provider: x\n      name: context_info\n    user: a\n  name: minikube\n\
                    # text\n-   name: arn:aws:eks:x:1:cluster/a\n    context: {cluster: a}\n\
                    - name: none\n  context:\n- name: nothing\n";
    let names = plain_names(minikube).unwrap();
    assert_eq!(names, ["minikube", "arn:aws:eks:x:1:cluster/a"]);
    assert_eq!(by_the_reader(minikube.as_bytes()), Some(names));
    for item in [
        "- name: 'a'\n  context: {}",
        "- name: a b\n  context: {}",
        "- name: 12\n  context: {}",
        "- name: 1e3\n  context: {}",
        "- name: null\n  context: {}",
        "- name: Yes\n  context: {}",
        "- name: a\n    b\n  context: {}",
        "- name: a\n  name: b\n  context: {}",
        "- name: |\n    a\n  context: {}",
        "- name:\n    a\n  context: {}",
        "- context: {}",
        "- {name: a, context: {}}",
        "-\n  name: a\n  context: {}",
        "  - name: a\n    context: {}\n - name: b",
    ] {
        let section = format!("contexts:\n{item}\n");
        assert_eq!(plain_names(&section), None, "{section}");
    }
}

#[test]
fn json_is_read_as_json() {
    let text = json!({
        "clusters": [{ "name": "a", "cluster": { "server": "https://a" } }],
        "contexts": [{ "name": "é\u{1f980}\"x", "context": { "cluster": "a" } }, { "name": "none" }],
    });
    for text in [text.to_string(), format!("\n {text:#}\n")] {
        assert!(quickly(&text).is_some());
        assert_eq!(names(text.as_bytes()), ["é\u{1f980}\"x"]);
        assert_eq!(by_the_reader(text.as_bytes()), Some(names(text.as_bytes())));
    }
}

#[test]
fn where_a_line_may_belong_to_what_began_before_all_is_read() {
    let end = "\ncontexts:\n- {name: wrong, context: {cluster: a}}\n";
    for begin in [
        "users: \"a",
        "users: 'it''s",
        "users: \"\\\"a\"b\\",
        "'a\"': \"b",
        "users: [a,",
        "users: {a: b, # }",
        "users: &a \"",
        "users: !t '",
        "? \"a",
        "\"users\": 'a",
        "--- |\n a",
        "users: a\n...\n---",
        "users: a\rcontexts: []",
        "users:\t\"a",
        "users:\n- - \"a",
        "contexts: []",
        "users: a\u{2028}",
    ] {
        let text = format!("kind: Config\n{begin}{end}");
        assert_eq!(section(&text), None, "{text}");
    }
    assert_eq!(section("a: b\n"), Some(""), "no key, no contexts");
    assert_eq!(section("a: b\ncontexts: []"), Some("contexts: []"));
}

#[test]
fn the_corpus_gives_the_same_names() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/kubeconfig");
    let mut valid = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let content = std::fs::read(entry.unwrap().path()).unwrap();
        if let Some(expected) = by_the_reader(&content) {
            assert_eq!(names(&content), expected, "{}", String::from_utf8_lossy(&content));
            valid += 1;
        }
    }
    assert!(valid > 1, "{valid} files of the corpus are valid");
}

/// Lines of kubeconfigs, and lines that make others mean something else.
const LINES: [&str; 48] = [
    "contexts:",
    "- name: a\n  context: {cluster: c}",
    "- context:\n    cluster: c\n  name: b",
    "  - name: \"c\"\n    context: {}",
    "- name: 'd # e'\n  context: {}",
    "- {name: f, context: {cluster: c}}",
    "- name: g",
    "clusters:",
    "- cluster: {}\n  name: c",
    "users:",
    "users: []",
    "- name: u\n  user: {}",
    "preferences: {}",
    "current-context: a",
    "current-context: \"a",
    "current-context: 'a",
    "a\"",
    "a'",
    "\"",
    "'",
    "  text",
    " \"text\"",
    "note: |",
    "note: >-",
    "note: |2",
    "note: \"a\\",
    "note: 'a\"'",
    "note: [a,",
    "note: {a: b,",
    "b]",
    "}",
    "note: &a x",
    "note: *a",
    "<<: *a",
    "x: &b [1, 2]",
    "? x",
    ": y",
    "\"contexts\":",
    "contexts :",
    "---",
    "...",
    "%YAML 1.2",
    "# contexts:",
    "",
    "- |",
    "- \"a",
    "note: a # \"",
    "note: a\"b",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn names_are_those_that_the_reader_of_all_finds(
        lines in prop::collection::vec(prop::sample::select(&LINES[..]), 0..8),
        end in prop::sample::select(&["\n", "\r\n", "\r"][..]),
    ) {
        let text = lines.join("\n").replace('\n', end);
        if let Some(expected) = by_the_reader(text.as_bytes()) {
            prop_assert_eq!(names(text.as_bytes()), expected, "{}", text);
        }
    }

    #[test]
    fn contexts_in_any_form_have_the_names_that_the_reader_of_all_finds(
        items in prop::collection::vec(
            (prop::sample::select(&ITEMS[..]), prop::sample::select(&NAMES[..]), 0_usize..3),
            0..4,
        ),
        margin in 0_usize..3,
    ) {
        let mut text = "kind: Config\ncontexts:\n".to_owned();
        for (index, (item, name, suffix)) in items.iter().enumerate() {
            // Each once, as twice is refused.
            let name = if *suffix == 0 { (*name).to_owned() } else { format!("{name}{suffix}{index}") };
            for line in item.replace("NAME", &name).lines() {
                text.extend([&" ".repeat(margin), line, "\n"]);
            }
        }
        text.push_str("users: []\n");
        if let Some(expected) = by_the_reader(text.as_bytes()) {
            prop_assert_eq!(names(text.as_bytes()), expected, "{}", text);
        }
    }
}

/// Items of `contexts:`.
const ITEMS: [&str; 14] = [
    "- context:\n    cluster: c\n    user: u\n  name: NAME",
    "- name: NAME\n  context:\n    cluster: c",
    "-   name: NAME\n    context: {cluster: c}",
    "- {name: NAME, context: {cluster: c}}",
    "- name: NAME\n  context:",
    "- name: NAME",
    "- name: NAME\n    more\n  context: {cluster: c}",
    "- name: NAME # text\n  context: {cluster: c}",
    "- name: \"NAME\"\n  context: {cluster: c}",
    "- name:\n    NAME\n  context: {cluster: c}",
    "- name: NAME\n  context:\n    cluster: c\n    extensions:\n    - name: x\n      extension: {}",
    "- name: NAME\n  other:\n  - name: x\n  context: {cluster: c}",
    "- name: NAME\n  other: |\n    name: x\n  context: {cluster: c}",
    "-\n  name: NAME\n  context: {cluster: c}",
];

/// Names, some of which mean something else to some readers.
const NAMES: [&str; 20] = [
    "a",
    "context-east-1",
    "arn:aws:eks:eu:1:cluster/x",
    "null",
    "~",
    "yes",
    "true",
    "12",
    "0x1f",
    "1e3",
    "0o7",
    "1_000",
    ".inf",
    "nan",
    "2026-01-01",
    "1-prod",
    "a:",
    "'x",
    "*x",
    "admin@x",
];
