//! What is called when, and how many threads there are. The tests share the process, and so the thread.

use super::*;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// Registers a copy of the event. Returns where each call is reported.
fn register(event: &EventFd) -> (Registration, Receiver<()>) {
    let (tell, told) = channel();
    let copy = event.as_fd().try_clone_to_owned().expect("a copy");
    let on_ready = move || {
        tell.send(()).expect("the test listens");
        Vec::new()
    };
    (Registration::new(copy, on_ready).expect("registered"), told)
}

fn is_silent(calls: &Receiver<()>) -> bool {
    calls.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout)
}

#[test]
fn a_function_is_called_once_for_each_time_it_is_armed() {
    let event = EventFd::new().expect("an event");
    let (registration, calls) = register(&event);
    assert!(is_silent(&calls));
    event.set();
    calls.recv_timeout(LONG).expect("ready");
    event.set();
    assert!(is_silent(&calls), "it is not armed");
    registration.arm();
    calls.recv_timeout(LONG).expect("still ready");
    event.clear();
    registration.arm();
    registration.arm();
    assert!(is_silent(&calls), "it is not ready");
    event.set();
    calls.recv_timeout(LONG).expect("ready again");
    assert!(is_silent(&calls), "it was armed twice, for one call");
}

#[test]
fn a_descriptor_that_is_ready_already_counts() {
    let event = EventFd::new().expect("an event");
    event.set();
    let (_registration, calls) = register(&event);
    calls.recv_timeout(LONG).expect("ready");
}

#[test]
fn a_regular_file_is_always_ready() {
    let file = std::fs::File::open("/proc/self/exe").expect("this program");
    let (tell, told) = channel();
    let on_ready = move || {
        tell.send(()).expect("the test listens");
        Vec::new()
    };
    let registration = Registration::new(file.into(), on_ready).expect("registered");
    told.recv_timeout(LONG).expect("ready");
    registration.arm();
    told.recv_timeout(LONG).expect("ready");
}

#[test]
fn no_function_is_called_after_its_registration_was_dropped() {
    for _ in 0..1000 {
        let event = EventFd::new().expect("an event");
        let (registration, calls) = register(&event);
        thread::scope(|scope| {
            scope.spawn(|| event.set());
            drop(registration);
        });
        // The sender is in the function. It is gone, so there is no call after these.
        assert!(calls.iter().count() <= 1);
    }
}

#[test]
fn registrations_come_and_go_in_many_threads() {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let event = EventFd::new().expect("an event");
                    let (registration, calls) = register(&event);
                    for _ in 0..3 {
                        event.set();
                        calls.recv_timeout(LONG).expect("ready");
                        event.clear();
                        registration.arm();
                    }
                }
            });
        }
    });
}
