//! `list`: the meshes on this machine.

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::Global;
use super::help::{Help, PLAIN_EXITS};
use crate::engine::meshes::list;
use crate::error::{Exit, Failure};
use crate::ui::{self, Ui};

/// The help of `list`.
pub(super) const HELP: Help = Help {
    about: "Reads the files of the meshes below ~/.config/multimesh (on Windows \
            %LOCALAPPDATA%\\multimesh; or MULTIMESH_HOME), and of the one that `--dir` names; no \
            cluster, no kubeconfig, no private key.\n\n\
            APPLIED is the day on which an apply last changed the record of its clusters. A mesh \
            whose files cannot be used is a line that says so.",
    examples: &[
        ("All meshes, a line each", "kubectl multimesh list"),
        ("Their IDs, for scripts", "kubectl multimesh list -o name"),
        (
            "How long each root CA is valid",
            "kubectl multimesh list -o json | jq '.meshes[].rootCa.daysLeft'",
        ),
    ],
    exits: PLAIN_EXITS,
};

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// How to print it: table, wide, json, yaml or name (a mesh ID a line)
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
    Name,
}

/// Runs `list`.
pub(super) fn run(ui: Ui, global: &Global, args: &ListArgs) -> Result<Exit, Failure> {
    let mut list = list(global.dir.as_deref(), Timestamp::now())?;
    if let Some(id) = &global.mesh {
        list.meshes.retain(|mesh| mesh.mesh_id == *id);
        if list.meshes.is_empty() {
            let root = list.root.display();
            return Err(Failure::new(format!("there is no mesh `{id}` in {root}")).hint(format!(
                "list all: `kubectl multimesh list{}`",
                global.choice().same_files()
            )));
        }
    }
    let text = match args.output {
        Output::Table => ui::meshes::table(&list, false),
        Output::Wide => ui::meshes::table(&list, true),
        Output::Json => ui::document::json("the list", &list)?,
        Output::Yaml => ui::document::yaml("the list", &list)?,
        Output::Name => ui::meshes::names(&list),
    };
    if !text.is_empty() {
        ui.data(&text);
    }
    if list.meshes.is_empty() {
        let root = list.root.display();
        ui.note(&format!("there is no mesh in {root}"));
        let files = global.choice().same_files();
        ui.hint(&format!("create one: `kubectl multimesh init --mesh-id <mesh id>{files}`"));
    }
    Ok(Exit::Done)
}
