//! Effects towards API servers: reading the kubeconfig, building clients, and every call that the
//! plugin makes to a cluster.
//!
//! [`kubeconfig::Kubeconfig`] is loaded once; [`kubeconfig::Kubeconfig::connect`] turns a context
//! into a [`cluster::Cluster`], the cheap handle through which all calls go. Objects are complete
//! Kubernetes objects as [`serde_json::Value`]. Each call is retried where that is safe, bounded by
//! a deadline, may be dropped at any await point, and fails with an [`error::Error`].
//!
//! The process needs a default rustls `CryptoProvider` (ring) before the first `connect`.

pub mod cluster;
pub mod connect;
mod context;
mod credential;
pub mod error;
mod exec;
mod inventory;
pub mod kubeconfig;
mod line;
mod objects;
mod proxy;
pub mod resources;
mod retry;
pub mod rights;
mod transport;

pub use cluster::{Cluster, KubernetesVersion};
pub use connect::ConnectOptions;
pub use context::Context;
pub(crate) use context::{quote, without};
pub use error::Error;
pub use inventory::Inventory;
pub use kubeconfig::{ContextEntry, Kubeconfig};
pub use objects::{Apply, Deletion, Propagation};
pub use proxy::ProxyVariables;
pub use resources::ResourceId;
pub use rights::Access;

pub use crate::plan::object::FIELD_MANAGER;
