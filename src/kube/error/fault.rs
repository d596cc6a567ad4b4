//! From what the client library reports to what happened.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use super::answer::{StatusAnswer, shorten};
use super::{Contact, TlsFault};

/// How one attempt at a request failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The request was not sent: no connection.
    Contact(Contact),
    /// The request was not sent: no TLS.
    Tls(TlsFault),
    /// No complete answer in time.
    Slow,
    /// The connection broke after the request was sent, or while it was.
    Broken,
    /// The answer is no JSON, no text, or not what was asked for.
    Garbled(String),
    /// A command in a container ended badly: its exit code and the end of its standard error.
    Command(Option<i32>, String),
    /// An answer of 400 and above.
    Status(Box<StatusAnswer>),
}

impl Fault {
    /// Reads an error of the client library. `connect_timeout` is what the client was built with.
    pub(crate) fn of(error: ::kube::Error, connect_timeout: Duration) -> Self {
        match error {
            ::kube::Error::Api(status) => {
                Self::Status(Box::new(StatusAnswer::from_status(*status)))
            }
            ::kube::Error::UpgradeConnection(error) => {
                Self::Garbled(format!("it does not open a stream: {}", shorten(&error.to_string())))
            }
            ::kube::Error::SerdeError(_) => Self::Garbled("it is not JSON".to_owned()),
            ::kube::Error::FromUtf8(_) => Self::Garbled("it is not text".to_owned()),
            other => Self::of_chain(&other, connect_timeout),
        }
    }

    /// Reads a chain of transport errors.
    fn of_chain(error: &(dyn StdError + 'static), connect_timeout: Duration) -> Self {
        let mut seen = Seen::default();
        seen.walk(error);
        // Also after the handshake: in TLS 1.3 the alert about a client certificate comes in place
        // of the answer.
        if let Some(tls) = seen.tls {
            return Self::Tls(tls);
        }
        if seen.unseen {
            return Self::Contact(Contact::Closed);
        }
        let text = seen.texts.join(": ");
        let proxy = text.find("tunnel error").or_else(|| text.find("SOCKS"));
        if let Some(start) = proxy.filter(|_| seen.kind.is_none()) {
            let reason = text.get(start..).unwrap_or_default();
            let reason = shorten(reason.trim_start_matches("tunnel error: "));
            return Self::Contact(Contact::ProxyRefused(reason));
        }
        let connecting = text.contains("client error (Connect)");
        match seen.kind {
            _ if text.contains("dns error") => Self::Contact(Contact::UnknownHost),
            Some(io::ErrorKind::ConnectionRefused) => Self::Contact(Contact::Refused),
            Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
                Self::Contact(Contact::NoRoute)
            }
            Some(io::ErrorKind::TimedOut) if connecting => {
                Self::Contact(Contact::NoAnswer(connect_timeout))
            }
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe,
            ) if connecting => Self::Contact(Contact::Closed),
            _ if connecting => {
                Self::Contact(Contact::Other(shorten(seen.texts.last().map_or("", String::as_str))))
            }
            _ => Self::Broken,
        }
    }
}

/// The alerts with which a server refuses a client certificate.
const ABOUT_THE_CLIENT: [AlertDescription; 8] = [
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::CertificateRequired,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
];

/// The alert of a text: HTTP/2 passes on the words of an error of the connection, not the error.
fn told_alert(text: &str) -> Option<TlsFault> {
    let mut alerts = ABOUT_THE_CLIENT.iter().map(|&alert| rustls::Error::AlertReceived(alert));
    alerts.find(|alert| alert.to_string() == text).map(|alert| tls_fault(&alert))
}

#[derive(Default)]
struct Seen {
    kind: Option<io::ErrorKind>,
    tls: Option<TlsFault>,
    /// Whether the server says that it did not look at the request.
    unseen: bool,
    texts: Vec<String>,
}

impl Seen {
    fn walk(&mut self, error: &(dyn StdError + 'static)) {
        let text = error.to_string();
        let tls = error.downcast_ref::<rustls::Error>().map(tls_fault);
        if self.tls.is_none() {
            self.tls = tls.or_else(|| told_alert(&text));
        }
        self.texts.push(text);
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
            // A server that goes away says so of the requests that came too late; others are cut.
            self.unseen |= h2.is_remote() && (h2.is_go_away() || refused);
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            if !matches!(io.kind(), io::ErrorKind::Other) {
                self.kind = Some(io.kind());
            }
            // `io::Error::source` skips the error that it wraps.
            if let Some(inner) = io.get_ref() {
                self.walk(inner);
                return;
            }
        }
        if let Some(inner) = error.source() {
            self.walk(inner);
        }
    }
}

fn tls_fault(error: &rustls::Error) -> TlsFault {
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                TlsFault::UnknownIssuer
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                TlsFault::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsFault::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsFault::WrongName
            }
            other => TlsFault::Other(shorten(&other.to_string())),
        },
        rustls::Error::InvalidMessage(_) => TlsFault::NotTls,
        rustls::Error::AlertReceived(alert) if ABOUT_THE_CLIENT.contains(alert) => {
            TlsFault::ClientCertificate(format!("{alert:?}"))
        }
        other => TlsFault::Other(shorten(&other.to_string())),
    }
}

/// What is wrong with the credentials or the CA of a kubeconfig, from the failure to build a client
/// of them. Quotes nothing of them.
pub(crate) fn build_error(error: &::kube::Error) -> String {
    use ::kube::client::{AuthError, RustlsTlsError as Tls};
    use ::kube::config::{KubeconfigError as Config, LoadDataError as Load};
    let load = |what: &str, error: &Load| match error {
        Load::DecodeBase64(_) => format!("the {what} is not base64"),
        Load::ReadFile(error, path) => format!("the {what} {}: {error}", path.display()),
        Load::NoBase64DataOrFile => format!("the {what} is missing"),
    };
    match error {
        ::kube::Error::RustlsTls(error) => match error {
            Tls::InvalidIdentityPem(_) => "the client certificate or key is not PEM".to_owned(),
            Tls::MissingPrivateKey => {
                "the client key is not in PKCS#8, PKCS#1 or SEC1 form".to_owned()
            }
            Tls::MissingCertificate => "there is a client key without certificate".to_owned(),
            Tls::InvalidPrivateKey(_) => {
                "the client key is not usable, or does not belong to the certificate".to_owned()
            }
            Tls::UnknownPrivateKeyFormat => "the client key has an unknown form".to_owned(),
            Tls::AddRootCertificate(_) | Tls::NoValidNativeRootCA(_) => {
                "there is no usable CA certificate, neither in the kubeconfig nor in the system"
                    .to_owned()
            }
            Tls::InvalidServerName(_) => "`tls-server-name` is not a host name".to_owned(),
        },
        ::kube::Error::InferKubeconfig(Config::LoadClientCertificate(error)) => {
            load("client certificate", error)
        }
        ::kube::Error::InferKubeconfig(Config::LoadClientKey(error)) => load("client key", error),
        ::kube::Error::Auth(AuthError::ReadTokenFile(error, path)) => {
            format!("the token file {}: {error}", path.display())
        }
        ::kube::Error::Auth(AuthError::AuthExec(reason)) => shorten(reason),
        ::kube::Error::HttpError(_) => {
            "they hold a character that cannot be sent in an HTTP header".to_owned()
        }
        ::kube::Error::ProxyProtocolUnsupported { .. }
        | ::kube::Error::ProxyProtocolDisabled { .. } => {
            "the proxy speaks an unsupported protocol".to_owned()
        }
        _ => "no client can be built of them".to_owned(),
    }
}
