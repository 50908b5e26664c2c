//! Room for the token of a block that a sender has allocated before it has a message for it: a *prepared* block.
//!
//! For the protocol it is a block that a sender owns and takes its time to write. The room belongs to one handle, whose threads
//! share it.
//!
//! | state | meaning                                           |
//! |-------|---------------------------------------------------|
//! | Empty | no token is here                                  |
//! | Busy  | a thread puts a token in, or takes one out        |
//! | Full  | the other words are those of a token              |
//!
//! ROOM-1. A token comes in after an exchange of Empty for Busy, and goes out after one of Full for Busy. So of several threads
//!     only one has it, and a block still has at most one token (OWNED-1).
//! ROOM-2. No thread waits for another: one that finds Busy does without.
//!
//! Crash: the room is memory of the process. When that dies, the block's word, Owned, says that recovery frees it.

use super::OwnedBlock;
use crate::protocol::blocks::BlockState;
use crate::protocol::ids::{BlockIndex, Position};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

const EMPTY: u32 = 0;
const BUSY: u32 = 1;
const FULL: u32 = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct TokenRoom {
    state: AtomicU32,
    index: AtomicU32,
    word: AtomicU64,
    position: AtomicU64,
}

impl TokenRoom {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU32::new(EMPTY),
            index: AtomicU32::new(0),
            word: AtomicU64::new(0),
            position: AtomicU64::new(0),
        }
    }

    /// Puts in the token of a block that lies beside the slot of `place`. Returns it if there is no room.
    pub(crate) fn put(&self, place: Position, block: OwnedBlock) -> Result<(), OwnedBlock> {
        if !self.exchange(EMPTY, BUSY) {
            return Err(block);
        }
        let (index, word) = block.into_parts();
        self.index.store(index.get(), Ordering::Relaxed);
        self.word.store(word.bits(), Ordering::Relaxed);
        self.position.store(place.0, Ordering::Relaxed);
        // Release: a thread that takes the token sees these.
        self.state.store(FULL, Ordering::Release);
        Ok(())
    }

    /// Takes the token out, with the position beside whose slot its block lies.
    pub(crate) fn take(&self) -> Option<(Position, OwnedBlock)> {
        let is_full = self.state.load(Ordering::Relaxed) == FULL;
        if !is_full || !self.exchange(FULL, BUSY) && !mutant!(TokenTakenTwice) {
            return None;
        }
        let index = BlockIndex::from_low_bits(self.index.load(Ordering::Relaxed).into());
        let word = BlockState::from_bits(self.word.load(Ordering::Relaxed));
        let place = Position(self.position.load(Ordering::Relaxed));
        // Release: a thread that puts in the next token does so after these loads.
        self.state.store(EMPTY, Ordering::Release);
        Some((place, OwnedBlock::new(index, word)))
    }

    // Acquire: pairs with the release of the store that wrote the state.
    fn exchange(&self, seen: u32, to: u32) -> bool {
        self.state
            .compare_exchange(seen, to, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
}
