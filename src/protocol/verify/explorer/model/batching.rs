//! Batches: blocks that hold two messages, with a mark for each.

use super::super::mutants::Mutant;
use super::super::process::{Hand, Outcome, Then};
use super::super::words::{Access, BATCH, Word, small};
use super::{Cx, Result};
use crate::protocol::batch::{ExtraMessages, MessageCounts, MessageMark};
use crate::protocol::blocks::{BlockHeader, BlockKind, BlockState};
use crate::protocol::lifecycle::LifecycleState;

/// How long all messages are.
const LENGTH: u32 = 8;

impl Cx {
    fn batches(&self) -> bool {
        self.run.borrow().configuration().batches
    }

    /// What the owner says of its single message: how long it is.
    pub(super) async fn note_length(&self, block: u8) {
        if self.batches() {
            self.store(Word::Length(block), LENGTH.into()).await;
        }
    }

    /// Between `Allocate` and `Offer`: the block will hold a batch.
    pub(super) async fn begin_batch(&self, owned: Hand) {
        let block = owned.block;
        for message in 0..BATCH {
            self.store(Word::Mark(block, message), 0).await;
        }
        let beyond = self.load(Word::Beyond(block)).await;
        if !self.is(Mutant::BeginWithoutCount) {
            let next = ExtraMessages::from_bits(beyond).without_current();
            self.store(Word::Beyond(block), next.bits()).await;
        }
        let generation = BlockState::from_bits(owned.word).generation();
        let note = BlockHeader::batched_note(BATCH.into(), generation);
        self.store(Word::Note(block), note.into()).await;
        let length = BlockHeader::batched_length(LENGTH);
        self.store(Word::Length(block), length.into()).await;
    }

    /// How many messages the batch in a block has; `None`: it holds a single one.
    async fn batch(&self, block: u8) -> Option<u8> {
        let is_batch = |length| {
            let length = u32::try_from(length).expect("a word of 32 bits");
            BlockHeader::is_batched_length(length)
        };
        if !self.batches() || !self.test(Word::Length(block), is_batch).await {
            return None;
        }
        let count = |note| note & 0xff;
        Some(small(
            self.access(Word::Note(block), Access::Load, count).await,
        ))
    }

    async fn mark(&self, block: u8, message: u8) -> MessageMark {
        MessageMark::from_bits(small(self.load(Word::Mark(block, message)).await))
    }

    async fn set_mark(&self, block: u8, message: u8, mark: MessageMark) {
        self.store(Word::Mark(block, message), mark.bits().into())
            .await;
    }

    /// BATCH-2: as the mark is now, and done or rejected.
    async fn finish(&self, block: u8, message: u8) {
        let mark = self.mark(block, message).await;
        self.set_mark(block, message, mark.changed(false, true, false))
            .await;
    }

    async fn tally(&self, block: u8, count: u8) -> MessageCounts {
        let limit = self.limits().max_deliveries;
        let mut tally = MessageCounts::default();
        for message in 0..count {
            let mark = self.mark(block, message).await;
            if mark.is_live(limit) {
                tally.live += 1;
            } else if !mark.is_done() {
                tally.spent += 1;
            }
        }
        tally
    }

    /// How many messages a block stands for that are not done.
    pub(super) async fn messages(&self, block: u8) -> MessageCounts {
        match self.batch(block).await {
            Some(count) => self.tally(block, count).await,
            None => MessageCounts { live: 1, spent: 0 },
        }
    }

    /// BATCH-4.
    pub(super) async fn count_accepted(&self, block: u8, seen: BlockState) {
        let Some(count) = self.batch(block).await else {
            return;
        };
        let word = Word::Beyond(block);
        let beyond = ExtraMessages::from_bits(self.load(word).await);
        if beyond.includes_current() && !self.is(Mutant::CountBatchTwice) {
            return;
        }
        let is_same = |now| now == seen.bits();
        if self.is(Mutant::CountBatchUnverified) || self.test(Word::Block(block), is_same).await {
            let to = beyond.with_current(count.into());
            let _ = self.exchange(word, beyond.bits(), to.bits()).await;
        }
    }

    /// `Return` and `Reclaim`.
    pub(super) async fn given_back(&self, block: u8, held: BlockState) -> Option<BlockState> {
        let count = self.batch(block).await?;
        let tally = self.tally(block, count).await;
        Some(if tally.unsettled() == 0 {
            held.free()
        } else if tally.live > 0 {
            held.returned()
        } else {
            held.dead()
        })
    }

    /// `Read` and `Reclaim`.
    pub(super) async fn put_back(&self, block: u8, read: BlockState) -> BlockState {
        if self.messages(block).await.unsettled() == 0 {
            read.free()
        } else {
            read.dead()
        }
    }

    /// What a receiver does with a message, or with a batch.
    pub(super) async fn settle(&self, held: Hand, then: Then) -> Result<Outcome> {
        let word = BlockState::from_bits(held.word);
        let Some(count) = self.batch(held.block).await else {
            return match then {
                Then::GiveBack => self.give_back(held).await,
                Then::Reject => self.reject(held).await,
                _ => self.acknowledge(held).await,
            };
        };
        let note = self.load(Word::Note(held.block)).await;
        let note = u32::try_from(note).expect("a word of 32 bits");
        let opened = BlockHeader::opened_note(note, word.generation());
        self.store(Word::Note(held.block), opened.into()).await;
        if then == Then::AcknowledgeAll && self.acknowledge_all(held, count).await? {
            return Ok(Outcome::Done);
        }
        let limit = self.limits().max_deliveries;
        for message in 0..count {
            let mark = self.mark(held.block, message).await;
            if !mark.is_live(limit) {
                continue;
            }
            if !self.is(Mutant::HandOutUnmarked) {
                let out = mark.changed(true, false, false);
                self.set_mark(held.block, message, out).await;
            }
            match then {
                Then::GiveBack => break,
                Then::Reject => {
                    let mark = self.mark(held.block, message).await;
                    let rejected = mark.changed(false, false, true);
                    self.set_mark(held.block, message, rejected).await;
                    break;
                }
                _ => self.finish(held.block, message).await,
            }
        }
        self.settle_batch(held).await
    }

    /// All messages at once, if none has been handed out before.
    async fn acknowledge_all(&self, held: Hand, count: u8) -> Result<bool> {
        let mut fresh = true;
        for message in 0..count {
            fresh &= self.mark(held.block, message).await == MessageMark::FRESH;
        }
        if fresh {
            for message in 0..count {
                let out = MessageMark::FRESH.changed(true, false, false);
                self.set_mark(held.block, message, out).await;
            }
            let word = BlockState::from_bits(held.word);
            if self.is(Mutant::CountBatchAfterwards) {
                self.release(held, word.free()).await?;
                self.count_accepted(held.block, word.free()).await;
            } else {
                self.count_accepted(held.block, word).await;
                self.release(held, word.free()).await?;
            }
        }
        Ok(fresh)
    }

    /// `Release` and `Return`.
    async fn settle_batch(&self, held: Hand) -> Result<Outcome> {
        let word = BlockState::from_bits(held.word);
        self.count_accepted(held.block, word).await;
        let left = self.messages(held.block).await.unsettled();
        if left > 0 && self.life(LifecycleState::is_cancelled).await {
            self.release(held, word.free()).await?;
            return Ok(Outcome::Done);
        }
        let given = self.given_back(held.block, word).await;
        let to = given.unwrap_or_else(|| word.dead());
        if to.is(BlockKind::Free) {
            self.release(held, to).await?;
            return Ok(Outcome::Done);
        }
        self.give(held, to).await
    }

    /// `Evict`, for the first `excess` letters of a batch.
    pub(super) async fn drop_some(&self, block: u8, letter: BlockState, excess: u64) -> Result<()> {
        let read = letter.with_owner(BlockKind::Read, self.me());
        if !self.exchange_block(block, letter, read).await {
            return Ok(());
        }
        let mut dropped = 0;
        if let Some(count) = self.batch(block).await {
            for message in 0..count {
                if dropped < excess && !self.mark(block, message).await.is_done() {
                    self.finish(block, message).await;
                    dropped += 1;
                }
            }
        }
        self.release_word(super::hand(block, read), read.dead())
            .await
    }

    /// `Read`, by a reader that discards all letters of a block.
    pub(super) async fn discard_letters(&self, read: Hand) -> Result<Outcome> {
        let Some(count) = self.batch(read.block).await else {
            return self.discard_letter(read).await;
        };
        for message in 0..count {
            if !self.mark(read.block, message).await.is_done() {
                self.finish(read.block, message).await;
            }
        }
        self.put_back_letter(read).await
    }
}
