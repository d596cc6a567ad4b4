//! One kubeconfig file: its text, its documents, and what is wrong with it.

use std::collections::BTreeSet;
use std::path::Path;

use ::kube::config as file;
use secrecy::{ExposeSecret as _, SecretString};
use serde_saphyr::{Error as Saphyr, MessageFormatter as _, UserMessageFormatter};
use zeroize::Zeroizing;

use crate::files;
use crate::kube::error::Error;
use crate::topology::{shortened, yaml};

/// Reads `content`, the content of the file `path`. Paths in it are relative to its directory, and
/// values that are empty count as missing, as for client-go.
pub(super) fn read(path: &Path, content: &[u8]) -> Result<file::Kubeconfig, Error> {
    let invalid =
        |position, reason| Error::KubeconfigInvalid { path: path.to_path_buf(), position, reason };
    let text = decode(content).ok_or_else(|| Error::KubeconfigUnreadable {
        path: path.to_path_buf(),
        reason: files::Cause::NotText.to_string(),
    })?;
    let options = serde_saphyr::options! { with_snippet: false, budget: yaml::budget() };
    let documents: Vec<file::Kubeconfig> = serde_saphyr::from_multiple_with_options(&text, options)
        .map_err(|error| {
            let position = error.location().map(|place| (place.line(), place.column()));
            invalid(position, reason(&error))
        })?;
    let mut documents = documents.into_iter();
    let first = documents.next().unwrap_or_default();
    let mut whole = documents
        .try_fold(first, file::Kubeconfig::merge)
        .map_err(|_| invalid(None, "its documents contradict each other".to_owned()))?;
    if let Some(reason) = duplicate(&whole) {
        return Err(invalid(None, reason));
    }
    settle(&mut whole, path.parent().unwrap_or(Path::new("")));
    Ok(whole)
}

/// The text: UTF-8, or UTF-16 with a byte order mark, as editors on Windows write it.
pub(super) fn decode(content: &[u8]) -> Option<Zeroizing<String>> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, odd) = rest.as_chunks();
        let units = Zeroizing::new(pairs.iter().copied().map(unit).collect::<Vec<_>>());
        if odd.is_empty() { String::from_utf16(&units).ok() } else { None }
    };
    let text = match content {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        [0xef, 0xbb, 0xbf, rest @ ..] => str::from_utf8(rest).ok()?.to_owned(),
        content => str::from_utf8(content).ok()?.to_owned(),
    };
    Some(Zeroizing::new(text))
}

/// Makes paths absolute (client-go, `ResolveLocalPaths`) and empty values missing ones.
fn settle(config: &mut file::Kubeconfig, dir: &Path) {
    let absolute = |path: &mut Option<String>| {
        *path = path.take().filter(|path| !path.is_empty()).map(|path| {
            let joined = dir.join(&path);
            joined.to_str().map_or(path, str::to_owned)
        });
    };
    drop_empty(&mut config.current_context);
    for cluster in config.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        absolute(&mut cluster.certificate_authority);
    }
    for user in config.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        for path in [&mut user.client_certificate, &mut user.client_key, &mut user.token_file] {
            absolute(path);
        }
        for text in [&mut user.username, &mut user.client_certificate_data] {
            drop_empty(text);
        }
        for secret in [&mut user.password, &mut user.token, &mut user.client_key_data] {
            let empty = |secret: &mut SecretString| secret.expose_secret().is_empty();
            secret.take_if(empty);
        }
        // A bare name is looked up on PATH (client-go, `GetAuthInfoFileReferences`).
        if let Some(exec) = &mut user.exec
            && exec.command.as_ref().is_some_and(|it| it.contains(std::path::MAIN_SEPARATOR))
        {
            absolute(&mut exec.command);
        }
    }
}

fn drop_empty(text: &mut Option<String>) {
    text.take_if(|text| text.is_empty());
}

/// What is wrong with a file, without any value in it: it holds secrets.
fn reason(error: &Saphyr) -> String {
    match error.without_snippet() {
        Saphyr::AliasError { error, .. } => reason(error),
        other if yaml::nested_too_deep(other) => {
            "its lists and mappings are nested too deep".to_owned()
        }
        Saphyr::Budget { .. }
        | Saphyr::AliasReplayLimitExceeded { .. }
        | Saphyr::AliasExpansionLimitExceeded { .. }
        | Saphyr::AliasReplayStackDepthExceeded { .. }
        | Saphyr::AliasReplayCounterOverflow { .. } => {
            "it is too large, or its aliases repeat each other".to_owned()
        }
        Saphyr::SerdeInvalidType { unexpected, expected, .. } => {
            format!("invalid type: {}, expected {expected}", kind(unexpected))
        }
        Saphyr::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("invalid value: {}, expected {expected}", kind(unexpected))
        }
        Saphyr::SerdeMissingField { field, .. } => format!("missing field `{field}`"),
        Saphyr::SerdeUnknownVariant { expected, .. } => {
            format!("one of {} is expected", expected.join(", "))
        }
        Saphyr::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{}` is written twice in one mapping", shortened(key))
        }
        other => without_quotations(&UserMessageFormatter.format_message(other)),
    }
}

/// The kind of a value that serde describes, such as the `string` of `string "x"`.
fn kind(described: &str) -> &str {
    described.split(['"', '`', '\'']).next().unwrap_or_default().trim_end()
}

/// The first line of a message, with what it quotes taken out.
fn without_quotations(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default().trim_end_matches('.');
    let quotes = ['"', '`', '\''].into_iter().filter_map(|quote| line.find(quote));
    let end = quotes.chain(line.find('[')).min().unwrap_or(line.len());
    let text = shortened(line[..end].trim_end());
    if text.is_empty() { "it is not YAML".to_owned() } else { text }
}

/// client-go refuses a file in which a name occurs twice (clientcmd/api/v1/conversion.go).
fn duplicate(config: &file::Kubeconfig) -> Option<String> {
    fn twice<'a>(names: impl Iterator<Item = &'a String>) -> Option<&'a str> {
        let mut seen = BTreeSet::new();
        names.into_iter().find(|name| !seen.insert(name.as_str())).map(String::as_str)
    }
    let clusters = twice(config.clusters.iter().map(|named| &named.name));
    let users = twice(config.auth_infos.iter().map(|named| &named.name));
    let contexts = twice(config.contexts.iter().map(|named| &named.name));
    [("cluster", clusters), ("user", users), ("context", contexts)]
        .into_iter()
        .find_map(|(what, name)| Some(format!("it has the {what} `{}` twice", name?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> file::Kubeconfig {
        read(Path::new("/home/.kube/config"), text.as_bytes()).unwrap()
    }

    fn refused(content: &[u8]) -> String {
        read(Path::new("/c"), content).err().unwrap().to_string()
    }

    #[test]
    fn utf_16_is_read_and_refused_when_a_byte_is_missing() {
        let text = "current-context: é";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (mark, units) in [([0xff, 0xfe], little), ([0xfe, 0xff], big)] {
            let content = [&mark[..], &units].concat();
            let read = read(Path::new("/c"), &content).unwrap();
            assert_eq!(read.current_context.as_deref(), Some("é"));
            let cut = &content[..content.len() - 1];
            assert_eq!(refused(cut), "cannot read the kubeconfig /c: it is not text (UTF-8)");
        }
        assert_eq!(refused(b"\xc3"), "cannot read the kubeconfig /c: it is not text (UTF-8)");
    }

    #[test]
    fn paths_are_relative_to_the_file_and_empty_values_are_missing() {
        let config = config(
            "current-context: ''\nclusters:\n- {name: a, cluster: {certificate-authority: ca.pem}}\n\
             - {name: b, cluster: {certificate-authority: ''}}\nusers:\n- name: a\n  user: \
             {client-certificate: /c.pem, client-key: k.pem, token: '', exec: {command: ./aws}}\n\
             - {name: b, user: {tokenFile: '', password: '', exec: {command: aws}}}\n",
        );
        assert_eq!(config.current_context, None);
        let authority = |n: usize| {
            config.clusters[n].cluster.as_ref().unwrap().certificate_authority.as_deref()
        };
        assert_eq!((authority(0), authority(1)), (Some("/home/.kube/ca.pem"), None));
        let user = |n: usize| config.auth_infos[n].auth_info.as_ref().unwrap();
        let command = |n: usize| user(n).exec.as_ref().unwrap().command.as_deref();
        assert_eq!(user(0).client_certificate.as_deref(), Some("/c.pem"));
        assert_eq!(user(0).client_key.as_deref(), Some("/home/.kube/k.pem"));
        assert!(user(0).token.is_none() && user(1).password.is_none());
        assert_eq!(user(1).token_file, None);
        assert_eq!((command(0), command(1)), (Some("/home/.kube/./aws"), Some("aws")));
    }

    #[test]
    fn no_reason_quotes_a_value() {
        for value in [
            "*hunter2",
            "!hunter2 x",
            "&hunter2",
            "[hunter2]",
            "{hunter2: 1}",
            "'hunter2'x",
            "hunter2: x",
            "%hunter2",
            "@hunter2",
            "\"\\hunter2\"",
            "!!binary hunter2",
            "!!int hunter2",
            "!!float hunter2",
            "|hunter2",
            "`hunter2`",
            "\thunter2: x",
        ] {
            let text = format!("users:\n- name: a\n  user:\n    password: {value}\n");
            if let Err(error) = read(Path::new("/c"), text.as_bytes()) {
                assert!(!format!("{error}{error:?}").contains("hunter"), "{value}: {error}");
            }
        }
        let text = "users:\n- name: a\n  user: 12345678\n";
        assert!(!refused(text.as_bytes()).contains("1234"), "{}", refused(text.as_bytes()));
    }

    #[test]
    fn a_file_that_would_take_all_memory_is_refused() {
        let deep = format!("a: {}", "[".repeat(10_000));
        assert!(
            refused(deep.as_bytes()).contains("nested too deep"),
            "{}",
            refused(deep.as_bytes())
        );
        let long = "x".repeat(100_000);
        let repeated = format!("a: &a {long}\nb: [{}]\n", "*a,".repeat(30_000));
        let reason = refused(repeated.as_bytes());
        assert!(reason.contains("its aliases repeat each other"), "{reason}");
    }
}
