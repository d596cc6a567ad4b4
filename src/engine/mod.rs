//! The flows of the commands over the whole fleet of clusters.

pub mod apply;
pub mod check;
pub mod connect;
mod countdown;
pub mod event;
mod fleet;
pub mod home;
mod identity;
pub mod init;
pub mod istioctl;
pub mod lease;
pub mod leave;
mod links;
pub mod local;
mod observe;
mod outdir;
mod outline;
mod policy;
pub mod prepare;
pub mod rename;
pub mod render;
mod rollout;
pub mod state;
pub mod status;
pub mod teardown;
mod trust;
mod wait;
