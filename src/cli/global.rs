//! The flags that every command takes.

use std::path::PathBuf;
use std::time::Duration;

use anstream::ColorChoice;
use clap::{Args, ValueEnum, ValueHint};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter};

use super::help::group;
use crate::engine::home::Choice;
use crate::engine::local::Options;
use crate::ui::Ui;

/// Flags of every command. Names follow kubectl's where kubectl has them.
#[derive(Debug, Args)]
#[command(next_help_heading = group::MESH)]
pub struct Global {
    /// The kubeconfig [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub kubeconfig: Option<PathBuf>,
    /// The topology [default: topology.yaml in the mesh directory]
    #[arg(short, long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub filename: Option<PathBuf>,
    /// The mesh, by its ID [env: MESH_ID]
    #[arg(long, visible_alias = "mesh-id", global = true, env = "MESH_ID", hide_env = true,
          value_name = "ID", value_parser = given,
          add = ArgValueCandidates::new(super::completion::choices::meshes))]
    pub mesh: Option<String>,
    /// The mesh directory [env: WORKDIR]
    #[arg(long, global = true, env = "WORKDIR", hide_env = true, value_name = "DIR",
          value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// Only these contexts: a name, /regex/, or either after ^ to leave it out; repeat or separate by commas
    #[arg(long, global = true, value_name = "CONTEXTS", value_delimiter = ',',
          add = ArgValueCompleter::new(super::completion::choices::contexts))]
    pub contexts: Vec<String>,
    /// How many clusters are worked on at once
    #[arg(long, global = true, help_heading = group::TIME, value_name = "N", default_value_t = 32,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallel: u16,
    /// How long to wait for a cluster, as in 90s or 5m
    #[arg(long, global = true, help_heading = group::TIME, value_name = "TIME",
          default_value = "5m", value_parser = limit)]
    pub timeout: Duration,
    /// How long one request may take
    #[arg(long, global = true, help_heading = group::TIME, value_name = "TIME",
          default_value = "15s", value_parser = limit)]
    pub request_timeout: Duration,
    /// The istioctl to render with [default: the first on PATH]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub istioctl: Option<PathBuf>,
    /// Never ask anything
    #[arg(long, global = true, help_heading = group::OUTPUT)]
    pub no_input: bool,
    /// When to use colours: auto, always or never
    #[arg(long, global = true, help_heading = group::OUTPUT, value_enum,
          default_value_t = Color::Auto, value_name = "WHEN", hide_possible_values = true)]
    color: Color,
    /// Tell more of what goes on; -vv tells of each request
    #[arg(short, long, global = true, help_heading = group::OUTPUT, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl Global {
    /// The choice in the form that the streams take.
    pub const fn color(&self) -> ColorChoice {
        match self.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        }
    }

    /// The flags in the form that the engine takes.
    pub fn options(&self) -> Options {
        Options {
            choice: self.choice(),
            contexts: self.contexts.clone(),
            istioctl: self.istioctl.clone(),
            parallel: usize::from(self.parallel),
            timeout: self.timeout,
            request_timeout: self.request_timeout,
            no_input: self.no_input,
            command: "status",
            accept_identity: Vec::new(),
            wait_lock: Duration::ZERO,
        }
    }

    /// Which files are meant.
    pub fn choice(&self) -> Choice {
        Choice {
            dir: self.dir.clone(),
            file: self.filename.clone(),
            mesh: self.mesh.clone(),
            kubeconfig: self.kubeconfig.clone(),
        }
    }
}

/// Takes any text but an empty one, which an unset variable of a script leaves behind.
pub(super) fn given(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it is empty; give a value, or unset the environment variable".to_owned());
    }
    Ok(text.to_owned())
}

/// The longest time that a flag may give; clocks cannot add any number of seconds.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Reads `90s`, `5m`, `1h30m` or plain seconds, as kubectl does.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let given = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let span: jiff::SignedDuration =
            text.parse().map_err(|_| "a duration is written as in 90s, 5m or 1h30m".to_owned())?;
        Duration::try_from(span).map_err(|_| "a duration cannot be negative".to_owned())?
    };
    if given > LONGEST {
        return Err("a duration cannot be longer than 30 days, 720h".to_owned());
    }
    Ok(given)
}

/// Reads a time within which something has to be done.
fn limit(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be longer than nothing, as in 90s".to_owned()),
        limit => Ok(limit),
    }
}

/// Sends the log to stderr: nothing by default, own lines with `-v`, every request with `-vv`.
pub(super) fn start_log(ui: Ui, verbose: u8) {
    let filter = match verbose {
        0 => "off",
        1 => "multimesh=info",
        2 => "multimesh=debug",
        _ => "multimesh=trace,kube_client=debug",
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(ui.colored())
        .with_target(false)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_kubectls() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert!(limit("0").is_err() && limit("0s").is_err() && limit("1s").is_ok());
        assert!(duration("soon").is_err());
        assert!(duration("-5s").is_err());
        assert_eq!(duration("720h"), Ok(LONGEST));
        for long in ["2592001", "18446744073709551615", "721h", "2562047788015215h"] {
            assert!(duration(long).is_err_and(|why| why.contains("30 days")), "{long}");
        }
    }
}
