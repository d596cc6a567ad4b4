//! What the mesh directory holds: nothing torn at any moment, and what the clusters hold.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use multimesh::engine::state::State;
use multimesh::pki::{Certificate, Store};

use super::front::Fronted;
use super::links::{Secrets, wrong_links};

/// What of the mesh directory is torn, and where it does not fit what the clusters hold. Clusters
/// that are not `members` of the mesh now are not looked at.
pub(crate) fn lost_files(fronted: &Fronted, members: &[usize]) -> Vec<String> {
    let dir = fronted.mesh("m");
    let mut lost = [unfinished(&dir), torn(&dir)].concat();
    if !dir.join("state.yaml").exists() {
        lost.push("state.yaml is missing".into());
    }
    let store = Store::open(dir.join("certs"));
    let Ok(Some(root)) = store.root() else {
        lost.push("the root CA cannot be read".into());
        return lost;
    };
    let secrets = Secrets::of_all(fronted);
    for &index in members {
        let context = &fronted.clusters[index].context;
        let Ok(Some((_, disk))) = store.intermediate(context, context) else {
            lost.push(format!("plane {index}: its intermediate is not on disk"));
            continue;
        };
        // Checks too that the key belongs to the certificate.
        if let Err(why) = disk.verify(&root.certificate, Timestamp::now()) {
            lost.push(format!("plane {index}: its intermediate on disk: {why}"));
        }
        match secrets[index].cacerts() {
            Some(live) if live == disk => {}
            Some(_) => lost.push(format!("plane {index}: the CA on disk is not the cluster's")),
            None => lost.push(format!("plane {index}: no cacerts")),
        }
        lost.extend(wrong_links(fronted, &secrets, index, members, &[]));
    }
    lost
}

/// What is lost at the moment when a run was killed, before anything mends it: a torn file, a key of
/// a CA that a cluster signs with, a link between `linked` planes. Other planes may have links.
pub(crate) fn lost_now(fronted: &Fronted, linked: &[usize]) -> Vec<String> {
    let dir = fronted.mesh("m");
    let mut lost = torn(&dir);
    let store = Store::open(dir.join("certs"));
    let secrets = Secrets::of_all(fronted);
    let all: Vec<usize> = (0..fronted.clusters.len()).collect();
    for index in all.iter().copied() {
        if let Some(live) = secrets[index].cacerts() {
            let context = &fronted.clusters[index].context;
            let disk = store.intermediate(context, context).ok().flatten();
            let fits = disk.is_some_and(|(_, disk)| {
                let certificate = live.certificate().unwrap();
                disk.ca_key.matches(&certificate).is_ok_and(|matches| matches)
            });
            if !fits {
                lost.push(format!("plane {index}: the key on disk is not that of its certificate"));
            }
        }
        let must = if linked.contains(&index) { linked } else { &[] };
        let may: Vec<usize> = all.iter().copied().filter(|peer| !must.contains(peer)).collect();
        lost.extend(wrong_links(fronted, &secrets, index, must, &may));
    }
    lost.into_iter().map(|lost| format!("at that moment: {lost}")).collect()
}

/// Whether this is the name of something that is being written.
fn is_half(name: &str) -> bool {
    [".multimesh-writing-", ".intermediate-", ".root-cert"].iter().any(|it| name.starts_with(it))
}

/// Everything directly in a directory, with its name.
fn entries(dir: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let named = entries.map(|it| (it.path(), it.file_name().to_string_lossy().into_owned()));
    named.collect()
}

/// Files that a killed run left half written, anywhere below a directory.
pub(crate) fn unfinished(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for (path, name) in entries(dir) {
        if is_half(&name) {
            found.push(format!("{} is left", path.display()));
        } else if path.is_dir() {
            found.extend(unfinished(&path));
        }
    }
    found
}

/// Files of a mesh directory that cannot be read as what they are, and keys that are not those of
/// the certificate beside them. What is being written has another name.
pub(crate) fn torn(dir: &Path) -> Vec<String> {
    let mut torn = Vec::new();
    for (path, name) in entries(dir).into_iter().filter(|(_, name)| !is_half(name)) {
        if path.is_dir() {
            torn.extend(self::torn(&path));
        } else if let Some(why) = fault(&path, &name) {
            torn.push(format!("{} is torn: {why}", path.display()));
        }
        if name == "certs"
            && let Err(why) = Store::open(&path).root()
        {
            torn.push(format!("the root CA is torn: {why}"));
        }
        if name.starts_with("intermediate-") {
            let label = name.trim_start_matches("intermediate-");
            let disk = Store::open(dir).intermediate(label, label);
            let whole = disk.is_ok_and(|disk| {
                disk.is_some_and(|(_, disk)| {
                    let certificate = disk.certificate();
                    certificate.is_ok_and(|it| disk.ca_key.matches(&it).is_ok_and(|fits| fits))
                })
            });
            if !whole {
                torn.push(format!("{} is torn", path.display()));
            }
        }
    }
    torn
}

/// Why a file cannot be read as what it is.
fn fault(path: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    if name.starts_with("state.yaml") {
        return State::parse(&text, path).err().map(|why| why.to_string());
    }
    let of = |extension: &str| path.extension().is_some_and(|it| it == extension);
    if of("json") {
        return serde_json::from_str::<serde_json::Value>(&text).err().map(|why| why.to_string());
    }
    if of("pem") && !name.ends_with("key.pem") {
        let all = Certificate::all_from_pem(&text);
        return all.err().map(|why| why.to_string());
    }
    // Nobody writes an empty one but whoever takes the lock.
    (text.trim().is_empty() && name != ".lock").then(|| "it is empty".into())
}
