//! Receiving without locks: take a returned message (`Retake`), otherwise the next one of the ring (`Take`, `Hold`,
//! `Clear`), and find out whether a closed queue has ended.
//!
//! This file owns no state. It changes the shared words `head`, `returned` and `lifecycle`, the slots and the blocks.

use super::OwnedBlock;
use super::dead_letters::trim_dead_letters;
use super::help::help_all_takers;
use super::scan::find_blocks;
use super::seal::help_seal;
use super::settle::discard_message;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::ids::{BlockIndex, PeerIndex, Position};
use crate::protocol::ring::{LapOrder, SlotKind};
use crate::protocol::{Corrupt, SharedState, Words};
use crate::sync::fence_after_exchange;

/// How many cells ahead a receiver prefetches: in the time that this many messages take, a cache line comes from
/// the sender's processor.
const PREFETCH_CELLS: u64 = 8;

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

/// Why an attempt to receive has not simply returned the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Miss {
    /// No sender has filled the next position yet.
    Unfilled,
    /// The Closed slot was reached: the end of the ring.
    AtTheEnd,
    /// The queue is not simply open, or it has returned messages.
    Uncommon,
    /// The memory is corrupt.
    Corrupt(Corrupt),
}

impl From<Corrupt> for Miss {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// Tries to receive a message for the process `me`.
#[inline(always)]
pub(crate) fn receive<'a, S: SharedState>(
    shared: &'a S,
    words: S::Words<'a>,
    me: PeerIndex,
) -> Result<Receive, Corrupt> {
    match receive_next(shared, words, me) {
        Ok(message) => Ok(Receive::Message(message)),
        Err(miss) => receive_after(shared, me, miss),
    }
}

/// Receives the next message of the ring, unless anything is uncommon. After a [`Miss`], [`receive_after`] finds out more.
///
/// The result is made of small values, of which none comes from a function that is not inlined. So the compiler keeps it
/// in registers.
#[inline(always)]
pub(crate) fn receive_next<'a, S: SharedState>(
    shared: &'a S,
    words: S::Words<'a>,
    me: PeerIndex,
) -> Result<OwnedBlock, Miss> {
    // Both words change rarely, so they are cached.
    if !words.lifecycle().load().is_open() || words.returned().load().is_dirty() {
        return Err(Miss::Uncommon);
    }
    take(shared, words, me)
}

/// Completes an attempt to receive after [`receive_next`].
#[inline(never)]
pub(crate) fn receive_after<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    miss: Miss,
) -> Result<Receive, Corrupt> {
    match miss {
        Miss::Uncommon => match receive_uncommon(shared, me)? {
            Some(found) => Ok(found),
            None => match take(shared, shared.words(), me) {
                Ok(message) => Ok(Receive::Message(message)),
                Err(miss) => receive_after(shared, me, miss),
            },
        },
        Miss::Unfilled => confirm_empty(shared),
        Miss::AtTheEnd => try_end(shared, me),
        Miss::Corrupt(corrupt) => Err(corrupt),
    }
}

/// Takes the next message of the ring. Transitions `Take`, `AdvanceHead`, `Hold` and `Clear`.
#[inline(always)]
fn take<'a, S: SharedState>(
    shared: &'a S,
    words: S::Words<'a>,
    me: PeerIndex,
) -> Result<OwnedBlock, Miss> {
    let size = words.ring_size();
    let mut position = words.head().get();
    loop {
        let word = words.slot(position);
        let seen = word.load();
        if seen.is_full_in(size.lap(position)) {
            // `hold` writes the block next. Fetch its cache lines while the exchange waits for the slot's.
            if u64::from(seen.block().get()) != size.slot_number(position) {
                words.prefetch_block(seen.block());
            }
            if let Some(vacated) = word.take(seen, me) {
                words.head().set(position.next());
                words.prefetch_cell(position.plus(PREFETCH_CELLS));
                if words.space().has_waiters() && !mutant!(TakeWithoutWake) {
                    shared.space().notify(|word| shared.wake(word, 1));
                }
                let index = if mutant!(BlockOfPosition) {
                    BlockIndex::from_low_bits(size.slot_number(position))
                } else {
                    seen.block()
                };
                let header = words.block(index).ok_or(Corrupt::NoSuchBlock)?;
                let held = hold(header, me)?;
                if !mutant!(SkipClear) {
                    word.clear(vacated);
                }
                return Ok(OwnedBlock::new(index, held));
            }
            continue;
        }
        // Compares the slot's lap with that of `position`.
        match (seen.compare_lap(size.lap(position)), seen.kind()) {
            // The slot has not been vacated in the lap before, so no receiver can be here yet.
            (LapOrder::Behind, _) => return Err(Corrupt::HeadAhead.into()),
            // Other receivers have taken the message of this position: the head was out of date.
            (LapOrder::Ahead(laps), _) => position = skip_ahead(shared, position, laps)?,
            (LapOrder::Same, SlotKind::Closed) => return Err(Miss::AtTheEnd),
            // No sender has filled the slot yet.
            (LapOrder::Same, _) => return Err(Miss::Unfilled),
        }
    }
}

/// Returns the position to continue at after a slot that is `laps` laps ahead of `position`.
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

/// Returns [`Receive::Empty`] for a receiver that has reached a position that is not filled.
///
/// The message before the head must have been taken (RING-2), so its slot must already be in a later lap. If it is
/// not, the head points beyond messages that were never taken: the memory is corrupt.
#[inline(never)]
fn confirm_empty<S: SharedState>(shared: &S) -> Result<Receive, Corrupt> {
    let was_taken = shared.head().get().minus(1).is_none_or(|last| {
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

/// Handles the uncommon cases: the queue is closing, cancelled or ended, or a message was returned. Returns `None` if
/// the caller should take the next message of the ring.
#[cold]
fn receive_uncommon<S: SharedState>(shared: &S, me: PeerIndex) -> Result<Option<Receive>, Corrupt> {
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
/// Every position before the Closed slot is filled (RING-1), so `take` finds a message or the Closed slot. An unfilled
/// slot before it means that the tail was overwritten, and a sender or `Seal` skipped positions.
fn take_sealed<S: SharedState>(shared: &S, me: PeerIndex) -> Result<Receive, Corrupt> {
    match take(shared, shared.words(), me) {
        Ok(message) => Ok(Receive::Message(message)),
        Err(Miss::Unfilled) => Err(Corrupt::TailAhead),
        Err(miss) => receive_after(shared, me, miss),
    }
}

/// Marks the block as Held by `me`, which has just taken its slot. Transition `Hold`, by the receiver itself.
#[inline(always)]
fn hold(header: &BlockHeader, me: PeerIndex) -> Result<BlockState, Corrupt> {
    let block = header.word.load();
    let held = block.held_by(me);
    // Still Offered, or already Held by `me`, because another process has helped (BLOCK-2).
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
            None => match take(shared, shared.words(), me) {
                Ok(held) => held,
                Err(Miss::AtTheEnd) => return Ok(count),
                Err(Miss::Corrupt(corrupt)) => return Err(corrupt),
                // An unfilled slot before the Closed one, as in `take_sealed`.
                Err(Miss::Unfilled | Miss::Uncommon) => return Err(Corrupt::TailAhead),
            },
        };
        count += discard_message(shared, message)?;
    }
}

/// Ends the queue if nothing is left to deliver; otherwise takes a returned message, or returns `Empty`. Called at the
/// Closed slot, when all messages of the ring have been taken.
///
/// The queue has ended unless a returned message is waiting. With `close_waits_for_leases`, it also has not ended while
/// a process holds a message, because that message may still be returned. In that case this call first helps all
/// receivers that have taken a slot, so that every message that was taken is Held in its block before the blocks are
/// scanned. Otherwise the scan would miss a receiver that has not recorded its message yet.
#[cold]
fn try_end<S: SharedState>(shared: &S, me: PeerIndex) -> Result<Receive, Corrupt> {
    let waits_for_leases = shared.limits().close_waits_for_leases;
    if waits_for_leases && !mutant!(EndWithoutHelpingRing) {
        help_all_takers(shared)?;
    }
    loop {
        let unfinished = find_blocks(shared, |block| {
            block.is(BlockKind::Returned) || waits_for_leases && block.is(BlockKind::Held)
        });
        if unfinished.is_empty() {
            break;
        }
        if !unfinished
            .iter()
            .any(|block| block.state.is(BlockKind::Returned))
        {
            return Ok(Receive::Empty);
        }
        // The process that returned it may have died before it set the dirty bit (RETURNED-1).
        shared.returned().set();
        if let Some(held) = take_returned(shared, me) {
            return Ok(Receive::Message(held));
        }
        // Another receiver has taken it: scan again.
    }
    if !mutant!(ClosedIsNotSticky) {
        shared.lifecycle().end();
    }
    // From here on a returned message is a dead letter. The process that returns one checks the *ended* bit afterwards.
    // So either that process sees the bit and drops dead letters beyond the limit, or this call finds the letter and
    // does so.
    fence_after_exchange();
    if !mutant!(EndWithoutTrim) {
        trim_dead_letters(shared, Some(me));
    }
    Ok(Receive::Closed)
}
