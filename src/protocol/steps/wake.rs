//! Wakes for several sleepers at once.

use crate::protocol::SharedState;

/// Wakes every process that sleeps on any word of the queue.
pub(super) fn wake_all<S: SharedState>(shared: &S) {
    for word in [shared.items(), shared.space(), shared.blocks()] {
        word.notify(|word| shared.wake(word, u32::MAX));
    }
}

/// Wakes the senders that wait for a block, right after an exchange that made a block Free. It wakes all of them,
/// because they may wait for blocks of different sizes.
pub(super) fn wake_block_waiters<S: SharedState>(shared: &S) {
    if shared.blocks().has_waiters() && !mutant!(FreeWithoutWake) {
        shared.blocks().notify(|word| shared.wake(word, u32::MAX));
    }
}
