//! Each binary is run once where that can be.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::command::{output, run as must};
use super::targets::{Target, native};
use super::tools;

/// The library of Windows 10 from which Rust's standard library takes random numbers: wine 8 does
/// not have it.
const RANDOM: &str = "bcryptprimitives.dll";
/// A stand-in with the one function that is wanted of it.
const STAND_IN: &str = "\
__declspec(dllimport) unsigned char __stdcall SystemFunction036(void *, unsigned long);
__declspec(dllexport) int __stdcall ProcessPrng(unsigned char *data, unsigned long long length) {
  return SystemFunction036(data, (unsigned long)length);
}
";

/// Asks a binary for its version; says how it was run, or why it was not.
pub(super) fn run(target: Target, binary: &Path, version: &str) -> Result<String, String> {
    let version_of = |command: &mut Command| {
        let said = output(command.arg("--version"))?;
        if said.contains(version) {
            return Ok(());
        }
        Err(format!("{} says `{}` instead of version {version}", binary.display(), said.trim()))
    };
    if native() == Ok(target) {
        return version_of(&mut Command::new(binary)).map(|()| "ran here".into());
    }
    match (target.os, target.arch) {
        ("linux", "arm64") => {
            let qemu = "qemu-aarch64-static";
            if !answers(qemu) {
                return Ok(format!("not run: {qemu} is not installed"));
            }
            version_of(Command::new(qemu).arg(binary)).map(|()| "ran under qemu".into())
        }
        ("windows", "amd64") => {
            if !answers("wine") {
                return Ok("not run: wine is not installed".into());
            }
            under_wine(binary, version_of)
        }
        (os, arch) => Ok(format!("not run: nothing here runs programs for {os} on {arch}")),
    }
}

/// Runs a binary under wine, in a prefix of its own.
fn under_wine(
    binary: &Path,
    version_of: impl Fn(&mut Command) -> Result<(), String>,
) -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let copy = folder.path().join("kubectl-multimesh.exe");
    fs::copy(binary, &copy).map_err(|e| format!("{}: {e}", binary.display()))?;
    let wine = |program: &str| {
        let mut command = Command::new(program);
        command.env("WINEPREFIX", folder.path().join("prefix"));
        command.env("WINEDEBUG", "-all,err+module");
        command
    };
    let attempt = || version_of(wine("wine").arg(&copy));
    let mut result = attempt().map(|()| "ran under wine".to_owned());
    if result.as_ref().is_err_and(|error| lacks(error) == Some(RANDOM)) {
        let code = folder.path().join("stand-in.c");
        fs::write(&code, STAND_IN).map_err(|e| e.to_string())?;
        let words = ["-target", "x86_64-windows-gnu", "-shared", "-ladvapi32", "-o"];
        let library = folder.path().join(RANDOM);
        must(tools::zig_cc()?.args(words).arg(library).arg(&code))?;
        result = attempt().map(|()| format!("ran under wine with a stand-in for {RANDOM}"));
    }
    // Its server would outlive the prefix.
    let end = wine("wineserver").arg("--kill").status();
    end.map_err(|e| format!("`wineserver --kill` cannot be run: {e}"))?;
    result.or_else(|error| match lacks(&error) {
        Some(library) => Ok(format!("not run: this wine lacks {library}")),
        None => Err(error),
    })
}

/// The library of Windows that wine says it does not have.
fn lacks(said: &str) -> Option<&str> {
    let (library, rest) = said.split_once("import_dll Library ")?.1.split_once(' ')?;
    rest.contains("not found").then_some(library)
}

fn answers(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|it| it.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wine_lacks_is_read() {
        let said = "0024:err:module:import_dll Library bcryptprimitives.dll (which is needed by \
                    L\"Z:\\\\a.exe\") not found";
        assert_eq!(lacks(said), Some("bcryptprimitives.dll"));
        assert_eq!(lacks("wine: could not load kernel32.dll"), None);
    }
}
