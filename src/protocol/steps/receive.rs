//! Receiving without locks: take a returned message (`Retake`), otherwise the next one of the ring (`Take`, `Hold`),
//! and find out whether a closed queue has ended.
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
use crate::protocol::ring::{LapOrder, SlotKind, SlotState};
use crate::protocol::{Corrupt, SharedState, Words};
use crate::sync::fence_after_exchange;

/// How many messages ahead a receiver prefetches those that do not lie beside their slots: such a message takes longer.
const PREFETCH_MESSAGES: u64 = 2;

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

/// A message that a receiver has found, in a block beside a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Found {
    position: Position,
    /// The value of the slot of that position.
    slot: SlotState,
    /// A position whose slot lies beside the block.
    place: Position,
}

impl Found {
    /// Returns a position whose slot lies beside the block.
    #[inline(always)]
    pub(crate) const fn place(self) -> Position {
        self.place
    }

    /// Returns the miss that a failed attempt to take this message is.
    #[inline(always)]
    pub(crate) const fn missed(self, reason: NotTaken) -> Miss {
        Miss::of(self.position, reason)
    }
}

/// Why a message that was found could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// Another process has changed the slot in the meantime.
    Lost,
    Corrupt(Corrupt),
}

impl From<Corrupt> for NotTaken {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
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
    /// Other receivers have taken the message of this position, whose slot was seen like this: the head was out of date.
    Passed(Position, SlotState),
    /// The block of the message of this position, whose slot was seen like this, lies beside no slot.
    Elsewhere(Position, SlotState),
    /// Another process has changed the slot of this position in the meantime.
    Lost(Position),
    /// The memory is corrupt.
    Corrupt(Corrupt),
}

impl Miss {
    /// Returns what became of the attempt to take the message of a position.
    #[inline(always)]
    pub(crate) const fn of(position: Position, reason: NotTaken) -> Self {
        match reason {
            NotTaken::Lost => Self::Lost(position),
            NotTaken::Corrupt(corrupt) => Self::Corrupt(corrupt),
        }
    }
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
    let taken = look(words).and_then(|found| {
        take_found(shared, words, me, found).map_err(|reason| found.missed(reason))
    });
    receive_taken(shared, me, taken)
}

/// Looks for the next message of the ring, unless anything is uncommon. The caller then calls [`take_found`]; after a [`Miss`] of
/// either, [`receive_after`] finds out more.
///
/// Two functions, each with a small result, so that the compiler keeps everything in registers.
#[inline(always)]
pub(crate) fn look<'a>(words: impl Words<'a>) -> Result<Found, Miss> {
    // Both words change rarely, so they are cached.
    if !words.lifecycle().load().is_open() || words.returned().load().is_dirty() {
        return Err(Miss::Uncommon);
    }
    look_at(words, words.head().get())
}

/// Completes an attempt to receive after [`look`] or [`take_found`].
#[inline(never)]
pub(crate) fn receive_after<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    miss: Miss,
) -> Result<Receive, Corrupt> {
    match miss {
        Miss::Uncommon => match receive_uncommon(shared, me)? {
            Some(found) => Ok(found),
            None => receive_taken(shared, me, take(shared, me)),
        },
        Miss::Passed(..) | Miss::Elsewhere(..) | Miss::Lost(_) => {
            receive_taken(shared, me, take_after(shared, me, miss))
        }
        Miss::Unfilled => confirm_empty(shared),
        Miss::AtTheEnd => try_end(shared, me),
        Miss::Corrupt(corrupt) => Err(corrupt),
    }
}

/// Completes an attempt to receive after [`take`] or [`take_after`].
fn receive_taken<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    taken: Result<OwnedBlock, Miss>,
) -> Result<Receive, Corrupt> {
    match taken {
        Ok(message) => Ok(Receive::Message(message)),
        Err(miss) => receive_after(shared, me, miss),
    }
}

/// Takes the next message of the ring.
fn take<S: SharedState>(shared: &S, me: PeerIndex) -> Result<OwnedBlock, Miss> {
    let words = shared.words();
    take_at(shared, words, me, words.head().get()).or_else(|miss| take_after(shared, me, miss))
}

/// Takes the next message of the ring after an attempt that has found one, but not taken it. After other misses, returns the
/// miss: [`receive_after`] finds out more.
#[inline(never)]
pub(crate) fn take_after<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    mut miss: Miss,
) -> Result<OwnedBlock, Miss> {
    let words = shared.words();
    loop {
        let taken = match miss {
            Miss::Passed(position, slot) => {
                take_at(shared, words, me, skip_ahead(shared, position, slot)?)
            }
            Miss::Lost(position) => take_at(shared, words, me, position),
            Miss::Elsewhere(position, slot) => take_elsewhere(shared, me, position, slot)
                .map_err(|reason| Miss::of(position, reason)),
            other => return Err(other),
        };
        match taken {
            Ok(message) => return Ok(message),
            Err(other) => miss = other,
        }
    }
}

/// Takes the message of this position, whose slot was seen like this, after a [`Miss::Elsewhere`]. Transitions `Take`,
/// `AdvanceHead`, `Hold` and `Clear`.
#[inline(never)]
pub(crate) fn take_elsewhere<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    position: Position,
    slot: SlotState,
) -> Result<OwnedBlock, NotTaken> {
    let words = shared.words();
    let index = slot.block();
    // `hold` writes the block next. Fetch its cache lines while the exchange waits for the slot's.
    words.prefetch_block(index);
    let header = words.block(index);
    let message = take_block(shared, words, me, position, slot, index, header)?;
    words.prefetch_message(position.plus(PREFETCH_MESSAGES), index);
    Ok(message)
}

/// Takes the message of this position, if it is there and lies beside a slot.
fn take_at<'a, S: SharedState>(
    shared: &'a S,
    words: S::Words<'a>,
    me: PeerIndex,
    position: Position,
) -> Result<OwnedBlock, Miss> {
    let found = look_at(words, position)?;
    take_found(shared, words, me, found).map_err(|reason| found.missed(reason))
}

/// Looks for the message of this position.
#[inline(always)]
fn look_at<'a>(words: impl Words<'a>, position: Position) -> Result<Found, Miss> {
    let size = words.ring_size();
    let (lap, slot) = (size.lap(position), words.slot(position).load());
    if !slot.is_full_in(lap) {
        return Err(match (slot.compare_lap(lap), slot.kind()) {
            // The slot has not been vacated in the lap before, so no receiver can be here yet.
            (LapOrder::Behind, _) => Corrupt::HeadAhead.into(),
            (LapOrder::Ahead(_), _) => Miss::Passed(position, slot),
            (LapOrder::Same, SlotKind::Closed) => Miss::AtTheEnd,
            (LapOrder::Same, _) => Miss::Unfilled,
        });
    }
    match size.position_beside(slot.block()) {
        Some(place) => Ok(Found {
            position,
            slot,
            place,
        }),
        None => Err(Miss::Elsewhere(position, slot)),
    }
}

/// Takes a message that [`look`] has found. Transitions `Take`, `AdvanceHead` and `Hold`, and `Clear` if the block lies beside
/// another slot.
#[inline(always)]
pub(crate) fn take_found<'a, S: SharedState>(
    shared: &'a S,
    words: S::Words<'a>,
    me: PeerIndex,
    found: Found,
) -> Result<OwnedBlock, NotTaken> {
    let place = if mutant!(BlockOfPosition) {
        found.position
    } else {
        found.place
    };
    let index = words.ring_size().index_beside(place);
    let header = words.block_beside(place);
    take_block(shared, words, me, found.position, found.slot, index, header)
}

/// Takes the message of this position, whose slot was full when it was seen. The header must be that of its block, which has
/// this index. Transitions `Take`, `AdvanceHead` and `Hold`, and `Clear` if the block does not lie beside the slot.
#[inline(always)]
fn take_block<'a, S: SharedState>(
    shared: &'a S,
    words: S::Words<'a>,
    me: PeerIndex,
    position: Position,
    seen: SlotState,
    index: BlockIndex,
    header: Option<&BlockHeader>,
) -> Result<OwnedBlock, NotTaken> {
    let word = words.slot(position);
    let Some(vacated) = word.take(seen, me) else {
        return Err(NotTaken::Lost);
    };
    words.head().set(position.next());
    words.prefetch_after(position);
    if words.space().has_waiters() && !mutant!(TakeWithoutWake) {
        shared.space().notify(|word| shared.wake(word, 1));
    }
    let held = hold(header.ok_or(Corrupt::NoSuchBlock)?, me)?;
    // The sender that fills the slot next usually owns the block beside it.
    if index != words.ring_size().index_beside(position) {
        word.clear(vacated);
    }
    Ok(OwnedBlock::new(index, held))
}

/// Returns the position to continue at after one whose slot was found in a later lap.
#[cold]
fn skip_ahead<S: SharedState>(
    shared: &S,
    position: Position,
    slot: SlotState,
) -> Result<Position, Corrupt> {
    let size = shared.ring_size();
    let LapOrder::Ahead(laps) = slot.compare_lap(size.lap(position)) else {
        return Err(Corrupt::InconsistentLaps);
    };
    let next = size.skip_taken(position, laps);
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
    match take(shared, me) {
        Err(Miss::Unfilled) => Err(Corrupt::TailAhead),
        taken => receive_taken(shared, me, taken),
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
            None => match take(shared, me) {
                Ok(held) => held,
                Err(Miss::AtTheEnd) => return Ok(count),
                Err(Miss::Corrupt(corrupt)) => return Err(corrupt),
                // An unfilled slot before the Closed one, as in `take_sealed`.
                Err(_) => return Err(Corrupt::TailAhead),
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
