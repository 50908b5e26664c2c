//! `Allocate` and `Offer`, 3, 4 and 11.

use super::super::mutants::Mutant;
use super::super::process::{Deed, Hand, Outcome, Rest};
use super::super::words::{Access, Park, Word, small};
use super::{Corrupt, Cx, Result, hand};
use crate::protocol::blocks::{BlockIndex, BlockKind, BlockState};
use crate::protocol::lifecycle::LifecycleState;
use crate::protocol::ring::{LapOrder, Position, SlotKind, SlotState};
use crate::protocol::steps::send;

/// What a slot means for a walk to the tail.
pub(super) enum Look {
    Free,
    GoOn(Position),
    Closed,
}

impl Cx {
    pub(super) async fn allocate(&self) -> Outcome {
        let blocks = 0..u32::from(self.block_count());
        let number = self.local().cursor;
        if blocks.contains(&number)
            && let Some(owned) = self.allocate_one(number).await
        {
            let next = send::advance_in_range(number, send::ALLOCATION_STRIDE, &blocks);
            self.update(|local| local.cursor = next);
            return Outcome::Block(owned);
        }
        let mut number = if blocks.contains(&number) { number } else { 0 };
        for _ in blocks.clone() {
            let next = if number + 1 < blocks.end {
                number + 1
            } else {
                0
            };
            if let Some(owned) = self.allocate_one(number).await {
                self.update(|local| local.cursor = next);
                return Outcome::Block(owned);
            }
            number = next;
        }
        Outcome::Nothing
    }

    async fn allocate_one(&self, number: u32) -> Option<Hand> {
        let number = small(number.into());
        let seen = self
            .block_if(number, |block| block.is(BlockKind::Free))
            .await?;
        let owned = seen.with_owner(BlockKind::Owned, self.me());
        let is_mine = self.exchange_block(number, seen, owned).await;
        is_mine.then(|| hand(number, owned))
    }

    pub(super) async fn offer(&self, owned: Hand) -> Outcome {
        let word = BlockState::from_bits(owned.word);
        let deed = self.run.borrow().deed();
        if matches!(deed, Some(Deed::SendBatch | Deed::SendBatchPatiently)) {
            self.begin_batch(owned).await;
        } else {
            self.note_length(owned.block).await;
        }
        let offered = word.with_owner(BlockKind::Offered, word.peer());
        self.store(Word::Block(owned.block), offered.bits()).await;
        Outcome::Block(hand(owned.block, offered))
    }

    pub(super) async fn publish(&self, offered: Hand, from: Option<u64>) -> Result<Outcome> {
        let size = self.size();
        let mut position = match from {
            Some(position) => Position(position),
            None => self.hint(Word::Tail).await,
        };
        loop {
            let looks = !self.is(Mutant::SendWithoutLookAtLifecycle);
            if looks && self.life(LifecycleState::is_closing).await {
                self.seal_for_another().await?;
                return Ok(Outcome::Closed);
            }
            let seen = self.slot(position).await;
            if !seen.is_empty_in(size.lap(position)) {
                match self.look(position, seen, true).await? {
                    Look::Free => {}
                    Look::GoOn(further) if self.forgets() => {
                        return Ok(Outcome::Again(Rest::PublishAt(further.0)));
                    }
                    Look::GoOn(further) => {
                        position = further;
                        continue;
                    }
                    Look::Closed => return Ok(Outcome::Closed),
                }
            }
            if !self.is(Mutant::SendBeyondCapacity) && !self.has_room(position).await {
                return Ok(Outcome::Full);
            }
            self.store(Word::Position(offered.block), position.0).await;
            let index = BlockIndex::from_low_bits(offered.block.into());
            let looks_first = self.is(Mutant::LookForSleepersFirst);
            let early = looks_first && self.has_waiters(Park::Items).await;
            let full = SlotState::full(seen.lap(), index);
            if self.exchange_slot(position, seen, full).await {
                let ahead = u64::from(self.is(Mutant::TailAhead));
                self.store(Word::Tail, position.next().0 + ahead).await;
                if early || !looks_first && self.has_waiters(Park::Items).await {
                    self.notify(Park::Items, 1).await;
                }
                return Ok(Outcome::Accepted);
            }
            if self.forgets() {
                return Ok(Outcome::Again(Rest::PublishAt(position.0)));
            }
        }
    }

    pub(super) async fn look(
        &self,
        position: Position,
        seen: SlotState,
        sends: bool,
    ) -> Result<Look> {
        let size = self.size();
        let order = if self.is(Mutant::CompareLapsWithoutWrap) {
            match seen.lap().0.checked_sub(size.lap(position).0) {
                None => LapOrder::Behind,
                Some(0) => LapOrder::Same,
                Some(laps) => LapOrder::Ahead(laps),
            }
        } else {
            seen.compare_lap(size.lap(position))
        };
        let further = match (order, seen.kind()) {
            (_, SlotKind::Closed) => return Ok(Look::Closed),
            (LapOrder::Behind, _) => return Err(Corrupt::TailAhead),
            (LapOrder::Same, SlotKind::Full) => size.skip_filled(position, seen, 0),
            (LapOrder::Ahead(laps), _) if self.is(Mutant::JumpALapTooFar) => {
                position.plus(u64::from(laps) * size.slots() + 1)
            }
            (LapOrder::Ahead(laps), _) => size.skip_filled(position, seen, laps),
            (LapOrder::Same, SlotKind::Empty | SlotKind::Vacated) => {
                let mutant = if sends {
                    Mutant::SendWithoutHelp
                } else {
                    Mutant::SealWithoutHelp
                };
                if !self.is(mutant) {
                    self.help(position, seen).await;
                }
                return Ok(Look::Free);
            }
        };
        let is_astray = |tail| u64::from(size.is_runaway(Position(tail), further));
        if self.access(Word::Tail, Access::Load, is_astray).await != 0 {
            return Err(Corrupt::InconsistentLaps);
        }
        Ok(Look::GoOn(further))
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

    pub(super) async fn withdraw(&self, block: Hand) -> Result<Outcome> {
        let freed = BlockState::from_bits(block.word).free();
        if self.is(Mutant::WithdrawWithoutWake) {
            let swap = Access::Swap(freed.bits());
            self.ignore(Word::Block(block.block), swap).await;
            return Ok(Outcome::Done);
        }
        self.release_word(block, freed).await?;
        Ok(Outcome::Done)
    }

    /// The exchange with which a block leaves this process's hands, and the wake that follows it.
    pub(super) async fn release_word(&self, mine: Hand, to: BlockState) -> Result<()> {
        let view = |seen| u64::from(seen == mine.word);
        let swap = Access::Swap(to.bits());
        let is_mine = self.access(Word::Block(mine.block), swap, view).await != 0;
        self.wake_block_waiters(mine.block).await;
        is_mine.then_some(()).ok_or(Corrupt::OwnedBlockChanged)
    }

    pub(super) async fn wake_block_waiters(&self, block: u8) {
        let another_word = self.is(Mutant::WordPerClass) && block > 0;
        if !self.is(Mutant::FreeWithoutWake) && !another_word {
            self.notify_if_someone_sleeps(Park::Blocks, u32::MAX).await;
        }
    }
}
