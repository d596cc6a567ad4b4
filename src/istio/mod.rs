//! Istio as istioctl and istiod know it: base operators, values, manifests, remote secrets, versions.

pub mod base;
pub mod istiod;
pub mod manifest;
pub mod operator;
pub mod remote_secret;
pub mod version;
