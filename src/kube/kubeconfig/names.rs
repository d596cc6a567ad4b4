//! The names of the contexts alone, for completion: of a large file only the part that lists them
//! is read, where it can be told for certain which part that is.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::document;
use crate::topology::yaml;

/// What is read of a file.
#[derive(Deserialize)]
struct Names {
    #[serde(default)]
    contexts: Option<Vec<Named>>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    context: Option<IgnoredAny>,
}

impl Names {
    fn list(self) -> Vec<String> {
        let contexts = self.contexts.into_iter().flatten();
        contexts.filter(|it| it.context.is_some()).map(|it| it.name).collect()
    }
}

/// The names of the contexts in `content`, the content of a kubeconfig file; none where it is not
/// valid.
pub(super) fn names(content: &[u8]) -> Vec<String> {
    let quick = match str::from_utf8(content) {
        Ok(text) if !text.starts_with('\u{feff}') => quickly(text),
        _ => document::decode(content).and_then(|text| quickly(&text)),
    };
    if let Some(names) = quick {
        return names.list();
    }
    let whole = document::read(Path::new(""), content).unwrap_or_default();
    let contexts = whole.contexts.into_iter().filter(|named| named.context.is_some());
    contexts.map(|named| named.name).collect()
}

/// Reads the names without the rest; `None` where only a reader of all can tell them.
fn quickly(text: &str) -> Option<Names> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).ok();
    }
    let section = section(text)?;
    if section.is_empty() {
        return Some(Names { contexts: None });
    }
    let options = serde_saphyr::options! { with_snippet: false, budget: yaml::budget() };
    serde_saphyr::from_str_with_options(section, options).ok()
}

/// The lines from `contexts:` to the next key of the file; empty where there is no such key. `None`
/// unless it is certain that each line at the left margin is a key or an item of one: text in
/// quotes and flow collections could go on there, so they have to end in the line in which they
/// begin. All else ends where the indentation does.
fn section(text: &str) -> Option<&str> {
    // Some readers take these for the end of a line.
    if !text.is_ascii() && ['\u{85}', '\u{2028}', '\u{2029}'].iter().any(|it| text.contains(*it)) {
        return None;
    }
    let (mut start, mut end, mut keys, mut begun) = (None, text.len(), 0, false);
    let mut next = 0;
    for line in text.split_inclusive('\n') {
        let here = next;
        next += line.len();
        let line = line.trim_end_matches('\n');
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.contains('\r') || line.contains('\t') {
            return None;
        }
        let content = line.trim_start_matches(' ');
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let item = content == "-" || content.starts_with("- ");
        if content.len() == line.len() && !item {
            if content == "---" && !begun {
                begun = true;
                continue;
            }
            let key = content
                .split_once(':')
                .filter(|(_, value)| value.is_empty() || value.starts_with(' '));
            let (key, _) = key.filter(|(key, _)| is_word(key))?;
            keys += 1;
            if key == "contexts" {
                if start.replace(here).is_some() {
                    return None;
                }
            } else if start.is_some() && end == text.len() {
                end = here;
            }
        }
        begun = true;
        if keys == 0 || !is_closed(content) {
            return None;
        }
    }
    Some(start.map_or("", |start| &text[start..end]))
}

/// Whether it is the name of a key as kubectl writes them, which cannot be anything else.
fn is_word(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Whether what begins in a line ends there, but for what the indentation ends.
fn is_closed(content: &str) -> bool {
    let mut content = content;
    while let Some(rest) = content.strip_prefix("- ") {
        content = rest.trim_start_matches(' ');
    }
    // A key that is quoted, or no key at all, is looked at as a value is.
    [content, value(content)].into_iter().all(|text| ends(text.trim_matches(' ')))
}

/// What follows the key of a line.
fn value(content: &str) -> &str {
    let mut rest = content;
    while let Some((_, after)) = rest.split_once(':') {
        if after.starts_with(' ') {
            return after;
        }
        rest = after;
    }
    ""
}

/// Whether a value, or what begins a line, ends in it.
fn ends(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return true };
    match first {
        '"' | '\'' => {
            let quotes = text.matches(first).count();
            quotes == 2 && text.len() > 1 && text.ends_with(first) && !text.contains('\\')
        }
        '[' | '{' => {
            let count = |one: [char; 2]| text.matches(one).count();
            text.ends_with([']', '}'])
                && count(['[', '{']) == count([']', '}'])
                && !text.contains(['"', '\'', '#', '\\'])
        }
        // Anchors, aliases, tags, complex keys, and what no value begins with.
        '&' | '*' | '!' | '?' | '%' | '@' | '`' | ',' | ']' | '}' => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
