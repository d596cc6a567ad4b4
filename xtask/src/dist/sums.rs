//! Digests, and the file that lists them.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The SHA-256 digest of some bytes, in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Names and digests as sha256sum writes and checks them, sorted by name.
pub(super) fn list(files: &[(String, String)]) -> String {
    let mut lines: Vec<_> = files.iter().map(|(name, sum)| (name, sum)).collect();
    lines.sort();
    lines.into_iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_listed_as_sha256sum_does() {
        let of = |name: &str, text: &str| (name.to_owned(), digest(text.as_bytes()));
        assert_eq!(
            list(&[of("b", ""), of("a", "abc")]),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b\n"
        );
    }
}
