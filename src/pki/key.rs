//! Private keys in PEM: reading every encoding that OpenSSL and Istio write, and signing.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PublicKeyData as _};
use zeroize::{Zeroize as _, Zeroizing};

use super::Error;
use super::inspect::Certificate;

/// A private key in PEM. The memory is cleared when it is dropped, and no output shows the content.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPem(Zeroizing<String>);

impl KeyPem {
    /// The PEM text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the private key of `certificate`.
    ///
    /// # Errors
    /// [`Error::NoKey`], [`Error::EncryptedKey`], [`Error::BadKey`] or [`Error::UnsupportedKey`]
    /// when the key cannot be read, [`Error::BadCertificate`].
    pub fn matches(&self, certificate: &Certificate) -> Result<bool, Error> {
        let signer = self.signer()?;
        let certificate = certificate.parsed()?;
        Ok(certificate.public_key().subject_public_key.data.as_ref() == signer.0.der_bytes())
    }

    /// The key, ready to sign.
    pub(super) fn signer(&self) -> Result<Signer, Error> {
        let (kind, der) = decode(self.as_str())?;
        let candidates = match kind {
            Kind::Pkcs8 => vec![der],
            Kind::Pkcs1 => vec![pkcs8(RSA, &der)],
            // The curve is named inside too, and has to agree.
            Kind::Sec1 => vec![pkcs8(P256, &der), pkcs8(P384, &der)],
        };
        candidates
            .iter()
            .find_map(|der| KeyPair::try_from(der.as_slice()).ok())
            .map(Signer)
            .ok_or(Error::UnsupportedKey)
    }
}

impl From<String> for KeyPem {
    fn from(pem: String) -> Self {
        Self(Zeroizing::new(pem))
    }
}

impl fmt::Debug for KeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPem(not shown)")
    }
}

/// A key pair whose serialised form is cleared when it is dropped, which rcgen's own type does not
/// do.
pub(super) struct Signer(pub(super) KeyPair);

impl Signer {
    /// A new ECDSA P-256 key.
    pub(super) fn generate() -> Result<Self, Error> {
        KeyPair::generate().map(Self).map_err(|error| Error::issue(&error))
    }

    /// The key as a PKCS#8 PEM block.
    pub(super) fn pem(&self) -> KeyPem {
        let encoded = Zeroizing::new(STANDARD.encode(self.0.serialized_der()));
        let mut pem = Zeroizing::new(String::with_capacity(encoded.len() * 2 + 64));
        pem.push_str("-----BEGIN PRIVATE KEY-----\n");
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, tail) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = tail;
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        KeyPem(pem)
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[derive(Clone, Copy)]
enum Kind {
    /// `PRIVATE KEY`, RFC 5958.
    Pkcs8,
    /// `RSA PRIVATE KEY`, RFC 8017 A.1.2: what OpenSSL before 3.0 writes.
    Pkcs1,
    /// `EC PRIVATE KEY`, RFC 5915.
    Sec1,
}

/// The first private key in `pem`. Other blocks, such as `EC PARAMETERS`, are passed over.
fn decode(pem: &str) -> Result<(Kind, Zeroizing<Vec<u8>>), Error> {
    let mut lines = pem.lines().map(str::trim);
    let kind = loop {
        let line = lines.next().ok_or(Error::NoKey)?;
        let label = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----"));
        match label {
            Some("PRIVATE KEY") => break Kind::Pkcs8,
            Some("RSA PRIVATE KEY") => break Kind::Pkcs1,
            Some("EC PRIVATE KEY") => break Kind::Sec1,
            Some("ENCRYPTED PRIVATE KEY") => return Err(Error::EncryptedKey),
            _ => {}
        }
    };
    // Room for all of it, so that growing leaves no copies behind.
    let mut body = Zeroizing::new(String::with_capacity(pem.len()));
    for line in lines {
        if line.starts_with("-----END ") {
            let der = STANDARD.decode(body.as_bytes()).map(Zeroizing::new);
            return der.map(|der| (kind, der)).map_err(|_| Error::BadKey);
        }
        // RFC 1421 header of a traditional key behind a passphrase.
        if line.starts_with("Proc-Type:") && line.ends_with("ENCRYPTED") {
            return Err(Error::EncryptedKey);
        }
        body.push_str(line);
    }
    Err(Error::BadKey)
}

// AlgorithmIdentifier of an RSA key and of an EC key on either curve, in DER (RFC 3279, RFC 5480).
const RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
const P256: &[u8] =
    b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";

/// Wraps a PKCS#1 or SEC1 key into PKCS#8, the one encoding that ring takes: version 0, the
/// algorithm, the key as an OCTET STRING (RFC 5958).
fn pkcs8(algorithm: &[u8], key: &[u8]) -> Zeroizing<Vec<u8>> {
    let octets = tlv(0x04, &[key]);
    tlv(0x30, &[b"\x02\x01\x00", algorithm, &octets])
}

/// One DER value: tag, length, content.
fn tlv(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let mut out = Zeroizing::new(Vec::with_capacity(length + 2 + bytes.len()));
    out.push(tag);
    match significant {
        [] => out.push(0),
        [short @ ..0x80] => out.push(*short),
        #[expect(clippy::cast_possible_truncation, reason = "a usize has at most 8 bytes")]
        long => {
            out.push(0x80 | long.len() as u8);
            out.extend_from_slice(long);
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::fixtures::throwaway;

    fn key(name: &str) -> KeyPem {
        throwaway(name).into()
    }

    fn certificate(name: &str) -> Certificate {
        Certificate::from_pem(&throwaway(name)).unwrap()
    }

    #[test]
    fn every_encoding_is_read_and_matched() {
        for (name, own, other) in [
            ("rsa-2048-pkcs1.key.pem", "rsa-2048-root.cert.pem", "p384-root.cert.pem"),
            ("rsa-2048-pkcs8.key.pem", "rsa-2048-root.cert.pem", "p384-root.cert.pem"),
            ("p256-sec1.key.pem", "p256-two-dc-root.cert.pem", "rsa-2048-root.cert.pem"),
            ("p384-sec1.key.pem", "p384-root.cert.pem", "p256-two-dc-root.cert.pem"),
        ] {
            assert!(key(name).matches(&certificate(own)).unwrap(), "{name}");
            assert!(!key(name).matches(&certificate(other)).unwrap(), "{name}");
        }
    }

    #[test]
    fn a_key_from_windows_is_read() {
        let pem = throwaway("rsa-2048-pkcs1.key.pem").replace('\n', "\r\n");
        assert!(KeyPem::from(pem).matches(&certificate("rsa-2048-root.cert.pem")).unwrap());
    }

    #[test]
    fn a_key_that_cannot_be_used_is_told_apart() {
        let problem = |pem: String| KeyPem::from(pem).signer().err().unwrap();
        for name in ["rsa-2048-pkcs1-encrypted.key.pem", "rsa-2048-pkcs8-encrypted.key.pem"] {
            assert!(matches!(problem(throwaway(name)), Error::EncryptedKey), "{name}");
        }
        assert!(matches!(problem(throwaway("p521-pkcs8.key.pem")), Error::UnsupportedKey));
        assert!(matches!(problem(throwaway("p384-root.cert.pem")), Error::NoKey));
        assert!(matches!(problem(String::new()), Error::NoKey));
        let whole = throwaway("rsa-2048-pkcs8.key.pem");
        assert!(matches!(problem(whole[..whole.len() / 2].to_owned()), Error::BadKey));
        assert!(matches!(problem(whole.replacen("MII", "?II", 1)), Error::BadKey));
    }

    #[test]
    fn a_generated_key_survives_its_pem() {
        let signer = Signer::generate().unwrap();
        let again = signer.pem().signer().unwrap();
        assert_eq!(signer.0.der_bytes(), again.0.der_bytes());
        assert_eq!(signer.pem().as_str().lines().map(str::len).max(), Some(64));
    }

    #[test]
    fn debug_shows_nothing_of_a_key() {
        let key = key("p256-sec1.key.pem");
        assert_eq!(format!("{key:?}"), "KeyPem(not shown)");
    }
}
