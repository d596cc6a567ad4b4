//! Which cluster is meant, as kubectl is told of it.

use std::fmt;
use std::path::{Path, PathBuf};

/// A context of the kubeconfig. It is shown by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    name: String,
    kubeconfig: Option<PathBuf>,
}

impl Context {
    /// A context of the kubeconfig that the user named; without one, of those that kubectl reads by
    /// itself.
    pub fn new(name: impl Into<String>, kubeconfig: Option<&Path>) -> Self {
        Self { name: name.into(), kubeconfig: kubeconfig.map(Path::to_path_buf) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The flags by which kubectl, and istioctl, ask this cluster, each with a space before it.
    pub fn same_cluster(&self) -> String {
        format!("{} --context {}", self.same_kubeconfig(), quote(&self.name))
    }

    /// The flag by which they read the same kubeconfig, with a space before it.
    pub fn same_kubeconfig(&self) -> String {
        let flag = |file: &PathBuf| format!(" --kubeconfig {}", quote(&file.to_string_lossy()));
        self.kubeconfig.as_ref().map(flag).unwrap_or_default()
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The flag that leaves a context out of a run.
pub(crate) fn without(context: &str) -> String {
    format!("--contexts {}", quote(&format!("^{context}")))
}

/// A word as a POSIX shell takes it.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quote("arn:aws:eks:x:1:cluster/a"), "arn:aws:eks:x:1:cluster/a");
        assert_eq!(quote("my context's"), r"'my context'\''s'");
        assert_eq!(quote(""), "''");
        assert_eq!(without("a b"), "--contexts '^a b'");
    }

    #[test]
    fn a_cluster_is_asked_by_the_kubeconfig_that_the_user_named() {
        let east = |file: Option<&str>| Context::new("my east", file.map(Path::new)).same_cluster();
        assert_eq!(east(None), " --context 'my east'");
        assert_eq!(east(Some("a b/c")), " --kubeconfig 'a b/c' --context 'my east'");
    }
}
