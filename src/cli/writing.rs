//! The flags of the commands that write to clusters.

use std::time::Duration;

use clap::Args;

use super::global::{Global, duration, given};
use crate::engine::local::Options;

/// Flags of every command that writes to clusters.
#[derive(Debug, Args)]
pub(super) struct Writing {
    /// Go on although this context leads to another cluster, or trusts another CA, than at the last
    /// apply; repeat for several
    #[arg(long, value_name = "CONTEXT", value_parser = given)]
    accept_identity: Vec<String>,
    /// How long to wait for another run to end, here or on another machine, as in 5m [default: not
    /// at all]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait_lock: Option<Duration>,
}

impl Writing {
    /// The flags in the form that the engine takes, for this command.
    pub(super) fn options(&self, command: &'static str, global: &Global) -> Options {
        Options {
            command,
            accept_identity: self.accept_identity.clone(),
            wait_lock: self.wait_lock.unwrap_or_default(),
            ..global.options()
        }
    }
}
