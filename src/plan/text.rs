//! Objects as YAML that people read, and that kubectl reads as the same object.

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;

/// The YAML of an object: what names it first, everything else in the order of the alphabet.
pub fn yaml(object: &Value) -> String {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(&Ordered(object), options)
        // JSON is YAML.
        .unwrap_or_else(|_| format!("{object:#}\n"))
}

/// An object with its `apiVersion`, `kind` and `metadata` before everything else.
struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const FIRST: [&str; 3] = ["apiVersion", "kind", "metadata"];
        let Some(fields) = self.0.as_object() else { return self.0.serialize(serializer) };
        let mut rest: Vec<_> =
            fields.iter().filter(|(name, _)| !FIRST.contains(&name.as_str())).collect();
        rest.sort_by_key(|(name, _)| *name);
        let mut map = serializer.serialize_map(Some(fields.len()))?;
        for (name, value) in FIRST.iter().filter_map(|name| fields.get_key_value(*name)) {
            map.serialize_entry(name, value)?;
        }
        for (name, value) in rest {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
