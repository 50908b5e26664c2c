//! Goal: the tests and tools that look for faults of this crate find them. Method: `src/bin/mutants.rs`, which builds
//! everything with the mutants and takes twenty minutes; only on demand:
//!
//! ```text
//! cargo test --release -p ipc-tests --test tools -- --ignored mutants
//! ```

use ipc_tests::guarded;
use std::{process::Command, time::Duration};

#[test]
#[ignore = "builds everything again, and takes some twenty minutes"]
fn every_mutant_is_caught() {
    guarded(Duration::from_hours(1), || {
        let output = Command::new(env!("CARGO_BIN_EXE_mutants"))
            .output()
            .expect("run it");
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{said}");
        assert!(output.status.success(), "{said}");
        assert!(said.contains("caught by Stepkill") && said.contains("caught by Storm"));
    });
}
