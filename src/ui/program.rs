//! How the user calls the tool.
//!
//! kubectl looks a plugin up on PATH and runs it by the path that it found
//! (k8s.io/kubectl: `pkg/cmd/plugin.go`, `syscall.Exec`, on Windows a child process), which is absolute as
//! the folders of PATH are. A shell hands over the word as it was typed. So a bare word or a relative
//! path was typed, and an absolute path is taken for kubectl's, also where it was typed, or where
//! PowerShell made it of a word: those users read of `kubectl multimesh`, which works too.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;

/// The words that call it by kubectl.
pub const PLUGIN: &str = "kubectl multimesh";
/// The word that calls it without kubectl; the name of the program.
pub const PROGRAM: &str = "kubectl-multimesh";

/// The words by which this process was called.
pub fn called() -> &'static str {
    std::env::args_os().next().map_or(PLUGIN, |program| called_by(&program))
}

/// A text that names commands as `kubectl multimesh`, with the words by which this process was called.
pub fn as_called(text: &str) -> Cow<'_, str> {
    match called() {
        PLUGIN => Cow::Borrowed(text),
        other => Cow::Owned(text.replace(&format!("{PLUGIN} "), &format!("{other} "))),
    }
}

fn called_by(program: &OsStr) -> &'static str {
    let path = Path::new(program);
    let exe = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("exe"));
    let name = if exe { path.file_stem() } else { path.file_name() };
    if name == Some(OsStr::new(PROGRAM)) && !path.is_absolute() { PROGRAM } else { PLUGIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_typed_and_a_path_from_the_root_is_kubectls() {
        let by = |program: &str| called_by(OsStr::new(program));
        for typed in ["kubectl-multimesh", "kubectl-multimesh.exe", "./kubectl-multimesh"] {
            assert_eq!(by(typed), PROGRAM, "{typed}");
        }
        let root = if cfg!(windows) { "C:\\krew\\" } else { "/krew/" };
        for other in [&format!("{root}kubectl-multimesh"), "mesh", "kubectl_complete-multimesh", ""]
        {
            assert_eq!(by(other), PLUGIN, "{other}");
        }
    }
}
