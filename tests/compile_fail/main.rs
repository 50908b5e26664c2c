//! Code that must not compile, although it stands inside the crate.
//!
//! Goal: the `unsafe` code of `src/segment` rests on facts that the compiler checks in all other code: a block in hand
//! cannot be forged, cannot be kept past its release, and the mapping cannot be used without the check for a fork.
//!
//! Method: each file of `cases` is the root of a crate that includes the modules of workring. So it sees what code
//! inside workring sees, which a crate that only depends on workring does not. `cargo check` must report exactly the
//! errors that the lines of the case end with, `//~ E0382`, and no others. Only codes and lines are compared, because
//! messages differ between compilers.
#![cfg(not(loom))]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The codes of the errors of each line. A compiler may report one error for two fields, or two.
type Errors = BTreeMap<usize, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the files of `cases`, by name.
fn cases() -> Vec<(String, PathBuf)> {
    let folder = root().join("tests/compile_fail/cases");
    let entries = fs::read_dir(folder).expect("the cases");
    let mut cases: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy();
            (name.into_owned(), path.clone())
        })
        .collect();
    cases.sort();
    cases
}

/// Returns the errors that a case is marked with.
fn expected(source: &str) -> Errors {
    (1..)
        .zip(source.lines())
        .filter_map(|(number, line)| {
            let (_, codes) = line.split_once("//~ ")?;
            let codes = codes.split_whitespace().map(str::to_owned);
            Some((number, codes.collect()))
        })
        .collect()
}

/// Writes a package with a program for each case, and with the dependencies of workring.
fn write_package(folder: &Path, cases: &[(String, PathBuf)]) {
    let ours = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let (_, dependencies) = ours.split_once("[dependencies]").expect("dependencies");
    let dependencies = dependencies.split("\n[").next().unwrap_or_default();
    // The macros are above the modules that the cases are made of, and have a path that means nothing there.
    let is_needed = |line: &&str| !line.starts_with("workring-macros");
    let dependencies: Vec<_> = dependencies.lines().filter(is_needed).collect();
    let dependencies = dependencies.join("\n");
    let programs = cases.iter().map(|(name, path)| {
        let path = path.display();
        format!("[[bin]]\nname = \"{name}\"\npath = \"{path}\"\n")
    });
    let programs: String = programs.collect();
    let manifest = format!(
        "[workspace]\n[package]\nname = \"cases\"\nedition = \"2024\"\n[dependencies]{dependencies}\n{programs}"
    );
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join("Cargo.toml"), manifest).expect("a manifest");
    // The same versions as ours.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("a lock file");
}

/// Returns the errors that `cargo check` reports in each file.
fn reported(package: &Path) -> (BTreeMap<String, Errors>, String) {
    let output = Command::new(env!("CARGO"))
        .args([
            "check",
            "--bins",
            "--keep-going",
            "--message-format",
            "short",
            "--target-dir",
        ])
        .arg(package.join("target"))
        .current_dir(package)
        .output()
        .expect("cargo");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut files: BTreeMap<String, Errors> = BTreeMap::new();
    for line in text.lines() {
        // PATH:LINE:COLUMN: error[E0382]: MESSAGE
        let Some((place, message)) = line.split_once(": error") else {
            continue;
        };
        let mut place = place.rsplitn(3, ':');
        let (_, line, path) = (place.next(), place.next(), place.next());
        let (Some(path), Some(Ok(line))) = (path, line.map(str::parse)) else {
            continue;
        };
        let code = message.split([']', ':']).next().unwrap_or_default();
        let codes = files
            .entry(path.to_owned())
            .or_default()
            .entry(line)
            .or_default();
        codes.insert(code.trim_start_matches('[').to_owned());
    }
    (files, text)
}

#[test]
fn code_that_breaks_a_rule_of_unsafe_code_does_not_compile() {
    let cases = cases();
    assert!(cases.len() >= 5, "these are not all the cases: {cases:?}");
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail");
    write_package(&package, &cases);
    let (mut reported, output) = reported(&package);
    for (name, path) in &cases {
        let expected = expected(&fs::read_to_string(path).expect("a case"));
        assert!(!expected.is_empty(), "{name} has no marks");
        let file = reported.keys().find(|file| path.ends_with(file)).cloned();
        let found = file
            .and_then(|file| reported.remove(&file))
            .unwrap_or_default();
        assert_eq!(
            found, expected,
            "errors of {name}, by line; cargo said:\n{output}"
        );
    }
    assert!(
        reported.is_empty(),
        "errors outside of the cases:\n{output}"
    );
}
