//! Receiving: take a returned message (`Retake`) or the next of the ring (`Take`, `Hold`, `Clear`), then acknowledge it
//! (`Release`) or return it (`Return`).

use super::super::blocks::{BlockHeader, BlockKind, BlockState};
use super::super::peers::PeerIndex;
use super::super::ring::{LapOrder, Position, SlotKind};
use super::super::{Corrupt, SharedState};
use super::dead_letters::trim_dead_letters;
use super::send::wake_block_waiters;
use super::{OwnedBlock, batch, close, find_blocks, help_taker, state_after_return_or_cancel};
use crate::sync::{Ordering, fence_after_exchange};

/// What a receiver found.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Receive {
    /// A message, taken and held.
    Message(OwnedBlock),
    /// Nothing now; there may be something later.
    Empty,
    /// Nothing, now and for ever.
    Closed,
}

/// One attempt to receive, for the process of row `me`.
#[inline(always)]
pub(crate) fn receive<S: SharedState>(shared: &S, me: PeerIndex) -> Result<Receive, Corrupt> {
    // Two words that hardly ever change: nothing is closed, and nothing has come back.
    if (!shared.lifecycle().load().is_open() || shared.returned().load().is_dirty())
        && let Some(first) = receive_before_ring(shared, me)?
    {
        return Ok(first);
    }
    take(shared, me, || check_end(shared, me))
}

/// `Take`, `Hold` and `Clear`: the next message of the ring, or what `at_the_end` says when there will be none.
///
/// That is a parameter, and not for the caller to find out, because a result that is taken apart and put
/// together again on the way goes through memory in pieces, which costs more than all else here.
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
            // While the exchange gets hold of the slot, the block, which is written next, is on its way too.
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

/// Where a receiver goes on that has met a slot `laps` ahead of it.
#[cold]
fn skip_ahead<S: SharedState>(
    shared: &S,
    position: Position,
    laps: u32,
) -> Result<Position, Corrupt> {
    let further = shared.ring_size().skip_taken(position, laps);
    if shared.ring_size().is_runaway(shared.head().get(), further) {
        return Err(Corrupt::InconsistentLaps);
    }
    Ok(further)
}

/// A receiver has come to a position that is not filled. There is nothing to take, if the head has led here
/// rightly: all positions before are taken (RING-2), so the slot of the last one is good for a later lap.
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

/// What comes before the messages of the ring: the end of everything, and returned messages. And all that a
/// closed queue still has.
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
        close::help_seal(shared)?;
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

/// [`take`] from a queue that is sealed. Every position before the end is filled (RING-1), so this meets a message
/// or the end, or else a gap: then a sender, or the closer, was led too far by a tail that somebody had
/// overwritten.
fn take_sealed<S: SharedState>(shared: &S, me: PeerIndex) -> Result<Receive, Corrupt> {
    let mut at_the_end = false;
    let check_end = || {
        at_the_end = true;
        check_end(shared, me)
    };
    match take(shared, me, check_end)? {
        Receive::Empty if !at_the_end => Err(Corrupt::TailAhead),
        other => Ok(other),
    }
}

/// `Hold`, by the taker.
#[inline(always)]
fn hold(header: &BlockHeader, me: PeerIndex) -> Result<BlockState, Corrupt> {
    let word = header.word.load();
    let held = word.held_by(me);
    // Offered, or Held in our name by a helper that was faster (BLOCK-2).
    if !word.is(BlockKind::Offered) && word != held {
        return Err(Corrupt::NotOffered);
    }
    header.word.hold(held);
    Ok(held)
}

/// `Retake`: the returned message with the lowest position, if there is any.
#[cold]
fn take_returned<S: SharedState>(shared: &S, me: PeerIndex) -> Option<OwnedBlock> {
    loop {
        let seen = shared.returned().load();
        if !seen.is_dirty() {
            return None;
        }
        let oldest_first = find_blocks(shared, |word| word.is(BlockKind::Returned));
        if oldest_first.is_empty() {
            shared.returned().clear(seen);
            return None;
        }
        for (_, index, word) in oldest_first {
            if shared.returned().load() != seen {
                // Something older may have come back since.
                break;
            }
            if let Some(word) = shared.block(index)?.word.take_returned(word, me) {
                return Some(OwnedBlock::new(index, word));
            }
        }
    }
}

/// After a cancel: take what is left, and free it. How many messages that were.
///
/// The queue must be sealed, so that there is an end.
#[cold]
pub(crate) fn discard_remaining<S: SharedState>(shared: &S, me: PeerIndex) -> Result<u64, Corrupt> {
    let mut count = 0;
    loop {
        let message = match take_returned(shared, me) {
            Some(held) => held,
            None => match take(shared, me, || Ok(Receive::Closed))? {
                Receive::Message(held) => held,
                Receive::Closed => return Ok(count),
                // As in `take_sealed`.
                Receive::Empty => return Err(Corrupt::TailAhead),
            },
        };
        count += discard(shared, message)?;
    }
}

/// `Release` for what nobody gets. How many messages that were.
fn discard<S: SharedState>(shared: &S, held: OwnedBlock) -> Result<u64, Corrupt> {
    batch::count_accepted(shared, held.index(), held.word());
    let count = batch::message_counts(shared, held.index()).unsettled();
    let to = held.word().free();
    release(shared, held, to)?;
    shared.discarded().fetch_add(count, Ordering::Relaxed);
    Ok(count)
}

/// `Discard`: after a cancel, discards the messages that have been returned, in any process's place. Returns how many
/// there were.
///
/// Whoever returns a message may have looked for the cancel just before it came. So it looks again afterwards, and
/// so does whoever recovers a dead process: the canceller either sees the message, or they see its bit.
#[cold]
pub(super) fn discard_returned<S: SharedState>(shared: &S) -> u64 {
    // Pairs with the fence in `close::cancel`.
    fence_after_exchange();
    if !shared.lifecycle().load().is_cancelled() || mutant!(LateReturnNotDiscarded) {
        return 0;
    }
    let mut discarded = 0;
    for (_, index, word) in find_blocks(shared, |word| word.is(BlockKind::Returned)) {
        let count = batch::message_counts(shared, index).unsettled();
        let exchanged = shared
            .block(index)
            .is_some_and(|header| header.word.exchange(word, word.free()));
        if exchanged {
            shared.discarded().fetch_add(count, Ordering::Relaxed);
            discarded += count;
            wake_block_waiters(shared);
        }
    }
    discarded
}

/// The ring is drained and closed. Is that the end?
///
/// *Drained*: yes, unless a message waits to be handed out again. *Settled*: only if, besides, nobody holds a
/// message, for it might come back. The ring is helped first, so that every message in somebody's hands is
/// Held in its block before the blocks are looked at: a taker that has not noted it yet would be overlooked.
#[cold]
fn check_end<S: SharedState>(shared: &S, me: PeerIndex) -> Result<Receive, Corrupt> {
    let settled = shared.limits().close_waits_for_leases;
    if settled && !mutant!(EndWithoutHelpingRing) {
        for number in 0..shared.ring_size().slots() {
            let position = Position(number);
            help_taker(shared, position, shared.slot(position).load())?;
        }
    }
    loop {
        let open = find_blocks(shared, |word| {
            word.is(BlockKind::Returned) || settled && word.is(BlockKind::Held)
        });
        if open.is_empty() {
            break;
        }
        if !open.iter().any(|(.., word)| word.is(BlockKind::Returned)) {
            return Ok(Receive::Empty);
        }
        // Its returner may have died before it could say so (RETURNED-1).
        shared.returned().set();
        if let Some(held) = take_returned(shared, me) {
            return Ok(Receive::Message(held));
        }
        // Somebody else has taken it: look again.
    }
    if !mutant!(ClosedIsNotSticky) {
        shared.lifecycle().end();
    }
    // What came back since the look at the blocks is a dead letter now. Whoever returned it looks for the end
    // afterwards: either it sees the bit, or this finds the letter.
    fence_after_exchange();
    if !mutant!(EndWithoutTrim) {
        trim_dead_letters(shared, Some(me));
    }
    Ok(Receive::Closed)
}

/// `Release`: the message is done with; its block is free.
#[inline(always)]
pub(crate) fn acknowledge<S: SharedState>(shared: &S, held: OwnedBlock) -> Result<(), Corrupt> {
    let to = held.word().free();
    release(shared, held, to)
}

/// `Return`: the message goes to somebody else, or, if it has come back too often, to the dead letters; after a
/// cancel it is discarded.
#[cold]
pub(crate) fn return_message<S: SharedState>(shared: &S, held: OwnedBlock) -> Result<(), Corrupt> {
    let to = state_after_return_or_cancel(shared, held.index(), held.word());
    if to.is(BlockKind::Free) {
        return discard(shared, held).map(drop);
    }
    batch::count_accepted(shared, held.index(), held.word());
    finish_return(shared, held, to)
}

/// `Return` for a message that nobody will ever be able to use.
#[cold]
pub(crate) fn reject<S: SharedState>(shared: &S, held: OwnedBlock) -> Result<(), Corrupt> {
    let to = held.word().dead();
    finish_return(shared, held, to)
}

pub(super) fn finish_return<S: SharedState>(
    shared: &S,
    held: OwnedBlock,
    to: BlockState,
) -> Result<(), Corrupt> {
    let said = mutant!(SignalBeforeReturn);
    if said {
        shared.returned().set();
    }
    let me = held.word().peer();
    release(shared, held, to)?;
    if to.is(BlockKind::Returned) && !said {
        shared.returned().set();
    }
    if to.is(BlockKind::Returned) {
        discard_returned(shared);
    }
    if to.is(BlockKind::Dead) || shared.lifecycle().load().has_ended() {
        trim_dead_letters(shared, Some(me));
    }
    if shared.items().has_waiters() && !mutant!(ReturnWithoutWake) {
        shared.items().notify(|word| shared.wake(word, 1));
    }
    Ok(())
}

#[inline(always)]
pub(super) fn release<S: SharedState>(
    shared: &S,
    held: OwnedBlock,
    to: BlockState,
) -> Result<(), Corrupt> {
    let header = shared.block(held.index()).ok_or(Corrupt::NoSuchBlock)?;
    if !header.word.release(held.word(), to) {
        return Err(Corrupt::OwnedBlockChanged);
    }
    wake_block_waiters(shared);
    // A settled queue ends with the last release: receivers that wait for it look again. The exchange above
    // precedes this load, and whoever sets `closing` wakes everybody afterwards, so either we see the bit or
    // the look at the blocks that follows that wake sees our release.
    if !shared.lifecycle().load().is_open()
        && shared.items().has_waiters()
        && !mutant!(LastReleaseWithoutWake)
    {
        shared.items().notify(|word| shared.wake(word, u32::MAX));
    }
    Ok(())
}

/// After a sleep: is the tail where it may be? A sender that follows a tail ahead of the truth leaves a gap, and
/// receivers would wait before it for ever, however much is sent.
#[cold]
pub(crate) fn check_tail<S: SharedState>(shared: &S) -> Result<(), Corrupt> {
    let head = shared.head().get();
    let seen = shared.slot(head).load();
    let is_free = seen.compare_lap(shared.ring_size().lap(head)) == LapOrder::Same
        && matches!(seen.kind(), SlotKind::Empty | SlotKind::Vacated);
    // Positions are filled in order (RING-1): the tail that was read while this one was free is not after it.
    if is_free && shared.tail().get() > head && shared.slot(head).load() == seen {
        return Err(Corrupt::TailAhead);
    }
    Ok(())
}

/// The first position that is not filled, and the first that is not taken, each as it was at some moment of
/// this call, the second not after the first.
pub(crate) fn filled_and_taken<S: SharedState>(shared: &S) -> (Position, Position) {
    let size = shared.ring_size();
    let mut taken = shared.head().get();
    // Bounded, lest nonsense in the words keep us here: a walk of one lap finds the truth.
    for _ in 0..size.slots() {
        let slot = shared.slot(taken).load();
        match slot.compare_lap(size.lap(taken)) {
            LapOrder::Ahead(laps) => taken = size.skip_taken(taken, laps),
            LapOrder::Same | LapOrder::Behind => break,
        }
    }
    let mut filled = shared.tail().get().max(taken);
    for _ in 0..size.slots() {
        let slot = shared.slot(filled).load();
        match (slot.compare_lap(size.lap(filled)), slot.kind()) {
            (_, SlotKind::Closed)
            | (LapOrder::Behind, _)
            | (LapOrder::Same, SlotKind::Empty | SlotKind::Vacated) => break,
            (LapOrder::Same, SlotKind::Full) => filled = size.skip_filled(filled, slot, 0),
            (LapOrder::Ahead(laps), _) => filled = size.skip_filled(filled, slot, laps),
        }
    }
    (filled, taken)
}
