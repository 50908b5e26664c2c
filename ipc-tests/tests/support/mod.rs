//! What the tests of queues share: children that are given queues, and options for waits that cannot be mistaken.
#![allow(dead_code, reason = "each test program uses its own part of this")]

use ipc_tests::{Pid, asleep::await_sleepers, child::Peer, guarded, stops};
use std::{
    error::Error,
    fmt::Display,
    thread::{self, JoinHandle},
    time::Duration,
};
use workring::{Handoff, HandoffError, Options};

pub(crate) mod books;
pub(crate) mod pools;
pub(crate) mod superstitious;

pub(crate) const PEER: &str = env!("CARGO_BIN_EXE_peer");

/// Generous: somebody who measures may have stopped the whole machine's tests for a minute.
pub(crate) const LIMIT: Duration = Duration::from_mins(5);

/// Waits of these queues sleep at once, and nothing but a wake-up ends a sleep within ten seconds: a test that is
/// done long before its watchdog did not live on slices.
pub(crate) fn sleepy(capacity: usize) -> Options {
    Options::new(capacity)
        .spin(Duration::ZERO)
        .liveness_interval(Duration::from_secs(10))
}

/// Half a slice of a queue that is [`sleepy`]: who is woken is there long before.
const PROMPT: Duration = Duration::from_secs(5);

/// Runs a guarded test whose every wait has to end by a wake-up: without one it would end with the slice, and be late.
/// It is run again if it was stopped meanwhile.
pub(crate) fn prompt(test: impl Fn()) {
    guarded(LIMIT, || while in_time(&test).is_none() {});
}

/// Runs one round of a test; see [`prompt`].
pub(crate) fn in_time(round: impl FnOnce()) -> Option<()> {
    let took = stops::time(round)?;
    assert!(took < PROMPT, "no wake-up came for {took:?}");
    Some(())
}

/// Starts a child in a role with what `give` gives it.
pub(crate) fn hand_over(
    role: &str,
    arguments: &[&dyn Display],
    give: impl FnOnce(Handoff) -> Result<Handoff, HandoffError>,
) -> Peer {
    let spawned = Peer::spawn(PEER, role, arguments, |command| {
        let child = give(Handoff::new())?.spawn(command)?;
        Ok::<_, Box<dyn Error>>(child)
    });
    spawned.unwrap_or_else(|error| panic!("start {role}: {error}"))
}

/// Closes the child's input and expects it to end well.
pub(crate) fn dismiss(mut peer: Peer) {
    let status = peer.wait();
    assert!(status.success(), "a child ended with {status}");
}

/// Starts a thread that waits for a queue, and returns once it really sleeps.
pub(crate) fn asleep<R: Send + 'static>(
    wait: impl FnOnce() -> R + Send + 'static,
) -> JoinHandle<R> {
    let waiting = thread::spawn(wait);
    await_sleepers(Pid::this(), 1);
    waiting
}
