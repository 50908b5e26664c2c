//! Goal: the tools that look for faults of the protocol find them. Method: `src/bin/mutants.rs`, which builds both with
//! the mutants and takes some ten minutes, so only on demand:
//!
//! ```text
//! cargo test --release -p ipc-tests --test mutants -- --ignored
//! ```

use ipc_tests::guarded;
use std::{process::Command, time::Duration};

#[test]
#[ignore = "builds everything anew, and takes some ten minutes"]
fn every_mutant_is_caught() {
    guarded(Duration::from_hours(1), || {
        let output = Command::new(env!("CARGO_BIN_EXE_mutants"))
            .output()
            .expect("run it");
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{said}");
        assert!(output.status.success(), "{said}");
        assert!(said.contains("caught by stepkill") && said.contains("caught by storm"));
    });
}
