//! Receiving: take a returned message (`Retake`), or the next one of the ring (`Take`, `Hold`, `Clear`).

use super::OwnedBlock;
use super::dead_letters::trim_dead_letters;
use super::help::help_all_takers;
use super::scan::find_blocks;
use super::seal::help_seal;
use super::settle::discard_message;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::ids::{PeerIndex, Position};
use crate::protocol::ring::{LapOrder, SlotKind};
use crate::protocol::{Corrupt, SharedState};
use crate::sync::fence_after_exchange;

/// The outcome of an attempt to receive.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Receive {
    /// A message, which the receiver now holds.
    Message(OwnedBlock),
    /// No message now; there may be one later.
    Empty,
    /// No message, now and forever.
    Closed,
}

/// Tries to receive a message for the process `me`.
#[inline(always)]
pub(crate) fn receive<S: SharedState>(shared: &S, me: PeerIndex) -> Result<Receive, Corrupt> {
    // Two words that change rarely: usually the queue is open, and no message was returned.
    if (!shared.lifecycle().load().is_open() || shared.returned().load().is_dirty())
        && let Some(first) = receive_before_ring(shared, me)?
    {
        return Ok(first);
    }
    take(shared, me, || check_end(shared, me))
}

/// Takes the next message of the ring. At the Closed slot the result is that of `at_the_end`. Transitions `Take`,
/// `AdvanceHead`, `Hold` and `Clear`.
///
/// `at_the_end` is a parameter, and not left to the caller, because a result that is taken apart and put together again
/// on the way goes through memory in pieces, which costs more than everything else here.
#[inline(always)]
fn take<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    at_the_end: impl FnOnce() -> Result<Receive, Corrupt>,
) -> Result<Receive, Corrupt> {
    let size = shared.ring_size();
    let mut position = shared.head().get();
    loop {
        let word = shared.slot(position);
        let seen = word.load();
        if seen.is_full_in(size.lap(position)) {
            // The block is written next: its cache line comes while the exchange waits for that of the slot.
            shared.prefetch_block(seen.block());
            if let Some(vacated) = word.take(seen, me) {
                shared.head().set(position.next());
                if shared.space().has_waiters() && !mutant!(TakeWithoutWake) {
                    shared.space().notify(|word| shared.wake(word, 1));
                }
                let header = shared.block(seen.block()).ok_or(Corrupt::NoSuchBlock)?;
                let held = hold(header, me)?;
                if !mutant!(SkipClear) {
                    word.clear(vacated);
                }
                return Ok(Receive::Message(OwnedBlock::new(seen.block(), held)));
            }
            continue;
        }
        match (seen.compare_lap(size.lap(position)), seen.kind()) {
            (LapOrder::Behind, _) => return Err(Corrupt::HeadAhead),
            (LapOrder::Ahead(laps), _) => position = skip_ahead(shared, position, laps)?,
            (LapOrder::Same, SlotKind::Closed) => return at_the_end(),
            (LapOrder::Same, _) => return confirm_empty(shared, position),
        }
    }
}

/// Returns where a receiver continues that has met a slot `laps` ahead of `position`.
#[cold]
fn skip_ahead<S: SharedState>(
    shared: &S,
    position: Position,
    laps: u32,
) -> Result<Position, Corrupt> {
    let next = shared.ring_size().skip_taken(position, laps);
    if shared.ring_size().is_runaway(shared.head().get(), next) {
        return Err(Corrupt::InconsistentLaps);
    }
    Ok(next)
}

/// Returns [`Receive::Empty`] for a receiver whose walk ended at a position that is not filled.
///
/// All positions before it must be taken (RING-2), so the slot of the last one must be ahead by now. If it is not, the
/// head was ahead of the ring.
#[inline(never)]
fn confirm_empty<S: SharedState>(shared: &S, position: Position) -> Result<Receive, Corrupt> {
    let was_taken = position.minus(1).is_none_or(|last| {
        let lap = shared.ring_size().lap(last);
        matches!(
            shared.slot(last).load().compare_lap(lap),
            LapOrder::Ahead(_)
        )
    });
    if was_taken {
        Ok(Receive::Empty)
    } else {
        Err(Corrupt::HeadAhead)
    }
}

/// Handles what comes before the messages of the ring: the end of the queue, and returned messages. Of a closing
/// queue it also takes the messages of the ring.
#[cold]
fn receive_before_ring<S: SharedState>(
    shared: &S,
    me: PeerIndex,
) -> Result<Option<Receive>, Corrupt> {
    let life = shared.lifecycle().load();
    if life.has_ended() {
        return Ok(Some(Receive::Closed));
    }
    if life.is_closing() {
        help_seal(shared)?;
    }
    if life.is_cancelled() {
        discard_remaining(shared, me)?;
        shared.lifecycle().end();
        return Ok(Some(Receive::Closed));
    }
    if let Some(held) = take_returned(shared, me) {
        return Ok(Some(Receive::Message(held)));
    }
    if life.is_closing() {
        return take_sealed(shared, me).map(Some);
    }
    Ok(None)
}

/// Takes the next message of a ring that is sealed.
///
/// Every position before the Closed slot is filled (RING-1), so the walk meets a message or the end. It meets a gap
/// only if a stray write to the tail led a sender, or the closer, too far.
fn take_sealed<S: SharedState>(shared: &S, me: PeerIndex) -> Result<Receive, Corrupt> {
    let mut is_at_end = false;
    let at_the_end = || {
        is_at_end = true;
        check_end(shared, me)
    };
    match take(shared, me, at_the_end)? {
        Receive::Empty if !is_at_end => Err(Corrupt::TailAhead),
        other => Ok(other),
    }
}

/// Records in the block that its taker holds the message. Transition `Hold`, by the taker itself.
#[inline(always)]
fn hold(header: &BlockHeader, me: PeerIndex) -> Result<BlockState, Corrupt> {
    let block = header.word.load();
    let held = block.held_by(me);
    // Offered, or Held because a helper was faster (BLOCK-2).
    if !block.is(BlockKind::Offered) && block != held {
        return Err(Corrupt::NotOffered);
    }
    header.word.hold(held);
    Ok(held)
}

/// Takes the returned message with the lowest position, if there is one. Transition `Retake`.
#[cold]
fn take_returned<S: SharedState>(shared: &S, me: PeerIndex) -> Option<OwnedBlock> {
    loop {
        let seen = shared.returned().load();
        if !seen.is_dirty() {
            return None;
        }
        let oldest_first = find_blocks(shared, |block| block.is(BlockKind::Returned));
        if oldest_first.is_empty() {
            shared.returned().clear(seen);
            return None;
        }
        for block in oldest_first {
            if shared.returned().load() != seen {
                // An older message may have been returned since the scan.
                break;
            }
            let word = &shared.block(block.index)?.word;
            if let Some(held) = word.take_returned(block.state, me) {
                return Some(OwnedBlock::new(block.index, held));
            }
        }
    }
}

/// Takes and discards all remaining messages of a cancelled queue, which must be sealed. Returns their number.
#[cold]
pub(super) fn discard_remaining<S: SharedState>(shared: &S, me: PeerIndex) -> Result<u64, Corrupt> {
    let mut count = 0;
    loop {
        let message = match take_returned(shared, me) {
            Some(held) => held,
            None => match take(shared, me, || Ok(Receive::Closed))? {
                Receive::Message(held) => held,
                Receive::Closed => return Ok(count),
                // A gap before the Closed slot, as in `take_sealed`.
                Receive::Empty => return Err(Corrupt::TailAhead),
            },
        };
        count += discard_message(shared, message)?;
    }
}

/// Decides whether a queue that is closed, and whose ring is drained, has ended.
///
/// It has, unless a message waits to be delivered again. A *settled* queue has ended only if, besides, no process
/// holds a message, because it may be returned. All takers are helped first, so that every message that was taken is
/// Held in its block before the blocks are scanned. Otherwise the scan would miss a taker that has not recorded its
/// message yet.
#[cold]
fn check_end<S: SharedState>(shared: &S, me: PeerIndex) -> Result<Receive, Corrupt> {
    let settled = shared.limits().close_waits_for_leases;
    if settled && !mutant!(EndWithoutHelpingRing) {
        help_all_takers(shared)?;
    }
    loop {
        let open = find_blocks(shared, |block| {
            block.is(BlockKind::Returned) || settled && block.is(BlockKind::Held)
        });
        if open.is_empty() {
            break;
        }
        if !open.iter().any(|block| block.state.is(BlockKind::Returned)) {
            return Ok(Receive::Empty);
        }
        // The process that returned it may have died before it set the word (RETURNED-1).
        shared.returned().set();
        if let Some(held) = take_returned(shared, me) {
            return Ok(Receive::Message(held));
        }
        // Another receiver has taken it: scan again.
    }
    if !mutant!(ClosedIsNotSticky) {
        shared.lifecycle().end();
    }
    // A message that was returned after the scan is a dead letter now. The process that returned it checks for the end
    // afterwards: either it sees the bit, or this call finds the letter.
    fence_after_exchange();
    if !mutant!(EndWithoutTrim) {
        trim_dead_letters(shared, Some(me));
    }
    Ok(Receive::Closed)
}
