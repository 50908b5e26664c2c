//! `Allocate`, `Offer`, `Publish`, `AdvanceTail` and `Withdraw`.

use super::super::action::Action;
use super::super::call::{Holding, Outcome, Resume};
use super::super::memory::{Access, ParkingSpot, Word, to_u8};
use super::super::mutants::Mutant;
use super::process::{ModelProcess, NO_POSITION, Result, holding};
use crate::protocol::Corrupt;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::ids::{BlockIndex, Position};
use crate::protocol::lifecycle::LifecycleState;
use crate::protocol::ring::{LapOrder, SlotKind, SlotState};
use core::ops::Range;

/// What a slot means for a walk to the tail.
pub(super) enum TailSlot {
    Free,
    Skip(Position),
    Closed,
}

impl ModelProcess {
    pub(super) async fn allocate(&self) -> Outcome {
        let tail = self.hint(Word::Tail).await;
        let (slots, blocks) = (self.size().slots(), u64::from(self.block_count()));
        if let Some(owned) = self.allocate_beside(tail).await {
            return Outcome::Block(owned);
        }
        if let Some(owned) = self.allocate_spare(slots.min(blocks)..blocks).await {
            return Outcome::Block(owned);
        }
        if self.has(Mutant::DistantCellsNotTried) {
            return Outcome::Unavailable;
        }
        // There are no more blocks of either kind than a sender tries first.
        let capacity = u64::from(self.limits().capacity);
        for ahead in (capacity..slots).chain(1..capacity) {
            if let Some(owned) = self.allocate_beside(tail.plus(ahead)).await {
                return Outcome::Block(owned);
            }
        }
        Outcome::Unavailable
    }

    async fn allocate_beside(&self, position: Position) -> Option<Holding> {
        self.allocate_one(self.size().slot_number(position)).await
    }

    async fn allocate_spare(&self, spare: Range<u64>) -> Option<Holding> {
        let start = u64::from(self.local().cursor);
        let mut number = if spare.contains(&start) {
            start
        } else {
            spare.start
        };
        for _ in spare.clone() {
            let next = if number + 1 < spare.end {
                number + 1
            } else {
                spare.start
            };
            if let Some(owned) = self.allocate_one(number).await {
                self.update(|local| local.cursor = to_u8(next).into());
                return Some(owned);
            }
            number = next;
        }
        self.update(|local| local.cursor = to_u8(number).into());
        None
    }

    pub(super) async fn allocate_one(&self, number: u64) -> Option<Holding> {
        let number = to_u8(number);
        if number >= self.block_count() {
            return None;
        }
        let seen = self
            .block_if(number, |block| block.is(BlockKind::Free))
            .await?;
        let owned = seen.with_owner(BlockKind::Owned, self.me());
        if self.has(Mutant::AllocateByStore) {
            self.store(Word::Block(number), owned.bits()).await;
            return Some(holding(number, owned));
        }
        let is_mine = self.exchange_block(number, seen, owned).await;
        is_mine.then(|| holding(number, owned))
    }

    pub(super) async fn offer(&self, owned: Holding) -> Outcome {
        let word = BlockState::from_bits(owned.word);
        let action = self.execution.borrow().action();
        if matches!(action, Some(Action::SendBatch | Action::SendBatchBlocking)) {
            self.begin_batch(owned).await;
        } else {
            self.write_length(owned.block).await;
        }
        if !self.has(Mutant::OfferKeepsPosition) {
            self.store(Word::Position(owned.block), NO_POSITION).await;
        }
        let offered = word.with_owner(BlockKind::Offered, word.peer());
        self.store(Word::Block(owned.block), offered.bits()).await;
        Outcome::Block(holding(owned.block, offered))
    }

    pub(super) async fn publish(&self, offered: Holding, from: Option<u64>) -> Result<Outcome> {
        let size = self.size();
        let mut position = match from {
            Some(position) => Position(position),
            None => self.hint(Word::Tail).await,
        };
        loop {
            let checks = !self.has(Mutant::PublishIgnoresClosing);
            if checks && self.lifecycle(LifecycleState::is_closing).await {
                self.help_seal().await?;
                return Ok(Outcome::Closed);
            }
            let seen = self.slot(position).await;
            let index = BlockIndex::from_low_bits(offered.block.into());
            let lap = size.lap(position);
            if !seen.is_vacated_with(index, lap) && !seen.is_empty_in(lap) {
                match self.inspect_tail_slot(position, seen, true).await? {
                    TailSlot::Free => {}
                    TailSlot::Skip(next) if self.resumes() => {
                        return Ok(Outcome::Continue(Resume::PublishAt(next.0)));
                    }
                    TailSlot::Skip(next) => {
                        position = next;
                        continue;
                    }
                    TailSlot::Closed => return Ok(Outcome::Closed),
                }
            }
            if !self.has(Mutant::PublishBeyondCapacity) && !self.has_room(position).await {
                return Ok(Outcome::Full);
            }
            self.store(Word::Position(offered.block), position.0).await;
            let checks_first = self.has(Mutant::CheckWaitersBeforePublish);
            let early = checks_first && self.has_waiters(ParkingSpot::Items).await;
            let full = SlotState::full(seen.lap(), index);
            if self.exchange_slot(position, seen, full).await {
                let ahead = u64::from(self.has(Mutant::TailAhead));
                self.store(Word::Tail, position.next().0 + ahead).await;
                if early || !checks_first && self.has_waiters(ParkingSpot::Items).await {
                    self.notify(ParkingSpot::Items, 1).await;
                }
                return Ok(Outcome::Accepted);
            }
            if self.resumes() {
                return Ok(Outcome::Continue(Resume::PublishAt(position.0)));
            }
        }
    }

    pub(super) async fn inspect_tail_slot(
        &self,
        position: Position,
        seen: SlotState,
        sends: bool,
    ) -> Result<TailSlot> {
        let size = self.size();
        let order = if self.has(Mutant::CompareLapsWithoutWrap) {
            match seen.lap().0.checked_sub(size.lap(position).0) {
                None => LapOrder::Behind,
                Some(0) => LapOrder::Same,
                Some(laps) => LapOrder::Ahead(laps),
            }
        } else {
            seen.compare_lap(size.lap(position))
        };
        let next = match (order, seen.kind()) {
            (_, SlotKind::Closed) => return Ok(TailSlot::Closed),
            (LapOrder::Behind, _) => return Err(Corrupt::TailAhead),
            (LapOrder::Same, SlotKind::Full) => size.skip_filled(position, seen, 0),
            (LapOrder::Ahead(laps), _) if self.has(Mutant::SkipOneLapTooMany) => {
                position.plus(u64::from(laps) * size.slots() + 1)
            }
            (LapOrder::Ahead(laps), _) => size.skip_filled(position, seen, laps),
            (LapOrder::Same, SlotKind::Empty | SlotKind::Vacated) => {
                let mutant = if sends {
                    Mutant::PublishWithoutHelp
                } else {
                    Mutant::SealWithoutHelp
                };
                if !self.has(mutant) {
                    self.help_taker(position, seen).await;
                }
                return Ok(TailSlot::Free);
            }
        };
        let is_inconsistent = |tail| u64::from(size.is_runaway(Position(tail), next));
        if self.access(Word::Tail, Access::Load, is_inconsistent).await != 0 {
            return Err(Corrupt::InconsistentLaps);
        }
        Ok(TailSlot::Skip(next))
    }

    async fn has_room(&self, position: Position) -> bool {
        let Some(oldest) = position.minus(self.limits().capacity.into()) else {
            return true;
        };
        if oldest.0 < self.local().room {
            return true;
        }
        let head = self.hint(Word::Head).await;
        if oldest < head && head <= position {
            self.update(|local| local.room = head.0);
            return true;
        }
        let lap = self.size().lap(oldest);
        let is_full = |seen| SlotState::from_bits(seen).is_full_in(lap);
        if self.test(self.slot_word(oldest), is_full).await {
            return false;
        }
        self.update(|local| local.room = oldest.next().0);
        true
    }

    pub(super) async fn withdraw(&self, block: Holding) -> Result<Outcome> {
        let freed = BlockState::from_bits(block.word).free();
        if self.has(Mutant::WithdrawWithoutWake) {
            let swap = Access::Swap(freed.bits());
            self.do_access(Word::Block(block.block), swap).await;
            return Ok(Outcome::Done);
        }
        self.release_word(block, freed).await?;
        Ok(Outcome::Done)
    }

    /// `Withdraw`, for each block that this process has leaked.
    pub(super) async fn withdraw_leaked(&self) -> Outcome {
        if self.has(Mutant::LeakedBlocksKept) {
            return Outcome::Done;
        }
        let (me, others_too) = (self.me(), self.has(Mutant::WithdrawOthersBlocks));
        let is_leaked =
            |word: BlockState| word.is(BlockKind::Owned) && (word.peer() == me || others_too);
        let mut any = false;
        for number in 0..self.block_count() {
            if let Some(word) = self.block_if(number, is_leaked).await {
                any |= self.exchange_block(number, word, word.free()).await;
            }
        }
        if any && !self.has(Mutant::WithdrawLeakedWithoutWake) {
            self.notify_waiters(ParkingSpot::Blocks, u32::MAX).await;
        }
        Outcome::Done
    }

    /// Does the exchange that takes a block from this process, and the wake after it.
    pub(super) async fn release_word(&self, mine: Holding, to: BlockState) -> Result<()> {
        let view = |seen| u64::from(seen == mine.word);
        let swap = Access::Swap(to.bits());
        let is_mine = self.access(Word::Block(mine.block), swap, view).await != 0;
        self.wake_block_waiters(mine.block).await;
        is_mine.then_some(()).ok_or(Corrupt::OwnedBlockChanged)
    }

    pub(super) async fn wake_block_waiters(&self, block: u8) {
        let another_word = self.has(Mutant::ParkingWordPerClass) && block > 0;
        if !self.has(Mutant::FreeWithoutWake) && !another_word {
            self.notify_waiters(ParkingSpot::Blocks, u32::MAX).await;
        }
    }
}
