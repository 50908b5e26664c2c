//! Huge blocks: they get memory when they are first used, and give it back when they are idle.
//!
//! The payload of a huge block is a range of addresses in the segment's file. Its header, which is in a part of its own
//! ([`super::parts`]), has a mark beside the block word: *committed*.
//!
//! | word          | committed | memory          | meaning                                                            |
//! |---------------|-----------|-----------------|--------------------------------------------------------------------|
//! | Free          | no        | none            | not used yet, or given back                                        |
//! | Owned S       | no        | more, then all  | S takes memory for the block                                       |
//! | Owned S       | yes       | all             | S fills the block                                                  |
//! | any other     | yes       | all             | the block has a message                                            |
//! | Free          | yes       | all             | idle: to be used again, or to give its memory back                 |
//! | Owned P       | no        | less, then none | P gives the memory back; P may be a receiver                       |
//! | Free          | no        | some, or all    | left over: a process died in the second or sixth line              |
//!
//! HUGE-1. The mark is changed in Owned only, by the owner.
//! HUGE-2. The mark is set once all of the payload has memory, and cleared before any of that is given back. Memory is
//!         given back in Owned only. So the payload of a marked block has memory, even if its owner dies.
//! HUGE-3. A payload is accessed only by a process that owns the block (BLOCK-1, BLOCK-4) and has found it marked
//!         since. So no access lacks memory, which would be a SIGBUS.
//! HUGE-4. How much memory a queue has is what the kernel reports for the file, never a sum of marks or a counter,
//!         which a death would leave wrong.
//! HUGE-5. An allocation fails for lack of memory only if the blocks in use held too little, and no huge block changed,
//!         while the limits were checked. Memory that the queue itself will get back is worth waiting for.
//!
//! Crash: recovery frees the word of a dead owner's block and knows nothing of memory, so mark and memory stay as they
//! are, in one of the lines above. What the last line holds is counted (HUGE-4), and given back as soon as it is
//! needed.
//!
//! An allocation takes the next of a few blocks that are used in turn, so that what one processor writes has left its
//! nearest cache when the other one reads it. If these are in use, or there is no memory for them, it takes the idle
//! block with the lowest index. Taking new memory costs more than using it: the kernel clears each page, and each
//! process maps each page again. So idle blocks keep their memory, unless
//!
//! - all of them together have more than [`HugeMemory::max_idle_memory`];
//! - no message has used them for a while;
//! - a limit would otherwise deny memory to another block.

use super::SharedState;
use super::ids::BlockIndex;
use crate::error::OutOfMemory;
use crate::sync::{AtomicBool, AtomicU32};
use core::ops::Range;

/// A class of huge blocks: all with a payload of the same size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HugeClass {
    /// The indices of the blocks.
    pub(crate) blocks: Range<u32>,
    /// Those that are used in turn, as long as there is memory for them.
    pub(crate) used_in_turn: Range<u32>,
    /// The memory of one payload, in bytes.
    pub(crate) payload: u64,
}

/// What one process remembers from one allocation to the next.
#[derive(Debug, Default)]
pub(crate) struct HugeHints {
    /// Counts the blocks that this process has allocated in turn.
    pub(crate) turn: AtomicU32,
    /// Whether this process has found memory short.
    pub(crate) is_memory_short: AtomicBool,
}

/// The memory of the huge blocks of one queue: that of a file, or of a model.
pub(crate) trait HugeMemory: SharedState {
    /// Returns the classes of huge blocks, the smallest first. Their blocks come after all others, in this order.
    fn huge_classes(&self) -> impl DoubleEndedIterator<Item = HugeClass>;
    fn huge_hints(&self) -> &HugeHints;
    /// Returns how many bytes of memory the queue may have, without what is set aside for parts that have none yet
    /// (PARTS-4). A part that is committed after this call, and before one of [`memory`](Self::memory), counts twice.
    fn memory_limit(&self) -> u64;
    /// Returns how many bytes of memory idle huge blocks may keep.
    fn max_idle_memory(&self) -> u64;
    /// Returns how many bytes of memory the queue has, as the kernel reports it (HUGE-4).
    fn memory(&self) -> u64;
    /// Returns at most how many of these bytes are not of huge blocks: all parts count of which some may have memory.
    fn permanent_memory(&self) -> u64;
    /// Checks whether the system's limits leave `wanted` bytes.
    fn check_system(&self, wanted: u64) -> Result<(), OutOfMemory>;
    /// Takes memory for all of a payload. After an error, a part of it may have memory.
    fn take_memory(&self, block: BlockIndex) -> Result<(), OutOfMemory>;
    /// Gives the memory of a payload back. If that fails, a part of it keeps its memory.
    fn give_memory_back(&self, block: BlockIndex);
}
