//! What may follow on the command line, from the user's own files. A file that cannot be read gives
//! no choice; nothing is told of it.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap_complete::engine::CompletionCandidate;

use crate::engine::home::{self, Choice};
use crate::engine::state::State;
use crate::kube::kubeconfig::Sources;
use crate::topology;

/// The IDs of the meshes on this machine; none for `init`, which wants a new one.
pub(in crate::cli) fn meshes() -> Vec<CompletionCandidate> {
    if std::env::args_os().any(|word| word == "init" || word == "prep-mesh") {
        return Vec::new();
    }
    let ids = home::root().map(|root| home::meshes(&root)).unwrap_or_default();
    ids.into_iter().map(CompletionCandidate::new).collect()
}

/// The contexts of the mesh, or of the kubeconfig where there is none; with `^` those to leave out.
pub(in crate::cli) fn contexts(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let (mark, start) = typed.strip_prefix('^').map_or(("", typed.as_ref()), |start| ("^", start));
    let line = Line::typed();
    let names = line.topology().unwrap_or_else(|| line.kubeconfig());
    candidates(names, mark, start)
}

/// The contexts of the mesh, each of which may be another cluster by now.
pub(in crate::cli) fn members(typed: &OsStr) -> Vec<CompletionCandidate> {
    let names = Line::typed().topology().unwrap_or_default();
    candidates(names, "", &typed.to_string_lossy())
}

/// The contexts on record that are not in the topology.
pub(in crate::cli) fn leavers(typed: &OsStr) -> Vec<CompletionCandidate> {
    let line = Line::typed();
    let members = line.topology().unwrap_or_default();
    let mut names = line.record().unwrap_or_default();
    names.retain(|name| !members.contains(name));
    candidates(names, "", &typed.to_string_lossy())
}

fn candidates(names: Vec<String>, mark: &str, start: &str) -> Vec<CompletionCandidate> {
    let names = names.into_iter().filter(|name| name.starts_with(start));
    names.map(|name| CompletionCandidate::new(format!("{mark}{name}"))).collect()
}

/// What the command line says of files so far, and the environment where it says nothing.
struct Line {
    choice: Choice,
}

impl Line {
    fn typed() -> Self {
        let words: Vec<String> =
            std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        let environment = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let dir = value(&words, &["--dir"]).or_else(|| environment("WORKDIR"));
        let mesh = value(&words, &["--mesh", "--mesh-id"]).or_else(|| environment("MESH_ID"));
        let file = value(&words, &["--filename", "-f"]);
        let kubeconfig = value(&words, &["--kubeconfig"]);
        let path = |text: Option<String>| text.map(PathBuf::from);
        let (dir, file, kubeconfig) = (path(dir), path(file), path(kubeconfig));
        Self { choice: Choice { dir, file, mesh, kubeconfig } }
    }

    /// The contexts of the topology; none where there is no mesh.
    fn topology(&self) -> Option<Vec<String>> {
        let file = home::find(&self.choice).ok()?.topology;
        let topology = topology::parse(&home::read(&file).ok()?, &file).ok()?;
        Some(topology.contexts().map(|name| name.as_str().to_owned()).collect())
    }

    /// The contexts on record.
    fn record(&self) -> Option<Vec<String>> {
        let home = home::find(&self.choice).ok()?;
        let path = home.state();
        let state = State::parse(&home::read(&path).ok()?, &path).ok()?;
        Some(state.contexts.into_keys().collect())
    }

    fn kubeconfig(&self) -> Vec<String> {
        Sources::of_process(self.choice.kubeconfig.as_deref()).context_names()
    }
}

/// The value of a flag in these words, as in `--flag value`, `--flag=value` or `-fvalue`.
fn value(words: &[String], flags: &[&str]) -> Option<String> {
    let mut found = None;
    for (index, word) in words.iter().enumerate() {
        for flag in flags {
            let value = match word.strip_prefix(flag) {
                Some("") => words.get(index + 1).cloned(),
                Some(rest) if flag.starts_with("--") => rest.strip_prefix('=').map(str::to_owned),
                Some(rest) => Some(rest.to_owned()),
                None => None,
            };
            found = value.filter(|value| !value.is_empty()).or(found);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_in_all_their_forms() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let flags = ["--filename", "-f"];
        for text in [
            "plan -f a.yaml",
            "plan -fa.yaml",
            "plan --filename=a.yaml",
            "plan --filename a.yaml x",
        ] {
            assert_eq!(value(&words(text), &flags).as_deref(), Some("a.yaml"), "{text}");
        }
        assert_eq!(value(&words("plan -f"), &flags), None);
        assert_eq!(value(&words("plan --filenames x"), &["--filename"]), None);
        assert_eq!(value(&words("plan -f a -f b"), &flags).as_deref(), Some("b"));
    }
}
