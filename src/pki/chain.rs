//! The path from an intermediate CA to a root, checked as istiod checks it (Go's `x509.Verify`,
//! called in `istio:security/pkg/pki/util`), and one step further: workload certificates below it
//! must verify too.
//!
//! Name constraints and unknown critical extensions are left to istiod.

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA};

use super::inspect::Certificate;
use super::{CannotSign, Error};

/// The most signatures that are checked for one chain, as in Go's `crypto/x509`
/// (`maxChainSignatureChecks`).
const MAX_SIGNATURES: usize = 100;

/// Fails unless `ca` can sign workload certificates that verify up to one of `anchors`, with
/// `intermediates` at hand in between. Where several paths fail, the error is that of the first.
pub(super) fn check(
    ca: &Certificate,
    intermediates: &[Certificate],
    anchors: &[Certificate],
    now: Timestamp,
) -> Result<(), Error> {
    check_signer(ca, 0, now)?;
    let trusted = anchors.iter().map(|issuer| (issuer, true));
    let issuers = trusted
        .chain(intermediates.iter().map(|issuer| (issuer, false)))
        .map(|(issuer, trusted)| Ok((issuer, issuer.parsed()?, trusted)))
        .collect::<Result<Vec<_>, Error>>()?;
    let mut problem = None;
    // Breadth first: every certificate is reached by its shortest path, which path lengths allow
    // soonest.
    let mut seen = vec![ca];
    let mut next = 0;
    let mut level_end = seen.len();
    let mut below = 1;
    let mut signatures = 0;
    while let Some(child) = seen.get(next).copied() {
        let parsed = child.parsed()?;
        let mut named = false;
        for (issuer, issuer_parsed, trusted) in &issuers {
            if issuer_parsed.subject().as_raw() != parsed.issuer().as_raw() {
                continue;
            }
            named = true;
            if !trusted && seen.contains(issuer) {
                continue;
            }
            if signatures == MAX_SIGNATURES {
                return Err(Error::EndlessChain { subject: ca.subject.clone() });
            }
            signatures += 1;
            let checked = check_signature(child, &parsed, issuer_parsed)
                .and_then(|()| check_signer(issuer, below, now));
            match checked {
                Ok(()) if *trusted => return Ok(()),
                Ok(()) => seen.push(issuer),
                Err(error) => {
                    problem.get_or_insert(error);
                }
            }
        }
        if !named {
            problem.get_or_insert_with(|| unknown_issuer(child));
        }
        next += 1;
        if next == level_end {
            level_end = seen.len();
            below += 1;
        }
    }
    Err(problem.unwrap_or_else(|| unknown_issuer(ca)))
}

fn unknown_issuer(certificate: &Certificate) -> Error {
    Error::UnknownIssuer {
        subject: certificate.subject.clone(),
        issuer: certificate.issuer.clone(),
    }
}

/// Fails unless `certificate` may sign at `now` with `below` CA certificates below it.
pub(super) fn check_signer(
    certificate: &Certificate,
    below: u32,
    now: Timestamp,
) -> Result<(), Error> {
    certificate.check_time(now)?;
    let parsed = certificate.parsed()?;
    let subject = || certificate.subject.clone();
    let key_usage = parsed.key_usage().ok().flatten();
    let reason = if !certificate.is_ca {
        Some(CannotSign::NotCa)
    } else if key_usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        Some(CannotSign::KeyUsage)
    } else if certificate.path_len.is_some_and(|limit| limit < below) {
        Some(CannotSign::PathLength)
    } else {
        None
    };
    if let Some(reason) = reason {
        return Err(Error::CannotSign { subject: subject(), reason });
    }
    let extended = parsed.extended_key_usage().ok().flatten();
    if extended.is_some_and(|usage| !usage.value.any && !usage.value.server_auth) {
        return Err(Error::NotForServers { subject: subject() });
    }
    Ok(())
}

fn check_signature(
    child: &Certificate,
    parsed: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
) -> Result<(), Error> {
    let unacceptable = || Error::SignatureAlgorithm { subject: child.subject.clone() };
    let algorithm = &parsed.signature_algorithm.algorithm;
    if *algorithm == OID_PKCS1_SHA1WITHRSA || *algorithm == OID_SHA1_WITH_RSA {
        return Err(unacceptable());
    }
    parsed.verify_signature(Some(issuer.public_key())).map_err(|error| match error {
        X509Error::SignatureUnsupportedAlgorithm => unacceptable(),
        _ => Error::BadSignature { subject: child.subject.clone(), issuer: child.issuer.clone() },
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
        IsCa, Issuer, KeyPair, KeyUsagePurpose,
    };
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::pki::fixtures::at;

    /// A CA of a test: its certificate, and what it takes to sign with it.
    struct Ca {
        certificate: Certificate,
        params: CertificateParams,
        key: KeyPair,
    }

    /// A CA named `name`, signed by `above` or by itself, valid through 2026, as `change` wants it.
    fn ca(name: &str, above: Option<&Ca>, change: impl FnOnce(&mut CertificateParams)) -> Ca {
        let mut params = CertificateParams::default();
        params.not_before =
            OffsetDateTime::from_unix_timestamp(at("2026-01-01T00:00:00Z").as_second()).unwrap();
        params.not_after = params.not_before + Duration::days(365);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = match above {
            Some(above) => {
                params.signed_by(&key, &Issuer::from_params(&above.params, &above.key)).unwrap()
            }
            None => params.self_signed(&key).unwrap(),
        };
        Ca { certificate: Certificate::from_pem(&certificate.pem()).unwrap(), params, key }
    }

    fn of(cas: &[&Ca]) -> Vec<Certificate> {
        cas.iter().map(|ca| ca.certificate.clone()).collect()
    }

    fn verify(leaf: &Ca, between: &[&Ca], anchors: &[&Ca]) -> Result<(), Error> {
        check(&leaf.certificate, &of(between), &of(anchors), at("2026-06-01T00:00:00Z"))
    }

    #[test]
    fn a_chain_of_three_needs_the_one_in_between() {
        let root = ca("root", None, |_| {});
        let middle = ca("middle", Some(&root), |_| {});
        let leaf = ca("leaf", Some(&middle), |_| {});
        verify(&leaf, &[&leaf, &middle, &root], &[&root]).unwrap();
        verify(&leaf, &[&root, &middle], &[&ca("other", None, |_| {}), &root]).unwrap();
        let error = verify(&leaf, &[&leaf, &root], &[&root]).unwrap_err();
        assert!(
            matches!(&error, Error::UnknownIssuer { subject, issuer } if subject == "CN=leaf" && issuer == "CN=middle"),
            "{error}"
        );
        let error = verify(&leaf, &[&leaf, &middle], &[]).unwrap_err();
        assert!(
            matches!(&error, Error::UnknownIssuer { subject, .. } if subject == "CN=middle"),
            "{error}"
        );
    }

    #[test]
    fn a_root_of_the_same_name_with_another_key_does_not_do() {
        let (root, twin) = (ca("root", None, |_| {}), ca("root", None, |_| {}));
        let leaf = ca("leaf", Some(&root), |_| {});
        let error = verify(&leaf, &[&leaf, &root], &[&twin]).unwrap_err();
        assert!(
            matches!(&error, Error::BadSignature { subject, .. } if subject == "CN=leaf"),
            "{error}"
        );
        verify(&leaf, &[], &[&twin, &root]).unwrap();
    }

    #[test]
    fn a_cross_signed_circle_ends() {
        let (one, two) = (ca("one", None, |_| {}), ca("two", None, |_| {}));
        let sign = |below: &Ca, above: &Ca| {
            let issuer = Issuer::from_params(&above.params, &above.key);
            let pem = below.params.signed_by(&below.key, &issuer).unwrap().pem();
            Certificate::from_pem(&pem).unwrap()
        };
        let circle = [sign(&one, &two), sign(&two, &one)];
        let leaf = ca("leaf", Some(&one), |_| {}).certificate;
        let anchors = of(&[&ca("root", None, |_| {})]);
        check(&leaf, &circle, &anchors, at("2026-06-01T00:00:00Z")).unwrap_err();
    }

    #[test]
    fn a_crowd_of_issuers_of_one_name_ends_soon() {
        let crowd: Vec<Ca> = (0..300).map(|_| ca("root", None, |_| {})).collect();
        let crowd: Vec<&Ca> = crowd.iter().collect();
        let leaf = ca("leaf", Some(&ca("root", None, |_| {})), |_| {});
        let error = verify(&leaf, &crowd, &crowd).unwrap_err();
        assert!(matches!(error, Error::EndlessChain { .. }), "{error}");
        verify(&leaf, &[], &crowd[..50]).unwrap_err();
    }

    #[test]
    fn every_certificate_of_the_path_has_to_be_in_time() {
        let root = ca("root", None, |_| {});
        let old = ca("old", Some(&root), |params| {
            params.not_after = params.not_before + Duration::days(30);
        });
        let leaf = ca("leaf", Some(&old), |_| {});
        let error = verify(&leaf, &[&old], &[&root]).unwrap_err();
        assert!(
            matches!(&error, Error::Expired { subject, not_after } if subject == "CN=old" && *not_after == at("2026-01-31T00:00:00Z")),
            "{error}"
        );
        let path = |now| check(&old.certificate, &[], &of(&[&root]), at(now));
        path("2026-01-31T00:00:00Z").unwrap();
        assert!(matches!(path("2026-01-31T00:00:01Z"), Err(Error::Expired { .. })));
        assert!(matches!(path("2025-12-31T23:59:59Z"), Err(Error::NotYetValid { .. })));
    }

    #[test]
    fn who_may_not_sign_is_refused() {
        let refused = |leaf: &Ca, between: &[&Ca], root: &Ca| match verify(leaf, between, &[root])
            .unwrap_err()
        {
            Error::CannotSign { subject, reason } => (subject, reason),
            other => panic!("{other}"),
        };
        let root = ca("root", None, |_| {});
        let leaf = ca("leaf", Some(&root), |params| params.is_ca = IsCa::NoCa);
        assert_eq!(refused(&leaf, &[], &root), ("CN=leaf".to_owned(), CannotSign::NotCa));
        let leaf = ca("leaf", Some(&root), |params| {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        });
        assert_eq!(refused(&leaf, &[], &root), ("CN=leaf".to_owned(), CannotSign::KeyUsage));

        let short = ca("root", None, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        });
        let middle = ca("middle", Some(&short), |_| {});
        verify(&middle, &[], &[&short]).unwrap();
        let leaf = ca("leaf", Some(&middle), |_| {});
        let expected = ("CN=root".to_owned(), CannotSign::PathLength);
        assert_eq!(refused(&leaf, &[&middle], &short), expected);
    }

    #[test]
    fn an_extended_key_usage_needs_server_auth() {
        let root = ca("root", None, |_| {});
        let leaf = |usage: ExtendedKeyUsagePurpose| {
            ca("leaf", Some(&root), |params| {
                params.extended_key_usages = vec![usage];
            })
        };
        verify(&leaf(ExtendedKeyUsagePurpose::ServerAuth), &[], &[&root]).unwrap();
        verify(&leaf(ExtendedKeyUsagePurpose::Any), &[], &[&root]).unwrap();
        let error = verify(&leaf(ExtendedKeyUsagePurpose::ClientAuth), &[], &[&root]).unwrap_err();
        assert!(matches!(error, Error::NotForServers { .. }), "{error}");
    }
}
