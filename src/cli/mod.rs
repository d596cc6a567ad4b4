//! The command line: global flags, one file a command.

mod apply;
mod completion;
mod global;
mod help;
mod init;
mod list;
mod man;
mod plan;
mod render;
mod status;
mod teardown;
mod version;
mod wishes;
mod writing;

use std::ffi::OsString;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use global::Global;

use help::Help;

use crate::engine::lease::Leases;
use crate::error::{Exit, Failure};
use crate::ui::Ui;
use crate::ui::program::PROGRAM;

/// The help of the program.
const HELP: Help = Help {
    about: "You list the contexts of your kubeconfig and their networks in topology.yaml; an apply makes \
            every cluster trust one root CA, run istiod, and know the services of all others.",
    examples: &[
        (
            "Once: topology.yaml, base.yaml and a root CA, in a directory of the mesh",
            "kubectl multimesh init --mesh-id shop",
        ),
        ("After each change of topology.yaml", "kubectl multimesh apply"),
        ("Is it as it should be?", "kubectl multimesh status"),
    ],
    exits: &[
        (Exit::Done, "done, or healthy"),
        (Exit::Failed, "failed"),
        (Exit::Changes, "changes present (plan --detailed-exitcode)"),
        (Exit::Partial, "some clusters done and some not"),
        (Exit::Unhealthy, "the mesh is not healthy"),
        (Exit::Usage, "wrong usage"),
        (Exit::Interrupted, "interrupted"),
    ],
};

/// One Istio mesh across many Kubernetes clusters, from one topology file.
#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a mesh directory: topology, base operator, root CA
    #[command(visible_alias = "prep-mesh")]
    Init(init::InitArgs),
    /// Show what an apply would do, without doing it
    #[command(visible_alias = "diff")]
    Plan(plan::PlanArgs),
    /// Make the clusters of the topology one mesh
    Apply(apply::ApplyArgs),
    /// Write what an apply would write to files, for clusters that are fed from git
    Render(render::RenderArgs),
    /// Show each cluster of the mesh, and whether the mesh is healthy
    #[command(visible_alias = "describe")]
    Status(status::StatusArgs),
    /// Remove from the clusters everything that the tool owns there
    Teardown(teardown::TeardownArgs),
    /// List the meshes on this machine
    List(list::ListArgs),
    /// Show the versions of the tool, of istioctl, and of clusters
    Version(version::VersionArgs),
    /// Complete the command line by TAB
    Completion(completion::CompletionArgs),
    /// Write the manual pages
    #[command(hide = true)]
    Man(man::ManArgs),
}

/// The command line as clap knows it.
pub fn command() -> clap::Command {
    help::dress(Cli::command())
}

/// Parses the arguments and runs the command.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(answer) = completion::answer(command, &args) {
        // An empty line would be a choice for some shells.
        if !answer.is_empty() {
            Ui::new(anstream::ColorChoice::Never, true, false).data(&answer);
        }
        return Exit::Done;
    }
    let cli = match parse(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let log = cli.global.verbose > 0;
    let ui = Ui::new(cli.global.color(), cli.global.no_input, log);
    global::start_log(ui, cli.global.verbose);
    match dispatch(ui, &cli) {
        Ok(exit) => exit,
        Err(failure) => {
            ui.failure(&failure);
            failure.exit
        }
    }
}

fn parse(mut args: Vec<OsString>) -> Result<Cli, clap::Error> {
    let mut command = command();
    // As kubectl has it: `help apply` is `apply --help`.
    if args.get(1).is_some_and(|word| word == "help") {
        args.remove(1);
        args.retain(|word| word != "help");
        args.push("--help".into());
    }
    let matches = command.try_get_matches_from_mut(args)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn dispatch(ui: Ui, cli: &Cli) -> Result<Exit, Failure> {
    match &cli.command {
        Command::Init(args) => init::run(ui, &cli.global, args),
        Command::Man(args) => man::run(args),
        Command::List(args) => list::run(ui, &cli.global, args),
        Command::Version(args) => block_on(|_| version::run(ui, &cli.global, args)),
        Command::Completion(args) => completion::run(ui, args),
        Command::Plan(args) => block_on(|_| plan::run(ui, &cli.global, args)),
        Command::Apply(args) => block_on(|leases| apply::run(ui, &cli.global, args, leases)),
        Command::Render(args) => block_on(|leases| render::run(ui, &cli.global, args, leases)),
        Command::Status(args) => block_on(|_| status::run(ui, &cli.global, args)),
        Command::Teardown(args) => block_on(|leases| teardown::run(ui, &cli.global, args, leases)),
    }
}

/// How long leases may take to be given back at the end: who stops a run does not want to wait.
const FAREWELL: Duration = Duration::from_millis(1500);

/// Runs a command to its end or until it is told to stop, whichever is first. Leases that it has then
/// are given back.
fn block_on<R>(command: impl FnOnce(Leases) -> R) -> Result<Exit, Failure>
where
    R: Future<Output = Result<Exit, Failure>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(format!("failed to start: {e}")))?;
    let result = runtime.block_on(async {
        let leases = Leases::default();
        let result = tokio::select! {
            // In this order signals are listened to before the command begins.
            biased;
            () = told_to_stop() => Err(interrupted()),
            result = command(leases.clone()) => result,
        };
        let _ = tokio::time::timeout(FAREWELL, leases.release_all()).await;
        result
    });
    // An exec plugin that hangs must not keep the process alive.
    runtime.shutdown_background();
    result
}

/// Waits for Ctrl-C, for the signal by which a supervisor ends a process, or for the end of the
/// terminal.
#[cfg(unix)]
async fn told_to_stop() {
    use std::task::Poll;

    use tokio::signal::unix::{SignalKind, signal};

    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    // As `nohup` wishes.
    if !is_ignored(SignalKind::hangup()) {
        kinds.push(SignalKind::hangup());
    }
    let mut signals: Vec<_> = kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect();
    std::future::poll_fn(|cx| {
        // One that can come no more ends nothing.
        let mut came = signals.iter_mut().map(|signal| signal.poll_recv(cx));
        if came.any(|one| matches!(one, Poll::Ready(Some(())))) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

#[cfg(not(unix))]
async fn told_to_stop() {
    let _ = tokio::signal::ctrl_c().await;
}

/// Whether the process was started with a signal ignored, where Linux tells (proc(5): `SigIgn`).
#[cfg(unix)]
fn is_ignored(kind: tokio::signal::unix::SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

fn interrupted() -> Failure {
    Failure { exit: Exit::Interrupted, ..Failure::new("interrupted") }
        .hint("no file and no object is half written: run the same command again to finish")
}

/// Prints clap's own message; a wrong command line ends with 64 instead of clap's 2.
fn usage(error: &clap::Error) -> Exit {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
        _ => Exit::Usage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
