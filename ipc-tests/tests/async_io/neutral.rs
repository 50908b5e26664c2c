//! The library depends on no runtime (A2).

use std::{collections::BTreeSet, process::Command};

/// Returns the names of the crates that the library needs with these features.
fn dependencies(features: &str) -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--offline", "-e", "normal", "-p", "workring"]);
    tree.args(["--no-default-features", "--features", features]);
    tree.args(["--prefix", "none", "--format", "{p}"]);
    let output = tree.output().expect("run cargo");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let names = String::from_utf8(output.stdout).expect("names");
    let names = names
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[test]
fn the_feature_async_adds_two_crates_of_traits() {
    let (without, with) = (dependencies(""), dependencies("async"));
    assert!(without.contains("parking_lot"), "{without:?}");
    let added: Vec<_> = with.difference(&without).collect();
    assert_eq!(added, ["futures-core", "futures-sink"]);
}
