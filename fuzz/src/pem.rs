//! Certificates, keys, chains, and the Secret `cacerts`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use multimesh::pki::cacerts::{CA_CERT, CA_KEY, CERT_CHAIN, ROOT_CERT};
use multimesh::pki::{Cacerts, Certificate, Error, KeyPem, Root, issue, renewal_due};

use super::{said, split};

/// When the corpus is looked at: 2027-01-01T12:00:00Z.
const NOW: i64 = 1_798_804_800;

/// Reads `data` as certificates and as a key; and as the four files of a CA, parted by [`split::NEXT`].
pub fn check(data: &[u8]) {
    let now = Timestamp::from_second(NOW).unwrap_or_default();
    if let Ok(content) = str::from_utf8(data) {
        certificates(content, now);
    }
    let mut files = split::parts(data);
    let names = [CA_CERT, CA_KEY, ROOT_CERT, CERT_CHAIN];
    let entries: BTreeMap<_, _> =
        names.into_iter().map(str::to_owned).zip(files.by_ref().map(<[u8]>::to_vec)).collect();
    match Cacerts::from_entries(&entries) {
        Ok(cacerts) => whole(&cacerts, now),
        Err(error) => refused(&error, data),
    }
}

fn certificates(content: &str, now: Timestamp) {
    let first = Certificate::from_pem(content);
    match Certificate::all_from_pem(content) {
        Ok(all) => {
            assert_eq!(first.as_ref().ok(), all.first(), "the first of all");
            for certificate in &all {
                sound(certificate, now);
            }
        }
        Err(error) => refused(&error, content.as_bytes()),
    }
    let Ok(certificate) = first else { return };
    let key = KeyPem::from(content.to_owned());
    match key.matches(&certificate) {
        Ok(true) => issued(&certificate, key, content, now),
        Ok(false) => {}
        Err(error) => refused(&error, content.as_bytes()),
    }
}

fn sound(certificate: &Certificate, now: Timestamp) {
    for text in [&certificate.subject, &certificate.issuer, &certificate.key_algorithm] {
        said::text(text);
    }
    assert_eq!(certificate.fingerprint.len(), 64);
    renewal_due(certificate, now);
}

/// What a root signs is sound, whatever the root looks like.
fn issued(root: &Certificate, key: KeyPem, content: &str, now: Timestamp) {
    let root = Root { certificate: root.clone(), cert_pem: content.to_owned(), key: Some(key) };
    match issue::intermediate(&root, "east-1", "istio-system", now) {
        Ok(cacerts) => {
            let verified = cacerts.verify(&root.certificate, now);
            assert!(verified.is_ok(), "{verified:?}");
        }
        Err(error) => refused(&error, content.as_bytes()),
    }
}

/// The four files of a CA.
fn whole(cacerts: &Cacerts, now: Timestamp) {
    let entries: BTreeMap<_, _> = cacerts
        .entries()
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
        .collect();
    let again = Cacerts::from_entries(&entries);
    assert_eq!(again.as_ref().ok(), Some(cacerts), "what is written is read again");
    let key = cacerts.ca_key.as_str().as_bytes();
    let alone = cacerts.verify_alone(now);
    if let Err(error) = &alone {
        refused(error, key);
    }
    let Ok(roots) = cacerts.roots() else {
        return assert!(alone.is_err(), "there is no root");
    };
    for root in &roots {
        match cacerts.verify(root, now) {
            Ok(()) => assert!(alone.is_ok(), "{alone:?}"),
            Err(error) => refused(&error, key),
        }
    }
}

/// An error, which shows nothing of a key in `content`.
fn refused(error: &Error, content: &[u8]) {
    let shown = error.to_string();
    said::text(&shown);
    let debug = format!("{error:?}");
    let content = String::from_utf8_lossy(content);
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    let mut lines = content.lines().map(str::trim);
    while let Some(begin) = lines.next() {
        if !begin.starts_with("-----BEGIN ") || !begin.contains("PRIVATE KEY") {
            continue;
        }
        let body = lines.by_ref().take_while(|line| !line.starts_with("-----END "));
        for line in body.filter(|line| line.len() >= 40 && line.chars().all(base64)) {
            assert!(!shown.contains(line) && !debug.contains(line), "a key is shown: {shown}");
        }
    }
}
