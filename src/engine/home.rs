//! Which mesh a command is about, and where its files are.

use std::path::{Path, PathBuf};

use crate::error::Failure;
use crate::files;
use crate::kube::quote;
use crate::topology::{self, MeshId, Topology, parse};

/// How the user named the files.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The mesh directory itself (`--dir`, or the seed's `WORKDIR`).
    pub dir: Option<PathBuf>,
    /// A topology file kept elsewhere (`-f`).
    pub file: Option<PathBuf>,
    /// A mesh ID (`--mesh`, or the seed's `MESH_ID`).
    pub mesh: Option<String>,
    /// The kubeconfig, if not the usual ones (`--kubeconfig`).
    pub kubeconfig: Option<PathBuf>,
}

impl Choice {
    /// The flags by which another command finds the same files, each with a space before it.
    pub fn same_files(&self) -> String {
        flag("--dir", self.dir.as_deref())
            + &flag("-f", self.file.as_deref())
            + &self.same_kubeconfig()
    }

    /// The flag by which another command, kubectl's too, reads the same kubeconfig, with a space
    /// before it.
    pub fn same_kubeconfig(&self) -> String {
        flag("--kubeconfig", self.kubeconfig.as_deref())
    }
}

/// A flag with a path, if there is one, and a space before it.
pub(super) fn flag(name: &str, value: Option<&Path>) -> String {
    let flag = |path: &Path| format!(" {name} {}", quote(&path.to_string_lossy()));
    value.map(flag).unwrap_or_default()
}

/// The files of one mesh.
#[derive(Debug, Clone)]
pub struct Home {
    /// The mesh directory.
    pub dir: PathBuf,
    /// The topology file.
    pub topology: PathBuf,
}

impl Home {
    /// The files of a mesh that keeps its topology with the others.
    pub(super) fn in_dir(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), topology: dir.join("topology.yaml") }
    }

    /// The IstioOperator that every cluster gets.
    pub fn base(&self) -> PathBuf {
        self.dir.join("base.yaml")
    }

    /// The certificate authorities.
    pub fn certs(&self) -> PathBuf {
        self.dir.join("certs")
    }

    /// What was applied where.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state.yaml")
    }

    /// Rendered manifests, which can be made again.
    pub fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }
}

/// The folder that holds the meshes of this user: `MULTIMESH_HOME`, or `multimesh` in the user's
/// configuration folder (`~/.config`; on Windows `%LOCALAPPDATA%`).
pub fn root() -> Result<PathBuf, Failure> {
    if let Some(home) = std::env::var_os("MULTIMESH_HOME").filter(|h| !h.is_empty()) {
        return Ok(PathBuf::from(home));
    }
    config_dir().map(|dir| dir.join("multimesh")).ok_or_else(|| {
        Failure::new(
            "this user has no configuration folder, as neither HOME nor XDG_CONFIG_HOME is set",
        )
        .hint("set MULTIMESH_HOME to a folder for the files of your meshes")
    })
}

/// Where this user's programs keep what they are told. On macOS that of programs of the command line,
/// as on Linux; on Windows the one that does not travel with the user, as there are keys in it.
fn config_dir() -> Option<PathBuf> {
    if cfg!(target_os = "macos") {
        let named = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let named = named.filter(|dir| dir.is_absolute());
        return named.or_else(|| Some(dirs::home_dir()?.join(".config")));
    }
    dirs::config_local_dir()
}

/// Where a mesh with this ID lives, unless a directory was named.
pub fn dir_of(choice: &Choice, mesh_id: &MeshId) -> Result<PathBuf, Failure> {
    match &choice.dir {
        Some(dir) => Ok(dir.clone()),
        None => Ok(root()?.join(mesh_id.as_ref())),
    }
}

/// Finds the mesh that the user means.
pub fn find(choice: &Choice) -> Result<Home, Failure> {
    let dir = match (&choice.dir, &choice.file, &choice.mesh) {
        (Some(dir), _, _) => existing_dir(choice, dir)?,
        (None, Some(file), _) => {
            let topology = read_topology(choice, file)?;
            root()?.join(topology.mesh_id.as_ref())
        }
        (None, None, Some(mesh)) => {
            let id = MeshId::new(mesh).map_err(|why| Failure::usage(why.to_string()))?;
            named_mesh(choice, &root()?, &id)?
        }
        (None, None, None) => the_only_mesh(choice, &root()?)?,
    };
    let topology = choice.file.clone().unwrap_or_else(|| dir.join("topology.yaml"));
    Ok(Home { dir, topology })
}

/// Reads a file of the user that must be there.
pub fn read(path: &Path) -> Result<String, Failure> {
    let missing = || files::Error::Read { path: path.to_path_buf(), cause: files::Cause::Missing };
    Ok(files::read(path)?.ok_or_else(missing)?)
}

/// Reads a topology file, which must be there.
pub fn read_topology(choice: &Choice, path: &Path) -> Result<Topology, Failure> {
    let text = files::read(path)?.ok_or_else(|| {
        Failure::new(format!("there is no topology file `{}`", path.display()))
            .hint("if it is kept elsewhere, name it: `-f <topology.yaml>`")
            .hint(format!(
                "a new mesh gets one: `kubectl multimesh init --mesh-id <mesh id>{}`",
                choice.same_files()
            ))
    })?;
    parse(&text, path).map_err(|error| {
        use topology::Error as E;
        let hint = match error {
            E::NoContexts { .. } | E::BadContextName { .. } => Some(format!(
                "the contexts that there are: `kubectl{} config get-contexts -o name`",
                choice.same_kubeconfig()
            )),
            E::Empty { .. } => Some(format!(
                "or remove it, and have one written to start from: `kubectl multimesh init --mesh-id <mesh id>{}`",
                choice.same_files()
            )),
            _ => None,
        };
        Failure::from(error).maybe_hint(hint)
    })
}

/// An I/O error in plain words, without the operating system's error number.
pub fn cause(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// The mesh directory that was named, if it is there.
pub(super) fn existing_dir(choice: &Choice, dir: &Path) -> Result<PathBuf, Failure> {
    if dir.is_dir() {
        Ok(dir.to_path_buf())
    } else {
        Err(Failure::new(format!("the mesh directory {} does not exist", dir.display())).hint(
            format!(
                "create it: `kubectl multimesh init --mesh-id <mesh id>{}`",
                choice.same_files()
            ),
        ))
    }
}

/// The IDs of the meshes under the root folder.
pub fn meshes(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("topology.yaml").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn named_mesh(choice: &Choice, root: &Path, id: &MeshId) -> Result<PathBuf, Failure> {
    let dir = root.join(id.as_ref());
    if dir.is_dir() {
        return Ok(dir);
    }
    let names = meshes(root);
    let failure = Failure::usage(format!("there is no mesh `{id}` in {}", root.display()));
    Err(if names.is_empty() {
        failure
    } else {
        failure.hint(format!("the meshes there are {}", names.join(", ")))
    }
    .hint(format!("create it: `kubectl multimesh init --mesh-id {id}{}`", choice.same_files())))
}

fn the_only_mesh(choice: &Choice, root: &Path) -> Result<PathBuf, Failure> {
    let names = meshes(root);
    match names.as_slice() {
        [] => Err(Failure::usage(format!("there is no mesh in {}", root.display()))
            .hint(format!(
                "create one: `kubectl multimesh init --mesh-id <mesh id>{}`",
                choice.same_files()
            ))
            .hint("or name its files: `--dir <mesh directory>` or `-f <topology.yaml>`")),
        [name] => Ok(root.join(name)),
        several => Err(Failure::usage(format!("there are several meshes: {}", several.join(", ")))
            .hint("say which one is meant: `--mesh <mesh id>`")),
    }
}
