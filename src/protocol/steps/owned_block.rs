//! The token for a block that this process owns.
//!
//! The `unsafe` code of `segment::payload` gives access to the bytes of a block for a borrow of its token. That is
//! sound because of three rules:
//!
//! OWNED-1. Only the transitions in [`super`] make a token, each from the exchange that gave the block to this
//!     process: `Allocate`, `Take` with `Hold`, `Retake`, `Read`. The fields are private to this file, and there is
//!     no `Clone`, so a block has at most one token. A token may lie in a [room](super::token_room) for a while (ROOM-1).
//! OWNED-2. Each transition that gives the block up takes the token away: `Release`, `Return`, `Withdraw`, and the
//!     end of `Read` consume it; `Publish`, which may fail, leaves a spent token behind when it succeeds. A token
//!     that was borrowed for the bytes cannot be given up before the borrow ends.
//! OWNED-3. A token does not name its queue. It must be used with the queue that it came from; the guards in `queue`
//!     keep the two together.
//!
//! Crash: a token is only the memory of its process. When the process dies, the word of the block says what recovery
//! does with the block. A forked child has a copy of the token, but no mapping to use it with.

#[cfg(all(test, not(loom)))]
use crate::protocol::SharedState;
use crate::protocol::blocks::BlockState;
use crate::protocol::ids::BlockIndex;

/// A block that this process owns, and the value of its word as this process left it (OWNED-1).
///
/// A guard keeps it: a token that is dropped leaves the block out of use until the process ends.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a block whose token is dropped is never given back"]
pub(crate) struct OwnedBlock {
    index: BlockIndex,
    word: BlockState,
}

impl OwnedBlock {
    /// A spent token: it names no block. Every transition refuses it as
    /// [`Corrupt::NoSuchBlock`](crate::protocol::Corrupt::NoSuchBlock), and it gives access to no bytes.
    pub(crate) const NONE: Self = Self::new(BlockIndex::NONE, BlockState::NONE);

    /// Makes the token for a block that an exchange of this process has just changed to `word` (OWNED-1).
    #[inline(always)]
    pub(super) const fn new(index: BlockIndex, word: BlockState) -> Self {
        Self { index, word }
    }

    /// Makes a token out of nothing: for tests that keep the state of a process themselves.
    #[cfg(all(test, not(loom)))]
    pub(crate) const fn forge(index: BlockIndex, word: BlockState) -> Self {
        Self { index, word }
    }

    /// Changes the word of the block to `to` and does no more, as a process that dies in the middle of a transition.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn exchange_and_die<S: SharedState>(self, state: &S, to: BlockState) {
        let header = state.block(self.index).expect("the block exists");
        assert!(header.word.exchange(self.word, to));
    }

    /// Returns the index of the block.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn index(&self) -> BlockIndex {
        self.index
    }

    /// Returns the word of the block, which no other process changes.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn word(&self) -> BlockState {
        self.word
    }

    /// Consumes the token for a transition that gives the block up (OWNED-2).
    #[inline(always)]
    pub(super) const fn into_parts(self) -> (BlockIndex, BlockState) {
        (self.index, self.word)
    }

    /// Records that this process has changed the word, and still has the block.
    #[inline(always)]
    pub(super) const fn set_word(&mut self, word: BlockState) {
        self.word = word;
    }

    /// Moves the token out of a guard that is dropped. A spent one remains.
    #[inline(always)]
    pub(crate) const fn take(&mut self) -> Self {
        core::mem::replace(self, Self::NONE)
    }
}
