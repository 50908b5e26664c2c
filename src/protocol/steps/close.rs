//! Closing: set the closing bit, seal the ring (`Seal`), wake all sleepers.

use super::receive::discard_remaining;
use super::seal::seal;
use super::wake::wake_all;
use crate::protocol::ids::PeerIndex;
use crate::protocol::{Corrupt, SharedState};
use crate::sync::fence_after_exchange;

/// Closes the queue. Returns whether this call was the first to do so.
///
/// Never waits: even a full ring has a free slot for `Seal`. When this returns, the ring has its Closed slot, so every
/// send that starts later fails.
#[cold]
pub(crate) fn close<S: SharedState>(shared: &S) -> Result<bool, Corrupt> {
    let is_first = shared.lifecycle().begin_close();
    seal(shared)?;
    // Even if another process has sealed the ring: it may have died before it could wake the sleepers.
    if !mutant!(CloseWithoutWake) {
        wake_all(shared);
    }
    Ok(is_first)
}

/// Closes the queue and discards the messages left in it, for the process `me`. Returns the number of messages that
/// this call discarded. Receivers that notice the cancel discard messages too.
#[cold]
pub(crate) fn cancel<S: SharedState>(shared: &S, me: PeerIndex) -> Result<u64, Corrupt> {
    let _ = shared.lifecycle().begin_cancel();
    // Pairs with the fence in `settle::discard_returned`.
    fence_after_exchange();
    seal(shared)?;
    let discarded = discard_remaining(shared, me)?;
    if !mutant!(CloseWithoutWake) {
        wake_all(shared);
    }
    Ok(discarded)
}
