//! A queue on the heap, for the models that loom explores: the words of one queue and a payload for each block.
//!
//! A message is a number. Under loom its cell is checked: whoever reads or writes it without being ordered
//! after whoever wrote or read it before is reported, so that a missing acquire or release anywhere on the
//! way of a message shows even where the value happens to be right.

use crate::protocol::batch::BatchMarks;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::BlockKind;
use crate::protocol::ids::{BlockIndex, Lap, PeerIndex, Position};
use crate::protocol::lifecycle::LifecycleWord;
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::PeerEntry;
use crate::protocol::returned::ReturnedWord;
use crate::protocol::ring::{Hint, RingSize, SlotState, SlotWord};
use crate::protocol::steps::receive::{self, Receive};
use crate::protocol::steps::send::{self, Publish};
use crate::protocol::steps::{OwnedBlock, batch, close, settle};
use crate::protocol::{Limits, SharedState};
use crate::sync::{AtomicU32, AtomicU64};
use std::sync::Arc;

/// Limits that tests start from: three messages, three attempts, and nothing closes by itself.
pub(super) const LIMITS: Limits = Limits {
    capacity: 3,
    max_deliveries: 3,
    max_dead_letters: 3,
    close_waits_for_leases: false,
    close_on_last_sender: false,
    close_on_last_receiver: false,
};

/// A block: its words and its message.
#[derive(Debug)]
struct Cell {
    header: BlockHeader,
    marks: BatchMarks,
    message: crate::sync::explorer::Cell<u64>,
}

impl Cell {
    fn new() -> Self {
        Self {
            header: BlockHeader::new(),
            marks: BatchMarks::new(),
            message: crate::sync::explorer::Cell::new(0),
        }
    }

    fn write(&self, message: u64) {
        self.message.set(message);
    }

    fn read(&self) -> u64 {
        self.message.get()
    }
}

/// The words of one queue.
#[derive(Debug)]
pub(super) struct Heap {
    limits: Limits,
    size: RingSize,
    ring: Vec<SlotWord>,
    cells: Vec<Cell>,
    rows: Vec<PeerEntry>,
    lifecycle: LifecycleWord,
    returned: ReturnedWord,
    head: Hint,
    tail: Hint,
    items: ParkingWord,
    space: ParkingWord,
    blocks: ParkingWord,
    dropped_letters: AtomicU64,
    discarded: AtomicU64,
    sleepers: futex::Sleepers,
    /// How many blocks were allocated. Not loom's: it is no part of what is explored.
    allocated: std::sync::Mutex<u64>,
}

impl Heap {
    /// The smallest ring for these limits: one slot more than the capacity, rounded up to a power of two.
    pub(super) fn new(limits: Limits, blocks: u32, rows: u16) -> Arc<Self> {
        let size = RingSize::for_capacity(limits.capacity, 2);
        Arc::new(Self {
            limits,
            size,
            ring: (0..size.slots())
                .map(|_| SlotWord::new(SlotState::empty(Lap(0))))
                .collect(),
            cells: (0..blocks).map(|_| Cell::new()).collect(),
            rows: (0..rows).map(|_| PeerEntry::new()).collect(),
            lifecycle: LifecycleWord::new(),
            returned: ReturnedWord::new(),
            head: Hint::new(),
            tail: Hint::new(),
            items: ParkingWord::new(),
            space: ParkingWord::new(),
            blocks: ParkingWord::new(),
            dropped_letters: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
            allocated: std::sync::Mutex::default(),
            sleepers: futex::Sleepers::default(),
        })
    }

    /// Call `attempt` until it gives something, and sleep on `word` in between, as `queue::wait` does: one
    /// look after the announcement, and one after each sleep.
    pub(super) fn wait_for<R>(
        &self,
        word: &ParkingWord,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> R {
        loop {
            if let Some(result) = attempt() {
                return result;
            }
            let epoch = word.prepare_wait();
            if let Some(result) = attempt() {
                return result;
            }
            self.sleep(word, epoch.get());
        }
    }

    /// Wait on the futex that is `word`, while it has the value `expected`.
    pub(super) fn sleep(&self, word: &ParkingWord, expected: u32) {
        self.sleepers.sleep(word, expected);
    }

    /// Nobody has a block in hand.
    pub(super) fn assert_free(&self) {
        for cell in &self.cells {
            let word = cell.header.word.load();
            assert!(word.is(BlockKind::Free), "a block is left {word:?}");
        }
    }

    /// Nobody has a block in hand, and each that was allocated was freed once.
    pub(super) fn assert_each_freed_once(&self) {
        let allocated = *self.allocated.lock().expect("no panic");
        self.assert_all_free(allocated);
    }

    /// Nobody has a block in hand, and blocks were freed or returned `releases` times in all.
    pub(super) fn assert_all_free(&self, releases: u64) {
        self.assert_free();
        let generations = self
            .cells
            .iter()
            .map(|cell| cell.header.word.load().generation());
        assert_eq!(generations.sum::<u64>(), releases, "releases of blocks");
    }

    fn cell(&self, index: BlockIndex) -> &Cell {
        self.cells
            .get(index.get() as usize)
            .expect("blocks in hand exist")
    }
}

impl SharedState for Heap {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn ring_size(&self) -> RingSize {
        self.size
    }

    fn slot(&self, position: Position) -> &SlotWord {
        let number = usize::try_from(self.size.slot_number(position));
        number
            .ok()
            .and_then(|number| self.ring.get(number))
            .expect("slot numbers are below the number of slots")
    }

    fn block_count(&self) -> u32 {
        u32::try_from(self.cells.len()).expect("few blocks")
    }

    fn block(&self, index: BlockIndex) -> Option<&BlockHeader> {
        self.cells
            .get(index.get() as usize)
            .map(|cell| &cell.header)
    }

    fn marks(&self, index: BlockIndex) -> Option<&BatchMarks> {
        self.cells.get(index.get() as usize).map(|cell| &cell.marks)
    }

    fn peer_count(&self) -> u16 {
        u16::try_from(self.rows.len()).expect("few rows")
    }

    fn peer(&self, row: PeerIndex) -> Option<&PeerEntry> {
        self.rows.get(usize::from(row.get()))
    }

    fn lifecycle(&self) -> &LifecycleWord {
        &self.lifecycle
    }

    fn returned(&self) -> &ReturnedWord {
        &self.returned
    }

    fn head(&self) -> &Hint {
        &self.head
    }

    fn tail(&self) -> &Hint {
        &self.tail
    }

    fn items(&self) -> &ParkingWord {
        &self.items
    }

    fn space(&self) -> &ParkingWord {
        &self.space
    }

    fn blocks(&self) -> &ParkingWord {
        &self.blocks
    }

    fn evicted(&self) -> &AtomicU64 {
        &self.dropped_letters
    }

    fn discarded(&self) -> &AtomicU64 {
        &self.discarded
    }

    fn wake(&self, word: &ParkingWord, count: u32) -> u32 {
        self.sleepers.wake(word, count)
    }

    fn prefetch_block(&self, _: BlockIndex) {}
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Accepted,
    /// The queue is full, or has no free block.
    Full,
    Closed,
}

/// One process, with a row of its own, that sends and receives as `queue` does.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) queue: Arc<Heap>,
    pub(super) row: PeerIndex,
    room: Hint,
    cursor: AtomicU32,
}

impl Peer {
    pub(super) fn new(queue: &Arc<Heap>, row: u16) -> Self {
        Self {
            queue: Arc::clone(queue),
            row: PeerIndex::new(row).expect("a small number"),
            room: Hint::new(),
            cursor: AtomicU32::new(0),
        }
    }

    /// `Allocate` and `Offer`: a block with the message. `None`: no block is free.
    pub(super) fn prepare(&self, message: u64) -> Option<OwnedBlock> {
        let queue = &*self.queue;
        let all = 0..queue.block_count();
        let mut block = send::allocate(queue, self.row, all, &self.cursor)?;
        *queue.allocated.lock().expect("no panic") += 1;
        queue.cell(block.index()).write(message);
        send::offer(queue, &mut block, 8).expect("sound words");
        Some(block)
    }

    /// `Publish`, once.
    pub(super) fn publish(&self, offered: &mut OwnedBlock) -> Publish {
        send::publish(&*self.queue, offered, &self.room).expect("sound words")
    }

    fn withdraw(&self, block: OwnedBlock) {
        send::withdraw(&*self.queue, block).expect("sound words");
    }

    pub(super) fn try_send(&self, message: u64) -> Sent {
        let Some(mut offered) = self.prepare(message) else {
            return Sent::Full;
        };
        match self.publish(&mut offered) {
            Publish::Accepted => Sent::Accepted,
            Publish::Full => {
                self.withdraw(offered.take());
                Sent::Full
            }
            Publish::Closed => {
                self.withdraw(offered.take());
                Sent::Closed
            }
        }
    }

    /// Send, and sleep while the queue is full.
    pub(super) fn send(&self, message: u64) -> Sent {
        let queue = &*self.queue;
        let prepared = queue.wait_for(queue.blocks(), || {
            if queue.lifecycle().load().is_open() {
                self.prepare(message).map(Some)
            } else {
                Some(None)
            }
        });
        let Some(mut offered) = prepared else {
            return Sent::Closed;
        };
        queue.wait_for(queue.space(), || match self.publish(&mut offered) {
            Publish::Accepted => Some(Sent::Accepted),
            Publish::Full => None,
            Publish::Closed => {
                self.withdraw(offered.take());
                Some(Sent::Closed)
            }
        })
    }

    /// Send a batch of `count` messages, which are all one to this heap.
    pub(super) fn send_batch(&self, message: u64, count: usize) {
        let queue = &*self.queue;
        let all = 0..queue.block_count();
        let mut block = send::allocate(queue, self.row, all, &self.cursor).expect("a free block");
        queue.cell(block.index()).write(message);
        batch::begin(queue, &block, count).expect("sound words");
        batch::offer(queue, &mut block, 8).expect("sound words");
        assert_eq!(self.publish(&mut block), Publish::Accepted);
    }

    pub(super) fn try_receive(&self) -> Receive {
        receive::receive(&*self.queue, self.row).expect("sound words")
    }

    /// Receive, and sleep while there is nothing. `None`: closed.
    pub(super) fn receive(&self) -> Option<OwnedBlock> {
        let queue = &*self.queue;
        queue.wait_for(queue.items(), || match self.try_receive() {
            Receive::Message(held) => Some(Some(held)),
            Receive::Empty => None,
            Receive::Closed => Some(None),
        })
    }

    /// The message in a block that this peer holds.
    pub(super) fn read(&self, held: &OwnedBlock) -> u64 {
        assert!(held.word().is(BlockKind::Held) && held.word().peer() == self.row);
        self.queue.cell(held.index()).read()
    }

    /// Read and acknowledge.
    pub(super) fn consume(&self, held: OwnedBlock) -> u64 {
        let message = self.read(&held);
        settle::acknowledge(&*self.queue, held).expect("sound words");
        message
    }

    pub(super) fn give_back(&self, held: OwnedBlock) {
        settle::return_message(&*self.queue, held).expect("sound words");
    }

    pub(super) fn close(&self) -> bool {
        close::close(&*self.queue).expect("sound words")
    }

    /// Receive and acknowledge all that there is without waiting; whether the queue turned out closed.
    pub(super) fn drain(&self) -> (Vec<u64>, bool) {
        let mut messages = Vec::new();
        loop {
            match self.try_receive() {
                Receive::Message(held) => messages.push(self.consume(held)),
                Receive::Empty => return (messages, false),
                Receive::Closed => return (messages, true),
            }
        }
    }
}

/// Sleeping without a kernel, in loom's world. A wait ends for two reasons only: the word is not as
/// expected, or somebody woke this very sleeper. There is no slice, so a lost wake is a deadlock, which
/// loom reports.
mod futex {
    use crate::protocol::parking::ParkingWord;
    use crate::sync::Ordering;
    use crate::sync::explorer::{skip_branch, thread};
    use core::ptr::from_ref;
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    pub(super) struct Sleepers(Mutex<BlockKind>);

    #[derive(Debug, Default)]
    struct BlockKind {
        asleep: Vec<(usize, thread::Thread)>,
        /// How many waits have found another value than they expected.
        turned_away: u32,
    }

    /// Two sleepers can keep each other awake for ever, each raising the epoch between the other's look and
    /// its sleep. Only executions with fewer such rounds are explored.
    const ROUNDS: u32 = 6;

    impl Sleepers {
        pub(super) fn sleep(&self, word: &ParkingWord, expected: u32) {
            // The one step that loom sees: a kernel reads the word under a lock, so never an old value. What
            // follows can't be interrupted, for loom switches threads only before such a step.
            let now = word.word().fetch_add(0, Ordering::Relaxed);
            let mut state = self.0.lock().expect("no panic in here");
            if now == expected {
                state
                    .asleep
                    .push((from_ref(word).addr(), thread::current()));
                drop(state);
                thread::park();
            } else {
                state.turned_away += 1;
                if state.turned_away >= ROUNDS {
                    drop(state);
                    skip_branch();
                    thread::yield_now();
                }
            }
        }

        pub(super) fn wake(&self, word: &ParkingWord, count: u32) -> u32 {
            // So that loom tries this before and after each sleep on the word.
            word.word().fetch_add(0, Ordering::Relaxed);
            let mut state = self.0.lock().expect("no panic in here");
            let mut woken = 0;
            state.asleep.retain(|(address, sleeper)| {
                let wakes = woken < count && *address == from_ref(word).addr();
                if wakes {
                    sleeper.unpark();
                    woken += 1;
                }
                !wakes
            });
            woken
        }
    }
}
