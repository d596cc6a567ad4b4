//! `list`: the meshes on this machine, from their own files. Asks no cluster, reads no kubeconfig
//! and no private key, and writes nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::home::{self, Choice, Home};
use super::state::State;
use super::status::{API_VERSION, days};
use crate::error::Failure;
use crate::files;
use crate::kube::quote;
use crate::pki::Store;
use crate::topology;

/// The kind of document; `docs/list-json.md` describes it.
pub const KIND: &str = "MeshList";

/// The meshes of this user.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshList {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// [`KIND`].
    pub kind: &'static str,
    /// The folder that holds them.
    pub root: PathBuf,
    /// The meshes, by their mesh IDs.
    pub meshes: Vec<Entry>,
}

/// A mesh as its files tell of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The mesh ID; the name of the directory, where no file tells it.
    pub mesh_id: String,
    /// The mesh directory.
    pub directory: PathBuf,
    /// Its topology file; `None` where it is kept elsewhere.
    pub topology: Option<PathBuf>,
    /// Whether its files can be used.
    pub state: EntryState,
    /// What is wrong with them.
    pub problems: Vec<Problem>,
    /// The contexts of the topology, or on record where that is kept elsewhere; `None` where they
    /// are not known.
    pub contexts: Option<Vec<String>>,
    /// The networks of these, sorted.
    pub networks: Option<Vec<String>>,
    /// The contexts on record as applied.
    pub applied: Option<Vec<String>>,
    /// When an apply last changed that record; `None` where nothing was ever applied from here.
    pub recorded_at: Option<Timestamp>,
    /// The root CA; `None` where there is none yet, or it cannot be read.
    pub root_ca: Option<RootCa>,
}

/// Whether the files of a mesh can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EntryState {
    /// They can.
    Ok,
    /// Commands will refuse one of them.
    Broken,
}

/// What is wrong with a mesh directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A sentence for people.
    pub message: String,
    /// What to do about it.
    pub hints: Vec<String>,
}

/// A root CA, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RootCa {
    /// Its subject.
    pub subject: String,
    /// SHA-256 of its certificate, in hexadecimal.
    pub fingerprint: String,
    /// Its last second.
    pub not_after: Timestamp,
    /// Whole days until then; negative once it is over.
    pub days_left: i64,
}

/// Lists the meshes below the root folder, and the one in `dir`, wherever that is.
///
/// # Errors
/// When the root folder is there and cannot be listed.
pub fn list(dir: Option<&Path>, now: Timestamp) -> Result<MeshList, Failure> {
    let root = home::root()?;
    let mut meshes = Vec::new();
    for directory in folders(&root)? {
        if is_mesh(&directory) {
            meshes.push(entry(&directory, Some(&root), now));
        }
    }
    let same = |one: &Path, other: &Path| match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    if let Some(dir) = dir.filter(|dir| !meshes.iter().any(|mesh| same(&mesh.directory, dir))) {
        meshes.push(entry(dir, None, now));
    }
    meshes.sort_by(|a, b| (&a.mesh_id, &a.directory).cmp(&(&b.mesh_id, &b.directory)));
    Ok(MeshList { api_version: API_VERSION, kind: KIND, root, meshes })
}

fn folders(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(files::read_error(root, &error).into()),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: io::Result<Vec<PathBuf>> = paths.collect();
    let paths = paths.map_err(|error| files::read_error(root, &error))?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

/// Whether a folder is a mesh's, or hides what it is.
fn is_mesh(dir: &Path) -> bool {
    let home = Home::in_dir(dir);
    let files = [&home.topology, &home.state(), &home.base(), &home.certs()];
    files.into_iter().any(|file| file.try_exists().unwrap_or(true))
}

/// Reads the files of one mesh. What is wrong with one of them hides nothing of the others.
fn entry(dir: &Path, root: Option<&Path>, now: Timestamp) -> Entry {
    let home = Home::in_dir(dir);
    let name = dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned();
    let mut entry = Entry {
        mesh_id: name.clone(),
        directory: dir.to_owned(),
        topology: None,
        state: EntryState::Ok,
        problems: Vec::new(),
        contexts: None,
        networks: None,
        applied: None,
        recorded_at: None,
        root_ca: None,
    };
    if !dir.is_dir() {
        entry.is_broken(home::existing_dir(&Choice::default(), dir).map(|_| ()));
        return entry;
    }
    let mut known = false;
    match files::read(&home.topology) {
        Ok(Some(text)) => known = entry.describe(&text, &home.topology),
        Ok(None) => {}
        Err(error) => entry.is_broken(Err(error.into())),
    }
    let recalled = entry.recall(&home, known);
    entry.is_broken(recalled);
    if let Some(root) = root.filter(|_| entry.mesh_id != name) {
        entry.is_broken(Err(misplaced(dir, &root.join(&entry.mesh_id), &entry.mesh_id)));
    }
    match Store::open(home.certs()).root_certificate() {
        Ok(certificate) => {
            entry.root_ca = certificate.map(|it| RootCa {
                days_left: days(it.not_after, now),
                subject: it.subject,
                fingerprint: it.fingerprint,
                not_after: it.not_after,
            });
        }
        Err(error) => entry.is_broken(Err(error.into())),
    }
    entry
}

/// A directory is found by its mesh ID; this one is not.
fn misplaced(dir: &Path, right: &Path, mesh_id: &str) -> Failure {
    let [from, to] = [dir, right].map(|path| quote(&path.to_string_lossy()));
    let failure = Failure::new(format!(
        "{} holds the mesh `{mesh_id}`, which is looked for under its own name",
        dir.display()
    ));
    failure.hint(if right.exists() {
        format!(
            "that one is there too: move this one out of the folder: `mv {from} <another folder>`"
        )
    } else {
        format!("name it so: `mv {from} {to}`")
    })
}

impl Entry {
    /// Notes what is wrong, if anything is.
    fn is_broken(&mut self, checked: Result<(), Failure>) {
        if let Err(failure) = checked {
            self.state = EntryState::Broken;
            self.problems.push(Problem { message: failure.message, hints: failure.hints });
        }
    }

    /// Takes in the topology, and tells whether it says which mesh it is.
    fn describe(&mut self, text: &str, file: &Path) -> bool {
        self.topology = Some(file.to_owned());
        match topology::parse(text, file) {
            Ok(topology) => {
                self.contexts = Some(topology.contexts().map(ToString::to_string).collect());
                let networks = topology.networks().into_keys().map(ToString::to_string);
                self.networks = Some(networks.collect());
            }
            // As `init` writes it.
            Err(topology::Error::NoContexts { .. }) => {
                self.contexts = Some(Vec::new());
                self.networks = Some(Vec::new());
            }
            Err(error) => self.is_broken(Err(error.into())),
        }
        // It may be known where the rest is not.
        let id = topology::mesh_id(text, file).map(|id| self.mesh_id = id.to_string());
        id.is_ok()
    }

    /// Takes in the record of what was applied, which must be of this mesh if it is `known`.
    fn recall(&mut self, home: &Home, known: bool) -> Result<(), Failure> {
        let path = home.state();
        let Some(text) = files::read(&path)? else {
            self.applied = Some(Vec::new());
            return Ok(());
        };
        let state =
            if known { State::load(&path, &self.mesh_id)? } else { State::parse(&text, &path)? };
        self.mesh_id.clone_from(&state.mesh_id);
        let members = state.contexts.iter().filter(|(_, record)| record.left.is_none());
        let contexts: Vec<String> = members.clone().map(|(context, _)| context.clone()).collect();
        if self.topology.is_none() {
            let networks: BTreeSet<&String> = members.map(|(_, record)| &record.network).collect();
            self.networks = Some(networks.into_iter().cloned().collect());
            self.contexts = Some(contexts.clone());
        }
        self.applied = Some(contexts);
        let changed = std::fs::metadata(&path).and_then(|meta| meta.modified()).ok();
        let changed = changed.and_then(|time| Timestamp::try_from(time).ok());
        // Nobody needs the fraction of the second.
        self.recorded_at = changed.and_then(|it| Timestamp::from_second(it.as_second()).ok());
        Ok(())
    }
}
