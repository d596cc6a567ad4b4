//! `teardown`: remove from the clusters everything that the tool owns there.

use std::sync::Arc;

use clap::Args;

use super::Global;
use super::help::Help;
use super::writing::{self, Writing};
use crate::engine::connect::Purpose;
use crate::engine::event::Events;
use crate::engine::lease::{Basis, Leases};
use crate::engine::local::Local;
use crate::engine::teardown::{self, Outcome, Survey};
use crate::error::{Exit, Failure};
use crate::ui::progress::Progress;
use crate::ui::teardown::{Cluster, Peer, preview, stays};
use crate::ui::{Tone, Ui, count};

/// The help of `teardown`.
pub(super) const HELP: Help = Help {
    about: "Deletes what the mesh brought, in the clusters of the topology and in those that it listed \
            at an earlier apply. Everything of yours stays: other objects, definitions with objects \
            of yours, a namespace with something of yours in it, and all files on this machine.",
    examples: &[
        ("What would go, and what would stay", "kubectl multimesh teardown --dry-run"),
        (
            "One cluster; the others lose their links to it",
            "kubectl multimesh teardown --contexts context-west-1",
        ),
    ],
    exits: &[
        (Exit::Done, "done"),
        (Exit::Failed, "failed, or not confirmed"),
        (Exit::Partial, "some clusters done and some not"),
        (Exit::Usage, "wrong usage, or there is nobody to ask"),
        (Exit::Interrupted, "interrupted; run it again to finish"),
    ],
};

/// Arguments of `teardown`.
#[derive(Debug, Args)]
pub(super) struct TeardownArgs {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Only show what would go and what would stay
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    writing: Writing,
}

/// Runs `teardown`.
pub(super) async fn run(
    ui: Ui,
    global: &Global,
    args: &TeardownArgs,
    leases: Leases,
) -> Result<Exit, Failure> {
    let options = args.writing.options("teardown", global);
    if !args.yes && !args.dry_run && !ui.interactive() {
        let same_run = options.same_run(options.choice.mesh.as_deref().unwrap_or_default());
        return Err(Failure::usage(
            "teardown deletes, so it asks first, and here is nobody to ask",
        )
        .hint(format!("look at what it would do: `kubectl multimesh teardown --dry-run{same_run}`"))
        .hint(format!("do it without being asked: `kubectl multimesh teardown --yes{same_run}`")));
    }
    // What is wrong in the files is told before the lock leaves a trace.
    let local = Local::load_applied(&options)?;
    let lock = writing::lock(ui, &local, &options, &leases);
    let _lock = if args.dry_run { None } else { Some(lock.await?) };
    let mut local = Local::load_applied(&options)?;
    let purpose = if args.dry_run { Purpose::Look } else { Purpose::Write };
    let mesh = local.topology.mesh_id.to_string();
    // Again, if another run has written since: nobody agreed to what is there now.
    let outcome = loop {
        let progress = Progress::new(ui);
        let events: Events = Arc::clone(&progress) as Events;
        let survey = teardown::survey(&local, &options, purpose, &events).await;
        progress.finish();
        let mut survey = survey?;
        if args.dry_run {
            ui.data(&show(&mesh, &survey));
            return Ok(end(ui, survey.clusters.len(), survey.failed.iter().map(|(_, f)| f)));
        }
        agree(ui, &mesh, &survey, args.yes).await?;
        let progress = Progress::new(ui);
        let events: Events = Arc::clone(&progress) as Events;
        if teardown::take_leases(&mut survey, &leases, &events).await? == Basis::Current {
            break teardown::carry_out(survey, &local, &options, &leases, &events).await;
        }
        progress.finish();
        if !args.yes {
            // Nobody has to wait for an answer.
            leases.release_all().await;
        }
        ui.line("another run has written meanwhile, so all is looked at again");
    };
    teardown::record(&mut local, &outcome)?;
    let same_run = options.same_run(local.topology.mesh_id.as_ref());
    Ok(last_screen(ui, &local, &outcome, &same_run))
}

fn show(mesh: &str, survey: &Survey<'_>) -> String {
    let clusters: Vec<Cluster<'_>> = survey
        .clusters
        .iter()
        .map(|c| Cluster {
            context: c.context(),
            server: c.server(),
            namespace: c.namespace(),
            removal: &c.removal,
        })
        .collect();
    let peers: Vec<Peer<'_>> = survey
        .peers
        .iter()
        .map(|p| Peer { context: p.context(), server: p.server(), links: p.links() })
        .collect();
    preview(mesh, &clusters, &peers)
}

/// Shows what would go, and asks for a yes unless it was given.
async fn agree(ui: Ui, mesh: &str, survey: &Survey<'_>, yes: bool) -> Result<(), Failure> {
    if survey.is_nothing() {
        return Ok(());
    }
    ui.line(&show(mesh, survey));
    if yes {
        return Ok(());
    }
    for (_, failure) in &survey.failed {
        ui.failure(failure);
    }
    if confirm(ui, mesh, survey).await {
        Ok(())
    } else {
        Err(Failure::new("not confirmed; nothing was deleted"))
    }
}

/// Asks on a thread of its own, so that Ctrl-C ends the run while it waits.
async fn confirm(ui: Ui, mesh: &str, survey: &Survey<'_>) -> bool {
    let clusters = survey.clusters.iter().filter(|c| !c.removal.is_nothing());
    let clusters: Vec<String> =
        clusters.map(|c| format!("{} ({})", c.context(), c.server())).collect();
    let question = if clusters.is_empty() {
        format!("Remove these links of mesh {mesh}?")
    } else {
        format!("Tear down mesh {mesh} in {}?", clusters.join(", "))
    };
    tokio::task::spawn_blocking(move || ui.confirm(&question)).await.unwrap_or(false)
}

fn last_screen(ui: Ui, local: &Local, outcome: &Outcome, same_run: &str) -> Exit {
    for failure in outcome.failures() {
        ui.failure(failure);
    }
    let (done, all) = (outcome.done(), outcome.clusters.len());
    let complete = outcome.failures().next().is_none();
    let of = if done == all { String::new() } else { format!(" of {all}") };
    let line = format!(
        "mesh {}: nothing of it is left in {}{of} (read back), {:.1} s",
        local.topology.mesh_id,
        count(done, "cluster"),
        outcome.elapsed.as_secs_f32(),
    );
    ui.line(&if complete { Tone::Good } else { Tone::Warning }.paint(&line));
    for (context, result) in &outcome.clusters {
        if let Ok(cleared) = result {
            let stays = stays(&cleared.stays, "    ");
            if !stays.is_empty() {
                ui.line(&format!("  {context}:"));
                ui.line(stays.trim_end());
            }
        }
    }
    for (context, result) in &outcome.peers {
        if let Ok(links) = result {
            ui.line(&format!(
                "  {context}: {} removed, it stays in the mesh",
                count(*links, "link")
            ));
        }
    }
    ui.line(&format!(
        "  {}: the files stay, a later apply brings the mesh back",
        local.home.dir.display()
    ));
    if !complete {
        ui.next(&format!("kubectl multimesh teardown{same_run}"));
    }
    exit(done, complete)
}

/// Tells the failures of a preview.
fn end<'a>(ui: Ui, done: usize, failures: impl Iterator<Item = &'a Failure>) -> Exit {
    let mut complete = true;
    for failure in failures {
        complete = false;
        ui.failure(failure);
    }
    exit(done, complete)
}

const fn exit(done: usize, complete: bool) -> Exit {
    match (done, complete) {
        (_, true) => Exit::Done,
        (0, false) => Exit::Failed,
        (_, false) => Exit::Partial,
    }
}
