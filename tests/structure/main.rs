//! The structure of the source tree: no circle of files, no dangling label, no file or function that is too long.
//!
//! | module   | rule                                                                                               |
//! |----------|----------------------------------------------------------------------------------------------------|
//! | `cycles` | the files of `src` form a tree of imports: none reaches itself                                      |
//! | `documents` | links and paths in documents lead somewhere; the README shows an example of the repository            |
//! | `labels` | each label (`RING-2`) and each id of a guarantee (`K4`) that a comment cites is defined exactly once  |
//! | `sizes`  | product files have at most 500 lines, functions at most 60, or say why not                          |
//!
//! Each rule is also tried on a planted violation.

mod cycles;
mod documents;
mod labels;
mod sizes;

use std::fs;
use std::path::Path;

/// The path of each file below `folders` with one of these extensions, relative to the root, and its text.
fn files(folders: &[&str], extensions: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in folders {
        for entry in walkdir::WalkDir::new(root.join(folder)) {
            let path = entry.expect("a readable folder").into_path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if extension.is_some_and(|extension| extensions.contains(&extension)) {
                let name = path.strip_prefix(root).expect("below the root");
                let text = fs::read_to_string(&path).expect("a readable file");
                found.push((name.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// Whether a file of `src` is compiled for tests only.
fn is_test_code(path: &str) -> bool {
    path.contains("/verify/")
        || path.contains("/tests/")
        || path.ends_with("tests.rs")
        || path.ends_with("scribble.rs")
}
