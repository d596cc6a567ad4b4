//! Each binary is run once where that can be.

use std::path::Path;
use std::process::Command;

use super::command::output;
use super::targets::Target;

/// Asks a binary for its version; says how it was run, or why it was not.
pub(super) fn run(target: &Target, binary: &Path, version: &str) -> Result<String, String> {
    let native = target.arch == host() && target.os != "windows";
    let (runner, how) = match (native, target.os, target.arch) {
        (true, ..) => (None, "ran here".to_owned()),
        (false, "linux", "arm64") => (Some("qemu-aarch64-static"), "ran under qemu".to_owned()),
        (false, "windows", "amd64") => (Some("wine"), "ran under wine".to_owned()),
        _ => return Ok("not run: another architecture".to_owned()),
    };
    let mut command = runner.map_or_else(|| Command::new(binary), Command::new);
    if let Some(runner) = runner {
        if !answers(runner) {
            return Ok(format!("not run: {runner} is not installed"));
        }
        command.arg(binary);
    }
    let prefix = tempfile::tempdir().map_err(|e| e.to_string())?;
    command.arg("--version").env("WINEPREFIX", prefix.path()).env("WINEDEBUG", "-all,err+module");
    let said = match output(&mut command) {
        Err(error) if runner == Some("wine") && lacks(&error).is_some() => {
            let library = lacks(&error).unwrap_or_default();
            return Ok(format!("not run: this wine lacks {library}"));
        }
        result => result?,
    };
    if said.contains(version) {
        return Ok(how);
    }
    Err(format!("{} says `{}` instead of version {version}", binary.display(), said.trim()))
}

/// The library of Windows that wine says it does not have.
fn lacks(said: &str) -> Option<&str> {
    let (library, rest) = said.split_once("import_dll Library ")?.1.split_once(' ')?;
    rest.contains("not found").then_some(library)
}

fn answers(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|it| it.status.success())
}

/// This machine's architecture by Go's name.
fn host() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
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
