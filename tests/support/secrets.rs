//! Key material must never be printed.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use multimesh_lab::{Cluster, Lab};
use serde_json::Value;

use crate::live::kubectl;

/// Everything secret that a mesh has on disk and in a cluster, and what gives access to its
/// clusters: the lines of private keys, tokens, and remote secrets.
pub(crate) fn material(dir: &Path, lab: &Lab, clusters: &[Cluster]) -> Vec<String> {
    let mut secrets = Vec::new();
    let mut links_found = 0;
    keys_below(&dir.join("certs"), &mut secrets);
    keys_of_kubeconfig(lab, &mut secrets);
    for cluster in clusters {
        let list = kubectl(lab, cluster, &["get", "secrets", "-n", "istio-system", "-o", "json"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        for secret in list["items"].as_array().unwrap() {
            for key in ["token", "ca-key.pem"] {
                if let Some(value) = secret["data"][key].as_str() {
                    both_forms(value, &mut secrets);
                }
            }
            if secret["metadata"]["labels"]["istio/multiCluster"] == "true" {
                let links = secret["data"].as_object().unwrap().values();
                secrets.extend(links.map(|link| link.as_str().unwrap().to_owned()));
                links_found += 1;
            }
        }
    }
    assert_eq!(links_found, clusters.len() * (clusters.len() - 1), "remote secrets");
    let lines = secrets.iter().flat_map(|secret| secret.lines());
    let lines: Vec<String> = lines
        .filter(|line| line.len() > 20 && !line.starts_with("---"))
        .map(str::to_owned)
        .collect();
    assert!(lines.len() > 10, "a mesh has more secrets than {}", lines.len());
    lines
}

/// The keys with which the user of the kubeconfig reaches the clusters.
fn keys_of_kubeconfig(lab: &Lab, secrets: &mut Vec<String>) {
    let text = std::fs::read_to_string(lab.kubeconfig()).unwrap();
    let config: Value = serde_yaml::from_str(&text).unwrap();
    for entry in config["users"].as_array().unwrap() {
        both_forms(entry["user"]["client-key-data"].as_str().unwrap(), secrets);
    }
}

/// Adds a secret as it is encoded and as it is.
fn both_forms(base64: &str, secrets: &mut Vec<String>) {
    secrets.push(base64.to_owned());
    secrets.push(String::from_utf8(BASE64_STANDARD.decode(base64).unwrap()).unwrap());
}

fn keys_below(dir: &Path, secrets: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            keys_below(&path, secrets);
        } else if path.to_string_lossy().ends_with("key.pem") {
            secrets.push(std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// Fails the test if any of the secrets is in the text.
#[track_caller]
pub(crate) fn assert_absent(secrets: &[String], text: &str) {
    for secret in secrets {
        assert!(!text.contains(secret.as_str()), "key material was printed");
    }
}
