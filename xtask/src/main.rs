//! The chores of kubectl-multimesh.

mod lab;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The chores of kubectl-multimesh.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Runs real Kubernetes clusters on this machine
    #[command(subcommand)]
    Lab(lab::Command),
}

fn main() -> ExitCode {
    match Arguments::parse().chore {
        Chore::Lab(command) => lab::run(command),
    }
}
