//! The content of the Secret `cacerts`, from which istiod takes its CA.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::inspect::Certificate;
use super::{Error, KeyPem, Place, chain};

/// Key of the CA certificate.
pub const CA_CERT: &str = "ca-cert.pem";
/// Key of the CA's private key.
pub const CA_KEY: &str = "ca-key.pem";
/// Key of the roots that the mesh trusts.
pub const ROOT_CERT: &str = "root-cert.pem";
/// Key of the chain that istiod appends to what it signs; it begins with the CA certificate.
pub const CERT_CHAIN: &str = "cert-chain.pem";

/// An intermediate CA in the four files that istiod wants, all of them present
/// (`istio:pilot/pkg/bootstrap/istio_ca.go`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cacerts {
    /// `ca-cert.pem`: the certificate of the CA.
    pub ca_cert: String,
    /// `ca-key.pem`: its private key.
    pub ca_key: KeyPem,
    /// `root-cert.pem`: the root, or several of them while a root is being rotated.
    pub root_cert: String,
    /// `cert-chain.pem`: the CA certificate and those above it.
    pub cert_chain: String,
}

impl Cacerts {
    /// Name and content of each file, which are key and value of the Secret too. `ca-key.pem` is
    /// secret.
    pub fn entries(&self) -> [(&'static str, &str); 4] {
        [
            (CA_CERT, self.ca_cert.as_str()),
            (CA_KEY, self.ca_key.as_str()),
            (ROOT_CERT, self.root_cert.as_str()),
            (CERT_CHAIN, self.cert_chain.as_str()),
        ]
    }

    /// Reads the `data` of a Secret, decoded from base64. Nothing is checked beyond being there.
    ///
    /// # Errors
    /// [`Error::MissingEntry`] with the first key that is missing or empty, [`Error::TlsLayout`],
    /// [`Error::NotText`] inside [`Error::At`].
    pub fn from_entries(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, Error> {
        let entry = |entry: &'static str| -> Result<String, Error> {
            let bytes = data
                .get(entry)
                .filter(|value| !value.is_empty())
                .ok_or(Error::MissingEntry { entry })?;
            let text = str::from_utf8(bytes).map_err(|_| Error::NotText.at(Place::Entry(entry)))?;
            Ok(text.to_owned())
        };
        if !data.contains_key(CA_CERT) && data.contains_key("tls.crt") {
            return Err(Error::TlsLayout);
        }
        Ok(Self {
            ca_cert: entry(CA_CERT)?,
            ca_key: entry(CA_KEY)?.into(),
            root_cert: entry(ROOT_CERT)?,
            cert_chain: entry(CERT_CHAIN)?,
        })
    }

    /// The certificate of the CA.
    ///
    /// # Errors
    /// [`Error::NoCertificate`] or [`Error::BadCertificate`], inside [`Error::At`].
    pub fn certificate(&self) -> Result<Certificate, Error> {
        Certificate::from_pem(&self.ca_cert).map_err(|error| error.at(Place::Entry(CA_CERT)))
    }

    /// The roots in `root-cert.pem`, at least one.
    ///
    /// # Errors
    /// [`Error::NoCertificate`] or [`Error::BadCertificate`], inside [`Error::At`].
    pub fn roots(&self) -> Result<Vec<Certificate>, Error> {
        Certificate::all_from_pem(&self.root_cert)
            .map_err(|error| error.at(Place::Entry(ROOT_CERT)))
    }

    /// Whether istiod would take this at `now`, and a mesh that trusts `root` would take what
    /// istiod then signs: the CA certificate is in time, is a CA, leads to `root` by way of
    /// `cert-chain.pem`, and its key is here.
    ///
    /// # Errors
    /// [`Error::ForeignRoot`] when `root` is not in `root-cert.pem`, before anything else. Then,
    /// inside [`Error::At`] where a single entry is at fault: the errors of reading certificates
    /// and keys, [`Error::ChainStart`], [`Error::KeyMismatch`], and of the path [`Error::Expired`],
    /// [`Error::NotYetValid`], [`Error::CannotSign`], [`Error::NotForServers`],
    /// [`Error::UnknownIssuer`], [`Error::BadSignature`], [`Error::SignatureAlgorithm`].
    pub fn verify(&self, root: &Certificate, now: Timestamp) -> Result<(), Error> {
        let roots = self.roots()?;
        if !roots.contains(root) {
            return Err(Error::ForeignRoot {
                subject: roots[0].subject.clone(),
                fingerprint: roots[0].fingerprint.clone(),
                expected_subject: root.subject.clone(),
                expected_fingerprint: root.fingerprint.clone(),
            });
        }
        self.verify_up_to(std::slice::from_ref(root), now)
    }

    /// Whether istiod would take this at `now`, whatever root it belongs to.
    ///
    /// # Errors
    /// Those of [`Self::verify`] but [`Error::ForeignRoot`].
    pub fn verify_alone(&self, now: Timestamp) -> Result<(), Error> {
        self.verify_up_to(&self.roots()?, now)
    }

    fn verify_up_to(&self, anchors: &[Certificate], now: Timestamp) -> Result<(), Error> {
        let ca = self.certificate()?;
        let chain = Certificate::all_from_pem(&self.cert_chain)
            .map_err(|error| error.at(Place::Entry(CERT_CHAIN)))?;
        if chain[0] != ca {
            return Err(Error::ChainStart);
        }
        if !self.ca_key.matches(&ca).map_err(|error| error.at(Place::Entry(CA_KEY)))? {
            return Err(Error::KeyMismatch {
                key: Place::Entry(CA_KEY),
                certificate: Place::Entry(CA_CERT),
            });
        }
        chain::check(&ca, &chain, anchors, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::fixtures::at;
    use crate::pki::{Root, issue};

    const NOW: &str = "2026-05-01T12:00:00Z";

    fn mesh() -> (Root, Cacerts) {
        let root = issue::root("Example", at(NOW)).unwrap();
        let cacerts = issue::intermediate(&root, "east-1", "istio-system", at(NOW)).unwrap();
        (root, cacerts)
    }

    fn data(cacerts: &Cacerts) -> BTreeMap<String, Vec<u8>> {
        let entries = cacerts.entries().into_iter();
        entries.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn entries_make_the_secret_and_are_read_back() {
        let (_, cacerts) = mesh();
        let names = cacerts.entries().map(|(name, _)| name);
        assert_eq!(names, ["ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"]);
        assert_eq!(Cacerts::from_entries(&data(&cacerts)).unwrap(), cacerts);
    }

    #[test]
    fn a_secret_that_lacks_something_says_what() {
        let (_, cacerts) = mesh();
        for (name, _) in cacerts.entries() {
            let mut lacking = data(&cacerts);
            lacking.remove(name);
            let error = Cacerts::from_entries(&lacking).unwrap_err();
            assert_eq!(error.to_string(), format!("the Secret `cacerts` has no key `{name}`"));
            lacking.insert(name.to_owned(), Vec::new());
            let error = Cacerts::from_entries(&lacking).unwrap_err();
            assert!(matches!(error, Error::MissingEntry { entry } if entry == name));
            lacking.insert(name.to_owned(), vec![0xff]);
            let error = Cacerts::from_entries(&lacking).unwrap_err();
            assert_eq!(error.to_string(), format!("`{name}`: it is not text (UTF-8)"));
        }
        let tls = BTreeMap::from([("tls.crt".to_owned(), b"x".to_vec())]);
        assert!(matches!(Cacerts::from_entries(&tls), Err(Error::TlsLayout)));
    }

    #[test]
    fn what_was_issued_verifies_until_it_expires() {
        let (root, cacerts) = mesh();
        cacerts.verify(&root.certificate, at(NOW)).unwrap();
        cacerts.verify_alone(at(NOW)).unwrap();
        let error = cacerts.verify(&root.certificate, at("2028-05-01T00:00:00Z")).unwrap_err();
        assert!(matches!(error, Error::Expired { .. }), "{error}");
    }

    #[test]
    fn another_root_is_foreign_even_with_the_same_name() {
        let (root, cacerts) = mesh();
        let (other, _) = mesh();
        match cacerts.verify(&other.certificate, at(NOW)).unwrap_err() {
            Error::ForeignRoot { fingerprint, expected_fingerprint, .. } => {
                assert_eq!(fingerprint, root.certificate.fingerprint);
                assert_eq!(expected_fingerprint, other.certificate.fingerprint);
            }
            error => panic!("{error}"),
        }
        cacerts.verify_alone(at(NOW)).unwrap();
    }

    #[test]
    fn a_bundle_of_roots_verifies_for_the_one_that_signed() {
        let (root, mut cacerts) = mesh();
        let (other, _) = mesh();
        cacerts.root_cert = format!("{}{}", root.cert_pem, other.cert_pem);
        cacerts.verify(&root.certificate, at(NOW)).unwrap();
        cacerts.verify_alone(at(NOW)).unwrap();
        let error = cacerts.verify(&other.certificate, at(NOW)).unwrap_err();
        assert!(matches!(error, Error::BadSignature { .. }), "{error}");
    }

    #[test]
    fn material_that_does_not_fit_together_is_told_apart() {
        let (root, good) = mesh();
        let other = issue::intermediate(&root, "east-2", "istio-system", at(NOW)).unwrap();
        let problem = |cacerts: &Cacerts| cacerts.verify(&root.certificate, at(NOW)).unwrap_err();

        let error = problem(&Cacerts { ca_key: other.ca_key.clone(), ..good.clone() });
        assert_eq!(
            error.to_string(),
            "the private key in `ca-key.pem` does not belong to the certificate in `ca-cert.pem`"
        );
        let error = problem(&Cacerts { cert_chain: other.cert_chain.clone(), ..good.clone() });
        assert!(matches!(error, Error::ChainStart), "{error}");
        let error = problem(&Cacerts { ca_key: String::from("x").into(), ..good.clone() });
        assert_eq!(error.to_string(), "`ca-key.pem`: it holds no private key in PEM");
        let error = problem(&Cacerts { cert_chain: String::new(), ..good.clone() });
        assert_eq!(error.to_string(), "`cert-chain.pem`: it holds no certificate in PEM");
        let error = problem(&Cacerts { root_cert: String::new(), ..good.clone() });
        assert_eq!(error.to_string(), "`root-cert.pem`: it holds no certificate in PEM");
    }
}
