//! `version`: the tool, istioctl and the clusters.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::Global;
use super::help::Help;
use crate::engine::event::Events;
use crate::engine::versions::versions;
use crate::error::{Exit, Failure};
use crate::ui::progress::Progress;
use crate::ui::{self, Ui};

/// The help of `version`.
pub(super) const HELP: Help = Help {
    about: "Reads only. Asks no cluster, unless `--contexts` selects some: of the topology, or of the \
            kubeconfig where there is no mesh yet. `/./` selects all. A cluster that does not answer is \
            a row of the answer.",
    examples: &[
        ("The tool and its istioctl", "kubectl multimesh version"),
        ("Each cluster too, and what is supported", "kubectl multimesh version --contexts '/./'"),
        ("For a script", "kubectl multimesh version --contexts '/./' -o json | jq .clusters"),
    ],
    exits: &[
        (Exit::Done, "done"),
        (Exit::Failed, "failed"),
        (Exit::Partial, "some clusters did not answer"),
        (Exit::Usage, "wrong usage"),
        (Exit::Interrupted, "interrupted"),
    ],
};

/// Arguments of `version`.
#[derive(Debug, Args)]
pub(super) struct VersionArgs {
    /// How to print it: table, json or yaml
    #[arg(short, long, value_enum, default_value_t = Output::Table, value_name = "FORMAT",
          hide_possible_values = true)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
    Yaml,
}

/// Runs `version`.
pub(super) async fn run(ui: Ui, global: &Global, args: &VersionArgs) -> Result<Exit, Failure> {
    let progress = Progress::new(ui);
    let events: Events = Arc::clone(&progress) as Events;
    let versions = versions(&global.options(), &events).await;
    progress.finish();
    let versions = versions?;
    ui.data(&match args.output {
        Output::Table => ui::versions::table(&versions),
        Output::Json => ui::document::json("the versions", &versions)?,
        Output::Yaml => ui::document::yaml("the versions", &versions)?,
    });
    let answered = versions.clusters.iter().all(|cluster| cluster.state.answered());
    Ok(if answered { Exit::Done } else { Exit::Partial })
}
