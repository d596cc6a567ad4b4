//! What is particular to Istio: its objects, its values, its versions.

pub mod base;
