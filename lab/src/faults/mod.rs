//! A proxy between a client and one API server that does to requests what it is told to.
//!
//! It speaks TLS with the certificate of that API server, on another port of the same address, and
//! hands requests on as the administrator of the cluster; one with a token of its own keeps that.
//! What it speaks with a client, HTTP/2 or HTTP/1.1, it speaks with the API server too. It serves
//! from a thread in the lab's network and ends when it is dropped.

mod line;
mod proxy;
mod rule;

pub use proxy::{FaultProxy, Tally};
pub use rule::{Fault, Rule, Seen};
