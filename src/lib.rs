//! x

pub mod istio;
pub mod topology;
