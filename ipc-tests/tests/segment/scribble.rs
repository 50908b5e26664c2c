//! Goal: whatever a stray write does to the shared memory of a queue, its users get values or typed errors. They never
//! crash, and no operation runs forever (M4).
//!
//! Method: a child process uses a queue and overwrites random words of its memory. After a crash, the last seed that it
//! printed repeats the round. In some rounds another thread or process uses the queue at the same time.
//! `src/segment/scribble.rs` does the same on the heap, under a sanitizer.

use ipc_tests::program;
use ipc_tests::{
    child::Peer,
    guarded,
    rounds::{rounds, seed},
};
use std::{process::Command, time::Duration};

#[test]
fn users_of_a_scribbled_segment_get_values_or_typed_errors() {
    // Longer than the limit of the child's own watchdog, which reports the seed.
    guarded(Duration::from_hours(2), || {
        let wanted = rounds(10_000, 1_000_000);
        let mut user = Peer::spawn(
            program("peer"),
            "scribbled",
            &[&seed(), &wanted],
            Command::spawn,
        )
        .expect("spawn");
        let mut last = String::new();
        let end = loop {
            match user.try_answer() {
                Some(line) if line.starts_with("over") => break line,
                Some(line) => last = line,
                None => panic!("a violation ({}): {last} repeats it", user.wait()),
            }
        };
        assert!(user.wait().success(), "it failed after {last}");
        let mut numbers = end
            .split(' ')
            .skip(1)
            .map(|text| text.parse().expect("a number"));
        let [corruptions, errors]: [u64; 2] =
            [numbers.next(), numbers.next()].map(Option::unwrap_or_default);
        println!("scribble: {corruptions} corruptions, {errors} typed errors, 0 violations");
        assert!(corruptions >= wanted.into() && errors > corruptions / 100);
    });
}
