//! Desired state against live state: what an apply has to write, computed without a network.

pub mod change;
pub mod compare;
pub mod desired;
pub mod object;
pub mod order;
