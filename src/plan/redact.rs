//! Objects for people's eyes: a short hash stands for every value of a Secret, so that a change is
//! seen and a value is not.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::object::DIGEST;
use super::outline::ObjectChange;
use crate::hex::hex;
use crate::istio::remote_secret::CLUSTER_ANNOTATION;

/// The kind whose values nobody may see.
const SECRET: &str = "Secret";
/// Bytes of a SHA-256 that are shown.
const SHOWN: usize = 4;
/// Bytes from which on a value is looked for in other texts; shorter ones are part of too many.
const SOUGHT: usize = 6;
/// Annotations of a Secret that hold names. Any other one may hold a copy of the content, as
/// `kubectl apply` and tools that copy secrets leave them.
const NAMES: [&str; 3] = [DIGEST, CLUSTER_ANNOTATION, "kubernetes.io/service-account.name"];

/// Shows a change without what is secret in it.
pub struct Redactor<'a> {
    kind: &'a str,
    sought: Vec<Sought>,
}

impl<'a> Redactor<'a> {
    /// For one change. A value of the object as it is stays secret in the object as it would be.
    pub fn of(change: &'a ObjectChange) -> Self {
        Self::new(&change.key.kind, change.before.iter().chain(change.after.as_deref()))
    }

    /// For one object, and what it is before.
    pub fn of_object(object: &'a Value, before: Option<&'a Value>) -> Self {
        let objects = std::iter::once(object).chain(before);
        Self::new(object["kind"].as_str().unwrap_or_default(), objects)
    }

    fn new(kind: &'a str, objects: impl Iterator<Item = &'a Value>) -> Self {
        let mut sought: Vec<Sought> = objects.filter(|_| kind == SECRET).flat_map(values).collect();
        // A value may be a part of another one.
        sought.sort_by_key(|sought| std::cmp::Reverse(sought.text.len()));
        Self { kind, sought }
    }

    /// The object without its secrets, and without binary data, which nobody reads.
    pub fn object(&self, object: &Value) -> Value {
        match (self.kind, object.as_object()) {
            (SECRET, None) => hash(object),
            (SECRET, Some(fields)) => map(fields, |name, value| match name {
                "apiVersion" | "kind" | "type" | "immutable" => value.clone(),
                "metadata" => self.metadata(value),
                "data" => entries(value, decoded_hash),
                "stringData" => entries(value, hash),
                _ => hash(value),
            }),
            ("ConfigMap", Some(fields)) => map(fields, |name, value| match name {
                "binaryData" => entries(value, decoded_hash),
                _ => value.clone(),
            }),
            _ => object.clone(),
        }
    }

    /// A text about the object, such as a refusal, without the values that it quotes.
    pub fn text(&self, text: &str) -> String {
        self.sought
            .iter()
            .fold(text.to_owned(), |text, sought| text.replace(sought.text.as_str(), &sought.shown))
    }

    fn metadata(&self, metadata: &Value) -> Value {
        let Some(fields) = metadata.as_object() else { return hash(metadata) };
        map(fields, |name, value| match (name, value.as_object()) {
            ("annotations", Some(annotations)) => {
                map(
                    annotations,
                    |name, value| {
                        if NAMES.contains(&name) { value.clone() } else { hash(value) }
                    },
                )
            }
            ("labels", Some(labels)) => map(labels, |_, value| match value.as_str() {
                Some(text) => self.text(text).into(),
                None => hash(value),
            }),
            _ => value.clone(),
        })
    }
}

/// `sha256:3f2a91c0…`, which stands for a value.
fn short(value: &[u8]) -> String {
    format!("sha256:{}…", hex(&Sha256::digest(value)[..SHOWN]))
}

fn map(fields: &Map<String, Value>, show: impl Fn(&str, &Value) -> Value) -> Value {
    fields.iter().map(|(name, value)| (name.clone(), show(name, value))).collect()
}

fn entries(value: &Value, show: impl Fn(&Value) -> Value) -> Value {
    value.as_object().map_or_else(|| hash(value), |entries| map(entries, |_, value| show(value)))
}

/// The hash of a value as it stands.
fn hash(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::String(text) => short(text.as_bytes()).into(),
        other => short(Zeroizing::new(other.to_string()).as_bytes()).into(),
    }
}

/// The hash of what a value encodes in base64, so that `data` and `stringData` show the same.
fn decoded_hash(value: &Value) -> Value {
    let decoded = value.as_str().and_then(decode);
    decoded.map_or_else(|| hash(value), |decoded| short(&decoded).into())
}

fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    BASE64_STANDARD.decode(text).ok().map(Zeroizing::new)
}

/// A text that must not be shown, and what is shown in its place.
struct Sought {
    text: Zeroizing<String>,
    shown: String,
}

/// The values of a Secret in the forms in which a text may quote them.
fn values(secret: &Value) -> Vec<Sought> {
    let of = |field: &str| {
        let entries = secret[field].as_object().into_iter().flat_map(Map::values);
        entries.filter_map(Value::as_str)
    };
    let mut sought = Vec::new();
    for text in of("data") {
        let Some(value) = decode(text) else {
            seek(&mut sought, text, text.as_bytes());
            continue;
        };
        seek(&mut sought, text, &value);
        seek_text(&mut sought, str::from_utf8(&value).unwrap_or_default());
    }
    for text in of("stringData") {
        seek(&mut sought, &Zeroizing::new(BASE64_STANDARD.encode(text)), text.as_bytes());
        seek_text(&mut sought, text);
    }
    sought
}

/// Seeks a text, each of its lines, and both as JSON and Go quote them.
fn seek_text(sought: &mut Vec<Sought>, text: &str) {
    for part in std::iter::once(text).chain(text.lines()) {
        seek(sought, part, text.as_bytes());
        let quoted = Zeroizing::new(Value::from(part).to_string());
        seek(sought, quoted.trim_matches('"'), text.as_bytes());
    }
}

fn seek(sought: &mut Vec<Sought>, text: &str, value: &[u8]) {
    let text = text.trim();
    if text.len() >= SOUGHT {
        sought.push(Sought { text: Zeroizing::new(text.to_owned()), shown: short(value) });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::object::Key;
    use crate::plan::outline::Verb;

    fn change(kind: &str, object: Value) -> ObjectChange {
        let key = Key { kind: kind.into(), ..Key::of(&object) };
        ObjectChange {
            verb: Verb::Create,
            key,
            api_version: "v1".into(),
            link: None,
            before: None,
            after: Some(std::sync::Arc::new(object)),
            refusal: None,
        }
    }

    #[test]
    fn data_that_is_not_what_it_should_be_is_not_shown_either() {
        for data in [json!("hunter22"), json!(["hunter22"]), json!({ "k": ["hunter22"] })] {
            let change = change("Secret", json!({ "data": data, "unheardOf": "hunter22" }));
            let shown = Redactor::of(&change).object(change.after.as_ref().unwrap());
            assert!(!shown.to_string().contains("hunter22"), "{shown}");
        }
    }

    #[test]
    fn an_object_that_does_not_name_its_kind_is_no_less_secret() {
        let change = change("Secret", json!({ "data": { "key": "aHVudGVyMjI=" } }));
        let shown = Redactor::of(&change).object(change.after.as_ref().unwrap());
        assert_eq!(shown, json!({ "data": { "key": "sha256:20d2fe5e…" } }));
    }

    #[test]
    fn a_refusal_may_quote_a_value() {
        let object = json!({ "kind": "Secret", "data": { "a": "aHVudGVyMjI=" },
            "stringData": { "b": "correct horse" } });
        let change = change("Secret", object);
        let text = "bad: aHVudGVyMjI=, hunter22, correct horse and Y29ycmVjdCBob3JzZQ==";
        let shown = Redactor::of(&change).text(text);
        assert!(shown.starts_with("bad: sha256:20d2fe5e…, sha256:20d2fe5e…, "), "{shown}");
        for value in ["aHVudGVyMjI", "hunter22", "correct horse", "Y29ycmVjdCBob3JzZQ"] {
            assert!(!shown.contains(value), "{shown}");
        }
    }

    #[test]
    fn other_kinds_are_shown_as_they_are() {
        let object =
            json!({ "kind": "ConfigMap", "data": { "k": "v" }, "binaryData": { "b": "AAE=" } });
        let change = change("ConfigMap", object);
        let shown = Redactor::of(&change).object(change.after.as_ref().unwrap());
        assert_eq!(shown["data"], json!({ "k": "v" }));
        assert!(shown["binaryData"]["b"].as_str().unwrap().starts_with("sha256:"));
    }
}
