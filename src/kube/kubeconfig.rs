//! The kubeconfig, read as kubectl reads it and never written.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::kube::config as file;
use zeroize::Zeroizing;

use super::context::Context;
use super::credential::Credentials;
use super::error::Error;
use crate::files;

mod document;
mod names;

/// All kubeconfig files of a run, merged. Cheap to clone; clones share what credential plugins
/// answered.
#[derive(Clone)]
pub struct Kubeconfig {
    merged: Arc<file::Kubeconfig>,
    files: Arc<[PathBuf]>,
    explicit: Option<PathBuf>,
    pub(super) credentials: Credentials,
}

/// A context of the kubeconfig with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextEntry {
    /// The name of the context.
    pub name: String,
    /// The kubeconfig, where the user named one.
    pub kubeconfig: Option<PathBuf>,
    /// The cluster entry that it names.
    pub cluster: String,
    /// The user entry that it names; empty when it names none.
    pub user: String,
    /// The URL of the API server; empty when the cluster entry is missing or lacks it.
    pub server: String,
    /// The name in the API server's certificate, where it is not the host of `server`.
    pub tls_server_name: Option<String>,
    /// The namespace that kubectl would use.
    pub namespace: Option<String>,
    /// The proxy that the cluster entry names. It may hold a password.
    pub proxy_url: Option<String>,
    /// Whether the API server's certificate is not checked at all.
    pub insecure_skip_tls_verify: bool,
}

impl ContextEntry {
    /// The entry of a context that is not in the kubeconfig.
    pub fn unknown(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kubeconfig: None,
            cluster: String::new(),
            user: String::new(),
            server: String::new(),
            tls_server_name: None,
            namespace: None,
            proxy_url: None,
            insecure_skip_tls_verify: false,
        }
    }

    /// The context as kubectl is told of it.
    pub fn context(&self) -> Context {
        Context::new(&self.name, self.kubeconfig.as_deref())
    }
}

/// Where kubeconfig files may be: the three places that kubectl looks at, in its order.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The flag `--kubeconfig`: this file alone, which must exist.
    pub explicit: Option<PathBuf>,
    /// The environment variable `KUBECONFIG`: a list of files, of which some may be missing.
    pub variable: Option<OsString>,
    /// The home directory with `.kube/config`, which may be missing.
    pub home: Option<PathBuf>,
}

impl Sources {
    /// The sources of this process.
    pub fn of_process(explicit: Option<&Path>) -> Self {
        Self {
            explicit: explicit.map(Path::to_path_buf),
            variable: std::env::var_os("KUBECONFIG"),
            home: dirs::home_dir(),
        }
    }

    /// The files to read, and whether each must exist (client-go, `ClientConfigLoadingRules`).
    fn files(&self) -> Vec<(PathBuf, bool)> {
        if let Some(path) = &self.explicit {
            return vec![(path.clone(), true)];
        }
        if let Some(list) = self.variable.as_ref().filter(|list| !list.is_empty()) {
            let mut seen = BTreeSet::new();
            return std::env::split_paths(list)
                .filter(|path| !path.as_os_str().is_empty() && seen.insert(path.clone()))
                .map(|path| (path, false))
                .collect();
        }
        self.home.iter().map(|home| (home.join(".kube").join("config"), false)).collect()
    }

    /// The names of the contexts in these files, each once, in the order of the files. It is made for
    /// completion: of a large file little more than the contexts is read, and a file that is missing
    /// or not valid has none.
    pub fn context_names(&self) -> Vec<String> {
        let contents = self
            .files()
            .into_iter()
            .filter_map(|(path, _)| files::read_bytes(&path).ok().map(Zeroizing::new));
        let mut seen = BTreeSet::new();
        let names = contents.flat_map(|content| Kubeconfig::names_in(&content));
        names.filter(|name| seen.insert(name.clone())).collect()
    }
}

impl Kubeconfig {
    /// The names of the contexts in the content of one file; none where it is not valid. Of a large
    /// file little more than the contexts is read.
    pub fn names_in(content: &[u8]) -> Vec<String> {
        names::names(content)
    }

    /// Loads what kubectl would load: `explicit` (the flag `--kubeconfig`), else the files that
    /// `$KUBECONFIG` lists, else `~/.kube/config`. Without any file the result has no contexts.
    pub fn load(explicit: Option<&Path>) -> Result<Self, Error> {
        Self::load_from(&Sources::of_process(explicit))
    }

    /// Loads from the given sources. Files that are missing are skipped, except an explicit one.
    /// Of entries with the same name in two files the first wins; twice in one file is an error, as
    /// with kubectl.
    pub fn load_from(sources: &Sources) -> Result<Self, Error> {
        let mut contents = Vec::new();
        for (path, required) in sources.files() {
            match files::read_bytes(&path) {
                Ok(content) => contents.push((path, Zeroizing::new(content))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {}
                Err(error) => {
                    let reason = files::Cause::from(&error).to_string();
                    return Err(Error::KubeconfigUnreadable { path, reason });
                }
            }
        }
        Ok(Self { explicit: sources.explicit.clone(), ..Self::merge(contents)? })
    }

    /// Merges the contents of files, each with its path, in their order; see [`Self::load_from`].
    ///
    /// # Errors
    /// [`Error::KubeconfigUnreadable`] when a file is not text, [`Error::KubeconfigInvalid`].
    pub fn merge<T: AsRef<[u8]>>(
        contents: impl IntoIterator<Item = (PathBuf, T)>,
    ) -> Result<Self, Error> {
        let mut merged = file::Kubeconfig::default();
        let mut files = Vec::new();
        for (path, content) in contents {
            let next = document::read(&path, content.as_ref())?;
            merged = merged.merge(next).map_err(|_| Error::KubeconfigInvalid {
                path: path.clone(),
                position: None,
                reason: "its `kind` or `apiVersion` is not that of the files before it".to_owned(),
            })?;
            files.push(path);
        }
        Ok(Self {
            merged: Arc::new(merged),
            files: files.into(),
            explicit: None,
            credentials: Credentials::default(),
        })
    }

    /// The files that were read, in order.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The name of the current context, if one is set.
    pub fn current_context(&self) -> Option<&str> {
        self.merged.current_context.as_deref().filter(|name| !name.is_empty())
    }

    /// All contexts in the order of the files; entries that they name may be missing.
    pub fn contexts(&self) -> Vec<ContextEntry> {
        self.merged.contexts.iter().filter_map(|named| self.entry(named)).collect()
    }

    /// The names of all contexts in the order of the files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.merged.contexts.iter().map(|named| named.name.as_str())
    }

    /// One context, whose cluster and user entries exist.
    ///
    /// # Errors
    /// [`Error::NoContext`], [`Error::NoClusterEntry`], [`Error::NoUserEntry`].
    pub fn context(&self, name: &str) -> Result<ContextEntry, Error> {
        self.parts(name).map(|parts| parts.entry)
    }

    /// A context with its cluster and user entries.
    pub(super) fn parts(&self, name: &str) -> Result<Parts<'_>, Error> {
        let found = self.merged.contexts.iter().find(|named| named.name == name);
        let entry =
            found.and_then(|named| self.entry(named)).ok_or_else(|| self.no_context(name))?;
        let cluster = self
            .merged
            .clusters
            .iter()
            .find(|named| named.name == entry.cluster)
            .and_then(|named| named.cluster.as_ref())
            .ok_or_else(|| Error::NoClusterEntry {
                context: entry.context(),
                cluster: entry.cluster.clone(),
            })?;
        let user = self
            .merged
            .auth_infos
            .iter()
            .find(|named| named.name == entry.user)
            .ok_or_else(|| Error::NoUserEntry {
                context: entry.context(),
                user: entry.user.clone(),
            })?
            .auth_info
            .clone()
            .unwrap_or_default();
        Ok(Parts { entry, cluster, user })
    }

    fn entry(&self, named: &file::NamedContext) -> Option<ContextEntry> {
        let context = named.context.as_ref()?;
        let cluster = self
            .merged
            .clusters
            .iter()
            .find(|other| other.name == context.cluster)
            .and_then(|named| named.cluster.as_ref());
        let text = |value: Option<&String>| value.filter(|text| !text.is_empty()).cloned();
        Some(ContextEntry {
            name: named.name.clone(),
            kubeconfig: self.explicit.clone(),
            cluster: context.cluster.clone(),
            user: context.user.clone().unwrap_or_default(),
            server: cluster.and_then(|c| c.server.clone()).unwrap_or_default(),
            tls_server_name: cluster.and_then(|c| text(c.tls_server_name.as_ref())),
            namespace: text(context.namespace.as_ref()),
            proxy_url: cluster.and_then(|c| text(c.proxy_url.as_ref())),
            insecure_skip_tls_verify: cluster
                .and_then(|c| c.insecure_skip_tls_verify)
                .unwrap_or(false),
        })
    }

    fn no_context(&self, name: &str) -> Error {
        /// Below this Jaro-Winkler similarity a suggestion is noise.
        const SIMILAR: f64 = 0.85;
        let known: Vec<String> =
            self.merged.contexts.iter().map(|named| named.name.clone()).collect();
        let similar = known
            .iter()
            .map(|other| (strsim::jaro_winkler(name, other), other))
            .filter(|(score, _)| *score >= SIMILAR)
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, other)| other.clone());
        let context = Context::new(name, self.explicit.as_deref());
        Error::NoContext { context, known, similar, files: self.files.to_vec() }
    }
}

/// A context with what is needed to connect.
pub(super) struct Parts<'a> {
    pub(super) entry: ContextEntry,
    pub(super) cluster: &'a file::Cluster,
    pub(super) user: file::AuthInfo,
}
