//! The table in docs/performance.md, between two marks.

use std::fs;

use crate::say::{root, say};

const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";

/// Replaces the table.
pub(super) fn write(table: &str) -> Result<(), String> {
    let path = root().join("docs/performance.md");
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let page = fs::read_to_string(&path).map_err(|e| at(&e))?;
    let page = replaced(&page, table).ok_or_else(|| at(&format!("it lacks {BEGIN} or {END}")))?;
    fs::write(&path, page).map_err(|e| at(&e))?;
    say(&format!("written: {}", path.display()));
    Ok(())
}

fn replaced(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", table.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_table_changes() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let page = replaced(&page, "new\n").expect("marks");
        assert_eq!(page, format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert_eq!(replaced(&page, "new"), Some(page));
        assert_eq!(replaced("a", "new"), None);
    }
}
