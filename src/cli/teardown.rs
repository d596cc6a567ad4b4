//! teardown
use super::Global;
use crate::error::{Exit, Failure};
use crate::ui::Ui;
use clap::Args;
/// Args.
#[derive(Debug, Args)]
pub(super) struct TeardownArgs {}
/// Runs.
pub(super) async fn run(_: Ui, _: &Global, _: &TeardownArgs) -> Result<Exit, Failure> {
    Ok(Exit::Done)
}
