//! init
use super::Global;
use crate::error::{Exit, Failure};
use crate::ui::Ui;
use clap::Args;
/// Args.
#[derive(Debug, Args)]
pub(super) struct InitArgs {}
/// Runs.
pub(super) fn run(_: Ui, _: &Global, _: &InitArgs) -> Result<Exit, Failure> {
    Ok(Exit::Done)
}
