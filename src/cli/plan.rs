//! `plan`: what an apply would do, without doing it.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::Global;
use super::help::Help;
use super::wishes::WishArgs;
use super::writing::Accept;
use crate::engine::connect::Purpose;
use crate::engine::event::Events;
use crate::engine::local::Local;
use crate::engine::prepare::prepare;
use crate::engine::rename::follow_renames;
use crate::error::{Exit, Failure};
use crate::plan::outline::{Outline, Standing};
use crate::ui::progress::Progress;
use crate::ui::{self, Ui};

/// The help of `plan`.
pub(super) const HELP: Help = Help {
    about: "Reads only, and may run beside an apply: the API servers try each change in a dry run, \
            where the user of a context may. Secrets are shown as short hashes.",
    examples: &[
        ("What would change, in short", "kubectl multimesh plan"),
        ("Each field, in one cluster", "kubectl multimesh plan -o diff --contexts context-west-1"),
        (
            "Long objects in full, to be read page by page",
            "kubectl multimesh plan -o diff --show-all | less",
        ),
        (
            "In a script: 2 where there is something to do",
            "kubectl multimesh plan --detailed-exitcode -o json",
        ),
    ],
    exits: &[
        (Exit::Done, "done"),
        (Exit::Failed, "failed, or an apply would be refused"),
        (Exit::Changes, "an apply would change something (with --detailed-exitcode)"),
        (Exit::Partial, "some clusters could not be looked at, or stopped answering"),
        (Exit::Usage, "wrong usage"),
        (Exit::Interrupted, "interrupted"),
    ],
};

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// How to print it: table, diff (each object's changes), json or yaml
    #[arg(short, long, value_enum, default_value_t = Output::Table, value_name = "FORMAT",
          hide_possible_values = true)]
    output: Output,
    /// With `-o diff`, print long objects that come or go in full, as `kubectl diff` does
    #[arg(long)]
    show_all: bool,
    /// End with 2 where an apply would change something
    #[arg(long)]
    detailed_exitcode: bool,
    #[command(flatten)]
    wishes: WishArgs,
    #[command(flatten)]
    accept: Accept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Diff,
    Json,
    Yaml,
}

/// Runs `plan`.
pub(super) async fn run(ui: Ui, global: &Global, args: &PlanArgs) -> Result<Exit, Failure> {
    let options = args.accept.options("plan", global.options());
    if args.show_all && args.output != Output::Diff {
        let same_run = options.same_run(options.choice.mesh.as_deref().unwrap_or_default());
        return Err(Failure::usage("`--show-all` is for the differences, and goes with `-o diff`")
            .hint(format!("`kubectl multimesh plan -o diff --show-all{same_run}`")));
    }
    let mut local = Local::load(&options)?;
    args.wishes.forget(&mut local)?;
    let wishes = args.wishes.wishes();
    let progress = Progress::new(ui);
    let events: Events = Arc::clone(&progress) as Events;
    let looked = async {
        follow_renames(&mut local, &options, &events).await?;
        let prepared = prepare(&local, &options, &wishes, Purpose::Look, &events).await?;
        let mut outline = prepared.outline(&local, &wishes);
        prepared.validate(&mut outline, &options, &wishes, &events).await;
        let same_run = options.same_run(local.topology.mesh_id.as_ref());
        let foreign = prepared.check_foreign(&wishes, &same_run).err();
        Ok::<_, Failure>((outline, foreign))
    };
    let looked = looked.await;
    progress.finish();
    let (outline, foreign) = looked?;
    ui.data(&match args.output {
        Output::Table => ui::plan::table(&outline),
        Output::Diff if args.show_all => ui::plan::whole_diff(&outline),
        Output::Diff => ui::plan::diff(&outline),
        Output::Json => ui::plan::json(&outline)?,
        Output::Yaml => ui::plan::yaml(&outline)?,
    });
    // What an apply would refuse is told as the apply would tell it.
    if let Some(failure) = foreign {
        return Err(failure);
    }
    Ok(exit(&outline, args.detailed_exitcode))
}

fn exit(outline: &Outline, detailed: bool) -> Exit {
    let unknown = |standing: &Standing| matches!(standing, Standing::Unknown { .. });
    let refused = |standing: &Standing| match standing {
        Standing::Member(changes) => changes.objects.iter().any(|o| o.refusal.is_some()),
        _ => false,
    };
    let nothing_known = outline.clusters.iter().all(|cluster| unknown(&cluster.standing));
    if nothing_known || outline.clusters.iter().any(|cluster| refused(&cluster.standing)) {
        Exit::Failed
    } else if outline.clusters.iter().any(|cluster| unknown(&cluster.standing)) {
        Exit::Partial
    } else if detailed && !outline.is_nothing() {
        Exit::Changes
    } else {
        Exit::Done
    }
}
