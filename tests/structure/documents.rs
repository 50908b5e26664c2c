//! What the documents say of the repository is so: links and paths lead somewhere, the README is short, and its first
//! example is the one in `examples/`.

use std::path::Path;

const MOST_LINES_OF_THE_README: usize = 150;

fn documents() -> Vec<(String, String)> {
    let mut found = super::files(&["docs"], &["md"]);
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        found.push((name.to_owned(), read(name)));
    }
    found
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between `open` and `close` in a line, each time.
fn between<'a>(line: &'a str, open: &'static str, close: char) -> impl Iterator<Item = &'a str> {
    line.split(open)
        .skip(1)
        .filter_map(move |rest| Some(rest.split_once(close)?.0))
}

/// The paths of this repository that a line names: targets of links, relative to `folder`, code that begins with the
/// name of a folder, and files of `ipc-tests/tests`.
fn paths(folder: &str, line: &str) -> Vec<String> {
    let links =
        between(line, "](", ')').filter(|link| !link.contains("://") && !link.starts_with('#'));
    let links = links.map(|link| format!("{folder}{link}"));
    let code = line.split('`').skip(1).step_by(2).filter(|code| {
        let folders = [
            "src/",
            "ipc-tests/",
            "tests/",
            "docs/",
            "examples/",
            "benches/",
            ".ci/",
        ];
        folders.iter().any(|folder| code.starts_with(folder)) && !code.contains([' ', '*', ':'])
    });
    let tests = line.split('`').skip(1).step_by(2).filter(|code| {
        let folders = [
            "queue/",
            "death/",
            "waiting/",
            "segment/",
            "pool/",
            "rendezvous/",
            "tools/",
        ];
        folders.iter().any(|folder| code.starts_with(folder))
            && Path::new(code)
                .extension()
                .is_some_and(|extension| extension == "rs")
    });
    let tests = tests.map(|test| format!("ipc-tests/tests/{test}"));
    links.chain(code.map(str::to_owned)).chain(tests).collect()
}

/// The paths in a document that lead nowhere.
fn dangling(path: &str, text: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = path
        .rsplit_once('/')
        .map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let named = (1..).zip(text.lines()).flat_map(|(number, line)| {
        paths(&folder, line)
            .into_iter()
            .map(move |named| (number, named))
    });
    named
        .filter(|(_, named)| !root.join(named).exists())
        .map(|(number, named)| format!("{path}:{number}: there is no {named}"))
        .collect()
}

/// The first block of code in this language.
fn first_block<'a>(text: &'a str, language: &str) -> &'a str {
    let start = format!("```{language}\n");
    let (_, rest) = text.split_once(&start).expect("a block");
    rest.split_once("```").expect("its end").0
}

fn without_white_space(text: &str) -> String {
    text.split_whitespace()
        .collect::<String>()
        .replace(",)", ")")
}

#[test]
fn paths_in_documents_lead_somewhere() {
    let found: Vec<String> = documents()
        .iter()
        .flat_map(|(path, text)| dangling(path, text))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_planted_path_that_leads_nowhere_is_found() {
    let text = "See `src/lib.rs`, `src/nowhere.rs` and [this](ARCHITECTURE.md), [that](THAT.md).";
    let found = dangling("docs/X.md", text);
    assert_eq!(
        found,
        [
            "docs/X.md:1: there is no docs/THAT.md",
            "docs/X.md:1: there is no src/nowhere.rs"
        ]
    );
}

/// The names of tests that a document cites: code with at least three underscores.
fn tests_in(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|code| {
        code.matches('_').count() > 2
            && code
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    })
}

#[test]
fn tests_that_documents_cite_exist() {
    let sources = super::files(
        &["src", "ipc-tests/tests", "ipc-tests/src", "tests"],
        &["rs"],
    );
    let is_test = |name: &str| {
        let function = format!("fn {name}(");
        sources.iter().any(|(_, source)| source.contains(&function))
    };
    let documents = documents();
    let cited: Vec<&str> = documents
        .iter()
        .flat_map(|(_, text)| text.lines().flat_map(tests_in))
        .collect();
    assert!(cited.len() > 50, "only {} tests are cited", cited.len());
    let missing: Vec<&str> = cited.into_iter().filter(|name| !is_test(name)).collect();
    assert_eq!(missing, [""; 0], "these tests do not exist");
}

#[test]
fn the_readme_is_short_and_its_example_is_the_one_in_the_folder() {
    let readme = read("README.md");
    assert!(readme.lines().count() <= MOST_LINES_OF_THE_README);
    let shown = without_white_space(first_block(&readme, "rust,no_run"));
    let example = without_white_space(&read("examples/segfault.rs"));
    assert!(example.ends_with(&shown), "{example}\n{shown}");
}
