//! Closing: one bit that says so, then the stop sentinel in the ring (`Seal`), then everybody is woken.

use super::super::mutants::{Mutant, active};
use super::super::peers::PeerIndex;
use super::super::{Corrupt, SharedState};
use super::receive::discard_all;
use super::send::{Look, look};
use super::wake_everybody;
use crate::sync::fence_after_exchange;

/// Close the queue. True if nobody had begun to before.
///
/// Never waits: a place in the ring is always free for the sentinel, also when the queue is full. When this
/// returns the sentinel is in place, so that every send that starts afterwards fails.
#[cold]
pub(crate) fn close<W: SharedState>(words: &W) -> Result<bool, Corrupt> {
    let first = words.lifecycle().begin_close();
    seal(words)?;
    // Whoever wrote the sentinel: it may have been a process that died before it could wake anybody.
    if !active(Mutant::CloseWakesNobody) {
        wake_everybody(words);
    }
    Ok(first)
}

/// Close the queue and discard what is left in it, for the process of row `me`. How many messages this call
/// discarded; receivers that come by discard some too.
#[cold]
pub(crate) fn cancel<W: SharedState>(words: &W, me: PeerIndex) -> Result<u64, Corrupt> {
    let _ = words.lifecycle().begin_cancel();
    // Pairs with the fence in `receive::discard_returned`.
    fence_after_exchange();
    seal(words)?;
    let discarded = discard_all(words, me)?;
    if !active(Mutant::CloseWakesNobody) {
        wake_everybody(words);
    }
    Ok(discarded)
}

/// `Seal`: write Closed at the tail, unless it is there already.
///
/// Whoever sees the closing bit does this first, so that a closer that stopped halfway has closed the queue
/// all the same.
#[cold]
pub(crate) fn seal<W: SharedState>(words: &W) -> Result<(), Corrupt> {
    let mut position = words.tail().get();
    loop {
        let word = words.slot(position);
        let seen = word.load();
        match look(words, position, seen)? {
            Look::Closed => return Ok(()),
            Look::GoOn(further) => position = further,
            Look::Free if word.seal(seen) => return Ok(()),
            Look::Free => {}
        }
    }
}

/// `Seal` in the place of whoever has begun to close, and may have died.
#[cold]
pub(crate) fn seal_for_another<W: SharedState>(words: &W) -> Result<(), Corrupt> {
    if active(Mutant::NobodySeals) {
        return Ok(());
    }
    seal(words)
}
