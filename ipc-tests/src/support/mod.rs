//! What many tests of queues share: children that inherit queues, and waits that only a wake-up can end in time.

use crate::{Pid, asleep::await_sleepers, child::Peer, guarded, program, stops};
use std::{
    error::Error,
    fmt::Display,
    thread::{self, JoinHandle},
    time::Duration,
};
use workring::{Handoff, Options, error::HandoffError};

pub mod books;
pub mod pools;
pub mod superstitious;

/// How long a test may take: generous, since a measurement may stop all tests of the machine for a minute.
pub const LIMIT: Duration = Duration::from_mins(5);

/// Returns options for a queue whose waits sleep at once, and look for dead peers only every ten seconds. A test that
/// ends well before that was woken, and did not just look again.
pub fn sleepy(capacity: usize) -> Options {
    Options::new(capacity)
        .spin(Duration::ZERO)
        .liveness_interval(Duration::from_secs(10))
}

/// Half the liveness interval of a [`sleepy`] queue. A wake-up arrives long before.
const PROMPT: Duration = Duration::from_secs(5);

/// Runs a guarded test in which a wake-up has to end every wait: without one the test takes too long, and fails. A run
/// in which this process was stopped is repeated.
pub fn prompt(test: impl Fn()) {
    guarded(LIMIT, || while in_time(&test).is_none() {});
}

/// Runs one round of a test (see [`prompt`]). Returns `None` if this process was stopped during the
/// round.
pub fn in_time(round: impl FnOnce()) -> Option<()> {
    let took = stops::time(round)?;
    assert!(took < PROMPT, "no wake-up in {took:?}");
    Some(())
}

/// Starts a child in a role, with the ends of queues that `give` adds to its hand-off.
pub fn hand_over(
    role: &str,
    arguments: &[&dyn Display],
    give: impl FnOnce(Handoff) -> Result<Handoff, HandoffError>,
) -> Peer {
    let spawned = Peer::spawn(program("peer"), role, arguments, |command| {
        let child = give(Handoff::new())?.spawn(command)?;
        Ok::<_, Box<dyn Error>>(child)
    });
    spawned.unwrap_or_else(|error| panic!("start {role}: {error}"))
}

/// Closes the child's input and waits until it has ended. Panics unless it succeeds.
pub fn dismiss(mut peer: Peer) {
    let status = peer.wait();
    assert!(status.success(), "a child ended with {status}");
}

/// Starts a thread that waits for a queue, and returns when the thread sleeps.
pub fn asleep<R: Send + 'static>(wait: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    let waiting = thread::spawn(wait);
    await_sleepers(Pid::this(), 1);
    waiting
}
