//! Preparing: a sender that will probably send again soon allocates the block for its next message before it has one.
//!
//! The receiver of that message polls the cache line that the sender needs for `Allocate`, and once more for `Publish`. If the
//! sender has the block already, it needs the line only once, so the message travels for less time. `Allocate` comes right after
//! the message before, while the receiver is busy with that.
//!
//! PREPARE-1. Once a thread has waited for a message, in a receive or lease that blocks, it *prepares*: it allocates a block after
//!     each of its next [`AFTER_A_WAIT`] sends. A thread that sends a request and waits for the answer will do so again, and so
//!     will a worker that waits for a task and sends the result. A thread that only sends prepares nothing, which would only
//!     cost time: it allocates its blocks and fills them in one go. The waits of futures do not count.
//! PREPARE-2. The block is the one beside the slot at the tail. If something else has filled that slot when the next message is
//!     sent, most likely another sender, the sender frees the block and does not prepare after its next [`AFTER_A_MISS`] waits:
//!     several senders would take each other's blocks.
//! PREPARE-3. A peer prepares only while it has a single sender, so it keeps one block at most; and only with one of the first
//!     [`MIN_SPARE_BLOCKS`] entries of the peer table. So there are at least as many spare blocks as peers that keep one each.
//! PREPARE-4. No block is prepared while a sender waits for one, and a sender frees its own before it waits. So a sender
//!     without a block waits for receivers to acknowledge something. Only when leases hold nearly all blocks may it be another
//!     process that keeps the last one.
//! PREPARE-5. The header of a prepared block says so, from `Allocate` until its message is complete. So receivers that wait do not
//!     take it for a message that is being sent (PAUSE-1), and statistics count it as free as long as its sender lives. To
//!     say earlier that there is a message would take the line from the receiver, which takes it back before `Publish`.
//!
//! Crash: a prepared block is Owned, like one that is written. Recovery frees it (`Withdraw`).

use super::attachment::{Attachment, Entered};
use super::block_writer::withdraw;
use crate::protocol::Words;
use crate::protocol::ids::Position;
use crate::protocol::peers::Role;
use crate::protocol::steps::OwnedBlock;
use crate::protocol::steps::send;
use crate::protocol::steps::token_room::TokenRoom;
use crate::segment::geometry::MIN_SPARE_BLOCKS;
use crate::sync::{AtomicU32, Ordering};
use core::cell::Cell;

/// After how many sends a thread prepares, once it has waited.
const AFTER_A_WAIT: u32 = 7;
/// After how many waits a handle does not prepare, once something else has filled the slot of a prepared block.
const AFTER_A_MISS: u32 = 64;

thread_local! {
    /// How many sends of this thread are still to look for a prepared block: one more than those after which it prepares.
    static SENDS_LEFT: Cell<u32> = const { Cell::new(0) };
}

/// Notes that this thread waits for a message: it prepares from now on (PREPARE-1).
pub(super) fn note_wait() {
    SENDS_LEFT.set(AFTER_A_WAIT + 1);
}

/// Returns whether this thread prepares: then a sender looks whether it has a block prepared, and prepares the next one.
#[inline(always)]
pub(super) fn is_preparing() -> bool {
    SENDS_LEFT.get() != 0
}

/// Lets this thread prepare no more until it has waited again.
pub(super) fn stop() {
    SENDS_LEFT.set(0);
}

/// What one sender has prepared.
#[derive(Debug)]
pub(super) struct Prepared {
    room: TokenRoom,
    /// After how many waits it does not prepare (PREPARE-2). Threads that share the handle may lose some.
    waits_left_out: AtomicU32,
}

impl Prepared {
    pub(super) fn new() -> Self {
        Self {
            room: TokenRoom::new(),
            waits_left_out: AtomicU32::new(0),
        }
    }

    /// Returns the block beside the slot of `tail`, if this sender has prepared it or it is free.
    pub(super) fn allocate(&self, queue: Entered<'_>, tail: Position) -> Option<OwnedBlock> {
        self.take(queue, tail)
            .or_else(|| send::allocate_beside(queue.view(), queue.peer(), tail))
    }

    /// Returns the block that this sender has prepared, if it lies beside the slot of `tail`. Frees any other (PREPARE-2).
    pub(super) fn take(&self, queue: Entered<'_>, tail: Position) -> Option<OwnedBlock> {
        let (place, block) = self.room.take()?;
        if place == tail {
            return Some(block);
        }
        self.waits_left_out.store(AFTER_A_MISS, Ordering::Relaxed);
        withdraw(queue.attachment(), block);
        None
    }

    /// Allocates the block for the next message, after one was sent while this thread [prepares](is_preparing).
    #[cold]
    #[inline(never)]
    pub(super) fn prepare(&self, queue: Entered<'_>) {
        SENDS_LEFT.set(SENDS_LEFT.get().saturating_sub(1));
        if !is_preparing() {
            // The next send would not look for it.
            return;
        }
        let left_out = self.waits_left_out.load(Ordering::Relaxed);
        if left_out > 0 {
            self.waits_left_out.store(left_out - 1, Ordering::Relaxed);
        }
        if left_out > 0 || !may_prepare(queue) {
            return stop();
        }
        let words = queue.view();
        let place = words.tail().get();
        // There is one if something else was sent meanwhile, such as a batch.
        self.withdraw(queue.attachment());
        let Some(block) = send::allocate_beside(words, queue.peer(), place) else {
            return;
        };
        if let Some(header) = words.block(block.index()) {
            header.set_prepared();
        }
        if let Err(block) = self.room.put(place, block) {
            withdraw(queue.attachment(), block);
        }
    }

    /// Frees the prepared block, if there is one.
    pub(super) fn withdraw(&self, attachment: &Attachment) {
        let Some((_, block)) = self.room.take() else {
            return;
        };
        if mutant!(PreparedBlockKept) {
            return;
        }
        withdraw(attachment, block);
    }
}

/// Returns whether no other sender could lack the block (PREPARE-3, PREPARE-4).
fn may_prepare(queue: Entered<'_>) -> bool {
    u32::from(queue.peer().get()) < MIN_SPARE_BLOCKS
        && queue.attachment().count(Role::Sender) <= 1
        && !queue.view().blocks().has_waiters()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Handoff;
    use crate::Receiver;
    use crate::Sender;
    use crate::codec::Codec;
    use crate::error::RecvTimeoutError;
    use crate::protocol::SharedState;
    use crate::protocol::blocks::BlockKind;
    use crate::protocol::ids::BlockIndex;
    use crate::protocol::steps::expect::expect;
    use crate::queue::{Options, Raw, open, remove_named};
    use core::time::Duration;

    const NOTHING: [u32; 0] = [];

    type Message = [u8; 8];
    type Queue = (Sender<Message, Raw>, Receiver<Message, Raw>);

    fn message(number: u32) -> Message {
        u64::from(number).to_le_bytes()
    }

    fn queue() -> Queue {
        Options::new(4).channel_with().expect("a queue")
    }

    /// Returns the numbers of the blocks that are Owned.
    fn owned<T>(rx: &Receiver<T, Raw>) -> Vec<u32>
    where
        Raw: Codec<T>,
    {
        let queue = rx.handle.enter().expect("not forked");
        let segment = queue.segment();
        let is_owned = |number: &u32| {
            let header = BlockIndex::new(*number).and_then(|index| segment.block(index));
            header.is_some_and(|header| header.word.load().is(BlockKind::Owned))
        };
        (0..segment.block_count()).filter(is_owned).collect()
    }

    /// Returns the number of the block beside the slot at the tail.
    fn beside_the_tail<T>(rx: &Receiver<T, Raw>) -> u32
    where
        Raw: Codec<T>,
    {
        let words = rx.handle.enter().expect("not forked").view();
        words.ring_size().index_beside(words.tail().get()).get()
    }

    /// Sends a message, after a wait, and receives it.
    fn send_after_wait((tx, rx): &Queue, number: u32) {
        note_wait();
        tx.send(message(number)).expect("open");
        assert_eq!(rx.recv(), Ok(message(number)));
    }

    #[test]
    fn a_thread_prepares_after_it_has_waited_for_a_message() {
        stop();
        let (tx, rx) = queue();
        let (_answers, answer) = queue();
        tx.send(message(1)).expect("open");
        assert_eq!(owned(&rx), NOTHING, "it has not waited");
        let none = answer.recv_timeout(Duration::ZERO);
        assert_eq!(none, Err(RecvTimeoutError::Timeout));
        tx.send(message(2)).expect("open");
        assert_eq!(owned(&rx), [beside_the_tail(&rx)]);
        assert_eq!([rx.recv(), rx.recv()], [1, 2].map(|n| Ok(message(n))));
    }

    #[test]
    fn a_prepared_block_takes_the_next_message_and_no_more_are_prepared_than_waits_allow() {
        stop();
        let (tx, rx) = queue();
        note_wait();
        for number in 1..=2 * AFTER_A_WAIT {
            let place = beside_the_tail(&rx);
            tx.send(message(number)).expect("open");
            let queue = rx.handle.enter().expect("not forked");
            let block = BlockIndex::new(place).and_then(|index| queue.view().block(index));
            let kind = block.and_then(|block| block.word.load().kind());
            assert_eq!(kind, Some(BlockKind::Offered), "message {number}");
            let expected = usize::from(number <= AFTER_A_WAIT);
            assert_eq!(owned(&rx).len(), expected, "after message {number}");
            assert_eq!(rx.recv(), Ok(message(number)));
        }
    }

    #[test]
    fn a_reservation_takes_the_prepared_block_and_prepares_the_next() {
        stop();
        let (tx, rx) = queue();
        note_wait();
        for number in 1..=AFTER_A_WAIT {
            let prepared = owned(&rx);
            let mut room = tx.reserve(8).expect("room");
            assert_eq!(owned(&rx), [beside_the_tail(&rx)]);
            assert!(prepared.is_empty() || prepared == owned(&rx));
            room.copy_from_slice(&message(number));
            room.commit().expect("open");
            assert_eq!(owned(&rx), [beside_the_tail(&rx)], "message {number}");
            assert_eq!(rx.recv(), Ok(message(number)));
        }
    }

    #[test]
    fn a_block_whose_slot_another_sender_has_filled_is_freed_and_none_is_prepared_for_a_while() {
        stop();
        let pair = queue();
        send_after_wait(&pair, 1);
        assert_eq!(owned(&pair.1).len(), 1);
        let other = pair.0.clone();
        stop();
        other.send(message(2)).expect("open");
        assert_eq!(
            pair.1.recv(),
            Ok(message(2)),
            "although its usual block was not free"
        );
        drop(other);
        for number in 0..AFTER_A_MISS {
            send_after_wait(&pair, number);
            assert_eq!(owned(&pair.1), NOTHING, "{number} messages later");
        }
        send_after_wait(&pair, 3);
        assert_eq!(owned(&pair.1).len(), 1, "again");
    }

    #[test]
    fn another_thread_of_the_sender_takes_the_prepared_block_too() {
        stop();
        let pair = queue();
        send_after_wait(&pair, 1);
        let place = owned(&pair.1);
        std::thread::scope(|scope| scope.spawn(|| pair.0.send(message(2))).join())
            .expect("no panic")
            .expect("open");
        assert_eq!(owned(&pair.1), NOTHING);
        assert_eq!(place, [beside_the_tail(&pair.1) - 1]);
        assert_eq!(pair.1.recv(), Ok(message(2)));
    }

    #[test]
    fn a_process_with_several_senders_prepares_nothing() {
        stop();
        let pair = queue();
        let other = pair.0.clone();
        send_after_wait(&pair, 1);
        assert_eq!(owned(&pair.1), NOTHING);
        drop(other);
        send_after_wait(&pair, 2);
        assert_eq!(owned(&pair.1).len(), 1);
    }

    #[test]
    fn of_many_peers_only_the_first_prepare() {
        stop();
        let name = format!("workring-prepared-{}", std::process::id());
        let (tx, rx) = Options::new(4)
            .create_named_with::<Message, Raw>(&name)
            .expect("a queue");
        let promise = |_| Handoff::new().give("end", &rx).expect("a ticket");
        let promised: Vec<_> = (1..MIN_SPARE_BLOCKS).map(promise).collect();
        let late: Sender<Message, Raw> = open(&name).expect("the queue");
        note_wait();
        late.send(message(1)).expect("open");
        assert_eq!(owned(&rx), NOTHING);
        note_wait();
        tx.send(message(2)).expect("open");
        assert_eq!(owned(&rx), [beside_the_tail(&rx)]);
        drop((late, promised));
        assert_eq!([rx.recv(), rx.recv()], [1, 2].map(|n| Ok(message(n))));
        drop((tx, rx));
        remove_named(&name).expect("no process uses it");
    }

    #[test]
    fn a_sender_that_is_dropped_frees_its_prepared_block() {
        stop();
        let options = Options::new(4).close_on_last_sender(false);
        let pair: Queue = options.channel_with().expect("a queue");
        send_after_wait(&pair, 1);
        let (tx, rx) = pair;
        assert_eq!(owned(&rx).len(), 1);
        let are_all_free = |rx: &Receiver<_, _>| {
            let stats = rx.stats();
            stats.blocks.iter().all(|class| class.free == class.total)
        };
        assert!(are_all_free(&rx), "it counts as free");
        drop(tx);
        assert_eq!(owned(&rx), NOTHING);
        assert!(are_all_free(&rx));
    }

    #[test]
    fn a_prepared_block_is_no_message_that_is_being_sent_until_it_is_given_up() {
        stop();
        let pair = queue();
        send_after_wait(&pair, 1);
        let (tx, rx) = &pair;
        let expected = || expect(rx.handle.enter().expect("not forked").view());
        assert!(expected().has_sender && !expected().is_being_sent);
        drop(tx.reserve(8).expect("room"));
        assert!(!expected().has_sender);
        stop();
        let room = tx.reserve(8).expect("room");
        assert!(expected().is_being_sent, "a block that was prepared before");
        drop(room);
    }

    #[test]
    fn after_a_message_that_fits_no_cell_nothing_is_prepared() {
        stop();
        let (tx, rx) = Options::new(4)
            .channel_with::<Vec<u8>, Raw>()
            .expect("a queue");
        note_wait();
        let mut room = tx.reserve(1000).expect("room");
        room.fill(1);
        room.commit().expect("open");
        assert_eq!(owned(&rx), NOTHING);
        // The first short message after a long one measures itself.
        for _ in 0..2 {
            tx.send(vec![2; 8]).expect("open");
        }
        assert_eq!(owned(&rx), [beside_the_tail(&rx)]);
        tx.send(vec![3; 5000]).expect("open");
        assert_eq!(owned(&rx), NOTHING, "freed before the search for a block");
        let length = || rx.recv().map(|message| message.len());
        assert_eq!([(); 4].map(|()| length()), [1000, 8, 8, 5000].map(Ok));
    }

    #[test]
    fn of_two_reservations_the_later_commit_prepares_the_next_block() {
        stop();
        let (tx, rx) = queue();
        note_wait();
        let mut rooms = [1, 2].map(|number| {
            let mut room = tx.reserve(8).expect("room");
            room.copy_from_slice(&message(number));
            room
        });
        for room in &mut rooms {
            room.commit().expect("open");
        }
        drop(rooms);
        assert_eq!(owned(&rx), [beside_the_tail(&rx)]);
        assert_eq!([rx.recv(), rx.recv()], [1, 2].map(|n| Ok(message(n))));
        let pair = (tx, rx);
        send_after_wait(&pair, 3);
        assert_eq!(owned(&pair.1).len(), 1, "that was no miss");
    }
}
