//! The mesh's certificate authority: one root, one intermediate a cluster.
//!
//! istiod signs workload certificates with the intermediate that it finds in the Secret `cacerts`;
//! clusters trust each other because their intermediates come from one root. This room issues both
//! levels, reads and verifies what is there, and keeps it in the directory `certs/`. It knows no
//! cluster.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::files;

pub mod cacerts;
mod chain;
pub mod inspect;
pub mod issue;
mod key;
pub mod store;

pub use cacerts::Cacerts;
pub use inspect::{Certificate, renewal_due};
pub use key::KeyPem;
pub use store::Store;

/// The root CA of a mesh.
#[derive(Debug, Clone)]
pub struct Root {
    /// The certificate.
    pub certificate: Certificate,
    /// The certificate as it was read, byte for byte: istiod up to 1.29 compares roots as text.
    pub cert_pem: String,
    /// The private key; `None` when it is kept elsewhere.
    pub key: Option<KeyPem>,
}

/// Where a certificate or key was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// A standard file name, which is a key of the Secret `cacerts` too, where no path is known.
    Entry(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "`{}`", path.display()),
            Self::Entry(name) => write!(f, "`{name}`"),
        }
    }
}

/// Why a certificate cannot sign an intermediate CA for a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CannotSign {
    /// `basicConstraints` does not say `CA:TRUE`.
    NotCa,
    /// `keyUsage` is there and lacks `keyCertSign`.
    KeyUsage,
    /// `pathlen` leaves no room for the certificates below.
    PathLength,
}

impl fmt::Display for CannotSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotCa => "it is not a CA certificate (`basicConstraints` lacks `CA:TRUE`)",
            Self::KeyUsage => "its `keyUsage` lacks `keyCertSign`",
            Self::PathLength => "its `pathlen` leaves no room for the CA certificates below it",
        })
    }
}

/// Everything that can be wrong with the mesh's CA material. No variant holds private key material.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A local file cannot be read or written.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A problem together with the file or Secret key that has it. `source` is never itself an
    /// `At`.
    #[error("{place}: {source}")]
    At {
        /// Where.
        place: Place,
        /// What.
        source: Box<Self>,
    },

    /// There is no `CERTIFICATE` block.
    #[error("it holds no certificate in PEM")]
    NoCertificate,
    /// A `CERTIFICATE` block cannot be read.
    #[error("the certificate cannot be read: {detail}")]
    BadCertificate {
        /// What the parser says.
        detail: String,
    },
    /// There is no private key block.
    #[error("it holds no private key in PEM")]
    NoKey,
    /// The private key is behind a passphrase.
    #[error("the private key is protected by a passphrase")]
    EncryptedKey,
    /// The private key block is cut short, or not base64.
    #[error("the private key is damaged")]
    BadKey,
    /// The private key is of a kind that cannot be used here.
    #[error(
        "the private key cannot be used: it is damaged, or not RSA of 2048 to 4096 bits, \
         ECDSA on P-256 or P-384, or Ed25519"
    )]
    UnsupportedKey,
    /// A private key does not belong to the certificate beside it.
    #[error("the private key in {key} does not belong to the certificate in {certificate}")]
    KeyMismatch {
        /// Where the key is.
        key: Place,
        /// Where the certificate is.
        certificate: Place,
    },

    /// `certs/` has the key of a root and no certificate for it.
    #[error("`{}` is there but its certificate `{}` is missing", key.display(), certificate.display())]
    RootKeyWithoutCertificate {
        /// The key that is there.
        key: PathBuf,
        /// The file that is missing.
        certificate: PathBuf,
    },
    /// A root is to be created and one is there.
    #[error("`{}` is there already: a root CA is never overwritten", path.display())]
    RootExists {
        /// The file that is there.
        path: PathBuf,
    },
    /// The directory of an intermediate lacks a file.
    #[error("`{}` is incomplete: `{file}` is missing", dir.display())]
    IncompleteIntermediate {
        /// The directory.
        dir: PathBuf,
        /// The first of its files that is missing.
        file: &'static str,
    },
    /// The Secret `cacerts` lacks a key.
    #[error("the Secret `cacerts` has no key `{entry}`")]
    MissingEntry {
        /// The first key that is missing.
        entry: &'static str,
    },
    /// The Secret `cacerts` uses the keys `tls.crt`, `tls.key` and `ca.crt` instead of Istio's own.
    #[error(
        "the Secret `cacerts` has the layout of `kubernetes.io/tls` (`tls.crt`, `tls.key`, `ca.crt`)"
    )]
    TlsLayout,
    /// A value of the Secret `cacerts` is not UTF-8.
    #[error("it is not text (UTF-8)")]
    NotText,

    /// The key of the root is not here, so nothing can be signed.
    #[error("the private key of the root `{subject}` is not here: nothing can be signed with it")]
    OfflineRoot {
        /// Subject of the root.
        subject: String,
    },
    /// A certificate's time is over.
    #[error("the certificate `{subject}` expired at {not_after}")]
    Expired {
        /// Its subject.
        subject: String,
        /// When it ended.
        not_after: Timestamp,
    },
    /// A certificate's time has not come, or the clock is wrong.
    #[error("the certificate `{subject}` is not valid before {not_before}")]
    NotYetValid {
        /// Its subject.
        subject: String,
        /// When it begins.
        not_before: Timestamp,
    },
    /// A certificate cannot sign an intermediate, or the intermediate no workloads.
    #[error("the certificate `{subject}` cannot sign what is below it: {reason}")]
    CannotSign {
        /// Its subject.
        subject: String,
        /// Why.
        reason: CannotSign,
    },
    /// A certificate has extended key usages without `serverAuth`, which istiod refuses.
    #[error("the certificate `{subject}` has an `extendedKeyUsage` that lacks `serverAuth`")]
    NotForServers {
        /// Its subject.
        subject: String,
    },
    /// No certificate with the issuer's name is at hand.
    #[error(
        "the certificate `{subject}` was issued by `{issuer}`, which is missing from the chain"
    )]
    UnknownIssuer {
        /// Its subject.
        subject: String,
        /// The name of its issuer.
        issuer: String,
    },
    /// The issuer's name fits, its key does not.
    #[error("the signature on the certificate `{subject}` was not made by the key of `{issuer}`")]
    BadSignature {
        /// Its subject.
        subject: String,
        /// The name of its issuer.
        issuer: String,
    },
    /// So many certificates bear the issuer's name that the search for the right one was given up.
    #[error(
        "the certificate `{subject}` has too many possible issuers: over 100 signatures would \
         have to be checked"
    )]
    EndlessChain {
        /// Its subject.
        subject: String,
    },
    /// The signature uses SHA-1 or an algorithm that cannot be checked here.
    #[error(
        "the certificate `{subject}` is signed with an algorithm that is not accepted: \
         only RSA and ECDSA (P-256, P-384) with SHA-256 or better, and Ed25519, are"
    )]
    SignatureAlgorithm {
        /// Its subject.
        subject: String,
    },
    /// `cert-chain.pem` does not begin with the certificate in `ca-cert.pem`.
    #[error("`cert-chain.pem` does not begin with the certificate in `ca-cert.pem`")]
    ChainStart,
    /// The material belongs to another root than the mesh's.
    #[error(
        "the root is `{subject}` (SHA-256 {fingerprint}), \
         and not the mesh's `{expected_subject}` (SHA-256 {expected_fingerprint})"
    )]
    ForeignRoot {
        /// Subject of the first root that is there.
        subject: String,
        /// Its fingerprint.
        fingerprint: String,
        /// Subject of the mesh's root.
        expected_subject: String,
        /// Its fingerprint.
        expected_fingerprint: String,
    },

    /// An organisation that cannot stand in a certificate.
    #[error("the organisation `{organization}` cannot be used: {reason}")]
    Organization {
        /// As it was given.
        organization: String,
        /// Why.
        reason: &'static str,
    },
    /// A cluster name or namespace that is not a DNS-1123 label.
    #[error("`{name}` is not a DNS-1123 label (lower-case letters, digits and `-`, at most 63)")]
    Label {
        /// As it was given.
        name: String,
    },
    /// The root's subject has a form that an issued certificate could not repeat exactly.
    #[error(
        "the subject of the root `{subject}` has parts that cannot be repeated exactly as issuer"
    )]
    RootSubject {
        /// Its subject.
        subject: String,
    },
    /// Making a key or certificate failed for a reason that should not exist.
    #[error("the certificate could not be made: {detail}")]
    Issue {
        /// What the library says.
        detail: String,
    },
}

impl Error {
    fn issue(error: &dyn fmt::Display) -> Self {
        Self::Issue { detail: error.to_string() }
    }

    /// Adds where the problem is. Problems of files carry their path already.
    fn at(self, place: Place) -> Self {
        match self {
            Self::Files(_) | Self::At { .. } => self,
            _ => Self::At { place, source: Box::new(self) },
        }
    }
}

/// Whether `name` is a DNS-1123 label, and so a safe part of a file name.
fn is_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.chars().all(|c| inner(c) || c == '-')
        && name.starts_with(inner)
        && name.ends_with(inner)
}

#[cfg(test)]
pub(crate) mod fixtures {
    //! The committed fixtures, and times to look at them.

    use std::path::{Path, PathBuf};

    use jiff::Timestamp;

    use super::{Certificate, Root};

    fn dir() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
    }

    /// A file of `tests/fixtures/throwaway-test-keys`.
    pub(crate) fn throwaway(name: &str) -> String {
        std::fs::read_to_string(dir().join("throwaway-test-keys").join(name)).unwrap()
    }

    /// The `certs` directory of a mesh that Istio 1.4's script made in 2019.
    pub(crate) fn seed_certs() -> PathBuf {
        dir().join("seed-workdir/certs")
    }

    /// A throw-away root from a certificate and a key file.
    pub(crate) fn root(certificate: &str, key: &str) -> Root {
        let cert_pem = throwaway(certificate);
        Root {
            certificate: Certificate::from_pem(&cert_pem).unwrap(),
            cert_pem,
            key: Some(throwaway(key).into()),
        }
    }

    /// A moment, such as `2026-05-01T12:00:00Z`.
    pub(crate) fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }
}
