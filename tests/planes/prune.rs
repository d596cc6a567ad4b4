//! What earlier applies made and nothing wants any more goes, after a yes; all else stays.

use serde_json::Value;

use crate::live::versions;
use crate::plan::{applied, changes};
use crate::running::Running;
use crate::terminal::Terminal;
use crate::{Planes, base};

const SYSTEM: [&str; 2] = ["-n", "istio-system"];

/// Objects of somebody else that look more or less like the tool's.
fn make_by_hand(planes: &Planes) {
    let config =
        planes.kubectl(0, &["get", "configmap", "istio", "-n", "istio-system", "-o", "json"]);
    let mut copy: Value = serde_json::from_str(&config).unwrap();
    let marks = copy["metadata"].clone();
    copy["metadata"] = serde_json::json!({
        "name": "copied", "namespace": "istio-system",
        "labels": marks["labels"], "annotations": marks["annotations"],
    });
    planes.kubectl_apply(0, &copy.to_string());
    let label = marks["labels"]["applyset.kubernetes.io/part-of"].as_str().unwrap();
    let secret = |name: &str, labels: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: istio-system, labels: {{{labels}}}}}\nstringData: {{elsewhere: theirs}}\n"
        )
    };
    let labelled = format!("applyset.kubernetes.io/part-of: {label}");
    planes.kubectl_apply(0, &secret("labelled", &labelled));
    planes.kubectl_apply(0, &secret("unlabelled", ""));
    planes.kubectl_apply(0, &secret("link-by-hand", "istio/multiCluster: 'true'"));
}

fn by_hand_is_there(planes: &Planes) {
    let names = ["configmap/copied", "secret/labelled", "secret/unlabelled", "secret/link-by-hand"];
    planes.kubectl(0, &[&["get"], &names[..], &SYSTEM].concat());
}

#[test]
fn what_is_not_wanted_any_more_goes_after_a_yes() {
    let planes = Planes::start(2);
    planes.describe_as(&[(0, "network: one"), (1, "network: two")]);
    planes.apply(&[]).expect(0);
    make_by_hand(&planes);
    planes.apply(&[]).expect(0).says("nothing to change in 2 clusters");

    // One network needs no gateways, and a cluster that does not join needs no links and no token.
    planes.describe_as(&[(0, "network: one"), (1, "network: one, disableRegistryJoin: true")]);
    let plan = planes.plan(&[], 0);
    let pruned = [0, 1].map(|index| changes(&plan, index)["prune"].clone());
    let token = "Secret istio-system istio-reader-service-account-istio-remote-secret-token";
    let gateway = "Deployment istio-system istio-eastwestgateway";
    assert!(pruned.iter().all(|names| names.contains(gateway)), "{pruned:?}");
    assert!(pruned[1].contains(token) && !pruned[0].contains(token), "{pruned:?}");
    let before = [0, 1].map(|index| applied(&planes, index));

    let run = planes.apply(&[]).expect(3).says("nobody agreed to delete");
    assert!(
        run.stderr.contains("hint: delete it: `kubectl multimesh apply --yes"),
        "{}",
        run.stderr
    );
    assert_eq!(planes.links(0), ["secret/link-by-hand"]);
    assert!(planes.links(1).is_empty());
    for index in [0, 1] {
        planes.kubectl(index, &["get", "deployment/istio-eastwestgateway", "-n", "istio-system"]);
    }

    let settled = versions(&planes.lab, &planes.clusters[0]);
    let mut terminal = Terminal::start(&planes, &["apply", "--wait=false"]);
    terminal.is_asked("delete");
    terminal.answer("no");
    let screen = terminal.expect(1);
    assert!(screen.contains("istio-eastwestgateway"), "the plan is shown:\n{screen}");
    assert!(screen.contains("nothing was written"), "{screen}");
    assert!(versions(&planes.lab, &planes.clusters[0]) == settled, "it has written");

    // While the question stands, another object takes the name of one that goes, somebody makes
    // another one theirs, and a third one changes.
    let mut terminal = Terminal::start(&planes, &["apply", "--wait=false"]);
    terminal.is_asked("delete");
    let service = ["service", "istio-eastwestgateway", "-n", "istio-system"];
    planes.kubectl(0, &[&["delete"], &service[..]].concat());
    planes.kubectl(
        0,
        &[
            "create",
            "service",
            "clusterip",
            "istio-eastwestgateway",
            "--tcp=80",
            "-n",
            "istio-system",
        ],
    );
    let account =
        pruned[0].iter().find_map(|name| name.strip_prefix("ServiceAccount istio-system "));
    let account = ["serviceaccount", account.unwrap(), "-n", "istio-system"];
    planes.kubectl(0, &[&["label"], &account[..], &["applyset.kubernetes.io/part-of-"]].concat());
    let gateway = ["deployment", "istio-eastwestgateway", "-n", "istio-system"];
    planes.kubectl(0, &[&["annotate"], &gateway[..], &["changed=meanwhile"]].concat());
    terminal.answer("yes");
    let screen = terminal.expect(0);
    assert!(screen.contains("somebody has made it theirs meanwhile"), "{screen}");
    planes.kubectl(0, &[&["get"], &service[..]].concat());
    planes.kubectl(0, &[&["get"], &account[..]].concat());
    by_hand_is_there(&planes);
    for index in [0, 1] {
        let left: Vec<String> = before[index].difference(&pruned[index]).cloned().collect();
        assert_eq!(applied(&planes, index).into_iter().collect::<Vec<_>>(), left);
    }
    assert_eq!(planes.plan(&["--detailed-exitcode"], 0)["changes"], false);
    planes.apply(&[]).expect(0).says("nothing to change in 2 clusters");
}

#[test]
fn a_kind_that_only_the_record_knows_is_found_after_a_kill() {
    let planes = Planes::start(1);
    let policy =
        base().replace("    global:\n", "    global:\n      networkPolicy: {enabled: true}\n");
    planes.write("m", "base.yaml", &policy);
    planes.apply(&[]).expect(0);
    let policies = || planes.kubectl(0, &["get", "networkpolicies", "-A", "-o", "name"]);
    let kinds = || {
        let path =
            r"jsonpath={.metadata.annotations.applyset\.kubernetes\.io/contains-group-kinds}";
        planes.kubectl(
            0,
            &["get", "configmap", "kubectl-multimesh", "-n", "istio-system", "-o", path],
        )
    };
    assert!(policies().contains("istiod") && kinds().contains("NetworkPolicy.networking.k8s.io"));

    let base = base().replace("/dev/stdout", "/dev/stderr");
    planes.write("m", "base.yaml", &base);
    let run = planes.command(&["apply", "--wait=false", "--yes"]);
    drop(Running::start(run).until(&["writing accounts"]));
    // Alone on a machine the run may have come far.
    assert!(policies().is_empty() || kinds().contains("NetworkPolicy.networking.k8s.io"));
    // One cluster that waits for a yes is not a failure.
    if !policies().is_empty() {
        planes.apply(&[]).expect(3).says("nobody agreed to delete");
        assert!(kinds().contains("NetworkPolicy.networking.k8s.io"));
    }
    planes.apply(&["--yes"]).expect(0);
    assert_eq!(policies(), "");
    assert!(!kinds().contains("NetworkPolicy"), "{}", kinds());
    planes.apply(&[]).expect(0).says("nothing to change in 1 cluster");
}
