//! The real functions of [`crate::protocol::steps`], run for one step, on a [`HeapQueue`].
//!
//! An observer does each access of a function in an [`Execution`] instead. So the function can be run again
//! from its start, with the accesses that it has made before replayed, and be left by unwinding before an
//! access that is not its turn. A process that stops there for good has died there.

use super::action::{Action, Settlement};
use super::call::{Call, Holding, Outcome};
use super::execution::Execution;
use super::heap_queue::{Addresses, HeapQueue};
use super::memory::{Access, BATCH, ParkingSpot, Word, to_u8};
use crate::mutants;
use crate::protocol::batch::MessageMark;
use crate::protocol::blocks::BlockState;
use crate::protocol::ids::{BlockIndex, PeerIndex, Position};
use crate::protocol::lifecycle::Arrival;
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::{PeerEntry, PeerKind, PeerState, Role, Roles};
use crate::protocol::ring::Hint;
use crate::protocol::steps::huge::{self, HugeAllocation};
use crate::protocol::steps::receive::{self, Receive};
use crate::protocol::steps::recover::{self, DeadPeer};
use crate::protocol::steps::send::{self, Publish};
use crate::protocol::steps::{
    OwnedBlock, batch, close, dead_letters, idle, membership, settle, stalled, walk,
};
use crate::protocol::{Corrupt, SharedState};
use crate::sync::observed::{self, Observer, watch};
use crate::sync::{AtomicU32, Ordering};
use core::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

mod futures;

type Result<T> = core::result::Result<T, Corrupt>;

/// What a function unwinds with before an access that is not its turn.
struct StepEnd;

/// Runs a call for one step. The outcome is `None` while the call has not ended.
pub(super) fn perform(execution: Execution, call: Call) -> (Execution, Option<Outcome>) {
    let queue = HeapQueue::of(execution.configuration());
    let compiled_mutant = execution.machine.compiled_mutant;
    let observer = Rc::new(StepObserver {
        addresses: Rc::clone(queue.addresses()),
        execution: RefCell::new(execution),
    });
    let kernel = Rc::clone(&observer);
    queue.on_system_call(Some(Rc::new(move |word, access| {
        kernel.access(word, access)
    })));
    let process = RealProcess {
        queue: &queue,
        observer: &observer,
    };
    let run = || process.call(call).unwrap_or_else(Outcome::Corrupt);
    let watched: Rc<dyn Observer> = Rc::<StepObserver>::clone(&observer);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        watch(watched, || mutants::with(compiled_mutant, run))
    }));
    queue.on_system_call(None);
    let outcome = match outcome {
        Ok(outcome) => Some(outcome),
        Err(reason) if reason.is::<StepEnd>() => None,
        Err(panic) => resume_unwind(panic),
    };
    let observer = Rc::into_inner(observer).expect("the only reference that is left");
    (observer.execution.into_inner(), outcome)
}

/// Does accesses in an execution.
struct StepObserver {
    addresses: Addresses,
    execution: RefCell<Execution>,
}

impl StepObserver {
    /// Does the access, or leaves the function that asks for it.
    fn access(&self, word: Word, access: Access) -> u64 {
        let given = self
            .execution
            .borrow_mut()
            .access(word, access, |seen| seen);
        given.unwrap_or_else(|| resume_unwind(Box::new(StepEnd)))
    }
}

impl Observer for StepObserver {
    fn access(&self, address: usize, access: observed::Access) -> Option<u64> {
        let word = *self.addresses.get(&address)?;
        let access = match access {
            observed::Access::Load => Access::Load,
            observed::Access::Store(value) => Access::Store(value),
            observed::Access::Exchange(expected, to) => Access::Exchange(expected, to),
            observed::Access::Swap(value) => Access::Swap(value),
            observed::Access::Add(value) => Access::Add(value),
            observed::Access::Or(bits) => Access::Or(bits),
            observed::Access::And(bits) => Access::And(bits),
        };
        Some(StepObserver::access(self, word, access))
    }
}

/// A process within a call of a real function.
struct RealProcess<'a> {
    queue: &'a HeapQueue,
    observer: &'a StepObserver,
}

// Calls.
impl RealProcess<'_> {
    fn call(&self, call: Call) -> Result<Outcome> {
        let queue = self.queue;
        match call {
            Call::Finished => Ok(Outcome::Unavailable),
            Call::AllocateUnlessClosing if queue.lifecycle().load().is_closing() => {
                Ok(Outcome::Closed)
            }
            Call::Allocate | Call::AllocateUnlessClosing => Ok(self.allocate()),
            Call::AllocateHuge(class) => self.allocate_huge(class),
            Call::Offer => self.offer(),
            Call::Publish => self.publish(),
            Call::Withdraw => done(send::withdraw(queue, self.holding()?)),
            Call::WithdrawLeaked => {
                send::withdraw_leaked(queue, self.me());
                Ok(Outcome::Done)
            }
            Call::Trim(block) => {
                idle::trim(queue, self.me(), BlockIndex::from_low_bits(block.into()));
                Ok(Outcome::Done)
            }
            Call::TrimAll => {
                idle::trim_all(queue, self.me());
                Ok(Outcome::Done)
            }
            Call::Receive => self.receive(),
            Call::Acknowledge => {
                self.use_payload()?;
                done(settle::acknowledge(queue, queue.words(), self.holding()?))
            }
            Call::Return => done(settle::return_message(queue, self.holding()?)),
            Call::Reject => done(settle::reject(queue, self.holding()?)),
            Call::Settle(settlement) => done(self.settle(self.holding()?, settlement)),
            Call::OpenDeadLetter => Ok(self.open_dead_letter()),
            Call::PutBackDeadLetter => done(dead_letters::put_back(queue, self.holding()?)),
            Call::DiscardDeadLetter => done(self.discard_dead_letters(self.holding()?)),
            Call::Close => close::close(queue).map(Outcome::WasFirst),
            Call::Cancel => done(close::cancel(queue, self.me()).map(drop)),
            Call::Announce(spot) => Ok(self.announce(spot)),
            Call::Sleep(spot) => Ok(self.sleep(spot)),
            Call::CheckTail => done(walk::check_tail(queue)),
            Call::Admit => Ok(self.admit()),
            Call::Pend => Ok(self.pend()),
            Call::Dismiss(is_used) => Ok(self.dismiss(is_used)),
            Call::Attend => {
                let is_due = self.observer.execution.borrow().local.is_due();
                Ok(self.attend(is_due))
            }
            Call::Rest => Ok(self.rest()),
            Call::Join => self.join(),
            Call::HandOff(_) => self.hand_off(),
            Call::Redeem => self.redeem(),
            Call::Leave => self.leave(),
            Call::Detach => {
                let (peer, state) = self.attachment();
                done(membership::vacate(queue, peer, state))
            }
            Call::RecoverIfDead(peer) => self.recover_if_dead(peer),
            Call::FinishStalled => done(stalled::finish_stalled(queue)),
            Call::FinishStalledBlocks => {
                stalled::finish_stalled_blocks(queue, self.me());
                Ok(Outcome::Done)
            }
            Call::Resumed(resume) => unreachable!("only the model resumes: {resume:?}"),
        }
    }

    fn allocate(&self) -> Outcome {
        let cursor = AtomicU32::new(self.observer.execution.borrow().local.cursor);
        let allocated = send::allocate_cell(self.queue, self.queue.words(), self.me(), &cursor);
        self.observer.execution.borrow_mut().local.cursor = cursor.load(Ordering::Relaxed);
        allocated.map_or(Outcome::Unavailable, |owned| in_hand(&owned))
    }

    /// Allocates a huge block, as `queue::allocator` does.
    fn allocate_huge(&self, class: u8) -> Result<Outcome> {
        if self.queue.lifecycle().load().is_closing() {
            return Ok(Outcome::Closed);
        }
        let class = self.queue.huge().class(class);
        let hints = self.queue.hints_of_process();
        let local = self.observer.execution.borrow().local;
        hints.turn.store(local.turn.into(), Ordering::Relaxed);
        hints
            .is_memory_short
            .store(local.is_memory_short, Ordering::Relaxed);
        let allocation = huge::allocate(self.queue, self.me(), class)?;
        let local = &mut self.observer.execution.borrow_mut().local;
        // At most two blocks are used in turn.
        local.turn = to_u8(u64::from(hints.turn.load(Ordering::Relaxed) % 2));
        local.is_memory_short = hints.is_memory_short.load(Ordering::Relaxed);
        Ok(match allocation {
            HugeAllocation::Allocated(owned) => in_hand(&owned),
            HugeAllocation::NoFreeBlock | HugeAllocation::MemoryInUse => Outcome::Unavailable,
            HugeAllocation::NoMemory(_) => Outcome::NoMemory,
        })
    }

    /// Looks at the mark of a huge block, as `segment::payload` does, and then uses its payload.
    fn use_payload(&self) -> Result<()> {
        let index = self.holding()?.index();
        if self.queue.configuration.huge.is_none() {
            return Ok(());
        }
        let header = self.queue.block(index).ok_or(Corrupt::NoSuchBlock)?;
        if !header.is_committed() {
            return Err(Corrupt::NotCommitted);
        }
        let memory = Word::MemoryOf(to_u8(index.get().into()));
        self.observer.access(memory, Access::UsePayload);
        Ok(())
    }

    fn offer(&self) -> Result<Outcome> {
        self.use_payload()?;
        let mut block = self.holding()?;
        let action = self.action();
        if matches!(action, Some(Action::SendBatch | Action::SendBatchBlocking)) {
            batch::begin(self.queue, &block, BATCH.into())?;
            batch::offer(self.queue, &mut block, 8)?;
        } else {
            send::offer(self.queue.words(), &mut block, 8)?;
        }
        Ok(in_hand(&block))
    }

    fn publish(&self) -> Result<Outcome> {
        let room = Hint::new();
        room.set(Position(self.observer.execution.borrow().local.room));
        let published = send::publish(self.queue, self.queue.words(), &mut self.holding()?, &room);
        self.observer.execution.borrow_mut().local.room = room.get().0;
        Ok(match published? {
            Publish::Accepted => Outcome::Accepted,
            Publish::Full => Outcome::Full,
            Publish::Closed => Outcome::Closed,
        })
    }

    fn receive(&self) -> Result<Outcome> {
        Ok(
            match receive::receive(self.queue, self.queue.words(), self.me())? {
                Receive::Message(held) => in_hand(&held),
                Receive::Empty => Outcome::Empty,
                Receive::Closed => Outcome::Closed,
            },
        )
    }

    /// Settles a message or a batch, as `queue::batches` and `queue::lease` do.
    fn settle(&self, held: OwnedBlock, settlement: Settlement) -> Result<()> {
        let queue = self.queue;
        let batch = if queue.has_batches() {
            batch::batch(queue, held.index())?
        } else {
            None
        };
        let Some(batch) = batch else {
            return match settlement {
                Settlement::Return => settle::return_message(queue, held),
                Settlement::Reject => settle::reject(queue, held),
                _ => settle::acknowledge(queue, queue.words(), held),
            };
        };
        batch.open(held.word());
        if settlement == Settlement::AcknowledgeBatch && batch.marks.are_fresh(batch.count) {
            for message in 0..batch.count {
                batch.marks.record_delivery(message, MessageMark::FRESH);
            }
            return settle::acknowledge_batch(queue, held);
        }
        for message in 0..batch.count {
            let mark = batch.marks.get(message);
            if !mark.is_live(queue.limits().max_deliveries) {
                continue;
            }
            batch.marks.record_delivery(message, mark);
            match settlement {
                Settlement::Return => break,
                Settlement::Reject => {
                    batch.marks.mark_rejected(message);
                    break;
                }
                _ => batch.marks.mark_done(message),
            }
        }
        settle::settle_batch(queue, held)
    }

    fn open_dead_letter(&self) -> Outcome {
        dead_letters::list(self.queue)
            .into_iter()
            .find_map(|(position, index)| {
                dead_letters::open(self.queue, self.me(), position, index)
            })
            .map_or(Outcome::Unavailable, |read| in_hand(&read))
    }

    /// Discards all dead letters of a block, as `queue::dead_letters` does.
    fn discard_dead_letters(&self, read: OwnedBlock) -> Result<()> {
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

    fn announce(&self, spot: ParkingSpot) -> Outcome {
        let wait_key = self.parking(spot).prepare_wait();
        Outcome::Announced(wait_key.get().into())
    }

    fn sleep(&self, spot: ParkingSpot) -> Outcome {
        let expected = self.observer.execution.borrow().local.epoch;
        let word = Word::Parking(spot);
        Execution::slept(self.observer.access(word, Access::Sleep(expected)))
    }
}

// Membership and recovery.
impl RealProcess<'_> {
    /// Locks a free peer entry, as `queue::attachment` does.
    fn lock_free_peer(&self) -> Option<(u8, &PeerEntry, PeerState)> {
        (0..to_u8(self.queue.peer_count().into())).find_map(|number| {
            let entry = self.queue.peer(peer_index(number))?;
            let seen = entry.load();
            if seen.kind() != Some(PeerKind::Free) {
                return None;
            }
            let lock = Access::Lock(seen.incarnation().get());
            let is_locked = self.observer.access(Word::Peer(number), lock) != 0;
            (is_locked && entry.load() == seen).then_some((number, entry, seen))
        })
    }

    fn arrive(&self, number: u8, state: PeerState, roles: Roles) -> Result<bool> {
        let arrival = membership::arrive(self.queue, peer_index(number), state, roles)?;
        Ok(arrival == Arrival::Counted)
    }

    fn join(&self) -> Result<Outcome> {
        let Some((number, entry, seen)) = self.lock_free_peer() else {
            return Ok(Outcome::Unavailable);
        };
        let live = entry
            .attach(seen, Roles::BOTH)
            .ok_or(Corrupt::PeerChanged)?;
        if !self.arrive(number, live, Roles::BOTH)? {
            return Ok(Outcome::Closed);
        }
        Ok(Outcome::Attached(number, live.bits()))
    }

    fn hand_off(&self) -> Result<Outcome> {
        let Some((number, entry, seen)) = self.lock_free_peer() else {
            return Ok(Outcome::Unavailable);
        };
        let roles = Roles::only(self.role());
        let ticket = entry
            .issue_ticket(seen, roles)
            .ok_or(Corrupt::PeerChanged)?;
        if !self.arrive(number, ticket, roles)? {
            return Ok(Outcome::Closed);
        }
        Ok(Outcome::Done)
    }

    fn redeem(&self) -> Result<Outcome> {
        let (peer, ticket) = self.attachment();
        let entry = self.queue.peer(peer).ok_or(Corrupt::NoSuchPeer)?;
        let live = entry.attach(ticket, ticket.roles());
        let live = live.ok_or(Corrupt::PeerChanged)?;
        Ok(Outcome::Attached(self.number(), live.bits()))
    }

    fn leave(&self) -> Result<Outcome> {
        let (peer, state) = self.attachment();
        let left = membership::leave(self.queue, peer, state, self.role())?;
        Ok(Outcome::Attached(self.number(), left.bits()))
    }

    /// Recovers the tenant of a peer entry if it is dead, as `segment::sweep` does.
    fn recover_if_dead(&self, number: u8) -> Result<Outcome> {
        let peer = peer_index(number);
        let seen = self.queue.peer(peer).ok_or(Corrupt::NoSuchPeer)?.load();
        if seen.kind() == Some(PeerKind::Free) {
            return Ok(Outcome::Unavailable);
        }
        let is_dead = Access::IsDead(seen.incarnation().get());
        if self.observer.access(Word::Peer(number), is_dead) == 0 {
            return Ok(Outcome::Unavailable);
        }
        let Some(dead) = DeadPeer::of(self.queue, peer, seen) else {
            return Ok(Outcome::Unavailable);
        };
        done(recover::recover(self.queue, Some(self.me()), &dead).map(drop))
    }
}

// What the process remembers.
impl RealProcess<'_> {
    fn action(&self) -> Option<Action> {
        self.observer.execution.borrow().action()
    }

    fn number(&self) -> u8 {
        self.observer.execution.borrow().local.peer
    }

    fn me(&self) -> PeerIndex {
        peer_index(self.number())
    }

    /// Returns the peer entry of this process, and its word as this process left it.
    fn attachment(&self) -> (PeerIndex, PeerState) {
        let state = self.observer.execution.borrow().local.tenant;
        (self.me(), PeerState::from_bits(state))
    }

    /// Returns the role that the action is about.
    fn role(&self) -> Role {
        match self.action() {
            Some(Action::Leave(role) | Action::HandOff(_, role)) => role,
            _ => Role::Sender,
        }
    }

    fn holding(&self) -> Result<OwnedBlock> {
        let holding = self.observer.execution.borrow().local.holding;
        let holding = holding.ok_or(Corrupt::NotOwned)?;
        Ok(OwnedBlock::forge(
            BlockIndex::from_low_bits(holding.block.into()),
            BlockState::from_bits(holding.word),
        ))
    }

    fn parking(&self, spot: ParkingSpot) -> &ParkingWord {
        match spot {
            ParkingSpot::Items => self.queue.items(),
            ParkingSpot::Space => self.queue.space(),
            ParkingSpot::Blocks => self.queue.blocks(),
        }
    }
}

fn peer_index(number: u8) -> PeerIndex {
    PeerIndex::from_low_bits(number.into())
}

fn done(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Done)
}

fn in_hand(block: &OwnedBlock) -> Outcome {
    Outcome::Block(Holding {
        block: to_u8(block.index().get().into()),
        word: block.word().bits(),
    })
}
