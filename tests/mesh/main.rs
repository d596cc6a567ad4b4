//! Three full clusters: real control planes, gateways and requests. Run by `cargo xtask test`.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../support/live.rs"]
#[expect(dead_code, reason = "the other tier uses more of it")]
mod live;
#[path = "../support/secrets.rs"]
mod secrets;

mod cleanup;
mod gateways;
mod krew;
mod render;
mod seed;
mod story;
mod traces;
mod traffic;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The three clusters are shared: one test at a time uses them.
fn clusters() -> MutexGuard<'static, ()> {
    static CLUSTERS: Mutex<()> = Mutex::new(());
    CLUSTERS.lock().unwrap_or_else(PoisonError::into_inner)
}
