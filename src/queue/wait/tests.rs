use super::super::policy::Unbounded;
use super::*;
use crate::queue::Options;

/// Begins a thousand waits, with one message between each two. Returns how many trials of pauses that makes.
fn trials(capacity: usize, is_in_stream: bool) -> u32 {
    let (_tx, rx) = Options::new(capacity).channel::<u32>().expect("a queue");
    let queue = rx.handle.begin().expect("not forked");
    let waiter = Waiter::new();
    let received = Hint::new();
    let awaited = Awaited {
        own_side: &received,
        ..Awaited::message(queue, is_in_stream)
    };
    for number in 1..=1000 {
        received.set(Position(number));
        waiter.tries_again(queue, &awaited, &Unbounded, &mut 0);
    }
    waiter.pauses.trials()
}

#[test]
fn waits_for_single_messages_pause_only_in_a_stream() {
    assert_eq!(trials(64, false), 0);
    // With one processor, a wait does not spin.
    assert!(trials(64, true) > 0 || !cpu::is_multiprocessor());
}

#[test]
fn waits_for_single_messages_do_not_pause_where_no_run_can_build_up() {
    assert_eq!(trials(1, true), 0);
}
