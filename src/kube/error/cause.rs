//! What errors are made of: the call, and the causes outside the API.

use std::fmt;
use std::time::Duration;

use crate::kube::context::Context;

/// What was being done when a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The kubeconfig context of the cluster.
    pub context: Context,
    /// The URL of its API server, as the kubeconfig has it.
    pub server: String,
    /// The verb, as an operator would say it: `get`, `list`, `apply`, `delete`.
    pub verb: &'static str,
    /// The object, such as `Deployment istio-system/istiod`, or the path of a raw request.
    pub object: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: cannot {} {}", self.context, self.verb, self.object)
    }
}

/// Why no connection to an API server came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// Nothing listens at the address.
    Refused,
    /// The host name does not resolve.
    UnknownHost,
    /// No route to the address.
    NoRoute,
    /// No answer to the connection attempt, TLS handshake included, in this time.
    NoAnswer(Duration),
    /// The connection was closed again and again before an answer.
    Closed,
    /// The proxy accepted the connection and refused to tunnel it.
    ProxyRefused(String),
    /// Anything else, in the words of the operating system.
    Other(String),
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused the connection"),
            Self::UnknownHost => f.write_str("has a host name that does not resolve"),
            Self::NoRoute => f.write_str("cannot be reached: no route to the host"),
            Self::NoAnswer(after) => write!(f, "did not answer within {}", seconds(*after)),
            Self::Closed => f.write_str("closes the connection without an answer"),
            Self::ProxyRefused(reason) => write!(f, "did not open a tunnel: {reason}"),
            Self::Other(reason) => write!(f, "cannot be reached: {reason}"),
        }
    }
}

/// Why the TLS handshake with an API server failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate is not signed by a CA that the kubeconfig (or the system) trusts.
    UnknownIssuer,
    /// The certificate is past its end.
    Expired,
    /// The certificate is not valid yet; often a wrong clock.
    NotYetValid,
    /// The certificate is for other names than the one asked for.
    WrongName,
    /// The server does not speak TLS.
    NotTls,
    /// The server did not accept the client certificate.
    ClientCertificate(String),
    /// Anything else, in the words of the TLS library.
    Other(String),
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer => {
                f.write_str("its certificate is signed by a CA that the kubeconfig does not trust")
            }
            Self::Expired => f.write_str("its certificate has expired"),
            Self::NotYetValid => f.write_str("its certificate is not valid yet"),
            Self::WrongName => f.write_str("its certificate is for another host name"),
            Self::NotTls => f.write_str("it does not speak TLS"),
            Self::ClientCertificate(reason) => {
                write!(f, "it does not accept the client certificate: {reason}")
            }
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

/// What a credential plugin (the `exec` entry of a kubeconfig user) did wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginFault {
    /// The program does not exist; the kubeconfig's `installHint`, if any.
    NotFound(Option<String>),
    /// The program cannot be started.
    NotStarted(String),
    /// It ended with this code, and these last lines on standard error.
    Failed(Option<i32>, String),
    /// It was still running after this time, and was killed.
    Hung(Duration),
    /// It insists on asking the user, and there is no terminal or `--no-input` was given.
    WantsInput,
    /// It printed something that is no usable `ExecCredential`.
    BadAnswer(String),
    /// Its entry in the kubeconfig is incomplete.
    BadEntry(String),
}

impl fmt::Display for PluginFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(_) => f.write_str("was not found"),
            Self::NotStarted(reason) => write!(f, "cannot be started: {reason}"),
            Self::Failed(code, output) => {
                match code {
                    Some(code) => write!(f, "failed with exit code {code}")?,
                    None => f.write_str("was ended by a signal")?,
                }
                if output.is_empty() { Ok(()) } else { write!(f, ": {output}") }
            }
            Self::Hung(after) => write!(f, "gave no answer within {}", seconds(*after)),
            Self::WantsInput => f.write_str("wants to ask for input, which is not possible here"),
            Self::BadAnswer(reason) => write!(f, "gave no usable answer: {reason}"),
            Self::BadEntry(reason) => write!(f, "is not configured completely: {reason}"),
        }
    }
}

/// Where the address of a proxy was taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxySource {
    /// `proxy-url` of this cluster entry in the kubeconfig.
    Kubeconfig(String),
    /// An environment variable, by its name.
    Variable(&'static str),
}

impl fmt::Display for ProxySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubeconfig(cluster) => {
                write!(f, "`proxy-url` of cluster `{cluster}` in the kubeconfig")
            }
            Self::Variable(name) => write!(f, "the environment variable `{name}`"),
        }
    }
}

/// A field that another field manager owns with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldConflict {
    /// The path of the field, as the API server writes it: `.spec.replicas`.
    pub field: String,
    /// The field manager that owns it, such as `istio-operator` or `helm`.
    pub manager: String,
}

/// A duration as it is said.
pub(super) fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 || duration.as_secs() >= 10 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
