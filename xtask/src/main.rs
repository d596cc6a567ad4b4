//! The chores of kubectl-multimesh.

#[cfg(target_os = "linux")]
mod bench;
mod binary;
#[cfg(target_os = "linux")]
mod demo;
mod dist;
mod fuzz;
#[cfg(target_os = "linux")]
mod interrupt;
mod krew;
#[cfg(target_os = "linux")]
mod lab;
#[cfg(target_os = "linux")]
mod reliability;
mod say;
#[cfg(target_os = "linux")]
mod scratch;
#[cfg(target_os = "linux")]
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
    #[cfg(target_os = "linux")]
    #[command(subcommand)]
    Lab(lab::Command),
    /// Write and check the manifest for krew
    #[command(subcommand)]
    Krew(krew::Command),
    #[cfg(target_os = "linux")]
    /// Show the main job on real clusters: three of them become one mesh
    Demo(demo::Demo),
    Dist(dist::Dist),
    /// For the test that installs
    #[command(hide = true)]
    Pack(dist::Pack),
    Fuzz(fuzz::Fuzz),
    #[cfg(target_os = "linux")]
    /// Inject faults at length, and count what is lost
    Reliability(reliability::Reliability),
    #[cfg(target_os = "linux")]
    /// Run all checks and tests
    Test(test::Test),
    #[cfg(target_os = "linux")]
    /// Measure speed and size beside the manual way and the floor
    Bench(bench::Bench),
    #[cfg(target_os = "linux")]
    /// Send prepared requests: what the benchmark compares with
    #[command(hide = true)]
    Floor(bench::bare::Floor),
}

fn main() -> ExitCode {
    match Arguments::parse().chore {
        #[cfg(target_os = "linux")]
        Chore::Lab(command) => lab::run(command),
        #[cfg(target_os = "linux")]
        Chore::Demo(demo) => demo::run(&demo),
        Chore::Krew(command) => krew::run(&command),
        Chore::Dist(dist) => dist::run(&dist),
        Chore::Pack(pack) => dist::pack(&pack),
        Chore::Fuzz(fuzz) => fuzz::run(&fuzz),
        #[cfg(target_os = "linux")]
        Chore::Reliability(reliability) => reliability::run(&reliability),
        #[cfg(target_os = "linux")]
        Chore::Test(test) => test::run(&test),
        #[cfg(target_os = "linux")]
        Chore::Bench(bench) => bench::run(&bench),
        #[cfg(target_os = "linux")]
        Chore::Floor(floor) => bench::bare::run(&floor),
    }
}
