//! Closing: one bit that says so, then the stop sentinel in the ring (`Seal`), then everybody is woken.
use super::super::peers::PeerIndex;
use super::super::{Corrupt, SharedState};
use super::receive::discard_remaining;
use super::send::{TailSlot, inspect_tail_slot};
use super::wake_all;
use crate::sync::fence_after_exchange;

/// Close the queue. True if nobody had begun to before.
///
/// Never waits: a place in the ring is always free for the sentinel, also when the queue is full. When this
/// returns the sentinel is in place, so that every send that starts afterwards fails.
#[cold]
pub(crate) fn close<S: SharedState>(shared: &S) -> Result<bool, Corrupt> {
    let first = shared.lifecycle().begin_close();
    seal(shared)?;
    // Whoever wrote the sentinel: it may have been a process that died before it could wake anybody.
    if !mutant!(CloseWithoutWake) {
        wake_all(shared);
    }
    Ok(first)
}

/// Close the queue and discard what is left in it, for the process of row `me`. How many messages this call
/// discarded; receivers that come by discard some too.
#[cold]
pub(crate) fn cancel<S: SharedState>(shared: &S, me: PeerIndex) -> Result<u64, Corrupt> {
    let _ = shared.lifecycle().begin_cancel();
    // Pairs with the fence in `receive::discard_returned`.
    fence_after_exchange();
    seal(shared)?;
    let discarded = discard_remaining(shared, me)?;
    if !mutant!(CloseWithoutWake) {
        wake_all(shared);
    }
    Ok(discarded)
}

/// `Seal`: write Closed at the tail, unless it is there already.
///
/// Whoever sees the closing bit does this first, so that a closer that stopped halfway has closed the queue
/// all the same.
#[cold]
pub(crate) fn seal<S: SharedState>(shared: &S) -> Result<(), Corrupt> {
    let mut position = shared.tail().get();
    loop {
        let word = shared.slot(position);
        let seen = word.load();
        match inspect_tail_slot(shared, position, seen)? {
            TailSlot::Closed => return Ok(()),
            TailSlot::Skip(further) => position = further,
            TailSlot::Free if word.seal(seen) => return Ok(()),
            TailSlot::Free => {}
        }
    }
}

/// `Seal` in the place of whoever has begun to close, and may have died.
#[cold]
pub(crate) fn help_seal<S: SharedState>(shared: &S) -> Result<(), Corrupt> {
    if mutant!(SealNotHelped) {
        return Ok(());
    }
    seal(shared)
}
