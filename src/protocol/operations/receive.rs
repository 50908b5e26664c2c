//! Receiving: take a returned message (row 12) or the next of the ring (rows 5 to 7), then acknowledge it
//! (row 8) or return it (row 10).

use super::super::blocks::{Block, BlockHeader, State};
use super::super::peers::Row;
use super::super::ring::{Hint, Kind, LapOrder, Position};
use super::super::{Corrupt, Words};
use super::letters::bury;
use super::send::wake_block_waiters;
use super::{InHand, batch, blocks_in, close, help};
use crate::sync::Ordering;

/// How many positions ahead a receiver asks for a block that it will want soon ...
const PREFETCH_BLOCKS: u64 = 4;
/// ... and for its slot, so that the look at which block it is does not have to wait.
const PREFETCH_SLOTS: u64 = 8;
/// How often, in positions, a receiver looks how far senders have come: their line is not to be taken away
/// from them at every message.
const LOOK_AHEAD_EVERY: u64 = 16;

/// What a receiver found.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Receive {
    /// A message, taken and held.
    Message(InHand),
    /// Nothing now; there may be something later.
    Empty,
    /// Nothing, now and for ever.
    Closed,
}

/// One attempt to receive, for the process of row `me`.
///
/// `filled` is this receiver's own memory of how far senders have come.
#[inline(always)]
pub(crate) fn receive<W: Words>(words: &W, me: Row, filled: &Hint) -> Result<Receive, Corrupt> {
    // Two words that hardly ever change: nothing is closed, and nothing has come back.
    if (!words.lifecycle().load().is_open() || words.returned().load().is_dirty())
        && let Some(first) = before_the_ring(words, me)?
    {
        return Ok(first);
    }
    take(words, me, filled, || verdict(words, me))
}

/// Rows 5, 6 and 7: the next message of the ring, or what `at_the_end` says when there will be none.
///
/// That is a parameter, and not for the caller to find out, because a result that is taken apart and put
/// together again on the way goes through memory in pieces, which costs more than all else here.
#[inline(always)]
fn take<W: Words>(
    words: &W,
    me: Row,
    filled: &Hint,
    at_the_end: impl FnOnce() -> Result<Receive, Corrupt>,
) -> Result<Receive, Corrupt> {
    let size = words.ring_size();
    let mut position = words.head().get();
    loop {
        let word = words.slot(position);
        let seen = word.load();
        if seen.is_full_in(size.lap(position)) {
            if let Some(vacated) = word.take(seen, me) {
                words.head().set(position.next());
                if words.space().someone_sleeps() {
                    words.space().notify(|word| words.wake(word, 1));
                }
                let header = words.block(seen.block()).ok_or(Corrupt::NoSuchBlock)?;
                prefetch_after(words, position, header.length(), filled);
                let held = hold(header, me)?;
                word.clear(vacated);
                return Ok(Receive::Message(InHand {
                    index: seen.block(),
                    word: held,
                }));
            }
            continue;
        }
        match (seen.against(size.lap(position)), seen.kind()) {
            (LapOrder::Behind, _) => return Err(Corrupt::HeadAhead),
            (LapOrder::Ahead(laps), _) => position = size.skip_taken(position, laps),
            (LapOrder::Same, Kind::Closed) => return at_the_end(),
            (LapOrder::Same, _) => return Ok(Receive::Empty),
        }
    }
}

/// What comes before the messages of the ring: the end of everything, and returned messages.
#[cold]
fn before_the_ring<W: Words>(words: &W, me: Row) -> Result<Option<Receive>, Corrupt> {
    let life = words.lifecycle().load();
    if life.has_ended() {
        return Ok(Some(Receive::Closed));
    }
    if life.is_closing() {
        close::seal(words)?;
    }
    if life.is_cancelled() {
        discard_all(words, me)?;
        words.lifecycle().end();
        return Ok(Some(Receive::Closed));
    }
    Ok(take_returned(words, me).map(Receive::Message))
}

/// Row 6, by the taker.
#[inline(always)]
fn hold(header: &BlockHeader, me: Row) -> Result<Block, Corrupt> {
    let word = header.word.load();
    let held = word.held_by(me);
    // Offered, or Held in our name by a helper that was faster (B2).
    if !word.is(State::Offered) && word != held {
        return Err(Corrupt::NotOffered);
    }
    header.word.hold(held);
    Ok(held)
}

/// Ask for what later messages will need: it is all about to be written here, and to wait for a line takes
/// longer than everything else. Only for messages that are there already, before `filled`: where the queue is
/// nearly empty, a sender is at work on the next lines, and they must not be taken away from it.
#[inline(always)]
fn prefetch_after<W: Words>(words: &W, position: Position, length: u32, filled: &Hint) {
    if position.0.is_multiple_of(LOOK_AHEAD_EVERY) {
        filled.set(words.tail().get());
    }
    if position.plus(PREFETCH_SLOTS) < filled.get() {
        words.prefetch_slot(position.plus(PREFETCH_SLOTS));
        let soon = words.slot(position.plus(PREFETCH_BLOCKS)).load();
        words.prefetch_block(soon.block(), length);
    }
}

/// Row 12: the returned message with the lowest position, if there is any.
#[cold]
fn take_returned<W: Words>(words: &W, me: Row) -> Option<InHand> {
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
                return Some(InHand { index, word });
            }
        }
    }
}

/// After a cancel: take what is left, and free it. How many messages that were.
///
/// The queue must be sealed, so that there is an end.
#[cold]
pub(crate) fn discard_all<W: Words>(words: &W, me: Row) -> Result<u64, Corrupt> {
    let (mut count, filled) = (0, Hint::new());
    loop {
        let message = match take_returned(words, me) {
            Some(held) => held,
            None => match take(words, me, &filled, || Ok(Receive::Closed))? {
                Receive::Message(held) => held,
                Receive::Empty | Receive::Closed => return Ok(count),
            },
        };
        count += discard(words, &message)?;
    }
}

/// Row 8 for what nobody gets. How many messages that were.
fn discard<W: Words>(words: &W, held: &InHand) -> Result<u64, Corrupt> {
    let count = batch::messages(words, held.index).left();
    release(words, held, held.word.free())?;
    words.discarded().fetch_add(count, Ordering::Relaxed);
    Ok(count)
}

/// The ring is drained and closed. Is that the end?
///
/// *Drained*: yes, unless a message waits to be handed out again. *Settled*: only if, besides, nobody holds a
/// message, for it might come back. The ring is helped first, so that every message in somebody's hands is
/// Held in its block before the blocks are looked at: a taker that has not noted it yet would be overlooked.
#[cold]
fn verdict<W: Words>(words: &W, me: Row) -> Result<Receive, Corrupt> {
    let settled = words.limits().settled;
    if settled {
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
        // Its returner may have died before it could say so (T1).
        words.returned().set();
        if let Some(held) = take_returned(words, me) {
            return Ok(Receive::Message(held));
        }
        // Somebody else has taken it: look again.
    }
    words.lifecycle().end();
    Ok(Receive::Closed)
}

/// Row 8: the message is done with; its block is free.
#[inline(always)]
pub(crate) fn acknowledge<W: Words>(words: &W, held: &InHand) -> Result<(), Corrupt> {
    let to = held.word.free();
    release(words, held, to)
}

/// Row 10: the message goes to somebody else, or, if it has come back too often, to the dead letters; after a
/// cancel it is discarded.
#[cold]
pub(crate) fn give_back<W: Words>(words: &W, held: &InHand) -> Result<(), Corrupt> {
    if words.lifecycle().load().is_cancelled() {
        return discard(words, held).map(drop);
    }
    let to = batch::given_back(words, held.index, held.word);
    give(words, held, to)
}

/// Row 10 for a message that nobody will ever be able to use.
#[cold]
pub(crate) fn reject<W: Words>(words: &W, held: &InHand) -> Result<(), Corrupt> {
    let to = held.word.dead();
    give(words, held, to)
}

pub(super) fn give<W: Words>(words: &W, held: &InHand, to: Block) -> Result<(), Corrupt> {
    release(words, held, to)?;
    if to.is(State::Returned) {
        words.returned().set();
    }
    if to.is(State::Dead) || words.lifecycle().load().has_ended() {
        bury(words, held.word.row());
    }
    if words.items().someone_sleeps() {
        words.items().notify(|word| words.wake(word, 1));
    }
    Ok(())
}

#[inline(always)]
pub(super) fn release<W: Words>(words: &W, held: &InHand, to: Block) -> Result<(), Corrupt> {
    let header = words.block(held.index).ok_or(Corrupt::NoSuchBlock)?;
    if !header.word.release(held.word, to) {
        return Err(Corrupt::ChangedInHand);
    }
    wake_block_waiters(words);
    // A settled queue ends with the last release: receivers that wait for it look again. The exchange above
    // precedes this load, and whoever sets `closing` wakes everybody afterwards, so either we see the bit or
    // the look at the blocks that follows that wake sees our release.
    if !words.lifecycle().load().is_open() && words.items().someone_sleeps() {
        words.items().notify(|word| words.wake(word, u32::MAX));
    }
    Ok(())
}

/// The first position that is not filled, and the first that is not taken, each as it was at some moment of
/// this call, the second not after the first.
pub(crate) fn extent<W: Words>(words: &W) -> (Position, Position) {
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
