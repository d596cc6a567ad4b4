//! The kubeconfig, of one file or several.

use std::path::{Path, PathBuf};

use multimesh::kube::Kubeconfig;
use multimesh::kube::error::Error;

use super::said::{self, SECRET};
use super::split;

/// Reads `data` as kubeconfig files, parted by [`split::NEXT`].
pub fn check(data: &[u8]) {
    let files: Vec<_> = split::parts(data)
        .enumerate()
        .map(|(n, content)| (PathBuf::from(format!("/home/.kube/config-{n}")), content))
        .collect();
    let alone: Vec<_> = files.iter().map(|file| Kubeconfig::merge([file.clone()])).collect();
    for ((path, content), read) in files.iter().zip(&alone) {
        match read {
            Ok(kubeconfig) => {
                sound(kubeconfig);
                let names: Vec<_> = kubeconfig.contexts().into_iter().map(|it| it.name).collect();
                assert_eq!(Kubeconfig::names_in(content), names, "completion says otherwise");
            }
            Err(error) => {
                let _ = Kubeconfig::names_in(content);
                refused(error, path, content);
            }
        }
    }
    match (Kubeconfig::merge(files.clone()), Kubeconfig::merge(files.clone())) {
        (Ok(merged), Ok(again)) => {
            assert_eq!(merged.contexts(), again.contexts(), "two readings of the same files");
            assert_eq!(merged.files().len(), files.len());
            sound(&merged);
            first_wins(&merged, &alone);
        }
        (Err(error), Err(again)) => {
            assert_eq!(error, again, "two readings of the same files");
            let known = files.iter().any(|(path, _)| error.to_string().contains(&shown(path)));
            assert!(known, "no file is named: {error}");
        }
        _ => panic!("two readings of the same files differ"),
    }
}

fn sound(kubeconfig: &Kubeconfig) {
    assert_ne!(kubeconfig.current_context(), Some(""));
    for entry in kubeconfig.contexts() {
        match kubeconfig.context(&entry.name) {
            Ok(found) => assert_eq!(found, entry),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(&format!("`{}`", entry.name)), "{text}");
            }
        }
    }
    let missing = kubeconfig.context("\u{1}").err();
    assert!(missing.is_none_or(|error| matches!(error, Error::NoContext { .. })));
}

/// Of entries with one name, that of the first file counts.
fn first_wins(merged: &Kubeconfig, alone: &[Result<Kubeconfig, Error>]) {
    let mut expected: Vec<String> = Vec::new();
    for kubeconfig in alone {
        let Ok(kubeconfig) = kubeconfig else { panic!("a file is valid only beside others") };
        for entry in kubeconfig.contexts() {
            if !expected.contains(&entry.name) {
                expected.push(entry.name);
            }
        }
    }
    let mut names: Vec<_> = merged.contexts().into_iter().map(|entry| entry.name).collect();
    // A context without content hides a later one of its name.
    expected.retain(|name| names.contains(name));
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
    let current = alone.iter().flatten().find_map(Kubeconfig::current_context);
    assert_eq!(merged.current_context(), current);
}

fn refused(error: &Error, path: &Path, content: &[u8]) {
    let hint = error.hint();
    assert!(hint.is_some_and(|hint| !hint.is_empty()));
    let text = error.to_string();
    assert!(text.contains(&shown(path)), "{text}");
    said::text(&text);
    let debug = format!("{error:?}");
    if secret_in_values(content) {
        assert!(!text.contains(SECRET) && !debug.contains(SECRET), "a secret is shown: {text}");
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Whether the secret is in `content`, and only as the value of keys that hold secrets.
fn secret_in_values(content: &[u8]) -> bool {
    let content = String::from_utf8_lossy(content);
    let mut any = false;
    for line in content.lines().filter(|line| line.contains(SECRET)) {
        let keys = ["token:", "password:", "client-key-data:"];
        let line = line.trim_start();
        let Some(value) = keys.iter().find_map(|key| line.strip_prefix(key)) else { return false };
        let Some((before, after)) = value.split_once(SECRET) else { return false };
        // What a typing error leaves before a value; a value that ends early is another matter.
        if before.contains(|c: char| c.is_alphanumeric()) || after.contains(SECRET) {
            return false;
        }
        any = true;
    }
    any
}
