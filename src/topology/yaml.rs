//! Reading a user's YAML file into a tree in which every key and value knows its place.
//!
//! Scalars become what kubectl's reader makes of them (`yes` is a boolean, `0644` is octal,
//! merge keys are applied); a key that is written twice is refused.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::budget::{Budget, BudgetBreach};
use serde_saphyr::{
    DuplicateKeyPolicy, Error as Saphyr, Location, MessageFormatter as _, Spanned,
    UserMessageFormatter,
};

use super::label::shortened;
use super::source::{Place, mask_credentials};

/// The largest file that is read, in bytes.
const MAX_BYTES: usize = 4 << 20;
/// The most values a file may have once its aliases are expanded.
const MAX_VALUES: usize = 250_000;
/// The deepest nesting of lists and mappings. The reader recurses, and without optimisation it takes
/// 40 kB of a thread's 2 MB for each level.
const MAX_DEPTH: usize = 32;
/// The most text of all values together once aliases are expanded, in bytes.
const MAX_TEXT: usize = 16 << 20;
/// The longest line of which an excerpt is of use, in bytes.
const MAX_EXCERPT: usize = 240;

/// How much a YAML file may ask for, whoever wrote it.
pub(crate) fn budget() -> Option<Budget> {
    serde_saphyr::budget! {
        max_depth: MAX_DEPTH,
        max_nodes: MAX_VALUES,
        max_total_scalar_bytes: MAX_TEXT,
        enforce_alias_anchor_ratio: false,
    }
}

/// Why a file is not YAML that this tool reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    /// The text breaks the rules of YAML, or uses a part of it that has no meaning here.
    #[error("{place}: {message}")]
    Syntax {
        /// Where the reader gave up.
        place: Place,
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<&'static str>,
    },
    /// One mapping has a key twice; readers of YAML disagree which of them counts.
    #[error("{place}: key `{}` is written twice{}, first in line {}", shortened(key), within(path), first.line)]
    Duplicate {
        /// The second one.
        place: Place,
        /// The first one.
        first: Place,
        /// The key.
        key: String,
        /// The keys that lead to the mapping, outermost first.
        path: Vec<String>,
    },
    /// The file is larger than any such file can reasonably be.
    #[error("{}: the file has {bytes} bytes, more than the {MAX_BYTES} that are read", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Its size in bytes.
        bytes: usize,
    },
}

fn within(path: &[String]) -> String {
    if path.is_empty() {
        return String::new();
    }
    let path: Vec<_> = path.iter().map(|key| shortened(key)).collect();
    format!(" in `{}`", path.join("."))
}

impl YamlError {
    /// Where the fault is.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Syntax { place, .. } | Self::Duplicate { place, .. } => Some(place),
            Self::TooLarge { .. } => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax { hint, .. } => hint.map(str::to_owned),
            Self::Duplicate { first, place, .. } => {
                Some(format!("keep one of the lines {} and {}", first.line, place.line))
            }
            Self::TooLarge { .. } => Some("is it the right file?".to_owned()),
        }
    }
}

/// The position of a key or value: where it is written, also when an alias repeats it elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) line: usize,
    pub(crate) column: usize,
    bytes: Option<(usize, usize)>,
}

impl From<Location> for Mark {
    fn from(at: Location) -> Self {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let span = at.span();
        Self {
            line: number(at.line()).max(1),
            column: number(at.column()).max(1),
            bytes: span
                .byte_offset()
                .zip(span.byte_len())
                .map(|(start, len)| (number(start), number(start.saturating_add(len)))),
        }
    }
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
}

/// What kubectl's reader makes of a value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) mark: Mark,
    pub(crate) node: Node,
}

impl Node {
    /// What the value is, in words.
    pub(crate) fn found(&self) -> &'static str {
        match self.value {
            Value::Null => "empty",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The entry of `key`, if this is a mapping that has it.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The value as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => value.clone().into(),
            Value::Text(value) => value.clone().into(),
            Value::List(nodes) => nodes.iter().map(Self::to_json).collect(),
            Value::Map(entries) => serde_json::Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect(),
            ),
        }
    }
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    file: &'t Path,
    text: &'t str,
    lines: Vec<&'t str>,
    pub(crate) root: Node,
}

impl<'t> Document<'t> {
    /// Reads `text`, the content of `file`. A file with nothing but comments has a `Null` root.
    pub(crate) fn read(text: &'t str, file: &'t Path) -> Result<Self, YamlError> {
        if text.len() > MAX_BYTES {
            return Err(YamlError::TooLarge { file: file.to_owned(), bytes: text.len() });
        }
        let options = serde_saphyr::options! {
            legacy_octal_numbers: true,
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            emit_comments: false,
            with_snippet: false,
            budget: budget(),
        };
        let node = serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options)
            .map_err(|fault| syntax(&fault, text, file))?;
        let document = Self { file, text, lines: text.lines().collect(), root: node.into() };
        document.refuse_duplicates(&document.root, &mut Vec::new())?;
        Ok(document)
    }

    /// The place of a mark of this document.
    pub(crate) fn place(&self, mark: Mark) -> Place {
        place(self.lines.get(mark.line - 1).copied(), self.file, mark)
    }

    /// How a value is spelled in the file.
    pub(crate) fn spelling(&self, node: &Node) -> &str {
        node.mark.bytes.and_then(|(start, end)| self.text.get(start..end)).unwrap_or_default()
    }

    fn refuse_duplicates(&self, node: &Node, path: &mut Vec<String>) -> Result<(), YamlError> {
        match &node.value {
            Value::List(nodes) => {
                nodes.iter().try_for_each(|node| self.refuse_duplicates(node, path))
            }
            Value::Map(entries) => {
                let mut seen = std::collections::HashMap::with_capacity(entries.len());
                for entry in entries {
                    if let Some(first) = seen.insert(entry.key.as_str(), entry.mark) {
                        return Err(YamlError::Duplicate {
                            place: self.place(entry.mark),
                            first: self.place(first),
                            key: entry.key.clone(),
                            path: path.clone(),
                        });
                    }
                }
                for entry in entries {
                    path.push(entry.key.clone());
                    self.refuse_duplicates(&entry.node, path)?;
                    path.pop();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn place(line: Option<&str>, file: &Path, mark: Mark) -> Place {
    let line = line.filter(|line| line.len() <= MAX_EXCERPT).unwrap_or_default();
    Place {
        file: file.to_owned(),
        line: mark.line,
        column: mark.column,
        text: mask_credentials(line.trim_start_matches('\u{feff}')),
    }
}

/// Whether the fault is depth: the reader counts it, and so does its scanner, which is ahead of it.
pub(crate) fn nested_too_deep(fault: &Saphyr) -> bool {
    matches!(fault, Saphyr::Budget { breach: BudgetBreach::Depth { .. }, .. })
        || UserMessageFormatter.format_message(fault).contains("recursion limit exceeded")
}

/// Says in our words what the reader did not like.
fn syntax(fault: &Saphyr, text: &str, file: &Path) -> YamlError {
    let mut mark = fault.location().map_or(Mark { line: 1, column: 1, bytes: None }, Mark::from);
    let mut cause = fault.without_snippet();
    while let Saphyr::AliasError { error, .. } = cause {
        cause = error.without_snippet();
    }
    let (message, hint) = match cause {
        Saphyr::MultipleDocuments { .. } => (
            "a second YAML document starts here, the file must hold one".to_owned(),
            Some("take out the `---` line and what does not belong to this file"),
        ),
        other if nested_too_deep(other) => {
            (format!("lists and mappings are nested more than {MAX_DEPTH} deep here"), None)
        }
        Saphyr::Budget { .. }
        | Saphyr::AliasReplayLimitExceeded { .. }
        | Saphyr::AliasExpansionLimitExceeded { .. }
        | Saphyr::AliasReplayStackDepthExceeded { .. }
        | Saphyr::AliasReplayCounterOverflow { .. } => (
            format!("the file is too large: it expands to more than {MAX_VALUES} values"),
            Some("look for aliases (`*name`) that repeat each other"),
        ),
        Saphyr::UnknownAnchor { .. } => (
            "this alias refers to an anchor that is not in the file".to_owned(),
            Some("a value that starts with `*` must be in quotes"),
        ),
        Saphyr::RecursiveReferencesRequireWeakTypes { .. } => {
            ("this alias contains itself".to_owned(), None)
        }
        Saphyr::NullIntoString { .. } => {
            ("a key must be text, this one is empty".to_owned(), Some("write the key in quotes"))
        }
        Saphyr::Unexpected { expected, .. } if expected.contains("string") => {
            ("a key must be text".to_owned(), Some("write the key in quotes"))
        }
        Saphyr::NonFiniteFloat { value, .. } => (
            format!("`{}` is a number without a finite value", shortened(value)),
            Some("write it in quotes if it is meant as text"),
        ),
        other => {
            let message = UserMessageFormatter.format_message(other);
            let lines = if message.contains("tab") { usize::MAX } else { 1 };
            match tab(text, mark.line - 1, lines) {
                Some(tab) => {
                    mark = tab;
                    (
                        "a tab character is used to indent".to_owned(),
                        Some("YAML is indented with spaces: replace the tab"),
                    )
                }
                None => reworded(&message),
            }
        }
    };
    YamlError::Syntax { place: place(text.lines().nth(mark.line - 1), file, mark), message, hint }
}

/// The first tab that indents one of `lines` lines after the first `skipped`.
fn tab(text: &str, skipped: usize, lines: usize) -> Option<Mark> {
    text.lines().enumerate().skip(skipped).take(lines).find_map(|(at, line)| {
        let indent = line.chars().take_while(|c| c.is_whitespace()).position(|c| c == '\t')?;
        Some(Mark { line: at + 1, column: indent + 1, bytes: None })
    })
}

/// The reader's own message in the style of this tool, with a hint for the usual mistakes.
fn reworded(message: &str) -> (String, Option<&'static str>) {
    let hint = if message.contains("mapping values are not allowed") {
        Some("check the indentation, and write a value that contains `: ` in quotes")
    } else if message.contains("simple key expected") {
        Some("every key needs a colon: `key: value`")
    } else if message.contains("did not find expected key") {
        Some("keys of one mapping must start in the same column")
    } else if message.contains("unclosed quote") {
        Some("close the quote")
    } else if message.contains("unclosed bracket") || message.contains("flow mapping") {
        Some("close the bracket or brace")
    } else if message.contains("unexpected character") {
        Some("write the value in quotes")
    } else {
        None
    };
    let clean = |c: char| match c {
        '\n' | '\r' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    let message: String = message.chars().map(clean).take(MAX_EXCERPT).collect();
    (format!("invalid YAML: {message}"), hint)
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { mark: spanned.defined.into(), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = access.next_element::<Spanned<Value>>()? {
            nodes.push(node.into());
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, node)) = access.next_entry::<Spanned<String>, Spanned<Value>>()? {
            entries.push(Entry { mark: key.defined.into(), key: key.value, node: node.into() });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests;
