//! M4: whatever a stray writer does to the shared memory of a queue, its users get values or typed errors; nothing
//! crashes, and nothing goes on for ever.
//!
//! The queue is used in a child process, which overwrites its words itself: a crash is then a child that ended badly,
//! and the last seed that it named repeats it. In part of the rounds another thread or another process uses the queue
//! at the same time. The core on the heap, under a sanitizer, is scribbled over in `src/segment/scribble.rs`.

use ipc_tests::program;
use ipc_tests::{
    child::Peer,
    guarded,
    rounds::{rounds, seed},
};
use std::{process::Command, time::Duration};

#[test]
fn users_of_a_scribbled_segment_get_values_or_typed_errors() {
    // The child's own watchdog, which knows the seed of what hangs, comes first.
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
        assert!(user.wait().success(), "it ended badly after {last}");
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
