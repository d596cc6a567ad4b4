//! `status`: each cluster of the mesh, and whether the mesh is healthy.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::Global;
use crate::engine::event::Events;
use crate::engine::local::Local;
use crate::engine::rename::follow_renames;
use crate::engine::status::{Verdict, status};
use crate::error::{Exit, Failure};
use crate::ui::progress::Progress;
use crate::ui::{self, Ui};

/// Arguments of `status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    kubectl multimesh status\n  \
    kubectl multimesh status -o wide --contexts '/east/'\n  \
    kubectl multimesh status -o json | jq '.findings[] | select(.level == \"problem\")'\n\n\
    Reads only, and may run beside an apply. A cluster that does not answer is a row of the answer.\n\
    Exit codes: 0 healthy, 1 failed, 4 not healthy, 130 interrupted.")]
pub(super) struct StatusArgs {
    /// How to print it: table, wide (with the matrix of links), json or yaml
    #[arg(short, long, value_enum, default_value_t = Output::Table, value_name = "FORMAT",
          hide_possible_values = true)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Wide,
    Json,
    Yaml,
}

/// Runs `status`.
pub(super) async fn run(ui: Ui, global: &Global, args: &StatusArgs) -> Result<Exit, Failure> {
    let options = global.options();
    let mut local = Local::load(&options)?;
    let progress = Progress::new(ui);
    let events: Events = Arc::clone(&progress) as Events;
    follow_renames(&mut local, &options, &events).await?;
    let status = status(&local, &options, &events).await;
    progress.finish();
    ui.data(&match args.output {
        Output::Table => ui::status::table(&status, false, ui.columns()),
        Output::Wide => ui::status::table(&status, true, None),
        Output::Json => ui::status::json(&status)?,
        Output::Yaml => ui::status::yaml(&status)?,
    });
    Ok(match status.verdict {
        Verdict::Healthy => Exit::Done,
        Verdict::Degraded => Exit::Unhealthy,
    })
}
