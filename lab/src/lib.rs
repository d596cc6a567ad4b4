//! Real Kubernetes clusters on one Linux machine, for the tests and the demo of
//! kubectl-multimesh.
//!
//! A lab is a network and mount namespace with a bridge. Each of its clusters has an API server
//! with controllers and a scheduler, and, unless it is a control plane only, a node that runs
//! pods. Clusters 1 and 2 are on `network-east`, cluster 3 is on `network-west`, and pods of the
//! one network do not reach pods of the other.
//!
//! This is what a lab touches outside its namespaces:
//!
//! - Debian packages that a node is made of are installed if they are missing, and stay.
//! - The kernel's module `br_netfilter` is loaded, and stays.
//! - The limit of inotify instances is raised, and kubelets set `vm.overcommit_memory`,
//!   `kernel.panic` and the like; the last lab that ends restores them from `/run/multimesh-lab`.
//! - Nodes have control groups `multimesh-NAME-*`; `down` removes them.
//! - Files are kept in the lab's home, by default `~/.cache/multimesh-lab`: `down` removes those
//!   of the lab but for an empty lock file, and leaves the built programs. Go and pip fill their
//!   own caches.
//!
//! ```no_run
//! use multimesh_lab::{Lab, Options};
//!
//! let lab = Lab::up(&Options::default(), &mut |line| eprintln!("{line}"))?;
//! let nodes = lab.kubectl(&lab.cluster(1)?, &["get", "nodes"], None)?;
//! lab.down()?;
//! # Ok::<(), multimesh_lab::Error>(())
//! ```

mod balancer;
mod cgroup;
mod cluster;
mod command;
mod controlplane;
mod down;
mod echo;
mod error;
#[cfg(feature = "faults")]
pub mod faults;
mod home;
mod images;
mod kubeconfig;
mod lab;
mod namespace;
mod network;
mod node;
mod oci;
mod packages;
mod parallel;
mod pins;
mod pki;
mod process;
pub mod programs;
mod requirements;
mod state;
mod status;
mod sysctl;
mod template;
mod up;

pub use balancer::{LoadBalancer, serve as serve_load_balancers};
pub use cluster::Cluster;
pub use down::down;
pub use echo::{ECHO_URL, Reply};
pub use error::{Error, Result};
pub use lab::Lab;
pub use requirements::{Missing, requirements};
pub use status::Status;
pub use up::Options;

/// An `IstioOperator` for meshes in the lab, as `base.yaml` of kubectl-multimesh: its Envoy is the
/// upstream one, for which some features of Istio have to be off.
pub const MESH_BASE: &str = include_str!("../templates/mesh-base.yaml");
