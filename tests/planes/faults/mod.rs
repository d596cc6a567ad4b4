//! Faults between the tool and API servers: nothing lost, nothing half said.
//!
//! As a part of `cargo xtask test` these take a few points each. `cargo xtask reliability` runs
//! them at length and counts.

mod clock;
mod credentials;
mod directory;
mod disk;
mod front;
mod interrupted;
mod kill;
mod killed;
mod leaving;
mod ledger;
mod links;
mod one;
mod requests;
mod snapshot;
mod waits;
