//! Recovery: `Hold`, `Reclaim`, `Withdraw` and `Vacate`; and the other parts of a sweep.

use super::super::call::{Outcome, Resume};
use super::super::memory::{Access, Word, to_u8};
use super::super::mutants::Mutant;
use super::super::word_values::keep_generation;
use super::dead_letters::{is_dead_letter, is_late};
use super::process::{ModelProcess, OTHER, Result};
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::ids::{PeerIndex, Position};
use crate::protocol::lifecycle;
use crate::protocol::peers::{PeerState, Role};
use crate::protocol::ring::{SlotKind, SlotState};

/// The blocks in whose words the peer entry of a dead process stands.
#[derive(Default)]
struct OwnedBlocks {
    held: Vec<(u64, u8, BlockState)>,
    owned: Vec<(u8, BlockState)>,
    offered: Vec<(u8, BlockState)>,
}

impl ModelProcess {
    /// Asks whether the tenant of a peer entry is dead, and recovers it.
    pub(super) async fn recover_if_dead(&self, peer: u8) -> Result<Outcome> {
        let seen = PeerState::from_bits(self.load(Word::Peer(peer)).await);
        if !seen.is_taken() {
            return Ok(Outcome::Unavailable);
        }
        let is_dead = Access::IsDead(seen.incarnation().get());
        if self.access(Word::Peer(peer), is_dead, |dead| dead).await == 0 {
            return Ok(Outcome::Unavailable);
        }
        let tenant = PeerState::from_bits(self.load(Word::Peer(peer)).await);
        let is_same = tenant.incarnation() == seen.incarnation()
            && tenant.kind() == seen.kind()
            && tenant.is_taken();
        if !is_same {
            return Ok(Outcome::Unavailable);
        }
        if self.resumes() {
            return Ok(Outcome::Continue(Resume::RecoverSlots(
                peer,
                tenant.bits(),
                0,
            )));
        }
        self.hold_taken_messages(peer, tenant.bits(), 0).await
    }

    /// Returns whether the peer entry is still that of the dead process (RECOVER-1).
    async fn confirm(&self, peer: u8, tenant: u64) -> bool {
        let skips =
            self.has(Mutant::RecoverWithoutConfirming) || self.has(Mutant::ConfirmBeforeReading);
        skips || self.is_still(peer, PeerState::from_bits(tenant)).await
    }

    /// Takes the place of [`ModelProcess::confirm`] in a mutant.
    async fn confirm_early(&self, peer: u8, tenant: u64) -> bool {
        !self.has(Mutant::ConfirmBeforeReading)
            || self.is_still(peer, PeerState::from_bits(tenant)).await
    }

    /// `Hold`. The first `from` slots are done already.
    pub(super) async fn hold_taken_messages(
        &self,
        peer: u8,
        tenant: u64,
        from: u8,
    ) -> Result<Outcome> {
        if self.has(Mutant::VacateFirst) && from == 0 {
            let free = PeerState::from_bits(tenant).vacated();
            let _ = self.exchange(Word::Peer(peer), tenant, free.bits()).await;
        }
        for number in from..self.slots() {
            let position = Position(number.into());
            if !self.confirm_early(peer, tenant).await {
                return self.after_vacate(tenant).await;
            }
            let is_of_dead = |slot: SlotState| {
                slot.kind() == SlotKind::Vacated && slot.taker() == peer_index(peer)
            };
            let view = |seen| {
                if is_of_dead(SlotState::from_bits(seen)) {
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
            if !self.has(Mutant::RecoverWithoutHold) {
                self.help_taker(position, seen).await;
            }
            if self.resumes() && number + 1 < self.slots() {
                return Ok(Outcome::Continue(Resume::RecoverSlots(
                    peer,
                    tenant,
                    number + 1,
                )));
            }
        }
        if self.resumes() {
            return Ok(Outcome::Continue(Resume::RecoverBlocks(peer, tenant)));
        }
        self.reclaim_and_withdraw(peer, tenant).await
    }

    async fn owned_blocks(&self, peer: u8) -> OwnedBlocks {
        let mut owned_blocks = OwnedBlocks::default();
        let is_of_dead = |word: BlockState| {
            let in_hand = matches!(
                word.kind(),
                Some(BlockKind::Held | BlockKind::Read | BlockKind::Owned | BlockKind::Offered)
            );
            in_hand && word.peer() == peer_index(peer)
        };
        let beside_slots = to_u8(self.size().slots());
        let blocks = if self.has(Mutant::SpareBlocksNotRecovered) {
            self.block_count().min(beside_slots)
        } else {
            self.block_count()
        };
        for number in 0..blocks {
            let Some(word) = self.block_if(number, is_of_dead).await else {
                continue;
            };
            match word.kind() {
                Some(BlockKind::Owned) => owned_blocks.owned.push((number, word)),
                Some(BlockKind::Offered) => owned_blocks.offered.push((number, word)),
                _ => {
                    let position = self.load(Word::Position(number)).await;
                    owned_blocks.held.push((position, number, word));
                }
            }
        }
        owned_blocks.held.sort_by_key(|&(position, ..)| position);
        owned_blocks
    }

    /// `Reclaim` and `Withdraw`.
    pub(super) async fn reclaim_and_withdraw(&self, peer: u8, tenant: u64) -> Result<Outcome> {
        if !self.confirm_early(peer, tenant).await {
            return self.after_vacate(tenant).await;
        }
        let owned_blocks = self.owned_blocks(peer).await;
        for &(_, number, word) in &owned_blocks.held {
            if self.has(Mutant::RecoverWithoutReclaim) {
                break;
            }
            let was_read = word.is(BlockKind::Read);
            if !was_read && !self.has(Mutant::RecoverWithoutCount) {
                self.count_accepted(number, word).await;
            }
            self.message_counts(number).await;
            let mut to = if was_read {
                self.state_after_reading(number, word).await
            } else {
                self.state_after_return(number, word).await
            };
            if self.has(Mutant::ReclaimKeepsGeneration) {
                to = keep_generation(to);
            }
            if !self.confirm(peer, tenant).await {
                return self.after_vacate(tenant).await;
            }
            if self.has(Mutant::ReclaimByStore) {
                self.store(Word::Block(number), to.bits()).await;
            } else {
                let _ = self.exchange_block(number, word, to).await;
            }
        }
        if !self.has(Mutant::RecoverWithoutTrim) {
            self.trim_dead_letters().await?;
        }
        let wanted: Vec<u8> = owned_blocks
            .offered
            .iter()
            .map(|&(number, _)| number)
            .collect();
        let sent = if wanted.is_empty() {
            0
        } else {
            self.blocks_in_ring(&wanted).await
        };
        let withdraws_owned = !self.has(Mutant::RecoverWithoutWithdrawOwned);
        let withdraws_offered = !self.has(Mutant::RecoverWithoutWithdraw);
        let owned = owned_blocks.owned.iter().filter(|_| withdraws_owned);
        let unsent = owned_blocks
            .offered
            .iter()
            .filter(|(number, _)| withdraws_offered && sent >> number & 1 == 0);
        for &(number, word) in owned.chain(unsent) {
            if !self.confirm(peer, tenant).await {
                return self.after_vacate(tenant).await;
            }
            if self.has(Mutant::WithdrawByStore) {
                self.store(Word::Block(number), word.free().bits()).await;
            } else {
                let _ = self.exchange_block(number, word, word.free()).await;
            }
        }
        if self.resumes() {
            return Ok(Outcome::Continue(Resume::RecoverPeer(peer, tenant)));
        }
        self.vacate_dead(peer, tenant).await
    }

    /// Returns those of the `wanted` blocks whose messages are in the ring, or were taken from it, as a mask.
    async fn blocks_in_ring(&self, wanted: &[u8]) -> u8 {
        let mut sent = 0;
        for number in 0..self.slots() {
            let position = Position(number.into());
            let view = |seen| {
                let slot = SlotState::from_bits(seen);
                let is_named = matches!(slot.kind(), SlotKind::Full | SlotKind::Vacated);
                let is_wanted = wanted.iter().any(|&it| u32::from(it) == slot.block().get());
                if is_named && is_wanted { seen } else { OTHER }
            };
            let word = self.slot_word(position);
            let seen = self.access(word, Access::Load, view).await;
            if seen == OTHER {
                continue;
            }
            let seen = SlotState::from_bits(seen);
            let block = to_u8(seen.block().get().into());
            let is_sent = seen.kind() == SlotKind::Full
                || self.has(Mutant::OldSlotsCountAsSent)
                || self.unrecorded(position, seen).await.is_some();
            sent |= u8::from(is_sent) << block;
        }
        sent
    }

    /// `Vacate`.
    pub(super) async fn vacate_dead(&self, peer: u8, tenant: u64) -> Result<Outcome> {
        if !self.has(Mutant::VacateWithoutReturned) {
            self.set_returned().await;
        }
        if !self.has(Mutant::LateReclaimNotDiscarded) {
            self.discard_returned().await;
        }
        if !self.has(Mutant::RecoverWithoutWake) {
            self.wake_all().await;
        }
        let dead = PeerState::from_bits(tenant);
        let free = if self.has(Mutant::VacateKeepsIncarnation) {
            dead.vacated_in_same_incarnation()
        } else {
            dead.vacated()
        };
        if !self.has(Mutant::VacateFirst) {
            let _ = self.exchange(Word::Peer(peer), tenant, free.bits()).await;
        }
        self.after_vacate(tenant).await
    }

    /// What follows once the peer entry is free, by this process or by another recoverer.
    async fn after_vacate(&self, tenant: u64) -> Result<Outcome> {
        if self.resumes() {
            return Ok(Outcome::Continue(Resume::CloseVacantRoles(tenant)));
        }
        self.close_vacant_roles_of(tenant).await
    }

    pub(super) async fn close_vacant_roles_of(&self, tenant: u64) -> Result<Outcome> {
        let tenant = PeerState::from_bits(tenant);
        for role in [Role::Sender, Role::Receiver] {
            if tenant.has_role(role) {
                self.close_if_role_vacant(role).await?;
            }
        }
        Ok(Outcome::Done)
    }

    pub(super) async fn finish_stalled(&self) -> Result<Outcome> {
        for role in [Role::Sender, Role::Receiver] {
            self.close_if_role_vacant(role).await?;
        }
        let both = lifecycle::CLOSING | lifecycle::CANCEL;
        let view = |seen| seen & both;
        let seen = self.access(Word::Lifecycle, Access::Load, view).await;
        if seen & lifecycle::CLOSING != 0 {
            self.help_seal().await?;
        }
        if seen & lifecycle::CANCEL != 0 {
            self.discard_returned().await;
        }
        Ok(Outcome::Done)
    }

    pub(super) async fn finish_stalled_blocks(&self) -> Result<Outcome> {
        let late = self.lifecycle(is_late).await;
        let mut dead_letters = 0;
        for number in 0..self.block_count() {
            let is_either =
                |word: BlockState| word.is(BlockKind::Returned) || word.is(BlockKind::Dead);
            let Some(word) = self.block_if(number, is_either).await else {
                continue;
            };
            if is_dead_letter(late, word) {
                dead_letters += self.message_counts(number).await.unsettled();
            }
            if word.is(BlockKind::Returned) {
                let signals = !self.has(Mutant::SweepWithoutSignal);
                if !self.returned().await.is_dirty() && signals {
                    self.set_returned().await;
                }
            }
        }
        if dead_letters > self.limits().max_dead_letters.into() {
            self.trim_dead_letters().await?;
        }
        Ok(Outcome::Done)
    }
}

fn peer_index(peer: u8) -> PeerIndex {
    PeerIndex::from_low_bits(peer.into())
}
