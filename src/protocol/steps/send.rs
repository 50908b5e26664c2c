//! Sending: allocate a block (`Allocate`), fill it, offer it (`Offer`), publish it (`Publish` and `AdvanceTail`), or withdraw it
//! (`Withdraw`).

use super::super::blocks::{BlockIndex, BlockKind, BlockState};
use super::super::peers::PeerIndex;
use super::super::ring::{Hint, LapOrder, Position, SlotKind, SlotState};
use super::super::{Corrupt, SharedState};
use super::dead_letters::evict;
use super::{OwnedBlock, close, help_taker};
use crate::sync::{AtomicU32, Ordering};
use core::ops::Range;

/// How far a sender goes from one block to the next.
///
/// Not to the neighbour: a receiver that reads block after block makes its processor fetch the ones that follow in
/// memory, which is to take them away from the sender that is about to fill them.
pub(crate) const ALLOCATION_STRIDE: u32 = 5;
/// How many blocks ahead of its cursor a sender asks for: about the time that a line takes to come over
/// from the receiver's processor.
const PREFETCH_BLOCKS: u32 = 8;

/// `Allocate`: make one of the free blocks numbered `from` this sender's own. `None`: all are in use.
///
/// There is no list of free blocks for senders to fight over: each walks the block words from its own
/// `cursor` on. Blocks come free in about the order in which they were allocated, so the next one is nearly
/// always free.
#[inline(always)]
pub(crate) fn allocate<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    from: Range<u32>,
    cursor: &AtomicU32,
) -> Option<OwnedBlock> {
    let number = cursor.load(Ordering::Relaxed);
    if from.contains(&number)
        && let Some(owned) = allocate_one(shared, me, number)
    {
        // Of a class that has fewer blocks than a stride, this may be none: then `allocate_any` starts anew.
        cursor.store(
            advance_in_range(number, ALLOCATION_STRIDE, &from),
            Ordering::Relaxed,
        );
        let soon = advance_in_range(number, PREFETCH_BLOCKS * ALLOCATION_STRIDE, &from);
        shared.prefetch_block(BlockIndex::from_low_bits(soon.into()));
        return Some(owned);
    }
    allocate_any(shared, me, from, cursor)
}

/// The block that comes `by` after block `number` in the circle of those numbered `from`, if that has so many.
#[inline(always)]
pub(in crate::protocol) fn advance_in_range(number: u32, by: u32, from: &Range<u32>) -> u32 {
    let place = number + by - from.start;
    // Where it goes beyond the end, the second is the smaller one; else it is less than 0, which is large.
    from.start + place.min(place.wrapping_sub(from.end - from.start))
}

/// `Allocate` for one block, if it is Free.
#[inline(always)]
pub(crate) fn allocate_one<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    number: u32,
) -> Option<OwnedBlock> {
    let index = BlockIndex::new(number)?;
    let header = shared.block(index)?;
    let seen = header.word.load();
    if !seen.is(BlockKind::Free) {
        return None;
    }
    header
        .word
        .allocate(seen, me)
        .map(|word| OwnedBlock::new(index, word))
}

/// As [`allocate`], from whichever block is free.
#[cold]
#[inline(never)]
fn allocate_any<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    from: Range<u32>,
    cursor: &AtomicU32,
) -> Option<OwnedBlock> {
    let start = cursor.load(Ordering::Relaxed);
    let mut next = if from.contains(&start) {
        start
    } else {
        from.start
    };
    for _ in from.clone() {
        let number = next;
        next = if number + 1 < from.end {
            number + 1
        } else {
            from.start
        };
        if let Some(owned) = allocate_one(shared, me, number) {
            cursor.store(next, Ordering::Relaxed);
            return Some(owned);
        }
    }
    None
}

/// `Allocate` where all blocks are in use: the oldest dead letter among those numbered `from` gives way (`Evict`).
/// Letters are kept for whoever wants to read them, not at the expense of the living.
#[cold]
pub(crate) fn allocate_by_eviction<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    from: &Range<u32>,
) -> Option<OwnedBlock> {
    let (index, letter) = oldest_dead_letter(shared, from)?;
    if evict(shared, index, letter) {
        allocate_one(shared, me, index.get())
    } else {
        None
    }
}

/// `Evict` for the oldest dead letter among the blocks numbered `from`. True if there is a free block more.
#[cold]
pub(crate) fn evict_oldest<S: SharedState>(shared: &S, from: &Range<u32>) -> bool {
    oldest_dead_letter(shared, from).is_some_and(|(index, letter)| evict(shared, index, letter))
}

fn oldest_dead_letter<S: SharedState>(
    shared: &S,
    from: &Range<u32>,
) -> Option<(BlockIndex, BlockState)> {
    let letters = from
        .clone()
        .filter_map(BlockIndex::new)
        .filter_map(|index| {
            let header = shared.block(index)?;
            let word = header.word.load();
            word.is(BlockKind::Dead)
                .then(|| (header.position(), index, word))
        });
    let (_, index, letter) = letters.min_by_key(|&(position, ..)| position)?;
    Some((index, letter))
}

/// `Offer`: the payload is complete, and `length` bytes long.
#[inline(always)]
pub(crate) fn offer<S: SharedState>(
    shared: &S,
    owned: &mut OwnedBlock,
    length: u32,
) -> Result<(), Corrupt> {
    let header = shared.block(owned.index()).ok_or(Corrupt::NoSuchBlock)?;
    header.set_length(length);
    owned.set_word(header.word.offer(owned.word()));
    Ok(())
}

/// `Offer` undone, for a block that could not be published.
pub(crate) fn reopen<S: SharedState>(shared: &S, offered: &mut OwnedBlock) -> Result<(), Corrupt> {
    let header = shared.block(offered.index()).ok_or(Corrupt::NoSuchBlock)?;
    offered.set_word(header.word.reopen(offered.word()));
    Ok(())
}

/// What became of an attempt to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Publish {
    /// The message is in the queue, and no longer in hand: the token is spent.
    Accepted,
    /// The queue holds as many messages as it may. The block is still in hand.
    Full,
    /// The queue is closed and will never take it. The block is still in hand.
    Closed,
}

/// `Publish` and `AdvanceTail`: give the message the next position.
///
/// `room` is this sender's own memory of how far receivers have come: every position before it is taken.
#[inline(always)]
pub(crate) fn publish<S: SharedState>(
    shared: &S,
    offered: &mut OwnedBlock,
    room: &Hint,
) -> Result<Publish, Corrupt> {
    let header = shared.block(offered.index()).ok_or(Corrupt::NoSuchBlock)?;
    let size = shared.ring_size();
    let mut position = shared.tail().get();
    loop {
        // Before each try, so that a closer that wants to write Closed is not outrun for ever.
        if shared.lifecycle().load().is_closing() {
            close::help_seal(shared)?;
            return Ok(Publish::Closed);
        }
        let word = shared.slot(position);
        let seen = word.load();
        if !seen.is_empty_in(size.lap(position)) {
            match inspect_tail_slot(shared, position, seen)? {
                TailSlot::Free => {}
                TailSlot::Skip(further) => {
                    position = further;
                    continue;
                }
                TailSlot::Closed => return Ok(Publish::Closed),
            }
        }
        if !has_room(shared, position, room) {
            return Ok(Publish::Full);
        }
        header.set_position(position);
        if word.fill(seen, offered.index()) {
            let _ = offered.take();
            shared.tail().set(position.next());
            if shared.items().has_waiters() && !mutant!(PublishWithoutWake) {
                shared.items().notify(|word| shared.wake(word, 1));
            }
            return Ok(Publish::Accepted);
        }
    }
}

/// What a slot that is not simply Empty means for a walk to the tail.
pub(super) enum TailSlot {
    /// It may be filled: if it was Vacated, its taker has been helped.
    Free,
    /// The tail is at this position or after it.
    Skip(Position),
    Closed,
}

/// Look at a slot on the way to the tail.
#[inline(never)]
pub(super) fn inspect_tail_slot<S: SharedState>(
    shared: &S,
    position: Position,
    seen: SlotState,
) -> Result<TailSlot, Corrupt> {
    let size = shared.ring_size();
    let further = match (seen.compare_lap(size.lap(position)), seen.kind()) {
        (_, SlotKind::Closed) => return Ok(TailSlot::Closed),
        (LapOrder::Behind, _) => return Err(Corrupt::TailAhead),
        (LapOrder::Same, SlotKind::Full) => size.skip_filled(position, seen, 0),
        (LapOrder::Ahead(laps), _) => size.skip_filled(position, seen, laps),
        (LapOrder::Same, SlotKind::Empty | SlotKind::Vacated) => {
            if !mutant!(OverwriteWithoutHelp) {
                help_taker(shared, position, seen)?;
            }
            return Ok(TailSlot::Free);
        }
    };
    if size.is_runaway(shared.tail().get(), further) {
        return Err(Corrupt::InconsistentLaps);
    }
    Ok(TailSlot::Skip(further))
}

/// Whether a message at `position` keeps within the capacity: the one `capacity` before it must be taken.
#[inline(always)]
fn has_room<S: SharedState>(shared: &S, position: Position, room: &Hint) -> bool {
    let more = u64::from(mutant!(CapacityPlusOne));
    let Some(oldest) = position.minus(u64::from(shared.limits().capacity) + more) else {
        return true;
    };
    oldest < room.get() || has_room_now(shared, position, oldest, room)
}

/// As [`has_room`], from the shared words: the head hint, which costs a line that receivers write, then the
/// slot itself, which alone decides.
///
/// A sender comes here once in as many messages as the capacity, or more often.
///
/// A head after `position`, which was free a moment ago, is nonsense, or others have been very fast: it is not
/// to be remembered.
#[inline(never)]
fn has_room_now<S: SharedState>(
    shared: &S,
    position: Position,
    oldest: Position,
    room: &Hint,
) -> bool {
    let head = shared.head().get();
    if oldest < head && head <= position {
        room.set(head);
        return true;
    }
    let slot = shared.slot(oldest).load();
    if slot.is_full_in(shared.ring_size().lap(oldest)) {
        return false;
    }
    // Taken positions are a prefix (RING-2).
    room.set(oldest.next());
    true
}

/// Whether a send would find the queue full just now. For callers that want to know before they encode.
pub(crate) fn is_full<S: SharedState>(shared: &S) -> bool {
    let (filled, taken) = super::receive::filled_and_taken(shared);
    filled.0.saturating_sub(taken.0) >= u64::from(shared.limits().capacity)
}

/// `Withdraw`: the message won't be sent; its block is free again.
pub(crate) fn withdraw<S: SharedState>(shared: &S, block: OwnedBlock) -> Result<(), Corrupt> {
    let header = shared.block(block.index()).ok_or(Corrupt::NoSuchBlock)?;
    let freed = header.word.release(block.word(), block.word().free());
    wake_block_waiters(shared);
    if freed {
        Ok(())
    } else {
        Err(Corrupt::OwnedBlockChanged)
    }
}

/// `Withdraw` for every block that the process of row `me` has in hand to write a message, when it has no sender any more:
/// reservations that were forgotten, which no guard will withdraw. Returns the number of blocks.
#[cold]
pub(crate) fn withdraw_leaked<S: SharedState>(shared: &S, me: PeerIndex) -> u32 {
    let mut count = 0;
    for index in (0..shared.block_count()).filter_map(BlockIndex::new) {
        let Some(header) = shared.block(index) else {
            continue;
        };
        // Nobody else changes such a word as long as this process lives.
        let word = header.word.load();
        if word.is(BlockKind::Owned) && word.peer() == me && header.word.exchange(word, word.free())
        {
            count += 1;
        }
    }
    if count > 0 {
        wake_block_waiters(shared);
    }
    count
}

/// After an exchange that made a block Free. All of them: they may wait for blocks of different sizes.
#[inline(always)]
pub(super) fn wake_block_waiters<S: SharedState>(shared: &S) {
    if shared.blocks().has_waiters() && !mutant!(FreeWithoutWake) {
        shared.blocks().notify(|word| shared.wake(word, u32::MAX));
    }
}
