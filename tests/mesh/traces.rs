//! Whether a cluster is as it was.

use std::collections::BTreeMap;

use multimesh_lab::{Cluster, Lab};
use serde_json::Value;

use crate::live::inventory;

/// Kinds that change by themselves.
const RESTLESS: [&str; 9] = [
    "Node ",
    "CSINode ",
    "Lease ",
    "Endpoints ",
    "EndpointSlice ",
    "ComponentStatus ",
    "APIService ",
    "NodeMetrics ",
    "PodMetrics ",
];
/// What the API server writes into an object for its own ends.
const KEPT_BY_THE_SERVER: [&str; 5] =
    ["resourceVersion", "managedFields", "generation", "uid", "creationTimestamp"];

/// All that somebody wants of a cluster: its objects without their status and bookkeeping.
pub(crate) fn objects(lab: &Lab, cluster: &Cluster) -> BTreeMap<String, Value> {
    let all = inventory(lab, cluster).into_iter();
    all.filter(|(name, _)| !RESTLESS.iter().any(|kind| name.starts_with(kind)))
        .map(|(name, mut object)| {
            object.as_object_mut().unwrap().remove("status");
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata.retain(|key, _| !KEPT_BY_THE_SERVER.contains(&key.as_str()));
            (name, object)
        })
        .collect()
}

/// What is in one of the two only, or not the same in both; of Secrets only that it is so.
pub(crate) fn differences(
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
) -> Vec<String> {
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    let gone = gone.map(|name| format!("gone: {name}"));
    let other = after.iter().filter_map(|(name, now)| match before.get(name) {
        None => Some(format!("new: {name}")),
        Some(then) if then == now => None,
        Some(_) if name.starts_with("Secret ") => Some(format!("changed: {name}")),
        Some(then) => Some(format!("changed: {name}:\n  {then}\n  {now}")),
    });
    gone.chain(other).collect()
}
