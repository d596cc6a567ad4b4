//! `man`: the manual pages, for packages.

use std::path::PathBuf;

use clap::Args;

use crate::engine::home::cause;
use crate::error::{Exit, Failure};

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The folder that the pages go to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs `man`: writes a page for the program and one for each command.
pub(super) fn run(args: &ManArgs) -> Result<Exit, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(format!(
            "the manual pages cannot be written to {}: {}",
            args.out.display(),
            cause(&error)
        ))
        .hint("name a folder that may be written to: `kubectl multimesh man --out <dir>`")
    };
    std::fs::create_dir_all(&args.out).map_err(failed)?;
    let mut program = super::command().name("kubectl-multimesh");
    program.build();
    let commands = program.get_subcommands().filter(|it| !it.is_hide_set()).cloned();
    let pages = commands.map(|it| {
        let name = format!("kubectl-multimesh-{}", it.get_name());
        (name.clone(), it.name(name))
    });
    let pages: Vec<_> = pages.collect();
    for (name, command) in [("kubectl-multimesh".to_owned(), program)].into_iter().chain(pages) {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).map_err(failed)?;
        std::fs::write(args.out.join(format!("{name}.1")), page).map_err(failed)?;
    }
    Ok(Exit::Done)
}
