//! `status`: each cluster of the mesh as it is, and whether the mesh is healthy.
use super::apply::Outcome;
use super::event::Events;
use super::local::{Local, Options};

/// A mesh as it was found.
#[derive(Debug)]
pub struct MeshStatus;

impl MeshStatus {
    /// The facts for the last screen of an apply.
    pub fn facts(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Reads the mesh back after an apply.
pub async fn settled(_: &Local, _: &Options, _: &Outcome, _: &Events) -> MeshStatus {
    MeshStatus
}
