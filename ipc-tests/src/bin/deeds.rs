//! The program of some tests' pools: a worker, if it was started as one, otherwise a parent of a pool.
//!
//! ```text
//! deeds ROLE ARGUMENT...
//! ```
//!
//! As a worker it runs the tasks [`Deed`] and [`Trouble`]. As a parent it runs the function of the role, and ends with
//! the role's exit code; 2 if there is no such role, 101 if it panics.

use ipc_tests::{
    deeds::Deed,
    role::{self, Io, Role},
    trouble::Trouble,
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    fmt::{Debug, Write},
    process::{self, ExitCode},
    sync::mpsc,
    thread,
    time::Duration,
};
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use workring::pool::{Event, Shutdown, TypedPool, run_if_worker_for};

#[path = "deeds/unprivileged.rs"]
mod unprivileged;

const ROLES: &[(&str, Role)] = &[
    ("interruptible", interruptible),
    ("unprivileged", unprivileged::run),
];

fn main() -> ExitCode {
    run_if_worker_for::<(Deed, Trouble)>();
    role::run(ROLES)
}

/// Prints the process ids of two busy workers, waits for a signal, and shuts down as a program should. The exit code is
/// 0 for SIGTERM, and 130 for SIGINT.
fn interruptible(io: &mut Io) {
    tracing::subscriber::set_global_default(Stderr).expect("the first one");
    let mut signals = Signals::new([SIGINT, SIGTERM]).expect("handlers");
    let (sender, events) = mpsc::channel();
    let pool = TypedPool::<Deed>::builder()
        .workers(2)
        .on_event(move |event| {
            // An error: the receiver was dropped.
            let _ = sender.send(*event);
        });
    let pool = pool.start().expect("a pool");
    for _ in 0..10 {
        drop(pool.submit(Deed::UntilCancelled).expect("open"));
    }
    let busy = events.iter().filter_map(|event| match event {
        Event::TaskStarted { pid, .. } => Some(pid),
        _ => None,
    });
    busy.take(2).for_each(|pid| io.say(pid));
    let (signal, left) = thread::scope(|scope| {
        let reader = scope.spawn(|| pool.drain().count());
        let signal = signals.forever().next().expect("a signal");
        let report = pool.shutdown(Shutdown::Cancel, Duration::ZERO);
        assert!(report.expect("not a fork").is_balanced());
        (signal, reader.join().expect("the reader"))
    });
    assert_eq!(left, 10);
    process::exit(if signal == SIGINT { 130 } else { 0 });
}

/// Prints events on standard error.
struct Stderr;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().target().to_owned());
        event.record(&mut line);
        eprintln!("{}", line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
