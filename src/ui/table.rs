//! Tables for people: no borders, headings in capitals, as kubectl prints them.

use std::fmt::Write as _;

use comfy_table::{Cell, ContentArrangement, Table, presets};

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

/// Adds a sentence that goes with a table, and what to do about it.
pub(super) fn remark(text: &mut String, message: &str, hints: &[String]) {
    let _ = writeln!(text, "  {message}");
    for hint in hints {
        let _ = writeln!(text, "    hint: {hint}");
    }
}
