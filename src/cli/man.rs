//! `man`: the manual pages, for packages.

use std::io;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use super::help;
use crate::engine::home::cause;
use crate::error::{Exit, Failure};
use crate::ui::program::{PLUGIN, PROGRAM};

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The folder that the pages go to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs `man`: writes a page for the program and one for each command, from what the help is made of.
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
    let program = super::command();
    let below: Vec<&Command> = shown(&program).collect();
    for command in [&program].into_iter().chain(below) {
        let words = if command.get_name() == program.get_name() { "" } else { command.get_name() };
        let name = format!("{PROGRAM} {words}").trim_end().replace(' ', "-");
        let page = render(&name, words, command).map_err(failed)?;
        std::fs::write(args.out.join(format!("{name}.1")), page).map_err(failed)?;
    }
    Ok(Exit::Done)
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|it| !it.is_hide_set())
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// The page of the program, or of the command with these words after its name: the sections of
/// man-pages(7) in their order. The commands of a command stand in its page.
fn render(name: &str, words: &str, command: &Command) -> io::Result<Vec<u8>> {
    let rest = if command.has_subcommands() { "[OPTIONS] <COMMAND>" } else { "[OPTIONS]" };
    let line = format!("{PLUGIN} {words}").trim_end().to_owned();
    let usage = format!("{line} {rest}");
    let man = command.clone().display_name(name).bin_name(line).override_usage(usage);
    let man = Man::new(man)
        .title(name)
        .date(concat!("v", env!("CARGO_PKG_VERSION")))
        .source(PROGRAM)
        .manual("Multimesh");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;

    let mut text = Roff::new();
    text.control("SH", ["DESCRIPTION"]).text([roman(format!("{}.", about(command)))]);
    for paragraph in help::of(words).iter().flat_map(|help| help.about.split("\n\n")) {
        text.control("PP", []).text([roman(paragraph)]);
    }
    for other in command.get_visible_aliases() {
        text.control("PP", []).text([
            roman("Another name of this command is "),
            bold(other),
            roman("."),
        ]);
    }
    if command.has_subcommands() {
        text.control("SH", ["COMMANDS"]);
    }
    for below in shown(command) {
        let own_page = words.is_empty();
        let it = if own_page {
            format!("{name}-{}(1)", below.get_name())
        } else {
            below.get_name().to_owned()
        };
        text.control("TP", []).text([bold(it)]).text([roman(about(below))]);
    }
    text.to_writer(&mut page)?;
    man.render_options_section(&mut page)?;

    let mut text = Roff::new();
    if let Some(help) = help::of(words) {
        text.control("SH", ["EXAMPLES"]);
        for (what, example) in help.examples {
            text.control("PP", []).text([roman(format!("{what}:"))]);
            text.control("PP", []).control("RS", ["4"]).control("nf", []);
            text.text([roman(*example)]).control("fi", []).control("RE", []);
        }
        text.control("SH", ["EXIT STATUS"]);
        for (exit, what) in help.exits {
            text.control("TP", ["6"]).text([bold(exit.code().to_string())]).text([roman(*what)]);
        }
    }
    if !words.is_empty() {
        text.control("SH", ["SEE ALSO"]).text([bold(PROGRAM), roman("(1)")]);
    }
    text.to_writer(&mut page)?;
    Ok(page)
}
