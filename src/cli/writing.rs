//! The flags of the commands that write to clusters.

use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::global::{Global, duration, given};
use crate::engine::lease::Leases;
use crate::engine::local::{Local, Options};
use crate::error::Failure;
use crate::files::Lock;
use crate::ui::Ui;

/// The flag of every command that is about to write to clusters, or says what another one would.
#[derive(Debug, Args)]
pub(super) struct Accept {
    /// Go on although this context trusts another CA than at the last apply; with `=<uid>` after it,
    /// although it leads to another cluster, that one; repeat for several
    #[arg(long, value_name = "CONTEXT", value_parser = given,
          add = ArgValueCompleter::new(super::completion::choices::members))]
    accept_identity: Vec<String>,
}

impl Accept {
    /// The options of this command, with this flag.
    pub(super) fn options(&self, command: &'static str, options: Options) -> Options {
        Options { command, accept_identity: self.accept_identity.clone(), ..options }
    }
}

/// Flags of every command that writes to clusters.
#[derive(Debug, Args)]
pub(super) struct Writing {
    #[command(flatten)]
    accept: Accept,
    #[command(flatten)]
    lock: WaitLock,
}

/// The flag of every command that must be alone.
#[derive(Debug, Args)]
pub(super) struct WaitLock {
    /// How long to wait for another run to end, as in 5m [default: not at all]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait_lock: Option<Duration>,
}

impl WaitLock {
    /// The options with this flag.
    pub(super) fn options(&self, options: Options) -> Options {
        Options { wait_lock: self.wait_lock.unwrap_or_default(), ..options }
    }
}

impl Writing {
    /// The flags in the form that the engine takes, for this command.
    pub(super) fn options(&self, command: &'static str, global: &Global) -> Options {
        self.lock.options(self.accept.options(command, global.options()))
    }
}

/// Takes the lock of the mesh directory, and says who takes leases from then on. Waits on a thread of
/// its own, so that Ctrl-C ends the run meanwhile.
pub(super) async fn lock(
    ui: Ui,
    local: &Local,
    options: &Options,
    leases: &Leases,
) -> Result<Lock, Failure> {
    let (dir, command, limit) = (local.home.dir.clone(), options.command, options.wait_lock);
    let wait =
        move || Lock::wait(&dir, command, limit, |held| ui.line(&format!("waiting: {held}")));
    let lock = tokio::task::spawn_blocking(wait).await;
    let lock = lock.map_err(|error| Failure::new(format!("failed to wait: {error}")))??;
    leases.begin(&lock, local, options);
    Ok(lock)
}
