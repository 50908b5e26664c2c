//! The supervisor's thread: its turns.

use super::log;
use super::slot::{Slot, State};
use super::supervisor::{Phase, Supervisor};
use super::watchlist::Ready;
use crate::announce::Announcer;
use crate::os::clock;
use crate::pool::parent::commands::Command;
use crate::pool::parent::report::WorkerStats;
use crate::pool::task::Task;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Messages heard from one worker before the next has its turn.
const TURN: usize = 64;

/// How long messages are heard before anything else is looked after.
const LISTEN: Duration = Duration::from_millis(20);

/// The pause after a wait that has failed.
const RETRY_DELAY: Duration = Duration::from_millis(10);

impl<T: Task> Supervisor<T> {
    /// The whole life of the thread.
    pub(crate) fn run(mut self) -> WorkerStats {
        let shared = Arc::clone(&self.launcher.shared);
        // SUPERVISE-4.
        let announcer = Announcer::for_this_thread();
        // Whatever happens here, nobody waits for ever. The workers end with this thread.
        let lived = catch_unwind(AssertUnwindSafe(|| {
            for slot in 0..self.settings().staff.min as usize {
                // The first turn ends a start that is late already.
                if slot == 0 || self.start_by > Instant::now() {
                    self.fill(slot);
                }
            }
            while !self.is_over() {
                self.turn();
            }
            self.finish();
            self.strays.reap_all();
        }));
        if lived.is_err() {
            shared.inbox.lose("the pool's thread has panicked");
        }
        announcer.close(shared.settings.grace);
        self.toll
    }

    fn turn(&mut self) {
        let ready = self.wait();
        if ready.orders {
            for command in self.orders.take() {
                match command {
                    Command::Stop { cancel } => self.stop(cancel),
                    Command::Kill { task, due } => self.condemn(task, due),
                }
            }
            self.inspection = Some(Instant::now());
        }
        for slot in ready.ended {
            self.bury(slot);
        }
        self.listen(ready.spoken);
        self.tick(Instant::now());
        if self.inspection.is_some_and(|due| due <= Instant::now()) {
            self.inspect();
        }
        self.look_for_outage(Instant::now());
    }

    /// When the next thing is to be done although nothing is heard.
    fn due(&self) -> Option<Instant> {
        let course = match self.course {
            Phase::Starting => Some(self.start_by),
            Phase::Stopping { until, .. } => Some(until),
            Phase::Running => self.outage.due(),
        };
        let slots = self.slots.iter().filter_map(Slot::due);
        let retries = self.retries.iter().map(|retry| retry.due);
        slots
            .chain(retries)
            .chain(course)
            .chain(self.look_again)
            .chain(self.inspection)
            .chain(self.strays.due)
            .min()
    }

    /// SUPERVISE-1.
    fn wait(&mut self) -> Ready {
        match self.watchlist.wait(self.due()) {
            Ok(keys) => Ready::of(keys),
            Err(error) => {
                if !core::mem::replace(&mut self.has_reported_wait, true) {
                    log::wait_failed(&error);
                }
                thread::sleep(RETRY_DELAY);
                self.everything()
            }
        }
    }

    /// What a wait may have found.
    fn everything(&self) -> Ready {
        let all = || (0..).zip(&self.slots);
        let is_there = |slot: &Slot| slot.worker().is_some();
        Ready {
            orders: true,
            spoken: all().map(|(index, _)| index).collect(),
            ended: all()
                .filter(|(_, slot)| is_there(slot))
                .map(|(index, _)| index)
                .collect(),
        }
    }

    /// Do what is due.
    fn tick(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(index) else {
                continue;
            };
            if slot.due().is_none_or(|due| due > now) {
                continue;
            }
            match &mut slot.state {
                State::Occupied(_) => self.attend(index, now),
                State::BackingOff { .. } => self.fill(index),
                State::Absent => {}
            }
        }
        if self.look_again.is_some_and(|due| due <= now) {
            self.settle();
        }
        self.retry(now);
        self.strays.reap(now);
        match self.course {
            Phase::Starting if self.start_by <= now => {
                let error = self.late_start();
                self.fail(error);
            }
            Phase::Stopping { step, until, .. } if until <= now => self.press(step),
            _ => {}
        }
    }

    /// SUPERVISE-4.
    fn listen(&mut self, mut spoken: Vec<usize>) {
        let until = clock::after(Instant::now(), LISTEN);
        let first = self.next_heard;
        spoken.sort_unstable_by_key(|&index| (index < first, index));
        for index in spoken {
            self.next_heard = index + 1;
            for _ in 0..TURN {
                if self.hear(index).is_none() || Instant::now() >= until {
                    break;
                }
            }
            self.bury_unwatched(index);
            if Instant::now() >= until {
                return;
            }
        }
    }
}
