//! Everything that can go wrong between the plugin and an API server.
//!
//! This module and its children are the only ones that look into `::kube::Error`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

mod answer;
mod fault;
mod hint;

pub(crate) use answer::{StatusAnswer, refusal};
pub(crate) use fault::{Fault, build_error};
pub(crate) use hint::quote;

/// What was being done when a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The kubeconfig context of the cluster.
    pub context: String,
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

/// The errors of the room `kube`. The text is one sentence for an operator; [`Error::hint`] has the
/// next command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A kubeconfig file exists but cannot be read.
    #[error("cannot read the kubeconfig {}: {reason}", path.display())]
    KubeconfigUnreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// A kubeconfig file is no valid kubeconfig.
    #[error("the kubeconfig {}{} is not valid: {reason}", path.display(), place(*position))]
    KubeconfigInvalid {
        /// The file.
        path: PathBuf,
        /// Line and column, counted from 1, where known.
        position: Option<(u64, u64)>,
        /// What is wrong, without a quotation from the file.
        reason: String,
    },
    /// The kubeconfig has no such context.
    #[error("the kubeconfig has no context `{context}`{}", no_context(known, similar.as_deref()))]
    NoContext {
        /// The name asked for.
        context: String,
        /// The contexts that there are.
        known: Vec<String>,
        /// The one that was probably meant.
        similar: Option<String>,
        /// The kubeconfig files that were read.
        files: Vec<PathBuf>,
    },
    /// The context names a cluster entry that the kubeconfig lacks.
    #[error(
        "`{context}`: the kubeconfig has no cluster entry `{cluster}`, which this context names"
    )]
    NoClusterEntry {
        /// The context.
        context: String,
        /// The missing entry.
        cluster: String,
    },
    /// The context names a user entry that the kubeconfig lacks.
    #[error("`{context}`: the kubeconfig has no user entry `{user}`, which this context names")]
    NoUserEntry {
        /// The context.
        context: String,
        /// The missing entry; empty when the context names none.
        user: String,
    },
    /// The server address of a cluster entry cannot be used.
    #[error("`{context}`: the server of cluster `{cluster}` in the kubeconfig {reason}")]
    InvalidServer {
        /// The context.
        context: String,
        /// The cluster entry.
        cluster: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate authority of a cluster entry cannot be used.
    #[error(
        "`{context}`: the certificate authority of cluster `{cluster}` in the kubeconfig {reason}"
    )]
    InvalidAuthority {
        /// The context.
        context: String,
        /// The cluster entry.
        cluster: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The proxy that a cluster is to be reached through is not usable.
    #[error("`{context}`: {source_of_proxy} {reason}")]
    InvalidProxy {
        /// The context.
        context: String,
        /// Where the address comes from.
        source_of_proxy: ProxySource,
        /// What is wrong with it; never the value, which may hold a password.
        reason: String,
    },
    /// A credential of a user entry (certificate, key, token file) cannot be used.
    #[error(
        "`{context}`: the credentials of user `{user}` in the kubeconfig cannot be used: {reason}"
    )]
    InvalidCredential {
        /// The context.
        context: String,
        /// The user entry.
        user: String,
        /// What is wrong.
        reason: String,
    },
    /// The user entry has an `auth-provider` that kubectl does not support any more either.
    #[error(
        "`{context}`: user `{user}` in the kubeconfig has the auth provider `{provider}`, which is not supported"
    )]
    AuthProvider {
        /// The context.
        context: String,
        /// The user entry.
        user: String,
        /// Its provider.
        provider: String,
    },
    /// The credential plugin of a user entry gave no credential.
    #[error("`{context}`: the credential plugin `{command}` of user `{user}` {fault}")]
    ExecPlugin {
        /// The context.
        context: String,
        /// The user entry.
        user: String,
        /// The program.
        command: String,
        /// What happened.
        fault: PluginFault,
    },
    /// No connection to the API server came about.
    #[error("`{context}`: {} {cause}", destination(server, proxy.as_deref()))]
    Unreachable {
        /// The context.
        context: String,
        /// The URL of its API server.
        server: String,
        /// The proxy on the way, without credentials.
        proxy: Option<String>,
        /// What happened.
        cause: Contact,
    },
    /// The TLS handshake failed.
    #[error("`{context}`: the TLS handshake with the API server at {server} failed: {fault}")]
    Tls {
        /// The context.
        context: String,
        /// The URL of its API server.
        server: String,
        /// What happened.
        fault: TlsFault,
    },
    /// The API server is connected but did not answer in time.
    #[error("{call}: the API server at {} did not answer within {}", call.server, seconds(*after))]
    TimedOut {
        /// What was being done.
        call: Box<Call>,
        /// How long was waited, all attempts together.
        after: Duration,
    },
    /// The connection ended before the answer was complete. Whether the request had an effect is
    /// not known.
    #[error("{call}: the connection to the API server at {} broke off before the answer was complete", call.server)]
    Interrupted {
        /// What was being done.
        call: Box<Call>,
    },
    /// The answer is not what an API server sends.
    #[error("{call}: the answer is not from a Kubernetes API server: {reason}")]
    Garbled {
        /// What was being done.
        call: Box<Call>,
        /// What is wrong with it, without a quotation.
        reason: String,
    },
    /// The API server does not accept the credentials (401).
    #[error("{call}: the API server does not accept the credentials of user `{user}`")]
    Unauthorized {
        /// What was being done.
        call: Box<Call>,
        /// The user entry of the kubeconfig.
        user: String,
        /// The credential plugin that made them, if any.
        plugin: Option<String>,
    },
    /// The user may not do this (403).
    #[error("{call}: {message}")]
    Forbidden {
        /// What was being done.
        call: Box<Call>,
        /// The API server's words; they name verb, resource and user.
        message: String,
    },
    /// Server-side apply met fields that other field managers own (409).
    #[error("{call}: {}", conflicts_text(conflicts))]
    Conflict {
        /// What was being done.
        call: Box<Call>,
        /// The fields and their owners.
        conflicts: Vec<FieldConflict>,
    },
    /// The object was changed by somebody else meanwhile (409).
    #[error("{call}: it was changed by somebody else meanwhile: {message}")]
    Changed {
        /// What was being done.
        call: Box<Call>,
        /// The API server's words.
        message: String,
    },
    /// The object to be created exists (409).
    #[error("{call}: it exists already")]
    AlreadyExists {
        /// What was being done.
        call: Box<Call>,
    },
    /// Something that must exist for this does not (404).
    #[error("{call}: {message}")]
    NotFound {
        /// What was being done.
        call: Box<Call>,
        /// The API server's words.
        message: String,
    },
    /// The namespace of the object does not exist (404).
    #[error("{call}: the namespace `{namespace}` does not exist")]
    NoNamespace {
        /// What was being done.
        call: Box<Call>,
        /// The namespace.
        namespace: String,
    },
    /// The API server does not serve this kind, for lack of a CRD for instance (404).
    #[error("{call}: the API server does not know the kind `{kind}` of `{api_version}`")]
    UnknownKind {
        /// What was being done.
        call: Box<Call>,
        /// Group and version.
        api_version: String,
        /// The kind.
        kind: String,
    },
    /// An admission webhook could not be called.
    #[error("{call}: the admission webhook `{webhook}` did not answer: {reason}")]
    Webhook {
        /// What was being done.
        call: Box<Call>,
        /// The name of the webhook, such as `rev.validation.istio.io`.
        webhook: String,
        /// The API server's words.
        reason: String,
    },
    /// The API server, or an admission webhook, does not accept the object or request.
    #[error("{call}: {reason}")]
    Rejected {
        /// What was being done.
        call: Box<Call>,
        /// The HTTP status.
        code: u16,
        /// The API server's words.
        reason: String,
    },
    /// The API server is overloaded or failing (429, 5xx), also after waiting.
    #[error("{call}: the API server at {} cannot serve the request now (HTTP {code}): {reason}", call.server)]
    Unavailable {
        /// What was being done.
        call: Box<Call>,
        /// The HTTP status of the last attempt.
        code: u16,
        /// The API server's words.
        reason: String,
    },
    /// An object that was to be sent is none: it lacks a kind, a name or a namespace.
    #[error("`{context}`: cannot send {object}: {reason}")]
    InvalidObject {
        /// The context.
        context: String,
        /// As much of its name as there is.
        object: String,
        /// What it lacks.
        reason: String,
    },
    /// A command in a container failed.
    #[error("{call}: the command {}{}", command_end(*code), after_colon(output))]
    CommandFailed {
        /// What was being done.
        call: Box<Call>,
        /// Its exit code, where it had one.
        code: Option<i32>,
        /// The last lines of its standard error.
        output: String,
    },
}

impl Error {
    /// The kubeconfig context that the error belongs to, or `None` for errors of the kubeconfig
    /// itself.
    pub fn context(&self) -> Option<&str> {
        match self {
            Self::KubeconfigUnreadable { .. } | Self::KubeconfigInvalid { .. } => None,
            Self::NoContext { context, .. }
            | Self::NoClusterEntry { context, .. }
            | Self::NoUserEntry { context, .. }
            | Self::InvalidServer { context, .. }
            | Self::InvalidAuthority { context, .. }
            | Self::InvalidProxy { context, .. }
            | Self::InvalidCredential { context, .. }
            | Self::AuthProvider { context, .. }
            | Self::ExecPlugin { context, .. }
            | Self::Unreachable { context, .. }
            | Self::Tls { context, .. }
            | Self::InvalidObject { context, .. } => Some(context),
            Self::TimedOut { call, .. }
            | Self::Interrupted { call }
            | Self::Garbled { call, .. }
            | Self::Unauthorized { call, .. }
            | Self::Forbidden { call, .. }
            | Self::Conflict { call, .. }
            | Self::Changed { call, .. }
            | Self::AlreadyExists { call }
            | Self::NotFound { call, .. }
            | Self::NoNamespace { call, .. }
            | Self::UnknownKind { call, .. }
            | Self::Webhook { call, .. }
            | Self::Rejected { call, .. }
            | Self::Unavailable { call, .. }
            | Self::CommandFailed { call, .. } => Some(&call.context),
        }
    }

    /// Whether waiting will not change it: the user is refused or a certificate is not trusted.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Forbidden { .. } | Self::Tls { .. })
    }

    /// Whether the cluster could not be talked to at all, as opposed to having refused something:
    /// trying another object on it is pointless.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Tls { .. }
                | Self::TimedOut { .. }
                | Self::Unauthorized { .. }
                | Self::ExecPlugin { .. }
                | Self::InvalidProxy { .. }
        )
    }
}

fn place(position: Option<(u64, u64)>) -> String {
    position.map_or_else(String::new, |(line, column)| format!(", line {line}, column {column},"))
}

fn no_context(known: &[String], similar: Option<&str>) -> String {
    const SHOWN: usize = 10;
    if let Some(similar) = similar {
        return format!("; did you mean `{similar}`?");
    }
    if known.is_empty() {
        return "; it has no contexts at all".to_owned();
    }
    let shown: Vec<String> = known.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let rest = known.len().saturating_sub(SHOWN);
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("; it has {}{more}", shown.join(", "))
}

fn destination(server: &str, proxy: Option<&str>) -> String {
    proxy.map_or_else(
        || format!("the API server at {server}"),
        |proxy| format!("the proxy {proxy} on the way to the API server at {server}"),
    )
}

fn conflicts_text(conflicts: &[FieldConflict]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = conflicts
        .iter()
        .take(SHOWN)
        .map(|conflict| format!("`{}` belongs to `{}`", conflict.field, conflict.manager))
        .collect();
    let rest = conflicts.len().saturating_sub(SHOWN);
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("other field managers own fields of it with other values: {}{more}", shown.join(", "))
}

fn command_end(code: Option<i32>) -> String {
    code.map_or_else(
        || "could not be run".to_owned(),
        |code| format!("ended with exit code {code}"),
    )
}

fn after_colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 || duration.as_secs() >= 10 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
