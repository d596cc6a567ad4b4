//! What an apply writes to one cluster.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::compare::{is_current, is_webhook_configuration, yield_to_istiod};
use super::object::Key;
use super::order::Step;

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// It is not there.
    Create,
    /// It is there and differs.
    Update,
    /// It is there, made by somebody else, and becomes the mesh's.
    Adopt,
    /// An earlier apply made it and nothing wants it any more.
    Prune,
}

/// An object that has to be written.
#[derive(Clone, PartialEq)]
pub struct Change {
    /// What happens.
    pub verb: Verb,
    /// When it happens.
    pub step: Step,
    /// The object to send.
    pub object: Arc<Value>,
    /// The object as it is; none where it is created.
    pub before: Option<Value>,
}

impl Change {
    /// Which object it is.
    pub fn key(&self) -> Key {
        Key::of(&self.object)
    }
}

/// Without the content, which may be secret.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, step, .. } = self;
        f.debug_struct("Change")
            .field("verb", verb)
            .field("step", step)
            .field("key", &self.key())
            .finish_non_exhaustive()
    }
}

/// Finds what has to be written so that every desired object is live. Objects that are as they
/// should be cause no change.
pub fn changes<'a>(
    desired: &[Arc<Value>],
    live: impl Fn(&Key) -> Option<&'a Value>,
) -> Vec<Change> {
    desired.iter().filter_map(|object| change(object, live(&Key::of(object)))).collect()
}

/// The change that one desired object needs, if any.
pub fn change(object: &Arc<Value>, live: Option<&Value>) -> Option<Change> {
    let step = Step::of(object);
    let mut object = Arc::clone(object);
    match live {
        None => Some(Change { verb: Verb::Create, step, object, before: None }),
        Some(live) if is_current(&object, live) => None,
        Some(live) => {
            if is_webhook_configuration(&object) {
                yield_to_istiod(Arc::make_mut(&mut object));
            }
            Some(Change { verb: Verb::Update, step, object, before: Some(live.clone()) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::object::mark;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn object(name: &str, value: &str) -> Value {
        let mut object = json!({ "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": name, "namespace": "n" }, "spec": { "k": value } });
        mark(&mut object, "set");
        object
    }

    #[test]
    fn only_what_differs_is_written() {
        let live: BTreeMap<Key, Value> =
            [object("same", "1"), object("old", "1")].map(|o| (Key::of(&o), o)).into();
        let desired = vec![object("same", "1"), object("old", "2"), object("new", "1")];
        let desired: Vec<Arc<Value>> = desired.into_iter().map(Arc::new).collect();
        let changes = changes(&desired, |key| live.get(key));
        let seen: Vec<_> = changes.iter().map(|c| (c.verb, c.key().name)).collect();
        assert_eq!(seen, [(Verb::Update, "old".to_owned()), (Verb::Create, "new".to_owned())]);
    }
}
