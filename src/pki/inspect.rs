//! Reading certificates.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::extensions::ParsedExtension;
use x509_parser::nom;
use x509_parser::pem::Pem;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::Error;
use crate::hex::hex;

/// The most characters of a name that are shown.
const LONGEST_NAME: usize = 300;

/// What is worth knowing of an X.509 certificate. Two are equal when they are the same certificate.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Subject, such as `O=Example, CN=Root CA`.
    pub subject: String,
    /// Issuer, in the same form.
    pub issuer: String,
    /// The subject's organisation (`O`).
    pub organization: Option<String>,
    /// The subject's common name (`CN`).
    pub common_name: Option<String>,
    /// The subject's locality (`L`): the cluster, in an intermediate.
    pub locality: Option<String>,
    /// SHA-256 of the DER form, 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// First second of validity.
    pub not_before: Timestamp,
    /// Last second of validity.
    pub not_after: Timestamp,
    /// Whether `basicConstraints` says `CA:TRUE`.
    pub is_ca: bool,
    /// How many CA certificates may follow below this one; `None` is no limit.
    pub path_len: Option<u32>,
    /// Serial number, lower-case hexadecimal digits.
    pub serial: String,
    /// The public key, such as `ECDSA P-256` or `RSA 4096`.
    pub key_algorithm: String,
    /// Subject key identifier.
    pub subject_key_id: Option<Vec<u8>>,
    /// Authority key identifier: the issuer's subject key identifier.
    pub authority_key_id: Option<Vec<u8>>,
    der: Vec<u8>,
}

impl Certificate {
    /// The first certificate in `pem`. Text between the blocks is passed over.
    ///
    /// # Errors
    /// [`Error::NoCertificate`] or [`Error::BadCertificate`].
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        blocks(pem).next().ok_or(Error::NoCertificate)?.and_then(Self::from_der)
    }

    /// Every certificate in `pem`, at least one.
    ///
    /// # Errors
    /// [`Error::NoCertificate`] or [`Error::BadCertificate`].
    pub fn all_from_pem(pem: &str) -> Result<Vec<Self>, Error> {
        let all: Vec<_> =
            blocks(pem).map(|der| der.and_then(Self::from_der)).collect::<Result<_, _>>()?;
        if all.is_empty() { Err(Error::NoCertificate) } else { Ok(all) }
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    fn from_der(der: Vec<u8>) -> Result<Self, Error> {
        let certificate = parse(&der)?;
        let subject = certificate.subject();
        let organization = subject.iter_organization().next().and_then(name_text);
        let common_name = subject.iter_common_name().next().and_then(name_text);
        let locality = subject.iter_locality().next().and_then(name_text);
        let mut subject_key_id = None;
        let mut authority_key_id = None;
        for extension in certificate.iter_extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => subject_key_id = Some(id.0.to_vec()),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                _ => {}
            }
        }
        let constraints = certificate.basic_constraints().ok().flatten().map(|found| found.value);
        Ok(Self {
            subject: name(subject),
            issuer: name(certificate.issuer()),
            organization,
            common_name,
            locality,
            fingerprint: hex(&Sha256::digest(&der)),
            not_before: timestamp(certificate.validity().not_before)?,
            not_after: timestamp(certificate.validity().not_after)?,
            is_ca: constraints.is_some_and(|constraints| constraints.ca),
            path_len: constraints.and_then(|constraints| constraints.path_len_constraint),
            serial: hex(certificate.raw_serial()),
            key_algorithm: key_algorithm(&certificate),
            subject_key_id,
            authority_key_id,
            der,
        })
    }

    /// The certificate, as the parser sees it.
    pub(super) fn parsed(&self) -> Result<X509Certificate<'_>, Error> {
        parse(&self.der)
    }

    /// Fails when `now` is outside of the certificate's validity.
    pub(super) fn check_time(&self, now: Timestamp) -> Result<(), Error> {
        let subject = || self.subject.clone();
        if now > self.not_after {
            return Err(Error::Expired { subject: subject(), not_after: self.not_after });
        }
        if now < self.not_before {
            return Err(Error::NotYetValid { subject: subject(), not_before: self.not_before });
        }
        Ok(())
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

/// Whether less than a third of the certificate's lifetime is left at `now`.
pub fn renewal_due(certificate: &Certificate, now: Timestamp) -> bool {
    let lifetime = certificate.not_after.as_second() - certificate.not_before.as_second();
    let left = certificate.not_after.as_second() - now.as_second();
    left * 3 < lifetime
}

/// The DER content of each `CERTIFICATE` block.
fn blocks(pem: &str) -> impl Iterator<Item = Result<Vec<u8>, Error>> + '_ {
    Pem::iter_from_buffer(pem.as_bytes()).filter_map(|block| match block {
        Ok(block) if block.label == "CERTIFICATE" => Some(Ok(block.contents)),
        Ok(_) => None,
        Err(_) => Some(Err(Error::BadCertificate {
            detail: "the PEM block is cut short or not base64".to_owned(),
        })),
    })
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    let detail = match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => return Ok(certificate),
        Ok(_) => "something follows after its end".to_owned(),
        Err(nom::Err::Incomplete(_)) => "it is cut short".to_owned(),
        Err(nom::Err::Error(error) | nom::Err::Failure(error)) => printable(&error.to_string()),
    };
    Err(Error::BadCertificate { detail })
}

fn timestamp(time: ASN1Time) -> Result<Timestamp, Error> {
    Timestamp::from_second(time.timestamp()).map_err(|_| Error::BadCertificate {
        detail: "its validity is outside of the years that are understood".to_owned(),
    })
}

/// A name as text for a terminal, which must not act upon what a stranger's certificate holds.
fn name(name: &X509Name<'_>) -> String {
    let text = printable(&name.to_string());
    if text.is_empty() { "(no name)".to_owned() } else { text }
}

/// At most [`LONGEST_NAME`] characters, without control characters.
fn printable(text: &str) -> String {
    let shown = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    match text.chars().nth(LONGEST_NAME) {
        None => shown.collect(),
        Some(_) => shown.take(LONGEST_NAME - 3).chain("...".chars()).collect(),
    }
}

/// The text of a name's part, in any of the string types that certificates use.
fn name_text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let bytes = attribute.as_slice();
    match attribute.attr_value().tag() {
        // In practice TeletexString is Latin-1.
        Tag::T61String => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let units: Vec<u16> =
                bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()
        }
        _ => attribute.as_str().ok().map(str::to_owned),
    }
}

fn key_algorithm(certificate: &X509Certificate<'_>) -> String {
    let key = certificate.public_key();
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => format!("RSA {}", rsa.key_size()),
        Ok(PublicKey::EC(point)) => format!("ECDSA P-{}", point.key_size()),
        _ if key.algorithm.algorithm == x509_parser::oid_registry::OID_SIG_ED25519 => {
            "Ed25519".to_owned()
        }
        _ => key.algorithm.algorithm.to_id_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::fixtures::{at, seed_certs, throwaway};

    fn seed(name: &str) -> String {
        std::fs::read_to_string(seed_certs().join(name)).unwrap()
    }

    #[test]
    fn the_root_of_the_seed_is_read() {
        let root = Certificate::from_pem(&seed("root-cert.pem")).unwrap();
        assert_eq!(root.subject, "O=Example, CN=Root CA");
        assert_eq!(root.issuer, root.subject);
        assert_eq!(root.organization.as_deref(), Some("Example"));
        assert_eq!(root.common_name.as_deref(), Some("Root CA"));
        assert_eq!(root.not_before, at("2019-11-20T09:30:00Z"));
        assert_eq!(root.not_after, at("2029-11-17T09:30:00Z"));
        assert_eq!((root.is_ca, root.path_len), (true, None));
        assert_eq!(root.key_algorithm, "RSA 4096");
        // openssl x509 -fingerprint -sha256 -serial
        assert_eq!(
            root.fingerprint,
            "4b7d477882db3edc4b4d881e06fb89d41a9756faafbc33f3cdf7c5fe6b48ed6a"
        );
        assert_eq!(root.serial, "3f8d0717345f30868d6b1d6bf78728abf22c04");
    }

    #[test]
    fn the_intermediate_of_the_seed_is_read_and_due() {
        let chain = seed("intermediate-context-east-1/cert-chain.pem");
        let all = Certificate::all_from_pem(&chain).unwrap();
        let [ca, root] = all.as_slice() else { panic!("{} certificates", all.len()) };
        assert_eq!(ca, &Certificate::from_pem(&chain).unwrap());
        assert_eq!(root, &Certificate::from_pem(&seed("root-cert.pem")).unwrap());
        assert_eq!(ca.organization.as_deref(), Some("Istio"));
        assert_eq!(ca.locality.as_deref(), Some("intermediate-context-east-1"));
        assert_eq!((ca.serial.as_str(), ca.path_len), ("25c1", Some(0)));
        assert_eq!(ca.authority_key_id, root.subject_key_id);
        assert!(ca.subject_key_id.is_some());
        assert!(renewal_due(ca, at("2026-01-01T00:00:00Z")));
        assert!(!renewal_due(root, at("2026-01-01T00:00:00Z")));
    }

    #[test]
    fn renewal_is_due_when_less_than_a_third_is_left() {
        let ca = Certificate::from_pem(&seed("intermediate-context-east-1/ca-cert.pem")).unwrap();
        let third = (ca.not_after.as_second() - ca.not_before.as_second()) / 3;
        let last = ca.not_after.as_second() - third;
        assert!(!renewal_due(&ca, Timestamp::from_second(last).unwrap()));
        assert!(renewal_due(&ca, Timestamp::from_second(last + 1).unwrap()));
        assert!(!renewal_due(&ca, ca.not_before));
    }

    #[test]
    fn keys_of_every_kind_are_named() {
        for (name, algorithm) in [
            ("rsa-2048-root.cert.pem", "RSA 2048"),
            ("p256-not-a-ca.cert.pem", "ECDSA P-256"),
            ("p384-root.cert.pem", "ECDSA P-384"),
        ] {
            let certificate = Certificate::from_pem(&throwaway(name)).unwrap();
            assert_eq!(certificate.key_algorithm, algorithm, "{name}");
            assert_eq!(certificate.is_ca, !name.contains("not-a-ca"), "{name}");
            assert_eq!(certificate.organization.as_deref(), Some("Example"), "{name}");
        }
    }

    #[test]
    fn text_that_is_no_certificate_is_refused() {
        let whole = seed("root-cert.pem");
        let key = throwaway("rsa-2048-pkcs8.key.pem");
        for text in ["", "hello", key.as_str()] {
            assert!(matches!(Certificate::from_pem(text), Err(Error::NoCertificate)));
            assert!(matches!(Certificate::all_from_pem(text), Err(Error::NoCertificate)));
        }
        let short = &whole[..whole.len() / 2];
        let second_damaged = format!("{whole}{}", whole.replacen("MII", "????", 1));
        let not_der = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
        for text in [short, second_damaged.as_str(), not_der] {
            let error = Certificate::all_from_pem(text).unwrap_err();
            assert!(matches!(error, Error::BadCertificate { .. }), "{error}");
        }
    }

    #[test]
    fn a_name_is_shown_short_and_without_what_a_terminal_acts_upon() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = format!("\u{1b}[31m{}", "x".repeat(900));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = Certificate::from_pem(&params.self_signed(&key).unwrap().pem()).unwrap();
        assert!(certificate.subject.starts_with("CN=\u{fffd}[31mxx"), "{}", certificate.subject);
        assert_eq!(certificate.subject.chars().count(), LONGEST_NAME);
    }

    #[test]
    fn text_around_the_blocks_is_passed_over() {
        let whole = seed("root-cert.pem");
        let text = format!("Certificate:\n    Data:\n{whole}\n# generation 2\n");
        assert_eq!(Certificate::all_from_pem(&text).unwrap().len(), 1);
    }
}
