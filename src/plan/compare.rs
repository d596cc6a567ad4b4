//! Whether a live object is what it should be, whatever the API server and istiod added to it.

use serde_json::Value;

use super::object::{DIGEST, annotation};

/// Whether the live object needs no write: it was applied from exactly this content, and nobody
/// changed since what that content says. Of what is large, the record of who wrote what tells; the
/// content says more, where it was read as well.
pub fn is_current(desired: &Value, live: &Value) -> bool {
    if annotation(desired, DIGEST) != annotation(live, DIGEST) {
        return false;
    }
    if is_large(live) && !is_as_applied(desired, live) {
        return false;
    }
    if is_unread(live) {
        return contains(&desired["metadata"], &live["metadata"]);
    }
    holds(desired, live)
}

/// The kinds whose objects are large: they are listed by their metadata alone, and with their content
/// only where the record of who wrote what is not the tool's alone.
pub const LARGE: [&str; 2] = ["ConfigMap", "CustomResourceDefinition"];

fn is_large(object: &Value) -> bool {
    object["kind"].as_str().is_some_and(|kind| LARGE.contains(&kind))
}

/// Whether an object was read without its content.
pub fn is_unread(object: &Value) -> bool {
    is_large(object) && content(object).next().is_none()
}

/// Whether nobody took over a field since the live object was applied with its digest.
fn is_as_applied(desired: &Value, live: &Value) -> bool {
    // What is empty is left out of definitions.
    let strict = desired["kind"] == "ConfigMap";
    applied(live).any(|entry| {
        content(desired).all(|(key, value)| owns(&entry["fieldsV1"], key, value, strict))
    })
}

/// What an object says beside its metadata.
fn content(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter(|(key, _)| !["apiVersion", "kind", "metadata"].contains(&key.as_str()))
}

/// Whether the record of who wrote what tells all of an object that was read without its content: it
/// was applied by this field manager, and nobody else's digest came with what they applied.
pub fn is_on_record(live: &Value, manager: &str) -> bool {
    let mut managers = applied(live).map(|entry| &entry["manager"]).peekable();
    managers.peek().is_some() && managers.all(|name| name == manager)
}

/// The records of what was applied together with the digest that an object bears: by the tool, or by
/// what feeds the cluster from rendered files
/// (k8s.io/apimachinery: `pkg/apis/meta/v1`, `ManagedFieldsEntry`).
fn applied(live: &Value) -> impl Iterator<Item = &Value> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let applied = entries.into_iter().flatten().filter(|entry| entry["operation"] == "Apply");
    applied.filter(|entry| {
        let annotations = &entry["fieldsV1"]["f:metadata"]["f:annotations"];
        !annotations[format!("f:{DIGEST}")].is_null()
    })
}

/// Whether a field with everything that `value` says is among these: who changes one takes it over.
/// What is empty may be missing, unless this is `strict`.
fn owns(fields: &Value, key: &str, value: &Value, strict: bool) -> bool {
    if !strict && is_zero(value) {
        return true;
    }
    let field = &fields[format!("f:{key}")];
    // What is set as a whole has nothing below it.
    match (value.as_object(), field.as_object()) {
        (Some(value), Some(below)) if !below.is_empty() => {
            value.iter().all(|(key, value)| owns(field, key, value, strict))
        }
        _ => !field.is_null(),
    }
}

/// Prepares an object for sending where a live one exists: leaves out the fields that istiod took
/// over after it started, so that an apply neither fights nor resets them
/// (istio: `pkg/webhooks/validation/controller`).
pub fn yield_to_istiod(desired: &mut Value) {
    if !is_webhook_configuration(desired) {
        return;
    }
    let webhooks = desired.get_mut("webhooks").and_then(Value::as_array_mut);
    for webhook in webhooks.into_iter().flatten().filter_map(Value::as_object_mut) {
        webhook.remove("failurePolicy");
        if let Some(client) = webhook.get_mut("clientConfig").and_then(Value::as_object_mut) {
            client.remove("caBundle");
        }
    }
}

/// Whether istiod has a say in the object.
pub fn is_webhook_configuration(object: &Value) -> bool {
    object["kind"].as_str().is_some_and(|kind| kind.ends_with("WebhookConfiguration"))
}

fn holds(desired: &Value, live: &Value) -> bool {
    if is_webhook_configuration(desired) {
        let mut desired = desired.clone();
        yield_to_istiod(&mut desired);
        return contains(&desired, live);
    }
    contains(desired, live)
}

/// Whether everything that `desired` says is so in `live`. Zero values count as left out, as the
/// API server leaves them out.
fn contains(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().all(|(key, value)| {
            live.get(key).map_or_else(|| is_zero(value), |live| contains(value, live))
        }),
        (Value::Array(desired), Value::Array(live)) => lists_agree(desired, live),
        (desired, live) => scalars_agree(desired, live),
    }
}

fn lists_agree(desired: &[Value], live: &[Value]) -> bool {
    let named = |items: &[Value]| !items.is_empty() && items.iter().all(|i| i["name"].is_string());
    if named(desired) && named(live) {
        // Lists of named things are merged by the API server, so others may have added some.
        return desired.iter().all(|item| {
            live.iter().any(|other| other["name"] == item["name"] && contains(item, other))
        });
    }
    desired.len() == live.len() && desired.iter().zip(live).all(|(d, l)| contains(d, l))
}

/// Whether the API server may leave a value out.
pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_zero),
    }
}

/// Whether two scalars mean the same to the API server.
pub(super) fn scalars_agree(desired: &Value, live: &Value) -> bool {
    if desired == live || (is_zero(desired) && is_zero(live)) {
        return true;
    }
    let text = |value: &Value| match value {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    };
    let (Some(desired), Some(live)) = (text(desired), text(live)) else { return false };
    desired == live || quantity(&desired).is_some_and(|q| quantity(&live) == Some(q))
}

/// The value of a Kubernetes quantity in thousandths, so that `2048Mi` equals `2Gi`
/// (k8s.io/apimachinery: `pkg/api/resource/quantity.go`).
fn quantity(text: &str) -> Option<i128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let scale: i128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1000 * 1000,
        "M" => 1000 * 1000_i128.pow(2),
        "G" => 1000 * 1000_i128.pow(3),
        "Ki" => 1000 * 1024,
        "Mi" => 1000 * 1024_i128.pow(2),
        "Gi" => 1000 * 1024_i128.pow(3),
        "Ti" => 1000 * 1024_i128.pow(4),
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut value = whole.parse::<i128>().ok()?.checked_mul(scale)?;
    let mut unit = scale;
    for digit in fraction.chars() {
        unit /= 10;
        value += i128::from(digit.to_digit(10)?) * unit;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::object::mark;
    use serde_json::json;

    #[test]
    fn what_the_api_server_adds_is_no_difference() {
        let desired = json!({ "spec": {
            "template": { "spec": { "containers": [
                { "name": "a", "image": "x:1", "env": [{ "name": "E", "value": "" }],
                  "resources": { "requests": { "cpu": "500m", "memory": "2048Mi" } } },
            ], "hostNetwork": false, "securityContext": {} } },
        } });
        let live = json!({ "metadata": { "uid": "1" }, "spec": { "replicas": 1,
            "template": { "spec": { "dnsPolicy": "ClusterFirst", "containers": [
                { "name": "a", "image": "x:1", "env": [{ "name": "E" }], "imagePullPolicy": "Always",
                  "resources": { "requests": { "cpu": "0.5", "memory": "2Gi" } } },
            ] } },
        }, "status": {} });
        assert!(holds(&desired, &live));
    }

    #[test]
    fn what_somebody_changed_is_a_difference() {
        let desired =
            json!({ "spec": { "a": 1, "list": [1, 2], "named": [{ "name": "x", "v": 1 }] } });
        for live in [
            json!({ "spec": { "a": 2, "list": [1, 2], "named": [{ "name": "x", "v": 1 }] } }),
            json!({ "spec": { "a": 1, "list": [1, 2, 3], "named": [{ "name": "x", "v": 1 }] } }),
            json!({ "spec": { "a": 1, "list": [1, 2], "named": [{ "name": "y", "v": 1 }] } }),
            json!({ "spec": { "a": 1, "list": [1, 2], "named": [{ "name": "x", "v": 2 }] } }),
            json!({ "spec": { "list": [1, 2], "named": [{ "name": "x", "v": 1 }] } }),
        ] {
            assert!(!holds(&desired, &live), "{live}");
        }
    }

    #[test]
    fn a_field_that_is_no_longer_wanted_changes_the_digest() {
        let live = {
            let mut live = json!({ "metadata": { "name": "a" }, "data": { "x": "1", "y": "2" } });
            mark(&mut live, "set");
            live
        };
        let mut desired = json!({ "metadata": { "name": "a" }, "data": { "x": "1" } });
        mark(&mut desired, "set");
        assert!(!is_current(&desired, &live));
        assert!(is_current(&live, &live));
    }

    #[test]
    fn istiod_owns_the_failure_policy_once_it_runs() {
        let mut desired = json!({ "kind": "ValidatingWebhookConfiguration", "webhooks": [
            { "name": "v", "failurePolicy": "Ignore", "clientConfig": { "caBundle": "" } },
        ] });
        let live = json!({ "kind": "ValidatingWebhookConfiguration", "webhooks": [
            { "name": "v", "failurePolicy": "Fail", "clientConfig": { "caBundle": "Q0E=" } },
        ] });
        assert!(holds(&desired, &live));
        yield_to_istiod(&mut desired);
        assert_eq!(desired["webhooks"][0], json!({ "name": "v", "clientConfig": {} }));
    }

    #[test]
    fn who_wrote_what_is_enough_without_the_content() {
        let mut desired = json!({ "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition", "metadata": { "name": "d" },
            "spec": { "group": "g", "names": { "kind": "K", "plural": "ks" }, "versions": [{ "name": "v1" }] } });
        mark(&mut desired, "set");
        let digest = json!({ format!("f:{DIGEST}"): {} });
        let live = |applier: &str, versions_by: &str, annotations: &Value| {
            let mut ours = json!({ "f:group": {}, "f:names": { "f:kind": {}, "f:plural": {} } });
            let mut entries = vec![];
            if versions_by == applier {
                ours["f:versions"] = json!({});
            } else {
                entries.push(json!({ "manager": versions_by, "operation": "Update",
                    "fieldsV1": { "f:spec": { "f:versions": {} } } }));
            }
            entries.push(json!({ "manager": applier, "operation": "Apply", "fieldsV1": {
                "f:metadata": { "f:annotations": annotations }, "f:spec": ours } }));
            json!({ "apiVersion": desired["apiVersion"], "kind": desired["kind"], "metadata": {
                "name": "d", "labels": desired["metadata"]["labels"],
                "annotations": desired["metadata"]["annotations"], "managedFields": entries } })
        };
        let whole = |mut live: Value| {
            live["spec"] = desired["spec"].clone();
            live
        };
        for applier in ["kubectl-multimesh", "kubectl"] {
            let (as_applied, edited) =
                (live(applier, applier, &digest), live(applier, "kubectl-edit", &digest));
            assert!(is_current(&desired, &as_applied), "{applier}");
            assert!(!is_current(&desired, &edited), "{applier}");
            assert!(is_current(&desired, &whole(as_applied)), "{applier}");
            assert!(!is_current(&desired, &whole(edited)), "{applier}");
        }
        assert!(!is_current(&desired, &live("other", "other", &json!({}))));
        let mut unlabelled = live("kubectl", "kubectl", &digest);
        unlabelled["metadata"]["labels"] = json!({});
        assert!(!is_current(&desired, &unlabelled));
    }

    #[test]
    fn what_a_config_map_says_is_known_by_who_wrote_it() {
        let mut desired = json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "a" }, "data": { "mesh": "x", "empty": "" } });
        mark(&mut desired, "set");
        let live = |data: &Value| {
            let mut live = desired.clone();
            live["metadata"]["managedFields"] = json!([{ "manager": "tool", "operation": "Apply", "fieldsV1": {
                "f:metadata": { "f:annotations": { format!("f:{DIGEST}"): {} } },
                "f:data": data } }]);
            if let Some(live) = live.as_object_mut() {
                live.remove("data");
            }
            live
        };
        assert!(is_current(&desired, &live(&json!({ "f:mesh": {}, "f:empty": {} }))));
        for taken in [json!({ "f:empty": {} }), json!({ "f:mesh": {} }), json!(null)] {
            assert!(!is_current(&desired, &live(&taken)), "{taken}");
        }
        let mut shared = live(&json!({ "f:mesh": {}, "f:empty": {} }));
        assert!(is_on_record(&shared, "tool"));
        assert!(!is_on_record(&shared, "kubectl"));
        let mut others = shared["metadata"]["managedFields"][0].clone();
        others["manager"] = json!("kubectl");
        shared["metadata"]["managedFields"].as_array_mut().unwrap().push(others);
        assert!(!is_on_record(&shared, "tool"), "the digest may have come with other content");
        assert!(!is_on_record(&json!({ "metadata": {} }), "tool"));
    }

    #[test]
    fn quantities_are_compared_by_value() {
        assert_eq!(quantity("2048Mi"), quantity("2Gi"));
        assert_eq!(quantity("0.5"), quantity("500m"));
        assert_eq!(quantity("1"), quantity("1000m"));
        assert_ne!(quantity("1Gi"), quantity("1G"));
        assert_eq!(quantity("abc"), None);
    }
}
