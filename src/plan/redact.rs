//! Objects for people's eyes: a short hash stands for every value of a Secret, so that a change is
//! seen and a value is not.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::object::DIGEST;
use crate::hex::hex;
use crate::istio::remote_secret::CLUSTER_ANNOTATION;

/// Bytes of a SHA-256 that are shown.
const SHOWN: usize = 4;
/// Bytes from which on a value is looked for in other texts; shorter ones are part of too many.
const SOUGHT: usize = 6;
/// Annotations of a Secret that hold names. Any other one may hold a copy of the content, as
/// `kubectl apply` and tools that copy secrets leave them.
const NAMES: [&str; 3] = [DIGEST, CLUSTER_ANNOTATION, "kubernetes.io/service-account.name"];

/// The object without what is secret in it, and without binary data, which nobody reads.
pub fn redacted(object: &Value) -> Value {
    match (object["kind"].as_str(), object.as_object()) {
        (Some("Secret"), Some(fields)) => {
            let sought = values(object);
            map(fields, |name, value| match name {
                "apiVersion" | "kind" | "type" | "immutable" => value.clone(),
                "metadata" => metadata(value, &sought),
                "data" => entries(value, decoded_hash),
                "stringData" => entries(value, hash),
                _ => hash(value),
            })
        }
        (Some("ConfigMap"), Some(fields)) => map(fields, |name, value| match name {
            "binaryData" => entries(value, decoded_hash),
            _ => value.clone(),
        }),
        _ => object.clone(),
    }
}

/// A text about objects, such as a refusal, without the values of Secrets that it quotes.
pub fn redacted_text<'a>(text: &str, objects: impl IntoIterator<Item = &'a Value>) -> String {
    objects
        .into_iter()
        .filter(|object| object["kind"] == "Secret")
        .fold(text.to_owned(), |text, object| conceal(&text, &values(object)))
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

fn metadata(metadata: &Value, sought: &[Sought]) -> Value {
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
            Some(text) => conceal(text, sought).into(),
            None => hash(value),
        }),
        _ => value.clone(),
    })
}

/// A text that must not be shown, and what is shown in its place.
struct Sought {
    text: Zeroizing<String>,
    shown: String,
}

/// The values of a Secret, as they stand and as they are meant.
fn values(secret: &Value) -> Vec<Sought> {
    let of = |field: &str| secret[field].as_object().into_iter().flat_map(Map::values);
    let mut sought = Vec::new();
    let mut seek = |text: &str, value: &[u8]| {
        let text = text.trim();
        if text.len() >= SOUGHT {
            sought.push(Sought { text: Zeroizing::new(text.to_owned()), shown: short(value) });
        }
    };
    for text in of("data").filter_map(Value::as_str) {
        match decode(text) {
            Some(decoded) => {
                seek(text, &decoded);
                seek(str::from_utf8(&decoded).unwrap_or_default(), &decoded);
            }
            None => seek(text, text.as_bytes()),
        }
    }
    for text in of("stringData").filter_map(Value::as_str) {
        seek(text, text.as_bytes());
        seek(&Zeroizing::new(BASE64_STANDARD.encode(text)), text.as_bytes());
    }
    // A value may be a part of another one.
    sought.sort_by_key(|sought| std::cmp::Reverse(sought.text.len()));
    sought
}

fn conceal(text: &str, sought: &[Sought]) -> String {
    sought
        .iter()
        .fold(text.to_owned(), |text, sought| text.replace(sought.text.as_str(), &sought.shown))
}
