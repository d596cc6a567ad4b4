//! Desired state against live state: what an apply has to write and what a teardown has to delete,
//! computed without a network.

pub mod change;
pub mod compare;
pub mod contents;
pub mod desired;
pub mod lease;
pub mod leftover;
pub mod object;
pub mod order;
pub mod outline;
pub mod removal;
