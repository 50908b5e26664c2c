//! Goal: the tests and tools that look for faults of this crate find them.
//!
//! Method: `src/bin/mutants.rs` builds the crate with faults, and runs for each fault the test or tool that has to find
//! it. That takes twenty minutes, so it runs only on demand:
//!
//! ```text
//! cargo test --release -p ipc-tests --test tools -- --ignored mutants
//! ```

use ipc_tests::guarded;
use std::{process::Command, time::Duration};

#[test]
#[ignore = "builds everything again, and takes twenty minutes"]
fn every_mutant_is_caught() {
    guarded(Duration::from_hours(1), || {
        let run = Command::new(env!("CARGO_BIN_EXE_mutants")).output();
        let run = run.expect("run the mutants");
        let output = String::from_utf8_lossy(&run.stdout);
        println!("{output}");
        assert!(run.status.success(), "{}", run.status);
        assert!(output.contains("caught by Stepkill") && output.contains("caught by Storm"));
    });
}
