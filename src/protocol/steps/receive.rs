//! Receiving: take a returned message (`Retake`) or the next of the ring (`Take`, `Hold`, `Clear`), then acknowledge it
//! (`Release`) or return it (`Return`).

use super::super::blocks::{Block, BlockHeader, State};
use super::super::mutants::{Mutant, active};
use super::super::peers::PeerIndex;
use super::super::ring::{Kind, LapOrder, Position};
use super::super::{Corrupt, SharedState};
use super::dead_letters::bury;
use super::send::wake_block_waiters;
use super::{OwnedBlock, batch, blocks_in, close, come_back, help};
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
pub(crate) fn receive<W: SharedState>(words: &W, me: PeerIndex) -> Result<Receive, Corrupt> {
    // Two words that hardly ever change: nothing is closed, and nothing has come back.
    if (!words.lifecycle().load().is_open() || words.returned().load().is_dirty())
        && let Some(first) = before_the_ring(words, me)?
    {
        return Ok(first);
    }
    take(words, me, || verdict(words, me))
}

/// `Take`, `Hold` and `Clear`: the next message of the ring, or what `at_the_end` says when there will be none.
///
/// That is a parameter, and not for the caller to find out, because a result that is taken apart and put
/// together again on the way goes through memory in pieces, which costs more than all else here.
#[inline(always)]
fn take<W: SharedState>(
    words: &W,
    me: PeerIndex,
    at_the_end: impl FnOnce() -> Result<Receive, Corrupt>,
) -> Result<Receive, Corrupt> {
    let size = words.ring_size();
    let mut position = words.head().get();
    loop {
        let word = words.slot(position);
        let seen = word.load();
        if seen.is_full_in(size.lap(position)) {
            // While the exchange gets hold of the slot, the block, which is written next, is on its way too.
            words.prefetch_block(seen.block());
            if let Some(vacated) = word.take(seen, me) {
                words.head().set(position.next());
                if words.space().someone_sleeps() && !active(Mutant::TakeWakesNobody) {
                    words.space().notify(|word| words.wake(word, 1));
                }
                let header = words.block(seen.block()).ok_or(Corrupt::NoSuchBlock)?;
                let held = hold(header, me)?;
                if !active(Mutant::KeepName) {
                    word.clear(vacated);
                }
                return Ok(Receive::Message(OwnedBlock::new(seen.block(), held)));
            }
            continue;
        }
        match (seen.against(size.lap(position)), seen.kind()) {
            (LapOrder::Behind, _) => return Err(Corrupt::HeadAhead),
            (LapOrder::Ahead(laps), _) => position = walk_on(words, position, laps)?,
            (LapOrder::Same, Kind::Closed) => return at_the_end(),
            (LapOrder::Same, _) => return nothing_at(words, position),
        }
    }
}

/// Where a receiver goes on that has met a slot `laps` ahead of it.
#[cold]
fn walk_on<W: SharedState>(words: &W, position: Position, laps: u32) -> Result<Position, Corrupt> {
    let further = words.ring_size().skip_taken(position, laps);
    if words.ring_size().is_astray(words.head().get(), further) {
        return Err(Corrupt::Astray);
    }
    Ok(further)
}

/// A receiver has come to a position that is not filled. There is nothing to take, if the head has led here
/// rightly: all positions before are taken (RING-2), so the slot of the last one is good for a later lap.
#[inline(never)]
fn nothing_at<W: SharedState>(words: &W, position: Position) -> Result<Receive, Corrupt> {
    let was_taken = position.minus(1).is_none_or(|last| {
        let lap = words.ring_size().lap(last);
        matches!(words.slot(last).load().against(lap), LapOrder::Ahead(_))
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
fn before_the_ring<W: SharedState>(words: &W, me: PeerIndex) -> Result<Option<Receive>, Corrupt> {
    let life = words.lifecycle().load();
    if life.has_ended() {
        return Ok(Some(Receive::Closed));
    }
    if life.is_closing() {
        close::seal_for_another(words)?;
    }
    if life.is_cancelled() {
        discard_all(words, me)?;
        words.lifecycle().end();
        return Ok(Some(Receive::Closed));
    }
    if let Some(held) = take_returned(words, me) {
        return Ok(Some(Receive::Message(held)));
    }
    if life.is_closing() {
        return take_sealed(words, me).map(Some);
    }
    Ok(None)
}

/// [`take`] from a queue that is sealed. Every position before the end is filled (RING-1), so this meets a message
/// or the end, or else a gap: then a sender, or the closer, was led too far by a tail that somebody had
/// overwritten.
fn take_sealed<W: SharedState>(words: &W, me: PeerIndex) -> Result<Receive, Corrupt> {
    let mut at_the_end = false;
    let verdict = || {
        at_the_end = true;
        verdict(words, me)
    };
    match take(words, me, verdict)? {
        Receive::Empty if !at_the_end => Err(Corrupt::TailAhead),
        other => Ok(other),
    }
}

/// `Hold`, by the taker.
#[inline(always)]
fn hold(header: &BlockHeader, me: PeerIndex) -> Result<Block, Corrupt> {
    let word = header.word.load();
    let held = word.held_by(me);
    // Offered, or Held in our name by a helper that was faster (BLOCK-2).
    if !word.is(State::Offered) && word != held {
        return Err(Corrupt::NotOffered);
    }
    header.word.hold(held);
    Ok(held)
}

/// `Retake`: the returned message with the lowest position, if there is any.
#[cold]
fn take_returned<W: SharedState>(words: &W, me: PeerIndex) -> Option<OwnedBlock> {
    loop {
        let seen = words.returned().load();
        if !seen.is_dirty() {
            return None;
        }
        let oldest_first = blocks_in(words, |word| word.is(State::Returned));
        if oldest_first.is_empty() {
            words.returned().clear(seen);
            return None;
        }
        for (_, index, word) in oldest_first {
            if words.returned().load() != seen {
                // Something older may have come back since.
                break;
            }
            if let Some(word) = words.block(index)?.word.take_returned(word, me) {
                return Some(OwnedBlock::new(index, word));
            }
        }
    }
}

/// After a cancel: take what is left, and free it. How many messages that were.
///
/// The queue must be sealed, so that there is an end.
#[cold]
pub(crate) fn discard_all<W: SharedState>(words: &W, me: PeerIndex) -> Result<u64, Corrupt> {
    let mut count = 0;
    loop {
        let message = match take_returned(words, me) {
            Some(held) => held,
            None => match take(words, me, || Ok(Receive::Closed))? {
                Receive::Message(held) => held,
                Receive::Closed => return Ok(count),
                // As in `take_sealed`.
                Receive::Empty => return Err(Corrupt::TailAhead),
            },
        };
        count += discard(words, message)?;
    }
}

/// `Release` for what nobody gets. How many messages that were.
fn discard<W: SharedState>(words: &W, held: OwnedBlock) -> Result<u64, Corrupt> {
    batch::count_accepted(words, held.index(), held.word());
    let count = batch::messages(words, held.index()).left();
    let to = held.word().free();
    release(words, held, to)?;
    words.discarded().fetch_add(count, Ordering::Relaxed);
    Ok(count)
}

/// `Discard`: after a cancel, discards the messages that have been returned, in any process's place. Returns how many
/// there were.
///
/// Whoever returns a message may have looked for the cancel just before it came. So it looks again afterwards, and
/// so does whoever recovers a dead process: the canceller either sees the message, or they see its bit.
#[cold]
pub(super) fn discard_returned<W: SharedState>(words: &W) -> u64 {
    // Pairs with the fence in `close::cancel`.
    fence_after_exchange();
    if !words.lifecycle().load().is_cancelled() || active(Mutant::ReturnLateIsLeft) {
        return 0;
    }
    let mut discarded = 0;
    for (_, index, word) in blocks_in(words, |word| word.is(State::Returned)) {
        let count = batch::messages(words, index).left();
        let exchanged = words
            .block(index)
            .is_some_and(|header| header.word.exchange(word, word.free()));
        if exchanged {
            words.discarded().fetch_add(count, Ordering::Relaxed);
            discarded += count;
            wake_block_waiters(words);
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
fn verdict<W: SharedState>(words: &W, me: PeerIndex) -> Result<Receive, Corrupt> {
    let settled = words.limits().close_waits_for_leases;
    if settled && !active(Mutant::VerdictInOnePass) {
        for number in 0..words.ring_size().slots() {
            let position = Position(number);
            help(words, position, words.slot(position).load())?;
        }
    }
    loop {
        let open = blocks_in(words, |word| {
            word.is(State::Returned) || settled && word.is(State::Held)
        });
        if open.is_empty() {
            break;
        }
        if !open.iter().any(|(.., word)| word.is(State::Returned)) {
            return Ok(Receive::Empty);
        }
        // Its returner may have died before it could say so (RETURNED-1).
        words.returned().set();
        if let Some(held) = take_returned(words, me) {
            return Ok(Receive::Message(held));
        }
        // Somebody else has taken it: look again.
    }
    if !active(Mutant::ClosedIsNotSticky) {
        words.lifecycle().end();
    }
    // What came back since the look at the blocks is a dead letter now. Whoever returned it looks for the end
    // afterwards: either it sees the bit, or this finds the letter.
    fence_after_exchange();
    if !active(Mutant::EndWithoutTrim) {
        bury(words, Some(me));
    }
    Ok(Receive::Closed)
}

/// `Release`: the message is done with; its block is free.
#[inline(always)]
pub(crate) fn acknowledge<W: SharedState>(words: &W, held: OwnedBlock) -> Result<(), Corrupt> {
    let to = held.word().free();
    release(words, held, to)
}

/// `Return`: the message goes to somebody else, or, if it has come back too often, to the dead letters; after a
/// cancel it is discarded.
#[cold]
pub(crate) fn give_back<W: SharedState>(words: &W, held: OwnedBlock) -> Result<(), Corrupt> {
    let to = come_back(words, held.index(), held.word());
    if to.is(State::Free) {
        return discard(words, held).map(drop);
    }
    batch::count_accepted(words, held.index(), held.word());
    give(words, held, to)
}

/// `Return` for a message that nobody will ever be able to use.
#[cold]
pub(crate) fn reject<W: SharedState>(words: &W, held: OwnedBlock) -> Result<(), Corrupt> {
    let to = held.word().dead();
    give(words, held, to)
}

pub(super) fn give<W: SharedState>(words: &W, held: OwnedBlock, to: Block) -> Result<(), Corrupt> {
    let said = active(Mutant::SayBeforeReturning);
    if said {
        words.returned().set();
    }
    let me = held.word().row();
    release(words, held, to)?;
    if to.is(State::Returned) && !said {
        words.returned().set();
    }
    if to.is(State::Returned) {
        discard_returned(words);
    }
    if to.is(State::Dead) || words.lifecycle().load().has_ended() {
        bury(words, Some(me));
    }
    if words.items().someone_sleeps() && !active(Mutant::ReturnWakesNobody) {
        words.items().notify(|word| words.wake(word, 1));
    }
    Ok(())
}

#[inline(always)]
pub(super) fn release<W: SharedState>(
    words: &W,
    held: OwnedBlock,
    to: Block,
) -> Result<(), Corrupt> {
    let header = words.block(held.index()).ok_or(Corrupt::NoSuchBlock)?;
    if !header.word.release(held.word(), to) {
        return Err(Corrupt::ChangedInHand);
    }
    wake_block_waiters(words);
    // A settled queue ends with the last release: receivers that wait for it look again. The exchange above
    // precedes this load, and whoever sets `closing` wakes everybody afterwards, so either we see the bit or
    // the look at the blocks that follows that wake sees our release.
    if !words.lifecycle().load().is_open()
        && words.items().someone_sleeps()
        && !active(Mutant::LastReleaseWakesNobody)
    {
        words.items().notify(|word| words.wake(word, u32::MAX));
    }
    Ok(())
}

/// After a sleep: is the tail where it may be? A sender that follows a tail ahead of the truth leaves a gap, and
/// receivers would wait before it for ever, however much is sent.
#[cold]
pub(crate) fn inspect<W: SharedState>(words: &W) -> Result<(), Corrupt> {
    let head = words.head().get();
    let seen = words.slot(head).load();
    let is_free = seen.against(words.ring_size().lap(head)) == LapOrder::Same
        && matches!(seen.kind(), Kind::Empty | Kind::Vacated);
    // Positions are filled in order (RING-1): the tail that was read while this one was free is not after it.
    if is_free && words.tail().get() > head && words.slot(head).load() == seen {
        return Err(Corrupt::TailAhead);
    }
    Ok(())
}

/// The first position that is not filled, and the first that is not taken, each as it was at some moment of
/// this call, the second not after the first.
pub(crate) fn extent<W: SharedState>(words: &W) -> (Position, Position) {
    let size = words.ring_size();
    let mut taken = words.head().get();
    // Bounded, lest nonsense in the words keep us here: a walk of one lap finds the truth.
    for _ in 0..size.slots() {
        let slot = words.slot(taken).load();
        match slot.against(size.lap(taken)) {
            LapOrder::Ahead(laps) => taken = size.skip_taken(taken, laps),
            LapOrder::Same | LapOrder::Behind => break,
        }
    }
    let mut filled = words.tail().get().max(taken);
    for _ in 0..size.slots() {
        let slot = words.slot(filled).load();
        match (slot.against(size.lap(filled)), slot.kind()) {
            (_, Kind::Closed)
            | (LapOrder::Behind, _)
            | (LapOrder::Same, Kind::Empty | Kind::Vacated) => break,
            (LapOrder::Same, Kind::Full) => filled = size.skip_filled(filled, slot, 0),
            (LapOrder::Ahead(laps), _) => filled = size.skip_filled(filled, slot, laps),
        }
    }
    (filled, taken)
}
