//! A queue on the heap for the models: its words, and a message for each block.
//!
//! A message is a number in a cell that loom checks. If an access to the cell is not ordered after the last write, loom
//! reports it. So a missing acquire or release on the way of a message is found even if the value happens to be right.

use super::futex::Sleepers;
use crate::protocol::batch::BatchMarks;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::BlockKind;
use crate::protocol::ids::{BlockIndex, Lap, PeerIndex, Position};
use crate::protocol::lifecycle::LifecycleWord;
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::PeerEntry;
use crate::protocol::returned::ReturnedWord;
use crate::protocol::ring::{Hint, RingSize, SlotState, SlotWord};
use crate::protocol::{Limits, SharedState, Words};
use crate::sync::{AtomicU64, loom_tools};
use std::sync::Arc;

/// The limits of most models: three messages, three deliveries, and no close by itself.
pub(super) const LIMITS: Limits = Limits {
    capacity: 3,
    max_deliveries: 3,
    max_dead_letters: 3,
    close_waits_for_leases: false,
    close_on_last_sender: false,
    close_on_last_receiver: false,
};

/// A block: its header, its marks and its message.
#[derive(Debug)]
pub(super) struct Cell {
    header: BlockHeader,
    marks: BatchMarks,
    message: loom_tools::Cell<u64>,
}

impl Cell {
    fn new() -> Self {
        Self {
            header: BlockHeader::new(),
            marks: BatchMarks::new(),
            message: loom_tools::Cell::new(0),
        }
    }

    pub(super) fn write(&self, message: u64) {
        self.message.set(message);
    }

    pub(super) fn read(&self) -> u64 {
        self.message.get()
    }
}

/// A queue on the heap.
#[derive(Debug)]
pub(super) struct HeapQueue {
    limits: Limits,
    size: RingSize,
    ring: Vec<SlotWord>,
    cells: Vec<Cell>,
    peers: Vec<PeerEntry>,
    lifecycle: LifecycleWord,
    returned: ReturnedWord,
    head: Hint,
    tail: Hint,
    items: ParkingWord,
    space: ParkingWord,
    blocks: ParkingWord,
    evicted: AtomicU64,
    discarded: AtomicU64,
    sleepers: Sleepers,
    /// The number of allocations. A mutex that loom does not see, because it is no part of the model.
    pub(super) allocated: std::sync::Mutex<u64>,
}

impl HeapQueue {
    /// Makes a queue with the smallest ring for these limits: one slot more than the capacity, rounded up to a power of
    /// two.
    pub(super) fn new(limits: Limits, blocks: u32, peers: u16) -> Arc<Self> {
        let size = RingSize::for_capacity(limits.capacity, 2);
        Arc::new(Self {
            limits,
            size,
            ring: (0..size.slots())
                .map(|_| SlotWord::new(SlotState::empty(Lap(0))))
                .collect(),
            cells: (0..blocks).map(|_| Cell::new()).collect(),
            peers: (0..peers).map(|_| PeerEntry::new()).collect(),
            lifecycle: LifecycleWord::new(),
            returned: ReturnedWord::new(),
            head: Hint::new(),
            tail: Hint::new(),
            items: ParkingWord::new(),
            space: ParkingWord::new(),
            blocks: ParkingWord::new(),
            evicted: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
            allocated: std::sync::Mutex::default(),
            sleepers: Sleepers::default(),
        })
    }

    /// Calls `attempt` until it returns a value, and sleeps on `word` in between. As in `queue::wait`, there is one
    /// attempt after the announcement of each sleep, and one after each sleep.
    pub(super) fn wait_for<R>(
        &self,
        word: &ParkingWord,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> R {
        loop {
            if let Some(result) = attempt() {
                return result;
            }
            let wait_key = word.prepare_wait();
            if let Some(result) = attempt() {
                return result;
            }
            self.sleep(word, wait_key.get());
        }
    }

    /// Sleeps while `word` has the value `expected`.
    pub(super) fn sleep(&self, word: &ParkingWord, expected: u32) {
        self.sleepers.sleep(word, expected);
    }

    /// Asserts that every block is Free.
    pub(super) fn assert_free(&self) {
        for cell in &self.cells {
            let word = cell.header.word.load();
            assert!(word.is(BlockKind::Free), "a block is not Free: {word:?}");
        }
    }

    /// Asserts that every block is Free, and that there was one release for each allocation.
    pub(super) fn assert_each_freed_once(&self) {
        let allocated = *self.allocated.lock().expect("no panic");
        self.assert_all_free(allocated);
    }

    /// Asserts that every block is Free, and that blocks were freed or returned `releases` times in all.
    pub(super) fn assert_all_free(&self, releases: u64) {
        self.assert_free();
        let generations = self
            .cells
            .iter()
            .map(|cell| cell.header.word.load().generation());
        assert_eq!(generations.sum::<u64>(), releases, "releases of blocks");
    }

    pub(super) fn cell(&self, index: BlockIndex) -> &Cell {
        self.cells
            .get(index.get() as usize)
            .expect("an owned block exists")
    }
}

impl SharedState for HeapQueue {
    type Words<'a> = &'a Self;

    fn words(&self) -> &Self {
        self
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn cell_count(&self) -> u32 {
        self.block_count()
    }

    fn block_count(&self) -> u32 {
        u32::try_from(self.cells.len()).expect("few blocks")
    }

    fn marks(&self, index: BlockIndex) -> Option<&BatchMarks> {
        self.cells.get(index.get() as usize).map(|cell| &cell.marks)
    }

    fn peer_count(&self) -> u16 {
        u16::try_from(self.peers.len()).expect("few peers")
    }

    fn peer(&self, index: PeerIndex) -> Option<&PeerEntry> {
        self.peers.get(usize::from(index.get()))
    }

    fn evicted(&self) -> &AtomicU64 {
        &self.evicted
    }

    fn discarded(&self) -> &AtomicU64 {
        &self.discarded
    }

    fn fence_others(&self) -> bool {
        true
    }

    fn wake(&self, word: &ParkingWord, count: u32) -> u32 {
        self.sleepers.wake(word, count)
    }
}

impl<'a> Words<'a> for &'a HeapQueue {
    fn ring_size(self) -> RingSize {
        self.size
    }

    fn slot(self, position: Position) -> &'a SlotWord {
        let number = usize::try_from(self.size.slot_number(position));
        number
            .ok()
            .and_then(|number| self.ring.get(number))
            .expect("slot numbers are less than the number of slots")
    }

    fn block(self, index: BlockIndex) -> Option<&'a BlockHeader> {
        self.cells
            .get(index.get() as usize)
            .map(|cell| &cell.header)
    }

    fn lifecycle(self) -> &'a LifecycleWord {
        &self.lifecycle
    }

    fn returned(self) -> &'a ReturnedWord {
        &self.returned
    }

    fn head(self) -> &'a Hint {
        &self.head
    }

    fn tail(self) -> &'a Hint {
        &self.tail
    }

    fn items(self) -> &'a ParkingWord {
        &self.items
    }

    fn space(self) -> &'a ParkingWord {
        &self.space
    }

    fn blocks(self) -> &'a ParkingWord {
        &self.blocks
    }

    fn is_fenced_by_others(self) -> bool {
        false
    }

    fn prefetch_block(self, _: BlockIndex) {}

    fn prefetch_room(self, _: BlockIndex, _: BlockIndex) {}
    fn prefetch_message(self, _: Position, _: BlockIndex) {}
    fn prefetch_cell(self, _: Position) {}
    fn prefetch_after(self, _: Position) {}
}
