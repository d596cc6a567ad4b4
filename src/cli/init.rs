//! `init`: create a mesh directory.

use std::path::Path;

use clap::Args;

use super::Global;
use super::help::{Help, PLAIN_EXITS};
use super::writing::WaitLock;
use crate::engine::init::{Content, Outcome, init};
use crate::engine::local::Options;
use crate::error::{Exit, Failure};
use crate::files;
use crate::ui::{Ui, count};

/// The help of `init`.
pub(super) const HELP: Help = Help {
    about: "Writes topology.yaml, base.yaml and the root CA to the mesh directory, \
            ~/.config/multimesh/<mesh id> (on Windows below %LOCALAPPDATA%) if no other is named. \
            What is there already is kept as it is. Asks no cluster; the contexts of your \
            kubeconfig are proposed in topology.yaml.",
    examples: &[
        ("A mesh with a directory of its own", "kubectl multimesh init --mesh-id shop"),
        (
            "In this folder, with the name of your organisation in the root CA",
            "kubectl multimesh init --mesh-id shop --org 'Example Ltd' --dir .",
        ),
    ],
    exits: PLAIN_EXITS,
};

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The organisation of the root CA [default: Istio] [env: ORG_NAME]
    #[arg(long, env = "ORG_NAME", hide_env = true, value_name = "NAME",
          value_parser = super::global::given)]
    org: Option<String>,
    #[command(flatten)]
    lock: WaitLock,
}

/// Runs `init`.
pub(super) fn run(ui: Ui, global: &Global, args: &InitArgs) -> Result<Exit, Failure> {
    let options = args.lock.options(global.options());
    let tell = |held: &files::Error| ui.line(&format!("waiting: {held}"));
    let outcome = init(&options, args.org.as_deref(), tell)?;
    for note in &outcome.notes {
        ui.note(note);
    }
    report(ui, &options, &outcome);
    Ok(Exit::Done)
}

fn report(ui: Ui, options: &Options, outcome: &Outcome) {
    let dir = &outcome.home.dir;
    let all =
        if outcome.is_unchanged() { ": everything is there, nothing was changed" } else { "" };
    ui.line(&format!("mesh {} in {}{all}", outcome.mesh_id, dir.display()));
    let rows: Vec<(&str, String, String)> = outcome
        .pieces
        .iter()
        .map(|piece| {
            let verb = if piece.made { "created" } else { "kept" };
            (verb, within(&piece.path, dir), about(piece.content, piece.made, outcome))
        })
        .collect();
    let width = rows.iter().map(|(_, path, _)| path.chars().count()).max().unwrap_or(0);
    for (verb, path, about) in &rows {
        ui.line(format!("  {verb:7}  {path:width$}  {about}").trim_end());
    }
    let key = outcome.pieces.iter().find(|p| p.content == Content::RootKey && p.made);
    if let Some(key) = key {
        ui.line(&format!(
            "keep {} safe and back it up: who has it can join the mesh, and without it no cluster \
             can be added",
            key.path.display()
        ));
    }
    ui.next(&format!(
        "edit {}, then run `kubectl multimesh apply{}`",
        outcome.home.topology.display(),
        options.same_mesh(outcome.mesh_id.as_ref())
    ));
}

/// A path as it is seen from the mesh directory.
fn within(path: &Path, dir: &Path) -> String {
    path.strip_prefix(dir).unwrap_or(path).display().to_string()
}

fn about(content: Content, made: bool, outcome: &Outcome) -> String {
    match content {
        Content::RootKey => "private key of the root CA".to_owned(),
        Content::RootCertificate => {
            let root = &outcome.root.certificate;
            let end = root.not_after.strftime("%Y-%m-%d");
            format!("root CA `{}`, until {end}", root.subject)
        }
        Content::Base => "what istioctl installs in every cluster".to_owned(),
        Content::Topology if made && outcome.proposed > 0 => {
            format!("{} of your kubeconfig, commented out", count(outcome.proposed, "context"))
        }
        Content::Topology => "the clusters".to_owned(),
    }
}
