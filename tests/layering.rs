//! Layers: which imports are allowed, where `unsafe` may be, and which files may name atomics and system calls.
//!
//! Reads the sources as text, without comments and strings. Each rule has a planted violation.

use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest up. A layer may use those before it, itself, and `sync`, which is below all.
const LAYERS: [&str; 7] = [
    "os", "protocol", "segment", "queue", "request", "pool", "inspect",
];
/// Pairs of layers of which neither imports the other: `protocol` has the states, `os` the system calls; pool and requests
/// are built on the public queue, not on its protocol.
const STRANGERS: [(&str, &str); 4] = [
    ("protocol", "os"),
    ("pool", "protocol"),
    ("request", "protocol"),
    ("pool", "request"),
];
const MAY_BE_UNSAFE: [&str; 2] = ["src/os/", "src/segment/"];
const MAY_CALL_THE_SYSTEM: [&str; 1] = ["src/os/"];
const MAY_NAME_ATOMICS: [&str; 2] = ["src/sync.rs", "src/sync/"];

/// Returns the violations in one file.
fn violations(path: &str, source: &str) -> Vec<String> {
    let code = without_comments_and_strings(source);
    let mut found = Vec::new();
    let mut report = |what: String| found.push(format!("{path}: {what}"));
    let layer = LAYERS
        .iter()
        .position(|layer| path.starts_with(&format!("src/{layer}/")));
    if let Some(layer) = layer {
        let name = LAYERS.get(layer).copied().unwrap_or_default();
        for (place, other) in LAYERS.iter().enumerate() {
            let stranger = STRANGERS.contains(&(name, *other));
            if (place > layer || stranger) && has_word(&code, &format!("crate::{other}")) {
                report(format!("the layer `{name}` imports `{other}`"));
            }
        }
    }
    if layer.is_some() && code.contains("crate::{") {
        report("imports of several layers in one: one a line".to_owned());
    }
    let allowed = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    if !allowed(&MAY_BE_UNSAFE) && (has_word(&code, "unsafe") || has_word(&code, "unsafe_code")) {
        report("`unsafe` outside `os` and `segment`".to_owned());
    }
    if !allowed(&MAY_CALL_THE_SYSTEM)
        && ["nix", "rustix", "libc"]
            .iter()
            .any(|name| has_word(&code, name))
    {
        report("a system call outside `os`".to_owned());
    }
    let atomics = ["sync::atomic", "loom::sync", "loom::cell"];
    if !allowed(&MAY_NAME_ATOMICS) && atomics.iter().any(|name| has_word(&code, name)) {
        report("atomics past `crate::sync`".to_owned());
    }
    found
}

/// Returns whether `word` occurs in `code` as a whole name.
fn has_word(code: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        let after = code
            .get(at + word.len()..)
            .and_then(|text| text.chars().next());
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

/// Removes line comments and strings on one line, which is good enough for this crate.
fn without_comments_and_strings(source: &str) -> String {
    let mut code = String::new();
    for line in source.lines() {
        let (mut in_string, mut escaped) = (false, false);
        let mut rest = line.chars().peekable();
        while let Some(c) = rest.next() {
            if in_string {
                in_string = escaped || c != '"';
                escaped = !escaped && c == '\\';
            } else if c == '"' {
                in_string = true;
            } else if c == '/' && rest.peek() == Some(&'/') {
                break;
            } else {
                code.push(c);
            }
        }
        code.push('\n');
    }
    code
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_layers_stay_apart() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    assert!(files.len() > 20, "these are not all the sources: {files:?}");
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let source = fs::read_to_string(file).expect("a source");
            let path = file.strip_prefix(root).expect("below the root");
            violations(&path.to_string_lossy(), &source)
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_rule_sees_a_violation() {
    for (path, source) in [
        ("src/protocol/ring.rs", "use crate::queue::Sender;"),
        ("src/protocol/ring.rs", "use crate::os::futex;"),
        ("src/os/futex.rs", "use crate::protocol::SharedState;"),
        ("src/segment/mod.rs", "fn f() { crate::queue::channel() }"),
        ("src/protocol/ring.rs", "use crate::{queue, sync};"),
        ("src/queue/mod.rs", "use crate::pool::TypedPool;"),
        ("src/pool/mod.rs", "use crate::protocol::Limits;"),
        ("src/request/mod.rs", "use crate::protocol::Limits;"),
        ("src/request/mod.rs", "use crate::pool::Pool;"),
        ("src/queue/mod.rs", "unsafe { f() }"),
        ("src/queue/mod.rs", "#![allow(unsafe_code)]"),
        ("src/queue/mod.rs", "use nix::unistd::getpid;"),
        ("src/segment/mod.rs", "rustix::thread::futex::wake()"),
        ("src/queue/mod.rs", "use std::sync::atomic::AtomicU64;"),
        ("src/os/futex.rs", "use core::sync::atomic::AtomicU32;"),
        (
            "src/protocol/verify/loom_models/mod.rs",
            "loom::sync::atomic::fence(o)",
        ),
    ] {
        assert_eq!(violations(path, source).len(), 1, "{path}: {source}");
    }
}

#[test]
fn what_is_allowed_or_only_talked_about_is_no_violation() {
    for (path, source) in [
        (
            "src/queue/mod.rs",
            "use crate::protocol::SharedState; use crate::sync::fence;",
        ),
        (
            "src/pool/mod.rs",
            "use crate::queue::Sender; use crate::os::link;",
        ),
        ("src/os/memory.rs", "unsafe { munmap() } // crate::queue"),
        ("src/sync.rs", "pub use core::sync::atomic::AtomicU64;"),
        (
            "src/protocol/ring.rs",
            "//! no `unsafe` here\nlet text = \"use nix; unsafe\"; let unsafely = 1;",
        ),
    ] {
        assert_eq!(violations(path, source), Vec::<String>::new());
    }
}
