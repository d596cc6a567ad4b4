//! The chores of kubectl-multimesh.

mod bench;
mod binary;
mod demo;
mod dist;
mod fuzz;
mod interrupt;
mod krew;
mod lab;
mod reliability;
mod say;
mod scratch;
mod test;
#[cfg(test)]
mod workflows;

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
    /// Write and check the manifest for krew
    #[command(subcommand)]
    Krew(krew::Command),
    /// Show the main job on real clusters: three of them become one mesh
    Demo(demo::Demo),
    Dist(dist::Dist),
    /// For the test that installs
    #[command(hide = true)]
    Pack(dist::Pack),
    Fuzz(fuzz::Fuzz),
    /// Inject faults at length, and count what is lost
    Reliability(reliability::Reliability),
    /// Run all checks and tests
    Test(test::Test),
    /// Measure speed and size beside the manual way and the floor
    Bench(bench::Bench),
    /// Send prepared requests: what the benchmark compares with
    #[command(hide = true)]
    Floor(bench::bare::Floor),
}

fn main() -> ExitCode {
    match Arguments::parse().chore {
        Chore::Lab(command) => lab::run(command),
        Chore::Demo(demo) => demo::run(&demo),
        Chore::Krew(command) => krew::run(&command),
        Chore::Dist(dist) => dist::run(&dist),
        Chore::Pack(pack) => dist::pack(&pack),
        Chore::Fuzz(fuzz) => fuzz::run(&fuzz),
        Chore::Reliability(reliability) => reliability::run(&reliability),
        Chore::Test(test) => test::run(&test),
        Chore::Bench(bench) => bench::run(&bench),
        Chore::Floor(floor) => bench::bare::run(&floor),
    }
}
