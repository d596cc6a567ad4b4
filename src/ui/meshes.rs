//! The meshes of a machine as a screen, and as names.

use super::Tone;
use super::table::{remark, table as lay_out};
use crate::engine::meshes::{Entry, EntryState, MeshList, RootCa};

/// What stands for something that is not there, or not known.
const NOTHING: &str = "-";
const HEADINGS: [&str; 6] = ["MESH", "CLUSTERS", "NETWORKS", "ROOT CA", "APPLIED", "DIRECTORY"];
const WIDE_HEADINGS: [&str; 4] = ["CONTEXTS", "NETWORK NAMES", "CA ENDS", "ROOT"];

/// A line a mesh, and below them what is wrong; nothing where there is no mesh. `wide` adds
/// columns.
pub fn table(list: &MeshList, wide: bool) -> String {
    if list.meshes.is_empty() {
        return String::new();
    }
    let mut headings = HEADINGS.to_vec();
    if wide {
        headings.extend(WIDE_HEADINGS);
    }
    let mut screen = lay_out(&headings, list.meshes.iter().map(|mesh| row(mesh, wide)));
    if list.meshes.iter().any(|mesh| mesh.state == EntryState::Broken) {
        screen.extend(["\n", &Tone::Bad.paint("problems"), ":\n"]);
    }
    for mesh in &list.meshes {
        for problem in &mesh.problems {
            remark(&mut screen, &format!("{}: {}", mesh.mesh_id, problem.message), &problem.hints);
        }
    }
    screen
}

/// A mesh ID a line.
pub fn names(list: &MeshList) -> String {
    list.meshes.iter().map(|mesh| format!("{}\n", mesh.mesh_id)).collect()
}

fn row(mesh: &Entry, wide: bool) -> Vec<String> {
    let number = |names: Option<&Vec<String>>| {
        names.map_or_else(|| NOTHING.to_owned(), |names| names.len().to_string())
    };
    let clusters = match mesh.state {
        EntryState::Broken => "broken".to_owned(),
        EntryState::Ok => number(mesh.contexts.as_ref()),
    };
    let ca = |tell: fn(&RootCa) -> String| {
        mesh.root_ca.as_ref().map_or_else(|| NOTHING.to_owned(), tell)
    };
    let applied = mesh.applied.as_ref().is_some_and(|contexts| !contexts.is_empty());
    let mut row = vec![
        mesh.mesh_id.clone(),
        clusters,
        number(mesh.networks.as_ref()),
        ca(|root| match root.days_left {
            ..0 => "expired".to_owned(),
            days => format!("{days}d"),
        }),
        match mesh.recorded_at.filter(|_| applied) {
            Some(at) => at.strftime("%Y-%m-%d").to_string(),
            None => NOTHING.to_owned(),
        },
        mesh.directory.display().to_string(),
    ];
    if wide {
        let names = |names: Option<&Vec<String>>| match names {
            Some(names) if !names.is_empty() => names.join(","),
            _ => NOTHING.to_owned(),
        };
        row.extend([
            names(mesh.contexts.as_ref()),
            names(mesh.networks.as_ref()),
            ca(|root| root.not_after.to_string()),
            ca(|root| root.fingerprint.chars().take(16).collect()),
        ]);
    }
    row
}
