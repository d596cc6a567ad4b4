//! What clusters and mesh directories hold, without what differs between two runs that did the
//! same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use multimesh::pki::{Cacerts, Store};
use serde_json::{Value, json};

use super::front::Fronted;
use crate::live::inventory;

/// Kinds of objects that come and go by themselves, or have random names.
const RESTLESS: [&str; 8] =
    ["CSINode", "EndpointSlice", "Endpoints", "Event", "IPAddress", "Lease", "Node", "Pod"];

/// The objects of a cluster, by kind, namespace and name.
pub(crate) type Objects = BTreeMap<String, Value>;

/// The objects of all planes, in their order.
pub(crate) fn objects(fronted: &Fronted) -> Vec<Objects> {
    let planes = fronted.clusters.iter();
    planes.map(|cluster| settled(inventory(&fronted.lab, cluster))).collect()
}

fn settled(inventory: BTreeMap<String, Value>) -> Objects {
    inventory
        .into_iter()
        .filter(|(name, _)| {
            let restless = RESTLESS.iter().any(|kind| name.starts_with(&format!("{kind} ")));
            // A run that finished has given its lease back.
            !restless || (name.starts_with("Lease ") && name.ends_with(" kubectl-multimesh"))
        })
        // A mutex of a controller.
        .filter(|(name, _)| !name.contains("istio-leader"))
        .map(|(name, object)| (name, settle(object)))
        .collect()
}

/// Takes away what another run of the same makes anew.
fn settle(mut object: Value) -> Value {
    let secret = object["kind"] == "Secret";
    object["status"].take();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for key in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
            metadata.remove(key);
        }
        let ours = metadata.get("managedFields").and_then(Value::as_array).map(|all| {
            let ours =
                all.iter().filter(|entry| entry["manager"] == multimesh::kube::FIELD_MANAGER);
            ours.map(|entry| json!([entry["operation"], entry["fieldsV1"]])).collect::<Vec<_>>()
        });
        metadata.insert("managedFields".into(), json!(ours));
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove("kubernetes.io/service-account.uid");
            if secret {
                // A digest of the whole Secret.
                annotations.remove("kubectl-multimesh/applied");
            }
        }
        for owner in
            metadata.get_mut("ownerReferences").and_then(Value::as_array_mut).into_iter().flatten()
        {
            owner["uid"].take();
        }
    }
    if object["kind"] == "Service"
        && let Some(spec) = object["spec"].as_object_mut()
    {
        spec.retain(|key, _| !key.starts_with("clusterIP"));
    }
    if secret && object["metadata"]["name"] == "cacerts" {
        // Compared with the mesh directory.
        object["data"].take();
    }
    for (key, value) in object.get_mut("data").and_then(Value::as_object_mut).into_iter().flatten()
    {
        if secret && key == "token" {
            *value = "a token".into();
        } else if secret && let Some(kubeconfig) = remote(value) {
            *value = kubeconfig;
        }
    }
    object
}

/// The kubeconfig of a remote secret, without its token.
fn remote(value: &Value) -> Option<Value> {
    let mut kubeconfig: Value = serde_yaml::from_slice(&decoded(value)?).ok()?;
    let token = kubeconfig.pointer_mut("/users/0/user/token")?;
    *token = "a token".into();
    Some(kubeconfig)
}

fn decoded(value: &Value) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(value.as_str()?).ok()
}

/// How two clusters differ, object by object.
pub(crate) fn differences(expected: &[Objects], found: &[Objects]) -> Vec<String> {
    let mut all = Vec::new();
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        for name in names {
            match (expected.get(name), found.get(name)) {
                (Some(_), None) => all.push(format!("plane {index}: {name} is missing")),
                (None, Some(_)) => all.push(format!("plane {index}: {name} is too many")),
                (Some(a), Some(b)) if a != b => {
                    all.push(format!(
                        "plane {index}: {name} differs{}",
                        first_difference(a, b, "")
                    ));
                }
                _ => {}
            }
        }
    }
    all
}

/// Where two values differ first. A value of a Secret is not told.
fn first_difference(a: &Value, b: &Value, at: &str) -> String {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let differing = keys.into_iter().find(|key| a.get(*key) != b.get(*key));
            differing.map_or_else(String::new, |key| {
                let (a, b) =
                    (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                first_difference(a, b, &format!("{at}/{key}"))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let index = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(0);
            first_difference(&a[index], &b[index], &format!("{at}/{index}"))
        }
        _ if at.starts_with("/data") => format!(" at {at}"),
        _ => format!(" at {at}: {a} and {b}"),
    }
}

/// What of the mesh directory is torn, and where it does not fit what the clusters hold. Clusters
/// that are not `members` of the mesh now are not looked at.
pub(crate) fn lost_files(fronted: &Fronted, members: &[usize]) -> Vec<String> {
    let mut lost = Vec::new();
    let dir = fronted.mesh("m");
    lost.extend(unfinished(&dir));
    let state = fs::read_to_string(dir.join("state.yaml")).unwrap_or_default();
    if serde_yaml::from_str::<Value>(&state).map_or(true, |state| state["mesh_id"] != "m") {
        lost.push("state.yaml does not parse".into());
    }
    let store = Store::open(dir.join("certs"));
    let root = match store.root() {
        Ok(Some(root)) => root,
        other => {
            lost.push(format!("the root CA cannot be read: {}", other.is_ok()));
            return lost;
        }
    };
    let now = jiff::Timestamp::now();
    for &index in members {
        let context = &fronted.clusters[index].context;
        let Ok(Some((_, disk))) = store.intermediate(context, context) else {
            lost.push(format!("plane {index}: its intermediate is not on disk"));
            continue;
        };
        // Checks too that the key belongs to the certificate.
        if let Err(why) = disk.verify(&root.certificate, now) {
            lost.push(format!("plane {index}: its intermediate on disk: {why}"));
        }
        match live_cacerts(fronted, index) {
            Some(live) if live == disk => {}
            Some(_) => lost.push(format!("plane {index}: the CA on disk is not the cluster's")),
            None => lost.push(format!("plane {index}: no cacerts")),
        }
        lost.extend(wrong_tokens(fronted, index, members));
    }
    lost
}

/// Files that a killed run left half written, anywhere below a directory.
pub(crate) fn unfinished(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let half = name.starts_with(".multimesh-writing-")
            || name.starts_with(".intermediate-")
            || name.starts_with(".root-cert");
        if half {
            found.push(format!("{} is left", entry.path().display()));
        } else if entry.path().is_dir() {
            found.extend(unfinished(&entry.path()));
        }
    }
    found
}

fn get(fronted: &Fronted, index: usize, words: &[&str]) -> Value {
    let text =
        fronted.kubectl(index, &[&["get", "-n", "istio-system", "-o", "json"], words].concat());
    serde_json::from_str(&text).unwrap()
}

fn live_cacerts(fronted: &Fronted, index: usize) -> Option<Cacerts> {
    let secret = get(fronted, index, &["secret", "cacerts"]);
    let data = secret["data"].as_object()?;
    let entries = data.iter().filter_map(|(key, value)| Some((key.clone(), decoded(value)?)));
    Cacerts::from_entries(&entries.collect()).ok()
}

/// Links whose token is not the one that the peer's account has now.
fn wrong_tokens(fronted: &Fronted, index: usize, members: &[usize]) -> Vec<String> {
    let mut wrong = Vec::new();
    for &peer in members.iter().filter(|&&peer| peer != index) {
        let name = &fronted.clusters[peer].context;
        let link = get(fronted, index, &["secret", &format!("istio-remote-secret-{name}")]);
        let kubeconfig = decoded(&link["data"][name.as_str()]).unwrap_or_default();
        let kubeconfig: Value = serde_yaml::from_slice(&kubeconfig).unwrap_or_default();
        let accounts = get(fronted, peer, &["secrets"]);
        let tokens = accounts["items"].as_array().into_iter().flatten();
        let held = tokens.filter_map(|secret| decoded(&secret["data"]["token"])).any(|token| {
            kubeconfig.pointer("/users/0/user/token").and_then(Value::as_str).map(str::as_bytes)
                == Some(&token)
        });
        if !held {
            wrong.push(format!("plane {index}: the token for plane {peer} is not the account's"));
        }
    }
    wrong
}
