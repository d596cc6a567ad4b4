//! The certificates of a Kubernetes cluster.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::error::{Doing as _, Error, Result};

/// The name of the key pair of an administrator whose certificate has ended.
pub(crate) const EXPIRED: &str = "expired";

/// Who uses a certificate.
struct Holder<'a> {
    file: &'a str,
    name: &'a str,
    organization: Option<&'a str>,
    usage: &'a [ExtendedKeyUsagePurpose],
    hosts: &'a [&'a str],
    addresses: &'a [Ipv4Addr],
    /// Whether it ended a day ago.
    expired: bool,
}

const CLIENT: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ClientAuth];
const BOTH: &[ExtendedKeyUsagePurpose] =
    &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];

/// Makes the CA of a cluster, its certificates and the key of its service accounts.
pub(crate) fn create(folder: &Path, name: &str, node: &str, addresses: &[Ipv4Addr]) -> Result<()> {
    fs::create_dir_all(folder).at("create", folder)?;
    let files = make(name, node, addresses).map_err(|error| {
        Error::Refused(format!("cannot make the certificates of {name}: {error}"))
    })?;
    for (file, text) in files {
        let path = folder.join(file);
        let mut options = fs::File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        options
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .at("write", &path)?;
    }
    Ok(())
}

/// File names and contents.
type Files = Vec<(String, String)>;

fn make(name: &str, node: &str, addresses: &[Ipv4Addr]) -> Result<Files, rcgen::Error> {
    let mut params = params(&format!("{name} CA"), None)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let accounts = KeyPair::generate()?;
    let mut files = vec![
        ("ca.crt".to_owned(), ca.pem()),
        ("sa.pub".to_owned(), accounts.public_key_pem()),
        ("sa.key".to_owned(), accounts.serialize_pem()),
    ];

    let user = format!("system:node:{node}");
    let holders = [
        Holder {
            usage: BOTH,
            hosts: &["kubernetes", "kubernetes.default", "kubernetes.default.svc"],
            addresses,
            ..client("apiserver", "kube-apiserver")
        },
        Holder { organization: Some("system:masters"), ..client("admin", "admin") },
        Holder { organization: Some("system:masters"), expired: true, ..client(EXPIRED, "admin") },
        Holder { organization: Some("system:nodes"), ..client("kubelet", &user) },
        client("front", "front-proxy-client"),
    ];
    for holder in &holders {
        files.extend(issue(&ca, holder)?);
    }
    Ok(files)
}

fn client<'a>(file: &'a str, name: &'a str) -> Holder<'a> {
    let (hosts, addresses) = (&[], &[]);
    Holder { file, name, organization: None, usage: CLIENT, hosts, addresses, expired: false }
}

fn issue(
    ca: &CertifiedIssuer<'_, KeyPair>,
    holder: &Holder<'_>,
) -> Result<[(String, String); 2], rcgen::Error> {
    let mut params = params(holder.name, holder.organization)?;
    if holder.expired {
        params.not_after = OffsetDateTime::now_utc() - Duration::days(1);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = holder.usage.to_vec();
    params.use_authority_key_identifier_extension = true;
    for host in holder.hosts {
        let name = (*host).try_into()?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    let addresses = holder.addresses.iter().map(|it| SanType::IpAddress(IpAddr::V4(*it)));
    params.subject_alt_names.extend(addresses);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, ca)?;
    Ok([
        (format!("{}.crt", holder.file), certificate.pem()),
        (format!("{}.key", holder.file), key.serialize_pem()),
    ])
}

fn params(name: &str, organization: Option<&str>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    let mut subject = DistinguishedName::new();
    if let Some(organization) = organization {
        subject.push(DnType::OrganizationName, organization);
    }
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    let now = OffsetDateTime::now_utc();
    // Tests set the clock of a client back by a day.
    params.not_before = now - Duration::days(2);
    params.not_after = now + Duration::days(365);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_finds_its_files() {
        let address = Ipv4Addr::new(10, 99, 1, 1);
        let files = make("c1", "node1", &[address]).expect("certificates");
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        let expected = "ca.crt sa.pub sa.key apiserver.crt apiserver.key admin.crt admin.key \
                        expired.crt expired.key kubelet.crt kubelet.key front.crt front.key";
        assert_eq!(names.join(" "), expected);
        assert!(files.iter().all(|(_, text)| text.starts_with("-----BEGIN ")));
    }
}
