//! Where in a user's file something stands.

use std::fmt;
use std::path::PathBuf;

/// A place in a file that the user wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was given.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// The text of that line for an excerpt: credentials inside a URL are masked, and a line too
    /// long to be shown is left empty.
    pub text: String,
}

impl Place {
    /// The first character of `file`, for faults that concern the file as a whole.
    pub fn start(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), line: 1, column: 1, text: String::new() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Something about a file that the user should know and that stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What the note is about.
    pub place: Place,
    /// The sentence, in the style of an error message.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Where the `@` is that ends the user and password of a URL, in what follows its `://`. A password
/// may have a `/` in it, though none should.
pub(crate) fn end_of_credentials(after: &str) -> Option<usize> {
    let word = after.split(char::is_whitespace).next().unwrap_or_default();
    let authority = word.split('/').next().unwrap_or_default();
    authority.rfind('@').or_else(|| {
        let (_, port) = authority.split_once(':')?;
        let password = !port.is_empty() && !port.bytes().all(|byte| byte.is_ascii_digit());
        if password { word.rfind('@') } else { None }
    })
}

/// Replaces `user:password` of every `scheme://user:password@host` in `line`.
pub(crate) fn mask_credentials(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        rest = match end_of_credentials(after) {
            Some(sign) => {
                masked.push_str("***");
                &after[sign..]
            }
            None => after,
        };
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_urls_are_masked_in_excerpts() {
        assert_eq!(
            mask_credentials("    proxy_url: http://bob:s3cret@proxy:3128/x # http://ok/a@b"),
            "    proxy_url: http://***@proxy:3128/x # http://ok/a@b"
        );
        assert_eq!(mask_credentials("a: b@c"), "a: b@c");
        assert_eq!(mask_credentials("http://ok:80/a@b"), "http://ok:80/a@b");
    }

    #[test]
    fn a_password_is_masked_that_looks_like_the_rest_of_a_url() {
        assert_eq!(mask_credentials("ftp://a:b@c://d:s3cret@e"), "ftp://***@c://***@e");
        assert_eq!(mask_credentials("http://bob:s3/cr/et@proxy x@y"), "http://***@proxy x@y");
    }
}
