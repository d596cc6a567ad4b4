//! Reading `base.yaml` and the overlays: what the user wants `istioctl` to install.
//!
//! Both are an `IstioOperator`. The `IstioControlPlane` of Istio 1.4 is converted, values that
//! Istio no longer has are dropped with a note, and values that belong to the topology are refused.

use std::fmt;
use std::path::Path;

use crate::topology::yaml::{Document, Entry, Node, Value, YamlError};
use crate::topology::{Note, Place, shortened};

mod legacy;
mod owned;

pub use owned::OwnedValue;

/// The API version of [`KIND`], the only one since Istio 1.5.
pub const API_VERSION: &str = "install.istio.io/v1alpha1";
/// The kind of object that `istioctl` reads.
pub const KIND: &str = "IstioOperator";

/// The keys of an `IstioOperator` (`operator/pkg/apis/types.go` of Istio).
const KEYS: &[&str] = &["apiVersion", "kind", "metadata", "spec"];

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `base.yaml`, which holds for every cluster.
    Base,
    /// The `overlay` of one context.
    Overlay,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Base => "base",
            Self::Overlay => "overlay",
        })
    }
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// The `IstioOperator`, always with `apiVersion`, `kind` and a mapping as `spec`.
    pub operator: serde_json::Value,
    /// What was converted or dropped, in the order of the file.
    pub notes: Vec<Note>,
}

impl Base {
    /// The operator of a user who wants nothing in particular.
    pub fn empty() -> Self {
        let operator = serde_json::json!({ "apiVersion": API_VERSION, "kind": KIND, "spec": {} });
        Self { operator, notes: Vec::new() }
    }
}

/// Why a file cannot be used as base or overlay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file is not YAML, or a key is in it twice.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// The file holds nothing but comments.
    #[error("{place}: the {role} is empty")]
    Empty {
        /// The start of the file.
        place: Place,
        /// What the file is for.
        role: Role,
    },
    /// A value that must be something else.
    #[error("{place}: {key} must be {wanted}, it is {found}")]
    WrongType {
        /// Its place.
        place: Place,
        /// What it is the value of: a key in backticks, or the file.
        key: String,
        /// The kind of value that is needed.
        wanted: &'static str,
        /// The kind of value that is there.
        found: &'static str,
    },
    /// Another kind of object.
    #[error("{place}: the {role} must be an `{KIND}` of `{API_VERSION}`, it is {found}")]
    WrongKind {
        /// The place of its kind.
        place: Place,
        /// What the file is for.
        role: Role,
        /// What it is.
        found: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// A key beside `spec` that an `IstioOperator` does not have.
    #[error("{place}: an `{KIND}` has no key `{}`", shortened(key))]
    UnknownKey {
        /// Its place.
        place: Place,
        /// The key.
        key: String,
    },
    /// Values that the topology decides; all that are in the file.
    #[error("{}", owned::listed(values, *role))]
    Owned {
        /// The values, in the order of the file; never empty.
        values: Vec<OwnedValue>,
        /// What the file is for.
        role: Role,
    },
}

impl Error {
    /// Where the fault is, or the first of them.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Yaml(error) => error.place(),
            Self::Empty { place, .. }
            | Self::WrongType { place, .. }
            | Self::WrongKind { place, .. }
            | Self::UnknownKey { place, .. } => Some(place),
            Self::Owned { values, .. } => values.first().map(|value| &value.place),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Yaml(error) => return error.hint(),
            Self::Empty { .. } => {
                format!("start it with `apiVersion: {API_VERSION}`, `kind: {KIND}` and `spec:`")
            }
            Self::WrongType { .. } => return None,
            Self::WrongKind { hint, .. } => (*hint).to_owned(),
            Self::UnknownKey { key, .. } => {
                format!(
                    "if `{}` belongs to the installation, indent it below `spec:`",
                    shortened(key)
                )
            }
            Self::Owned { values, .. } => {
                let mut lines: Vec<_> =
                    values.iter().map(|value| value.place.line.to_string()).collect();
                lines.dedup();
                let noun = if lines.len() == 1 { "line" } else { "lines" };
                format!("take out {noun} {}, and say it in topology.yaml", lines.join(", "))
            }
        })
    }
}

/// Reads `text`, the content of `file`.
pub fn read(text: &str, file: &Path, role: Role) -> Result<Base, Error> {
    let document = Document::read(text, file)?;
    let mut root = document.root.clone();
    match root.value {
        Value::Map(_) => {}
        Value::Null => {
            return Err(Error::Empty { place: Place::start(file), role });
        }
        _ => {
            return Err(Error::WrongType {
                place: document.place(root.mark),
                key: "the file".to_owned(),
                wanted: "a mapping",
                found: root.found(),
            });
        }
    }
    let old = kind(&document, role)?;
    if let Value::Map(entries) = &root.value
        && let Some(entry) = entries
            .iter()
            .find(|entry| !KEYS.contains(&entry.key.as_str()) && entry.key != "status")
    {
        return Err(Error::UnknownKey {
            place: document.place(entry.mark),
            key: entry.key.clone(),
        });
    }
    for path in [&["spec"][..], &["metadata"], &["spec", "values"], &["spec", "unvalidatedValues"]]
    {
        mapping(&document, path)?;
    }
    let owned = owned::find_all(&document);
    if !owned.is_empty() {
        return Err(Error::Owned { values: owned, role });
    }

    let mut notes = Vec::new();
    if let Some(kind) = old {
        notes.push((
            kind.mark,
            format!("`IstioControlPlane` is of Istio 1.4: it is read as an `{KIND}`"),
        ));
        legacy::convert(&mut root, &mut notes);
    }
    legacy::drop_dead(&mut root, &mut notes);
    notes.sort_by_key(|(mark, _)| (mark.line, mark.column));
    let notes =
        notes.into_iter().map(|(mark, text)| Note { place: document.place(mark), text }).collect();

    let mut operator = root.to_json();
    if let Some(object) = operator.as_object_mut() {
        object.insert("apiVersion".to_owned(), API_VERSION.into());
        object.insert("kind".to_owned(), KIND.into());
        if object.get("spec").is_none_or(serde_json::Value::is_null) {
            object.insert("spec".to_owned(), serde_json::json!({}));
        }
        object.retain(|_, value| !value.is_null());
    }
    Ok(Base { operator, notes })
}

/// Checks `apiVersion` and `kind`; gives the entry of an old `kind` that is to be converted.
fn kind<'d>(document: &'d Document<'_>, role: Role) -> Result<Option<&'d Entry>, Error> {
    let root = &document.root;
    let told = |key| match root.entry(key).map(|entry| &entry.node.value) {
        Some(Value::Text(text)) => text.as_str(),
        _ => "",
    };
    let (version, name) = (told("apiVersion"), told("kind"));
    match (version, name) {
        (API_VERSION, KIND) => return Ok(None),
        (legacy::API_VERSION, legacy::KIND) => return Ok(root.entry("kind")),
        _ => {}
    }
    let entry = root.entry("kind").or_else(|| root.entry("apiVersion"));
    let found = match (version, name) {
        ("", "") => "an object without `apiVersion` and `kind`".to_owned(),
        ("", name) => format!("`{}` without `apiVersion`", shortened(name)),
        (version, "") => format!("an object of `{}` without `kind`", shortened(version)),
        (version, name) => format!("`{}` of `{}`", shortened(name), shortened(version)),
    };
    let hint = if version.starts_with("sailoperator.io/") {
        "an Istio of the Sail operator stays its own: write `control_plane: existing` for such \
         contexts in topology.yaml"
    } else if ["global", "pilot", "meshConfig", "gateways"]
        .iter()
        .any(|key| root.entry(key).is_some())
    {
        "these look like values of a Helm chart: put them below `spec.values` of an IstioOperator"
    } else if root.entry("mesh_id").is_some() || root.entry("contexts").is_some() {
        "this looks like a topology: give it with `-f`"
    } else {
        "write `apiVersion: install.istio.io/v1alpha1` and `kind: IstioOperator`"
    };
    Err(Error::WrongKind {
        place: entry
            .map_or_else(|| document.place(root.mark), |entry| document.place(entry.node.mark)),
        role,
        found,
        hint,
    })
}

/// Checks that the value of `path`, if there is one, is a mapping.
fn mapping(document: &Document<'_>, path: &[&str]) -> Result<(), Error> {
    let Some(entry) = find(&document.root, path) else {
        return Ok(());
    };
    match entry.node.value {
        Value::Map(_) | Value::Null => Ok(()),
        _ => Err(Error::WrongType {
            place: document.place(entry.node.mark),
            key: format!("`{}`", path.join(".")),
            wanted: "a mapping",
            found: entry.node.found(),
        }),
    }
}

/// The entry that the keys of `path` lead to.
fn find<'n>(node: &'n Node, path: &[&str]) -> Option<&'n Entry> {
    let (last, parents) = path.split_last()?;
    let parent = parents.iter().try_fold(node, |node, key| Some(&node.entry(key)?.node))?;
    parent.entry(last)
}

#[cfg(test)]
mod tests;
