//! What changes in an object, as a unified diff of its YAML.

use std::fmt;

use serde_json::Value;
use similar::udiff::UnifiedHunkHeader;
use similar::{ChangeTag, DiffOp, TextDiff};

use super::noise;
use super::object::{DIGEST, annotation};
use super::outline::{Changes, ObjectChange, Verb};
use super::overlay::{is_answer, overlay};
use super::redact::Redactor;
use super::text;

/// Lines around a change that are shown with it, as `diff -u` does.
const CONTEXT: usize = 3;
/// Lines from which on an object that comes or goes is not worth reading.
const LONG: usize = 300;
/// The kind that is folded whatever its length, as it comes with Istio and is never written by hand.
const DEFINITION: &str = "CustomResourceDefinition";

/// How much of objects that come or go is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A line in place of long ones, as custom resource definitions are.
    Folded,
    /// All of it.
    Whole,
}

/// What changes in an object. No value of a Secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diff {
    /// Lines of a unified diff, hunks among them, without the names of files.
    Lines(Vec<String>),
    /// So many lines come or go; none where they were not read.
    Folded(Option<usize>),
    /// Nothing but the record of what was applied.
    Record,
    /// Nothing that people would look at.
    Nothing,
    /// Its content is made only when it is applied.
    Pending,
}

/// The differences between an object as it is and as it would be, among the changes of its cluster.
pub fn diff(changes: &Changes, change: &ObjectChange, extent: Extent) -> Diff {
    if changes.is_pending(change) { Diff::Pending } else { compare(change, extent) }
}

fn compare(change: &ObjectChange, extent: Extent) -> Diff {
    let redactor = Redactor::of(change);
    let yaml = |object: &Value| yaml(redactor.object(object));
    match (&change.before, &change.after) {
        (Some(before), _) if is_unread(change, before) => Diff::Folded(None),
        (Some(before), Some(after)) => {
            let old = yaml(before);
            let new = if is_answer(after) { yaml(after) } else { yaml(&overlay(after, before)) };
            if old != new {
                Diff::Lines(hunks(&old, &new))
            } else if annotation(before, DIGEST) == annotation(after, DIGEST) {
                Diff::Nothing
            } else {
                Diff::Record
            }
        }
        (None, Some(after)) => whole(change, '+', &yaml(after), extent),
        (Some(before), None) if change.verb == Verb::Prune => {
            whole(change, '-', &yaml(before), extent)
        }
        (_, None) => Diff::Pending,
    }
}

/// Whether an object is known by its metadata alone, as definitions are.
fn is_unread(change: &ObjectChange, before: &Value) -> bool {
    change.key.kind == DEFINITION && before.get("spec").is_none()
}

/// All lines of an object that comes or goes.
fn whole(change: &ObjectChange, sign: char, yaml: &str, extent: Extent) -> Diff {
    let lines = yaml.lines().count();
    let is_long = lines > LONG || change.key.kind == DEFINITION;
    if extent == Extent::Folded && is_long {
        return Diff::Folded(Some(lines));
    }
    Diff::Lines(yaml.lines().map(|line| format!("{sign}{line}")).collect())
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lines(lines) => f.write_str(&lines.join("\n")),
            Self::Folded(Some(lines)) => write!(f, "{lines} lines, not shown"),
            Self::Folded(None) => f.write_str("not shown"),
            Self::Record => {
                write!(f, "only the record of what was applied changes (annotation `{DIGEST}`)")
            }
            Self::Nothing => f.write_str("no field changes"),
            Self::Pending => f.write_str("its content is made by the apply"),
        }
    }
}

/// An object as people read it: no noise, and what names it first.
fn yaml(mut object: Value) -> String {
    noise::strip(&mut object);
    text::yaml(&object)
}

/// The hunks of a unified diff; each is headed by the field that it is in, as git names functions.
fn hunks(old: &str, new: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(old, new);
    let mut lines = Vec::new();
    for ops in diff.grouped_ops(CONTEXT) {
        lines.push(
            format!("{} {}", UnifiedHunkHeader::new(&ops), place(old, new, &ops))
                .trim_end()
                .to_owned(),
        );
        for change in ops.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            lines.push(format!("{sign}{}", change.value().trim_end_matches('\n')));
        }
    }
    lines
}

/// The field above the first change of a hunk.
fn place(old: &str, new: &str, ops: &[DiffOp]) -> String {
    let Some(op) = ops.iter().find(|op| !matches!(op, DiffOp::Equal { .. })) else {
        return String::new();
    };
    if op.new_range().is_empty() {
        path(old, op.old_range().start)
    } else {
        path(new, op.new_range().start)
    }
}

/// The names of the fields around a line of YAML in block style.
fn path(yaml: &str, line: usize) -> String {
    let lines: Vec<&str> = yaml.lines().take(line + 1).collect();
    let Some((last, above)) = lines.split_last() else { return String::new() };
    let mut names: Vec<&str> = Vec::new();
    let mut depth = Indent::of(last).outer();
    for line in above.iter().rev().filter(|line| !line.trim().is_empty()) {
        let indent = Indent::of(line);
        if indent.name < depth {
            names.extend(line[indent.name..].split_once(':').map(|(name, _)| name));
            depth = indent.outer();
        } else if indent.name == depth && indent.dash < indent.name {
            // The first field of the same item of a list.
            depth = indent.outer();
        }
    }
    names.reverse();
    names.join(".")
}

/// Where a line of YAML begins.
struct Indent {
    /// The column of its first dash, or of its name where it has no dash.
    dash: usize,
    /// The column of its name.
    name: usize,
}

impl Indent {
    fn of(line: &str) -> Self {
        let dash = line.len() - line.trim_start().len();
        let mut name = dash;
        while line[name..].starts_with("- ") {
            name += 2;
        }
        Self { dash, name }
    }

    /// The column that names around it stay left of. A list is no deeper than the field that
    /// holds it.
    fn outer(&self) -> usize {
        if self.dash < self.name { self.dash + 1 } else { self.name }
    }
}

#[cfg(test)]
mod tests;
