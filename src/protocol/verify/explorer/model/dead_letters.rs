//! `Read` and `Evict`.

use super::super::call::{Holding, Outcome};
use super::super::memory::Word;
use super::super::mutants::Mutant;
use super::super::word_values::keep_generation;
use super::process::{ModelProcess, Result, holding};
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::lifecycle::LifecycleState;

impl ModelProcess {
    /// Returns the dead letters, by position.
    async fn list_dead_letters(&self) -> Vec<(u64, u8, BlockState)> {
        let late = self.lifecycle(is_late).await;
        self.find_blocks(|word| is_dead_letter(late, word)).await
    }

    pub(super) async fn trim_dead_letters(&self) -> Result<()> {
        let mut counted = Vec::new();
        for (_, number, dead_letter) in self.list_dead_letters().await {
            counted.push((
                number,
                dead_letter,
                self.message_counts(number).await.unsettled(),
            ));
        }
        let all: u64 = counted.iter().map(|&(.., count)| count).sum();
        let mut excess = all.saturating_sub(self.limits().max_dead_letters.into());
        for (number, dead_letter, count) in counted {
            if excess == 0 {
                break;
            }
            if count <= excess {
                self.evict(number, dead_letter).await;
            } else if !self.has(Mutant::BatchNotTrimmed) {
                self.evict_from_batch(number, dead_letter, excess).await?;
            }
            excess = excess.saturating_sub(count);
        }
        Ok(())
    }

    async fn evict(&self, number: u8, dead_letter: BlockState) {
        self.message_counts(number).await;
        if self.has(Mutant::EvictByStore) {
            self.store(Word::Block(number), dead_letter.free().bits())
                .await;
        } else if self
            .exchange_block(number, dead_letter, dead_letter.free())
            .await
        {
            self.wake_block_waiters(number).await;
        }
    }

    pub(super) async fn open_oldest_dead_letter(&self) -> Outcome {
        for (position, number, _) in self.list_dead_letters().await {
            if let Some(read) = self.open(number, position).await {
                return Outcome::Block(read);
            }
        }
        Outcome::Unavailable
    }

    async fn open(&self, number: u8, position: u64) -> Option<Holding> {
        let is_either = |word: BlockState| word.is(BlockKind::Dead) || word.is(BlockKind::Returned);
        let dead_letter = self.block_if(number, is_either).await;
        let late = self.lifecycle(is_late).await;
        let dead_letter = dead_letter.filter(|&word| is_dead_letter(late, word))?;
        let is_same = |now| now == position;
        if !self.test(Word::Position(number), is_same).await {
            return None;
        }
        let state = if self.has(Mutant::ReadDeadLetterAsHeld) {
            BlockKind::Held
        } else {
            BlockKind::Read
        };
        let read = dead_letter.with_owner(state, self.me());
        let opened = self.exchange_block(number, dead_letter, read).await;
        opened.then(|| holding(number, read))
    }

    pub(super) async fn discard_dead_letter(&self, read: Holding) -> Result<Outcome> {
        let free = BlockState::from_bits(read.word).free();
        self.release_word(read, free).await?;
        Ok(Outcome::Done)
    }

    pub(super) async fn put_back_dead_letter(&self, read: Holding) -> Result<Outcome> {
        let word = BlockState::from_bits(read.word);
        let mut dead = self.state_after_reading(read.block, word).await;
        if self.has(Mutant::PutBackKeepsGeneration) {
            dead = keep_generation(dead);
        }
        self.release_word(read, dead).await?;
        self.trim_dead_letters().await?;
        Ok(Outcome::Done)
    }
}

/// Returns whether each Returned message is a dead letter, because the queue has ended.
pub(super) fn is_late(lifecycle: LifecycleState) -> bool {
    lifecycle.has_ended() && !lifecycle.is_cancelled()
}

pub(super) fn is_dead_letter(late: bool, word: BlockState) -> bool {
    word.is(BlockKind::Dead) || late && word.is(BlockKind::Returned)
}
