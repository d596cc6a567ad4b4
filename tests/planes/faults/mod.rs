//! Faults between the tool and API servers: nothing lost, nothing half said.
//!
//! As a part of `cargo xtask test` these take a few points each. `cargo xtask reliability` runs
//! them at length and counts.

mod clock;
mod credentials;
mod disk;
mod front;
mod interrupted;
mod killed;
mod ledger;
mod one;
mod requests;
mod snapshot;
