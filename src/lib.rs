//! One Istio mesh across many Kubernetes clusters, from one topology file.
//!
//! The rooms, with arrows pointing one way: `cli` -> `engine` -> `kube` -> the pure rooms
//! `topology`, `pki`, `istio` and `plan`, which know no network and no runtime. `ui` alone prints.

pub mod cli;
pub mod engine;
pub mod error;
pub mod files;
mod hex;
pub mod istio;
pub mod kube;
pub mod pki;
pub mod plan;
pub mod topology;
pub mod ui;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the tool with the given arguments, the program's name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Both rustls providers or none panic at the first handshake, so the one in use is named.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ExitCode::from(cli::run(args).code())
}
