//! Notices that are deferred, dropped, panic or never return.

use super::*;
use std::sync::mpsc;

#[test]
fn deferred_notices_run_when_the_outermost_guard_is_dropped() {
    let (sender, receiver) = mpsc::channel();
    let announce_number = |number: u32| {
        let sender = sender.clone();
        let notice = move || {
            let _ = sender.send(number);
        };
        announce(Importance::Lifecycle, Box::new(notice));
    };
    let outer = defer();
    announce_number(1);
    drop(defer());
    announce_number(2);
    assert!(receiver.try_recv().is_err());
    announce(Importance::Lifecycle, Box::new(|| panic!("a subscriber")));
    announce_number(3);
    drop(outer);
    announce_number(4);
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn deferred_notices_can_run_while_more_are_deferred() {
    let (sender, receiver) = mpsc::channel();
    let guard = defer();
    let (first, second) = (sender.clone(), sender.clone());
    let notice = move || {
        let _ = first.send(1);
        let notice = move || {
            let _ = second.send(2);
        };
        announce(Importance::Lifecycle, Box::new(notice));
    };
    announce(Importance::Lifecycle, Box::new(notice));
    assert!(is_any_deferred());
    run_deferred();
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2]);
    assert!(!is_any_deferred());
    let notice = move || {
        let _ = sender.send(3);
    };
    announce(Importance::Lifecycle, Box::new(notice));
    assert!(receiver.try_recv().is_err());
    drop(guard);
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [3]);
}

#[test]
fn an_announcer_runs_notices_in_order_after_a_panic_and_drops_only_details() {
    let (sender, receiver) = mpsc::channel();
    let (gate_opener, gate) = mpsc::channel::<()>();
    thread::spawn(move || {
        let announcer = Announcer::for_this_thread();
        let wait_at_gate = move || {
            let _ = gate.recv();
        };
        announce(Importance::Lifecycle, Box::new(wait_at_gate));
        announce(Importance::Lifecycle, Box::new(|| panic!("a listener")));
        for number in 0..2 * BACKLOG {
            let sender = sender.clone();
            let notice = move || {
                let _ = sender.send(number);
            };
            announce(Importance::Detail, Box::new(notice));
        }
        let last = move || {
            let _ = sender.send(usize::MAX);
        };
        announce(Importance::Lifecycle, Box::new(last));
        drop(gate_opener);
        announcer.close(Duration::MAX);
    })
    .join()
    .expect("no panic reaches the announcing thread");
    let numbers: Vec<_> = receiver.try_iter().collect();
    assert!(numbers.len() > BACKLOG / 2 && numbers.len() <= 2 * BACKLOG);
    assert!(numbers.is_sorted());
    assert_eq!(numbers.last(), Some(&usize::MAX));
}

#[test]
fn closing_does_not_wait_for_a_listener_that_ends_the_pool_or_never_returns() {
    for ends_pool in [true, false] {
        let (gate_opener, gate) = mpsc::channel::<()>();
        let announcer = Announcer::for_this_thread();
        let never_returns = move || {
            if ends_pool {
                exempt_from_shutdown();
            }
            let _ = gate.recv();
        };
        announce(Importance::Lifecycle, Box::new(never_returns));
        let time_limit = if ends_pool {
            Duration::MAX
        } else {
            Duration::ZERO
        };
        announcer.close(time_limit);
        drop(gate_opener);
    }
}
