//! Goal: two libraries with pools work in a program that knows nothing of them.
//!
//! Method: run the program, which succeeds only if workers begin before `main`. Otherwise each of them would be the program
//! once more, and would be refused its pools.

use ipc_tests::guarded;
use std::process::Command;
use std::time::Duration;

#[test]
fn two_libraries_have_pools_in_a_program_that_knows_nothing_of_them() {
    guarded(Duration::from_secs(60), || {
        let output = Command::new(env!("CARGO_BIN_EXE_library-program"))
            .output()
            .expect("the program");
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).expect("text");
        assert_eq!(
            printed,
            "twice: ticktick\nsquares: [49, 64]\nmissing: NotFound\n"
        );
    });
}
