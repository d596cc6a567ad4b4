//! The settings of the machine that a lab changes: kept, and put back by the last lab.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Doing as _, Result};
use crate::home::RunFolder;
use crate::programs::{part, rename};

/// Every API server and kubelet watches files, and the usual limit is used up by twenty of them.
const WATCHERS: (&str, u64) = ("fs/inotify/max_user_instances", 8192);

/// `WATCHERS`, and what a kubelet sets at its start, below `/proc/sys`.
const NAMES: [&str; 7] = [
    WATCHERS.0,
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Of the machine, not of a home: labs of two homes change the same settings. A restart forgets
/// this folder and the settings alike.
const FOLDER: &str = "/run/multimesh-lab";

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    values: BTreeMap<String, String>,
    labs: BTreeSet<PathBuf>,
}

/// Writes down the settings before the first lab changes them, and makes room for many programs.
pub(crate) fn set(run: &RunFolder) -> Result<()> {
    let _lock = lock()?;
    let mut kept = load()?.unwrap_or_default();
    for (name, value) in read_all() {
        kept.values.entry(name).or_insert(value);
    }
    kept.labs.insert(run.path().to_owned());
    save(&kept)?;
    let (name, least) = WATCHERS;
    let path = setting(name);
    let now = fs::read_to_string(&path).at("read", &path)?;
    if now.trim().parse().is_ok_and(|now: u64| now < least) {
        fs::write(&path, least.to_string()).at("write", &path)?;
    }
    Ok(())
}

/// Puts the settings back, unless another lab still runs.
pub(crate) fn restore(run: &RunFolder) -> Result<()> {
    if !Path::new(FOLDER).exists() {
        return Ok(());
    }
    let _lock = lock()?;
    let Some(mut kept) = load()? else {
        return Ok(());
    };
    // A lab whose folder is gone will never come to say that it ended.
    kept.labs.retain(|lab| lab != run.path() && lab.exists());
    if !kept.labs.is_empty() {
        return save(&kept);
    }
    for (name, value) in &kept.values {
        let path = setting(name);
        if fs::read_to_string(&path).is_ok_and(|now| now.trim() != value) {
            fs::write(&path, value).at("restore", &path)?;
        }
    }
    let folder = Path::new(FOLDER);
    fs::remove_dir_all(folder).at("remove", folder)
}

fn setting(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

fn read_all() -> BTreeMap<String, String> {
    NAMES
        .iter()
        .filter_map(|name| {
            let value = fs::read_to_string(setting(name)).ok()?;
            Some(((*name).to_owned(), value.trim().to_owned()))
        })
        .collect()
}

fn lock() -> Result<File> {
    let folder = Path::new(FOLDER);
    fs::create_dir_all(folder).at("create", folder)?;
    let path = folder.join("lock");
    let file = File::create(&path).at("open", &path)?;
    // Held for the time of a few small files.
    file.lock().at("lock", &path)?;
    Ok(file)
}

fn file() -> PathBuf {
    Path::new(FOLDER).join("sysctls.json")
}

fn load() -> Result<Option<Kept>> {
    match fs::read(file()) {
        Ok(bytes) => serde_json::from_slice(&bytes).at("understand", &file()).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", &file()),
    }
}

fn save(kept: &Kept) -> Result<()> {
    let text = serde_json::to_vec_pretty(kept).at("compose", &file())?;
    let part = part(&file());
    fs::write(&part, text).at("write", &part)?;
    rename(&part, &file())
}
