//! What a run may end with: exit codes, and failures as sentences with hints.

use std::fmt;
use std::path::Path;

use crate::kube::quote;
use crate::topology::Place;
use crate::{files, pki};

/// How a run of the tool ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for is done, or the mesh is healthy (0).
    Done,
    /// The run failed (1).
    Failed,
    /// An apply would change something (2).
    Changes,
    /// Some clusters are done and some are not (3).
    Partial,
    /// The mesh is not healthy (4).
    Unhealthy,
    /// The command line was wrong (64, `EX_USAGE` of sysexits).
    Usage,
    /// The user interrupted the run (130, as shells report SIGINT).
    Interrupted,
}

impl Exit {
    /// The process exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Changes => 2,
            Self::Partial => 3,
            Self::Unhealthy => 4,
            Self::Usage => 64,
            Self::Interrupted => 130,
        }
    }
}

/// An expected failure: a sentence for a person, and what to do about it.
///
/// The message starts in lower case and has no final period, as it stands after `error: `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// The sentence.
    pub message: String,
    /// Where in a file of the user, if it is about one.
    pub excerpt: Option<Place>,
    /// The next things to do, each an instruction or a command.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure that ends the run with exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into(), excerpt: None, hints: Vec::new() }
    }

    /// A wrong command line: exit code 64.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(message) }
    }

    /// Says which context it is about, unless the message does already.
    #[must_use]
    pub fn about(mut self, context: &str) -> Self {
        let name = format!("`{context}`");
        if !self.message.contains(&name) {
            self.message = format!("{name}: {}", self.message);
        }
        self
    }

    /// Several failures of one cluster as one; nothing when there are none.
    pub fn combine(failures: impl IntoIterator<Item = Self>) -> Option<Self> {
        failures.into_iter().reduce(|mut all, next| {
            if all == next {
                return all;
            }
            all.message = format!("{}; also: {}", all.message, next.message);
            all.hints.extend(next.hints);
            all.hints.dedup();
            all
        })
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds what to do about it, where there is something to do.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hints.extend(hint);
        self
    }
}

/// A message about a context without the name that it begins with, for where that stands already.
pub fn beside<'m>(message: &'m str, context: &str) -> &'m str {
    let rest = message.strip_prefix('`').and_then(|rest| rest.strip_prefix(context));
    rest.and_then(|rest| rest.strip_prefix("`: ")).unwrap_or(message)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Where a room's error points into a file, the place is shown with the line.
impl From<crate::topology::Error> for Failure {
    fn from(error: crate::topology::Error) -> Self {
        use crate::topology::Error as E;
        let selector =
            matches!(error, E::BadSelector { .. } | E::NoMatch { .. } | E::NothingSelected { .. });
        Self {
            // Selectors stand on the command line.
            exit: if selector { Exit::Usage } else { Exit::Failed },
            excerpt: error.place().cloned(),
            ..Self::new(error.to_string())
        }
        .maybe_hint(error.hint())
    }
}

impl From<crate::istio::base::Error> for Failure {
    fn from(error: crate::istio::base::Error) -> Self {
        Self { excerpt: error.place().cloned(), ..Self::new(error.to_string()) }
            .maybe_hint(error.hint())
    }
}

impl From<crate::kube::Error> for Failure {
    fn from(error: crate::kube::Error) -> Self {
        Self::new(error.to_string()).maybe_hint(error.hint())
    }
}

impl From<files::Error> for Failure {
    fn from(error: files::Error) -> Self {
        let hint = match &error {
            files::Error::Read { path, .. } => Some(look_hint(path)),
            files::Error::Write { path, cause } => write_hint(path, cause),
            files::Error::Locked { holder, .. } => {
                let look = holder.as_ref().map(|h| format!(" (see `ps -fp {}`)", h.pid));
                let look = look.unwrap_or_default();
                Some(format!(
                    "wait for it to end{look}, then run the same command again, or give it `--wait-lock 5m`"
                ))
            }
        };
        Self::new(error.to_string()).maybe_hint(hint)
    }
}

/// The command that shows the deepest part of a path that is there.
fn look_hint(path: &Path) -> String {
    let mut above = path.ancestors().skip(1);
    let there = above.find(|dir| dir.exists()).filter(|dir| !dir.as_os_str().is_empty());
    let there = there.unwrap_or(Path::new(".")).to_string_lossy();
    format!("look at what is there: `ls -la {}`", quote(&there))
}

fn write_hint(path: &Path, cause: &files::Cause) -> Option<String> {
    match cause {
        files::Cause::ReadOnly | files::Cause::Missing | files::Cause::NotADirectory => Some(
            "keep the mesh's files elsewhere: `MULTIMESH_HOME=<folder>`, or `--dir <folder>`"
                .into(),
        ),
        files::Cause::NoSpace => Some(format!(
            "make room: `df -h {}`; then run the same command again",
            quote(&path.parent().unwrap_or(path).to_string_lossy())
        )),
        files::Cause::Permission
        | files::Cause::IsADirectory
        | files::Cause::NotText
        | files::Cause::TooLarge => Some(look_hint(path)),
        files::Cause::Other(_) => None,
    }
}

impl From<pki::Error> for Failure {
    fn from(error: pki::Error) -> Self {
        match error {
            pki::Error::Files(error) => error.into(),
            // It can only come from the command line.
            error @ pki::Error::Organization { .. } => {
                Self { exit: Exit::Usage, ..Self::new(error.to_string()) }
                    .maybe_hint(pki_hint(&error))
            }
            error => {
                let hint = pki_hint(&error);
                Self::new(error.to_string()).maybe_hint(hint)
            }
        }
    }
}

fn pki_hint(error: &pki::Error) -> Option<String> {
    use pki::Error as E;
    let hint = match error {
        E::At { source, .. } => return pki_hint(source),
        E::NoCertificate
        | E::BadCertificate { .. }
        | E::NoKey
        | E::BadKey
        | E::UnsupportedKey
        | E::NotText
        | E::RootKeyWithoutCertificate { .. }
        | E::ChainStart
        | E::UnknownIssuer { .. }
        | E::BadSignature { .. } => "restore the file from your backup",
        E::KeyMismatch { .. } => "restore the two of them from your backup",
        E::EncryptedKey => {
            "store it without a passphrase: `openssl pkey -in <key> -out root-key.pem`"
        }
        E::RootExists { .. } => "a root CA is kept for the life of its mesh",
        E::IncompleteIntermediate { .. } => {
            "move the directory away: the intermediate is taken from its cluster or issued anew"
        }
        E::MissingEntry { .. } | E::TlsLayout => {
            "istiod reads ca-cert.pem, ca-key.pem, root-cert.pem and cert-chain.pem"
        }
        E::OfflineRoot { .. } => "put root-key.pem beside root-cert.pem for this run",
        E::Expired { .. } | E::NotYetValid { .. } => {
            "is the clock of this machine right? `date -u`"
        }
        E::ForeignRoot { .. } => "clusters with different roots refuse each other's traffic",
        E::Organization { .. } => "give another one: `--org <organisation>`",
        E::CannotSign { .. }
        | E::NotForServers { .. }
        | E::EndlessChain { .. }
        | E::SignatureAlgorithm { .. }
        | E::RootSubject { .. } => {
            "use a root CA that istiod accepts, or have one made in a new mesh directory"
        }
        E::Files(_) | E::Label { .. } | E::Issue { .. } => return None,
    };
    Some(hint.to_owned())
}
