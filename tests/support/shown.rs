//! Commands that are shown to users, as words.

use regex::Regex;

/// The commands in a text that begin with these words: up to the backtick, quote or parenthesis that
/// ends them where one is before them, else to the end of the line.
pub(crate) fn commands(text: &str, program: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.contains(program) {
        return found;
    }
    let variables = Regex::new(r"(?:[A-Z_]+=\S+ )+$").unwrap();
    for (start, _) in text.match_indices(program) {
        let before = &text[..start];
        // Variables may stand before it.
        let before = variables.replace(before, "");
        let rest = &text[start..];
        let end = if before.ends_with('`') {
            rest.find('`').unwrap_or_else(|| panic!("a backtick is not closed: {text}"))
        } else if let Some(close) =
            [("<(", ')'), ("'", '\'')].iter().find(|it| before.ends_with(it.0))
        {
            rest.find(close.1).unwrap()
        } else {
            rest.find('\n').unwrap_or(rest.len())
        };
        found.push(rest[..end].to_owned());
    }
    found
}

/// The words of a command as a shell takes them, without what its output is piped to. What a user has
/// to fill in, as in `<mesh id>`, is a word.
pub(crate) fn words(command: &str) -> Vec<String> {
    let named = Regex::new(r"<[a-zA-Z][^<>]*>").unwrap().replace_all(command, "filled-in");
    let words = shlex::split(&named).unwrap_or_else(|| panic!("no shell takes `{command}`"));
    let operators = ["|", ">", ">>", "&&", ";"];
    words.into_iter().take_while(|word| !operators.contains(&word.as_str())).collect()
}

/// Fails unless the tool takes this command, which begins with `kubectl multimesh` or
/// `kubectl-multimesh`.
#[track_caller]
pub(crate) fn assert_ours(command: &str, place: &str) {
    // Whatever may follow there.
    let command = command.split("<TAB>").next().unwrap_or(command);
    let command = command.replacen("kubectl multimesh", "kubectl-multimesh", 1);
    let words = words(&command);
    if words.len() == 1 {
        return;
    }
    if let Err(error) = multimesh::cli::command().try_get_matches_from(&words) {
        let told = clap::error::ErrorKind::DisplayHelp;
        assert_eq!(error.kind(), told, "{place}: `{command}` is no command: {error}");
    }
}
