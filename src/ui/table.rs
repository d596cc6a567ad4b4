//! Tables for people: no borders, headings in capitals, as kubectl prints them.

use std::fmt::Write as _;

use comfy_table::{Cell, ContentArrangement, Table, presets};

use super::program::as_called;

/// Lays out rows under headings, columns two spaces apart.
pub fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().map(Cell::new));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// How many columns of a terminal such a table takes.
pub(super) fn width(headings: &[&str], rows: &[Vec<String>]) -> usize {
    let widest = |(index, heading): (usize, &&str)| {
        let cells = rows.iter().filter_map(|row| row.get(index));
        cells.map(|cell| cell.chars().count()).fold(heading.chars().count(), usize::max)
    };
    let cells: usize = headings.iter().enumerate().map(widest).sum();
    cells + 2 * headings.len().saturating_sub(1)
}

/// Adds a sentence that goes with a table, and what to do about it.
pub(super) fn remark(text: &mut String, message: &str, hints: &[String]) {
    let _ = writeln!(text, "  {message}");
    for hint in hints {
        let _ = writeln!(text, "    hint: {}", as_called(hint));
    }
}
