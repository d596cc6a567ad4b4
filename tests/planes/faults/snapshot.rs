//! What clusters hold, without what differs between two runs that did the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::front::Fronted;
use super::links::decoded;
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
            // How often it was changed.
            annotations.remove("deployment.kubernetes.io/revision");
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
        spec.retain(|key, _| !key.starts_with("clusterIP") && key != "healthCheckNodePort");
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            port["nodePort"].take();
        }
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
