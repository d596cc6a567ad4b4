//! What can go wrong, each as a sentence for a person.

use std::io;
use std::path::Path;

use crate::requirements::Missing;

/// Why the lab could not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine lacks something that the lab cannot do without.
    #[error("{0}")]
    Missing(#[from] Missing),
    /// The lab was asked for something that it does not do.
    #[error("{0}")]
    Refused(String),
    /// A file or a process could not be handled.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried, as a phrase that follows "cannot".
        action: String,
        /// The answer of the operating system.
        source: io::Error,
    },
    /// A program that the lab runs ended with an error.
    #[error("`{program}` failed: {output}")]
    Program {
        /// The command line, shortened.
        program: String,
        /// The end of what the program wrote.
        output: String,
    },
    /// Something did not come true in time.
    #[error("gave up after {seconds} s waiting for {what}: {last}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// The last thing that stood in the way.
        last: String,
    },
}

/// A result of the lab.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says what was tried when an operation of the operating system fails.
pub(crate) trait Doing<T> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T>;

    fn at(self, verb: &str, path: &Path) -> Result<T>
    where
        Self: Sized,
    {
        self.doing(|| format!("{verb} {}", path.display()))
    }
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io {
            action: action(),
            source: source.into(),
        })
    }
}
