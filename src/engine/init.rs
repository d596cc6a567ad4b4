//! `init`: a mesh directory with everything to start from. No cluster is asked.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::home::{self, Home};
use super::local::Options;
use super::state::State;
use super::trust::{DEFAULT_ORGANIZATION, root_lost};
use crate::error::Failure;
use crate::files::{self, Lock};
use crate::kube::{Kubeconfig, quote};
use crate::pki::{Root, Store, issue};
use crate::topology::{self, Candidate, ContextName, MeshId, Selector};

/// What a file of a mesh directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The private key of the root CA.
    RootKey,
    /// The certificate of the root CA.
    RootCertificate,
    /// The operator that every cluster gets.
    Base,
    /// The clusters of the mesh.
    Topology,
}

/// A file of a mesh directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub content: Content,
    /// Where it is.
    pub path: PathBuf,
    /// Whether this run made it; it was there before otherwise, and is as it was.
    pub made: bool,
}

/// A mesh directory that is complete.
#[derive(Debug)]
pub struct Outcome {
    /// The mesh.
    pub mesh_id: MeshId,
    /// Its files.
    pub home: Home,
    /// Its root CA.
    pub root: Root,
    /// The files that a user knows by name, those of this run and those that were kept.
    pub pieces: Vec<Piece>,
    /// How many contexts of the kubeconfig are proposed in a new topology.
    pub proposed: usize,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Outcome {
    /// Whether everything was there already.
    pub fn is_unchanged(&self) -> bool {
        self.pieces.iter().all(|piece| !piece.made)
    }
}

/// Completes the mesh directory that the user means: what is missing is made, what is there is
/// kept as it is. `organization` is for a root CA that has to be made;
/// `tell` is told whom this waits for.
pub fn init(
    options: &Options,
    organization: Option<&str>,
    tell: impl FnOnce(&files::Error),
) -> Result<Outcome, Failure> {
    let mut found = Found::look(options)?;
    let (mut root, mut is_new) = if let Some(root) = found.root.take() {
        (root, false)
    } else {
        let organization = organization.unwrap_or(DEFAULT_ORGANIZATION);
        (issue::root(organization, Timestamp::now())?, true)
    };
    let mut proposal = Proposal::default();
    if !found.has_topology {
        proposal = propose(options, &found.mesh_id)?;
    }
    let mut made = Vec::new();
    if !found.is_complete() {
        let _lock = Lock::wait(&found.home.dir, "init", options.wait_lock, tell)?;
        // Another run may have been quicker; and files of the user are kept in any case.
        found = Found::look(options)?;
        let store = Store::open(found.home.certs());
        if let Some(there) = found.root.take() {
            store.settle()?;
            (root, is_new) = (there, false);
        } else {
            store.create_root(&root)?;
            made.extend([Content::RootKey, Content::RootCertificate]);
        }
        if files::create_private(&found.home.base(), topology::base_text())? {
            made.push(Content::Base);
        }
        if files::create_private(&found.home.topology, &proposal.text)? {
            made.push(Content::Topology);
        }
    }
    let Found { home, mesh_id, .. } = found;
    let mut notes = Vec::new();
    if made.contains(&Content::Topology) {
        notes.append(&mut proposal.notes);
    }
    if !is_new {
        notes.extend(root_notes(&home, &root, organization));
    }
    let pieces = pieces(&home, &root, &made);
    Ok(Outcome { mesh_id, home, root, pieces, proposed: proposal.contexts, notes })
}

/// A mesh directory as it is, perhaps with nothing in it.
struct Found {
    home: Home,
    mesh_id: MeshId,
    has_topology: bool,
    has_base: bool,
    root: Option<Root>,
    has_root_files: bool,
}

impl Found {
    /// Looks at what is there, and refuses what does not fit together.
    fn look(options: &Options) -> Result<Self, Failure> {
        let choice = &options.choice;
        let wanted = choice.mesh.as_deref().map(MeshId::new).transpose();
        let wanted = wanted.map_err(|why| Failure::usage(why.to_string()))?;
        let dir = match (&choice.dir, &wanted) {
            (Some(dir), _) => Some(dir.clone()),
            (None, Some(id)) if choice.file.is_none() => Some(home::root()?.join(id.as_ref())),
            _ => None,
        };
        let topology = choice.file.clone().or(dir.map(|dir| dir.join("topology.yaml")));
        let Some(topology) = topology else { return Err(no_mesh_id(options)) };
        let written = match files::read(&topology)? {
            Some(text) => Some(topology::mesh_id(&text, &topology)?),
            None => None,
        };
        let has_topology = written.is_some();
        let mesh_id = match (written, wanted) {
            (Some(written), Some(wanted)) if written != wanted => {
                return Err(another_mesh(&topology, &written, &wanted));
            }
            (Some(id), _) | (None, Some(id)) => id,
            (None, None) => return Err(no_mesh_id(options)),
        };
        let home = Home { dir: home::dir_of(choice, &mesh_id)?, topology };
        let state = State::load(&home.state(), mesh_id.as_ref())?;
        let certs = home.certs();
        let root = Store::open(&certs).root()?;
        if root.is_none() && state.root.is_some() {
            return Err(root_lost(&certs));
        }
        Ok(Self {
            has_topology,
            has_base: exists(&home.base()),
            has_root_files: exists(&certs.join("root-cert.pem")),
            root,
            mesh_id,
            home,
        })
    }

    fn is_complete(&self) -> bool {
        self.has_topology && self.has_base && self.has_root_files
    }
}

/// Whether there is anything by that name, a dangling link included.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn no_mesh_id(options: &Options) -> Failure {
    Failure::usage("a new mesh needs a mesh ID, a name that no other mesh of yours has").hint(
        format!(
            "give it one: `kubectl multimesh init --mesh-id <mesh id>{}`, or set MESH_ID",
            options.choice.same_files()
        ),
    )
}

fn another_mesh(topology: &Path, written: &MeshId, wanted: &MeshId) -> Failure {
    Failure::usage(format!(
        "{} is the topology of the mesh `{written}`, not of `{wanted}`",
        topology.display()
    ))
    .hint(format!(
        "give `{wanted}` a directory of its own: leave out `--dir` and `-f`, and unset WORKDIR"
    ))
    .hint(format!("or, if `{written}` is meant: `--mesh-id {written}`, and unset MESH_ID"))
}

/// The text of a new topology.
#[derive(Default)]
struct Proposal {
    text: String,
    contexts: usize,
    notes: Vec<String>,
}

/// Proposes the contexts of the kubeconfig. One that cannot be read costs the proposals only.
fn propose(options: &Options, mesh_id: &MeshId) -> Result<Proposal, Failure> {
    let mut notes = Vec::new();
    let without = "topology.yaml has an example in place of your contexts";
    let candidates = match Kubeconfig::load(options.choice.kubeconfig.as_deref()) {
        Ok(kubeconfig) => {
            let candidates = candidates(&kubeconfig, &options.contexts)?;
            if candidates.is_empty() {
                let files = kubeconfig.files().iter().map(|file| file.display().to_string());
                let files: Vec<String> = files.collect();
                notes.push(if files.is_empty() {
                    format!("there is no kubeconfig; {without}")
                } else {
                    format!("{} has no contexts; {without}", files.join(", "))
                });
            }
            candidates
        }
        Err(error) => {
            notes.push(format!("{error}; {without}"));
            Vec::new()
        }
    };
    let text = topology::topology_text(mesh_id, &candidates);
    Ok(Proposal { text, contexts: candidates.len(), notes })
}

fn candidates(kubeconfig: &Kubeconfig, wanted: &[String]) -> Result<Vec<Candidate>, Failure> {
    let selectors = wanted.iter().map(|text| text.parse::<Selector>());
    let selectors = selectors.collect::<Result<Vec<_>, _>>()?;
    let candidates: Vec<Candidate> = kubeconfig
        .contexts()
        .into_iter()
        .filter_map(|entry| {
            let context = ContextName::new(entry.name).ok()?;
            Some(Candidate { context, server: Some(entry.server).filter(|s| !s.is_empty()) })
        })
        .collect();
    if candidates.is_empty() {
        return Ok(candidates);
    }
    let chosen = topology::select(candidates.iter().map(|c| &c.context), &selectors)?;
    Ok(candidates.into_iter().filter(|c| chosen.contains(&c.context)).collect())
}

/// What the user should know about a root CA that was there before.
fn root_notes(home: &Home, root: &Root, wanted: Option<&str>) -> Vec<String> {
    let mut notes = Vec::new();
    let has = root.certificate.organization.as_deref();
    if let Some(wanted) = wanted.filter(|wanted| has != Some(*wanted)) {
        notes.push(format!(
            "the root CA is kept, `{}`: the organisation `{wanted}` is not used",
            root.certificate.subject
        ));
    }
    let key = home.certs().join("root-key.pem");
    if root.key.is_none() {
        notes.push(format!(
            "the root CA has no private key here: put it at {} when a cluster is to be added or \
             its certificate renewed",
            key.display()
        ));
    } else if others_can_read(&key) {
        let key = key.to_string_lossy();
        notes.push(format!("{key} can be read by others: `chmod 600 {}`", quote(&key)));
    }
    notes
}

#[cfg(unix)]
fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn others_can_read(_: &Path) -> bool {
    false
}

fn pieces(home: &Home, root: &Root, made: &[Content]) -> Vec<Piece> {
    let certs = home.certs();
    let mut pieces = vec![
        (Content::RootCertificate, certs.join("root-cert.pem")),
        (Content::Base, home.base()),
        (Content::Topology, home.topology.clone()),
    ];
    if root.key.is_some() {
        pieces.insert(0, (Content::RootKey, certs.join("root-key.pem")));
    }
    let piece = |(content, path)| Piece { content, path, made: made.contains(&content) };
    pieces.into_iter().map(piece).collect()
}
