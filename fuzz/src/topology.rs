//! `topology.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use multimesh::topology::{Error, Topology, mesh_id, parse, resolve};

use super::said;

/// Reads `data` as a topology.
pub fn check(data: &[u8]) {
    let Ok(content) = str::from_utf8(data) else { return };
    let file = Path::new("mesh/topology.yaml");
    let read = parse(content, file);
    assert_eq!(read, parse(content, file), "two readings of one file");
    let id = mesh_id(content, file);
    match &read {
        Ok(topology) => {
            assert_eq!(id.as_ref().ok(), Some(&topology.mesh_id));
            sound(topology, file, content);
        }
        Err(error) => refused(error, file, content),
    }
    if let Err(error) = &id {
        assert_eq!(read.as_ref().err(), Some(error), "what is wrong before any context");
    }
}

fn refused(error: &Error, file: &Path, content: &str) {
    said::error(&error.to_string(), error.hint().as_deref(), file);
    if let Some(place) = error.place() {
        said::place(place, file, content);
    }
}

fn sound(topology: &Topology, file: &Path, content: &str) {
    said::notes(&topology.notes, file, content);
    assert!(!topology.members.is_empty());
    for member in &topology.members {
        said::place(&member.place, file, content);
        said::text(member.context.as_str());
        let found = topology.member(member.context.as_str());
        assert_eq!(found, Some(member), "every context once");
    }
    match resolve(topology, &BTreeMap::new()) {
        Ok(names) => {
            assert_eq!(names.len(), topology.members.len());
            let distinct: BTreeSet<_> = names.iter().map(|(_, cluster)| cluster).collect();
            assert_eq!(distinct.len(), names.len(), "two clusters of one name");
            let pinned = names.iter().cloned().collect();
            assert_eq!(resolve(topology, &pinned), Ok(names), "a second run changes no name");
        }
        Err(error) => refused(&error, file, content),
    }
}
