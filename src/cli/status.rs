//! status
use super::Global;
use crate::error::{Exit, Failure};
use crate::ui::Ui;
use clap::Args;
/// Args.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {}
/// Runs.
pub(super) async fn run(_: Ui, _: &Global, _: &StatusArgs) -> Result<Exit, Failure> {
    Ok(Exit::Done)
}
