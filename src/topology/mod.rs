//! The mesh as its owner describes it: `topology.yaml`, its names and its checks.
//!
//! This room is pure: it knows text and values, no cluster and no file system.

mod address;
mod error;
mod keys;
mod label;
mod model;
mod names;
mod parse;
mod propose;
mod select;
mod source;
pub(crate) mod yaml;

pub use error::Error;
pub(crate) use label::shortened;
pub use label::{
    AccountName, ClusterName, ContextName, DEFAULT_NAMESPACE, DEFAULT_NETWORK, DEFAULT_READER,
    MAX_LABEL, MeshId, NameError, NameRule, Namespace, NetworkName,
};
pub use model::{ControlPlane, GATEWAY_PORT, GatewayAddress, GatewayHost, Member, Topology};
pub use names::{derive, resolve};
pub use parse::{mesh_id, parse};
pub use propose::{Candidate, base_text, topology_text};
pub use select::{Selector, select};
pub use source::{Note, Place};
pub use yaml::YamlError;
