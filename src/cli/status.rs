//! `status`: each cluster of the mesh, and whether the mesh is healthy.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::Global;
use super::help::Help;
use crate::engine::event::Events;
use crate::engine::local::Local;
use crate::engine::rename::follow_renames;
use crate::engine::status::{Verdict, status};
use crate::error::{Exit, Failure};
use crate::ui::progress::Progress;
use crate::ui::{self, Ui};

/// The help of `status`.
pub(super) const HELP: Help = Help {
    about: "Reads only, and may run beside an apply. A cluster that does not answer is a row of the \
            answer.",
    examples: &[
        ("A line for each cluster, and what is wrong", "kubectl multimesh status"),
        (
            "Some clusters, with each link between them",
            "kubectl multimesh status -o wide --contexts '/east/'",
        ),
        (
            "What is wrong, a line each, for a script",
            "kubectl multimesh status -o json | jq -r '.findings[].message'",
        ),
    ],
    exits: &[
        (Exit::Done, "healthy"),
        (Exit::Failed, "failed"),
        (Exit::Unhealthy, "not healthy"),
        (Exit::Usage, "wrong usage"),
        (Exit::Interrupted, "interrupted"),
    ],
};

/// Arguments of `status`.
#[derive(Debug, Args)]
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
