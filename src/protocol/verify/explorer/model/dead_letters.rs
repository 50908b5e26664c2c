//! `Read` and `Evict`.

use super::super::mutants::Mutant;
use super::super::process::{Hand, Outcome};
use super::super::views::keep_generation;
use super::super::words::Word;
use super::{Cx, Result, hand};
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::lifecycle::LifecycleState;

impl Cx {
    /// The letters of this moment, oldest first.
    async fn letters(&self) -> Vec<(u64, u8, BlockState)> {
        let late = self.life(is_late).await;
        self.blocks_in(|word| is_letter(late, word)).await
    }

    pub(super) async fn bury(&self) -> Result<()> {
        let mut counted = Vec::new();
        for (_, number, letter) in self.letters().await {
            counted.push((number, letter, self.messages(number).await.unsettled()));
        }
        let all: u64 = counted.iter().map(|&(.., count)| count).sum();
        let mut excess = all.saturating_sub(self.limits().max_dead_letters.into());
        for (number, letter, count) in counted {
            if excess == 0 {
                break;
            }
            if count <= excess {
                self.drop_letter(number, letter).await;
            } else if !self.is(Mutant::BatchIsNotTrimmed) {
                self.drop_some(number, letter, excess).await?;
            }
            excess = excess.saturating_sub(count);
        }
        Ok(())
    }

    async fn drop_letter(&self, number: u8, letter: BlockState) {
        self.messages(number).await;
        if self.is(Mutant::DropLetterByStore) {
            self.store(Word::Block(number), letter.free().bits()).await;
        } else if self.exchange_block(number, letter, letter.free()).await {
            self.wake_block_waiters(number).await;
        }
    }

    pub(super) async fn open_oldest_letter(&self) -> Outcome {
        for (position, number, _) in self.letters().await {
            if let Some(read) = self.open(number, position).await {
                return Outcome::Block(read);
            }
        }
        Outcome::Nothing
    }

    async fn open(&self, number: u8, position: u64) -> Option<Hand> {
        let is_either = |word: BlockState| word.is(BlockKind::Dead) || word.is(BlockKind::Returned);
        let letter = self.block_if(number, is_either).await;
        let late = self.life(is_late).await;
        let letter = letter.filter(|&word| is_letter(late, word))?;
        let is_same = |now| now == position;
        if !self.test(Word::Position(number), is_same).await {
            return None;
        }
        let state = if self.is(Mutant::ReadDeadLetterAsHeld) {
            BlockKind::Held
        } else {
            BlockKind::Read
        };
        let read = letter.with_owner(state, self.me());
        let opened = self.exchange_block(number, letter, read).await;
        opened.then(|| hand(number, read))
    }

    pub(super) async fn discard_letter(&self, read: Hand) -> Result<Outcome> {
        let free = BlockState::from_bits(read.word).free();
        self.release_word(read, free).await?;
        Ok(Outcome::Done)
    }

    pub(super) async fn put_back_letter(&self, read: Hand) -> Result<Outcome> {
        let word = BlockState::from_bits(read.word);
        let mut dead = self.put_back(read.block, word).await;
        if self.is(Mutant::PutBackKeepsGeneration) {
            dead = keep_generation(dead);
        }
        self.release_word(read, dead).await?;
        self.bury().await?;
        Ok(Outcome::Done)
    }
}

/// Whether what is Returned is a dead letter.
pub(super) fn is_late(life: LifecycleState) -> bool {
    life.has_ended() && !life.is_cancelled()
}

pub(super) fn is_letter(late: bool, word: BlockState) -> bool {
    word.is(BlockKind::Dead) || late && word.is(BlockKind::Returned)
}
