//! `apply`: make the clusters of the topology one mesh.

use std::sync::Arc;

use clap::Args;

use super::Global;
use super::writing::{self, Writing};
use crate::engine::apply::{Outcome, Wishes, apply};
use crate::engine::event::Events;
use crate::engine::lease::Leases;
use crate::engine::local::Local;
use crate::engine::status;
use crate::error::{Exit, Failure};
use crate::ui::progress::Progress;
use crate::ui::{Tone, Ui, count};

/// Arguments of `apply`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    kubectl multimesh apply\n  \
    kubectl multimesh apply -f topology.yaml --contexts '^context-west-1'\n\n\
    Writes to the clusters of the topology, in the namespace of the control plane, and to the mesh \
    directory.\n\
    Exit codes: 0 done, 1 failed, 3 some clusters done and some not, 4 done but the mesh is not \
    healthy yet, 130 interrupted.")]
pub(super) struct ApplyArgs {
    /// Wait until istiod, gateways and links are ready
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    wait: bool,
    /// Take over objects and fields that somebody else manages
    #[arg(long)]
    force_conflicts: bool,
    /// The organisation of the root CA, if it has to be made [env: ORG_NAME]
    #[arg(long, env = "ORG_NAME", hide_env = true, value_name = "NAME",
          value_parser = super::global::given)]
    org: Option<String>,
    #[command(flatten)]
    writing: Writing,
}

/// Runs `apply`.
pub(super) async fn run(
    ui: Ui,
    global: &Global,
    args: &ApplyArgs,
    leases: Leases,
) -> Result<Exit, Failure> {
    let options = args.writing.options("apply", global);
    // What is wrong in the files is told before the lock leaves a trace.
    let local = Local::load(&options)?;
    local.check()?;
    let _lock = writing::lock(ui, &local, &options, &leases).await?;
    let mut local = Local::load(&options)?;
    let wishes =
        Wishes { organization: args.org.clone(), wait: args.wait, force: args.force_conflicts };
    let progress = Progress::new(ui);
    let events: Events = Arc::clone(&progress) as Events;
    let outcome = apply(&mut local, &options, &wishes, &leases, &events).await;
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(failure) => {
            progress.finish();
            return Err(failure);
        }
    };
    let report = if args.wait && outcome.done() > 0 {
        Some(status::settled(&local, &options, &outcome, &events).await)
    } else {
        None
    };
    progress.finish();
    let same_run = options.same_run(local.topology.mesh_id.as_ref());
    Ok(last_screen(ui, &local, &outcome, report.as_ref(), &same_run))
}

fn last_screen(
    ui: Ui,
    local: &Local,
    outcome: &Outcome,
    report: Option<&status::MeshStatus>,
    same_run: &str,
) -> Exit {
    let (done, all) = (outcome.done(), outcome.clusters.len());
    for (_, result) in &outcome.clusters {
        if let Err(failure) = result {
            ui.failure(failure);
        }
    }
    let mesh = &local.topology.mesh_id;
    let seconds = outcome.elapsed.as_secs_f32();
    let what = if outcome.is_unchanged() { "nothing to change in" } else { "applied to" };
    let of = if done == all { String::new() } else { format!(" of {all}") };
    let line = format!("mesh {mesh}: {what} {}{of}, {seconds:.1} s", count(done, "cluster"));
    let healthy = report.is_none_or(|report| report.verdict == status::Verdict::Healthy);
    let good = done == all && healthy;
    let line = if healthy { line } else { format!("{line}, and it is not healthy yet") };
    ui.line(&if good { Tone::Good } else { Tone::Warning }.paint(&line));
    if let Some(report) = report {
        for fact in report.facts() {
            ui.line(&format!("  {fact}"));
        }
    }
    let next = if done == all { "status" } else { "apply" };
    ui.line(&format!("next: kubectl multimesh {next}{same_run}"));
    match done {
        _ if good => Exit::Done,
        _ if done == all => Exit::Unhealthy,
        0 => Exit::Failed,
        _ => Exit::Partial,
    }
}
