//! What has to hold for every text that an operator is shown.

use std::path::Path;

use multimesh::topology::{Note, Place};

/// The most characters of one text.
const LONGEST: usize = 4000;

/// Stands for a secret in the files of the corpus.
pub const SECRET: &str = "HUSHHUSH";

/// A text of our own: there, not endless, and nothing in it that a terminal would act upon.
pub fn text(text: &str) {
    assert!(!text.is_empty(), "there is nothing to read");
    assert!(text.chars().count() <= LONGEST, "a message without an end: {text:?}");
    let control = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "a terminal would act upon {text:?}");
}

/// An error about `file` with its hint: both are readable, and the file is named.
pub fn error(message: &str, hint: Option<&str>, file: &Path) {
    text(message);
    hint.into_iter().for_each(text);
    let file = file.display().to_string();
    assert!(message.contains(&file), "the file `{file}` is not named: {message}");
}

/// A place in `content`, the content of `file`.
pub fn place(place: &Place, file: &Path, content: &str) {
    assert_eq!(place.file, file);
    assert!(place.line >= 1 && place.column >= 1, "{place}");
    // A fault at the end is one line behind the last.
    assert!(place.line <= content.split(['\n', '\r']).count() + 1, "{place}");
    if secret_in_urls(content) {
        assert!(!place.text.contains(SECRET), "an excerpt shows a password: {}", place.text);
    }
}

/// Notes about `content`, the content of `file`.
pub fn notes(notes: &[Note], file: &Path, content: &str) {
    for note in notes {
        place(&note.place, file, content);
        text(&note.text);
    }
}

/// Whether the secret is in `content`, and only as the password of a URL.
fn secret_in_urls(content: &str) -> bool {
    let mut found = content.split(SECRET).peekable();
    let mut any = false;
    while let Some(before) = found.next() {
        let Some(after) = found.peek() else { break };
        let ends = |c: char| c == '/' || c.is_whitespace() || c.is_control();
        let opened = before.rsplit_once("://").is_some_and(|(_, user)| !user.contains(ends));
        let closed = after.split_once('@').is_some_and(|(rest, _)| !rest.contains(ends));
        if !opened || !closed {
            return false;
        }
        any = true;
    }
    any
}
