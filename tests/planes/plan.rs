//! What an apply would do is told without doing it, and is what it does then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::Planes;
use crate::live::{eventually, inventory, versions};
use crate::rights::{READS_ALL, kubeconfig_with, token_for};
use crate::secrets;

/// The names of a cluster's changes, as an inventory has them, by verb.
pub(crate) fn changes(plan: &Value, index: usize) -> BTreeMap<String, BTreeSet<String>> {
    let mut by_verb: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for object in plan["clusters"][index]["objects"].as_array().unwrap() {
        let text = |key: &str| object[key].as_str().unwrap_or("-").to_owned();
        let name = format!("{} {} {}", text("kind"), text("namespace"), text("name"));
        by_verb.entry(text("verb")).or_default().insert(name);
    }
    by_verb
}

/// The objects of a cluster that an apply made.
pub(crate) fn applied(planes: &Planes, index: usize) -> BTreeSet<String> {
    let all = inventory(&planes.lab, &planes.clusters[index]);
    let ours = all.into_iter().filter(|(_, object)| {
        let labels = &object["metadata"]["labels"];
        let set = |key: &str| labels[format!("applyset.kubernetes.io/{key}")].is_string();
        set("part-of") || set("id")
    });
    // Kubernetes copies the labels of a Service to what it makes for it.
    let names = ours.map(|(name, _)| name);
    names.filter(|name| !name.starts_with("Endpoint")).collect()
}

/// Every file of a mesh with its content, but for what istioctl rendered.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.ends_with("cache") {
                continue;
            }
            if path.is_dir() {
                folders.push(path.clone());
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            files.insert(path.display().to_string(), text);
        }
    }
    files
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_plan_writes_nothing_and_is_what_the_apply_does() {
    let planes = Planes::start(2);
    let dir = planes.mesh("m");
    let all_versions = || [0, 1].map(|index| versions(&planes.lab, &planes.clusters[index]));
    let (files_before, before) = (files(&dir), all_versions());
    for command in ["plan", "diff"] {
        let run = planes.run(&[command]).expect(0);
        assert!(run.stdout.contains(&planes.clusters[1].context), "{}", run.stdout);
    }
    let folds = |extent: &[&str]| {
        let run = planes.run(&[&["plan", "-o", "diff"], extent].concat()).expect(0);
        run.stdout.contains(" lines, not shown")
    };
    assert!(folds(&[]) && !folds(&["--show-all"]));
    let plan = planes.plan(&["--detailed-exitcode"], 2);
    assert!(plan["newRoot"].is_string() && plan["changes"] == true, "{plan:#}");
    assert_eq!(files(&dir), files_before);
    assert!(all_versions() == before, "a plan has written to a cluster");

    planes.apply(&[]).expect(0);
    for index in [0, 1] {
        let planned = changes(&plan, index);
        assert_eq!(planned.keys().collect::<Vec<_>>(), ["create"]);
        assert_eq!(planned["create"], applied(&planes, index));
        assert_eq!(plan["clusters"][index]["certificate"], "issue");
    }
    let quiet = |arguments: &[&str]| {
        let plan = planes.plan(&[&["--detailed-exitcode"], arguments].concat(), 0);
        assert_eq!(plan["changes"], false, "{plan:#}");
        assert_eq!((changes(&plan, 0), changes(&plan, 1)), (BTreeMap::new(), BTreeMap::new()));
    };
    quiet(&[]);

    // As istiod does when it starts.
    let patch = r#"[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Fail"},
        {"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"Q0E="}]"#;
    let webhook = "validatingwebhookconfiguration/istio-validator-istio-system";
    planes.kubectl(0, &["patch", webhook, "--type=json", "-p", patch]);
    quiet(&[]);

    let by_hand = r#"{"data":{"mesh":"by: hand"}}"#;
    let config = ["configmap/istio", "-n", "istio-system", "--type=merge", "-p", by_hand];
    planes.kubectl(0, &[&["patch"], &config[..]].concat());
    let told = planes.run(&["plan", "-o", "json"]).expect(1);
    assert!(told.stdout.contains("other field managers own fields of it"), "{}", told.stdout);
    let diff = planes.run(&["plan", "-o", "diff", "--force-conflicts"]).expect(0).stdout;
    let has = |sign: &str, text: &str| {
        diff.lines().any(|line| line.starts_with(sign) && line.contains(text))
    };
    assert!(has("-", "by: hand") && has("+", "rootNamespace: istio-system"), "{diff}");
    let plan = planes.plan(&["--force-conflicts"], 0);
    let changed = set(&["ConfigMap istio-system istio"]);
    assert_eq!(changes(&plan, 0), [("update".to_owned(), changed.clone())].into());
    assert_eq!(changes(&plan, 1), BTreeMap::new());
    let [before, _] = all_versions();
    planes.apply(&["--force-conflicts"]).expect(0);
    let [after, _] = all_versions();
    let written = after.iter().filter(|(name, version)| before.get(*name) != Some(*version));
    let written = written.filter(|(name, _)| !name.starts_with("CustomResourceDefinition "));
    assert_eq!(written.map(|(name, _)| name.clone()).collect::<BTreeSet<_>>(), changed);
    quiet(&[]);

    no_secret_is_shown(&planes);
}

/// Secrets that come, change and go are told by hashes.
fn no_secret_is_shown(planes: &Planes) {
    let material = secrets::material(&planes.mesh("m"), &planes.lab, &planes.clusters);
    let other = planes.clusters[1].context.clone();
    let link = format!("secret/istio-remote-secret-{other}");
    let patch = format!(r#"{{"stringData":{{"{other}":"a-token-of-somebody"}}}}"#);
    planes.kubectl(0, &["patch", &link, "-n", "istio-system", "-p", &patch]);
    let token = "secret/istio-reader-service-account-istio-remote-secret-token";
    planes.kubectl(1, &["annotate", token, "-n", "istio-system", "kubectl-multimesh/applied-"]);
    planes.describe_as(&[(1, "network: flat")]);
    let formats = ["table", "diff", "json", "yaml"];
    let shown = || {
        formats.map(|format| {
            let run = planes.run(&["plan", "-o", format, "--force-conflicts", "-vvv"]).expect(0);
            run.stdout + &run.stderr
        })
    };
    let whole = || {
        let diff = ["plan", "-o", "diff", "--show-all", "--force-conflicts"];
        planes.run(&diff).expect(0).stdout
    };
    let mut all = shown().to_vec();
    all.push(whole());
    planes.describe(&planes.clusters.iter().collect::<Vec<_>>());
    all.extend(shown());
    all.push(whole());
    assert!(all.iter().any(|text| text.contains("sha256:")), "{all:?}");
    for text in &all {
        secrets::assert_absent(&material, text);
        assert!(!text.contains("a-token-of-somebody"), "{text}");
    }
}

#[test]
fn what_stands_in_the_way_of_an_apply_is_told_by_the_plan() {
    let mut planes = Planes::start(2);
    planes.run(&["init", "--mesh-id", "m"]).expect(0);
    // Who may read only can plan.
    planes.kubectl_apply(0, READS_ALL);
    let token = token_for(&planes, "reads-all");
    let reader = kubeconfig_with(&planes, &format!("{{token: {token}}}"));
    planes.describe_as(&[(0, "network: flat")]);
    let everybody = planes.clusters.iter().map(multimesh_lab::Cluster::kubeconfig);
    let everybody = std::env::join_paths(everybody).unwrap();
    planes.user.set_kubeconfig(reader);
    let plan = planes.plan(&[], 0);
    assert!(changes(&plan, 0)["create"].len() > 20, "{plan:#}");
    planes.apply(&[]).expect(1).says("may not");
    assert!(planes.is_untouched(0));
    planes.user.set_kubeconfig(everybody);
    planes.describe(&planes.clusters.iter().collect::<Vec<_>>());

    let name = "istio-reader-clusterrole-istio-system";
    planes.kubectl(0, &["create", "clusterrole", name, "--verb=get", "--resource=pods"]);
    let run = planes.run(&["plan", "-o", "json"]).expect(1).says(name).says("--force-conflicts");
    let plan: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(changes(&plan, 0)["adopt"], set(&[&format!("ClusterRole - {name}")]));
    planes.kubectl(0, &["delete", "clusterrole", name]);

    // It refuses as a quota and a webhook do, without a word of the user.
    planes.kubectl_apply(
        0,
        "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-mesh}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [namespaces]}
  validations: [{expression: 'false', message: 'no meshes here', reason: Forbidden}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-mesh}
spec: {policyName: no-mesh, validationActions: [Deny]}
",
    );
    eventually("the refusal of a namespace", || {
        let run = planes.run(&["plan", "-o", "json"]);
        run.code == 1 && run.stdout.contains("no meshes here")
    });
    planes.apply(&[]).expect(3).says("no meshes here");
    planes.kubectl(0, &["delete", "validatingadmissionpolicybinding", "no-mesh"]);

    planes.clusters[1].kill_api_server().unwrap();
    let plan = planes.plan(&["--detailed-exitcode"], 3);
    assert_eq!(plan["clusters"][1]["standing"], "unknown");
    assert!(plan["clusters"][1]["reason"].is_string() && !changes(&plan, 0).is_empty());
    planes.clusters[1].restart_api_server().unwrap();
}
