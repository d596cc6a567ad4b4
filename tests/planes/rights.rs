//! Rights that do not suffice, and credentials from plugins.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;

use crate::live::versions;
use crate::{Planes, base};

/// A kubeconfig of the plane's cluster with other credentials: a user entry in YAML.
pub(crate) fn kubeconfig_with(planes: &Planes, user: &str) -> String {
    let text = std::fs::read_to_string(planes.clusters[0].kubeconfig()).unwrap();
    let mut config: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    config["users"][0]["user"] = serde_yaml::from_str(user).unwrap();
    let path = planes.home().join("kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    path.display().to_string()
}

/// The token of an account with this role.
pub(crate) fn token_for(planes: &Planes, role: &str) -> String {
    planes.kubectl(0, &["create", "serviceaccount", "someone", "-n", "default"]);
    let subject = "--serviceaccount=default:someone";
    let role = format!("--clusterrole={role}");
    planes.kubectl(0, &["create", "clusterrolebinding", "someone", &role, subject]);
    planes.kubectl(0, &["create", "token", "someone", "-n", "default"]).trim().to_owned()
}

/// The list of kubeconfigs of both planes, where the user of the first one may do what these rules say.
fn limited_on_first(planes: &Planes, rules: &str) -> String {
    let role =
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: limited}\n";
    planes.kubectl_apply(0, &format!("{role}rules:\n{rules}"));
    let token = token_for(planes, "limited");
    let limited = kubeconfig_with(planes, &format!("{{token: {token}}}"));
    format!("{limited}:{}", planes.clusters[1].kubeconfig().display())
}

/// The list of kubeconfigs of all planes, as administrator.
fn admins(planes: &Planes) -> OsString {
    let files = planes.clusters.iter().map(multimesh_lab::Cluster::kubeconfig);
    std::env::join_paths(files).unwrap()
}

/// A role that may look at everything.
pub(crate) const READS_ALL: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reads-all}
rules: [{apiGroups: ['*'], resources: ['*'], verbs: [get, list]}]
";

#[test]
fn a_read_only_account_is_told_which_verbs_it_lacks() {
    let mut planes = Planes::start(1);
    let token = token_for(&planes, "view");
    let file = kubeconfig_with(&planes, &format!("{{token: {token}}}"));
    planes.user.set_kubeconfig(file);
    let run =
        planes.apply(&[]).expect(1).says("may not").says("create/patch/delete deployments.apps");
    assert!(run.stderr.contains("kubectl --context"), "{}", run.stderr);
    assert!(!run.stderr.contains(&token));
    assert!(planes.is_untouched(0));
    planes.run(&["teardown", "--yes"]).expect(1).says("may not");
}

#[test]
fn who_may_only_read_is_refused_only_where_there_is_something_to_write() {
    let mut planes = Planes::start(1);
    let admin = planes.clusters[0].kubeconfig().display().to_string();
    planes.apply(&[]).expect(0);
    planes.kubectl_apply(0, READS_ALL);
    let token = token_for(&planes, "reads-all");
    let reader = kubeconfig_with(&planes, &format!("{{token: {token}}}"));
    planes.user.set_kubeconfig(reader.clone());
    planes.apply(&[]).expect(0).says("nothing to change");

    planes.kubectl(0, &["delete", "service", "istiod", "-n", "istio-system"]);
    planes.apply(&[]).expect(1).says("create/patch/delete services");
    planes.user.set_kubeconfig(admin);
    planes.apply(&[]).expect(0).says("1 created");
}

#[test]
fn missing_rights_in_one_cluster_stop_a_run_before_it_writes_to_another() {
    let mut planes = Planes::start(2);
    let admins = admins(&planes);
    // Enough for the first look, and not for the second.
    let limited = limited_on_first(
        &planes,
        "- {apiGroups: ['*'], resources: ['*'], verbs: [list]}
- {apiGroups: ['*'], resources: [namespaces, secrets, configmaps, leases], verbs: [get]}
",
    );
    planes.user.set_kubeconfig(limited.clone());
    planes.apply(&[]).expect(1).says("may not get/create/patch/delete");
    assert!(planes.is_untouched(0) && planes.is_untouched(1));

    planes.user.set_kubeconfig(admins);
    planes.apply(&[]).expect(0);
    let before = versions(&planes.lab, &planes.clusters[1]);
    planes.user.set_kubeconfig(limited);
    planes.run(&["teardown", "--yes"]).expect(1).says("may not");
    assert_eq!(versions(&planes.lab, &planes.clusters[1]), before);
}

#[test]
fn who_may_not_look_at_what_uses_a_mesh_tears_no_part_of_it_down() {
    let mut planes = Planes::start(2);
    planes.apply(&[]).expect(0);
    // All that an apply needs.
    let limited = limited_on_first(
        &planes,
        "- apiGroups: ['', apps, autoscaling, policy, rbac.authorization.k8s.io,
    admissionregistration.k8s.io, apiextensions.k8s.io, coordination.k8s.io]
  resources: ['*']
  verbs: ['*']
- {apiGroups: [networking.istio.io], resources: [gateways], verbs: ['*']}
",
    );
    planes.user.set_kubeconfig(limited);
    let before = [0, 1].map(|index| versions(&planes.lab, &planes.clusters[index]));
    let run = planes.run(&["teardown", "--yes"]).expect(1).says("auth can-i --list");
    assert!(!run.stderr.contains("read back"), "{}", run.stderr);
    for (index, before) in before.iter().enumerate() {
        // API servers still write what an apply has just made, so versions may change.
        let after = versions(&planes.lab, &planes.clusters[index]);
        let gone: Vec<&String> = before.keys().filter(|name| !after.contains_key(*name)).collect();
        assert!(gone.is_empty(), "{gone:?}");
    }
    let plan = planes.run(&["teardown", "--dry-run"]).expect(3);
    assert!(plan.stdout.contains(&planes.clusters[1].context), "{}", plan.stdout);
}

#[test]
fn rights_to_kinds_that_a_base_brings_are_asked_before_anything_is_written() {
    let mut planes = Planes::start(2);
    let admins = admins(&planes);
    let limited = limited_on_first(
        &planes,
        "- {apiGroups: ['*'], resources: ['*'], verbs: [get, list]}
- apiGroups: ['', apps, autoscaling, policy, rbac.authorization.k8s.io, coordination.k8s.io,
    admissionregistration.k8s.io, apiextensions.k8s.io, networking.istio.io]
  resources: ['*']
  verbs: ['*']
",
    );
    let policies =
        base().replace("    global:\n", "    global:\n      networkPolicy: {enabled: true}\n");
    planes.write("m", "base.yaml", &policies);
    planes.user.set_kubeconfig(limited.clone());
    planes.apply(&[]).expect(1).says("may not create/patch networkpolicies.networking.k8s.io");
    assert!(planes.is_untouched(0) && planes.is_untouched(1));

    planes.user.set_kubeconfig(&admins);
    planes.apply(&[]).expect(0);
    let refusal = "may not delete networkpolicies.networking.k8s.io";
    let is_whole = |planes: &Planes| {
        for index in [0, 1] {
            planes.kubectl(index, &["get", "networkpolicy/istiod", "-n", "istio-system"]);
            assert_eq!(planes.links(index).len(), 1);
        }
    };
    planes.user.set_kubeconfig(limited);
    planes.run(&["teardown", "--yes"]).expect(1).says(refusal);
    is_whole(&planes);
    planes.write("m", "base.yaml", &base());
    planes.apply(&["--yes"]).expect(1).says(refusal);
    is_whole(&planes);

    let policy = ["get", "networkpolicy/istiod", "deployment/istiod", "-n", "istio-system"];
    planes.describe_as(&[(1, "network: flat")]);
    planes.apply(&["--yes"]).expect(3).says(refusal);
    planes.kubectl(0, &policy);
    planes.apply(&["--yes", "--keep-control-plane"]).expect(0);
    planes.kubectl(0, &policy);
    assert!(planes.links(0).is_empty() && planes.links(1).is_empty());
}

#[test]
fn a_credential_plugin_is_run_once() {
    let mut planes = Planes::start(1);
    let token = token_for(&planes, "cluster-admin");
    let (plugin, count) = (planes.home().join("plugin"), planes.home().join("count"));
    let answer = format!(
        r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"{token}"}}}}"#
    );
    let script = format!("#!/bin/sh\necho run >> {}\ncat <<'E'\n{answer}\nE\n", count.display());
    std::fs::write(&plugin, script).unwrap();
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
    let user = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: {}}}",
        plugin.display()
    );
    let file = kubeconfig_with(&planes, &user);
    planes.user.set_kubeconfig(file);
    planes.apply(&[]).expect(0);
    assert_eq!(std::fs::read_to_string(&count).unwrap(), "run\n");
}

#[test]
fn a_token_that_is_refused_is_told_without_the_token() {
    let mut planes = Planes::start(1);
    let file = kubeconfig_with(&planes, "{token: not-a-token-of-this-cluster}");
    planes.user.set_kubeconfig(file);
    let run = planes.apply(&["-vv"]).expect(1).says("hint:");
    assert!(!run.stderr.contains("not-a-token"), "{}", run.stderr);
}
