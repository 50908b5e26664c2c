//! Reads the line with which a storm ends: `storm: 102 kills, 31269 accepted, ..., 0 lost, 0 duplicated, 0 leaked`.

use std::process::{Command, Stdio};

/// Runs the program `storm` and returns its closing line. Panics if it fails.
pub(crate) fn of_storm(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storm"));
    command.args(arguments).stderr(Stdio::inherit());
    let output = command.output().expect("run a storm");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{}: {text}", output.status);
    text.lines().last().unwrap_or_default().to_owned()
}

/// Returns the number before a word.
pub(crate) fn count(line: &str, word: &str) -> u64 {
    let (_, items) = line.split_once(": ").expect("a closing line");
    let mut items = items.split(", ").filter_map(|item| item.split_once(' '));
    let item = items.find(|(_, name)| *name == word);
    let number = item.and_then(|(number, _)| number.parse().ok());
    number.unwrap_or_else(|| panic!("no number of {word}: {line}"))
}
