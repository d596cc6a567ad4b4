//! Rights that do not suffice, and credentials from plugins.

use std::os::unix::fs::PermissionsExt as _;

use crate::Planes;

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
