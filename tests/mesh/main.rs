//! Three full clusters: real control planes, gateways and requests. Run by `cargo xtask test`.

#[path = "../support/live.rs"]
mod live;

mod secrets;
mod story;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The three clusters are shared: one test at a time uses them.
fn clusters() -> MutexGuard<'static, ()> {
    static CLUSTERS: Mutex<()> = Mutex::new(());
    CLUSTERS.lock().unwrap_or_else(PoisonError::into_inner)
}
