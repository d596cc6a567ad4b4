//! Lists of things in running text, on lines that fit a terminal.

use crate::plan::object::Key;

/// Columns of a terminal that nobody made wider.
const COLUMNS: usize = 80;
/// Things of a list that are named before the rest is counted.
pub(super) const NAMED: usize = 8;

/// Appends a line that begins with `head` and goes on with the pieces, a space between them. Where
/// it would become too long it is broken between pieces, and goes on after `indent` spaces.
pub(super) fn flow<S: AsRef<str>>(
    text: &mut String,
    head: &str,
    indent: usize,
    pieces: impl IntoIterator<Item = S>,
) {
    let mut line = head.to_owned();
    let mut fresh = head.trim().is_empty();
    for piece in pieces {
        let piece = piece.as_ref();
        if !fresh && width(&line) + 1 + width(piece) > COLUMNS {
            text.push_str(&line);
            text.push('\n');
            line = " ".repeat(indent);
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        line.push_str(piece);
        fresh = false;
    }
    text.push_str(&line);
    text.push('\n');
}

/// Columns that a text takes, colours aside.
fn width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}

/// A comma after each thing but the last.
pub(super) fn commas(mut things: Vec<String>) -> Vec<String> {
    let separated = things.len().saturating_sub(1);
    for thing in &mut things[..separated] {
        thing.push(',');
    }
    things
}

/// The first things, separated by commas, and how many more there are.
pub(super) fn first(things: Vec<String>, named: usize) -> Vec<String> {
    let more = things.len().saturating_sub(named);
    let mut shown = commas(things.into_iter().take(named).collect());
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown
}

/// How many there are of each kind, in the order of their first one.
pub(super) fn by_kind<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Vec<String> {
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    for key in keys {
        match kinds.iter_mut().find(|(kind, _)| *kind == key.kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((&key.kind, 1)),
        }
    }
    kinds.into_iter().map(|(kind, n)| format!("{n} {}", plural(kind, n))).collect()
}

fn plural(kind: &str, n: usize) -> String {
    match kind.strip_suffix('y') {
        _ if n == 1 => kind.to_owned(),
        Some(stem) if !kind.ends_with("ay") => format!("{stem}ies"),
        _ if kind.ends_with('s') => format!("{kind}es"),
        _ => format!("{kind}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Tone;

    #[test]
    fn kinds_have_their_plurals() {
        let plurals = ["Gateway", "NetworkPolicy", "IngressClass", "Role"].map(|k| plural(k, 2));
        assert_eq!(plurals, ["Gateways", "NetworkPolicies", "IngressClasses", "Roles"]);
        assert_eq!(plural("NetworkPolicy", 1), "NetworkPolicy");
    }

    #[test]
    fn lines_break_between_pieces_and_colours_take_no_room() {
        let mut text = String::new();
        flow(&mut text, "  head:", 4, std::iter::repeat_n(Tone::Bad.paint("0123456789"), 8));
        let plain = anstream::adapter::strip_str(&text).to_string();
        let piece = " 0123456789";
        assert_eq!(plain, format!("  head:{}\n   {}\n", piece.repeat(6), piece.repeat(2)));
    }

    #[test]
    fn what_does_not_fit_stands_alone_on_its_line() {
        let long = "x".repeat(100);
        let mut text = String::new();
        flow(&mut text, "", 2, [long.as_str(), "y"]);
        assert_eq!(text, format!("{long}\n  y\n"));
    }

    #[test]
    fn a_long_list_is_shortened() {
        let things = |n: usize| (1..=n).map(|i| i.to_string()).collect::<Vec<_>>();
        assert_eq!(first(things(3), 3), ["1,", "2,", "3"]);
        assert_eq!(first(things(5), 3), ["1,", "2,", "3", "and 2 more"]);
        assert!(first(Vec::new(), 3).is_empty());
    }
}
