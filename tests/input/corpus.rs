//! The corpus of the fuzz targets: seeds, and what once went wrong.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::checks;

/// The most files of a target; `cargo xtask fuzz` keeps to it.
const MOST_FILES: usize = 48;
/// The largest file, in bytes.
const LARGEST: u64 = 16 << 10;
/// How long one file may take, also without optimisation on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn files(target: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder().join(target)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Feeds every file of a target to its check.
fn replay(target: &str, check: fn(&[u8])) {
    let files = files(target);
    assert!(!files.is_empty(), "no corpus for {target}");
    for file in files {
        let content = std::fs::read(&file).unwrap();
        let started = Instant::now();
        let result = std::panic::catch_unwind(|| check(&content));
        assert!(result.is_ok(), "{} is not taken", file.display());
        assert!(started.elapsed() < LIMIT, "{} takes {:?}", file.display(), started.elapsed());
    }
}

#[test]
fn every_topology_of_the_corpus_is_read_or_refused() {
    replay("topology", checks::topology::check);
}

#[test]
fn every_base_of_the_corpus_is_read_or_refused() {
    replay("base", checks::base::check);
}

#[test]
fn every_kubeconfig_of_the_corpus_is_read_or_refused() {
    replay("kubeconfig", checks::kubeconfig::check);
}

#[test]
fn every_pem_file_of_the_corpus_is_read_or_refused() {
    replay("pem", checks::pem::check);
}

#[test]
fn every_state_of_the_corpus_is_read_or_refused() {
    replay("state", checks::state::check);
}

#[test]
fn the_corpus_is_small() {
    for target in ["topology", "base", "kubeconfig", "pem", "state"] {
        let files = files(target);
        assert!(files.len() <= MOST_FILES, "{target} has {} files", files.len());
        for file in files {
            let length = file.metadata().unwrap().len();
            assert!(length <= LARGEST, "{} has {length} bytes", file.display());
        }
    }
}
