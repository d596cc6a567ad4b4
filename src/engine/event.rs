//! What a run tells while it goes on: typed events, which `ui` turns into lines or a live view.

use std::sync::Arc;

use crate::error::Failure;

/// Something that happened during a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The contexts of this run are known.
    Started {
        /// The contexts in the order of the topology.
        contexts: Vec<String>,
    },
    /// A cluster began something.
    Step {
        /// The kubeconfig context.
        context: String,
        /// What it does now, as in "installing istiod".
        what: String,
    },
    /// A cluster waits for something that is not there yet.
    Waiting {
        /// The kubeconfig context.
        context: String,
        /// What is missing, with the last reason known.
        what: String,
    },
    /// Something that the user should know.
    Note {
        /// The text.
        text: String,
    },
    /// A cluster is through.
    Finished {
        /// The kubeconfig context.
        context: String,
        /// What was done, as in "42 created".
        what: String,
    },
    /// A cluster is not done, for this reason.
    Failed {
        /// The kubeconfig context.
        context: String,
        /// Why, and what to do about it.
        failure: Failure,
    },
}

/// Where events go.
pub trait Sink: Send + Sync {
    /// Takes an event.
    fn emit(&self, event: Event);
}

/// The sink of a run, shared by its tasks.
pub type Events = Arc<dyn Sink>;
