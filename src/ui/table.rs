//! Tables for people: no borders, headings in capitals, as kubectl prints them.

use std::borrow::Cow;
use std::collections::BTreeSet;
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

/// The end of a name, which tells more than its beginning, in that many columns.
pub(super) fn last_columns(name: &str, columns: usize) -> Cow<'_, str> {
    let surplus = (name.chars().count() + 1).saturating_sub(columns);
    if surplus <= 1 {
        return name.into();
    }
    let end: String = name.chars().skip(surplus).collect();
    format!("\u{2026}{end}").into()
}

/// Shortens the cells of a column so that the table fits, as long as they can be told apart.
pub(super) fn shorten(headings: &[&str], rows: &mut [Vec<String>], heading: &str, columns: usize) {
    /// Less does not tell one name from another.
    const LEAST: usize = 16;
    let surplus = width(headings, rows).saturating_sub(columns);
    let Some(index) = headings.iter().position(|it| *it == heading) else { return };
    let longest = rows.iter().map(|row| row[index].chars().count()).max().unwrap_or_default();
    let most = longest.saturating_sub(surplus).max(LEAST);
    let short: Vec<String> =
        rows.iter().map(|row| last_columns(&row[index], most).into_owned()).collect();
    let apart = |names: &mut dyn Iterator<Item = &String>| names.collect::<BTreeSet<_>>().len();
    if surplus > 0 && apart(&mut short.iter()) == apart(&mut rows.iter().map(|row| &row[index])) {
        for (row, short) in rows.iter_mut().zip(short) {
            row[index] = short;
        }
    }
}

/// Adds a sentence that goes with a table, and what to do about it.
pub(super) fn remark(text: &mut String, message: &str, hints: &[String]) {
    let _ = writeln!(text, "  {message}");
    for hint in hints {
        let _ = writeln!(text, "    hint: {}", as_called(hint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_give_way_from_the_left_as_long_as_they_differ() {
        let rows =
            |names: [&str; 2]| names.map(|it| vec![it.to_owned(), "1/1".to_owned()]).to_vec();
        let headings = ["CONTEXT", "ISTIOD"];
        let mut apart = rows([
            "arn:aws:eks:eu-central-1:123456789012:cluster/production-east",
            "gke_example-production_europe-west1-b_west",
        ]);
        shorten(&headings, &mut apart, "CONTEXT", 40);
        assert_eq!(width(&headings, &apart), 40);
        assert!(apart[0][0].starts_with('\u{2026}') && apart[0][0].ends_with("/production-east"));
        let mut alike =
            rows(["east-of-something-very-long-indeed", "west-of-something-very-long-indeed"]);
        let before = alike.clone();
        shorten(&headings, &mut alike, "CONTEXT", 30);
        assert_eq!(alike, before);
        assert_eq!(last_columns("short", 16), "short");
    }
}
