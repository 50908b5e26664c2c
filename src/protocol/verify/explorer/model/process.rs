//! A process within a call of the model: its accesses, and what several operations have in common.

use super::super::call::{Holding, Outcome};
use super::super::execution::Execution;
use super::super::memory::{Access, ParkingSpot, Word, to_u8};
use super::super::mutants::Mutant;
use super::super::process::LocalState;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::ids::{PeerIndex, Position};
use crate::protocol::lifecycle::LifecycleState;
use crate::protocol::peers::PeerState;
use crate::protocol::returned::ReturnedState;
use crate::protocol::ring::{RingSize, SlotKind, SlotState};
use crate::protocol::{Corrupt, Limits, parking};
use core::cell::RefCell;

pub(super) type Result<T> = core::result::Result<T, Corrupt>;

/// A process within a call.
pub(super) struct ModelProcess {
    pub(super) execution: RefCell<Execution>,
}

/// The value of [`Word::Position`] before `Publish` is tried.
pub(super) const NO_POSITION: u64 = u64::MAX;

/// What a view returns in the place of each value that does not matter.
pub(super) const OTHER: u64 = u64::MAX;

// What the process knows without an access to shared memory.
impl ModelProcess {
    /// Returns whether the model has this fault.
    pub(super) fn has(&self, mutant: Mutant) -> bool {
        self.execution.borrow().machine.mutant == Some(mutant)
    }

    /// Returns whether a call may end with [`Outcome::Continue`], to forget what has led so far.
    pub(super) fn resumes(&self) -> bool {
        !self.execution.borrow().machine.literal
    }

    pub(super) fn local(&self) -> LocalState {
        self.execution.borrow().local
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut LocalState)) {
        change(&mut self.execution.borrow_mut().local);
    }

    pub(super) fn me(&self) -> PeerIndex {
        PeerIndex::from_low_bits(self.local().peer.into())
    }

    pub(super) fn limits(&self) -> Limits {
        self.execution.borrow().configuration().limits
    }

    pub(super) fn size(&self) -> RingSize {
        self.execution.borrow().configuration().size()
    }

    pub(super) fn slots(&self) -> u8 {
        self.execution.borrow().configuration().slots()
    }

    pub(super) fn block_count(&self) -> u8 {
        self.execution.borrow().configuration().blocks
    }

    pub(super) fn peer_count(&self) -> u8 {
        self.execution.borrow().configuration().peers()
    }
}

// Accesses, each of which is a step.
impl ModelProcess {
    pub(super) async fn access(
        &self,
        word: Word,
        access: Access,
        view: impl Fn(u64) -> u64,
    ) -> u64 {
        let given = self.execution.borrow_mut().access(word, access, view);
        match given {
            Some(given) => given,
            None => core::future::pending().await,
        }
    }

    pub(super) async fn load(&self, word: Word) -> u64 {
        self.access(word, Access::Load, |seen| seen).await
    }

    /// Returns whether the value of a word `is` as asked. The process remembers no more of it.
    pub(super) async fn test(&self, word: Word, is: impl Fn(u64) -> bool) -> bool {
        let view = |seen| u64::from(is(seen));
        self.access(word, Access::Load, view).await != 0
    }

    /// Does an access whose result the process does not use.
    pub(super) async fn do_access(&self, word: Word, access: Access) {
        self.access(word, access, |_| 0).await;
    }

    pub(super) async fn store(&self, word: Word, value: u64) {
        self.do_access(word, Access::Store(value)).await;
    }

    pub(super) async fn exchange(&self, word: Word, expected: u64, to: u64) -> bool {
        let view = |seen| u64::from(seen == expected);
        let access = Access::Exchange(expected, to);
        self.access(word, access, view).await != 0
    }

    pub(super) fn slot_word(&self, position: Position) -> Word {
        self.execution.borrow().configuration().slot_of(position)
    }

    pub(super) async fn slot(&self, position: Position) -> SlotState {
        SlotState::from_bits(self.load(self.slot_word(position)).await)
    }

    pub(super) async fn exchange_slot(
        &self,
        position: Position,
        seen: SlotState,
        to: SlotState,
    ) -> bool {
        let word = self.slot_word(position);
        self.exchange(word, seen.bits(), to.bits()).await
    }

    /// Returns the word of a block if it is `wanted`.
    pub(super) async fn block_if(
        &self,
        block: u8,
        wanted: impl Fn(BlockState) -> bool,
    ) -> Option<BlockState> {
        let view = |seen| {
            if wanted(BlockState::from_bits(seen)) {
                seen
            } else {
                OTHER
            }
        };
        let seen = self.access(Word::Block(block), Access::Load, view).await;
        (seen != OTHER).then_some(BlockState::from_bits(seen))
    }

    pub(super) async fn exchange_block(&self, block: u8, seen: BlockState, to: BlockState) -> bool {
        self.exchange(Word::Block(block), seen.bits(), to.bits())
            .await
    }

    pub(super) async fn hint(&self, word: Word) -> Position {
        Position(self.load(word).await)
    }

    pub(super) async fn lifecycle(&self, is: impl Fn(LifecycleState) -> bool) -> bool {
        let is = |seen| is(LifecycleState::from_bits(seen));
        self.test(Word::Lifecycle, is).await
    }

    pub(super) async fn returned(&self) -> ReturnedState {
        ReturnedState::from_bits(self.load(Word::Returned).await)
    }

    pub(super) async fn is_still(&self, peer: u8, tenant: PeerState) -> bool {
        self.test(Word::Peer(peer), |seen| seen == tenant.bits())
            .await
    }
}

// Steps that several operations have in common.
impl ModelProcess {
    /// Does `Hold` for the taker of a Vacated slot.
    pub(super) async fn help_taker(&self, position: Position, seen: SlotState) {
        if let Some((number, offered)) = self.unrecorded(position, seen).await {
            let held = offered.held_by(seen.taker());
            let _ = self.exchange_block(number, offered, held).await;
        }
    }

    /// Returns the block of a Vacated slot and its word, if its taker has not recorded yet that it holds the message.
    pub(super) async fn unrecorded(
        &self,
        position: Position,
        seen: SlotState,
    ) -> Option<(u8, BlockState)> {
        if seen.kind() != SlotKind::Vacated {
            return None;
        }
        let number = to_u8(seen.block().get().into());
        let reads_position_first = self.has(Mutant::HelpReadsPositionFirst);
        if reads_position_first && !self.is_taken_from(number, position, seen).await {
            return None;
        }
        let offered = self
            .block_if(number, |block| block.is(BlockKind::Offered))
            .await?;
        let is_its = reads_position_first
            || self.has(Mutant::HelpIgnoresPosition)
            || self.is_taken_from(number, position, seen).await;
        is_its.then_some((number, offered))
    }

    /// Returns whether the position of a block is that of the message that was taken from a Vacated slot.
    async fn is_taken_from(&self, number: u8, position: Position, seen: SlotState) -> bool {
        let size = self.size();
        let is_it = |message| {
            message != NO_POSITION && size.was_taken_from(Position(message), position, seen)
        };
        self.test(Word::Position(number), is_it).await
    }

    /// Returns the blocks that are `wanted`, with their positions and words, by position.
    pub(super) async fn find_blocks(
        &self,
        wanted: impl Fn(BlockState) -> bool,
    ) -> Vec<(u64, u8, BlockState)> {
        let mut found = Vec::new();
        for number in 0..self.block_count() {
            if let Some(block) = self.block_if(number, &wanted).await {
                found.push((self.load(Word::Position(number)).await, number, block));
            }
        }
        found.sort_by_key(|&(position, ..)| position);
        found
    }
}

// Sleeping and waking.
impl ModelProcess {
    pub(super) async fn has_waiters(&self, spot: ParkingSpot) -> bool {
        let word = Word::Parking(spot);
        self.test(word, |seen| seen & u64::from(parking::WAITERS) != 0)
            .await
    }

    pub(super) async fn notify(&self, spot: ParkingSpot, count: u32) {
        let word = Word::Parking(spot);
        let raise = u64::from(parking::EPOCH);
        let raised = raise + self.access(word, Access::Add(raise), |seen| seen).await;
        let view = |woken: u64| woken.min(1);
        if self.access(word, Access::Wake(count), view).await == 0 {
            let cleared = raised & !u64::from(parking::WAITERS);
            if self.has(Mutant::ClearWaitersAnyway) {
                let seen = self.load(word).await;
                self.store(word, seen & !u64::from(parking::WAITERS)).await;
            } else {
                let _ = self.exchange(word, raised, cleared).await;
            }
        }
    }

    pub(super) async fn notify_waiters(&self, spot: ParkingSpot, count: u32) {
        if self.has_waiters(spot).await {
            self.notify(spot, count).await;
        }
    }

    pub(super) async fn wake_all(&self) {
        for spot in [ParkingSpot::Items, ParkingSpot::Space, ParkingSpot::Blocks] {
            let count = if self.has(Mutant::WakeOneInsteadOfAll) {
                1
            } else {
                u32::MAX
            };
            self.notify(spot, count).await;
        }
    }

    pub(super) async fn announce(&self, spot: ParkingSpot) -> Outcome {
        let word = Word::Parking(spot);
        let raise = if self.has(Mutant::AnnounceWithoutEpoch) {
            0
        } else {
            u64::from(parking::EPOCH)
        };
        let mut seen = self.load(word).await;
        loop {
            let announced = (seen | u64::from(parking::WAITERS)) + raise;
            let now = self
                .access(word, Access::Exchange(seen, announced), |now| now)
                .await;
            if now == seen {
                return Outcome::Announced(announced);
            }
            seen = now;
        }
    }

    pub(super) async fn sleep(&self, spot: ParkingSpot) -> Outcome {
        let expected = self.local().epoch;
        let word = Word::Parking(spot);
        Execution::slept(
            self.access(word, Access::Sleep(expected), |given| given)
                .await,
        )
    }
}

/// Returns a block that the process holds, with its word.
pub(super) fn holding(block: u8, word: BlockState) -> Holding {
    Holding {
        block,
        word: word.bits(),
    }
}
