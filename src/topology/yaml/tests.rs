use super::*;

fn read(text: &str) -> Result<Document<'_>, YamlError> {
    Document::read(text, Path::new("f.yaml"))
}

fn fault(text: &str) -> (usize, usize, String, Option<String>) {
    let fault = read(text).unwrap_err();
    let place = fault.place().unwrap();
    (place.line, place.column, fault.to_string(), fault.hint())
}

fn mark_of<'d>(document: &'d Document<'_>, path: &[&str]) -> &'d Entry {
    let mut node = &document.root;
    let mut found = None;
    for key in path {
        let entry = node.entry(key).unwrap();
        node = &entry.node;
        found = Some(entry);
    }
    found.unwrap()
}

#[test]
fn scalars_are_what_kubectl_makes_of_them() {
    let document =
        read("a: yes\nb: 0644\nc: 'yes'\nd: off\ne: ~\nf: 1.5\ng: -3\nh: 1e3\n").unwrap();
    assert_eq!(
        document.root.to_json(),
        serde_json::json!({"a": true, "b": 420, "c": "yes", "d": false, "e": null,
                           "f": 1.5, "g": -3, "h": 1000.0})
    );
    assert_eq!(document.spelling(&mark_of(&document, &["a"]).node), "yes");
    assert_eq!(document.spelling(&mark_of(&document, &["c"]).node), "'yes'");
}

#[test]
fn places_survive_comments_flow_style_byte_order_mark_crlf_and_anchors() {
    let document = read("\u{feff}# é\r\na: {b: 1, c: {d: 2}}\r\n").unwrap();
    let entry = mark_of(&document, &["a", "c", "d"]);
    let place = document.place(entry.mark);
    assert_eq!((place.line, place.column), (2, 15));
    assert_eq!(place.text, "a: {b: 1, c: {d: 2}}");

    let document = read("x: &x\n  # c\n  p: 1\ny: *x\nz:\n  <<: *x\n  q: 2\n").unwrap();
    for path in [["y", "p"], ["z", "p"]] {
        assert_eq!(mark_of(&document, &path).mark.line, 3, "{path:?}");
    }
    assert_eq!(mark_of(&document, &["z", "q"]).mark.line, 7);
}

#[test]
fn a_key_written_twice_is_refused_with_both_lines() {
    let (line, column, text, hint) = fault("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n");
    assert_eq!((line, column), (5, 3));
    assert_eq!(text, "f.yaml:5:3: key `c` is written twice in `b`, first in line 3");
    assert_eq!(hint.as_deref(), Some("keep one of the lines 3 and 5"));
    assert_eq!(fault("a: 1\na: 2\n").2, "f.yaml:2:1: key `a` is written twice, first in line 1");
    assert!(read("a: &a {p: 1}\nb: {<<: *a, p: 2}\n").is_ok(), "an override is no duplicate");
}

#[test]
fn a_key_is_shown_short_and_without_what_a_terminal_acts_upon() {
    let key = format!("\\e[31m{}", "x".repeat(900));
    let text = fault(&format!("\"{key}\":\n  \"{key}\": 1\n  \"{key}\": 2\n")).2;
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.chars().count() < 250, "{text}");
}

#[test]
fn syntax_faults_are_told_in_our_words() {
    let (line, column, text, hint) = fault("a: 1\n  \tb: 1\n");
    assert_eq!((line, column), (2, 3));
    assert!(text.contains("a tab character is used to indent"), "{text}");
    assert!(hint.unwrap().contains("spaces"));
    assert!(fault("a: 1\n---\nb: 2\n").2.contains("second YAML document"));
    assert!(fault("a: *b\n").2.contains("anchor that is not in the file"));
    assert!(fault("a: &x [*x]\n").2.contains("contains itself"));
    assert!(fault("~: 1\n").2.contains("a key must be text"));
    assert!(fault("[a]: 1\n").2.contains("a key must be text"));
    assert!(fault("a: .nan\n").2.contains("finite"));
    assert!(fault("a: b: c\n").2.starts_with("f.yaml:1:5: invalid YAML: mapping values"));
}

#[test]
fn aliases_cannot_blow_up() {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for n in 1..9 {
        let previous = format!("*a{}, ", n - 1).repeat(10);
        text.extend([format!("a{n}: &a{n} [{previous}]\n")]);
    }
    assert!(fault(&text).2.contains("too large"));
    for depth in [33, 200, 10_000] {
        let deep = format!("a: {}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(fault(&deep).2.contains("nested more than 32 deep"), "{depth}");
    }
    let huge = "#".repeat(MAX_BYTES + 1);
    assert!(matches!(read(&huge), Err(YamlError::TooLarge { .. })));
    let shared = format!(
        "d: &d {{n: 1}}\nc:\n{}",
        (0..2000).map(|n| format!("  c{n}: {{<<: *d}}\n")).collect::<Vec<_>>().concat()
    );
    assert!(read(&shared).is_ok(), "one anchor for many contexts is a good use");
}

#[test]
fn a_file_without_values_is_null() {
    for text in ["", "# only\n", "---\n"] {
        assert!(matches!(read(text).unwrap().root.value, Value::Null), "{text:?}");
    }
}

#[test]
fn a_file_on_one_line_has_places_but_no_excerpt() {
    let contexts: Vec<_> = (0..2000).map(|n| format!("c{n}: {{network: net}}")).collect();
    let text = format!("{{mesh_id: m, contexts: {{{}}}}}", contexts.join(", "));
    let topology = crate::topology::parse(&text, Path::new("f.yaml")).unwrap();
    let last = &topology.members[1999].place;
    assert_eq!((last.line, last.text.as_str()), (1, ""));
    assert_eq!(text[last.column - 1..].find("c1999"), Some(0));
}
