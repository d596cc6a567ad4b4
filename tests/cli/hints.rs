//! Every command that the tool shows exists: in its hints, which are read from its source, and in the
//! documents.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use regex::{Captures, Regex};

use super::shown::{assert_ours, commands, words};
use super::verbs::{ISTIOCTL, KUBECTL};

/// Flags as they stand where a text has a gap for them: right after a word.
const OUR_FLAGS: &str = " --dir 'a b' -f c.yaml --kubeconfig d --contexts '^e f' --istioctl g";
const KUBECTL_FLAGS: &str = " --kubeconfig 'a b' --context 'c d'";

/// A string of the source.
struct Text {
    file: String,
    value: String,
}

/// All strings of the source, apart from tests and comments.
fn source() -> Vec<Text> {
    let mut texts = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in files(&root.join("src"), "rs") {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if name.contains("/tests/") || name.ends_with("/tests.rs") {
            continue;
        }
        let tokens: TokenStream = fs::read_to_string(&path).unwrap().parse().unwrap();
        let mut values = Vec::new();
        strings(tokens, &mut values);
        texts.extend(values.into_iter().map(|value| Text { file: name.clone(), value }));
    }
    assert!(texts.len() > 1000, "only {} strings were found", texts.len());
    texts
}

fn strings(tokens: TokenStream, found: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is = |index: usize, word: &str| {
        tokens.get(index).is_some_and(|it| matches!(it, TokenTree::Ident(it) if it == word))
    };
    let mut index = 0;
    while index < tokens.len() {
        let after = index.checked_sub(1).and_then(|before| tokens.get(before));
        let attribute = after.is_some_and(
            |it| matches!(it, TokenTree::Punct(it) if ['#', '!'].contains(&it.as_char())),
        );
        match &tokens[index] {
            TokenTree::Ident(_) if is(index, "mod") && is(index + 1, "tests") => index += 2,
            TokenTree::Group(group) => {
                let is_doc = attribute
                    && matches!(group.stream().into_iter().next(),
                                Some(TokenTree::Ident(it)) if it == "doc");
                if !is_doc {
                    strings(group.stream(), found);
                }
            }
            TokenTree::Literal(literal) => {
                let text = syn::parse_str::<syn::LitStr>(&literal.to_string());
                found.extend(text.ok().map(|text| text.value()));
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
        index += 1;
    }
}

fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.extension().is_some_and(|it| it == end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A command with its gaps filled: with flags where one follows a word, with nothing where it follows
/// a gap, else with a word.
fn filled(command: &str, flags: &str) -> String {
    let gap = Regex::new(r"(.?)\{[A-Za-z_0-9.]*(?::[^{}]*)?\}").unwrap();
    let fill = |it: &Captures<'_>| match &it[1] {
        "" => String::new(),
        before @ (" " | "=" | "/" | "'") => format!("{before}word"),
        before => format!("{before}{flags}"),
    };
    gap.replace_all(command, fill).into_owned()
}

#[test]
fn hints_name_commands_of_the_tool_that_exist() {
    /// In prose, and in the names of the program.
    const PROSE: [&str; 2] =
        ["Rendered by kubectl multimesh for the mesh {mesh_id}", "kubectl multimesh"];
    /// What may stand in a gap `command`: the runs that wait for others.
    const RUNS: [&str; 2] = ["apply", "teardown"];
    let mut found = 0;
    for Text { file, value } in source() {
        if PROSE.iter().any(|prose| value == *prose || value.starts_with(&format!("{prose}:"))) {
            continue;
        }
        for command in commands(&value, "kubectl multimesh") {
            for run in RUNS {
                let command = command.replace("{command}", run);
                assert_ours(&filled(&command, OUR_FLAGS), &file);
            }
            found += 1;
        }
    }
    assert!(found > 50, "only {found} commands were found");
}

#[test]
fn hints_keep_the_flags_by_which_the_user_named_the_mesh() {
    // They are no part of the user's mesh.
    let verb = Regex::new(r"^kubectl multimesh (completion|man)\b").unwrap();
    let gap = Regex::new(r"[^ ]\{[a-z_]*\}").unwrap();
    let examples = help(multimesh::cli::command());
    for Text { file, value } in source() {
        let hints = ["src/engine/", "src/cli/"].iter().any(|room| file.starts_with(room));
        if !hints || examples.contains(&format!("\n  {value}\n")) {
            continue;
        }
        for command in commands(&value, "kubectl multimesh ") {
            let exempt = verb.is_match(&command) || command.contains("<TAB>");
            assert!(exempt || gap.is_match(&command), "{file}: `{command}` loses the user's flags");
        }
    }
}

/// The help of a command and of all below it.
fn help(mut command: clap::Command) -> String {
    let below: Vec<_> = command.get_subcommands().cloned().collect();
    command.render_help().to_string() + &below.into_iter().map(help).collect::<String>()
}

#[test]
fn hints_name_commands_of_kubectl_and_istioctl_that_exist() {
    let mut found = 0;
    let texts = source();
    for (program, verbs) in [("kubectl", KUBECTL), ("istioctl", ISTIOCTL)] {
        let shown = Regex::new(&format!(r"`(?:[A-Z_]+=\S+ )?({program}([ {{][^`]*))`")).unwrap();
        let shown = texts
            .iter()
            .flat_map(|it| shown.captures_iter(&it.value).map(|found| (&it.file, found)));
        for (file, it) in shown {
            let (command, rest) = (&it[1], &it[2]);
            if rest.starts_with(" multimesh") {
                continue;
            }
            let place = format!("{file}: `{command}`");
            check(&filled(command, KUBECTL_FLAGS), verbs, &place);
            // What asks a cluster, or the kubeconfig, asks that of the user.
            let local = [" completion", " --kubeconfig {}", " manifest generate"];
            let local = local.iter().any(|start| rest.starts_with(start));
            assert!(local || rest.contains('{'), "{place} loses the user's flags");
            assert!(!rest.contains("--context {"), "{place}: `same_cluster` gives this flag");
            found += 1;
        }
    }
    assert!(found > 30, "only {found} commands were found");
}

/// Fails unless the program knows the verb and its flags.
#[track_caller]
fn check(command: &str, verbs: &[(&str, &[&str])], place: &str) {
    const VALUED: [&str; 4] = ["--kubeconfig", "--context", "-n", "-o"];
    let words = words(command);
    let mut plain = Vec::new();
    let mut flags = Vec::new();
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        match word.split_once('=').map_or(word.as_str(), |(name, _)| name) {
            name if VALUED.contains(&name) => {
                flags.push(name);
                if !word.contains('=') {
                    rest.next();
                }
            }
            name if name.starts_with('-') => flags.push(name),
            name => plain.push(name),
        }
    }
    let line = plain.join(" ");
    let is_it = |verb: &str| line == verb || line.starts_with(&format!("{verb} "));
    let known = verbs.iter().find(|(verb, _)| is_it(verb));
    let (_, known) = known.unwrap_or_else(|| panic!("{place}: no such verb"));
    for flag in flags {
        let global = ["--kubeconfig", "--context", "-n"].contains(&flag);
        assert!(global || known.contains(&flag), "{place}: no such flag `{flag}`");
    }
}

#[test]
fn flags_that_hints_name_exist() {
    let mut known = BTreeSet::new();
    let mut left = vec![multimesh::cli::command()];
    while let Some(command) = left.pop() {
        for flag in command.get_arguments() {
            known.extend(
                flag.get_long_and_visible_aliases()
                    .into_iter()
                    .flatten()
                    .map(|it| format!("--{it}")),
            );
            known.extend(flag.get_short().map(|it| format!("-{it}")));
        }
        left.extend(command.get_subcommands().cloned());
    }
    let flag = Regex::new(r"`(--?[a-z][a-z-]*)").unwrap();
    let mut found = 0;
    for Text { file, value } in source() {
        for it in flag.captures_iter(&value) {
            assert!(known.contains(&it[1]), "{file}: there is no flag `{}`: {value}", &it[1]);
            found += 1;
        }
    }
    assert!(found > 15, "only {found} flags were found");
}

#[test]
fn documents_name_commands_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = files(&root.join("docs"), "md");
    documents.extend(
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|it| root.join(it)),
    );
    documents.push(root.join("krew/README.md"));
    let mut found = 0;
    let code = Regex::new(r"`((?:kubectl multimesh|kubectl-multimesh) [^`]*)`").unwrap();
    for path in documents {
        let place = path.display().to_string();
        let mut in_code = false;
        for line in fs::read_to_string(&path).unwrap().lines() {
            in_code ^= line.trim_start().starts_with("```");
            let mut shown = Vec::new();
            if in_code {
                shown.extend(commands(line, "kubectl multimesh "));
                let typed = line.trim_start_matches("$ ").starts_with("kubectl-multimesh ");
                shown.extend(typed.then(|| line.trim_start_matches("$ ").to_owned()));
            } else {
                // Those that a line of prose breaks in two are left out.
                shown.extend(code.captures_iter(line).map(|it| it[1].to_owned()));
            }
            for command in shown {
                assert_ours(&filled(&command, OUR_FLAGS), &place);
                found += 1;
            }
        }
    }
    assert!(found > 15, "only {found} commands were found");
}
