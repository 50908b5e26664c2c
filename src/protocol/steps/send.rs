//! Sending: `Allocate` a block, write the payload, `Offer` it, and `Publish` it or `Withdraw` it.

use super::OwnedBlock;
use super::seal::help_seal;
use super::wake::wake_block_waiters;
use super::walk::{TailSlot, filled_and_taken, inspect_tail_slot};
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::BlockKind;
use crate::protocol::ids::{BlockIndex, PeerIndex, Position};
use crate::protocol::ring::{Hint, SlotState};
use crate::protocol::{Corrupt, SharedState, Words};
use crate::sync::{AtomicU32, Ordering};
use core::ops::Range;

/// A sender prefetches the header of the block that comes this many after the one that it has allocated. In the time that it
/// sends these messages, the cache line comes from the receiver's processor. Each larger class has at least twice as many blocks.
const PREFETCH_BLOCKS: u32 = 8;
/// A sender tries this many blocks of each kind before it tries all of them. Blocks become free in about the order in which they
/// were allocated: if the next few are in use, most of that kind are.
const PROBES: usize = 4;

/// Allocates a free block of the smallest class. `None`: none is free. Transition `Allocate`.
///
/// The block that lies beside the slot at the tail is nearly always free, and shares its cache lines with the slot that
/// this sender will exchange next. It is in use if its last message is still held, or if another sender has just taken
/// it. Then the sender tries, in this order:
///
/// 1. the next few *spare* blocks, those that lie beside no slot, from its own cursor on;
/// 2. a few blocks beside slots beyond the queue: the tail reaches those only when every message that is in the queue now
///    has been received;
/// 3. all spare blocks, all blocks beyond the queue, and then those beside the next slots.
///
/// The next slots come last: the sender of the next message would miss its block, and take the one after it, and so on
/// round the ring.
#[inline(always)]
pub(crate) fn allocate_cell<'a, S: SharedState>(
    shared: &'a S,
    words: S::Words<'a>,
    me: PeerIndex,
    spare: &AtomicU32,
) -> Option<OwnedBlock> {
    let tail = words.tail().get();
    allocate_beside(words, me, tail).or_else(|| allocate_distant_cell(shared, me, tail, spare))
}

/// Allocates the block that lies beside the slot of `position`, if it is free. Transition `Allocate`.
#[inline(always)]
pub(crate) fn allocate_beside<'a>(
    words: impl Words<'a>,
    me: PeerIndex,
    position: Position,
) -> Option<OwnedBlock> {
    let header = words.block_beside(position)?;
    allocate_block(header, me, words.ring_size().index_beside(position))
}

/// Allocates a block of the smallest class that does not lie beside the slot at the tail, after [`allocate_beside`] has found
/// that one in use. Transition `Allocate`.
#[cold]
#[inline(never)]
pub(crate) fn allocate_distant_cell<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    tail: Position,
    spare: &AtomicU32,
) -> Option<OwnedBlock> {
    let slots = shared.ring_size().slots();
    let cells = shared.cell_count();
    let spares = u32::try_from(slots).map_or(cells, |slots| slots.min(cells))..cells;
    if let Some(owned) = allocate_any(shared, me, spares.clone(), spare, PROBES) {
        return Some(owned);
    }
    if mutant!(DistantCellsNotTried) {
        return None;
    }
    let words = shared.words();
    let beside = |ahead: u64| allocate_beside(words, me, tail.plus(ahead));
    let capacity = u64::from(shared.limits().capacity);
    let mut beyond_the_queue = capacity..slots;
    if let Some(owned) = beyond_the_queue.by_ref().take(PROBES).find_map(beside) {
        return Some(owned);
    }
    if spares.len() > PROBES
        && let Some(owned) = allocate_any(shared, me, spares, spare, usize::MAX)
    {
        return Some(owned);
    }
    beyond_the_queue.chain(1..capacity).find_map(beside)
}

/// Allocates a free block whose number is in `numbers`, those of a larger class. `None`: none is free. Transition
/// `Allocate`.
///
/// There is no free list for senders to contend for. Each sender walks the block words from its own `cursor` on. Blocks
/// become free in about the order in which they were allocated, so the next one is nearly always free.
#[inline(always)]
pub(crate) fn allocate<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    numbers: Range<u32>,
    cursor: &AtomicU32,
) -> Option<OwnedBlock> {
    allocate_next(shared, me, &numbers, cursor)
        .or_else(|| allocate_any(shared, me, numbers, cursor, usize::MAX))
}

/// Does the same if the block at the cursor is free.
#[inline(always)]
pub(crate) fn allocate_next<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    numbers: &Range<u32>,
    cursor: &AtomicU32,
) -> Option<OwnedBlock> {
    let words = shared.words();
    // The slot of the message lies elsewhere: fetch it at the same time.
    words.prefetch_cell(words.tail().get());
    let number = cursor.load(Ordering::Relaxed);
    if !numbers.contains(&number) {
        return None;
    }
    let owned = allocate_one(shared, me, number)?;
    let next = advance_in_range(number, 1, numbers);
    cursor.store(next, Ordering::Relaxed);
    words.prefetch_room(BlockIndex::from_low_bits(next.into()), owned.index());
    let soon = advance_in_range(number, PREFETCH_BLOCKS, numbers);
    words.prefetch_block(BlockIndex::from_low_bits(soon.into()));
    Some(owned)
}

/// Returns the number that comes `by` after `number`, and starts again at the beginning of `numbers` after their end.
/// `by` must not be greater than their count.
#[inline(always)]
pub(in crate::protocol) fn advance_in_range(number: u32, by: u32, numbers: &Range<u32>) -> u32 {
    let offset = number + by - numbers.start;
    // Past the end the second operand is the smaller one. Before the end it wraps to a large number.
    numbers.start + offset.min(offset.wrapping_sub(numbers.end - numbers.start))
}

/// Allocates the block of this number, if it is free. Transition `Allocate`.
#[inline(always)]
pub(crate) fn allocate_one<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    number: u32,
) -> Option<OwnedBlock> {
    let index = BlockIndex::new(number)?;
    allocate_block(shared.words().block(index)?, me, index)
}

/// Allocates the block with this header and index, if it is free. Transition `Allocate`.
#[inline(always)]
fn allocate_block(header: &BlockHeader, me: PeerIndex, index: BlockIndex) -> Option<OwnedBlock> {
    let seen = header.word.load();
    if !seen.is(BlockKind::Free) {
        return None;
    }
    header
        .word
        .allocate(seen, me)
        .map(|word| OwnedBlock::new(index, word))
}

/// Allocates the first free block of the next `tries` from the cursor on.
#[cold]
#[inline(never)]
fn allocate_any<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    numbers: Range<u32>,
    cursor: &AtomicU32,
    tries: usize,
) -> Option<OwnedBlock> {
    let start = cursor.load(Ordering::Relaxed);
    let mut next = if numbers.contains(&start) {
        start
    } else {
        numbers.start
    };
    for _ in numbers.clone().take(tries) {
        let number = next;
        next = advance_in_range(number, 1, &numbers);
        if let Some(owned) = allocate_one(shared, me, number) {
            cursor.store(next, Ordering::Relaxed);
            return Some(owned);
        }
    }
    cursor.store(next, Ordering::Relaxed);
    None
}

/// Declares the payload of `length` bytes complete. Transition `Offer`.
pub(crate) fn offer<'a>(
    words: impl Words<'a>,
    owned: &mut OwnedBlock,
    length: u32,
) -> Result<(), Corrupt> {
    let header = words.block(owned.index()).ok_or(Corrupt::NoSuchBlock)?;
    offer_block(header, owned, length);
    Ok(())
}

/// Does the same for the block with this header.
#[inline(always)]
pub(crate) fn offer_block(header: &BlockHeader, owned: &mut OwnedBlock, length: u32) {
    header.set_length(length);
    if !mutant!(OfferKeepsPosition) {
        header.set_no_position();
    }
    owned.set_word(header.word.offer(owned.word()));
}

/// Undoes `Offer` for a block that could not be published.
pub(crate) fn reopen<S: SharedState>(shared: &S, offered: &mut OwnedBlock) -> Result<(), Corrupt> {
    let header = shared.block(offered.index()).ok_or(Corrupt::NoSuchBlock)?;
    offered.set_word(header.word.reopen(offered.word()));
    Ok(())
}

/// The outcome of an attempt to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Publish {
    /// The message is in the queue, and the token of its block is spent.
    Accepted,
    /// The queue holds as many messages as its capacity. The sender still owns the block.
    Full,
    /// The queue is closed, and will never accept the message. The sender still owns the block.
    Closed,
}

/// What became of an attempt to fill the slot of one position.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) enum Attempt {
    Accepted,
    Full,
    /// The queue is closing.
    Closing,
    /// This slot was not free, or its taker may need help.
    NotFree(Position, SlotState),
    /// Another process has changed the slot of this position in the meantime.
    Lost(Position),
}

/// Gives the message the next position. Transitions `Publish` and `AdvanceTail`.
///
/// `taken` is this sender's own memory of how far receivers have come: every position before it is taken.
pub(crate) fn publish<'a, S: SharedState>(
    shared: &'a S,
    words: S::Words<'a>,
    offered: &mut OwnedBlock,
    taken: &Hint,
) -> Result<Publish, Corrupt> {
    let header = words.block(offered.index()).ok_or(Corrupt::NoSuchBlock)?;
    match publish_at_tail(shared, words, header, offered.take(), taken) {
        Ok(()) => Ok(Publish::Accepted),
        Err((block, attempt)) => {
            *offered = block;
            publish_after(shared, offered, taken, attempt)
        }
    }
}

/// Makes the first attempt of [`publish`], which usually succeeds. The header must be that of the block. Otherwise returns the
/// block: the caller calls [`publish_after`]. By value, so that the block never has to leave the registers.
#[inline(always)]
pub(crate) fn publish_at_tail<'a, S: SharedState>(
    shared: &'a S,
    words: S::Words<'a>,
    header: &BlockHeader,
    offered: OwnedBlock,
    taken: &Hint,
) -> Result<(), (OwnedBlock, Attempt)> {
    let tail = words.tail().get();
    match try_publish(shared, words, header, offered.index(), tail, taken) {
        Attempt::Accepted => {
            let _ = offered.into_parts();
            Ok(())
        }
        other => Err((offered, other)),
    }
}

/// Completes [`publish`] after an attempt.
#[inline(never)]
pub(crate) fn publish_after<S: SharedState>(
    shared: &S,
    offered: &mut OwnedBlock,
    taken: &Hint,
    mut attempt: Attempt,
) -> Result<Publish, Corrupt> {
    let words = shared.words();
    let index = offered.index();
    let header = words.block(index).ok_or(Corrupt::NoSuchBlock)?;
    loop {
        attempt = match attempt {
            Attempt::Accepted => {
                // Spent (OWNED-2).
                let _ = offered.take();
                return Ok(Publish::Accepted);
            }
            Attempt::Full => return Ok(Publish::Full),
            Attempt::Closing => {
                help_seal(shared)?;
                return Ok(Publish::Closed);
            }
            Attempt::NotFree(position, seen) => match inspect_tail_slot(shared, position, seen)? {
                TailSlot::Free => fill(shared, words, header, index, position, seen, taken),
                TailSlot::Skip(next) => try_publish(shared, words, header, index, next, taken),
                TailSlot::Closed => return Ok(Publish::Closed),
            },
            Attempt::Lost(position) => try_publish(shared, words, header, index, position, taken),
        };
    }
}

/// Gives the message this position, if its slot is free. Transitions `Publish` and `AdvanceTail`.
#[inline(always)]
fn try_publish<'a, S: SharedState>(
    shared: &'a S,
    words: S::Words<'a>,
    header: &BlockHeader,
    index: BlockIndex,
    position: Position,
    taken: &Hint,
) -> Attempt {
    // Before each attempt, so that senders cannot keep a closer from writing Closed forever.
    if words.lifecycle().load().is_closing() {
        return Attempt::Closing;
    }
    let seen = words.slot(position).load();
    let lap = words.ring_size().lap(position);
    // If the slot names the sender's own block, its last message was settled, and the taker needs no help.
    if !seen.is_vacated_with(index, lap) && !seen.is_empty_in(lap) {
        return Attempt::NotFree(position, seen);
    }
    fill(shared, words, header, index, position, seen, taken)
}

/// Gives the message this position, whose slot was free when it was `seen`. Transitions `Publish` and `AdvanceTail`.
#[inline(always)]
fn fill<'a, S: SharedState>(
    shared: &'a S,
    words: S::Words<'a>,
    header: &BlockHeader,
    index: BlockIndex,
    position: Position,
    seen: SlotState,
    taken: &Hint,
) -> Attempt {
    if !has_room(shared, position, taken) {
        return Attempt::Full;
    }
    header.set_position(position);
    if !words.slot(position).fill(seen, index) {
        return Attempt::Lost(position);
    }
    words.tail().set(position.next());
    if words.items().has_waiters() && !mutant!(PublishWithoutWake) {
        shared.items().notify(|word| shared.wake(word, 1));
    }
    Attempt::Accepted
}

/// Returns whether a message at `position` is within the capacity: the message `capacity` positions before it must be
/// taken.
#[inline(always)]
fn has_room<S: SharedState>(shared: &S, position: Position, taken: &Hint) -> bool {
    let more = u64::from(mutant!(CapacityPlusOne));
    let Some(oldest) = position.minus(u64::from(shared.limits().capacity) + more) else {
        return true;
    };
    oldest < taken.get() || has_room_now(shared, position, oldest, taken)
}

/// Answers [`has_room`] from the shared words: from the head hint, whose cache line receivers write, and if that is not
/// enough from the slot itself, which alone decides.
///
/// A sender comes here at least once in as many messages as the capacity.
///
/// A head after `position`, which was free a moment ago, is not remembered: either it is corrupt, or other processes
/// have been very fast.
#[inline(never)]
fn has_room_now<S: SharedState>(
    shared: &S,
    position: Position,
    oldest: Position,
    taken: &Hint,
) -> bool {
    let head = shared.head().get();
    if oldest < head && head <= position {
        taken.set(head);
        return true;
    }
    let slot = shared.slot(oldest).load();
    if slot.is_full_in(shared.ring_size().lap(oldest)) {
        return false;
    }
    // Taken positions are a prefix (RING-2).
    taken.set(oldest.next());
    true
}

/// Returns whether a send would find the queue full now. For callers that ask before they encode a message.
#[must_use]
pub(crate) fn is_full<S: SharedState>(shared: &S) -> bool {
    let (filled, taken) = filled_and_taken(shared);
    filled.0.saturating_sub(taken.0) >= u64::from(shared.limits().capacity)
}

/// Frees the block of a message that is not sent. Transition `Withdraw`.
pub(crate) fn withdraw<S: SharedState>(shared: &S, block: OwnedBlock) -> Result<(), Corrupt> {
    let (index, owned) = block.into_parts();
    let header = shared.block(index).ok_or(Corrupt::NoSuchBlock)?;
    let freed = header.word.release(owned, owned.free());
    wake_block_waiters(shared);
    if freed {
        Ok(())
    } else {
        Err(Corrupt::OwnedBlockChanged)
    }
}

/// Withdraws every block that the process `me`, which has no sender any more, still has in Owned: reservations that
/// were leaked, so that no destructor withdraws them. Returns their number. Transition `Withdraw`.
#[cold]
pub(crate) fn withdraw_leaked<S: SharedState>(shared: &S, me: PeerIndex) -> u32 {
    let mut count = 0;
    for index in (0..shared.block_count()).filter_map(BlockIndex::new) {
        let Some(header) = shared.block(index) else {
            continue;
        };
        // No other process changes such a word while this one lives (BLOCK-1).
        let block = header.word.load();
        if block.is(BlockKind::Owned)
            && block.peer() == me
            && header.word.exchange(block, block.free())
        {
            count += 1;
        }
    }
    if count > 0 {
        wake_block_waiters(shared);
    }
    count
}
