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
    /// Those of contexts that say something.
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
        return names;
    }
    let whole = document::read(Path::new(""), content).unwrap_or_default();
    let contexts = whole.contexts.into_iter().filter(|named| named.context.is_some());
    contexts.map(|named| named.name).collect()
}

/// Reads the names without the rest; `None` where only a reader of all can tell them.
fn quickly(text: &str) -> Option<Vec<String>> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).ok().map(Names::list);
    }
    let section = section(text)?;
    if section.is_empty() {
        return Some(Vec::new());
    }
    // For a reader of YAML thousands of contexts are many.
    if let Some(names) = plain_names(section) {
        return Some(names);
    }
    let options = serde_saphyr::options! { with_snippet: false, budget: yaml::budget() };
    serde_saphyr::from_str_with_options(section, options).ok().map(Names::list)
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

/// An item of `contexts:`.
#[derive(Default)]
struct Item<'a> {
    name: Option<&'a str>,
    /// Whether there is the key `context`, and whether it has a value.
    context: Option<bool>,
}

/// Reads the names out of a section in the form that kubectl writes; `None` for every other form.
fn plain_names(section: &str) -> Option<Vec<String>> {
    let mut lines = section.lines().filter(|line| {
        let content = line.trim_start_matches(' ');
        !content.is_empty() && !content.starts_with('#')
    });
    lines.next().filter(|line| *line == "contexts:")?;
    let mut items: Vec<Item<'_>> = Vec::new();
    // Where the dashes are, where the keys of the last item are, and its last key if that has its
    // value below it.
    let (mut dash, mut column, mut open) = (0, 0, None);
    for line in lines {
        let mut content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        let item = content.strip_prefix("- ").filter(|_| items.is_empty() || indent == dash);
        if let Some(rest) = item {
            content = rest.trim_start_matches(' ');
            (dash, column) = (indent, line.len() - content.len());
            items.push(Item::default());
        } else if items.is_empty() || indent < column {
            return None;
        } else if indent > column {
            // More of a value that began above is not looked at.
            if open? == "context" {
                items.last_mut()?.context = Some(true);
            }
            continue;
        }
        let item = items.last_mut()?;
        let (key, value) = content.split_once(':').filter(|(key, _)| is_word(key))?;
        if !value.is_empty() && !value.starts_with(' ') {
            return None;
        }
        let value = value.trim_matches(' ');
        match key {
            "name" if item.name.is_none() && is_plain(value) => item.name = Some(value),
            "context" if item.context.is_none() && (value.is_empty() || value.starts_with('{')) => {
                item.context = Some(!value.is_empty());
            }
            "name" | "context" => return None,
            _ => {}
        }
        open = value.is_empty().then_some(key);
    }
    let mut names = Vec::new();
    for Item { name, context } in items {
        let name = name?;
        if context == Some(true) {
            names.push(name.to_owned());
        }
    }
    Some(names)
}

/// Whether a value is text for every reader, and the whole of it is on its line: no number, no other
/// word for something, and nothing that means more than itself.
fn is_plain(value: &str) -> bool {
    const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let is_common = |c: char| c.is_ascii_alphanumeric() || "@/._:+=-".contains(c);
    // Numbers in any base, infinity aside, do without these.
    let is_letter = |c: char| matches!(c.to_ascii_lowercase(), 'g'..='z') && !"oxOX".contains(c);
    value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !value.ends_with(':')
        && value.chars().all(is_common)
        && (value.starts_with(|c: char| c.is_ascii_alphabetic()) || value.contains(is_letter))
        && !WORDS.iter().any(|word| value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
