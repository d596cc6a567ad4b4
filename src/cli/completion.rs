//! Completion of the command line: kubectl's protocol for plugins, scripts for shells, and `completion`.

pub(super) mod choices;
mod link;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};
use clap_complete::engine::{CompletionCandidate, complete};
use clap_complete::env::Shells;

use super::help::{Help, PLAIN_EXITS};
use crate::error::{Exit, Failure};
use crate::ui::Ui;
use crate::ui::program::PROGRAM;

/// The name under which kubectl runs a plugin to complete its command line.
const COMPLETER: &str = "kubectl_complete-multimesh";
/// Set by a script of `completion <shell>` to the shell that asks.
const ASKED: &str = "MULTIMESH_COMPLETE";

/// The help of `completion`.
pub(super) const HELP: Help = Help {
    about: "kubectl (1.26 or newer) asks a program `kubectl_complete-multimesh` on PATH what may \
            follow. `install` makes that name, a link to this program, and `uninstall` takes it away; \
            nothing else is touched. The scripts are for `kubectl-multimesh` typed without kubectl.\n\n\
            Contexts and meshes come from your files; no cluster is asked.",
    examples: &[
        ("For `kubectl multimesh <TAB>`", "kubectl multimesh completion install"),
        (
            "For `kubectl-multimesh <TAB>` in this bash",
            "eval \"$(kubectl-multimesh completion bash)\"",
        ),
    ],
    exits: PLAIN_EXITS,
};

/// The help of `completion install`.
pub(super) const INSTALL: Help = Help {
    about: "Makes a link `kubectl_complete-multimesh` beside this program, which kubectl (1.26 or newer) \
            asks once its own completion is on: `kubectl completion --help` says how. On Windows it is a \
            copy. Something else by that name is left alone.",
    examples: &[
        ("Beside this program", "kubectl multimesh completion install"),
        (
            "In another folder that is on PATH",
            "kubectl multimesh completion install --in ~/.local/bin",
        ),
    ],
    exits: PLAIN_EXITS,
};

/// The help of `completion uninstall`.
pub(super) const UNINSTALL: Help = Help {
    about: "Removes the link `kubectl_complete-multimesh`, if it leads to this program.",
    examples: &[("Beside this program", "kubectl multimesh completion uninstall")],
    exits: PLAIN_EXITS,
};

/// The help of `completion bash`.
pub(super) const BASH: Help = Help {
    about: "Writes to stdout only.",
    examples: &[
        ("In this shell", "eval \"$(kubectl-multimesh completion bash)\""),
        ("In each new one", "echo 'eval \"$(kubectl-multimesh completion bash)\"' >> ~/.bashrc"),
    ],
    exits: PLAIN_EXITS,
};

/// The help of `completion zsh`.
pub(super) const ZSH: Help = Help {
    about: "Writes to stdout only. It goes below `compinit` in ~/.zshrc.",
    examples: &[
        ("In this shell", "source <(kubectl-multimesh completion zsh)"),
        ("In each new one", "echo 'source <(kubectl-multimesh completion zsh)' >> ~/.zshrc"),
    ],
    exits: PLAIN_EXITS,
};

/// The help of `completion fish`.
pub(super) const FISH: Help = Help {
    about: "Writes to stdout only. For each new shell, put the line below into \
            ~/.config/fish/config.fish.",
    examples: &[("In this shell", "kubectl-multimesh completion fish | source")],
    exits: PLAIN_EXITS,
};

/// The help of `completion powershell`.
pub(super) const POWERSHELL: Help = Help {
    about: "Writes to stdout only. For each new shell, put the line below into the file that $PROFILE \
            names; it may have to be made first.",
    examples: &[(
        "In this shell",
        "kubectl-multimesh completion powershell | Out-String | Invoke-Expression",
    )],
    exits: PLAIN_EXITS,
};

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub(super) struct CompletionArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Let `kubectl multimesh <TAB>` complete
    Install(LinkArgs),
    /// Take away what `install` made
    Uninstall(LinkArgs),
    /// Print the script for bash
    Bash,
    /// Print the script for zsh
    Zsh,
    /// Print the script for fish
    Fish,
    /// Print the script for PowerShell
    Powershell,
}

#[derive(Debug, Args)]
struct LinkArgs {
    /// A folder on PATH [default: where kubectl finds this program]
    #[arg(long = "in", value_name = "DIR", value_hint = ValueHint::DirPath)]
    folder: Option<PathBuf>,
}

/// Runs `completion`.
pub(super) fn run(ui: Ui, args: &CompletionArgs) -> Result<Exit, Failure> {
    match &args.what {
        What::Install(args) => link::install(ui, args.folder.as_deref())?,
        What::Uninstall(args) => link::uninstall(ui, args.folder.as_deref())?,
        What::Bash => script(ui, "bash")?,
        What::Zsh => script(ui, "zsh")?,
        What::Fish => script(ui, "fish")?,
        What::Powershell => script(ui, "powershell")?,
    }
    Ok(Exit::Done)
}

fn script(ui: Ui, shell: &str) -> Result<(), Failure> {
    let shells = Shells::builtins();
    let mut text = Vec::new();
    let written = shells
        .completer(shell)
        .map(|it| it.write_registration(ASKED, PROGRAM, PROGRAM, PROGRAM, &mut text));
    match written {
        Some(Ok(())) => ui.data(&amend(shell, &String::from_utf8_lossy(&text))),
        _ => return Err(Failure::new(format!("there is no script for {shell}"))),
    }
    Ok(())
}

/// The script with what it lacks for some shells.
fn amend(shell: &str, script: &str) -> String {
    const FOR_ALL: &str = "-F _clap_complete_kubectl_multimesh ";
    const FOR_WHOLE: &str = "-F _kubectl_multimesh_whole ";
    /// A name of a context may have a `:` in it, and a flag a `=`, where bash parts words.
    const WHOLE: &str = r#"
_kubectl_multimesh_whole() {
    local line="${COMP_LINE:0:COMP_POINT}" whole=() part gap i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        gap="${line%%[![:space:]]*}"
        line="${line#"$gap"}"
        part="${COMP_WORDS[i]}"
        if ((i == COMP_CWORD)); then
            part="$line"
        fi
        line="${line#"$part"}"
        if ((i > 0)) && [[ -z $gap ]]; then
            whole[${#whole[@]} - 1]+="$part"
        else
            whole+=("$part")
        fi
    done
    if [[ $part == [:=] ]]; then
        part=""
    fi
    local COMP_WORDS=("${whole[@]}") COMP_CWORD=$((${#whole[@]} - 1))
    local last="${whole[COMP_CWORD]}"
    local before="${last%"$part"}"
    _clap_complete_kubectl_multimesh "$1" "$last" "$3"
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
}
"#;
    /// As a file of `fpath` it is run for the first time when choices are wanted.
    const AUTOLOADED: &str = r#"
if [[ "${funcstack[1]}" == _kubectl-multimesh ]]; then
    _clap_dynamic_completer_kubectl_multimesh "$@"
fi
"#;
    match shell {
        "bash" => [WHOLE, &script.replace(FOR_ALL, FOR_WHOLE)].concat(),
        "zsh" => [script, AUTOLOADED].concat(),
        _ => script.to_owned(),
    }
}

/// The answer to whoever asks for completion instead of running a command: kubectl by the program's
/// name, or a script by an environment variable. It is never an error.
pub(super) fn answer(command: fn() -> clap::Command, args: &[OsString]) -> Option<String> {
    if args.first().is_some_and(|program| is_asked(program)) {
        return Some(for_kubectl(command(), &args[1..]));
    }
    // All scripts say `--` first; a variable that was left behind is not to hide a command.
    let words = args.get(2..).filter(|_| args[1] == "--")?;
    let shell = std::env::var(ASKED).ok().filter(|shell| !shell.is_empty())?;
    Some(for_shell(command(), &shell, words))
}

fn is_asked(program: &OsStr) -> bool {
    let path = Path::new(program);
    let exe = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("exe"));
    let name = if exe { path.file_stem() } else { path.file_name() };
    name == Some(OsStr::new(COMPLETER))
}

/// A choice a line, with its help after a tab, and at the end what the shell is to do with them
/// (kubectl: `pkg/cmd/plugin/plugin_completion.go`). `words` are those after `kubectl multimesh`,
/// the last one as far as it is typed.
fn for_kubectl(mut command: clap::Command, words: &[OsString]) -> String {
    /// The shell adds no file names of its own (cobra: `ShellCompDirectiveNoFileComp`).
    const NO_FILES: u8 = 4;
    /// And no space, as the word goes on (cobra: `ShellCompDirectiveNoSpace`).
    const NO_SPACE: u8 = 2;

    let mut line = vec![OsString::from(PROGRAM)];
    line.extend_from_slice(words);
    if line.len() == 1 {
        line.push(OsString::new());
    }
    let last = line.len() - 1;
    // All flags have a long form, which the shell puts in the place of the dash.
    if line[last] == "-" {
        line[last] = "--".into();
    }
    let typed = line[last].to_string_lossy().into_owned();
    let dir = std::env::current_dir().ok();
    let mut choices = complete(&mut command, line, last, dir.as_deref()).unwrap_or_default();
    // Flags are offered to who types a dash, or where nothing else may follow.
    let is_flag =
        |choice: &CompletionCandidate| choice.get_value().to_string_lossy().starts_with('-');
    if typed.is_empty() && !choices.iter().all(is_flag) {
        choices.retain(|choice| !is_flag(choice));
    }
    let mut text = String::new();
    let mut directive = NO_FILES;
    for choice in &choices {
        // A name with a line break in it cannot be told.
        let value = choice.get_value().to_str().filter(|it| !it.contains(['\n', '\r', '\t']));
        let Some(value) = value else { continue };
        let help = choice.get_help().map(ToString::to_string).unwrap_or_default();
        let value = best_name(&command, value, &help, &typed);
        if value.ends_with(['/', '=', std::path::MAIN_SEPARATOR]) {
            directive |= NO_SPACE;
        }
        text.push_str(value);
        if let Some(first) = help.lines().next() {
            text.extend(["\t", first]);
        }
        text.push('\n');
    }
    format!("{text}:{directive}")
}

/// The name of a command where one of its other names is the choice, and both may be meant. A value may
/// be called like a command, but has other help.
fn best_name<'a>(command: &'a clap::Command, choice: &'a str, help: &str, typed: &str) -> &'a str {
    let other = |it: &&clap::Command| {
        it.get_visible_aliases().any(|alias| alias == choice)
            && it.get_about().is_some_and(|about| about.to_string() == help)
    };
    let found = command.get_subcommands().find(other).map(clap::Command::get_name);
    found.filter(|name| name.starts_with(typed)).unwrap_or(choice)
}

fn for_shell(mut command: clap::Command, shell: &str, words: &[OsString]) -> String {
    let mut text = Vec::new();
    let shells = Shells::builtins();
    if let Some(shell) = shells.completer(shell).filter(|_| !words.is_empty()) {
        let dir = std::env::current_dir().ok();
        if shell.write_complete(&mut command, words.to_vec(), dir.as_deref(), &mut text).is_err() {
            text.clear();
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}
