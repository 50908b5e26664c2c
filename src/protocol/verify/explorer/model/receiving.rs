//! `Take`, `Hold`, `Clear`, `Release`, 10 and 12, and the verdict at the end.

use super::super::mutants::Mutant;
use super::super::process::{Hand, Outcome, Rest};
use super::super::views::{forget_attempt, keep_generation};
use super::super::words::{Access, Park, Word, small};
use super::{Corrupt, Cx, OTHER, Result, hand};
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::lifecycle::{self, LifecycleState};
use crate::protocol::returned::{self, ReturnedState};
use crate::protocol::ring::{LapOrder, Position, SlotKind, SlotState};

/// What the walk to the next message came to.
enum Take {
    Message(Hand),
    Empty,
    AtTheEnd,
    GoOn(Position),
}

impl Cx {
    pub(super) async fn receive(&self) -> Result<Outcome> {
        let is_open = self.life(LifecycleState::is_open).await;
        let is_dirty = |seen| ReturnedState::from_bits(seen).is_dirty();
        if !is_open || self.test(Word::Returned, is_dirty).await {
            return self.receive_unusual().await;
        }
        self.take_next(None, false).await
    }

    /// What comes before the messages of the ring, and those that a closed queue still has.
    async fn receive_unusual(&self) -> Result<Outcome> {
        let view = |seen: u64| seen & (lifecycle::CLOSING | lifecycle::CANCEL | lifecycle::ENDED);
        let life = self.access(Word::Lifecycle, Access::Load, view).await;
        let life = LifecycleState::from_bits(life);
        if life.has_ended() {
            return Ok(Outcome::Closed);
        }
        if life.is_closing() {
            self.seal_for_another().await?;
        }
        if life.is_cancelled() {
            self.discard_all().await?;
            self.end().await;
            return Ok(Outcome::Closed);
        }
        if let Some(held) = self.take_returned().await {
            return Ok(Outcome::Block(held));
        }
        self.take_next(None, life.is_closing()).await
    }

    /// The next message of the ring, or what is said when there is none.
    pub(super) async fn take_next(&self, from: Option<u64>, sealed: bool) -> Result<Outcome> {
        let mut position = match from {
            Some(position) => Position(position),
            None => self.hint(Word::Head).await,
        };
        loop {
            match self.take_at(position).await? {
                Take::Message(held) => return Ok(Outcome::Block(held)),
                Take::Empty if sealed => return Err(Corrupt::TailAhead),
                Take::Empty => return Ok(Outcome::Empty),
                Take::AtTheEnd if self.forgets() => return Ok(Outcome::Again(Rest::Verdict(0))),
                Take::AtTheEnd => return self.verdict(0).await,
                Take::GoOn(further) if self.forgets() => {
                    return Ok(Outcome::Again(Rest::TakeAt(further.0, sealed)));
                }
                Take::GoOn(further) => position = further,
            }
        }
    }

    async fn take_at(&self, position: Position) -> Result<Take> {
        let size = self.size();
        let seen = self.slot(position).await;
        if seen.is_full_in(size.lap(position)) {
            let vacated = SlotState::vacated(seen.lap().next(), seen.block(), self.me());
            if !self.exchange_slot(position, seen, vacated).await {
                return Ok(Take::GoOn(position));
            }
            return self.note(position, vacated).await.map(Take::Message);
        }
        match (seen.compare_lap(size.lap(position)), seen.kind()) {
            (LapOrder::Behind, _) => Err(Corrupt::HeadAhead),
            (LapOrder::Ahead(laps), _) => {
                let further = size.skip_taken(position, laps);
                let is_astray = |head| size.is_runaway(Position(head), further);
                if self.test(Word::Head, is_astray).await {
                    return Err(Corrupt::InconsistentLaps);
                }
                Ok(Take::GoOn(further))
            }
            (LapOrder::Same, SlotKind::Closed) => Ok(Take::AtTheEnd),
            (LapOrder::Same, _) => {
                let Some(last) = position.minus(1) else {
                    return Ok(Take::Empty);
                };
                let lap = size.lap(last);
                let is_ahead = |seen| {
                    matches!(
                        SlotState::from_bits(seen).compare_lap(lap),
                        LapOrder::Ahead(_)
                    )
                };
                let was_taken = self.test(self.slot_word(last), is_ahead).await;
                was_taken.then_some(Take::Empty).ok_or(Corrupt::HeadAhead)
            }
        }
    }

    /// `Hold` and `Clear`, after `Take`.
    async fn note(&self, position: Position, vacated: SlotState) -> Result<Hand> {
        self.store(Word::Head, position.next().0).await;
        if !self.is(Mutant::TakeWithoutWake) {
            self.notify_if_someone_sleeps(Park::Space, 1).await;
        }
        let number = small(vacated.block().get().into());
        let me = self.me();
        let is_right =
            |block: BlockState| block.is(BlockKind::Offered) || block == block.held_by(me);
        let block = self.block_if(number, is_right).await;
        let held = block.ok_or(Corrupt::NotOffered)?.held_by(me);
        self.store(Word::Block(number), held.bits()).await;
        if !self.is(Mutant::SkipClear) {
            self.clear_name(position, vacated).await;
        }
        Ok(hand(number, held))
    }

    pub(super) async fn clear_name(&self, position: Position, vacated: SlotState) {
        let empty = SlotState::empty(vacated.lap());
        let _ = self.exchange_slot(position, vacated, empty).await;
    }

    pub(super) async fn take_returned(&self) -> Option<Hand> {
        loop {
            let seen = self.returned().await;
            if !seen.is_dirty() {
                return None;
            }
            let oldest_first = self.blocks_in(|word| word.is(BlockKind::Returned)).await;
            if oldest_first.is_empty() {
                self.clear_returned(seen).await;
                return None;
            }
            for (_, number, word) in oldest_first {
                let is_same = |now| now == seen.bits();
                if !self.test(Word::Returned, is_same).await {
                    break;
                }
                let held = word.held_by(self.me());
                if self.is(Mutant::TakeReturnedByStore) {
                    self.store(Word::Block(number), held.bits()).await;
                    return Some(hand(number, held));
                }
                if self.exchange_block(number, word, held).await {
                    return Some(hand(number, held));
                }
            }
        }
    }

    async fn clear_returned(&self, seen: ReturnedState) {
        let cleared = seen.bits() & !returned::DIRTY;
        if self.is(Mutant::ClearReturnedAnyway) {
            let now = self.returned().await.bits();
            self.store(Word::Returned, now & !returned::DIRTY).await;
        } else {
            let _ = self.exchange(Word::Returned, seen.bits(), cleared).await;
        }
    }

    pub(super) async fn set_returned(&self) {
        let raise = if self.is(Mutant::ReturnWithoutRaise) {
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

    pub(super) async fn discard_all(&self) -> Result<()> {
        loop {
            if let Some(held) = self.take_returned().await {
                self.discard(held).await?;
                continue;
            }
            let mut position = self.hint(Word::Head).await;
            let held = loop {
                match self.take_at(position).await? {
                    Take::Message(held) => break held,
                    Take::AtTheEnd => return Ok(()),
                    Take::Empty => return Err(Corrupt::TailAhead),
                    Take::GoOn(further) => position = further,
                }
            };
            self.discard(held).await?;
        }
    }

    async fn discard(&self, held: Hand) -> Result<()> {
        let word = BlockState::from_bits(held.word);
        self.count_accepted(held.block, word).await;
        self.messages(held.block).await;
        self.release(held, free(held)).await
    }

    /// `Discard`.
    pub(super) async fn discard_returned(&self) {
        let cancelled = self.life(LifecycleState::is_cancelled).await;
        if !cancelled || self.is(Mutant::LateReturnNotDiscarded) {
            return;
        }
        for (_, number, word) in self.blocks_in(|word| word.is(BlockKind::Returned)).await {
            self.messages(number).await;
            if self.is(Mutant::DiscardReturnedByStore) {
                self.store(Word::Block(number), word.free().bits()).await;
            } else if !self.exchange_block(number, word, word.free()).await {
                continue;
            }
            self.wake_block_waiters(number).await;
        }
    }

    /// The ring is drained and closed. Is that the end?
    pub(super) async fn verdict(&self, helped: u8) -> Result<Outcome> {
        let settled = self.limits().close_waits_for_leases;
        if settled && self.is(Mutant::VerdictHelpsAfterwards) {
            let is_open = self.is_anything_open().await;
            self.help_everybody(0).await;
            if !is_open {
                self.end().await;
                return Ok(Outcome::Closed);
            }
        } else if settled && !self.is(Mutant::EndWithoutHelpingRing) {
            self.help_everybody(helped).await;
        }
        loop {
            if self.is(Mutant::VerdictWithoutReturned) && !settled {
                break;
            }
            let is_open = |word: BlockState| {
                word.is(BlockKind::Returned) || settled && word.is(BlockKind::Held)
            };
            let open = self.blocks_in(is_open).await;
            if open.is_empty() {
                break;
            }
            if !open.iter().any(|(.., word)| word.is(BlockKind::Returned)) {
                return Ok(Outcome::Empty);
            }
            if !self.is(Mutant::VerdictDoesNotTell) {
                self.set_returned().await;
            }
            if let Some(held) = self.take_returned().await {
                return Ok(Outcome::Block(held));
            }
        }
        if !self.is(Mutant::ClosedIsNotSticky) {
            self.end().await;
        }
        if !self.is(Mutant::EndWithoutTrim) {
            self.bury().await?;
        }
        Ok(Outcome::Closed)
    }

    async fn is_anything_open(&self) -> bool {
        let is_open = |word: BlockState| word.is(BlockKind::Returned) || word.is(BlockKind::Held);
        !self.blocks_in(is_open).await.is_empty()
    }

    async fn help_everybody(&self, from: u8) {
        for number in from..self.slots() {
            let position = Position(number.into());
            let vacated = |seen| {
                let is_vacated = SlotState::from_bits(seen).kind() == SlotKind::Vacated;
                if is_vacated { seen } else { OTHER }
            };
            let word = self.slot_word(position);
            let seen = self.access(word, Access::Load, vacated).await;
            let seen = SlotState::from_bits(seen);
            if seen.kind() == SlotKind::Vacated {
                self.help(position, seen).await;
            }
        }
    }

    async fn end(&self) {
        if !self.life(LifecycleState::has_ended).await {
            let or = Access::Or(lifecycle::ENDED);
            self.access(Word::Lifecycle, or, |_| 0).await;
        }
    }

    pub(super) async fn acknowledge(&self, held: Hand) -> Result<Outcome> {
        self.release(held, free(held)).await?;
        Ok(Outcome::Done)
    }

    /// What the word of a held message becomes when it comes back.
    pub(super) async fn come_back(&self, block: u8, held: BlockState) -> BlockState {
        if self.life(LifecycleState::is_cancelled).await && !self.is(Mutant::ReturnUnderCancel) {
            return held.free();
        }
        if let Some(given) = self.given_back(block, held).await {
            return given;
        }
        let limit = self.limits().max_deliveries;
        if self.is(Mutant::AttemptsSaturate) && held.failed_deliveries() + 1 >= limit {
            return forget_attempt(held).after_return(limit);
        }
        held.after_return(limit)
    }

    pub(super) async fn give_back(&self, held: Hand) -> Result<Outcome> {
        let word = BlockState::from_bits(held.word);
        let mut to = self.come_back(held.block, word).await;
        if self.is(Mutant::ReturnKeepsGeneration) {
            to = keep_generation(to);
        }
        if to.is(BlockKind::Free) {
            self.discard(held).await?;
            return Ok(Outcome::Done);
        }
        self.count_accepted(held.block, word).await;
        self.give(held, to).await
    }

    pub(super) async fn reject(&self, held: Hand) -> Result<Outcome> {
        let dead = BlockState::from_bits(held.word).dead();
        self.give(held, dead).await
    }

    pub(super) async fn give(&self, held: Hand, to: BlockState) -> Result<Outcome> {
        let says_first = self.is(Mutant::SignalBeforeReturn);
        if says_first {
            self.set_returned().await;
        }
        self.release(held, to).await?;
        let says = !says_first && !self.is(Mutant::ReturnSilently);
        if to.is(BlockKind::Returned) && says {
            self.set_returned().await;
        }
        if to.is(BlockKind::Returned) {
            self.discard_returned().await;
        }
        if to.is(BlockKind::Dead) || self.life(LifecycleState::has_ended).await {
            self.bury().await?;
        }
        if !self.is(Mutant::ReturnWithoutWake) {
            self.notify_if_someone_sleeps(Park::Items, 1).await;
        }
        Ok(Outcome::Done)
    }

    pub(super) async fn release(&self, held: Hand, to: BlockState) -> Result<()> {
        self.release_word(held, to).await?;
        let silent = self.is(Mutant::SettleWithoutWake);
        if !silent && !self.life(LifecycleState::is_open).await {
            self.notify_if_someone_sleeps(Park::Items, u32::MAX).await;
        }
        Ok(())
    }

    pub(super) async fn inspect(&self) -> Result<Outcome> {
        let head = self.hint(Word::Head).await;
        let seen = self.slot(head).await;
        let is_free = seen.compare_lap(self.size().lap(head)) == LapOrder::Same
            && matches!(seen.kind(), SlotKind::Empty | SlotKind::Vacated);
        if is_free && self.test(Word::Tail, |tail| tail > head.0).await {
            let is_same = |now| now == seen.bits();
            if self.test(self.slot_word(head), is_same).await {
                return Err(Corrupt::TailAhead);
            }
        }
        Ok(Outcome::Done)
    }
}

fn free(held: Hand) -> BlockState {
    BlockState::from_bits(held.word).free()
}
