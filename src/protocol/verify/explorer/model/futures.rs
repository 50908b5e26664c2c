//! Futures and the reactor that sleeps for them: `queue::futures::waiting`, and the seat of `queue::reactor`.

use super::super::action::Action;
use super::super::call::Outcome;
use super::super::execution::Execution;
use super::super::lane::{Found, LaneAccess, LaneSeen};
use super::super::memory::{Access, ParkingSpot, Word};
use super::super::mutants::Mutant;
use super::process::ModelProcess;
use crate::protocol::ids::Lap;
use crate::protocol::lifecycle::LifecycleState;
use crate::protocol::returned::ReturnedState;
use crate::protocol::ring::{LapOrder, SlotKind, SlotState};

/// What the futures of the explorer wait for.
const SPOT: ParkingSpot = ParkingSpot::Items;

impl ModelProcess {
    async fn lane(&self, access: LaneAccess) -> u64 {
        let access = Access::Lane(access);
        self.access(Word::Lane, access, |given| given).await
    }

    pub(super) async fn admit(&self) -> Outcome {
        let is_again = self.local().has_place;
        self.lane(LaneAccess::Admit { is_again }).await;
        Outcome::Done
    }

    pub(super) async fn pend(&self) -> Outcome {
        Execution::slept(self.lane(LaneAccess::Stop).await)
    }

    pub(super) async fn dismiss(&self, is_used: bool) -> Outcome {
        let has_baton = self.lane(LaneAccess::Leave).await != 0;
        if !has_baton || self.has(Mutant::BatonDropped) {
            return Outcome::Done;
        }
        let found = self.look().await;
        let called = self.lane(LaneAccess::Call(found)).await;
        let is_left = called == 0 && found != Found::Nothing && !is_used;
        if is_left && !self.has(Mutant::BatonKeptInProcess) {
            self.notify_waiters(SPOT, 1).await;
        }
        Outcome::Done
    }

    pub(super) async fn attend(&self, is_due: bool) -> Outcome {
        let LaneSeen { has_line, key } = LaneSeen::from_bits(self.lane(LaneAccess::Begin).await);
        if key.is_some() && self.has(Mutant::SleepsOnNewValue) {
            let now = self.load(Word::Parking(SPOT)).await;
            return self.end_attend(Some(now), Found::Nothing).await;
        }
        let is_unchanged = match key {
            Some(key) => self.test(Word::Parking(SPOT), |now| now == key).await,
            None => false,
        };
        if !has_line {
            if is_unchanged {
                return self.end_attend(key, Found::Nothing).await;
            }
            let may_have_taken_wake = key.is_some() && !self.has(Mutant::WakeForNoneKept);
            if may_have_taken_wake && self.look().await != Found::Nothing {
                self.notify_waiters(SPOT, 1).await;
            }
            return self.end_attend(None, Found::Nothing).await;
        }
        if is_unchanged && !is_due {
            return self.end_attend(key, Found::Nothing).await;
        }
        let early = if self.has(Mutant::LookBeforeAnnouncing) {
            Some(self.look().await)
        } else {
            self.has(Mutant::AnnounceWithoutLook)
                .then_some(Found::Nothing)
        };
        let Outcome::Announced(key) = self.announce(SPOT).await else {
            unreachable!("it announces a sleep")
        };
        let found = match early {
            Some(found) => found,
            None => self.look().await,
        };
        self.end_attend(Some(key), found).await
    }

    async fn end_attend(&self, key: Option<u64>, found: Found) -> Outcome {
        match self.lane(LaneAccess::End(key, found)).await {
            0 => Outcome::Done,
            _ => Outcome::Called,
        }
    }

    pub(super) async fn rest(&self) -> Outcome {
        Execution::slept(self.lane(LaneAccess::Sleep).await)
    }

    /// Returns whether the process does not look whether the tail is corrupt, which it is not. It does so where its accesses
    /// are compared.
    pub(super) fn skips_tail_check(&self) -> bool {
        let execution = self.execution.borrow();
        !execution.machine.literal && execution.action().is_some_and(Action::is_future)
    }

    /// Looks for what futures wait for, as `queue::futures::source` does.
    async fn look(&self) -> Found {
        if !self.lifecycle(LifecycleState::is_open).await {
            return Found::All;
        }
        if self.execution.borrow().machine.literal && self.check_tail().await.is_err() {
            return Found::All;
        }
        let is_dirty = |seen| ReturnedState::from_bits(seen).is_dirty();
        if self.has_filled().await || self.test(Word::Returned, is_dirty).await {
            return Found::One;
        }
        Found::Nothing
    }

    /// Returns whether the ring has a message, as `steps::walk` finds it.
    async fn has_filled(&self) -> bool {
        let size = self.size();
        let mut taken = self.hint(Word::Head).await;
        for _ in 0..size.slots() {
            let slot = self.slot(taken).await;
            match slot.compare_lap(size.lap(taken)) {
                LapOrder::Ahead(laps) => taken = size.skip_taken(taken, laps),
                LapOrder::Same | LapOrder::Behind => break,
            }
        }
        let mut filled = self.hint(Word::Tail).await.max(taken);
        for _ in 0..size.slots() {
            let slot = self.slot(filled).await;
            match skipped(slot, size.lap(filled)) {
                None => break,
                Some(laps) => filled = size.skip_filled(filled, slot, laps),
            }
        }
        filled > taken
    }
}

/// Returns how many laps a slot is ahead, if it is filled.
fn skipped(slot: SlotState, lap: Lap) -> Option<u32> {
    match (slot.compare_lap(lap), slot.kind()) {
        (_, SlotKind::Closed)
        | (LapOrder::Behind, _)
        | (LapOrder::Same, SlotKind::Empty | SlotKind::Vacated) => None,
        (LapOrder::Same, SlotKind::Full) => Some(0),
        (LapOrder::Ahead(laps), _) => Some(laps),
    }
}
