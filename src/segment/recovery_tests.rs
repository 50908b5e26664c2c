//! Recovery, step by step, on the words of a real segment.
//!
//! Method: a process performs some transitions of the protocol and stops, as if it had died; another one recovers it.
//! Other recoverers die themselves, work at the same time, or come too late.

use super::{Segment, Settings};
use crate::os::identity;
use crate::protocol::batch::{BatchMarks, MessageMark};
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::ids::{BlockIndex, PeerIndex, Position};
use crate::protocol::lifecycle::LifecycleWord;
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::{PeerEntry, PeerState, Role, Roles};
use crate::protocol::returned::ReturnedWord;
use crate::protocol::ring::{Hint, RingSize, SlotKind, SlotWord};
use crate::protocol::steps::receive::{self, Receive};
use crate::protocol::steps::recover::{self, DeadPeer, Recovery, Repairs};
use crate::protocol::steps::send::{self, Publish};
use crate::protocol::steps::{OwnedBlock, batch, close, dead_letters, settle, stalled, stats};
use crate::protocol::{Corrupt, Limits, SharedState, Words};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use core::cell::Cell;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) const LIMITS: Limits = Limits {
    capacity: 8,
    max_deliveries: 3,
    max_dead_letters: 4,
    close_waits_for_leases: false,
    close_on_last_sender: false,
    close_on_last_receiver: false,
};

/// The peer that recovers: the second process of most tests.
const RECOVERER: PeerIndex = PeerIndex::from_low_bits(1);

pub(super) fn segment(limits: Limits) -> Segment {
    let settings = Settings {
        limits,
        evict_dead_letters: true,
        preallocate: true,
        max_leases: 8,
        max_message_len: 64 * 1024,
        inline_len: 96,
        memory_limit: u64::MAX,
        max_idle_memory: u64::MAX,
        spin: Duration::ZERO,
        liveness_interval: Duration::from_secs(10),
        schema: None,
        type_name: "a message".into(),
        codec_name: "a codec".into(),
    };
    Segment::create(settings).expect("a segment")
}

/// A process, as the words of the queue show it.
struct Process<'a> {
    queue: &'a Segment,
    peer: PeerIndex,
    state: PeerState,
    cursor: AtomicU32,
}

impl<'a> Process<'a> {
    fn attach(queue: &'a Segment, number: u16, roles: Roles) -> Self {
        let peer = PeerIndex::new(number).expect("a small number");
        let entry = queue.peer(peer).expect("it exists");
        let state = entry.attach(entry.load(), roles).expect("a free entry");
        let _ = queue.lifecycle().arrive(roles);
        Self {
            queue,
            peer,
            state,
            cursor: AtomicU32::new(0),
        }
    }

    /// `Allocate`.
    fn allocate(&self) -> OwnedBlock {
        send::allocate_cell(self.queue, self.queue.words(), self.peer, &self.cursor)
            .expect("a free block")
    }

    /// `Allocate` and `Offer`.
    fn offer(&self) -> OwnedBlock {
        let mut block = self.allocate();
        send::offer(self.queue.words(), &mut block, 8).expect("sound words");
        block
    }

    /// `Allocate`, `Offer`, `Publish`, `AdvanceTail`. Returns the block of the message.
    fn send(&self) -> BlockIndex {
        let mut block = self.offer();
        let index = block.index();
        let published = send::publish(self.queue, self.queue.words(), &mut block, &Hint::new());
        assert_eq!(published, Ok(Publish::Accepted));
        index
    }

    /// `Allocate`, and the preparation of the block for a batch.
    fn begin_batch(&self, count: usize) -> OwnedBlock {
        let larger = self.queue.small_blocks().end..self.queue.block_count();
        let cursor = AtomicU32::new(larger.start);
        let block = send::allocate(self.queue, self.peer, larger, &cursor).expect("a free block");
        batch::begin(self.queue, &block, count).expect("it takes batches");
        block
    }

    /// `Allocate` and `Offer` for a batch.
    fn offer_batch(&self, count: usize) -> OwnedBlock {
        let mut block = self.begin_batch(count);
        batch::offer(self.queue, &mut block, 8).expect("sound words");
        block
    }

    /// `Allocate`, `Offer`, `Publish`, `AdvanceTail` for a batch. Returns its block.
    fn send_batch(&self, count: usize) -> BlockIndex {
        let mut block = self.offer_batch(count);
        let index = block.index();
        let published = send::publish(self.queue, self.queue.words(), &mut block, &Hint::new());
        assert_eq!(published, Ok(Publish::Accepted));
        index
    }

    /// `Take` of the message at `position`, and no more.
    fn take_and_stop(&self, position: u64) {
        let word = self.queue.slot(Position(position));
        assert!(word.take(word.load(), self.peer).is_some());
    }

    fn receive(&self) -> Option<OwnedBlock> {
        match receive::receive(self.queue, self.queue.words(), self.peer).expect("sound words") {
            Receive::Message(held) => Some(held),
            Receive::Empty | Receive::Closed => None,
        }
    }

    /// Receives and acknowledges all messages. Returns the block and the deliveries of each.
    fn drain(&self) -> Vec<(BlockIndex, u8)> {
        core::iter::from_fn(|| self.receive())
            .map(|held| {
                let message = (held.index(), held.word().failed_deliveries());
                settle::acknowledge(self.queue, self.queue.words(), held).expect("sound words");
                message
            })
            .collect()
    }

    fn dead(&self) -> DeadPeer {
        DeadPeer::of(self.queue, self.peer, self.state).expect("its entry")
    }

    /// Recovers this process, which counts as dead.
    fn recover(&self) -> Repairs {
        match recover::recover(self.queue, Some(RECOVERER), &self.dead()) {
            Ok(Recovery::Done(repairs)) => repairs,
            other => panic!("{other:?}"),
        }
    }
}

/// Returns the number of messages that the queue has accepted, by its statistics.
fn accepted(queue: &Segment) -> u64 {
    stats::count(queue, &stats::snapshot_blocks(queue)).accepted
}

fn word(queue: &Segment, index: BlockIndex) -> BlockState {
    queue.block(index).expect("it exists").word.load()
}

fn state(queue: &Segment, index: BlockIndex) -> BlockKind {
    word(queue, index).kind().expect("a state")
}

/// Returns the number of blocks that are not free.
fn in_use(queue: &Segment) -> usize {
    let blocks = (0..queue.block_count()).filter_map(BlockIndex::new);
    blocks
        .filter(|&index| state(queue, index) != BlockKind::Free)
        .count()
}

/// Attaches two processes with both roles. The first is going to die.
fn two(queue: &Segment) -> (Process<'_>, Process<'_>) {
    (
        Process::attach(queue, 0, Roles::BOTH),
        Process::attach(queue, 1, Roles::BOTH),
    )
}

#[test]
fn the_messages_of_a_dead_sender_stay_and_its_unsent_blocks_are_freed() {
    let queue = segment(LIMITS);
    let (victim, other) = two(&queue);
    let sent = victim.send();
    let (owned, offered) = (victim.allocate(), victim.offer());
    let theirs = other.allocate();
    assert_eq!(
        victim.recover(),
        Repairs {
            withdrawn: 2,
            ..Repairs::default()
        }
    );
    for freed in [&owned, &offered] {
        assert_eq!(state(&queue, freed.index()), BlockKind::Free);
        let generation = word(&queue, freed.index()).generation();
        assert_eq!(generation, freed.word().generation() + 1);
    }
    assert_eq!(word(&queue, theirs.index()), theirs.word());
    assert_eq!(other.drain(), [(sent, 0)]);
    assert_eq!(in_use(&queue), 1);
}

/// Its taker has not recorded that it holds the message, so the block looks as if it had never been sent.
#[test]
fn a_message_of_a_dead_sender_stays_with_its_taker() {
    let queue = segment(LIMITS);
    let (victim, taker) = two(&queue);
    let sent = victim.send();
    taker.take_and_stop(0);
    assert_eq!(victim.recover(), Repairs::default());
    assert_eq!(state(&queue, sent), BlockKind::Offered);
    assert_eq!(taker.recover().returned, 1);
}

#[test]
fn an_unsent_block_is_freed_although_a_slot_names_it_for_an_earlier_message() {
    let queue = segment(LIMITS);
    let (victim, other) = two(&queue);
    for _ in 1..=queue.ring_size().slots() {
        other.send();
        assert_eq!(other.drain().len(), 1);
    }
    let unsent = victim.offer();
    let slot = queue.slot(queue.tail().get()).load();
    assert_eq!(
        (slot.kind(), slot.block()),
        (SlotKind::Vacated, unsent.index())
    );
    assert_eq!(victim.recover().withdrawn, 1);
    assert_eq!(in_use(&queue), 0);
}

#[test]
fn the_messages_of_a_dead_receiver_are_handed_out_first_in_order_with_their_deliveries() {
    let queue = segment(LIMITS);
    let (victim, other) = two(&queue);
    let sent: Vec<_> = (0..5).map(|_| other.send()).collect();
    // Returned and taken again, so that the blocks are held in another order than the positions.
    let mut held: Vec<_> = (0..3)
        .map(|_| victim.receive().expect("a message"))
        .collect();
    settle::return_message(&queue, held.remove(0)).expect("sound words");
    let again = victim.receive().expect("the returned message");
    assert_eq!(victim.recover().returned, 3);
    let attempts = [2, 1, 1, 0, 0];
    let expected: Vec<_> = sent.into_iter().zip(attempts).collect();
    assert_eq!(other.drain(), expected);
    assert_eq!(again.word().failed_deliveries(), 1);
    assert_eq!(in_use(&queue), 0);
}

#[test]
fn a_message_that_was_taken_without_a_record_is_returned() {
    let queue = segment(LIMITS);
    let (victim, other) = two(&queue);
    let sent = [other.send(), other.send()];
    victim.take_and_stop(0);
    assert_eq!(victim.recover().returned, 1);
    assert_eq!(other.drain(), [(sent[0], 1), (sent[1], 0)]);
}

#[test]
fn a_slot_does_not_give_a_later_message_of_its_block_to_its_taker() {
    let queue = segment(LIMITS);
    let (victim, other) = two(&queue);
    let sent = other.send();
    victim.take_and_stop(0);
    assert_eq!(victim.recover().returned, 1);
    assert_eq!(other.drain(), [(sent, 1)]);
    // The slot still names both. The block gets another message, and waits to be published.
    let slot = queue.slot(Position(0)).load();
    assert_eq!((slot.kind(), slot.block()), (SlotKind::Vacated, sent));
    let mut block =
        send::allocate_one(&queue, other.peer, sent.get()).expect("the block is free again");
    send::offer(queue.words(), &mut block, 8).expect("sound words");
    // Meanwhile the slot is filled with another block, for which its taker is helped.
    for _ in 1..=queue.ring_size().slots() {
        other.send();
        assert_eq!(other.drain().len(), 1);
    }
    assert!(word(&queue, sent).is(BlockKind::Offered));
    let published = send::publish(&queue, queue.words(), &mut block, &Hint::new());
    assert_eq!(published, Ok(Publish::Accepted));
    assert_eq!(other.drain(), [(sent, 0)]);
    assert_eq!(in_use(&queue), 0);
}

/// The slot is reused before the dead taker is recovered: a helper has recorded in the block who took the message.
#[test]
fn a_message_that_a_helper_has_recorded_is_returned() {
    let queue = segment(LIMITS);
    let (victim, other) = two(&queue);
    let sent = other.send();
    victim.take_and_stop(0);
    for _ in 1..=queue.ring_size().slots() {
        other.send();
        assert_eq!(other.drain().len(), 1);
    }
    assert!(word(&queue, sent).is(BlockKind::Held));
    assert_eq!(victim.recover().returned, 1);
    assert_eq!(other.drain(), [(sent, 1)]);
}

#[test]
fn a_message_at_its_last_delivery_becomes_a_dead_letter_and_the_oldest_are_evicted() {
    let queue = segment(Limits {
        max_deliveries: 1,
        max_dead_letters: 1,
        ..LIMITS
    });
    let (victim, other) = two(&queue);
    let sent = [other.send(), other.send()];
    let _held = [victim.receive(), victim.receive()];
    assert_eq!(victim.recover().dead_letters, 2);
    let dead_letters: Vec<_> = dead_letters::list(&queue)
        .into_iter()
        .map(|(_, block)| block)
        .collect();
    assert_eq!(dead_letters, [sent[1]], "the oldest is evicted first");
    assert_eq!(queue.evicted().load(Ordering::Relaxed), 1);
    assert_eq!(in_use(&queue), 1);
}

#[test]
fn the_oldest_dead_letters_of_a_dead_process_s_batch_are_evicted() {
    let queue = segment(Limits {
        max_deliveries: 1,
        max_dead_letters: 2,
        ..LIMITS
    });
    let (victim, other) = two(&queue);
    let sent = other.send_batch(5);
    let held = victim.receive().expect("a batch");
    let batch = batch::batch(&queue, sent).expect("sound words");
    let marks = batch.expect("a batch").marks;
    (0..5).for_each(|message| marks.record_delivery(message, MessageMark::FRESH));
    assert_eq!(held.index(), sent);
    assert_eq!(victim.recover().dead_letters, 1, "a block");
    assert_eq!(batch::message_counts(&queue, sent).unsettled(), 2);
    let done: Vec<_> = (0..5).map(|message| marks.get(message).is_done()).collect();
    assert_eq!(
        done,
        [true, true, true, false, false],
        "the oldest are evicted first"
    );
    assert_eq!(queue.evicted().load(Ordering::Relaxed), 3);
    assert_eq!(accepted(&queue), 5);
}

/// No process receives afterwards, which would discard the message as well.
#[test]
fn recovery_discards_a_message_that_was_returned_during_a_cancel() {
    let queue = segment(LIMITS);
    let (victim, other) = two(&queue);
    other.send();
    let held = victim.receive().expect("a message");
    assert_eq!(close::cancel(&queue, other.peer), Ok(0));
    // The victim has checked for a cancel before that. It returns the message and dies.
    let returned = held.word().after_return(3);
    held.exchange_and_die(&queue, returned);
    victim.recover();
    assert_eq!(queue.discarded().load(Ordering::Relaxed), 1);
    assert_eq!(in_use(&queue), 0);
}

#[test]
fn a_sweep_discards_a_message_that_a_stopped_process_returned_during_a_cancel() {
    let queue = segment(LIMITS);
    let (stopped, other) = two(&queue);
    other.send();
    let held = stopped.receive().expect("a message");
    assert_eq!(close::cancel(&queue, other.peer), Ok(0));
    let returned = held.word().after_return(3);
    held.exchange_and_die(&queue, returned);
    stalled::finish_stalled(&queue).expect("sound words");
    assert_eq!(queue.discarded().load(Ordering::Relaxed), 1);
    assert_eq!(in_use(&queue), 0);
}

#[test]
fn a_batch_that_was_never_accepted_is_not_counted() {
    let queue = segment(LIMITS);
    let (victim, other) = two(&queue);
    let sent = other.send_batch(5);
    assert_eq!(accepted(&queue), 5);
    let waiting = victim.offer_batch(9);
    let counted = stats::count(&queue, &stats::snapshot_blocks(&queue));
    assert_eq!((counted.accepted, counted.queued), (5, 5));
    let owned = victim.begin_batch(7);
    assert_eq!(victim.recover().withdrawn, 2);
    assert_eq!(accepted(&queue), 5);
    for block in [waiting.index(), owned.index()] {
        assert_eq!(state(&queue, block), BlockKind::Free);
    }
    let held = other.receive().expect("a batch");
    assert_eq!(held.index(), sent);
    settle::acknowledge_batch(&queue, held).expect("sound words");
    let counted = stats::count(&queue, &stats::snapshot_blocks(&queue));
    assert_eq!((counted.accepted, counted.acknowledged()), (5, 5));
}

#[test]
fn the_messages_of_a_dead_receiver_are_discarded_after_a_cancel() {
    let queue = segment(LIMITS);
    let (victim, other) = two(&queue);
    other.send();
    let _held = victim.receive();
    assert_eq!(close::cancel(&queue, other.peer), Ok(0));
    assert_eq!(victim.recover().discarded, 1);
    assert_eq!(queue.discarded().load(Ordering::Relaxed), 1);
    assert_eq!(in_use(&queue), 0);
}

#[test]
fn a_dead_letter_whose_reader_died_can_be_read_again() {
    let queue = segment(Limits {
        max_deliveries: 1,
        ..LIMITS
    });
    let (victim, other) = two(&queue);
    let sent = other.send();
    settle::return_message(&queue, other.receive().expect("a message")).expect("sound words");
    let read = dead_letters::open(&queue, victim.peer, Position(0), sent);
    assert!(read.is_some());
    assert!(dead_letters::open(&queue, other.peer, Position(0), sent).is_none());
    let repairs = victim.recover();
    assert_eq!((repairs.put_back, repairs.dead_letters), (1, 0));
    let read = dead_letters::open(&queue, other.peer, Position(0), sent).expect("a dead letter");
    assert_eq!(read.word().failed_deliveries(), 1);
    dead_letters::discard(&queue, read).expect("sound words");
    assert_eq!(in_use(&queue), 0);
}

/// Leaves a message in each state that a dead process can leave it in: sent, taken without a record, held, read, owned,
/// offered.
fn leave_every_state(queue: &Segment) -> (Process<'_>, Process<'_>) {
    let (victim, other) = two(queue);
    for _ in 0..3 {
        victim.send();
    }
    let rejected = other.receive().expect("the first message");
    let index = rejected.index();
    settle::reject(queue, rejected).expect("sound words");
    let _read = dead_letters::open(queue, victim.peer, Position(0), index).expect("a dead letter");
    let _held = victim.receive().expect("the second message");
    victim.take_and_stop(2);
    victim.send();
    let (_owned, _offered) = (victim.allocate(), victim.offer());
    (victim, other)
}

fn assert_all_is_repaired(queue: &Segment, other: &Process<'_>) {
    let attempts: Vec<_> = other
        .drain()
        .into_iter()
        .map(|(_, attempts)| attempts)
        .collect();
    assert_eq!(attempts, [1, 1, 0]);
    let dead_letters = dead_letters::list(queue);
    assert_eq!(dead_letters.len(), 1);
    assert_eq!(in_use(queue), 1);
    assert!(queue.lifecycle().load().is_open());
}

/// The words of a segment, for a process that dies at the access after a number of `looks` at them.
struct Dying<'a> {
    queue: &'a Segment,
    looks: Cell<u32>,
}

impl Dying<'_> {
    fn look(&self) {
        match self.looks.get().checked_sub(1) {
            Some(left) => self.looks.set(left),
            None => std::panic::resume_unwind(Box::new("dead")),
        }
    }
}

impl<'q> SharedState for Dying<'q> {
    type Words<'a>
        = &'a Dying<'q>
    where
        'q: 'a;

    fn words(&self) -> &Self {
        self
    }
    fn limits(&self) -> &Limits {
        self.queue.limits()
    }
    fn cell_count(&self) -> u32 {
        self.queue.cell_count()
    }
    fn block_count(&self) -> u32 {
        self.queue.block_count()
    }
    fn peer_count(&self) -> u16 {
        self.queue.peer_count()
    }
    fn peer(&self, peer: PeerIndex) -> Option<&PeerEntry> {
        self.look();
        self.queue.peer(peer)
    }
    fn marks(&self, index: BlockIndex) -> Option<&BatchMarks> {
        self.queue.marks(index)
    }
    fn evicted(&self) -> &AtomicU64 {
        self.queue.evicted()
    }
    fn discarded(&self) -> &AtomicU64 {
        self.queue.discarded()
    }
    fn fence_others(&self) -> bool {
        true
    }

    fn wake(&self, _: &ParkingWord, _: u32) -> u32 {
        0
    }
}

impl<'a, 'q: 'a> Words<'a> for &'a Dying<'q> {
    fn ring_size(self) -> RingSize {
        self.queue.ring_size()
    }
    fn slot(self, position: Position) -> &'a SlotWord {
        // Most slots were never filled. They do not count, so that the number of steps stays small.
        if self.queue.slot(position).load().kind() != SlotKind::Empty {
            self.look();
        }
        self.queue.slot(position)
    }
    fn block(self, index: BlockIndex) -> Option<&'a BlockHeader> {
        if state(self.queue, index) != BlockKind::Free {
            self.look();
        }
        self.queue.block(index)
    }
    fn lifecycle(self) -> &'a LifecycleWord {
        self.look();
        self.queue.lifecycle()
    }
    fn returned(self) -> &'a ReturnedWord {
        self.look();
        self.queue.returned()
    }
    fn head(self) -> &'a Hint {
        self.queue.head()
    }
    fn tail(self) -> &'a Hint {
        self.queue.tail()
    }
    fn items(self) -> &'a ParkingWord {
        self.look();
        self.queue.items()
    }
    fn space(self) -> &'a ParkingWord {
        self.queue.space()
    }
    fn blocks(self) -> &'a ParkingWord {
        self.queue.blocks()
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

/// Recovers until the recoverer dies after `looks` looks at words. Returns whether it has died before the end.
fn recover_and_die(queue: &Segment, dead: &DeadPeer, looks: u32) -> bool {
    let dying = Dying {
        queue,
        looks: Cell::new(looks),
    };
    catch_unwind(AssertUnwindSafe(|| {
        recover::recover(&dying, Some(RECOVERER), dead)
    }))
    .is_err()
}

#[test]
fn a_recoverer_may_die_at_any_step_and_the_next_one_finishes() {
    let mut steps = 0;
    loop {
        let queue = segment(LIMITS);
        let (victim, other) = leave_every_state(&queue);
        if !recover_and_die(&queue, &victim.dead(), steps) {
            assert_all_is_repaired(&queue, &other);
            break;
        }
        // The entry may be free already.
        if let Some(dead) = DeadPeer::of(&queue, victim.peer, victim.state) {
            let recovered = recover::recover(&queue, Some(RECOVERER), &dead).expect("sound words");
            assert!(
                matches!(recovered, Recovery::Done(_)),
                "after {steps} looks"
            );
        }
        assert_all_is_repaired(&queue, &other);
        steps += 1;
    }
    assert!(steps > 30, "only {steps} steps");
}

/// Each dies one look later than the one before.
#[test]
fn recoverers_that_die_one_after_the_other_finish_the_recovery() {
    let queue = segment(LIMITS);
    let (victim, other) = leave_every_state(&queue);
    let mut looks = 0;
    while let Some(dead) = DeadPeer::of(&queue, victim.peer, victim.state) {
        recover_and_die(&queue, &dead, looks);
        looks += 1;
    }
    assert_all_is_repaired(&queue, &other);
}

#[test]
fn one_of_several_recoverers_frees_the_entry() {
    let queue = segment(LIMITS);
    let (victim, other) = leave_every_state(&queue);
    let dead = victim.dead();
    let recovered: Vec<_> = std::thread::scope(|scope| {
        let recoverers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    recover::recover(&queue, Some(RECOVERER), &dead).expect("sound words")
                })
            })
            .collect();
        recoverers
            .into_iter()
            .map(|recoverer| recoverer.join().expect("no panic"))
            .collect()
    });
    let first = |recovery: &&Recovery| matches!(recovery, Recovery::Done(_));
    assert_eq!(recovered.iter().filter(first).count(), 1);
    assert_all_is_repaired(&queue, &other);
}

#[test]
fn a_late_recoverer_leaves_the_next_process_of_the_entry_alone() {
    let queue = segment(LIMITS);
    let (victim, other) = two(&queue);
    let dead = victim.dead();
    victim.recover();
    let next = Process::attach(&queue, 0, Roles::BOTH);
    other.send();
    let held = next.receive().expect("a message");
    let owned = next.allocate();
    assert_eq!(
        recover::recover(&queue, Some(RECOVERER), &dead),
        Ok(Recovery::Overtaken)
    );
    assert_eq!(DeadPeer::of(&queue, victim.peer, victim.state), None);
    assert_eq!(word(&queue, held.index()), held.word());
    assert_eq!(word(&queue, owned.index()), owned.word());
    assert_eq!(queue.peer(next.peer).expect("it exists").load(), next.state);
}

#[test]
fn the_last_sender_to_die_closes_the_queue() {
    let queue = segment(Limits {
        close_on_last_sender: true,
        ..LIMITS
    });
    let sender = |number| Process::attach(&queue, number, Roles::only(Role::Sender));
    let (first, last) = (sender(0), sender(1));
    let reader = Process::attach(&queue, 2, Roles::only(Role::Receiver));
    let sent = [first.send(), last.send()];
    first.recover();
    assert!(queue.lifecycle().load().is_open());
    last.recover();
    assert!(queue.lifecycle().load().is_closing());
    assert_eq!(reader.drain(), sent.map(|block| (block, 0)));
    let end = receive::receive(&queue, queue.words(), reader.peer);
    assert_eq!(end, Ok(Receive::Closed));
}

#[test]
fn a_sweep_closes_a_queue_without_senders_whose_recoverer_died_before_it_could() {
    let queue = segment(Limits {
        close_on_last_sender: true,
        ..LIMITS
    });
    let last = Process::attach(&queue, 0, Roles::only(Role::Sender));
    let entry = queue.peer(last.peer).expect("it exists");
    assert!(entry.vacate(last.state).is_some());
    assert!(queue.lifecycle().load().is_open());
    stalled::finish_stalled(&queue).expect("sound words");
    assert!(queue.lifecycle().load().is_closing());
}

/// Its entry shows that it was no sender any more, so its recovery does not ask whether it was the last one.
#[test]
fn a_reported_exit_closes_a_queue_whose_last_sender_died_while_it_left() {
    let queue = segment(Limits {
        close_on_last_sender: true,
        ..LIMITS
    });
    let receiver = Process::attach(&queue, 0, Roles::only(Role::Receiver));
    queue.set_own_peer(receiver.peer, identity::current().expect("this process"));
    let sender = Process::attach(&queue, 1, Roles::only(Role::Sender));
    let entry = queue.peer(sender.peer).expect("its entry");
    entry
        .drop_role(sender.state, Role::Sender)
        .expect("it is a sender");
    queue.check_peers_of(1);
    assert!(queue.lifecycle().load().is_closing());
}

#[test]
fn a_sweep_seals_a_queue_whose_closer_died_before_it_could() {
    let queue = segment(LIMITS);
    assert!(queue.lifecycle().begin_close());
    stalled::finish_stalled(&queue).expect("sound words");
    assert_eq!(queue.slot(Position(0)).load().kind(), SlotKind::Closed);
}

/// A process may stop after `Return` and before it sets the word by which receivers learn of the message.
#[test]
fn a_sweep_announces_a_returned_message_that_was_not_announced() {
    let queue = segment(LIMITS);
    let (stopped, other) = two(&queue);
    let sent = other.send();
    let held = stopped.receive().expect("a message");
    let returned = held.word().after_return(3);
    held.exchange_and_die(&queue, returned);
    assert_eq!(other.receive(), None);
    stalled::finish_stalled_blocks(&queue, RECOVERER);
    assert_eq!(other.drain(), [(sent, 1)]);
}

#[test]
fn a_sweep_evicts_dead_letters_beyond_the_limit() {
    let queue = segment(LIMITS);
    let (_, other) = two(&queue);
    for _ in 0..6 {
        other.send();
        let held = other.receive().expect("a message");
        let dead = held.word().dead();
        held.exchange_and_die(&queue, dead);
    }
    stalled::finish_stalled_blocks(&queue, RECOVERER);
    assert_eq!(dead_letters::list(&queue).len(), 4);
}

#[test]
fn a_slot_that_names_no_block_is_corrupt() {
    let queue = segment(LIMITS);
    let (victim, _) = two(&queue);
    let no_block = BlockIndex::new(BlockIndex::COUNT - 1).expect("a number");
    let slot = queue.slot(Position(0));
    assert!(slot.fill(slot.load(), no_block));
    victim.take_and_stop(0);
    let recovered = recover::recover(&queue, Some(RECOVERER), &victim.dead());
    assert_eq!(recovered, Err(Corrupt::NoSuchBlock));
}
