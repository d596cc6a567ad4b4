//! What users' files may hold: anything. What has to hold of each kind of file is said in
//! `fuzz/src`, which the fuzz targets share.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets use it as a library")]
mod checks;

mod corpus;
mod large;
mod properties;
