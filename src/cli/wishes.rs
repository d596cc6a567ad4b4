//! The flags by which `plan` and `apply` mean the same thing.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use crate::engine::local::Local;
use crate::engine::prepare::Wishes;
use crate::error::Failure;

/// Flags that say what is wanted.
#[derive(Debug, Args)]
pub(super) struct WishArgs {
    /// Take over objects and fields that somebody else manages
    #[arg(long)]
    force_conflicts: bool,
    /// The organisation of the root CA, if it has to be made [env: ORG_NAME]
    #[arg(long, env = "ORG_NAME", hide_env = true, value_name = "NAME",
          value_parser = super::global::given)]
    org: Option<String>,
    /// Leave the control planes standing of contexts that were deleted from the topology
    #[arg(long)]
    keep_control_plane: bool,
    /// Give up a context that was deleted from the topology: what is there stays; repeat or separate by commas
    #[arg(long, value_name = "CONTEXT", value_delimiter = ',',
          add = ArgValueCompleter::new(super::completion::choices::leavers))]
    forget: Vec<String>,
    /// Let a cluster get another name than it has: new links, and restarts of its istiod and of all pods with a sidecar there
    #[arg(long)]
    allow_cluster_rename: bool,
}

impl WishArgs {
    /// The flags in the form that the engine takes.
    pub(super) fn wishes(&self) -> Wishes {
        Wishes {
            organization: self.org.clone(),
            force: self.force_conflicts,
            rename: self.allow_cluster_rename,
            keep_control_plane: self.keep_control_plane,
            ..Wishes::default()
        }
    }

    /// Strikes off the record what is given up.
    pub(super) fn forget(&self, local: &mut Local) -> Result<(), Failure> {
        local.forget(&self.forget)
    }
}
