//! Labels of invariants, and ids of guarantees.
//!
//! A label is the name of a module and a number, `RING-2`. It is defined where a comment begins with it and a full stop:
//! `//! RING-2. Positions are taken in order.` An id of a guarantee is a letter and a number, `K4`; it is defined by the
//! row of `docs/GUARANTEES.md` that begins with it.

use std::collections::BTreeMap;

/// Words that look like a label.
const NO_LABELS: [&str; 3] = ["UTF-8", "SHA-256", "RFC-1"];

/// A citation or a definition: the label, and where it is.
type Found = Vec<(String, String)>;

/// The labels and ids of `text` that stand by themselves.
fn labels_in(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.split(move |c| !is_part(c)).filter(|word| {
        let (name, number) = match word.split_once('-') {
            Some((name, number)) => (name.len() > 1).then_some((name, number)),
            None => word.split_at_checked(1),
        }
        .unwrap_or_default();
        !name.is_empty()
            && name.bytes().all(|c| c.is_ascii_uppercase())
            && (1..=2).contains(&number.len())
            && number.bytes().all(|c| c.is_ascii_digit())
            && !NO_LABELS.contains(word)
    })
}

/// The text of a line's comment.
fn comment_of(line: &str) -> Option<&str> {
    let (_, comment) = line.split_once("//")?;
    Some(comment.trim_start_matches(['/', '!']).trim_start())
}

/// What one file defines and cites.
fn read(path: &str, text: &str) -> (Found, Found) {
    let (mut defined, mut cited) = (Vec::new(), Vec::new());
    let is_document = path
        .rsplit_once('.')
        .is_some_and(|(_, extension)| extension == "md");
    for (number, line) in (1..).zip(text.lines()) {
        let place = || format!("{path}:{number}");
        let Some(text) = (if is_document {
            Some(line)
        } else {
            comment_of(line)
        }) else {
            continue;
        };
        let definition = labels_in(text).next().filter(|label| {
            if label.contains('-') {
                text.starts_with(&format!("{label}. "))
            } else {
                path == "docs/GUARANTEES.md" && text.starts_with(&format!("| {label} "))
            }
        });
        let mut rest = text;
        if let Some(label) = definition {
            defined.push((label.to_owned(), place()));
            rest = text.split_once(label).map_or("", |(_, rest)| rest);
        }
        cited.extend(labels_in(rest).map(|label| (label.to_owned(), place())));
    }
    (defined, cited)
}

fn problems(files: &[(String, String)]) -> Vec<String> {
    let (mut defined, mut cited) = (Vec::new(), Vec::new());
    for (path, text) in files {
        let (definitions, citations) = read(path, text);
        defined.extend(definitions);
        cited.extend(citations);
    }
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (label, place) in &defined {
        places.entry(label).or_default().push(place);
    }
    let twice = places.iter().filter(|(_, places)| places.len() > 1);
    let mut found: Vec<String> = twice
        .map(|(label, places)| format!("{label} is defined at {}", places.join(" and ")))
        .collect();
    let dangling = cited
        .iter()
        .filter(|(label, _)| !places.contains_key(label.as_str()));
    found.extend(dangling.map(|(label, place)| format!("{place}: {label} is defined nowhere")));
    found
}

#[test]
fn each_label_is_defined_once() {
    let mut files = super::files(
        &["src", "ipc-tests", "tests", "examples", "benches", "docs"],
        &["rs", "md"],
    );
    // This file and its planted violations.
    files.retain(|(path, _)| !path.starts_with("tests/structure/") && !path.contains("/target/"));
    let found = problems(&files);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn planted_labels_are_found() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let sound = [
        file(
            "src/ring.rs",
            "//! RING-1. In order.\n/// See RING-1, and K4; not UTF-8, x86-64 or A1B.",
        ),
        file("docs/GUARANTEES.md", "| K4 | exactly once |"),
    ];
    assert_eq!(problems(&sound), Vec::<String>::new());
    let with = |text: &str| {
        let mut files = sound.to_vec();
        files.push(file("src/other.rs", text));
        problems(&files)
    };
    assert_eq!(
        with("let x = 1; // By RING-2."),
        ["src/other.rs:1: RING-2 is defined nowhere"]
    );
    assert_eq!(
        with("// K5 holds."),
        ["src/other.rs:1: K5 is defined nowhere"]
    );
    assert_eq!(
        with("//! RING-1. Another."),
        ["RING-1 is defined at src/ring.rs:1 and src/other.rs:1"]
    );
}
