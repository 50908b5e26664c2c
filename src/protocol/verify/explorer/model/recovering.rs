//! `Hold`, `Clear`, `Reclaim`, `Withdraw`, `Vacate`, and what every sweep does.

use super::super::mutants::Mutant;
use super::super::process::{Outcome, Rest};
use super::super::views::keep_generation;
use super::super::words::{Access, Word};
use super::dead_letters::{is_late, is_letter};
use super::{Cx, OTHER, Result};
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::lifecycle;
use crate::protocol::peers::{PeerIndex, PeerState, Role};
use crate::protocol::ring::{Position, SlotKind, SlotState};

/// The blocks that bear a dead process's row.
#[derive(Default)]
struct OwnedBlocks {
    held: Vec<(u64, u8, BlockState)>,
    owned: Vec<(u8, BlockState)>,
    offered: Vec<(u8, BlockState)>,
}

impl Cx {
    /// Ask whether the tenant of a row is dead, and recover it.
    pub(super) async fn look_after(&self, row: u8) -> Result<Outcome> {
        let seen = PeerState::from_bits(self.load(Word::PeerIndex(row)).await);
        if !seen.is_taken() {
            return Ok(Outcome::Nothing);
        }
        let verdict = Access::Verdict(seen.incarnation().get());
        if self
            .access(Word::PeerIndex(row), verdict, |dead| dead)
            .await
            == 0
        {
            return Ok(Outcome::Nothing);
        }
        let tenant = PeerState::from_bits(self.load(Word::PeerIndex(row)).await);
        let is_same = tenant.incarnation() == seen.incarnation()
            && tenant.kind() == seen.kind()
            && tenant.is_taken();
        if !is_same {
            return Ok(Outcome::Nothing);
        }
        if self.forgets() {
            return Ok(Outcome::Again(Rest::RecoverSlots(row, tenant.bits(), 0)));
        }
        self.note_what_was_taken(row, tenant.bits(), 0).await
    }

    /// RECOVER-1.
    async fn confirm(&self, row: u8, tenant: u64) -> bool {
        let never =
            self.is(Mutant::RecoverWithoutConfirming) || self.is(Mutant::ConfirmBeforeReading);
        never || self.is_still(row, PeerState::from_bits(tenant)).await
    }

    /// What must not take the place of [`Cx::confirm`].
    async fn confirm_early(&self, row: u8, tenant: u64) -> bool {
        !self.is(Mutant::ConfirmBeforeReading)
            || self.is_still(row, PeerState::from_bits(tenant)).await
    }

    /// `Hold` and `Clear`.
    pub(super) async fn note_what_was_taken(
        &self,
        row: u8,
        tenant: u64,
        from: u8,
    ) -> Result<Outcome> {
        if self.is(Mutant::RowFreedFirst) && from == 0 {
            let free = PeerState::from_bits(tenant).vacated();
            let _ = self
                .exchange(Word::PeerIndex(row), tenant, free.bits())
                .await;
        }
        for number in from..self.slots() {
            let position = Position(number.into());
            if !self.confirm_early(row, tenant).await {
                return self.overtaken(tenant).await;
            }
            let is_its =
                |slot: SlotState| slot.kind() == SlotKind::Vacated && slot.taker() == row_of(row);
            let view = |seen| {
                if is_its(SlotState::from_bits(seen)) {
                    seen
                } else {
                    OTHER
                }
            };
            let word = self.slot_word(position);
            let seen = self.access(word, Access::Load, view).await;
            if seen == OTHER {
                continue;
            }
            let seen = SlotState::from_bits(seen);
            if !self.is(Mutant::RecoverWithoutHold) {
                self.help(position, seen).await;
            }
            if !self.confirm(row, tenant).await {
                return self.overtaken(tenant).await;
            }
            if !self.is(Mutant::RecoverWithoutClear) && !self.is(Mutant::ClearAfterReclaim) {
                self.clear_name(position, seen).await;
            }
            if self.forgets() && number + 1 < self.slots() {
                return Ok(Outcome::Again(Rest::RecoverSlots(row, tenant, number + 1)));
            }
        }
        if self.forgets() {
            return Ok(Outcome::Again(Rest::RecoverBlocks(row, tenant)));
        }
        self.repair_blocks(row, tenant).await
    }

    async fn estate(&self, row: u8) -> OwnedBlocks {
        let mut estate = OwnedBlocks::default();
        let is_its = |word: BlockState| {
            let in_hand = matches!(
                word.kind(),
                Some(BlockKind::Held | BlockKind::Read | BlockKind::Owned | BlockKind::Offered)
            );
            in_hand && word.peer() == row_of(row)
        };
        for number in 0..self.block_count() {
            let Some(word) = self.block_if(number, is_its).await else {
                continue;
            };
            match word.kind() {
                Some(BlockKind::Owned) => estate.owned.push((number, word)),
                Some(BlockKind::Offered) => estate.offered.push((number, word)),
                _ => {
                    let position = self.load(Word::Position(number)).await;
                    estate.held.push((position, number, word));
                }
            }
        }
        estate.held.sort_by_key(|&(position, ..)| position);
        estate
    }

    /// `Reclaim` and `Withdraw`.
    pub(super) async fn repair_blocks(&self, row: u8, tenant: u64) -> Result<Outcome> {
        if !self.confirm_early(row, tenant).await {
            return self.overtaken(tenant).await;
        }
        let left = self.estate(row).await;
        for &(_, number, word) in &left.held {
            if self.is(Mutant::RecoverWithoutReclaim) {
                break;
            }
            let was_read = word.is(BlockKind::Read);
            if !was_read && !self.is(Mutant::RecoverWithoutCount) {
                self.count_accepted(number, word).await;
            }
            self.messages(number).await;
            let mut to = if was_read {
                self.put_back(number, word).await
            } else {
                self.come_back(number, word).await
            };
            if self.is(Mutant::ReclaimKeepsGeneration) {
                to = keep_generation(to);
            }
            if !self.confirm(row, tenant).await {
                return self.overtaken(tenant).await;
            }
            if self.is(Mutant::ReclaimWritesAnyWord) {
                self.store(Word::Block(number), to.bits()).await;
            } else {
                let _ = self.exchange_block(number, word, to).await;
            }
        }
        if !self.is(Mutant::RecoverWithoutTrim) {
            self.bury().await?;
        }
        let wanted: Vec<u8> = left.offered.iter().map(|&(number, _)| number).collect();
        let sent = if wanted.is_empty() {
            0
        } else {
            self.blocks_in_the_ring(&wanted).await
        };
        let r5 = !self.is(Mutant::RecoverWithoutWithdrawOwned);
        let r6 = !self.is(Mutant::RecoverWithoutWithdraw);
        let owned = left.owned.iter().filter(|_| r5);
        let unsent = left
            .offered
            .iter()
            .filter(|(number, _)| r6 && sent >> number & 1 == 0);
        for &(number, word) in owned.chain(unsent) {
            if !self.confirm(row, tenant).await {
                return self.overtaken(tenant).await;
            }
            if self.is(Mutant::WithdrawWritesAnyWord) {
                self.store(Word::Block(number), word.free().bits()).await;
            } else {
                let _ = self.exchange_block(number, word, word.free()).await;
            }
        }
        if self.forgets() {
            return Ok(Outcome::Again(Rest::RecoverLeave(row, tenant)));
        }
        self.free_row(row, tenant).await
    }

    /// `Clear`, too late.
    async fn clear_names(&self, row: u8) {
        for number in 0..self.slots() {
            let position = Position(number.into());
            let seen = self.slot(position).await;
            if seen.kind() == SlotKind::Vacated && seen.taker() == row_of(row) {
                self.clear_name(position, seen).await;
            }
        }
    }

    /// Which of the blocks that are asked for slots name, as a mask.
    async fn blocks_in_the_ring(&self, wanted: &[u8]) -> u8 {
        let mut named = 0;
        for number in 0..self.slots() {
            let word = self.slot_word(Position(number.into()));
            let view = |seen| match SlotState::from_bits(seen) {
                slot if !matches!(slot.kind(), SlotKind::Full | SlotKind::Vacated) => OTHER,
                slot => {
                    let block = u64::from(slot.block().get());
                    let matters = wanted.iter().any(|&it| u64::from(it) == block);
                    if matters { block } else { OTHER }
                }
            };
            let block = self.access(word, Access::Load, view).await;
            if block != OTHER {
                named |= 1 << block;
            }
        }
        named
    }

    /// `Vacate`.
    pub(super) async fn free_row(&self, row: u8, tenant: u64) -> Result<Outcome> {
        if !self.is(Mutant::VacateWithoutReturned) {
            self.set_returned().await;
        }
        if !self.is(Mutant::RecoverLateIsLeft) {
            self.discard_returned().await;
        }
        if self.is(Mutant::ClearAfterReclaim) {
            self.clear_names(row).await;
        }
        if !self.is(Mutant::RecoverWithoutWake) {
            self.wake_everybody().await;
        }
        let its = PeerState::from_bits(tenant);
        let free = if self.is(Mutant::VacateKeepsIncarnation) {
            its.vacated_in_vain()
        } else {
            its.vacated()
        };
        if !self.is(Mutant::RowFreedFirst) {
            let _ = self
                .exchange(Word::PeerIndex(row), tenant, free.bits())
                .await;
        }
        self.overtaken(tenant).await
    }

    /// The row is free, by whomever.
    async fn overtaken(&self, tenant: u64) -> Result<Outcome> {
        if self.forgets() {
            return Ok(Outcome::Again(Rest::EndSides(tenant)));
        }
        self.end_sides_of(tenant).await
    }

    pub(super) async fn end_sides_of(&self, tenant: u64) -> Result<Outcome> {
        let tenant = PeerState::from_bits(tenant);
        for role in [Role::Sender, Role::Receiver] {
            if tenant.has_role(role) {
                self.end_if_deserted(role).await?;
            }
        }
        Ok(Outcome::Done)
    }

    pub(super) async fn tidy(&self) -> Result<Outcome> {
        for role in [Role::Sender, Role::Receiver] {
            self.end_if_deserted(role).await?;
        }
        let both = lifecycle::CLOSING | lifecycle::CANCEL;
        let life = |seen| seen & both;
        let life = self.access(Word::Lifecycle, Access::Load, life).await;
        if life & lifecycle::CLOSING != 0 {
            self.seal_for_another().await?;
        }
        if life & lifecycle::CANCEL != 0 {
            self.discard_returned().await;
        }
        Ok(Outcome::Done)
    }

    pub(super) async fn tidy_blocks(&self) -> Result<Outcome> {
        let late = self.life(is_late).await;
        let mut letters = 0;
        for number in 0..self.block_count() {
            let either =
                |word: BlockState| word.is(BlockKind::Returned) || word.is(BlockKind::Dead);
            let Some(word) = self.block_if(number, either).await else {
                continue;
            };
            if is_letter(late, word) {
                letters += self.messages(number).await.unsettled();
            }
            if word.is(BlockKind::Returned) {
                let tells = !self.is(Mutant::TidyDoesNotTell);
                if !self.returned().await.is_dirty() && tells {
                    self.set_returned().await;
                }
            }
        }
        if letters > self.limits().max_dead_letters.into() {
            self.bury().await?;
        }
        Ok(Outcome::Done)
    }
}

fn row_of(row: u8) -> PeerIndex {
    PeerIndex::from_low_bits(row.into())
}
