//! Reading `topology.yaml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::address::{self, BadAddress};
use super::error::Error;
use super::keys::{self, meant};
use super::label::{
    AccountName, ClusterName, ContextName, DEFAULT_NETWORK, MeshId, NameError, Namespace,
    NetworkName, shortened,
};
use super::model::{ControlPlane, Member, Topology};
use super::source::{Note, Place};
use super::yaml::{Document, Entry, Node, Value, YamlError};

/// Reads the topology in `text`, the content of `file`.
///
/// Everything that is not understood is refused; the first fault is the error.
pub fn parse(text: &str, file: &Path) -> Result<Topology, Error> {
    let document = Document::read(text, file).map_err(duplicate_context)?;
    let mesh_id = mesh_id_of(&document, file)?;

    let Some(contexts) = document.root.entry("contexts") else {
        return Err(Error::NoContexts { place: Place::start(file) });
    };
    let none = || Error::NoContexts { place: document.place(contexts.mark) };
    let entries = match &contexts.node.value {
        Value::Map(entries) if !entries.is_empty() => entries,
        Value::Map(_) | Value::Null => return Err(none()),
        _ => return Err(contexts_not_a_mapping(&document, contexts)),
    };
    let mut notes = Vec::new();
    let members = entries
        .iter()
        .map(|entry| member(&document, entry, file, &mut notes))
        .collect::<Result<Vec<_>, _>>()?;
    notes.extend(network_notes(&members));
    Ok(Topology { mesh_id, members, file: file.to_owned(), notes })
}

/// Reads the `mesh_id` of `text`, the content of `file`, which may have no contexts yet.
///
/// # Errors
/// What is wrong with the file but for its contexts.
pub fn mesh_id(text: &str, file: &Path) -> Result<MeshId, Error> {
    mesh_id_of(&Document::read(text, file).map_err(duplicate_context)?, file)
}

fn mesh_id_of(document: &Document<'_>, file: &Path) -> Result<MeshId, Error> {
    let start = || Place::start(file);
    let entries = match &document.root.value {
        Value::Map(entries) => entries,
        Value::Null => return Err(Error::Empty { place: start() }),
        _ => {
            return Err(Error::WrongType {
                place: document.place(document.root.mark),
                key: String::new(),
                context: None,
                wanted: "a mapping",
                found: document.root.found(),
                hint: Some("start with `mesh_id: <name>` and `contexts:`".to_owned()),
            });
        }
    };
    known_keys(document, entries, keys::TOP, None)?;
    let Some(entry) = document.root.entry("mesh_id") else {
        return Err(Error::MissingMeshId { place: start() });
    };
    let missing = || Error::MissingMeshId { place: document.place(entry.mark) };
    if matches!(entry.node.value, Value::Null) {
        return Err(missing());
    }
    let fields = Fields { document, context: None, node: &document.root };
    fields.checked("mesh_id", MeshId::new)?.ok_or_else(missing)
}

/// A context that is written twice is told as such.
fn duplicate_context(error: YamlError) -> Error {
    match error {
        YamlError::Duplicate { place, first, key, path } if path == ["contexts"] => {
            Error::DuplicateContext { place, first, context: key }
        }
        other => other.into(),
    }
}

fn contexts_not_a_mapping(document: &Document<'_>, contexts: &Entry) -> Error {
    let example = match &contexts.node.value {
        Value::List(nodes) => nodes.iter().find_map(|node| match &node.value {
            Value::Text(text) => Some(text.as_str()),
            Value::Map(entries) => entries.iter().find_map(|entry| match &entry.node.value {
                Value::Text(text) if ["name", "context"].contains(&entry.key.as_str()) => {
                    Some(text.as_str())
                }
                _ => None,
            }),
            _ => None,
        }),
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    };
    Error::WrongType {
        place: document.place(contexts.mark),
        key: contexts.key.clone(),
        context: None,
        wanted: "a mapping from context names to their settings",
        found: contexts.node.found(),
        hint: Some(format!(
            "write `{}:` on a line of its own, without a dash, and its `network:` indented below",
            shortened(example.unwrap_or("context-east-1"))
        )),
    }
}

fn known_keys(
    document: &Document<'_>,
    entries: &[Entry],
    known: &'static [&'static str],
    context: Option<&str>,
) -> Result<(), Error> {
    let Some(entry) = entries.iter().find(|entry| !known.contains(&entry.key.as_str())) else {
        return Ok(());
    };
    Err(Error::UnknownKey {
        place: document.place(entry.mark),
        key: entry.key.clone(),
        context: context.map(str::to_owned),
        meant: meant(&entry.key, known),
        known,
    })
}

fn member(
    document: &Document<'_>,
    entry: &Entry,
    file: &Path,
    notes: &mut Vec<Note>,
) -> Result<Member, Error> {
    let place = document.place(entry.mark);
    let context = ContextName::new(entry.key.as_str())
        .map_err(|cause| Error::BadContextName { place: place.clone(), cause })?;
    let entries: &[Entry] = match &entry.node.value {
        Value::Map(entries) => entries,
        Value::Null => &[],
        value => {
            let hint = match value {
                Value::Text(text) => format!("write `network: {}` below it", shortened(text)),
                _ => "write its keys, such as `network: <name>`, indented below it".to_owned(),
            };
            return Err(Error::WrongType {
                place,
                key: entry.key.clone(),
                context: None,
                wanted: "a mapping of its settings",
                found: entry.node.found(),
                hint: Some(hint),
            });
        }
    };
    known_keys(document, entries, keys::CONTEXT, Some(&entry.key))?;

    let fields = Fields { document, context: Some(&entry.key), node: &entry.node };
    let proxy_url = fields.checked("proxy_url", |text| address::proxy_url(&text))?;
    let proxied = proxy_url.is_some();
    let control_plane =
        fields.checked("control_plane", |text| control_plane(&text))?.unwrap_or_default();
    let overlay = fields.path("overlay", file)?;
    if overlay.is_some() && control_plane == ControlPlane::Existing {
        return Err(fields.invalid(
            "overlay",
            "nothing would read it, as Istio is installed by somebody else here \
             (`control_plane: existing`)"
                .to_owned(),
            Some("take out one of the two keys".to_owned()),
        ));
    }
    Ok(Member {
        network: fields.checked("network", NetworkName::new)?.unwrap_or_default(),
        namespace: fields.checked("namespace", Namespace::new)?.unwrap_or_default(),
        reader: fields.checked("serviceAccountReader", AccountName::new)?.unwrap_or_default(),
        registry_join: !fields.boolean("disableRegistryJoin", notes)?.unwrap_or(false),
        cluster: fields.checked("cluster", ClusterName::new)?,
        server: fields.checked("server", |text| address::server_url(&text, proxied))?,
        tls_server_name: fields.checked("tls_server_name", |text| address::host(&text))?,
        proxy_url,
        ca: fields.path("ca", file)?,
        gateway: fields.checked("gateway", |text| address::gateway(&text))?,
        overlay,
        control_plane,
        places: keys::CONTEXT
            .iter()
            .filter_map(|key| Some((*key, document.place(entry.node.entry(key)?.mark))))
            .collect::<BTreeMap<_, _>>(),
        context,
        place,
    })
}

fn control_plane(text: &str) -> Result<ControlPlane, BadAddress> {
    match text {
        "managed" => Ok(ControlPlane::Managed),
        "existing" => Ok(ControlPlane::Existing),
        _ => Err(BadAddress {
            reason: format!("`{}` is neither `managed` nor `existing`", shortened(text)),
            hint: meant(text, &["managed", "existing"])
                .map(|word| format!("did you mean `{word}`?"))
                .or_else(|| Some("`existing` leaves Istio to whoever installed it".to_owned())),
        }),
    }
}

fn network_notes(members: &[Member]) -> Vec<Note> {
    let without: Vec<_> =
        members.iter().filter(|member| !member.places.contains_key("network")).collect();
    match without.as_slice() {
        [first, _, ..] if without.len() == members.len() => vec![Note {
            place: first.place.clone(),
            text: format!(
                "no context names a `network`: all are in `{DEFAULT_NETWORK}`, where pods must \
                 reach the pods of the other clusters directly"
            ),
        }],
        _ => without
            .iter()
            .map(|member| Note {
                place: member.place.clone(),
                text: format!(
                    "context `{}` names no `network`: it is in `{DEFAULT_NETWORK}`",
                    member.context
                ),
            })
            .collect(),
    }
}

/// Why a text is no value of its key.
trait Cause {
    fn tell(self) -> (String, Option<String>);
}

impl Cause for NameError {
    fn tell(self) -> (String, Option<String>) {
        (self.to_string(), None)
    }
}

impl Cause for BadAddress {
    fn tell(self) -> (String, Option<String>) {
        (self.reason, self.hint)
    }
}

/// The values of one mapping, told by key.
struct Fields<'a> {
    document: &'a Document<'a>,
    context: Option<&'a str>,
    node: &'a Node,
}

impl Fields<'_> {
    fn place(&self, key: &str) -> Place {
        let node = self.node.entry(key).map_or(self.node, |entry| &entry.node);
        self.document.place(node.mark)
    }

    fn invalid(&self, key: &'static str, reason: String, hint: Option<String>) -> Error {
        let context = self.context.map(str::to_owned);
        Error::Invalid { place: self.place(key), key, context, reason, hint }
    }

    fn wrong_type(&self, key: &str, wanted: &'static str, node: &Node, hint: String) -> Error {
        Error::WrongType {
            place: self.document.place(node.mark),
            key: key.to_owned(),
            context: self.context.map(str::to_owned),
            wanted,
            found: node.found(),
            hint: Some(hint),
        }
    }

    fn text(&self, key: &'static str) -> Result<Option<String>, Error> {
        let Some(entry) = self.node.entry(key) else {
            return Ok(None);
        };
        let hint = match &entry.node.value {
            Value::Text(text) => return Ok(Some(text.clone())),
            Value::Null => "write a value after the colon, or take the line out".to_owned(),
            Value::Bool(_) | Value::Number(_) => {
                let spelling = shortened(self.document.spelling(&entry.node));
                format!("write it in quotes: `{key}: \"{spelling}\"`")
            }
            Value::List(_) | Value::Map(_) => format!("write one value: `{key}: <value>`"),
        };
        Err(self.wrong_type(key, "text", &entry.node, hint))
    }

    fn checked<T, E: Cause>(
        &self,
        key: &'static str,
        check: impl FnOnce(String) -> Result<T, E>,
    ) -> Result<Option<T>, Error> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        check(text).map(Some).map_err(|cause| {
            let (reason, hint) = cause.tell();
            self.invalid(key, reason, hint)
        })
    }

    /// A file, relative to the directory of the topology.
    fn path(&self, key: &'static str, topology: &Path) -> Result<Option<PathBuf>, Error> {
        self.checked(key, |text| {
            let bad = |reason: &str, hint: &str| {
                Err(BadAddress { reason: reason.to_owned(), hint: Some(hint.to_owned()) })
            };
            if text.is_empty() {
                return bad("it is empty", "write the path of a file, or take the line out");
            }
            if text.contains("-----BEGIN") {
                return bad("it is no path", "write the certificates to a file and name it here");
            }
            if text.contains(char::is_control) {
                return bad("it is no path", "write the path of a file on one line");
            }
            if text.starts_with('~') {
                return bad(
                    "`~` means nothing outside a shell",
                    "write the whole path, or one relative to this file",
                );
            }
            Ok(topology.parent().unwrap_or(Path::new("")).join(text))
        })
    }

    fn boolean(&self, key: &'static str, notes: &mut Vec<Note>) -> Result<Option<bool>, Error> {
        let Some(entry) = self.node.entry(key) else {
            return Ok(None);
        };
        let Value::Bool(value) = entry.node.value else {
            let hint = format!("write `{key}: true` or `{key}: false`, without quotes");
            return Err(self.wrong_type(key, "`true` or `false`", &entry.node, hint));
        };
        let spelling = shortened(self.document.spelling(&entry.node));
        if spelling != value.to_string() {
            notes.push(Note {
                place: self.document.place(entry.node.mark),
                text: format!(
                    "`{key}: {spelling}` is read as `{value}`, as kubectl does; other readers of \
                     YAML do not: write `{value}`"
                ),
            });
        }
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests;
