//! How many workers there are, and for how long each of them stays.
//!
//! | a worker                         | who notices    | then                                                      |
//! |----------------------------------|----------------|-----------------------------------------------------------|
//! | has run so many tasks            | itself         | it says `Stopping`, and is replaced                       |
//! | has so much memory in use        | itself, after a task | the same                                             |
//! | is so old                        | the supervisor | it is told to stop after the task that it runs; the same  |
//! | has been idle for so long        | the supervisor | it is told to stop, and is not replaced                   |
//!
//! STAFF-1. A worker leaves between two tasks, of its own accord; what it has not leased is for the others. So nothing waits for
//!     anything, and a shutdown that comes meanwhile finds a worker that is stopping, as it wants it.
//! STAFF-2. One that was told and does nothing within the grace time, or said that it stops and does not end, is killed. If it
//!     has begun a task in this very moment, that one is sent again, and no attempt counted.
//! STAFF-3. Whether a task waits that nobody is there for is looked at when more tasks are in flight than there are workers:
//!     then the submitter wakes the supervisor. Another worker is started when all are busy, and tasks wait; the next
//!     one when that one is ready.

use super::limits::{KillReason, Why, sooner};
use super::messages::FromParent;
use super::slot::{Slot, Stage, State};
use super::supervisor::{Phase, Supervisor};
use super::task::{Task, TaskError, TaskId};
use crate::os::clock;
use crate::segment::board;
use core::hash::{BuildHasher, Hasher};
use core::ops::RangeInclusive;
use core::time::Duration;
use std::hash::RandomState;
use std::time::Instant;

/// How soon to look again whether tasks still wait, when a worker seemed to be about to take one.
const A_LITTLE_LATER: Duration = Duration::from_millis(10);

/// How many workers a pool has: a number, or from one to another. See [`Builder::workers`](super::Builder::workers).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers(pub(super) RangeInclusive<usize>);

impl From<usize> for Workers {
    fn from(workers: usize) -> Self {
        Self(workers..=workers)
    }
}

impl From<RangeInclusive<usize>> for Workers {
    fn from(workers: RangeInclusive<usize>) -> Self {
        Self(workers)
    }
}

/// How many workers there may be, and when one has to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Staff {
    pub(super) min: u32,
    pub(super) max: u32,
    /// So many tasks, and at random up to so many more.
    pub(super) tasks: Option<(u64, u64)>,
    /// So many bytes of memory.
    pub(super) resident: Option<u64>,
    pub(super) age: Option<Duration>,
    pub(super) idle: Duration,
}

impl Staff {
    pub(super) fn varies(&self) -> bool {
        self.min < self.max
    }

    /// How many tasks a worker has before it.
    pub(super) fn tasks(&self) -> Option<u64> {
        let (tasks, jitter) = self.tasks?;
        Some(tasks.saturating_add(random(jitter)))
    }

    /// When a worker has to go that has begun now: up to a tenth later than it need, so that not all go at once.
    fn expires(&self, now: Instant) -> Option<Instant> {
        let age = self.age?;
        let tenth = u64::try_from(age.as_nanos() / 10).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(random(tenth));
        Some(clock::after(now, age.saturating_add(jitter)))
    }
}

/// A number from 0 to `most`.
fn random(most: u64) -> u64 {
    // The standard library draws its keys anew for each.
    let drawn = RandomState::new().build_hasher().finish();
    drawn % most.saturating_add(1)
}

/// Why a worker was told to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    Old,
    Idle,
}

impl<T: Task> Supervisor<T> {
    /// There is a worker more, or less.
    pub(super) fn look_at_staff_soon(&mut self) {
        self.inspection = Some(Instant::now());
    }

    /// A worker takes tasks from now on.
    pub(super) fn begin_term(&mut self, index: usize) {
        let expires = self.settings().staff.expires(Instant::now());
        if let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut) {
            worker.expires = expires;
        }
        self.look_at_staff_soon();
    }

    /// A worker has said that it stops, whoever wanted that. It has the grace time to end.
    pub(super) fn let_go(&mut self, index: usize) {
        if self.course != Phase::Running {
            return;
        }
        let overdue = clock::after(Instant::now(), self.settings().grace);
        if let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut)
            && !worker.is_doomed
        {
            worker.expires = None;
            worker.overdue = Some(overdue);
            self.toll.recycled += u64::from(worker.leaves != Some(Leave::Idle));
        }
    }

    /// Tell a worker to stop when it is through with its task.
    fn dismiss(&mut self, index: usize, why: Leave) {
        let overdue = clock::after(Instant::now(), self.settings().grace);
        if let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut) {
            worker.leaves = Some(why);
            worker.overdue = Some(overdue);
            worker.say(FromParent::Stop);
        }
    }

    /// A worker's time is up: that of its life, or that in which it should have got on.
    pub(super) fn attend(&mut self, index: usize, now: Instant) {
        let is_running = self.course == Phase::Running;
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let number = slot.number;
        let Some(worker) = slot.worker_mut() else {
            return;
        };
        if worker.process.is_only_wrapper() {
            worker.overdue = None;
            worker.expires = None;
            worker.process.kill_wrapper();
            return;
        }
        if worker.expires.is_some_and(|due| due <= now) {
            worker.expires = None;
            if worker.stays() && is_running {
                self.dismiss(index, Leave::Old);
            }
            return;
        }
        if worker.is_doomed {
            worker.overdue = None;
            if is_running {
                self.has_outlived_its_kill(index);
            }
            return;
        }
        let stage = worker.stage;
        let is_leaving = worker.leaves.is_some() && stage == Stage::Ready;
        if is_leaving && self.is_at_work(number) {
            // It has not heard it yet: it has all the time that its task may take.
            let overdue = clock::after(now, self.settings().grace);
            if let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut) {
                worker.overdue = Some(overdue);
            }
        } else if is_leaving || stage == Stage::Stopping {
            // STAFF-2.
            let (task, why) = (None, Why::Cancelled);
            self.kill_for(index, KillReason { task, why });
        } else {
            self.end_overdue(index);
        }
    }

    /// A worker has not got ready in time, or has closed its link and lives on.
    fn end_overdue(&mut self, index: usize) {
        let mut is_no_worker = false;
        if let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut) {
            is_no_worker = worker.is_no_worker();
            self.toll.killed += u64::from(worker.kill());
        }
        self.bury_unwatched(index);
        // Of one that is no worker, the start's error says so when it has ended.
        if self.course == Phase::Starting && !is_no_worker {
            let error = self.late_start();
            self.fail(error);
        }
    }

    /// A worker was killed and lives on: it belongs to another user and is stopped, or the kernel can't end it now. Its
    /// task has its outcome; its slot waits for its end, which may come yet.
    fn has_outlived_its_kill(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let number = slot.number;
        let Some(worker) = slot.worker_mut() else {
            return;
        };
        if worker.process.has_ended().unwrap_or(false) {
            // This thread has only not got round to it.
            return;
        }
        worker.is_immortal = true;
        let (pid, struck) = (worker.pid(), worker.struck);
        let cause = super::log::unkillable(number, pid);
        let shared = &self.launcher.shared;
        if let Some(running) = shared.board.slot(number).and_then(board::Slot::running) {
            let id = TaskId(running.task);
            shared.inbox.collect();
            shared.inbox.change(|state| {
                let Some(flight) = state.flight(id).copied() else {
                    return;
                };
                let error = match struck.filter(|strike| strike.is_for(id)) {
                    Some(strike) => strike.why.into(),
                    None if flight.timed_out => TaskError::TimedOut,
                    None if flight.cancelled => TaskError::Cancelled,
                    None => TaskError::Unknown {
                        what: "its worker can't be ended",
                    },
                };
                state.file(id, flight.crashes + 1, Err(error));
            });
        }
        self.note_failure(index, cause);
    }

    /// Whether a worker runs a task that has no outcome yet. One that has been stopped right after it had sent what its
    /// task gave looks busy for ever.
    fn is_at_work(&self, number: u32) -> bool {
        let shared = &self.launcher.shared;
        // The outcome may have arrived and not have been looked at.
        shared.inbox.collect();
        let running = shared.board.slot(number).and_then(board::Slot::running);
        running.is_some_and(|running| {
            let id = TaskId(running.task);
            shared.inbox.with(|state| state.flight(id).is_some())
        })
    }

    fn is_busy(&self, number: u32) -> bool {
        let line = self.launcher.shared.board.slot(number);
        line.is_some_and(|line| line.running().is_some())
    }

    /// How many tasks may be in flight before this thread wants to be woken: if none is now, and otherwise.
    pub(super) fn room_for_tasks(&self, idle: usize) -> (usize, usize) {
        if !self.settings().staff.varies() {
            return (idle, usize::MAX);
        }
        let there = self.there();
        let busy = if there < self.slots.len() {
            there
        } else {
            usize::MAX
        };
        (idle.min(busy), busy)
    }

    /// How many workers there are, or are to be, not counting those that leave.
    fn there(&self) -> usize {
        let is_there = |slot: &&Slot| match &slot.state {
            State::Absent => false,
            State::Occupied(worker) => worker.leaves.is_none(),
            State::BackingOff { .. } => true,
        };
        self.slots.iter().filter(is_there).count()
    }

    /// Have as many workers as there is work for (STAFF-3). When to look again.
    pub(super) fn adapt(&mut self, now: Instant, in_flight: usize) -> Option<Instant> {
        if !self.settings().staff.varies() {
            return None;
        }
        let grown = self.grow(now, in_flight);
        sooner(grown, self.shrink(now))
    }

    fn grow(&mut self, now: Instant, in_flight: usize) -> Option<Instant> {
        if in_flight <= self.there() {
            return None;
        }
        let absent = |slot: &Slot| matches!(slot.state, State::Absent);
        let vacant = self.slots.iter().position(absent)?;
        let is_starting = |slot: &Slot| match &slot.state {
            State::Absent => false,
            State::Occupied(worker) => worker.stage < Stage::Ready,
            State::BackingOff { .. } => true,
        };
        if self.slots.iter().any(is_starting) {
            // Its being ready, or its death, leads here again.
            return None;
        }
        let is_idle = |slot: &Slot| {
            let worker = slot.worker();
            worker.is_some_and(super::slot::Worker::stays) && !self.is_busy(slot.number)
        };
        let waits = !self.launcher.shared.tasks.is_empty();
        if !waits || self.slots.iter().any(is_idle) {
            return Some(clock::after(now, A_LITTLE_LATER));
        }
        self.fill(vacant);
        None
    }

    /// Dismiss those beyond the least number that have begun no task for the idle time.
    fn shrink(&mut self, now: Instant) -> Option<Instant> {
        let staff = self.settings().staff;
        let mut spare = self.there().saturating_sub(staff.min as usize);
        let mut next = None;
        for index in (0..self.slots.len()).rev() {
            if spare == 0 {
                return None;
            }
            let since = self.rests(index, now);
            let due = since.map(|since| clock::after(since, staff.idle));
            if due.is_some_and(|due| due <= now) {
                self.dismiss(index, Leave::Idle);
                spare -= 1;
            } else {
                // One that is busy can't be due before that either.
                next = sooner(next, due.or(Some(clock::after(now, staff.idle))));
            }
        }
        if spare == 0 { None } else { next }
    }

    /// Since when a worker is known to have begun no task.
    fn rests(&mut self, index: usize, now: Instant) -> Option<Instant> {
        let slot = self.slots.get_mut(index)?;
        let line = self.launcher.shared.board.slot(slot.number)?;
        let worker = slot.worker_mut().filter(|worker| worker.stays())?;
        if line.running().is_some() {
            worker.rests = None;
            return None;
        }
        let last = line.last_start();
        let since = match worker.rests {
            Some((start, since)) if start == last => since,
            _ => now,
        };
        worker.rests = Some((last, since));
        Some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_number_is_in_range_and_not_always_the_same() {
        assert_eq!(random(0), 0);
        let drawn: Vec<u64> = (0..200).map(|_| random(3)).collect();
        assert!((0..=3).all(|number| drawn.contains(&number)), "{drawn:?}");
        assert!(drawn.iter().all(|&number| number <= 3), "{drawn:?}");
        random(u64::MAX);
    }

    #[test]
    fn a_worker_has_as_many_tasks_as_it_must_and_a_few_more() {
        let mut staff = Staff {
            min: 1,
            max: 1,
            tasks: None,
            resident: None,
            age: None,
            idle: Duration::ZERO,
        };
        assert_eq!(staff.tasks(), None);
        staff.tasks = Some((5, 0));
        assert_eq!(staff.tasks(), Some(5));
        staff.tasks = Some((5, 2));
        assert!((0..100).all(|_| staff.tasks().is_some_and(|tasks| (5..=7).contains(&tasks))));
        staff.tasks = Some((u64::MAX, 2));
        assert_eq!(staff.tasks(), Some(u64::MAX));
    }
}
