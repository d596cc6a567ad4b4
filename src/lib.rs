//! One Istio mesh across many Kubernetes clusters, from one topology file.

pub mod files;
pub mod kube;
pub mod pki;
