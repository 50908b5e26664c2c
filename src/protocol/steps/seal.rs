//! The Closed slot, which is the end of the queue.

use super::walk::{TailSlot, inspect_tail_slot};
use crate::protocol::{Corrupt, SharedState};

/// Writes Closed into the first free slot, unless the ring has a Closed slot already. Transition `Seal`.
#[cold]
pub(super) fn seal<S: SharedState>(shared: &S) -> Result<(), Corrupt> {
    let mut position = shared.tail().get();
    loop {
        let word = shared.slot(position);
        let seen = word.load();
        match inspect_tail_slot(shared, position, seen)? {
            TailSlot::Closed => return Ok(()),
            TailSlot::Skip(next) => position = next,
            TailSlot::Free if word.seal(seen) => return Ok(()),
            TailSlot::Free => {}
        }
    }
}

/// Does `Seal` in the place of a process that has begun to close the queue, and may have died.
///
/// Every process that sees the closing bit calls this before it continues (LIFE-2).
#[cold]
pub(super) fn help_seal<S: SharedState>(shared: &S) -> Result<(), Corrupt> {
    if mutant!(SealNotHelped) {
        return Ok(());
    }
    seal(shared)
}
