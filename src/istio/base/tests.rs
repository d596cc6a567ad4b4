use proptest::prelude::*;
use serde_json::json;

use super::*;

fn load(text: &str) -> Result<Base, Error> {
    read(text, Path::new("base.yaml"), Role::Base)
}

fn operator(spec: &str) -> String {
    format!("apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\n{spec}")
}

fn notes(base: &Base) -> Vec<(usize, String)> {
    base.notes.iter().map(|note| (note.place.line, note.text.clone())).collect()
}

fn fault(text: &str) -> (String, String) {
    let error = load(text).unwrap_err();
    assert!(error.place().is_some(), "{error}");
    (error.to_string(), error.hint().unwrap_or_default())
}

#[test]
fn an_operator_is_taken_as_it_is() {
    let base = load(&operator(
        "metadata:\n  annotations: {a: 'yes'}\nspec:\n  profile: minimal\n  meshConfig:\n    \
         enableTracing: yes\n  values:\n    pilot: {env: {A: \"1\"}}\n",
    ))
    .unwrap();
    assert_eq!(base.notes, []);
    assert_eq!(
        base.operator,
        json!({
            "apiVersion": "install.istio.io/v1alpha1",
            "kind": "IstioOperator",
            "metadata": {"annotations": {"a": "yes"}},
            "spec": {
                "profile": "minimal",
                "meshConfig": {"enableTracing": true},
                "values": {"pilot": {"env": {"A": "1"}}},
            },
        })
    );
    for spec in ["", "spec:\n", "spec: {}\n"] {
        assert_eq!(load(&operator(spec)).unwrap().operator["spec"], json!({}), "{spec:?}");
    }
}

#[test]
fn numbers_and_merge_keys_are_what_kubectl_makes_of_them() {
    let base =
        load(&operator("spec:\n  values:\n    a: &a {mode: 0644, n: 1}\n    b: {<<: *a, n: 2}\n"))
            .unwrap();
    assert_eq!(base.operator["spec"]["values"]["b"], json!({"mode": 420, "n": 2}));
}

#[test]
fn the_kind_of_istio_1_4_is_converted_with_notes() {
    let text = include_str!("../../../tests/fixtures/seed-workdir/base.yaml");
    let base = load(text).unwrap();
    assert_eq!(
        base.operator,
        json!({"apiVersion": API_VERSION, "kind": KIND, "spec": {}}),
        "mappings that are left empty go too"
    );
    let line = |word: &str| 1 + text.lines().position(|line| line.contains(word)).unwrap();
    let notes = notes(&base);
    let told: Vec<_> = notes.iter().map(|(line, _)| *line).collect();
    assert_eq!(told, [line("kind:"), line("selfSigned"), line("enabled")]);
    assert!(notes[0].1.contains("`IstioControlPlane` is of Istio 1.4"), "{notes:?}");
    assert!(notes[1].1.starts_with("`values.security.selfSigned` is dropped: "), "{notes:?}");
    assert!(notes[2].1.contains("PeerAuthentication with mode STRICT"), "{notes:?}");
}

#[test]
fn what_still_exists_survives_the_conversion() {
    let base = load(
        "apiVersion: install.istio.io/v1alpha2\nkind: IstioControlPlane\nspec:\n  profile: demo\n  \
         hub: mirror.example.com/istio\n  tag: 1.4.3\n  trafficManagement:\n    enabled: true\n  \
         values:\n    global:\n      proxy: {logLevel: debug}\n      mtls: {enabled: true}\n",
    )
    .unwrap();
    assert_eq!(
        base.operator["spec"],
        json!({
            "profile": "demo",
            "hub": "mirror.example.com/istio",
            "values": {"global": {"proxy": {"logLevel": "debug"}}},
        })
    );
    let lines: Vec<_> = notes(&base).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [2, 6, 7, 12]);

    let base = load(
        "apiVersion: install.istio.io/v1alpha2\nkind: IstioControlPlane\nspec:\n  profile: sds\n  \
         hub: example.com/istio-release\n",
    )
    .unwrap();
    assert_eq!(base.operator["spec"], json!({}));
}

#[test]
fn dead_values_of_an_old_operator_are_dropped_with_their_lines() {
    let base = load(&operator(
        "metadata:\n  name: example\n  namespace: istio-system\nspec:\n  addonComponents:\n    \
         grafana: {enabled: true}\n  components: {citadel: {enabled: true}, pilot: {enabled: \
         true}}\n  values:\n    security: # Citadel\n      selfSigned: false\n      other: 1\n    \
         global:\n      mtls: {enabled: true, auto: false}\n",
    ))
    .unwrap();
    assert_eq!(
        base.operator,
        json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "spec": {"components": {"pilot": {"enabled": true}}},
        })
    );
    let lines: Vec<_> = notes(&base).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [4, 5, 7, 9, 11, 12, 15, 15]);
}

/// The six values that the documentation of the seed lists.
const SEED: &[&str] = &[
    "values.gateway.istio-ingressgateway.env.ISTIO_MESH_NETWORK",
    "values.global.controlPlaneSecurityEnabled",
    "values.global.multiCluster.clusterName",
    "values.global.network",
    "values.global.meshNetworks",
    "values.pilot.meshNetworks",
];

#[test]
fn every_owned_value_is_refused_with_its_line_in_base_and_overlay() {
    let more = [
        "values.global.meshID",
        "values.gateways.istio-ingressgateway.env.ISTIO_MESH_NETWORK",
        "values.global.istioNamespace",
        "unvalidatedValues.global.network",
        "namespace",
    ];
    for path in SEED.iter().chain(&more) {
        let mut text = "# a comment\n".to_owned() + &operator("spec:\n");
        let keys: Vec<_> = path.split('.').collect();
        for (depth, key) in keys.iter().enumerate() {
            text.extend([&"  ".repeat(depth + 1), *key, ":"]);
            text.push_str(if depth + 1 == keys.len() { " x\n" } else { "\n" });
        }
        for (role, word) in [(Role::Base, "base"), (Role::Overlay, "overlay")] {
            let error = read(&text, Path::new("f.yaml"), role).unwrap_err();
            let (line, column) = (4 + keys.len(), 1 + 2 * keys.len());
            let start = format!("f.yaml:{line}:{column}: `{path}` may not be set in the {word}: ");
            assert!(error.to_string().starts_with(&start), "{error}");
            let excerpt = &error.place().unwrap().text;
            assert!(excerpt.trim().starts_with(keys[keys.len() - 1]), "{excerpt}");
        }
    }
}

#[test]
fn owned_values_are_told_all_at_once() {
    let text = operator(
        "spec:\n  values:\n    global: {network: n, meshID: m}\n    x: &x\n      clusterName: c\n    \
         y: {global: 1}\n  unvalidatedValues:\n    global:\n      multiCluster: {<<: *x}\n",
    );
    let text = text.replace("  values:\n", "  values:\n    # owned\n");
    let (message, hint) = fault(&text);
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines.len(), 3, "{message}");
    assert!(lines[0].starts_with("base.yaml:6:14: `values.global.network`"), "{message}");
    assert!(lines[1].starts_with("base.yaml:6:26: `values.global.meshID`"), "{message}");
    assert!(
        lines[2].starts_with("base.yaml:8:7: `unvalidatedValues.global.multiCluster.clusterName`"),
        "where it is written, not where it is merged: {message}"
    );
    assert_eq!(hint, "take out lines 6, 8, and say it in topology.yaml");
}

#[test]
fn other_files_are_refused_with_what_they_are() {
    let (message, hint) = fault("# only comments\n");
    assert_eq!(message, "base.yaml:1:1: the base is empty");
    assert!(hint.contains("kind: IstioOperator"));
    assert_eq!(fault("- a\n").0, "base.yaml:1:1: the file must be a mapping, it is a list");
    assert_eq!(fault("text\n").0, "base.yaml:1:1: the file must be a mapping, it is text");
    let (message, _) = fault("apiVersion: v1\nkind: ConfigMap\n");
    assert_eq!(
        message,
        "base.yaml:2:7: the base must be an `IstioOperator` of `install.istio.io/v1alpha1`, it is \
         `ConfigMap` of `v1`"
    );
    assert!(
        fault("kind: IstioOperator\n").0.ends_with("it is `IstioOperator` without `apiVersion`")
    );
    assert!(fault("global: {meshID: m}\n").1.contains("Helm"));
    assert!(fault("mesh_id: m\ncontexts: {}\n").1.contains("topology"));
    assert!(fault("apiVersion: sailoperator.io/v1\nkind: Istio\n").1.contains("existing"));
    assert!(fault(&operator("spec: 1\n")).0.contains("`spec` must be a mapping, it is a number"));
    assert!(fault(&operator("spec: {values: []}\n")).0.contains("`spec.values` must be a mapping"));
    let (message, hint) = fault(&operator("profile: demo\n"));
    assert_eq!(message, "base.yaml:3:1: an `IstioOperator` has no key `profile`");
    assert!(hint.contains("below `spec:`"));
    assert!(fault(&operator("spec: {}\n---\na: 1\n")).0.contains("second YAML document"));
    assert!(fault(&operator("spec:\n  values: {}\n  values: {}\n")).0.contains("written twice"));
}

#[test]
fn nothing_is_repeated_that_a_terminal_acts_upon() {
    for text in [
        "apiVersion: \"\\e[31m\"\nkind: \"\\e[31m\"\n".to_owned(),
        "apiVersion: \"\\t\"\n".to_owned(),
        "kind: \"\\t\"\n".to_owned(),
        operator("\"\\e[31m\": 1\n"),
    ] {
        let (message, hint) = fault(&text);
        assert!(!message.contains(char::is_control), "{message:?}");
        assert!(!hint.contains(char::is_control), "{hint:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = load(&text);
    }

    #[test]
    fn any_spec_is_read_or_refused(text in "[-a-z:{}\\[\\],&*!|>'\"# \n\t]{0,120}") {
        if let Ok(base) = load(&operator(&format!("spec:\n{text}"))) {
            prop_assert!(base.operator["spec"].is_object());
        }
    }
}
