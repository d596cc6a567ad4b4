//! What an object would be after an apply, where the API server was not asked.

use serde_json::{Map, Value};

use super::compare::{is_zero, scalars_agree};

/// Whether an object is an answer of the API server, which gives every object a UID.
pub(super) fn is_answer(object: &Value) -> bool {
    object["metadata"]["uid"].is_string()
}

/// The live object with what is desired on top: defaults and what others own stay, and so does what
/// is not desired any more, as only the API server knows whose that is.
pub(super) fn overlay(desired: &Value, live: &Value) -> Value {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => fields(desired, live).into(),
        (Value::Array(desired), Value::Array(live)) => items(desired, live).into(),
        (desired, live) if scalars_agree(desired, live) => live.clone(),
        (desired, _) => desired.clone(),
    }
}

fn fields(desired: &Map<String, Value>, live: &Map<String, Value>) -> Map<String, Value> {
    let mut fields = live.clone();
    for (name, value) in desired {
        match live.get(name) {
            Some(live) => {
                fields.insert(name.clone(), overlay(value, live));
            }
            // The API server leaves zero values out.
            None if is_zero(value) => {}
            None => {
                fields.insert(name.clone(), value.clone());
            }
        }
    }
    fields
}

fn items(desired: &[Value], live: &[Value]) -> Vec<Value> {
    let named = |items: &[Value]| items.iter().all(|item| item["name"].is_string());
    if !named(desired) || !named(live) {
        let old = live.iter().map(Some).chain(std::iter::repeat(None));
        return desired
            .iter()
            .zip(old)
            .map(|(item, old)| old.map_or_else(|| item.clone(), |old| overlay(item, old)))
            .collect();
    }
    let of = |items: &[Value], name: &Value| items.iter().find(|i| i["name"] == *name).cloned();
    let kept = live.iter().map(|item| match of(desired, &item["name"]) {
        Some(desired) => overlay(&desired, item),
        None => item.clone(),
    });
    let added = desired.iter().filter(|item| of(live, &item["name"]).is_none()).cloned();
    kept.chain(added).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_others_set_stays_and_what_is_desired_wins() {
        let live = json!({
            "metadata": { "uid": "1" },
            "spec": { "replicas": 1, "memory": "2Gi", "containers": [
                { "name": "a", "image": "x:1", "imagePullPolicy": "Always" },
                { "name": "other" },
            ] },
        });
        let desired = json!({ "spec": { "memory": "2048Mi", "hostNetwork": false, "containers": [
            { "name": "a", "image": "x:2" },
            { "name": "b" },
        ] } });
        assert_eq!(
            overlay(&desired, &live),
            json!({
                "metadata": { "uid": "1" },
                "spec": { "replicas": 1, "memory": "2Gi", "containers": [
                    { "name": "a", "image": "x:2", "imagePullPolicy": "Always" },
                    { "name": "other" },
                    { "name": "b" },
                ] },
            })
        );
    }

    #[test]
    fn lists_without_names_are_replaced() {
        let live = json!([{ "port": 1, "protocol": "TCP" }, { "port": 2 }]);
        let desired = json!([{ "port": 3 }]);
        assert_eq!(overlay(&desired, &live), json!([{ "port": 3, "protocol": "TCP" }]));
    }
}
