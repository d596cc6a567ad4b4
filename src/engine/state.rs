//! `state.yaml`: what was applied where, enough to notice a context that points elsewhere now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::files;
use crate::kube::quote;
use crate::topology::{shortened, yaml};

/// The format that this version reads and writes.
const FORMAT: u32 = 1;

/// The record of a mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The format of the file.
    pub format: u32,
    /// The mesh ID.
    pub mesh_id: String,
    /// SHA-256 fingerprint of the root CA's certificate, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// What is known of each context that was applied.
    #[serde(default)]
    pub contexts: BTreeMap<String, Record>,
}

/// What is known of one context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The UID of the namespace `kube-system`: the identity of the cluster.
    pub uid: String,
    /// The Istio cluster name, which never changes while the cluster is in the mesh.
    pub cluster: String,
    /// The network.
    pub network: String,
    /// The namespace of the control plane.
    pub namespace: String,
    /// The API server's address in the kubeconfig at the last apply.
    pub server: String,
    /// SHA-256 fingerprints of the CA certificates that the kubeconfig trusted for the API server
    /// at the last apply, sorted; empty where it named none. Files of earlier versions have no
    /// such entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Vec<String>>,
    /// The version of Istio that was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub istio: Option<String>,
    /// Set once the topology lists the context no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
}

/// How far a cluster has left the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// Something of the mesh may still be there.
    Pending,
    /// Its links are gone; its control plane stays, as the user wishes.
    Kept,
}

impl State {
    /// The state of a mesh that was never applied.
    pub fn new(mesh_id: &str) -> Self {
        Self { format: FORMAT, mesh_id: mesh_id.to_owned(), root: None, contexts: BTreeMap::new() }
    }

    /// Reads the file; a mesh without one was never applied from here.
    pub fn load(path: &Path, mesh_id: &str) -> Result<Self, Failure> {
        let Some(text) = files::read(path)? else { return Ok(Self::new(mesh_id)) };
        let state = Self::parse(&text, path)?;
        if state.mesh_id == mesh_id {
            return Ok(state);
        }
        Err(Failure::new(format!(
            "{} belongs to the mesh `{}`, not to `{mesh_id}`",
            path.display(),
            state.mesh_id
        ))
        .hint("a mesh ID cannot be changed in place: give each mesh a directory of its own"))
    }

    /// Reads `text`, the content of `path`.
    ///
    /// # Errors
    /// Says what is damaged, and how to go on without the file.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        Self::read(text).map_err(|why| {
            let failure = Failure::new(format!("{} is damaged: {why}", path.display()));
            let shell = |path: &Path| quote(&path.to_string_lossy());
            let (copy, here) = (copy_of(path), shell(path));
            let is_good = std::fs::read_to_string(&copy).is_ok_and(|text| Self::read(&text).is_ok());
            let (failure, or) = if is_good {
                let back = format!("put back what was last written: `cp {} {here}`", shell(&copy));
                (failure.hint(back), "or ")
            } else {
                (failure, "")
            };
            failure.hint(format!(
                "{or}move it away (`mv {here} {here}.damaged`) and apply again: the members are found \
                 again; which cluster each context was, and which ones have left the topology and are \
                 not cleaned yet, is not"
            ))
        })
    }

    fn read(text: &str) -> Result<Self, String> {
        let options = serde_saphyr::options! { with_snippet: false, budget: yaml::budget() };
        let state: Self = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| shortened(&error.to_string()))?;
        if state.format == FORMAT {
            Ok(state)
        } else {
            Err(format!("format {} is not one that this version reads", state.format))
        }
    }

    /// The content of the file that says this, `path`.
    ///
    /// # Errors
    /// When it cannot be said in YAML.
    pub fn text(&self, path: &Path) -> Result<String, Failure> {
        serde_saphyr::to_string(self)
            .map_err(|e| Failure::new(format!("failed to write {}: {e}", path.display())))
    }

    /// Writes the file and its copy, unless they say this already.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let text = self.text(path)?;
        for path in [path, &copy_of(path)] {
            if !std::fs::read_to_string(path).is_ok_and(|old| old == text) {
                files::write_private(path, text.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// The copy of the file, for when the file is damaged.
fn copy_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".bak");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let mut state = State::new("m1");
        let record = Record {
            uid: "0123".into(),
            cluster: "yes".into(),
            network: "1e3".into(),
            namespace: "istio-system".into(),
            server: "https://10.0.0.1:6443".into(),
            ca: Some(vec!["ab".repeat(32)]),
            istio: None,
            left: None,
        };
        state.contexts.insert("arn:aws:eks:eu-west-1:1:cluster/a".into(), record);
        state
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.yaml");
        state().save(&path).unwrap();
        assert_eq!(State::load(&path, "m1").unwrap(), state());
    }

    #[test]
    fn a_record_without_the_authority_is_read() {
        let text = "format: 1\nmesh_id: m1\ncontexts:\n  a: {uid: u, cluster: a, network: n, \
                    namespace: istio-system, server: 'https://10.0.0.1'}\n";
        let state = State::parse(text, Path::new("state.yaml")).unwrap();
        assert_eq!(state.contexts["a"].ca, None);
    }

    #[test]
    fn a_damaged_or_foreign_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.yaml");
        for text in [
            "format: 1\nmesh_id: m1\nx: 1\n",
            "format: 9\nmesh_id: m1\n",
            "{",
            "",
            "format: 1\nmesh_id: m1\nmesh_id: m1\n",
        ] {
            std::fs::write(&path, text).unwrap();
            let failure = State::load(&path, "m1").unwrap_err();
            assert!(failure.message.contains("is damaged"), "{text:?}: {failure}");
        }
        state().save(&path).unwrap();
        assert!(State::load(&path, "m2").unwrap_err().message.contains("belongs to the mesh `m1`"));
    }

    #[test]
    fn what_was_last_written_can_be_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.yaml");
        state().save(&path).unwrap();
        let mut later = state();
        later.contexts.clear();
        later.save(&path).unwrap();
        std::fs::write(&path, "{").unwrap();
        let failure = State::load(&path, "m1").unwrap_err();
        let copy = format!("`cp {0}.bak {0}`", path.display());
        assert!(failure.hints[0].contains(&copy), "{:?}", failure.hints);
        std::fs::copy(copy_of(&path), &path).unwrap();
        assert_eq!(State::load(&path, "m1").unwrap(), later);

        // A copy that is damaged as well is not offered.
        for path in [&path, &copy_of(&path)] {
            std::fs::write(path, "{").unwrap();
        }
        let failure = State::load(&path, "m1").unwrap_err();
        assert!(failure.hints[0].starts_with("move it away"), "{:?}", failure.hints);
    }

    #[test]
    fn an_unchanged_state_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.yaml");
        state().save(&path).unwrap();
        let before = std::fs::metadata(&path).unwrap().modified().unwrap();
        state().save(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), before);
    }
}
