//! Settling: a receiver acknowledges a message (`Release`), returns it (`Return`), or discards it after a cancel.

use super::OwnedBlock;
use super::batch::{
    count_accepted, message_counts, state_after_return, state_after_return_or_cancel,
};
use super::dead_letters::trim_dead_letters;
use super::scan::find_blocks;
use super::wake::wake_block_waiters;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::{Corrupt, SharedState, Words};
use crate::sync::{Ordering, fence_after_exchange, fence_after_store};

/// Acknowledges a single message: its block is free. Transition `Release`.
#[inline(always)]
pub(crate) fn acknowledge<'a, S: SharedState>(
    shared: &'a S,
    words: S::Words<'a>,
    held: OwnedBlock,
) -> Result<(), Corrupt> {
    let header = words.block(held.index()).ok_or(Corrupt::NoSuchBlock)?;
    acknowledge_block(shared, words, header, held)
}

/// Does the same for the block with this header.
#[inline(always)]
pub(crate) fn acknowledge_block<'a, S: SharedState>(
    shared: &'a S,
    words: S::Words<'a>,
    header: &BlockHeader,
    held: OwnedBlock,
) -> Result<(), Corrupt> {
    let to = held.word().free();
    let (_, held) = held.into_parts();
    if !header.word.acknowledge(held, to) {
        return Err(Corrupt::OwnedBlockChanged);
    }
    if !mutant!(ReleaseWithoutFence) {
        fence_after_store(words.is_fenced_by_others());
    }
    wake_after_release(shared, words);
    Ok(())
}

/// Acknowledges all messages of a batch at once. Transition `Release`.
pub(crate) fn acknowledge_batch<S: SharedState>(
    shared: &S,
    held: OwnedBlock,
) -> Result<(), Corrupt> {
    count_accepted(shared, held.index(), held.word());
    let to = held.word().free();
    release(shared, held, to)
}

/// Gives up a batch of which no thread has a message any more. Transition `Release` or `Return`, as its marks say.
pub(crate) fn settle_batch<S: SharedState>(shared: &S, held: OwnedBlock) -> Result<(), Corrupt> {
    count_accepted(shared, held.index(), held.word());
    let unsettled = message_counts(shared, held.index()).unsettled();
    if unsettled > 0 && shared.lifecycle().load().is_cancelled() {
        let to = held.word().free();
        release(shared, held, to)?;
        shared.discarded().fetch_add(unsettled, Ordering::Relaxed);
        return Ok(());
    }
    let to = state_after_return(shared, held.index(), held.word());
    if to.is(BlockKind::Free) {
        return release(shared, held, to);
    }
    finish_return(shared, held, to)
}

/// Returns a message, so that it is delivered again, or is a dead letter after its last delivery. After a cancel the
/// message is discarded instead. Transition `Return` or `Release`.
#[cold]
pub(crate) fn return_message<S: SharedState>(shared: &S, held: OwnedBlock) -> Result<(), Corrupt> {
    let to = state_after_return_or_cancel(shared, held.index(), held.word());
    if to.is(BlockKind::Free) {
        return discard_message(shared, held).map(drop);
    }
    count_accepted(shared, held.index(), held.word());
    finish_return(shared, held, to)
}

/// Makes a message that cannot be decoded a dead letter. Transition `Return`.
#[cold]
pub(crate) fn reject<S: SharedState>(shared: &S, held: OwnedBlock) -> Result<(), Corrupt> {
    let to = held.word().dead();
    finish_return(shared, held, to)
}

/// Changes a Held block to Returned or Dead, and does what must follow: announces the returned message (RETURNED-1),
/// discards it if a cancel came in the meantime, drops dead letters beyond the limit, and wakes a receiver.
fn finish_return<S: SharedState>(
    shared: &S,
    held: OwnedBlock,
    to: BlockState,
) -> Result<(), Corrupt> {
    let early = mutant!(SignalBeforeReturn);
    if early {
        shared.returned().set();
    }
    let me = held.word().peer();
    release(shared, held, to)?;
    if to.is(BlockKind::Returned) && !early {
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

/// Gives up a Held block by an exchange, and wakes the senders and receivers that may wait for that.
fn release<S: SharedState>(shared: &S, held: OwnedBlock, to: BlockState) -> Result<(), Corrupt> {
    let (index, held) = held.into_parts();
    let header = shared.block(index).ok_or(Corrupt::NoSuchBlock)?;
    if !header.word.release(held, to) {
        return Err(Corrupt::OwnedBlockChanged);
    }
    fence_after_exchange();
    wake_after_release(shared, shared.words());
    Ok(())
}

/// Wakes the senders and receivers that may wait for a block that was just given up. Called after a full fence, which
/// may be made by others ([`SharedState::fence_others`]).
#[inline(always)]
fn wake_after_release<'a, S: SharedState>(shared: &'a S, words: S::Words<'a>) {
    let wakes_senders = words.blocks().has_waiters_after_fence();
    if wakes_senders || !words.lifecycle().load().is_open() {
        wake_those_who_wait(shared, wakes_senders);
    }
}

/// Does what [`wake_after_release`] says: wakes the senders, or the queue is not open.
#[cold]
#[inline(never)]
fn wake_those_who_wait<S: SharedState>(shared: &S, wakes_senders: bool) {
    if wakes_senders && !mutant!(FreeWithoutWake) {
        shared.blocks().notify(|word| shared.wake(word, u32::MAX));
    }
    // With `close_waits_for_leases`, a closed queue ends with the last release, so receivers that wait for the end
    // check again. The release precedes the load of the lifecycle, and a process that sets the closing bit wakes all
    // sleepers afterwards. So either this process sees the bit, or the check that follows that wake sees the release.
    let is_open = wakes_senders && shared.lifecycle().load().is_open();
    if !is_open && shared.items().has_waiters_after_fence() && !mutant!(LastReleaseWithoutWake) {
        shared.items().notify(|word| shared.wake(word, u32::MAX));
    }
}

/// Frees the block of a message that a cancelled queue discards. Returns the number of messages in it. Transition
/// `Release`.
pub(super) fn discard_message<S: SharedState>(
    shared: &S,
    held: OwnedBlock,
) -> Result<u64, Corrupt> {
    count_accepted(shared, held.index(), held.word());
    let count = message_counts(shared, held.index()).unsettled();
    let to = held.word().free();
    release(shared, held, to)?;
    shared.discarded().fetch_add(count, Ordering::Relaxed);
    Ok(count)
}

/// Frees the blocks of all returned messages of a cancelled queue. Returns the number of messages. Transition
/// `Discard`.
///
/// A process that returns a message may have checked for a cancel just before the cancel came. It therefore calls
/// this after the return, and so does a process that recovers a dead one. Then either the canceller sees the message,
/// or this sees the cancel.
#[cold]
pub(super) fn discard_returned<S: SharedState>(shared: &S) -> u64 {
    // Pairs with the fence in `close::cancel`.
    fence_after_exchange();
    if !shared.lifecycle().load().is_cancelled() || mutant!(LateReturnNotDiscarded) {
        return 0;
    }
    let mut discarded = 0;
    for block in find_blocks(shared, |block| block.is(BlockKind::Returned)) {
        let count = message_counts(shared, block.index).unsettled();
        let exchanged = shared
            .block(block.index)
            .is_some_and(|header| header.word.exchange(block.state, block.state.free()));
        if exchanged {
            shared.discarded().fetch_add(count, Ordering::Relaxed);
            discarded += count;
            wake_block_waiters(shared);
        }
    }
    discarded
}
