//! One Istio mesh across many Kubernetes clusters, from one topology file.

pub mod files;
pub mod istio;
pub mod kube;
pub mod pki;
pub mod topology;
