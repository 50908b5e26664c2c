//! `Take`, `Hold`, `Clear` and `Retake`, and the end of a queue.

use super::super::call::{Holding, Outcome, Resume};
use super::super::memory::{Access, ParkingSpot, Word, to_u8};
use super::super::mutants::Mutant;
use super::process::{ModelProcess, OTHER, Result, holding};
use crate::protocol::Corrupt;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::ids::Position;
use crate::protocol::lifecycle::{self, LifecycleState};
use crate::protocol::returned::{self, ReturnedState};
use crate::protocol::ring::{LapOrder, SlotKind, SlotState};

/// What a look at one position of the ring came to.
enum Take {
    Message(Holding),
    Empty,
    AtTheEnd,
    Skip(Position),
}

impl ModelProcess {
    pub(super) async fn receive(&self) -> Result<Outcome> {
        let is_open = self.lifecycle(LifecycleState::is_open).await;
        let is_dirty = |seen| ReturnedState::from_bits(seen).is_dirty();
        if !is_open || self.test(Word::Returned, is_dirty).await {
            return self.receive_uncommon().await;
        }
        self.take_next(None, false).await
    }

    /// Receives where more than the ring matters: a closed queue, or returned messages.
    async fn receive_uncommon(&self) -> Result<Outcome> {
        let view = |seen: u64| seen & (lifecycle::CLOSING | lifecycle::CANCEL | lifecycle::ENDED);
        let lifecycle = self.access(Word::Lifecycle, Access::Load, view).await;
        let lifecycle = LifecycleState::from_bits(lifecycle);
        if lifecycle.has_ended() {
            return Ok(Outcome::Closed);
        }
        if lifecycle.is_closing() {
            self.help_seal().await?;
        }
        if lifecycle.is_cancelled() {
            self.discard_remaining().await?;
            self.end().await;
            return Ok(Outcome::Closed);
        }
        if let Some(held) = self.take_returned().await {
            return Ok(Outcome::Block(held));
        }
        self.take_next(None, lifecycle.is_closing()).await
    }

    /// Takes the next message of the ring.
    pub(super) async fn take_next(&self, from: Option<u64>, sealed: bool) -> Result<Outcome> {
        let mut position = match from {
            Some(position) => Position(position),
            None => self.hint(Word::Head).await,
        };
        loop {
            match self.take_at(position).await? {
                Take::Message(held) => return Ok(Outcome::Block(held)),
                Take::Empty if sealed => return Err(Corrupt::TailAhead),
                Take::Empty => return self.confirm_empty().await,
                Take::AtTheEnd if self.resumes() => {
                    return Ok(Outcome::Continue(Resume::CheckEnd(0)));
                }
                Take::AtTheEnd => return self.try_end(0).await,
                Take::Skip(next) if self.resumes() => {
                    return Ok(Outcome::Continue(Resume::TakeAt(next.0, sealed)));
                }
                Take::Skip(next) => position = next,
            }
        }
    }

    async fn take_at(&self, position: Position) -> Result<Take> {
        let size = self.size();
        let seen = self.slot(position).await;
        if seen.is_full_in(size.lap(position)) {
            let vacated = SlotState::vacated(seen.lap().next(), seen.block(), self.me());
            if !self.exchange_slot(position, seen, vacated).await {
                return Ok(Take::Skip(position));
            }
            return self.hold(position, vacated).await.map(Take::Message);
        }
        match (seen.compare_lap(size.lap(position)), seen.kind()) {
            (LapOrder::Behind, _) => Err(Corrupt::HeadAhead),
            (LapOrder::Ahead(laps), _) => {
                let next = size.skip_taken(position, laps);
                let is_inconsistent = |head| size.is_runaway(Position(head), next);
                if self.test(Word::Head, is_inconsistent).await {
                    return Err(Corrupt::InconsistentLaps);
                }
                Ok(Take::Skip(next))
            }
            (LapOrder::Same, SlotKind::Closed) => Ok(Take::AtTheEnd),
            (LapOrder::Same, _) => Ok(Take::Empty),
        }
    }

    /// Checks that the message before the head was taken.
    async fn confirm_empty(&self) -> Result<Outcome> {
        let Some(last) = self.hint(Word::Head).await.minus(1) else {
            return Ok(Outcome::Empty);
        };
        let lap = self.size().lap(last);
        let is_ahead = |seen| {
            matches!(
                SlotState::from_bits(seen).compare_lap(lap),
                LapOrder::Ahead(_)
            )
        };
        let was_taken = self.test(self.slot_word(last), is_ahead).await;
        was_taken
            .then_some(Outcome::Empty)
            .ok_or(Corrupt::HeadAhead)
    }

    /// `Hold` and `Clear`, after `Take`.
    async fn hold(&self, position: Position, vacated: SlotState) -> Result<Holding> {
        self.store(Word::Head, position.next().0).await;
        if !self.has(Mutant::TakeWithoutWake) {
            self.notify_waiters(ParkingSpot::Space, 1).await;
        }
        let number = if self.has(Mutant::BlockOfPosition) {
            to_u8(self.size().slot_number(position))
        } else {
            to_u8(vacated.block().get().into())
        };
        let me = self.me();
        let is_right =
            |block: BlockState| block.is(BlockKind::Offered) || block == block.held_by(me);
        let block = self.block_if(number, is_right).await;
        let held = block.ok_or(Corrupt::NotOffered)?.held_by(me);
        self.store(Word::Block(number), held.bits()).await;
        if u64::from(number) != self.size().slot_number(position) {
            let empty = SlotState::empty(vacated.lap());
            let _ = self.exchange_slot(position, vacated, empty).await;
        }
        Ok(holding(number, held))
    }

    pub(super) async fn take_returned(&self) -> Option<Holding> {
        loop {
            let seen = self.returned().await;
            if !seen.is_dirty() {
                return None;
            }
            let oldest_first = self.find_blocks(|word| word.is(BlockKind::Returned)).await;
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
                if self.has(Mutant::RetakeByStore) {
                    self.store(Word::Block(number), held.bits()).await;
                    return Some(holding(number, held));
                }
                if self.exchange_block(number, word, held).await {
                    return Some(holding(number, held));
                }
            }
        }
    }

    async fn clear_returned(&self, seen: ReturnedState) {
        let cleared = seen.bits() & !returned::DIRTY;
        if self.has(Mutant::ClearReturnedAnyway) {
            let now = self.returned().await.bits();
            self.store(Word::Returned, now & !returned::DIRTY).await;
        } else {
            let _ = self.exchange(Word::Returned, seen.bits(), cleared).await;
        }
    }

    pub(super) async fn discard_remaining(&self) -> Result<()> {
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
                    Take::Skip(next) => position = next,
                }
            };
            self.discard(held).await?;
        }
    }

    /// Decides whether the queue has ended, once the ring is sealed and drained. The first `helped` slots are
    /// helped already.
    pub(super) async fn try_end(&self, helped: u8) -> Result<Outcome> {
        let settled = self.limits().close_waits_for_leases;
        if settled && self.has(Mutant::EndHelpsRingTooLate) {
            let is_open = self.is_any_held_or_returned().await;
            self.help_all_takers(0).await;
            if !is_open {
                self.end().await;
                return Ok(Outcome::Closed);
            }
        } else if settled && !self.has(Mutant::EndWithoutHelpingRing) {
            self.help_all_takers(helped).await;
        }
        loop {
            if self.has(Mutant::EndIgnoresReturned) && !settled {
                break;
            }
            let is_open = |word: BlockState| {
                word.is(BlockKind::Returned) || settled && word.is(BlockKind::Held)
            };
            let open = self.find_blocks(is_open).await;
            if open.is_empty() {
                break;
            }
            if !open.iter().any(|(.., word)| word.is(BlockKind::Returned)) {
                return Ok(Outcome::Empty);
            }
            if !self.has(Mutant::EndWithoutSignal) {
                self.set_returned().await;
            }
            if let Some(held) = self.take_returned().await {
                return Ok(Outcome::Block(held));
            }
        }
        if !self.has(Mutant::ClosedIsNotSticky) {
            self.end().await;
        }
        if !self.has(Mutant::EndWithoutTrim) {
            self.trim_dead_letters().await?;
        }
        Ok(Outcome::Closed)
    }

    async fn is_any_held_or_returned(&self) -> bool {
        let is_open = |word: BlockState| word.is(BlockKind::Returned) || word.is(BlockKind::Held);
        !self.find_blocks(is_open).await.is_empty()
    }

    async fn help_all_takers(&self, from: u8) {
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
                self.help_taker(position, seen).await;
            }
        }
    }

    async fn end(&self) {
        if !self.lifecycle(LifecycleState::has_ended).await {
            let or = Access::Or(lifecycle::ENDED);
            self.access(Word::Lifecycle, or, |_| 0).await;
        }
    }

    pub(super) async fn check_tail(&self) -> Result<Outcome> {
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
