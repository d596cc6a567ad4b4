//! `base.yaml` and overlays.

use std::path::Path;

use multimesh::istio::base::{API_VERSION, Base, KIND, Role, read};
use multimesh::istio::operator::{GatewayOverride, Variant, build};
use serde_json::Value;

use super::said;

/// Keys longer than this have no short form in YAML, and so none in JSON that YAML's readers take.
const LONGEST_KEY: usize = 1000;

/// Reads `data` as an operator.
pub fn check(data: &[u8]) {
    let Ok(content) = str::from_utf8(data) else { return };
    let file = Path::new("mesh/base.yaml");
    for role in [Role::Base, Role::Overlay] {
        let result = read(content, file, role);
        assert_eq!(result, read(content, file, role), "two readings of one file");
        match result {
            Ok(base) => sound(&base, role, file, content),
            Err(error) => {
                said::error(&error.to_string(), error.hint().as_deref(), file);
                if let Some(place) = error.place() {
                    said::place(place, file, content);
                }
            }
        }
    }
}

fn sound(base: &Base, role: Role, file: &Path, content: &str) {
    said::notes(&base.notes, file, content);
    let operator = &base.operator;
    assert_eq!(operator["apiVersion"], API_VERSION);
    assert_eq!(operator["kind"], KIND);
    assert!(operator["spec"].is_object());
    if longest_key(operator) <= LONGEST_KEY {
        let again = read(&operator.to_string(), file, role);
        let expected = Base { operator: operator.clone(), notes: Vec::new() };
        assert_eq!(again, Ok(expected), "what was converted needs no conversion");
    }
    for (control_plane, gateway) in [(true, true), (true, false), (false, true)] {
        let built = build(operator, Some(operator), &variant(control_plane, gateway));
        assert_eq!(built["spec"]["values"]["global"]["meshID"], "shop");
        assert_eq!(built["metadata"]["name"], "multimesh");
    }
}

fn variant(control_plane: bool, gateway: bool) -> Variant {
    let address = GatewayOverride {
        network: "n1".to_owned(),
        cluster: "east-1".to_owned(),
        host: "gw.example.com".to_owned(),
        port: 15443,
    };
    Variant {
        mesh_id: "shop".to_owned(),
        namespace: "istio-system".to_owned(),
        control_plane,
        gateway,
        addresses: vec![address],
    }
}

fn longest_key(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(longest_key).max().unwrap_or_default(),
        Value::Object(entries) => entries
            .iter()
            // Each character may be written as an escape of up to six.
            .map(|(key, value)| (key.chars().count() * 6).max(longest_key(value)))
            .max()
            .unwrap_or_default(),
        _ => 0,
    }
}
