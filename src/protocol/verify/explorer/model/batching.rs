//! Batches: blocks that hold two messages, with a mark for each.

use super::super::action::Settlement;
use super::super::call::{Holding, Outcome};
use super::super::memory::{Access, BATCH, Word, to_u8, to_u32};
use super::super::mutants::Mutant;
use super::process::{ModelProcess, Result, holding};
use crate::protocol::batch::{ExtraMessages, MessageCounts, MessageMark};
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::lifecycle::LifecycleState;

/// The length of each message.
const LENGTH: u32 = 8;

impl ModelProcess {
    fn batches(&self) -> bool {
        self.execution.borrow().configuration().batches
    }

    /// Writes the length of a single message, which matters only where there are batches.
    pub(super) async fn write_length(&self, block: u8) {
        if self.batches() {
            self.store(Word::Length(block), LENGTH.into()).await;
        }
    }

    /// Prepares an Owned block for a batch, before `Offer`.
    pub(super) async fn begin_batch(&self, owned: Holding) {
        let block = owned.block;
        for message in 0..BATCH {
            self.store(Word::Mark(block, message), 0).await;
        }
        let extra = self.load(Word::ExtraMessages(block)).await;
        if !self.has(Mutant::BeginBatchCounted) {
            let next = ExtraMessages::from_bits(extra).without_current();
            self.store(Word::ExtraMessages(block), next.bits()).await;
        }
        let generation = BlockState::from_bits(owned.word).generation();
        let note = BlockHeader::batched_note(BATCH.into(), generation);
        self.store(Word::Note(block), note.into()).await;
        let length = BlockHeader::batched_length(LENGTH);
        self.store(Word::Length(block), length.into()).await;
    }

    /// Returns the number of messages of the batch in a block, or `None` for a single message.
    async fn batch(&self, block: u8) -> Option<u8> {
        let is_batch = |length| BlockHeader::is_batched_length(to_u32(length));
        if !self.batches() || !self.test(Word::Length(block), is_batch).await {
            return None;
        }
        let count = |note| note & 0xff;
        Some(to_u8(
            self.access(Word::Note(block), Access::Load, count).await,
        ))
    }

    async fn mark(&self, block: u8, message: u8) -> MessageMark {
        MessageMark::from_bits(to_u8(self.load(Word::Mark(block, message)).await))
    }

    async fn set_mark(&self, block: u8, message: u8, mark: MessageMark) {
        self.store(Word::Mark(block, message), mark.bits().into())
            .await;
    }

    /// Marks a message as done (BATCH-2).
    async fn mark_done(&self, block: u8, message: u8) {
        let mark = self.mark(block, message).await;
        self.set_mark(block, message, mark.changed(false, true, false))
            .await;
    }

    async fn count_messages(&self, block: u8, count: u8) -> MessageCounts {
        let limit = self.limits().max_deliveries;
        let mut counts = MessageCounts::default();
        for message in 0..count {
            let mark = self.mark(block, message).await;
            if mark.is_live(limit) {
                counts.live += 1;
            } else if !mark.is_done() {
                counts.spent += 1;
            }
        }
        counts
    }

    /// Counts the messages in a block that are not done.
    pub(super) async fn message_counts(&self, block: u8) -> MessageCounts {
        match self.batch(block).await {
            Some(count) => self.count_messages(block, count).await,
            None => MessageCounts { live: 1, spent: 0 },
        }
    }

    /// Counts the messages of a batch as accepted, beyond the first (BATCH-4).
    pub(super) async fn count_accepted(&self, block: u8, seen: BlockState) {
        let Some(count) = self.batch(block).await else {
            return;
        };
        let word = Word::ExtraMessages(block);
        let extra = ExtraMessages::from_bits(self.load(word).await);
        if extra.includes_current() && !self.has(Mutant::CountBatchTwice) {
            return;
        }
        let is_same = |now| now == seen.bits();
        if self.has(Mutant::CountBatchUnverified) || self.test(Word::Block(block), is_same).await {
            let to = extra.with_current(count.into());
            let _ = self.exchange(word, extra.bits(), to.bits()).await;
        }
    }

    /// Returns what the word of a batch becomes in `Return` and `Reclaim`, or `None` for a single message.
    pub(super) async fn state_after_batch_return(
        &self,
        block: u8,
        held: BlockState,
    ) -> Option<BlockState> {
        let count = self.batch(block).await?;
        let counts = self.count_messages(block, count).await;
        Some(if counts.unsettled() == 0 {
            held.free()
        } else if counts.live > 0 {
            held.returned()
        } else {
            held.dead()
        })
    }

    /// Returns what the word of a dead letter becomes when its reader puts it back, or has died.
    pub(super) async fn state_after_reading(&self, block: u8, read: BlockState) -> BlockState {
        if self.message_counts(block).await.unsettled() == 0 {
            read.free()
        } else {
            read.dead()
        }
    }

    /// Settles a message or a batch, as a receiver does.
    pub(super) async fn settle(&self, held: Holding, settlement: Settlement) -> Result<Outcome> {
        let word = BlockState::from_bits(held.word);
        let Some(count) = self.batch(held.block).await else {
            return match settlement {
                Settlement::Return => self.return_message(held).await,
                Settlement::Reject => self.reject(held).await,
                _ => self.acknowledge(held).await,
            };
        };
        let note = self.load(Word::Note(held.block)).await;
        let note = to_u32(note);
        let opened = BlockHeader::opened_note(note, word.generation());
        self.store(Word::Note(held.block), opened.into()).await;
        if settlement == Settlement::AcknowledgeBatch && self.acknowledge_batch(held, count).await?
        {
            return Ok(Outcome::Done);
        }
        let limit = self.limits().max_deliveries;
        for message in 0..count {
            let mark = self.mark(held.block, message).await;
            if !mark.is_live(limit) {
                continue;
            }
            if !self.has(Mutant::DeliverUnmarked) {
                let out = mark.changed(true, false, false);
                self.set_mark(held.block, message, out).await;
            }
            match settlement {
                Settlement::Return => break,
                Settlement::Reject => {
                    let mark = self.mark(held.block, message).await;
                    let rejected = mark.changed(false, false, true);
                    self.set_mark(held.block, message, rejected).await;
                    break;
                }
                _ => self.mark_done(held.block, message).await,
            }
        }
        self.settle_batch(held).await
    }

    /// Acknowledges all messages of a batch at once, if none was delivered before. Returns whether it did.
    async fn acknowledge_batch(&self, held: Holding, count: u8) -> Result<bool> {
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
            if self.has(Mutant::CountBatchAfterRelease) {
                self.release(held, word.free()).await?;
                self.count_accepted(held.block, word.free()).await;
            } else {
                self.count_accepted(held.block, word).await;
                self.release(held, word.free()).await?;
            }
        }
        Ok(fresh)
    }

    /// `Release` or `Return` of a batch, as its marks say.
    async fn settle_batch(&self, held: Holding) -> Result<Outcome> {
        let word = BlockState::from_bits(held.word);
        self.count_accepted(held.block, word).await;
        let left = self.message_counts(held.block).await.unsettled();
        if left > 0 && self.lifecycle(LifecycleState::is_cancelled).await {
            self.release(held, word.free()).await?;
            return Ok(Outcome::Done);
        }
        let given = self.state_after_batch_return(held.block, word).await;
        let to = given.unwrap_or_else(|| word.dead());
        if to.is(BlockKind::Free) {
            self.release(held, to).await?;
            return Ok(Outcome::Done);
        }
        self.finish_return(held, to).await
    }

    /// `Evict`, for the first `excess` dead letters of a batch.
    pub(super) async fn evict_from_batch(
        &self,
        block: u8,
        dead_letter: BlockState,
        excess: u64,
    ) -> Result<()> {
        let read = dead_letter.with_owner(BlockKind::Read, self.me());
        if !self.exchange_block(block, dead_letter, read).await {
            return Ok(());
        }
        let mut evicted = 0;
        if let Some(count) = self.batch(block).await {
            for message in 0..count {
                if evicted < excess && !self.mark(block, message).await.is_done() {
                    self.mark_done(block, message).await;
                    evicted += 1;
                }
            }
        }
        self.release_word(holding(block, read), read.dead()).await
    }

    /// Discards all dead letters of a block that this process has opened (`Read`).
    pub(super) async fn discard_dead_letters(&self, read: Holding) -> Result<Outcome> {
        let Some(count) = self.batch(read.block).await else {
            return self.discard_dead_letter(read).await;
        };
        for message in 0..count {
            if !self.mark(read.block, message).await.is_done() {
                self.mark_done(read.block, message).await;
            }
        }
        self.put_back_dead_letter(read).await
    }
}
