//! `Release`, `Return` and `Discard`.

use super::super::call::{Holding, Outcome};
use super::super::memory::{Access, ParkingSpot, Word};
use super::super::mutants::Mutant;
use super::super::word_values::{forget_delivery, keep_generation};
use super::process::{ModelProcess, Result};
use crate::protocol::Corrupt;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::lifecycle::LifecycleState;
use crate::protocol::returned;

impl ModelProcess {
    pub(super) async fn set_returned(&self) {
        let raise = if self.has(Mutant::SignalWithoutEpoch) {
            0
        } else {
            returned::EPOCH
        };
        let mut seen = self.load(Word::Returned).await;
        loop {
            let set = (seen | returned::DIRTY).wrapping_add(raise);
            let exchange = Access::Exchange(seen, set);
            let now = self.access(Word::Returned, exchange, |now| now).await;
            if now == seen {
                return;
            }
            seen = now;
        }
    }

    pub(super) async fn discard(&self, held: Holding) -> Result<()> {
        let word = BlockState::from_bits(held.word);
        self.count_accepted(held.block, word).await;
        self.message_counts(held.block).await;
        self.release(held, free(held)).await
    }

    /// `Discard`, for each Returned block of a cancelled queue.
    pub(super) async fn discard_returned(&self) {
        let cancelled = self.lifecycle(LifecycleState::is_cancelled).await;
        if !cancelled || self.has(Mutant::LateReturnNotDiscarded) {
            return;
        }
        for (_, number, word) in self.find_blocks(|word| word.is(BlockKind::Returned)).await {
            self.message_counts(number).await;
            if self.has(Mutant::DiscardByStore) {
                self.store(Word::Block(number), word.free().bits()).await;
            } else if !self.exchange_block(number, word, word.free()).await {
                continue;
            }
            self.wake_block_waiters(number).await;
        }
    }

    pub(super) async fn acknowledge(&self, held: Holding) -> Result<Outcome> {
        self.release_by_store(held, free(held)).await?;
        Ok(Outcome::Done)
    }

    /// Returns what the word of a held block becomes in `Return` and `Reclaim`.
    pub(super) async fn state_after_return(&self, block: u8, held: BlockState) -> BlockState {
        if self.lifecycle(LifecycleState::is_cancelled).await
            && !self.has(Mutant::ReturnDespiteCancel)
        {
            return held.free();
        }
        if let Some(given) = self.state_after_batch_return(block, held).await {
            return given;
        }
        let limit = self.limits().max_deliveries;
        if self.has(Mutant::DeliveriesSaturate) && held.failed_deliveries() + 1 >= limit {
            return forget_delivery(held).after_return(limit);
        }
        held.after_return(limit)
    }

    pub(super) async fn return_message(&self, held: Holding) -> Result<Outcome> {
        let word = BlockState::from_bits(held.word);
        let mut to = self.state_after_return(held.block, word).await;
        if self.has(Mutant::ReturnKeepsGeneration) {
            to = keep_generation(to);
        }
        if to.is(BlockKind::Free) {
            self.discard(held).await?;
            return Ok(Outcome::Done);
        }
        self.count_accepted(held.block, word).await;
        self.finish_return(held, to).await
    }

    pub(super) async fn reject(&self, held: Holding) -> Result<Outcome> {
        let dead = BlockState::from_bits(held.word).dead();
        self.finish_return(held, dead).await
    }

    pub(super) async fn finish_return(&self, held: Holding, to: BlockState) -> Result<Outcome> {
        let signals_first = self.has(Mutant::SignalBeforeReturn);
        if signals_first {
            self.set_returned().await;
        }
        self.release(held, to).await?;
        let signals = !signals_first && !self.has(Mutant::ReturnWithoutSignal);
        if to.is(BlockKind::Returned) && signals {
            self.set_returned().await;
        }
        if to.is(BlockKind::Returned) {
            self.discard_returned().await;
        }
        if to.is(BlockKind::Dead) || self.lifecycle(LifecycleState::has_ended).await {
            self.trim_dead_letters().await?;
        }
        if !self.has(Mutant::ReturnWithoutWake) {
            self.notify_waiters(ParkingSpot::Items, 1).await;
        }
        Ok(Outcome::Done)
    }

    /// `Release` of a single message: a plain store, after a look at the word.
    async fn release_by_store(&self, held: Holding, to: BlockState) -> Result<()> {
        let is_mine = |seen| seen == held.word;
        if !self.test(Word::Block(held.block), is_mine).await {
            return Err(Corrupt::OwnedBlockChanged);
        }
        self.store(Word::Block(held.block), to.bits()).await;
        self.wake_block_waiters(held.block).await;
        self.wake_after_release().await;
        Ok(())
    }

    pub(super) async fn release(&self, held: Holding, to: BlockState) -> Result<()> {
        self.release_word(held, to).await?;
        self.wake_after_release().await;
        Ok(())
    }

    async fn wake_after_release(&self) {
        let is_silent = self.has(Mutant::LastReleaseWithoutWake);
        if !is_silent && !self.lifecycle(LifecycleState::is_open).await {
            self.notify_waiters(ParkingSpot::Items, u32::MAX).await;
        }
    }
}

fn free(held: Holding) -> BlockState {
    BlockState::from_bits(held.word).free()
}
