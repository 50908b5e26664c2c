//! A pool whose process gives up root when the workers run. From then on it may not signal them.

use ipc_tests::{
    role::Io,
    trouble::{Output, Trouble},
};
use nix::libc::{setgid, setuid};
use std::{sync::mpsc, time::Duration};
use workring::pool::{Event, Shutdown, TaskError, TaskHandle, TypedPool};

/// The user `nobody`.
const NOBODY: u32 = 65534;

/// Prints the worker's process id, does what its argument names, and prints the outcomes, or the pool's report.
pub(super) fn run(io: &mut Io) {
    let action: String = io.argument();
    let (sender, events) = mpsc::channel();
    let builder = TypedPool::<Trouble>::builder()
        .workers(1)
        .grace(Duration::from_millis(50))
        .respawn_backoff(Duration::from_millis(1), Duration::from_millis(10))
        .on_event(move |event| {
            // An error: the role is about to end.
            let _ = sender.send(*event);
        });
    let builder = match action.as_str() {
        "limit" | "limit stopped" => builder.time_limit(Duration::from_millis(200)),
        _ => builder,
    };
    let pool = builder.start().expect("a pool");
    let Some(Event::Started { pid, .. }) = events.recv().ok() else {
        panic!("no worker");
    };
    io.say(pid);
    give_up_root();
    let begin = |trouble| {
        let handle = pool.submit(trouble).expect("open");
        let is_start = |event: &Event| matches!(event, Event::TaskStarted { .. });
        events.iter().find(is_start).expect("its start");
        handle
    };
    match action.as_str() {
        "limit" => io.say(outcome(begin(Trouble::Loop))),
        "limit stopped" => io.say(outcome(begin(Trouble::Stop))),
        "cancel" => {
            let handle = begin(Trouble::Loop);
            handle.cancel_within(Duration::ZERO);
            io.say(outcome(handle));
        }
        "exit" => {
            io.say(outcome(begin(Trouble::Exit(7))));
            // The user may not be allowed to execute this program, which a new worker takes.
            let next = pool.submit(Trouble::Echo(1));
            io.say(next.map_or("refused".to_owned(), outcome));
        }
        "shutdown" | "drop" => {
            let handle = begin(Trouble::Loop);
            if action == "drop" {
                drop(pool);
                io.say(outcome(handle));
                io.say("dropped");
                return;
            }
        }
        other => panic!("no such action: {other}"),
    }
    let report = pool.shutdown(Shutdown::Cancel, Duration::ZERO);
    io.say(report.expect("not a fork"));
}

#[allow(unsafe_code, reason = "the C library changes the user of all threads")]
fn give_up_root() {
    // SAFETY: it has no preconditions.
    assert_eq!(unsafe { setgid(NOBODY) }, 0, "root may");
    // SAFETY: it has no preconditions.
    assert_eq!(unsafe { setuid(NOBODY) }, 0, "root may");
}

fn outcome(handle: TaskHandle<Trouble>) -> String {
    match handle.wait() {
        Ok(Output { number, .. }) => format!("output {number}"),
        Err(TaskError::Crashed { status, .. }) => {
            format!("crashed {}", status.expect("its status"))
        }
        Err(error) => error.to_string(),
    }
}
