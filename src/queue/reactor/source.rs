//! What the reactor knows of the queue: a word to sleep on, and what its futures wait for.

use crate::protocol::parking::ParkingWord;
use core::time::Duration;

/// What a look at a queue has found for those that wait on one of its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing: they go on waiting.
    Nothing,
    /// Something for one of them, who then passes the baton (REACTOR-4).
    One,
    /// Something that concerns all of them.
    All,
}

/// A parking word, and the queue that it belongs to.
pub(crate) trait Source: Send + Sync {
    /// Returns the word; `None` in a forked child, where it is not mapped.
    fn word(&self) -> Option<&ParkingWord>;

    /// Makes the fence for processes that acknowledge a message without one (PARK-2). Called between the announcement and
    /// the look. Returns false if that is not possible: then a change may show a little later.
    fn fence_others(&self) -> bool;

    /// Looks for what the futures wait for. May find something that is not there, but misses nothing that was published
    /// before.
    fn look(&self) -> Found;

    /// Returns whether a notification of the word wakes all sleepers. Then no process takes a wake away from another.
    fn wakes_all(&self) -> bool;

    /// Passes a wake on to another process (PARK-4).
    fn pass_on_wake(&self);

    /// Returns how long a sleep on the word may last before the peers must be checked.
    fn time_until_sweep(&self) -> Duration;

    /// Checks the peers, if it is time or nearly so. May call a `tracing` subscriber, which is user code.
    fn sweep(&self);
}
