//! Key material must never be printed.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use multimesh_lab::{Cluster, Lab};
use serde_json::Value;

use crate::live::kubectl;

/// Everything secret that a mesh has on disk and in a cluster: the lines of its private keys and
/// its tokens.
pub(crate) fn material(dir: &Path, lab: &Lab, clusters: &[Cluster]) -> Vec<String> {
    let mut secrets = Vec::new();
    keys_below(&dir.join("certs"), &mut secrets);
    for cluster in clusters {
        let list = kubectl(lab, cluster, &["get", "secrets", "-n", "istio-system", "-o", "json"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        for secret in list["items"].as_array().unwrap() {
            for key in ["token", "ca-key.pem"] {
                if let Some(value) = secret["data"][key].as_str() {
                    secrets.push(value.to_owned());
                    secrets
                        .push(String::from_utf8(BASE64_STANDARD.decode(value).unwrap()).unwrap());
                }
            }
        }
    }
    let lines = secrets.iter().flat_map(|secret| secret.lines());
    let lines: Vec<String> = lines
        .filter(|line| line.len() > 20 && !line.starts_with("---"))
        .map(str::to_owned)
        .collect();
    assert!(lines.len() > 10, "a mesh has more secrets than {}", lines.len());
    lines
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
