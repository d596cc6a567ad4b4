//! The kubeconfig files of the clusters.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::error::{Doing as _, Result};
use crate::home::RunFolder;
use crate::programs::{part, rename};
use crate::state::{Member, State};

/// Who a kubeconfig is for, which is also the name of the key pair.
#[derive(Clone, Copy)]
pub(crate) enum User {
    Admin,
    Kubelet,
}

impl User {
    fn file(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Kubelet => "kubelet",
        }
    }
}

/// The kubeconfig of a user of one cluster.
pub(crate) fn path(run: &RunFolder, member: &Member, user: User) -> PathBuf {
    run.cluster(member.number)
        .join(format!("{}.kubeconfig", user.file()))
}

/// Writes the kubeconfig of a user of one cluster.
pub(crate) fn write_one(run: &RunFolder, member: &Member, user: User) -> Result<()> {
    write(&path(run, member, user), run, &[member], user)
}

/// Writes the kubeconfig of all clusters.
pub(crate) fn write_all(run: &RunFolder, state: &State) -> Result<()> {
    let members: Vec<_> = state.clusters.iter().collect();
    write(&run.kubeconfig(), run, &members, User::Admin)
}

fn write(path: &Path, run: &RunFolder, members: &[&Member], user: User) -> Result<()> {
    let mut clusters = Vec::new();
    let mut users = Vec::new();
    let mut contexts = Vec::new();
    for member in members {
        let pki = run.cluster(member.number).join("pki");
        let read = |name: String| {
            let path = pki.join(name);
            fs::read(&path)
                .at("read", &path)
                .map(|it| BASE64_STANDARD.encode(it))
        };
        let name = name(member);
        let login = format!("{}-{name}", user.file());
        clusters.push(json!({
            "name": name,
            "cluster": {
                "server": member.server(),
                "certificate-authority-data": read("ca.crt".into())?,
            },
        }));
        users.push(json!({
            "name": login,
            "user": {
                "client-certificate-data": read(format!("{}.crt", user.file()))?,
                "client-key-data": read(format!("{}.key", user.file()))?,
            },
        }));
        contexts.push(json!({
            "name": member.context,
            "context": {"cluster": name, "user": login},
        }));
    }
    let first = members.first().map_or("", |member| member.context.as_str());
    let text = yaml(&clusters, &users, &contexts, first);
    let part = part(path);
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&part)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .at("write", &part)?;
    rename(&part, path)
}

/// The name of the cluster in the files: that of the context, shortened.
fn name(member: &Member) -> &str {
    let context = &member.context;
    context.strip_prefix("context-").unwrap_or(context)
}

/// YAML with a line an entry, whose entries are JSON, which YAML includes.
fn yaml(clusters: &[Value], users: &[Value], contexts: &[Value], current: &str) -> String {
    let mut text = "apiVersion: v1\nkind: Config\n".to_owned();
    for (name, entries) in [
        ("clusters", clusters),
        ("users", users),
        ("contexts", contexts),
    ] {
        if entries.is_empty() {
            let _ = writeln!(text, "{name}: []");
            continue;
        }
        let _ = writeln!(text, "{name}:");
        for entry in entries {
            let _ = writeln!(text, "- {entry}");
        }
    }
    let _ = writeln!(text, "current-context: {}", Value::from(current));
    text
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    #[test]
    fn the_file_is_a_kubeconfig() {
        let entry = json!({"name": "east-1"});
        let text = yaml(from_ref(&entry), &[], from_ref(&entry), "context-east-1");
        assert_eq!(
            text,
            "apiVersion: v1\nkind: Config\nclusters:\n- {\"name\":\"east-1\"}\nusers: []\n\
             contexts:\n- {\"name\":\"east-1\"}\ncurrent-context: \"context-east-1\"\n"
        );
    }
}
