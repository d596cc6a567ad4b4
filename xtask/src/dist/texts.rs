//! What is packed beside the binary: the licence, man pages, completions.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::archive::Files;
use super::command::{output, run};

/// Shells, and the names of their scripts.
const COMPLETIONS: [(&str, &str); 4] = [
    ("bash", "kubectl-multimesh.bash"),
    ("zsh", "_kubectl-multimesh"),
    ("fish", "kubectl-multimesh.fish"),
    ("powershell", "kubectl-multimesh.ps1"),
];

/// Has a binary that runs here write them.
pub(super) fn collect(binary: &Path, root: &Path) -> Result<Files, String> {
    let mut files = Files::from([("LICENSE".to_owned(), read(&root.join("LICENSE"))?)]);
    let man = tempfile::tempdir().map_err(|e| e.to_string())?;
    run(Command::new(binary).args(["man", "--out"]).arg(man.path()))?;
    for entry in fs::read_dir(man.path()).map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| e.to_string())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(format!("man/{name}"), read(&entry.path())?);
    }
    for (shell, name) in COMPLETIONS {
        let script = output(Command::new(binary).args(["completion", shell]))?;
        files.insert(format!("completions/{name}"), script.into_bytes());
    }
    Ok(files)
}

/// Reads a file whole.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("{} cannot be read: {e}", path.display()))
}
