//! `cargo xtask lab`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a chore talks to the one who runs it"
)]

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use multimesh_lab::{Error, Lab, Options, Result, Status, programs};

use crate::say::{quoted, say};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Install, build and fetch what the lab is made of
    Build,
    /// Start the lab, or complete it
    Up(Up),
    /// End the lab and remove all its traces
    Down(Name),
    /// Show the clusters
    Status(Name),
    /// Print what a shell needs to use the lab: eval "$(cargo xtask lab env)"
    Env(Name),
    /// Run a command in the network of the lab, with its kubeconfig and programs
    Exec(Exec),
    /// Serve the load balancers of the lab
    #[command(hide = true)]
    Agent(Name),
}

#[derive(Args)]
pub(crate) struct Name {
    /// The name of the lab
    #[arg(long, default_value = "default")]
    name: String,
}

#[derive(Args)]
pub(crate) struct Up {
    #[command(flatten)]
    name: Name,
    /// How many clusters: the third and every second one after it are on the other network
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    clusters: u8,
    /// API servers without nodes
    #[arg(long)]
    control_planes_only: bool,
}

#[derive(Args)]
pub(crate) struct Exec {
    #[command(flatten)]
    name: Name,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(command: Command) -> ExitCode {
    match attempt(command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn attempt(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build => {
            let built = programs::build(&mut say)?;
            println!("built: {}", built.bin().display());
        }
        Command::Up(up) => {
            let lab = start(&up.name.name, up.clusters, up.control_planes_only)?;
            println!("{}", lab.kubeconfig().display());
        }
        Command::Down(Name { name }) => {
            multimesh_lab::down(&name)?;
            say(&format!("the lab `{name}` is down"));
        }
        Command::Status(Name { name }) => return status(&Lab::open(&name)?),
        Command::Env(Name { name }) => {
            let lab = Lab::open(&name)?;
            println!("export KUBECONFIG={}", quoted(&lab.kubeconfig().to_string_lossy()));
            println!("export PATH={}", quoted(&lab.path().to_string_lossy()));
        }
        Command::Exec(exec) => return Err(replace(&exec)),
        Command::Agent(Name { name }) => multimesh_lab::serve_load_balancers(&name)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts a lab whose load balancers this program serves, and tells how that goes.
pub(crate) fn start(name: &str, clusters: u8, control_planes_only: bool) -> Result<Lab> {
    up(name, clusters, control_planes_only, &mut say)
}

/// As [`start`], without a word.
pub(crate) fn start_quietly(name: &str, clusters: u8, control_planes_only: bool) -> Result<Lab> {
    up(name, clusters, control_planes_only, &mut |_| ())
}

fn up(
    name: &str,
    clusters: u8,
    control_planes_only: bool,
    progress: &mut dyn FnMut(&str),
) -> Result<Lab> {
    let own = env::current_exe()
        .map_err(|source| Error::Io { action: "find this program".into(), source })?;
    let words = [own.into_os_string()]
        .into_iter()
        .chain(["lab", "agent", "--name", name].map(OsString::from));
    let options = Options {
        name: name.to_owned(),
        clusters,
        control_planes_only,
        load_balancer: Some(words.collect()),
    };
    Lab::up(&options, progress)
}

/// Becomes the command; returns only if that fails.
fn replace(exec: &Exec) -> Error {
    let Some((program, arguments)) = exec.command.split_first() else {
        return Error::Refused("there is no command to run".into());
    };
    let command = Lab::open(&exec.name.name).and_then(|lab| lab.command(program));
    match command {
        Ok(mut command) => Error::Io {
            action: format!("run {}", program.display()),
            source: command.args(arguments).exec(),
        },
        Err(error) => error,
    }
}

fn status(lab: &Lab) -> Result<ExitCode> {
    let clusters = lab.status()?;
    let width = |text: fn(&Status) -> &str| clusters.iter().map(|it| text(it).len()).max();
    let context = width(|it| &it.cluster.context).unwrap_or(0).max(7);
    let network = width(|it| &it.cluster.network).unwrap_or(0).max(7);
    println!(
        "{:>2}  {:context$}  {:network$}  {:24}  {:9}  {:9}  DEAD",
        "NO", "CONTEXT", "NETWORK", "API SERVER", "API", "NODE"
    );
    let word = |ready| if ready { "ready" } else { "not ready" };
    for Status { cluster, api_ready, node_ready, dead } in &clusters {
        println!(
            "{:>2}  {:context$}  {:network$}  {:24}  {:9}  {:9}  {}",
            cluster.number,
            cluster.context,
            cluster.network,
            cluster.server,
            word(*api_ready),
            node_ready.map_or("none", word),
            if dead.is_empty() { "-".to_owned() } else { dead.join(", ") }
        );
    }
    let dead = lab.dead()?;
    if dead.is_empty() && clusters.iter().all(|it| it.api_ready && it.node_ready != Some(false)) {
        return Ok(ExitCode::SUCCESS);
    }
    if !dead.is_empty() {
        say(&format!("not running: {}", dead.join(", ")));
    }
    Ok(ExitCode::FAILURE)
}
