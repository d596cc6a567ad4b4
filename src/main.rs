//! The `kubectl-multimesh` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    multimesh::run(std::env::args_os())
}
