//! Desired state against live state: what an apply has to write and what a teardown has to delete,
//! computed without a network.

pub mod change;
pub mod compare;
pub mod contents;
pub mod desired;
pub mod diff;
pub mod document;
pub mod folder;
pub mod lease;
pub mod leftover;
mod noise;
pub mod object;
pub mod order;
pub mod outline;
mod overlay;
pub mod prune;
pub mod redact;
pub mod removal;
pub mod tally;
pub mod text;
