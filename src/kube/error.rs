//! Everything that can go wrong between the plugin and an API server.
//!
//! This module and its children are the only ones that look into `::kube::Error`.

use std::path::PathBuf;
use std::time::Duration;

mod answer;
mod cause;
mod fault;
mod hint;

pub use cause::{Call, Contact, FieldConflict, PluginFault, ProxySource, TlsFault};

use cause::seconds;

use super::context::Context;

pub(crate) use answer::{StatusAnswer, refusal};
pub(crate) use fault::{Fault, build_error};

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
    #[error("{}", no_context(context, known, similar.as_deref(), files))]
    NoContext {
        /// The name asked for.
        context: Context,
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
        context: Context,
        /// The missing entry.
        cluster: String,
    },
    /// The context names a user entry that the kubeconfig lacks.
    #[error("`{context}`: the kubeconfig has no user entry `{user}`, which this context names")]
    NoUserEntry {
        /// The context.
        context: Context,
        /// The missing entry; empty when the context names none.
        user: String,
    },
    /// The server address of a cluster entry cannot be used.
    #[error("`{context}`: the server of cluster `{cluster}` in the kubeconfig {reason}")]
    InvalidServer {
        /// The context.
        context: Context,
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
        context: Context,
        /// The cluster entry.
        cluster: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The proxy that a cluster is to be reached through is not usable.
    #[error("`{context}`: {source_of_proxy} {reason}")]
    InvalidProxy {
        /// The context.
        context: Context,
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
        context: Context,
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
        context: Context,
        /// The user entry.
        user: String,
        /// Its provider.
        provider: String,
    },
    /// The credential plugin of a user entry gave no credential.
    #[error("`{context}`: the credential plugin `{command}` of user `{user}` {fault}")]
    ExecPlugin {
        /// The context.
        context: Context,
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
        context: Context,
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
        context: Context,
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
    /// The namespace of the object does not exist (404), or takes no new objects because it is
    /// being deleted (403).
    #[error("{call}: the namespace `{namespace}` {}", if *terminating { "is being deleted" } else { "does not exist" })]
    NoNamespace {
        /// What was being done.
        call: Box<Call>,
        /// The namespace.
        namespace: String,
        /// Whether it is being deleted.
        terminating: bool,
    },
    /// The object was to be the one with a certain UID, and another one has the name now (409).
    #[error("{call}: another object has that name now")]
    Replaced {
        /// What was being done.
        call: Box<Call>,
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
        context: Context,
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
        self.place().map(Context::name)
    }

    fn place(&self) -> Option<&Context> {
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
            | Self::Replaced { call }
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

    /// Whether the API server, or its admission, has looked at an object and does not take it, as
    /// opposed to having given no answer that is about the object.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Conflict { .. }
                | Self::Changed { .. }
                | Self::AlreadyExists { .. }
                | Self::NotFound { .. }
                | Self::Replaced { .. }
                | Self::Webhook { .. }
                | Self::Rejected { .. }
                | Self::InvalidObject { .. }
        )
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

fn no_context(
    context: &Context,
    known: &[String],
    similar: Option<&str>,
    files: &[PathBuf],
) -> String {
    const SHOWN: usize = 10;
    if files.is_empty() {
        return format!("there is no kubeconfig, and so no context `{context}`");
    }
    let none = format!("the kubeconfig has no context `{context}`");
    if let Some(similar) = similar {
        return format!("{none}; did you mean `{similar}`?");
    }
    if known.is_empty() {
        return format!("{none}; it has no contexts at all");
    }
    let shown: Vec<String> = known.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let rest = known.len().saturating_sub(SHOWN);
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{none}; it has {}{more}", shown.join(", "))
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
