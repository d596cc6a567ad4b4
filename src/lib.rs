//! x
pub mod kube;
