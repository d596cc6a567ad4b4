//! `completion install`: the second name under which kubectl finds the program.

#[cfg(unix)]
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::COMPLETER;
use crate::engine::home::cause;
use crate::error::Failure;
use crate::files;
use crate::ui::Ui;
use crate::ui::program::PROGRAM;

/// Makes the name, if it is not there.
pub(super) fn install(ui: Ui, folder: Option<&Path>) -> Result<(), Failure> {
    let place = Place::find(folder)?;
    if place.works() {
        ui.line(&format!("{} is there already", place.link.display()));
    } else {
        if place.is_ours() {
            let gone = std::fs::remove_file(&place.link);
            gone.map_err(|error| refused(&place.link, "replaced", &error))?;
        } else if place.link.symlink_metadata().is_ok() {
            return Err(foreign(&place.link));
        }
        place.make().map_err(|error| refused(&place.link, "made", &error))?;
        ui.line(&format!("made {}, which leads to {PROGRAM}", place.link.display()));
    }
    ui.line("kubectl 1.26 or newer asks it, once kubectl's own completion is on: `kubectl completion --help` says how");
    Ok(())
}

/// Takes the name away, if it is ours.
pub(super) fn uninstall(ui: Ui, folder: Option<&Path>) -> Result<(), Failure> {
    let place = Place::find(folder)?;
    if place.link.symlink_metadata().is_err() {
        ui.line(&format!("{} is not there", place.link.display()));
        return Ok(());
    }
    if !place.is_ours() {
        return Err(foreign(&place.link));
    }
    std::fs::remove_file(&place.link).map_err(|error| refused(&place.link, "removed", &error))?;
    ui.line(&format!("removed {}", place.link.display()));
    Ok(())
}

/// Where the name is, and what it leads to.
struct Place {
    /// The program, by the name that kubectl finds: one that an upgrade leaves where it is.
    program: PathBuf,
    link: PathBuf,
}

impl Place {
    fn find(folder: Option<&Path>) -> Result<Self, Failure> {
        let end = std::env::consts::EXE_SUFFIX;
        let (program, completer) = (format!("{PROGRAM}{end}"), format!("{COMPLETER}{end}"));
        let this = || std::env::current_exe().ok();
        let found = match folder {
            Some(folder) => {
                let beside = Some(folder.join(&program)).filter(|file| file.is_file());
                let absolute = |file| std::path::absolute(file).ok();
                beside.or_else(|| files::on_path(PROGRAM).and_then(absolute))
            }
            None => files::on_path(PROGRAM),
        };
        let folder = match folder {
            Some(folder) => folder.to_owned(),
            None => match found.as_deref().and_then(Path::parent) {
                Some(folder) => folder.to_owned(),
                None => {
                    return Err(Failure::new(format!("there is no `{program}` on PATH"))
                        .hint("name a folder that is on PATH: `kubectl multimesh completion install --in <dir>`"));
                }
            },
        };
        let program = found.or_else(this).ok_or_else(|| {
            Failure::new("this program does not know where it is")
                .hint("put it on PATH, then: `kubectl multimesh completion install`")
        })?;
        Ok(Self { program, link: folder.join(completer) })
    }

    /// A link beside the program names it alone, so that the folder may move.
    #[cfg(unix)]
    fn target(&self) -> OsString {
        match self.program.file_name() {
            Some(name) if self.program.parent() == self.link.parent() => name.to_owned(),
            _ => self.program.clone().into_os_string(),
        }
    }

    #[cfg(unix)]
    fn make(&self) -> io::Result<()> {
        std::os::unix::fs::symlink(self.target(), &self.link)
    }

    /// Whether what has the name leads to a program of ours.
    #[cfg(unix)]
    fn is_ours(&self) -> bool {
        let target = std::fs::read_link(&self.link);
        target.is_ok_and(|to| to.file_name().is_some_and(|name| name == PROGRAM))
    }

    /// Whether the name is of use: what it leads to may be gone.
    #[cfg(unix)]
    fn works(&self) -> bool {
        self.is_ours() && self.link.is_file()
    }

    /// Links need a right there that few have.
    #[cfg(not(unix))]
    fn make(&self) -> io::Result<()> {
        std::fs::copy(&self.program, &self.link).map(|_| ())
    }

    /// Whether what has the name is a program of ours, of whatever version: it knows the name.
    #[cfg(not(unix))]
    fn is_ours(&self) -> bool {
        let (program, name) = (std::fs::read(&self.link).unwrap_or_default(), COMPLETER.as_bytes());
        program.windows(name.len()).any(|bytes| bytes == name)
    }

    /// Whether it is this very version.
    #[cfg(not(unix))]
    fn works(&self) -> bool {
        match (std::fs::read(&self.link), std::fs::read(&self.program)) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
    }
}

fn foreign(link: &Path) -> Failure {
    Failure::new(format!("{} is there, and does not lead to {PROGRAM}", link.display()))
        .hint("look what it is, and move it away if nobody needs it")
}

fn refused(link: &Path, verb: &str, error: &io::Error) -> Failure {
    Failure::new(format!("{} cannot be {verb}: {}", link.display(), cause(error))).hint(
        "take another folder that is on PATH: `kubectl multimesh completion install --in <dir>`",
    )
}
