//! Making a root CA, and intermediate CAs below it.

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyUsagePurpose,
    SanType, SerialNumber,
};
use time::OffsetDateTime;
use x509_parser::x509::X509Name;

use super::inspect::Certificate;
use super::key::Signer;
use super::{Cacerts, Error, Place, Root, chain, is_label};

/// Lifetime of a root, in days.
pub const ROOT_DAYS: i64 = 3650;
/// Lifetime of an intermediate, in days; it never outlives its root.
pub const INTERMEDIATE_DAYS: i64 = 730;

const DAY: i64 = 24 * 60 * 60;
/// A clock here or in a cluster may be a day off: a certificate is valid from before it was made, in
/// seconds.
const BACKDATE: i64 = 2 * DAY;

/// Makes a root CA: `O=<organization>, CN=Root CA`, ECDSA P-256, valid from two days before `now`
/// for [`ROOT_DAYS`].
///
/// # Errors
/// [`Error::Organization`] when it is empty, longer than 64 characters (RFC 5280,
/// `ub-organization-name`) or has control characters in it.
pub fn root(organization: &str, now: Timestamp) -> Result<Root, Error> {
    check_organization(organization)?;
    let start = now.as_second() - BACKDATE;
    let mut params = params(start, start + ROOT_DAYS * DAY)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, "Root CA");

    let signer = Signer::generate()?;
    let cert_pem = params.self_signed(&signer.0).map_err(|error| Error::issue(&error))?.pem();
    Ok(Root { certificate: Certificate::from_pem(&cert_pem)?, cert_pem, key: Some(signer.pem()) })
}

/// Makes the intermediate CA of a cluster under `root`: the root's organisation, `CN=Intermediate
/// CA`, `L=<cluster>`, ECDSA P-256 with a new key, path length 0, for istiod in `namespace`, valid
/// from two days before `now` for [`INTERMEDIATE_DAYS`] but not beyond the root on either side.
///
/// The result has passed [`Cacerts::verify`].
///
/// # Errors
/// [`Error::OfflineRoot`] without a key; [`Error::KeyMismatch`] and the errors of reading a key
/// when it cannot be used; [`Error::Expired`], [`Error::NotYetValid`], [`Error::CannotSign`],
/// [`Error::NotForServers`] or [`Error::RootSubject`] when the root is not fit for it;
/// [`Error::Label`] for a bad `cluster` or `namespace`.
pub fn intermediate(
    root: &Root,
    cluster: &str,
    namespace: &str,
    now: Timestamp,
) -> Result<Cacerts, Error> {
    for name in [cluster, namespace] {
        if !is_label(name) {
            return Err(Error::Label { name: name.to_owned() });
        }
    }
    let above = &root.certificate;
    chain::check_signer(above, 1, now)?;
    let key =
        root.key.as_ref().ok_or_else(|| Error::OfflineRoot { subject: above.subject.clone() })?;
    if !key.matches(above)? {
        return Err(Error::KeyMismatch {
            key: Place::Entry("root-key.pem"),
            certificate: Place::Entry("root-cert.pem"),
        });
    }

    let start = (now.as_second() - BACKDATE).max(above.not_before.as_second());
    let end = (start + INTERMEDIATE_DAYS * DAY).min(above.not_after.as_second());
    let mut params = params(start, end)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    if let Some(organization) = &above.organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, "Intermediate CA");
    params.distinguished_name.push(DnType::LocalityName, cluster);
    let dns = format!("istiod.{namespace}.svc");
    params.subject_alt_names =
        vec![SanType::DnsName(dns.try_into().map_err(|error| Error::issue(&error))?)];
    // Without an identifier in the root there is nothing to refer to.
    params.use_authority_key_identifier_extension = above.subject_key_id.is_some();

    let subject_problem = || Error::RootSubject { subject: above.subject.clone() };
    if !has_readable_types(above.parsed()?.subject()) {
        return Err(subject_problem());
    }
    let root_signer = key.signer()?;
    let issuer = Issuer::from_ca_cert_der(&above.der().into(), &root_signer.0)
        .map_err(|_| subject_problem())?;
    let signer = Signer::generate()?;
    let ca_cert = params.signed_by(&signer.0, &issuer).map_err(|error| Error::issue(&error))?.pem();
    let certificate = Certificate::from_pem(&ca_cert)?;
    // rcgen keeps one attribute of a kind; verifiers compare the encoded names.
    if certificate.parsed()?.issuer().as_raw() != above.parsed()?.subject().as_raw() {
        return Err(subject_problem());
    }

    let cert_chain = concat(&ca_cert, &root.cert_pem);
    let cacerts =
        Cacerts { ca_cert, ca_key: signer.pem(), root_cert: root.cert_pem.clone(), cert_chain };
    cacerts.verify(above, now)?;
    Ok(cacerts)
}

/// Whether every attribute of `name` has a type that can be written again; rcgen panics at others. The
/// parser takes what is under 2.40 and above for a first arc beyond 2, of which there is none (X.660),
/// and reads damage as that, or as a single arc.
fn has_readable_types(name: &X509Name<'_>) -> bool {
    name.iter_attributes().all(|attribute| {
        let arcs = attribute.attr_type().iter();
        arcs.is_some_and(|mut arcs| {
            arcs.next().is_some_and(|arc| arc <= 2) && arcs.next().is_some()
        })
    })
}

/// What both levels share. Every date, the name and the serial are set: rcgen's defaults are valid
/// until 4096, carry a name of its own and derive the serial from the key.
fn params(not_before: i64, not_after: i64) -> Result<CertificateParams, Error> {
    let date =
        |second| OffsetDateTime::from_unix_timestamp(second).map_err(|error| Error::issue(&error));
    let mut params = CertificateParams::default();
    params.not_before = date(not_before)?;
    params.not_after = date(not_after)?;
    params.serial_number = Some(serial()?);
    params.distinguished_name = DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// A random serial number of 16 bytes. The two highest bits are `01`: istiod drops roots with a
/// negative serial, and a leading zero byte would shorten it.
fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0; 16];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| Error::issue(&"the system gave no random numbers"))?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn check_organization(organization: &str) -> Result<(), Error> {
    let reason = if organization.trim().is_empty() {
        "it is empty"
    } else if organization.chars().count() > 64 {
        "it is longer than 64 characters"
    } else if organization.chars().any(char::is_control) {
        "it has control characters in it"
    } else {
        return Ok(());
    };
    Err(Error::Organization { organization: organization.to_owned(), reason })
}

/// Two PEM texts, one after the other, also where the first lacks its last newline.
fn concat(first: &str, second: &str) -> String {
    let newline = if first.ends_with('\n') { "" } else { "\n" };
    format!("{first}{newline}{second}")
}

#[cfg(test)]
mod tests {
    use x509_parser::extensions::GeneralName;

    use super::*;
    use crate::pki::fixtures::{self, at, seed_certs};
    use crate::pki::{CannotSign, KeyPem, Store};

    const NOW: &str = "2026-05-01T12:00:00Z";

    fn made() -> Root {
        root("Example Ltd", at(NOW)).unwrap()
    }

    fn under(root: &Root) -> (Cacerts, Certificate) {
        let cacerts = intermediate(root, "east-1", "istio-system", at(NOW)).unwrap();
        let certificate = cacerts.certificate().unwrap();
        (cacerts, certificate)
    }

    fn usages(certificate: &Certificate) -> String {
        let parsed = certificate.parsed().unwrap();
        let usage = parsed.key_usage().unwrap().unwrap();
        assert!(usage.critical);
        assert!(parsed.basic_constraints().unwrap().unwrap().critical);
        usage.value.to_string()
    }

    #[test]
    fn a_root_is_what_it_should_be() {
        let root = made();
        let certificate = &root.certificate;
        assert_eq!(certificate.subject, "O=Example Ltd, CN=Root CA");
        assert_eq!(certificate.issuer, certificate.subject);
        assert_eq!(certificate.not_before, at("2026-04-29T12:00:00Z"));
        assert_eq!(certificate.not_after, at("2036-04-26T12:00:00Z"));
        assert_eq!((certificate.is_ca, certificate.path_len), (true, None));
        assert_eq!(certificate.key_algorithm, "ECDSA P-256");
        assert!(certificate.subject_key_id.is_some());
        assert_eq!(usages(certificate), "Key Cert Sign, CRL Sign");
        assert!(root.key.unwrap().matches(certificate).unwrap());
        certificate.parsed().unwrap().verify_signature(None).unwrap();
    }

    #[test]
    fn an_intermediate_is_what_it_should_be() {
        let root = made();
        let (cacerts, certificate) = under(&root);
        assert_eq!(certificate.subject, "O=Example Ltd, CN=Intermediate CA, L=east-1");
        assert_eq!(certificate.issuer, root.certificate.subject);
        assert_eq!(certificate.not_before, at("2026-04-29T12:00:00Z"));
        assert_eq!(certificate.not_after, at("2028-04-28T12:00:00Z"));
        assert_eq!((certificate.is_ca, certificate.path_len), (true, Some(0)));
        assert_eq!(certificate.key_algorithm, "ECDSA P-256");
        assert_eq!(usages(&certificate), "Key Cert Sign, CRL Sign");
        assert_eq!(certificate.authority_key_id, root.certificate.subject_key_id);
        assert_ne!(certificate.subject_key_id, root.certificate.subject_key_id);
        let parsed = certificate.parsed().unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names, [GeneralName::DNSName("istiod.istio-system.svc")]);
        let above = root.certificate.parsed().unwrap();
        parsed.verify_signature(Some(above.public_key())).unwrap();

        assert_eq!(cacerts.cert_chain, format!("{}{}", cacerts.ca_cert, root.cert_pem));
        assert_eq!(cacerts.root_cert, root.cert_pem);
    }

    #[test]
    fn serials_are_long_positive_and_never_the_same() {
        let root = made();
        let mut serials: Vec<_> = (0..20)
            .flat_map(|_| [made().certificate, under(&root).1])
            .map(|certificate| certificate.serial)
            .collect();
        for serial in &serials {
            assert_eq!(serial.len(), 32, "{serial}");
            assert!(matches!(serial.as_bytes()[0], b'4'..=b'7'), "{serial}");
        }
        serials.sort();
        serials.dedup();
        assert_eq!(serials.len(), 40);
    }

    #[test]
    fn every_intermediate_gets_its_own_key() {
        let root = made();
        let (one, certificate) = under(&root);
        let (two, _) = under(&root);
        assert!(!two.ca_key.matches(&certificate).unwrap());
        assert_ne!(one, two);
    }

    #[test]
    fn dates_stay_inside_the_root() {
        let root = made();
        let late = intermediate(&root, "a", "b", at("2036-01-01T00:00:00Z")).unwrap();
        assert_eq!(late.certificate().unwrap().not_after, root.certificate.not_after);
        let early = intermediate(&root, "a", "b", at("2026-05-01T11:56:00Z")).unwrap();
        assert_eq!(early.certificate().unwrap().not_before, root.certificate.not_before);
    }

    #[test]
    fn a_root_out_of_time_signs_nothing() {
        let root = made();
        let error = intermediate(&root, "a", "b", at("2036-04-26T12:00:01Z")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the certificate `O=Example Ltd, CN=Root CA` expired at 2036-04-26T12:00:00Z"
        );
        let error = intermediate(&root, "a", "b", at("2026-04-29T11:59:59Z")).unwrap_err();
        assert!(matches!(error, Error::NotYetValid { .. }), "{error}");
    }

    #[test]
    fn an_offline_root_or_the_key_of_another_signs_nothing() {
        let offline = Root { key: None, ..made() };
        let error = intermediate(&offline, "a", "b", at(NOW)).unwrap_err();
        assert!(matches!(error, Error::OfflineRoot { .. }), "{error}");
        let mixed = Root { key: made().key, ..made() };
        let error = intermediate(&mixed, "a", "b", at(NOW)).unwrap_err();
        assert!(matches!(error, Error::KeyMismatch { .. }), "{error}");
    }

    #[test]
    fn names_that_cannot_stand_in_a_certificate_are_refused() {
        for name in ["", "East", "-a", "a/b", "../a", "a.b", &"a".repeat(64)] {
            for (cluster, namespace) in [(name, "istio-system"), ("east-1", name)] {
                let error = intermediate(&made(), cluster, namespace, at(NOW)).unwrap_err();
                assert!(matches!(error, Error::Label { .. }), "{name}: {error}");
            }
        }
        for organization in ["", "  ", "a\nb", &"a".repeat(65)] {
            let error = root(organization, at(NOW)).unwrap_err();
            assert!(matches!(error, Error::Organization { .. }), "{organization}: {error}");
        }
        let umlauts = "\u{c4}".repeat(64);
        let root = root(&umlauts, at(NOW)).unwrap();
        assert_eq!(under(&root).1.organization, Some(umlauts));
    }

    #[test]
    fn the_root_of_the_seed_signs() {
        let root = Store::open(seed_certs()).root().unwrap().unwrap();
        let (cacerts, certificate) = under(&root);
        assert_eq!(certificate.subject, "O=Example, CN=Intermediate CA, L=east-1");
        assert_eq!(certificate.key_algorithm, "ECDSA P-256");
        assert_eq!(certificate.authority_key_id, root.certificate.subject_key_id);
        assert_eq!(certificate.not_after, at("2028-04-28T12:00:00Z"));
        cacerts.verify(&root.certificate, at(NOW)).unwrap();
    }

    #[test]
    fn roots_of_other_makers_sign() {
        for (certificate, key) in [
            ("rsa-2048-root.cert.pem", "rsa-2048-pkcs1.key.pem"),
            ("rsa-2048-root.cert.pem", "rsa-2048-pkcs8.key.pem"),
            ("p384-root.cert.pem", "p384-sec1.key.pem"),
            ("p256-no-identifier-root.cert.pem", "p256-sec1.key.pem"),
        ] {
            let root = fixtures::root(certificate, key);
            let (_, issued) = under(&root);
            let (parsed, above) = (issued.parsed().unwrap(), root.certificate.parsed().unwrap());
            assert_eq!(parsed.issuer().as_raw(), above.subject().as_raw(), "{key}");
            parsed.verify_signature(Some(above.public_key())).unwrap();
            assert_eq!(issued.authority_key_id, root.certificate.subject_key_id, "{key}");
            assert_eq!(issued.organization.as_deref(), Some("Example"), "{key}");
        }
    }

    #[test]
    fn a_root_with_an_attribute_of_an_unreadable_type_signs_nothing() {
        let signer = Signer::generate().unwrap();
        let root = |arcs: Vec<u64>| {
            let mut params = params(at(NOW).as_second(), at(NOW).as_second() + DAY).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CustomDnType(arcs), "Example");
            let cert_pem = params.self_signed(&signer.0).unwrap().pem();
            let certificate = Certificate::from_pem(&cert_pem).unwrap();
            Root { certificate, cert_pem, key: Some(signer.pem()) }
        };
        let issue = |root| intermediate(&root, "east-1", "istio-system", at(NOW));
        let readable = root(vec![2, 5, 4, 97]);
        // The same length, with an identifier of one byte.
        let (from, to) = (b"\x06\x03\x55\x04\x61\x0c\x07", b"\x06\x01\x00\x0c\x09AB");
        let mut der = readable.certificate.der().to_vec();
        while let Some(at) = der.windows(from.len()).position(|window| window == from) {
            der[at..at + to.len()].copy_from_slice(to);
        }
        let body = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, der);
        let cert_pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        let certificate = Certificate::from_pem(&cert_pem).unwrap();
        let single = Root { certificate, cert_pem, key: Some(signer.pem()) };
        issue(readable).unwrap();
        for unreadable in [root(vec![2, 49, 1]), single] {
            let error = issue(unreadable).unwrap_err();
            assert!(matches!(error, Error::RootSubject { .. }), "{error}");
        }
    }

    #[test]
    fn roots_that_cannot_sign_say_why() {
        let key = "p256-sec1.key.pem";
        let refused = |certificate| {
            let root = fixtures::root(certificate, key);
            intermediate(&root, "east-1", "istio-system", at(NOW)).unwrap_err()
        };
        let reason = |error| match error {
            Error::CannotSign { reason, .. } => reason,
            other => panic!("{other}"),
        };
        assert_eq!(reason(refused("p256-pathlen-0-root.cert.pem")), CannotSign::PathLength);
        assert_eq!(reason(refused("p256-not-a-ca.cert.pem")), CannotSign::NotCa);
        let error = refused("p256-two-dc-root.cert.pem");
        assert!(matches!(error, Error::RootSubject { .. }), "{error}");
    }

    #[test]
    fn a_root_file_without_its_last_newline_still_makes_a_chain() {
        let root = made();
        let root = Root { cert_pem: root.cert_pem.trim_end().to_owned(), ..root };
        let (cacerts, certificate) = under(&root);
        let chain = Certificate::all_from_pem(&cacerts.cert_chain).unwrap();
        assert_eq!(chain, [certificate, root.certificate]);
    }

    #[test]
    fn no_error_and_no_debug_output_shows_a_key() {
        let root = made();
        let secret = root.key.as_ref().map(KeyPem::as_str).unwrap().lines().nth(1).unwrap();
        let (cacerts, _) = under(&root);
        let shown = format!("{root:?} {cacerts:?}");
        assert!(!shown.contains(secret));
        assert!(!shown.contains(cacerts.ca_key.as_str().lines().nth(1).unwrap()));
    }
}
