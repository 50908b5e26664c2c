//! A queue on the heap for the real functions. Its words are observed and never written to.
//!
//! The address of each word tells an [`Observer`] which word of a [`Memory`] is meant; what is done to a word
//! is done there instead (`crate::sync::observed`).

use super::configuration::{Configuration, HugeBlocks};
use super::memory::{Access, BATCH, Memory, ParkingSpot, Word, to_u8};
use crate::protocol::batch::BatchMarks;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::huge_memory::HugeHints;
use crate::protocol::ids::{BlockIndex, Lap, PeerIndex, Position};
use crate::protocol::lifecycle::LifecycleWord;
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::PeerEntry;
use crate::protocol::returned::ReturnedWord;
use crate::protocol::ring::{Hint, RingSize, SlotState, SlotWord};
use crate::protocol::steps::stats::{self, MessageStats};
use crate::protocol::{Limits, SharedState, Words};
use crate::sync::observed::{self, Observer, watch};
use crate::sync::{AtomicU32, AtomicU64};
use core::cell::{OnceCell, RefCell};
use core::ptr::from_ref;
use std::collections::HashMap;
use std::rc::Rc;

/// Which word has which address.
pub(super) type Addresses = Rc<HashMap<usize, Word>>;
/// Does a system call, which is an access to a word. Returns its result.
pub(super) type Kernel = dyn Fn(Word, Access) -> u64;

/// A queue on the heap.
pub(super) struct HeapQueue {
    pub(super) configuration: &'static Configuration,
    size: RingSize,
    ring: Vec<SlotWord>,
    blocks: Vec<(BlockHeader, BatchMarks)>,
    peers: Vec<PeerEntry>,
    lifecycle: LifecycleWord,
    returned: ReturnedWord,
    hints: [Hint; 2],
    parking: [ParkingWord; 3],
    evicted: AtomicU64,
    discarded: AtomicU64,
    /// Made when the queue has its final place.
    addresses: OnceCell<Addresses>,
    hints_of_process: HugeHints,
    kernel: RefCell<Option<Rc<Kernel>>>,
}

thread_local! {
    /// The queue that was used last. All steps of a search use the same.
    static LAST: RefCell<Option<Rc<HeapQueue>>> = const { RefCell::new(None) };
}

impl HeapQueue {
    /// Returns a queue for this configuration, made once for a search.
    pub(super) fn of(configuration: &'static Configuration) -> Rc<Self> {
        let last = LAST.with_borrow(Clone::clone);
        if let Some(queue) = last
            && core::ptr::eq(queue.configuration, configuration)
        {
            return queue;
        }
        let queue = Rc::new(Self::new(configuration));
        LAST.set(Some(Rc::clone(&queue)));
        queue
    }

    fn new(configuration: &'static Configuration) -> Self {
        let size = configuration.size();
        Self {
            configuration,
            size,
            ring: (0..size.slots())
                .map(|_| SlotWord::new(SlotState::empty(Lap(0))))
                .collect(),
            blocks: (0..configuration.blocks)
                .map(|_| (BlockHeader::new(), BatchMarks::new()))
                .collect(),
            peers: (0..configuration.peers())
                .map(|_| PeerEntry::new())
                .collect(),
            lifecycle: LifecycleWord::new(),
            returned: ReturnedWord::new(),
            hints: [Hint::new(), Hint::new()],
            parking: [ParkingWord::new(), ParkingWord::new(), ParkingWord::new()],
            evicted: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
            addresses: OnceCell::new(),
            hints_of_process: HugeHints::default(),
            kernel: RefCell::default(),
        }
    }

    pub(super) fn addresses(&self) -> &Addresses {
        self.addresses
            .get_or_init(|| Rc::new(self.find_addresses()))
    }

    /// Sets what system calls do.
    pub(super) fn on_system_call(&self, kernel: Option<Rc<Kernel>>) {
        self.kernel.replace(kernel);
    }

    pub(super) fn call_kernel(&self, word: Word, access: Access) -> u64 {
        let kernel = self.kernel.borrow().clone();
        kernel.expect("called within a step")(word, access)
    }

    pub(super) fn huge(&self) -> HugeBlocks {
        let huge = self.configuration.huge;
        huge.expect("a configuration with huge blocks")
    }

    /// Returns what the process whose step it is remembers about memory.
    pub(super) fn hints_of_process(&self) -> &HugeHints {
        &self.hints_of_process
    }

    pub(super) fn has_batches(&self) -> bool {
        self.configuration.batches
    }

    fn find_addresses(&self) -> HashMap<usize, Word> {
        let [head, tail] = &self.hints;
        let [items, space, blocks] = &self.parking;
        let parking = |word: &ParkingWord| from_ref(word.futex_word()).addr();
        let mut words = HashMap::from([
            (from_ref(&self.lifecycle).addr(), Word::Lifecycle),
            (from_ref(&self.returned).addr(), Word::Returned),
            (from_ref(head).addr(), Word::Head),
            (from_ref(tail).addr(), Word::Tail),
            (parking(items), Word::Parking(ParkingSpot::Items)),
            (parking(space), Word::Parking(ParkingSpot::Space)),
            (parking(blocks), Word::Parking(ParkingSpot::Blocks)),
        ]);
        for (number, slot) in (0..).zip(&self.ring) {
            words.insert(from_ref(slot).addr(), Word::Slot(number));
        }
        for (number, (header, marks)) in (0..).zip(&self.blocks) {
            let address = from_ref(&header.word).addr();
            words.insert(address, Word::Block(number));
            // `BlockHeader` is laid out as in C: the word, the position, the length, the note. The last two matter only
            // where there are batches,
            // the note also in huge blocks.
            words.insert(address + size_of::<AtomicU64>(), Word::Position(number));
            let note = address + 2 * size_of::<AtomicU64>() + size_of::<AtomicU32>();
            if self.configuration.huge.is_some() {
                words.insert(note, Word::Committed(number));
            }
            if self.configuration.batches {
                let length = address + 2 * size_of::<AtomicU64>();
                words.insert(length, Word::Length(number));
                words.insert(note, Word::Note(number));
                let (extra, marks) = marks.addresses();
                words.insert(extra, Word::ExtraMessages(number));
                let marks = (0..BATCH).zip(marks);
                words.extend(marks.map(|(message, mark)| (mark, Word::Mark(number, message))));
            }
        }
        for (number, peer) in (0..).zip(&self.peers) {
            // The first field of a peer entry is its word.
            words.insert(from_ref(peer).addr(), Word::Peer(number));
        }
        words
    }
}

impl SharedState for HeapQueue {
    type Words<'a> = &'a Self;

    fn words(&self) -> &Self {
        self
    }

    fn limits(&self) -> &Limits {
        &self.configuration.limits
    }

    fn cell_count(&self) -> u32 {
        self.block_count()
    }

    fn block_count(&self) -> u32 {
        self.configuration.blocks.into()
    }

    fn marks(&self, index: BlockIndex) -> Option<&BatchMarks> {
        let (_, marks) = self.blocks.get(index.get() as usize)?;
        Some(marks)
    }

    fn peer_count(&self) -> u16 {
        self.configuration.peers().into()
    }

    fn peer(&self, peer: PeerIndex) -> Option<&PeerEntry> {
        self.peers.get(usize::from(peer.get()))
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
        let address = from_ref(word.futex_word()).addr();
        let word = self.addresses().get(&address).expect("a parking word");
        let woken = self.call_kernel(*word, Access::Wake(count));
        u32::try_from(woken).expect("few sleepers")
    }
}

impl<'a> Words<'a> for &'a HeapQueue {
    fn ring_size(self) -> RingSize {
        self.size
    }

    fn slot(self, position: Position) -> &'a SlotWord {
        &self.ring[usize::from(to_u8(self.size.slot_number(position)))]
    }

    fn block(self, index: BlockIndex) -> Option<&'a BlockHeader> {
        let (header, _) = self.blocks.get(index.get() as usize)?;
        Some(header)
    }

    fn lifecycle(self) -> &'a LifecycleWord {
        &self.lifecycle
    }

    fn returned(self) -> &'a ReturnedWord {
        &self.returned
    }

    fn head(self) -> &'a Hint {
        &self.hints[0]
    }

    fn tail(self) -> &'a Hint {
        &self.hints[1]
    }

    fn items(self) -> &'a ParkingWord {
        &self.parking[0]
    }

    fn space(self) -> &'a ParkingWord {
        &self.parking[1]
    }

    fn blocks(self) -> &'a ParkingWord {
        &self.parking[2]
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

/// Returns the statistics of a queue with this memory, as the real function counts them.
pub(super) fn stats(configuration: &'static Configuration, memory: &Memory) -> MessageStats {
    let queue = HeapQueue::of(configuration);
    let reader = Rc::new(MemoryReader {
        addresses: Rc::clone(queue.addresses()),
        memory: *memory,
    });
    watch(reader, || {
        stats::count(&*queue, &stats::snapshot_blocks(&*queue))
    })
}

/// An observer that reads from a memory and forbids writes.
struct MemoryReader {
    addresses: Addresses,
    memory: Memory,
}

impl Observer for MemoryReader {
    fn access(&self, address: usize, access: observed::Access) -> Option<u64> {
        let word = *self.addresses.get(&address)?;
        assert_eq!(access, observed::Access::Load, "{word:?} is written to");
        Some(self.memory.get(word))
    }
}
