//! `apply`: make the clusters of the topology one mesh.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::Global;
use super::help::Help;
use super::wishes::WishArgs;
use super::writing::{self, Writing};
use crate::engine::apply::{Done, Outcome, Terms, carry_out, take_leases};
use crate::engine::check::check;
use crate::engine::connect::Purpose;
use crate::engine::event::Events;
use crate::engine::lease::{Basis, Leases};
use crate::engine::leave::{Departure, Fate};
use crate::engine::local::Local;
use crate::engine::prepare::{Wishes, prepare};
use crate::engine::rename::follow_renames;
use crate::engine::status;
use crate::error::{Exit, Failure};
use crate::kube::quote;
use crate::plan::outline::{Outline, Standing, Verb};
use crate::ui::progress::Progress;
use crate::ui::{self, Tone, Ui, count};

/// The help of `apply`.
pub(super) const HELP: Help = Help {
    about: "Writes to the clusters of the topology, in the namespace of the control plane, and to \
            the mesh directory. Run again, it changes nothing.\n\n\
            A context that was deleted from the topology leaves the mesh: its links and credentials \
            go at once, its control plane after a yes. At a terminal the plan is shown first. Where \
            nobody can be asked, what needs a yes stays as it is, and the run ends with 3.",
    examples: &[
        ("All clusters of the topology", "kubectl multimesh apply"),
        (
            "A topology from git, without one of its clusters",
            "kubectl multimesh apply -f topology.yaml --contexts '^context-west-1'",
        ),
        (
            "In a pipeline, behind a run that is still at work",
            "kubectl multimesh apply --yes --no-input --wait-lock 10m",
        ),
    ],
    exits: &[
        (Exit::Done, "done"),
        (Exit::Failed, "failed, or not confirmed"),
        (Exit::Partial, "some clusters done and some not"),
        (Exit::Unhealthy, "done, but the mesh is not healthy yet"),
        (Exit::Usage, "wrong usage"),
        (Exit::Interrupted, "interrupted; run it again to finish"),
    ],
};

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// Wait until istiod, gateways and links are ready
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", hide_possible_values = true,
          action = clap::ArgAction::Set)]
    wait: bool,
    /// Do not ask before something is deleted or taken over
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    wishes: WishArgs,
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
    let mut local = Local::load(&options)?;
    args.wishes.forget(&mut local)?;
    check(&local)?;
    let _lock = writing::lock(ui, &local, &options, &leases).await?;
    let mut local = Local::load(&options)?;
    args.wishes.forget(&mut local)?;
    let wishes = Wishes { read_back: args.wait, ..args.wishes.wishes() };
    let same_run = options.same_run(local.topology.mesh_id.as_ref());
    let mut progress = Progress::new(ui);
    let mut events: Events = Arc::clone(&progress) as Events;
    follow_renames(&mut local, &options, &events).await?;
    // Again, if another run was waited for: the leases of this one are held from then on.
    let (mut prepared, terms) = loop {
        let mut prepared = prepare(&local, &options, &wishes, Purpose::Write, &events).await?;
        prepared.check_foreign(&wishes, &same_run)?;
        let outline = prepared.outline(&local, &wishes);
        let shown = ui.interactive() && !outline.is_nothing();
        if shown {
            // Other runs do not wait for the answer of a user.
            if !args.yes {
                leases.release_all().await;
            }
            progress.finish();
            ui.line(&ui::plan::table(&outline));
        }
        let fates = agree(ui, &outline, args.yes).await?;
        let terms = Terms { wait: args.wait, prune: args.yes || ui.interactive(), fates };
        if shown {
            progress = Progress::new(ui);
            events = Arc::clone(&progress) as Events;
        }
        if take_leases(&local, &mut prepared, &terms, &leases, &events).await? == Basis::Current {
            break (prepared, terms);
        }
    };
    let ahead = prepared.take_ahead();
    let outcome = carry_out(prepared, &local, &options, &wishes, &terms, &leases, &events).await?;
    let done = outcome.done_members(&local);
    let report = if args.wait && !done.is_empty() {
        let ahead = ahead.filter(|_| outcome.wrote_nothing());
        Some(status::settled(&local, &options, &done, ahead, &events).await)
    } else {
        None
    };
    progress.finish();
    let took = progress.elapsed();
    Ok(last_screen(ui, &local, &outcome, report.as_ref(), took, &same_run))
}

/// Asks for what needs a yes; gives what becomes of the control planes of clusters that leave.
async fn agree(ui: Ui, outline: &Outline, yes: bool) -> Result<BTreeMap<String, Fate>, Failure> {
    let (mut pruned, mut adopted) = (0, 0);
    for cluster in &outline.clusters {
        let Standing::Member(changes) = &cluster.standing else { continue };
        let asked = || changes.objects.iter().filter(|object| object.needs_consent());
        pruned += asked().filter(|object| object.verb == Verb::Prune).count();
        adopted += asked().filter(|object| object.verb == Verb::Adopt).count();
    }
    if !yes && ui.interactive() && pruned + adopted > 0 {
        let mut parts = Vec::new();
        if pruned > 0 {
            parts.push(format!("delete {}", count(pruned, "object")));
        }
        if adopted > 0 {
            parts.push(format!("take over {}", count(adopted, "object")));
        }
        let question =
            format!("Apply this to mesh {}, and {}?", outline.mesh_id, parts.join(" and "));
        if !ask(ui, question).await {
            return Err(Failure::new("not confirmed; nothing was written"));
        }
    }
    let mut fates = BTreeMap::new();
    for cluster in &outline.clusters {
        let Standing::Leaver(leaving) = &cluster.standing else { continue };
        let fate = if leaving.removal.is_none() {
            Fate::Keep
        } else if yes {
            Fate::Remove
        } else if ui.interactive() && !cluster.is_nothing() {
            let question = format!(
                "{} leaves mesh {}: remove its control plane from the cluster {} ({})?",
                cluster.context, outline.mesh_id, cluster.cluster, cluster.server
            );
            if ask(ui, question).await { Fate::Remove } else { Fate::Ask }
        } else {
            Fate::Ask
        };
        fates.insert(cluster.context.clone(), fate);
    }
    Ok(fates)
}

/// Asks on a thread of its own, so that Ctrl-C ends the run while it waits.
async fn ask(ui: Ui, question: String) -> bool {
    tokio::task::spawn_blocking(move || ui.confirm(&question)).await.unwrap_or(false)
}

fn last_screen(
    ui: Ui,
    local: &Local,
    outcome: &Outcome,
    report: Option<&status::MeshStatus>,
    took: Duration,
    same_run: &str,
) -> Exit {
    let (done, all) = (outcome.done(), outcome.clusters.len());
    for (_, result) in &outcome.clusters {
        if let Err(failure) = result {
            ui.failure(failure);
        }
    }
    let mesh = &local.topology.mesh_id;
    let seconds = took.as_secs_f32();
    let what = if outcome.is_unchanged() { "nothing to change in" } else { "applied to" };
    let of = if done == all { String::new() } else { format!(" of {all}") };
    let line = format!("mesh {mesh}: {what} {}{of}, {seconds:.1} s", count(done, "cluster"));
    let healthy = report.is_none_or(|report| report.verdict == status::Verdict::Healthy);
    let good = done == all && healthy;
    let line = if healthy { line } else { format!("{line}, and it is not healthy yet") };
    ui.line(&if good { Tone::Good } else { Tone::Warning }.paint(&line));
    for (context, result) in &outcome.clusters {
        if let Ok(Done::Left(departure)) = result {
            ui.line(&format!("  {context}: {}", left(departure)));
        }
    }
    if let Some(report) = report {
        for fact in report.facts() {
            ui.line(&format!("  {fact}"));
        }
    }
    ui.next(&if done == all {
        format!("kubectl multimesh status{same_run}")
    } else {
        let forget = outcome.not_given_up.iter().map(|name| format!(" --forget {}", quote(name)));
        format!("kubectl multimesh apply{}{same_run}", forget.collect::<String>())
    });
    match done {
        _ if good => Exit::Done,
        _ if done == all => Exit::Unhealthy,
        0 if !outcome.waits() => Exit::Failed,
        _ => Exit::Partial,
    }
}

fn left(departure: &Departure) -> String {
    let mut parts = vec!["left the mesh".to_owned()];
    if departure.revoked {
        parts.push("the token that its peers held is refused now (checked)".to_owned());
    }
    parts.push(match &departure.cleared {
        Some(cleared) => format!("{} deleted there", count(cleared.deleted, "object")),
        None => "its control plane stays".to_owned(),
    });
    parts.join("; ")
}
