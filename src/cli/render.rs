//! `render`: what an apply would write, as files.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::Global;
use super::help::Help;
use super::writing::{self, WaitLock};
use crate::engine::check::check;
use crate::engine::event::Events;
use crate::engine::lease::Leases;
use crate::engine::local::{Local, Options};
use crate::engine::rename::follow_renames;
use crate::engine::render::{Rendered, Terms, render};
use crate::error::{Exit, Failure};
use crate::kube::quote;
use crate::ui::progress::Progress;
use crate::ui::{Tone, Ui, count};

/// The help of `render`.
pub(super) const HELP: Help = Help {
    about: "Writes one folder per cluster, with a README.md that says how kubectl applies it. Asks no \
            cluster and reads no kubeconfig.\n\n\
            With --secrets it reads the clusters, to keep their CAs and to take the tokens for the \
            links, and writes secrets/ in each folder, for your eyes only.\n\n\
            Files that it made earlier are replaced or removed, others are left alone. The folder of \
            a cluster that has left goes with --prune only.",
    examples: &[
        ("All clusters, without a secret", "kubectl multimesh render --out clusters"),
        (
            "One of them, with its private key and the tokens of the others",
            "kubectl multimesh render --out clusters --contexts context-west-1 --secrets",
        ),
    ],
    exits: &[
        (Exit::Done, "done"),
        (Exit::Failed, "failed"),
        (Exit::Partial, "some secrets are missing: a cluster did not answer or has no token yet"),
        (Exit::Usage, "wrong usage"),
        (Exit::Interrupted, "interrupted"),
    ],
};

/// Arguments of `render`.
#[derive(Debug, Args)]
pub(super) struct RenderArgs {
    /// The folder to fill; it may not be in the mesh directory
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Render the intermediate CAs and the links too: private keys and tokens
    #[arg(long)]
    secrets: bool,
    /// The organisation of the root CA, if --secrets has to make it [env: ORG_NAME]
    #[arg(long, env = "ORG_NAME", hide_env = true, value_name = "NAME",
          value_parser = super::global::given)]
    org: Option<String>,
    /// Remove the folders of clusters that the topology lists no more
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    lock: WaitLock,
}

/// Runs `render`.
pub(super) async fn run(
    ui: Ui,
    global: &Global,
    args: &RenderArgs,
    leases: Leases,
) -> Result<Exit, Failure> {
    let options = args.lock.options(Options { command: "render", ..global.options() });
    let progress = Progress::new(ui);
    let events: Events = Arc::clone(&progress) as Events;
    let terms = Terms {
        out: args.out.clone(),
        secrets: args.secrets,
        organization: args.org.clone(),
        prune: args.prune,
    };
    if !args.secrets {
        let local = Local::load_offline(&options)?;
        let rendered = render(&local, &options, &terms, &events).await;
        progress.finish();
        return Ok(last_screen(ui, &local, &options, &terms, &rendered?));
    }
    // What is wrong in the files is told before the lock leaves a trace.
    let local = Local::load(&options)?;
    check(&local)?;
    let _lock = writing::lock(ui, &local, &options, &leases).await?;
    let mut local = Local::load(&options)?;
    follow_renames(&mut local, &options, &events).await?;
    let rendered = render(&local, &options, &terms, &events).await;
    progress.finish();
    Ok(last_screen(ui, &local, &options, &terms, &rendered?))
}

fn last_screen(
    ui: Ui,
    local: &Local,
    options: &Options,
    terms: &Terms,
    rendered: &Rendered,
) -> Exit {
    for failure in rendered.failed.values() {
        ui.failure(failure);
    }
    let tally = rendered.tally;
    let files = count(tally.written + tally.unchanged, "file");
    let mut changes = vec![match tally.written {
        0 => "none changed".to_owned(),
        n => format!("{n} new or changed"),
    }];
    changes.extend((tally.removed > 0).then(|| format!("{} removed", tally.removed)));
    let complete = rendered.failed.is_empty() && rendered.waiting.is_empty();
    let tone = if complete { Tone::Good } else { Tone::Warning };
    ui.line(&tone.paint(&format!(
        "mesh {}: {} rendered to {}: {files}, {}",
        local.topology.mesh_id,
        count(rendered.clusters.len(), "cluster"),
        terms.out.display(),
        changes.join(", "),
    )));
    for (context, folder) in &rendered.clusters {
        ui.line(&format!("  {context}: {}", folder.display()));
    }
    if !rendered.waiting.is_empty() {
        ui.warning(&format!(
            "no links to {} yet: a token is there only when the folder of its cluster was applied",
            rendered.waiting.join(", ")
        ));
    }
    let next = if complete {
        "apply each folder as its README.md says".to_owned()
    } else {
        format!(
            "apply each folder as its README.md says, then `kubectl multimesh render --secrets --out {}{}` again",
            quote(&terms.out.to_string_lossy()),
            options.same_run(local.topology.mesh_id.as_ref())
        )
    };
    ui.next(&next);
    if complete { Exit::Done } else { Exit::Partial }
}
