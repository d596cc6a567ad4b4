//! What the help of a command says besides its flags, in the same order everywhere: what it changes
//! and where, examples, usage, flags in groups, exit codes.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use clap::{Arg, Command};

use crate::error::Exit;
use crate::ui::program;

/// The groups of the flags that every command takes. A command's own flags come before them.
pub(super) mod group {
    /// What a run is about.
    pub(crate) const MESH: &str = "Mesh and clusters";
    /// How long, and how many at once.
    pub(crate) const TIME: &str = "Connection and waiting";
    /// How it speaks with the user.
    pub(crate) const OUTPUT: &str = "Input and output";
}

const TEMPLATE: &str = "\
{about-with-newline}
{before-help}{usage-heading} {usage}

{all-args}{after-help}";
/// Columns of a reader that is no terminal.
const COLUMNS: usize = 80;
/// Longer lines are hard to read.
const WIDEST: usize = 100;

/// The help of one command. Commands are written `kubectl multimesh`, whatever the user typed.
pub(super) struct Help {
    /// What the command changes and where, in whole sentences; paragraphs are separated by empty lines.
    pub about: &'static str,
    /// What for, and the command.
    pub examples: &'static [(&'static str, &'static str)],
    /// How a run ends.
    pub exits: &'static [(Exit, &'static str)],
}

/// The end of a command that only prints or writes local files.
pub(super) const PLAIN_EXITS: &[(Exit, &str)] =
    &[(Exit::Done, "done"), (Exit::Failed, "failed"), (Exit::Usage, "wrong usage")];

/// The help of a command, by its words after the name of the program.
pub(super) fn of(words: &str) -> Option<&'static Help> {
    Some(match words {
        "" => &super::HELP,
        "init" => &super::init::HELP,
        "plan" => &super::plan::HELP,
        "apply" => &super::apply::HELP,
        "render" => &super::render::HELP,
        "status" => &super::status::HELP,
        "teardown" => &super::teardown::HELP,
        "list" => &super::list::HELP,
        "version" => &super::version::HELP,
        "completion" => &super::completion::HELP,
        "completion install" => &super::completion::INSTALL,
        "completion uninstall" => &super::completion::UNINSTALL,
        "completion bash" => &super::completion::BASH,
        "completion zsh" => &super::completion::ZSH,
        "completion fish" => &super::completion::FISH,
        "completion powershell" => &super::completion::POWERSHELL,
        _ => return None,
    })
}

/// The command line with its help, called as this process was.
pub(super) fn dress(command: Command) -> Command {
    let name = program::called();
    let command = command.name(name).bin_name(name).max_term_width(WIDEST);
    let streams = [
        std::io::stdin().is_terminal(),
        std::io::stdout().is_terminal(),
        std::io::stderr().is_terminal(),
    ];
    let unknown = !streams.contains(&true) && std::env::var_os("COLUMNS").is_none();
    let command = if unknown { command.term_width(COLUMNS) } else { command };
    let mut command = dress_below(command, "");
    // Flags of the whole program are with its commands from now on.
    command.build();
    let all = |it: &Arg| matches!(it.get_help_heading(), Some(group::MESH | group::TIME));
    let of_clusters = |it: &Arg| {
        let names = ["contexts", "istioctl"];
        it.get_help_heading() == Some(group::TIME) || names.contains(&it.get_id().as_str())
    };
    let but_mesh = |it: &Arg| all(it) && !["mesh", "dir"].contains(&it.get_id().as_str());
    // `mut_subcommand` would put the one to the end.
    command.mut_subcommands(|it| match it.get_name() {
        "completion" => without(it, all).mut_subcommands(|it| without(it, all)),
        "init" => without(it, of_clusters),
        "list" => without(it, but_mesh),
        _ => it,
    })
}

fn dress_below(command: Command, words: &str) -> Command {
    let command = match of(words) {
        Some(help) => {
            let (before, after) = (help.before(&command), help.after(&command));
            command.before_help(before).after_help(after)
        }
        None => command,
    };
    command.help_template(TEMPLATE).mut_subcommands(|it| {
        let words = format!("{words} {}", it.get_name());
        dress_below(it, words.trim_start())
    })
}

/// Leaves out of the help what a command takes and does not heed.
fn without(command: Command, idle: impl Fn(&Arg) -> bool) -> Command {
    command.mut_args(|flag| {
        let hide = flag.is_hide_set() || idle(&flag);
        flag.hide(hide)
    })
}

impl Help {
    fn before(&self, command: &Command) -> String {
        let style = command.get_styles().get_header();
        let mut text = self.about.to_owned();
        if !self.examples.is_empty() {
            let _ = write!(text, "\n\n{style}Examples:{style:#}");
        }
        for (index, (what, example)) in self.examples.iter().enumerate() {
            let space = if index == 0 { "" } else { "\n" };
            let _ = write!(text, "{space}\n  # {what}\n  {}", program::as_called(example));
        }
        text.trim_start().to_owned()
    }

    fn after(&self, command: &Command) -> String {
        let style = command.get_styles().get_header();
        let mut text = format!("{style}Exit codes:{style:#}");
        for (exit, what) in self.exits {
            let _ = write!(text, "\n  {:<4} {what}", exit.code());
        }
        text
    }
}
