//! Everything that can be wrong with a topology.

use super::label::{ClusterName, ContextName, NameError, shortened};
use super::source::Place;
use super::yaml::YamlError;

/// What is wrong with a topology, its names, or a choice of its contexts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file is not YAML, or a key is in it twice.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// The file holds nothing but comments.
    #[error("{place}: the file is empty")]
    Empty {
        /// The start of the file.
        place: Place,
    },
    /// A key that means nothing.
    #[error("{place}: unknown key `{}`{}", shortened(key), in_context(context.as_deref()))]
    UnknownKey {
        /// The key's place.
        place: Place,
        /// The key.
        key: String,
        /// The context whose key it is; none for a key of the file.
        context: Option<String>,
        /// The key that was probably meant.
        meant: Option<&'static str>,
        /// The keys there are.
        known: &'static [&'static str],
    },
    /// A context that is listed twice.
    #[error("{place}: context `{}` is listed twice, first in line {}", shortened(context), first.line)]
    DuplicateContext {
        /// The second place.
        place: Place,
        /// The first place.
        first: Place,
        /// The context.
        context: String,
    },
    /// `mesh_id` is missing or has no value.
    #[error("{place}: `mesh_id` is missing")]
    MissingMeshId {
        /// The start of the file, or the key without a value.
        place: Place,
    },
    /// There is no context.
    #[error("{place}: the mesh has no contexts")]
    NoContexts {
        /// The key `contexts`, or the start of the file.
        place: Place,
    },
    /// A value of another kind than the key needs.
    #[error("{place}: {}{} must be {wanted}, it is {found}", subject(key), in_context(context.as_deref()))]
    WrongType {
        /// The value's place.
        place: Place,
        /// The key; empty for the file as a whole.
        key: String,
        /// The context whose key it is.
        context: Option<String>,
        /// The kind of value that is needed.
        wanted: &'static str,
        /// The kind of value that is there.
        found: &'static str,
        /// What to write instead.
        hint: Option<String>,
    },
    /// A text that cannot be the value of its key.
    #[error("{place}: `{key}`{}: {reason}", in_context(context.as_deref()))]
    Invalid {
        /// The value's place.
        place: Place,
        /// The key.
        key: &'static str,
        /// The context whose key it is.
        context: Option<String>,
        /// What is wrong with it.
        reason: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// A text that cannot be a context.
    #[error("{place}: {cause}")]
    BadContextName {
        /// Its place.
        place: Place,
        /// The rule that it breaks.
        cause: NameError,
    },
    /// Two contexts whose clusters would have one name.
    #[error("{place}: `{context}` and `{other}` have the same cluster name `{cluster}`{}", also(other_place.as_ref()))]
    ClusterNameTaken {
        /// Where the second one gets its name.
        place: Place,
        /// Where the first one gets its name, if a file says so.
        other_place: Option<Place>,
        /// The second context.
        context: ContextName,
        /// The first context.
        other: ContextName,
        /// The name.
        cluster: ClusterName,
    },
    /// A selector that is not well formed.
    #[error("`{}` selects nothing: {reason}", shortened(selector))]
    BadSelector {
        /// The selector.
        selector: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A selector that matches none of the contexts.
    #[error("`{}` matches no context", shortened(selector))]
    NoMatch {
        /// The selector.
        selector: String,
        /// The contexts there are.
        contexts: Vec<ContextName>,
        /// The context that was probably meant.
        meant: Option<ContextName>,
    },
    /// Selectors that, taken together, leave no context.
    #[error("{} leave no context", quoted(selectors))]
    NothingSelected {
        /// The selectors.
        selectors: Vec<String>,
        /// The contexts there are.
        contexts: Vec<ContextName>,
    },
}

fn in_context(context: Option<&str>) -> String {
    context.map_or_else(String::new, |context| format!(" in context `{}`", shortened(context)))
}

fn subject(key: &str) -> String {
    if key.is_empty() { "the file".to_owned() } else { format!("`{}`", shortened(key)) }
}

fn also(other: Option<&Place>) -> String {
    other.map_or_else(String::new, |place| format!(", the other one in line {}", place.line))
}

/// The words in backticks, with commas between them.
fn quoted<T: AsRef<str>>(words: &[T]) -> String {
    words
        .iter()
        .map(|word| format!("`{}`", shortened(word.as_ref())))
        .collect::<Vec<_>>()
        .join(", ")
}

impl Error {
    /// Where in the topology file the fault is; none for faults of the command line.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Yaml(error) => error.place(),
            Self::Empty { place }
            | Self::UnknownKey { place, .. }
            | Self::DuplicateContext { place, .. }
            | Self::MissingMeshId { place }
            | Self::NoContexts { place }
            | Self::WrongType { place, .. }
            | Self::Invalid { place, .. }
            | Self::BadContextName { place, .. }
            | Self::ClusterNameTaken { place, .. } => Some(place),
            Self::BadSelector { .. } | Self::NoMatch { .. } | Self::NothingSelected { .. } => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Yaml(error) => error.hint(),
            Self::Empty { .. } => Some("it needs `mesh_id: <name>` and `contexts:`".to_owned()),
            Self::UnknownKey { meant: Some(key), .. } => Some(format!("did you mean `{key}`?")),
            Self::UnknownKey { key, context: None, .. } if key == "apiVersion" || key == "kind" => {
                Some(
                    "a topology is no Kubernetes object: it holds `mesh_id` and `contexts`, and \
                     an IstioOperator belongs in base.yaml"
                        .to_owned(),
                )
            }
            Self::UnknownKey { known, .. } => Some(format!("the keys here are {}", quoted(known))),
            Self::DuplicateContext { place, first, .. } => {
                Some(format!("keep one of the lines {} and {}", first.line, place.line))
            }
            Self::MissingMeshId { .. } => {
                Some("add a line such as `mesh_id: my-mesh` at the top".to_owned())
            }
            Self::NoContexts { .. } => Some(
                "un-comment an entry or add one: a kubeconfig context with its `network:` below it"
                    .to_owned(),
            ),
            Self::WrongType { hint, .. } | Self::Invalid { hint, .. } => hint.clone(),
            Self::BadContextName { .. } => None,
            Self::ClusterNameTaken { context, .. } => {
                Some(format!("give `{context}` another name with `cluster:`"))
            }
            Self::BadSelector { .. } => Some(
                "a selector is a context, `/regex/`, or either of them after `^` to leave it out"
                    .to_owned(),
            ),
            Self::NoMatch { meant: Some(context), .. } => {
                Some(format!("did you mean `{context}`?"))
            }
            Self::NoMatch { contexts, .. } | Self::NothingSelected { contexts, .. } => {
                Some(format!("the contexts are {}", quoted(contexts)))
            }
        }
    }
}
