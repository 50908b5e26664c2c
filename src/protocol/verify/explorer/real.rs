//! The real functions, run for one step: those of [`crate::protocol::steps`], on words on the heap that nothing is
//! ever written to.
//!
//! Whatever a function does to one of these words is done to the words of a [`Run`] instead (`crate::sync::observed`).
//! So it can be run from its start again and again, be told what its accesses have given before, and be left by
//! unwinding at the second access that is new. A process that stops there for good has died there.

use super::configuration::Configuration;
use super::process::{Call, Deed, Hand, Outcome, Then};
use super::state::{Run, SLICE_OVER};
use super::words::{Access, BATCH, Memory, Park, Word, small};
use crate::mutants;
use crate::protocol::batch::{BatchMarks, MessageMark};
use crate::protocol::blocks::{BlockHeader, BlockIndex, BlockState};
use crate::protocol::lifecycle::{Arrival, LifecycleWord};
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::{PeerEntry, PeerIndex, PeerKind, PeerState, Role, Roles};
use crate::protocol::returned::ReturnedWord;
use crate::protocol::ring::{Hint, Lap, Position, RingSize, SlotState, SlotWord};
use crate::protocol::steps::receive::{self, Receive};
use crate::protocol::steps::recover::{self, DeadPeer};
use crate::protocol::steps::send::{self, Publish};
use crate::protocol::steps::stats::{self, MessageStats};
use crate::protocol::steps::{OwnedBlock, batch, close, dead_letters, membership};
use crate::protocol::{Corrupt, Limits, SharedState};
use crate::sync::observed::{self, Observer, watch};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use core::cell::{OnceCell, RefCell};
use core::ptr::from_ref;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// What a function is left with before an access that is not its turn.
struct Stopped;

/// Run a call for one step; `None`: it is not at its end.
pub(super) fn perform(run: Run, call: Call) -> (Run, Option<Outcome>) {
    let queue = queue_of(run.configuration());
    let watcher = Rc::new(Watcher {
        words: Rc::clone(queue.words()),
        run: RefCell::new(run),
    });
    queue.watcher.replace(Some(Rc::clone(&watcher)));
    let caller = Caller {
        queue: &queue,
        watcher: &watcher,
    };
    let observer: Rc<dyn Observer> = Rc::<Watcher>::clone(&watcher);
    let flaw = watcher.run.borrow().machine.flaw;
    let perform = || caller.call(call).unwrap_or_else(Outcome::Corrupt);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        watch(observer, || mutants::with(flaw, perform))
    }));
    queue.watcher.take();
    let outcome = match outcome {
        Ok(outcome) => Some(outcome),
        Err(reason) if reason.is::<Stopped>() => None,
        Err(panic) => resume_unwind(panic),
    };
    let watcher = Rc::into_inner(watcher).expect("nobody else has it any more");
    (watcher.run.into_inner(), outcome)
}

/// The words of one queue.
struct Queue {
    configuration: &'static Configuration,
    size: RingSize,
    ring: Vec<SlotWord>,
    blocks: Vec<(BlockHeader, BatchMarks)>,
    rows: Vec<PeerEntry>,
    lifecycle: LifecycleWord,
    returned: ReturnedWord,
    hints: [Hint; 2],
    parking: [ParkingWord; 3],
    dropped_letters: AtomicU64,
    discarded: AtomicU64,
    /// Which word has which address, once they have one that stays.
    words: OnceCell<Rc<HashMap<usize, Word>>>,
    watcher: RefCell<Option<Rc<Watcher>>>,
}

thread_local! {
    /// The last one: all steps of a search are on the same.
    static QUEUE: RefCell<Option<Rc<Queue>>> = const { RefCell::new(None) };
}

fn queue_of(configuration: &'static Configuration) -> Rc<Queue> {
    let last = QUEUE.with_borrow(Clone::clone);
    if let Some(queue) = last
        && core::ptr::eq(queue.configuration, configuration)
    {
        return queue;
    }
    let queue = Rc::new(Queue::new(configuration));
    QUEUE.set(Some(Rc::clone(&queue)));
    queue
}

impl Queue {
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
            rows: (0..configuration.rows())
                .map(|_| PeerEntry::new())
                .collect(),
            lifecycle: LifecycleWord::new(),
            returned: ReturnedWord::new(),
            hints: [Hint::new(), Hint::new()],
            parking: [ParkingWord::new(), ParkingWord::new(), ParkingWord::new()],
            dropped_letters: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
            words: OnceCell::new(),
            watcher: RefCell::default(),
        }
    }

    fn words(&self) -> &Rc<HashMap<usize, Word>> {
        self.words.get_or_init(|| Rc::new(self.addresses()))
    }

    fn addresses(&self) -> HashMap<usize, Word> {
        let [head, tail] = &self.hints;
        let [items, space, blocks] = &self.parking;
        let parking = |word: &ParkingWord| from_ref(word.word()).addr();
        let mut words = HashMap::from([
            (from_ref(&self.lifecycle).addr(), Word::Lifecycle),
            (from_ref(&self.returned).addr(), Word::Returned),
            (from_ref(head).addr(), Word::Head),
            (from_ref(tail).addr(), Word::Tail),
            (parking(items), Word::Parking(Park::Items)),
            (parking(space), Word::Parking(Park::Space)),
            (parking(blocks), Word::Parking(Park::Blocks)),
        ]);
        for (number, slot) in (0..).zip(&self.ring) {
            words.insert(from_ref(slot).addr(), Word::Slot(number));
        }
        for (number, (header, marks)) in (0..).zip(&self.blocks) {
            let address = from_ref(&header.word).addr();
            words.insert(address, Word::Block(number));
            // `BlockHeader` is laid out as in C: the position comes right after the word, and then the length and the
            // note, which matter where there are batches.
            words.insert(address + size_of::<AtomicU64>(), Word::Position(number));
            if self.configuration.batches {
                let length = address + 2 * size_of::<AtomicU64>();
                words.insert(length, Word::Length(number));
                words.insert(length + size_of::<AtomicU32>(), Word::Note(number));
                let (beyond, marks) = marks.addresses();
                words.insert(beyond, Word::Beyond(number));
                let marks = (0..BATCH).zip(marks);
                words.extend(marks.map(|(message, mark)| (mark, Word::Mark(number, message))));
            }
        }
        for (number, row) in (0..).zip(&self.rows) {
            // The tenant comes first.
            words.insert(from_ref(row).addr(), Word::PeerIndex(number));
        }
        words
    }
}

impl SharedState for Queue {
    fn limits(&self) -> &Limits {
        &self.configuration.limits
    }

    fn ring_size(&self) -> RingSize {
        self.size
    }

    fn slot(&self, position: Position) -> &SlotWord {
        &self.ring[usize::from(small(self.size.slot_number(position)))]
    }

    fn block_count(&self) -> u32 {
        self.configuration.blocks.into()
    }

    fn block(&self, index: BlockIndex) -> Option<&BlockHeader> {
        let (header, _) = self.blocks.get(index.get() as usize)?;
        Some(header)
    }

    fn marks(&self, index: BlockIndex) -> Option<&BatchMarks> {
        let (_, marks) = self.blocks.get(index.get() as usize)?;
        Some(marks)
    }

    fn peer_count(&self) -> u16 {
        self.configuration.rows().into()
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
        &self.hints[0]
    }

    fn tail(&self) -> &Hint {
        &self.hints[1]
    }

    fn items(&self) -> &ParkingWord {
        &self.parking[0]
    }

    fn space(&self) -> &ParkingWord {
        &self.parking[1]
    }

    fn blocks(&self) -> &ParkingWord {
        &self.parking[2]
    }

    fn evicted(&self) -> &AtomicU64 {
        &self.dropped_letters
    }

    fn discarded(&self) -> &AtomicU64 {
        &self.discarded
    }

    fn wake(&self, word: &ParkingWord, count: u32) -> u32 {
        let address = from_ref(word.word()).addr();
        let watcher = self.watcher.borrow().clone().expect("within a step");
        let word = self.words().get(&address).expect("one of the three");
        u32::try_from(watcher.access(*word, Access::Wake(count))).expect("few sleepers")
    }

    fn prefetch_block(&self, _: BlockIndex) {}
}

/// The books that a queue with these words keeps.
pub(super) fn books(configuration: &'static Configuration, memory: &Memory) -> MessageStats {
    let queue = queue_of(configuration);
    let reader = Rc::new(Reader {
        words: Rc::clone(queue.words()),
        memory: *memory,
    });
    watch(reader, || {
        stats::count(&*queue, &stats::snapshot_blocks(&*queue))
    })
}

/// Somebody who only looks.
struct Reader {
    words: Rc<HashMap<usize, Word>>,
    memory: Memory,
}

impl Observer for Reader {
    fn access(&self, address: usize, access: observed::Access) -> Option<u64> {
        let word = *self.words.get(&address)?;
        assert_eq!(access, observed::Access::Load, "{word:?} is written to");
        Some(self.memory.get(word))
    }
}

/// In the place of the words.
struct Watcher {
    words: Rc<HashMap<usize, Word>>,
    run: RefCell<Run>,
}

impl Watcher {
    /// Do it, or leave the function that asks for it.
    fn access(&self, word: Word, access: Access) -> u64 {
        let given = self.run.borrow_mut().access(word, access, |seen| seen);
        given.unwrap_or_else(|| resume_unwind(Box::new(Stopped)))
    }
}

impl Observer for Watcher {
    fn access(&self, address: usize, access: observed::Access) -> Option<u64> {
        let word = *self.words.get(&address)?;
        let access = match access {
            observed::Access::Load => Access::Load,
            observed::Access::Store(value) => Access::Store(value),
            observed::Access::Exchange(expected, to) => Access::Exchange(expected, to),
            observed::Access::Swap(value) => Access::Swap(value),
            observed::Access::Add(value) => Access::Add(value),
            observed::Access::Or(bits) => Access::Or(bits),
            observed::Access::And(bits) => Access::And(bits),
        };
        Some(Watcher::access(self, word, access))
    }
}

/// A process within a call.
struct Caller<'a> {
    queue: &'a Queue,
    watcher: &'a Watcher,
}

type Result<T> = core::result::Result<T, Corrupt>;

impl Caller<'_> {
    fn call(&self, call: Call) -> Result<Outcome> {
        let queue = self.queue;
        match call {
            Call::Nothing => Ok(Outcome::Nothing),
            Call::AllocateUnlessClosing if queue.lifecycle.load().is_closing() => {
                Ok(Outcome::Closed)
            }
            Call::Allocate | Call::AllocateUnlessClosing => Ok(self.allocate()),
            Call::Offer => {
                let mut block = self.in_hand()?;
                let deed = self.watcher.run.borrow().deed();
                if matches!(deed, Some(Deed::SendBatch | Deed::SendBatchPatiently)) {
                    batch::begin(queue, &block, BATCH.into())?;
                    batch::offer(queue, &mut block, 8)?;
                } else {
                    send::offer(queue, &mut block, 8)?;
                }
                Ok(taken(&block))
            }
            Call::Publish => self.publish(),
            Call::Withdraw => done(send::withdraw(queue, self.in_hand()?)),
            Call::Receive => Ok(match receive::receive(queue, self.me())? {
                Receive::Message(held) => taken(&held),
                Receive::Empty => Outcome::Empty,
                Receive::Closed => Outcome::Closed,
            }),
            Call::Acknowledge => done(receive::acknowledge(queue, self.in_hand()?)),
            Call::GiveBack => done(receive::return_message(queue, self.in_hand()?)),
            Call::Reject => done(receive::reject(queue, self.in_hand()?)),
            Call::Settle(then) => done(self.settle(self.in_hand()?, then)),
            Call::OpenLetter => Ok(dead_letters::list(queue)
                .into_iter()
                .find_map(|(position, index)| dead_letters::open(queue, self.me(), position, index))
                .map_or(Outcome::Nothing, |read| taken(&read))),
            Call::PutBackLetter => done(dead_letters::put_back(queue, self.in_hand()?)),
            Call::DiscardLetter => done(self.discard_letters(self.in_hand()?)),
            Call::Close => close::close(queue).map(Outcome::First),
            Call::Cancel => done(close::cancel(queue, self.me()).map(drop)),
            Call::Announce(park) => {
                let epoch = self.parking(park).prepare_wait();
                Ok(Outcome::Epoch(epoch.get().into()))
            }
            Call::Sleep(park) => Ok(self.sleep(park)),
            Call::Inspect => done(receive::check_tail(queue)),
            Call::Join => self.join(),
            Call::HandOn(_) => self.hand_on(),
            Call::Redeem => self.redeem(),
            Call::Leave => {
                let (row, tenant) = self.place();
                let left = membership::leave(queue, row, tenant, self.role())?;
                Ok(Outcome::Tenant(self.number(), left.bits()))
            }
            Call::Detach => {
                let (row, tenant) = self.place();
                done(membership::vacate(queue, row, tenant))
            }
            Call::LookAfter(row) => self.look_after(row),
            Call::Tidy => done(recover::finish_stalled(queue)),
            Call::TidyBlocks => {
                recover::finish_stalled_blocks(queue, self.me());
                Ok(Outcome::Done)
            }
            Call::Rest(rest) => unreachable!("only the model forgets: {rest:?}"),
        }
    }

    /// As `queue::batches` and `queue::lease` do it.
    fn settle(&self, held: OwnedBlock, then: Then) -> Result<()> {
        let queue = self.queue;
        let batch = if queue.configuration.batches {
            batch::batch(queue, held.index())?
        } else {
            None
        };
        let Some(batch) = batch else {
            return match then {
                Then::GiveBack => receive::return_message(queue, held),
                Then::Reject => receive::reject(queue, held),
                _ => receive::acknowledge(queue, held),
            };
        };
        batch.open(held.word());
        if then == Then::AcknowledgeAll && batch.marks.are_fresh(batch.count) {
            for message in 0..batch.count {
                batch.marks.record_delivery(message, MessageMark::FRESH);
            }
            return batch::acknowledge(queue, held);
        }
        for message in 0..batch.count {
            let mark = batch.marks.get(message);
            if !mark.is_live(queue.limits().max_deliveries) {
                continue;
            }
            batch.marks.record_delivery(message, mark);
            match then {
                Then::GiveBack => break,
                Then::Reject => {
                    batch.marks.mark_rejected(message);
                    break;
                }
                _ => batch.marks.mark_done(message),
            }
        }
        batch::settle(queue, held)
    }

    /// As `queue::letters` does it.
    fn discard_letters(&self, read: OwnedBlock) -> Result<()> {
        let queue = self.queue;
        let Some(batch) = batch::batch(queue, read.index())? else {
            return dead_letters::discard(queue, read);
        };
        for message in 0..batch.count {
            if !batch.marks.get(message).is_done() {
                batch.marks.mark_done(message);
            }
        }
        dead_letters::put_back(queue, read)
    }

    fn number(&self) -> u8 {
        self.watcher.run.borrow().local.row
    }

    fn me(&self) -> PeerIndex {
        PeerIndex::from_low_bits(self.number().into())
    }

    fn place(&self) -> (PeerIndex, PeerState) {
        let tenant = self.watcher.run.borrow().local.tenant;
        (self.me(), PeerState::from_bits(tenant))
    }

    fn role(&self) -> Role {
        match self.watcher.run.borrow().deed() {
            Some(Deed::Leave(role) | Deed::HandOn(_, role)) => role,
            _ => Role::Sender,
        }
    }

    fn in_hand(&self) -> Result<OwnedBlock> {
        let hand = self.watcher.run.borrow().local.hand;
        let hand = hand.ok_or(Corrupt::NotOwned)?;
        Ok(OwnedBlock::forge(
            BlockIndex::from_low_bits(hand.block.into()),
            BlockState::from_bits(hand.word),
        ))
    }

    fn parking(&self, park: Park) -> &ParkingWord {
        match park {
            Park::Items => self.queue.items(),
            Park::Space => self.queue.space(),
            Park::Blocks => self.queue.blocks(),
        }
    }

    fn allocate(&self) -> Outcome {
        let cursor = AtomicU32::new(self.watcher.run.borrow().local.cursor);
        let all = 0..self.queue.block_count();
        let allocated = send::allocate(self.queue, self.me(), all, &cursor);
        self.watcher.run.borrow_mut().local.cursor = cursor.load(Ordering::Relaxed);
        allocated.map_or(Outcome::Nothing, |owned| taken(&owned))
    }

    fn publish(&self) -> Result<Outcome> {
        let room = Hint::new();
        room.set(Position(self.watcher.run.borrow().local.room));
        let published = send::publish(self.queue, &mut self.in_hand()?, &room);
        self.watcher.run.borrow_mut().local.room = room.get().0;
        Ok(match published? {
            Publish::Accepted => Outcome::Accepted,
            Publish::Full => Outcome::Full,
            Publish::Closed => Outcome::Closed,
        })
    }

    fn sleep(&self, park: Park) -> Outcome {
        let expected = self.watcher.run.borrow().local.epoch;
        let word = Word::Parking(park);
        match self.watcher.access(word, Access::Sleep(expected)) {
            SLICE_OVER => Outcome::SliceOver,
            _ => Outcome::Woken,
        }
    }

    /// As `queue::attachment` does it.
    fn lock_free_row(&self) -> Option<(u8, &PeerEntry, PeerState)> {
        (0..).zip(&self.queue.rows).find_map(|(number, row)| {
            let seen = row.load();
            if seen.kind() != Some(PeerKind::Free) {
                return None;
            }
            let lock = Access::Lock(seen.incarnation().get());
            let is_locked = self.watcher.access(Word::PeerIndex(number), lock) != 0;
            (is_locked && row.load() == seen).then_some((number, row, seen))
        })
    }

    fn arrive(&self, number: u8, tenant: PeerState, roles: Roles) -> Result<bool> {
        let row = PeerIndex::from_low_bits(number.into());
        let arrival = membership::arrive(self.queue, row, tenant, roles)?;
        Ok(arrival == Arrival::Counted)
    }

    fn join(&self) -> Result<Outcome> {
        let Some((number, row, seen)) = self.lock_free_row() else {
            return Ok(Outcome::Nothing);
        };
        let live = row.attach(seen, Roles::BOTH).ok_or(Corrupt::PeerChanged)?;
        if !self.arrive(number, live, Roles::BOTH)? {
            return Ok(Outcome::Closed);
        }
        Ok(Outcome::Tenant(number, live.bits()))
    }

    fn hand_on(&self) -> Result<Outcome> {
        let Some((number, row, seen)) = self.lock_free_row() else {
            return Ok(Outcome::Nothing);
        };
        let roles = Roles::only(self.role());
        let ticket = row.issue_ticket(seen, roles).ok_or(Corrupt::PeerChanged)?;
        if !self.arrive(number, ticket, roles)? {
            return Ok(Outcome::Closed);
        }
        Ok(Outcome::Done)
    }

    fn redeem(&self) -> Result<Outcome> {
        let (row, ticket) = self.place();
        let word = self.queue.peer(row).ok_or(Corrupt::NoSuchPeer)?;
        let live = word.attach(ticket, ticket.roles());
        let live = live.ok_or(Corrupt::PeerChanged)?;
        Ok(Outcome::Tenant(self.number(), live.bits()))
    }

    /// As `segment::sweep` does it.
    fn look_after(&self, number: u8) -> Result<Outcome> {
        let row = PeerIndex::from_low_bits(number.into());
        let tenant = self.queue.peer(row).ok_or(Corrupt::NoSuchPeer)?.load();
        if tenant.kind() == Some(PeerKind::Free) {
            return Ok(Outcome::Nothing);
        }
        let verdict = Access::Verdict(tenant.incarnation().get());
        if self.watcher.access(Word::PeerIndex(number), verdict) == 0 {
            return Ok(Outcome::Nothing);
        }
        let Some(dead) = DeadPeer::of(self.queue, row, tenant) else {
            return Ok(Outcome::Nothing);
        };
        done(recover::recover(self.queue, Some(self.me()), &dead).map(drop))
    }
}

fn done(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Done)
}

fn taken(block: &OwnedBlock) -> Outcome {
    Outcome::Block(Hand {
        block: small(block.index().get().into()),
        word: block.word().bits(),
    })
}
