//! The supervisor's thread: its turns.

use super::log;
use super::slot::{SlotState, WorkerSlot};
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
            for slot in 0..self.settings().workers.min as usize {
                // The first turn ends a start that is late already.
                if slot == 0 || self.start_deadline > Instant::now() {
                    self.start_worker(slot);
                }
            }
            while !self.is_over() {
                self.run_turn();
            }
            self.finish();
            self.strays.reap_all();
        }));
        if lived.is_err() {
            shared.results.lose("the pool's thread has panicked");
        }
        announcer.close(shared.settings.grace);
        self.worker_stats
    }

    fn run_turn(&mut self) {
        let ready = self.wait();
        if ready.commands {
            for command in self.commands.take() {
                match command {
                    Command::Stop { cancel } => self.stop(cancel),
                    Command::Kill { task, due } => self.schedule_kill(task, due),
                }
            }
            self.inspect_at = Some(Instant::now());
        }
        for slot in ready.ended {
            self.reap_worker(slot);
        }
        self.receive_messages(ready.readable);
        self.run_due(Instant::now());
        if self.inspect_at.is_some_and(|due| due <= Instant::now()) {
            self.inspect();
        }
        self.update_outage(Instant::now());
    }

    /// When the next thing is to be done although nothing is heard.
    fn next_due(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Starting => Some(self.start_deadline),
            Phase::Stopping { until, .. } => Some(until),
            Phase::Running => self.outage.due(),
        };
        let slots = self.slots.iter().filter_map(WorkerSlot::due);
        let retries = self.retries.iter().map(|retry| retry.due);
        slots
            .chain(retries)
            .chain(phase)
            .chain(self.settle_again_at)
            .chain(self.inspect_at)
            .chain(self.strays.due)
            .min()
    }

    /// SUPERVISE-1.
    fn wait(&mut self) -> Ready {
        match self.watchlist.wait(self.next_due()) {
            Ok(keys) => Ready::of(keys),
            Err(error) => {
                if !core::mem::replace(&mut self.has_reported_failed_wait, true) {
                    log::wait_failed(&error);
                }
                thread::sleep(RETRY_DELAY);
                self.everything_ready()
            }
        }
    }

    /// What a wait may have found.
    fn everything_ready(&self) -> Ready {
        let all = || (0..).zip(&self.slots);
        let is_there = |slot: &WorkerSlot| slot.worker().is_some();
        Ready {
            commands: true,
            readable: all().map(|(index, _)| index).collect(),
            ended: all()
                .filter(|(_, slot)| is_there(slot))
                .map(|(index, _)| index)
                .collect(),
        }
    }

    /// Do what is due.
    fn run_due(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(index) else {
                continue;
            };
            if slot.due().is_none_or(|due| due > now) {
                continue;
            }
            match &mut slot.state {
                SlotState::Occupied(_) => self.handle_overdue(index, now),
                SlotState::BackingOff { .. } => self.start_worker(index),
                SlotState::Empty => {}
            }
        }
        if self.settle_again_at.is_some_and(|due| due <= now) {
            self.settle_tasks();
        }
        self.send_due_retries(now);
        self.strays.reap(now);
        match self.phase {
            Phase::Starting if self.start_deadline <= now => {
                let error = self.late_start_error();
                self.fail(error);
            }
            Phase::Stopping { step, until, .. } if until <= now => self.escalate(step),
            _ => {}
        }
    }

    /// SUPERVISE-4.
    fn receive_messages(&mut self, mut readable: Vec<usize>) {
        let until = clock::after(Instant::now(), LISTEN);
        let first = self.next_slot;
        readable.sort_unstable_by_key(|&index| (index < first, index));
        for index in readable {
            self.next_slot = index + 1;
            for _ in 0..TURN {
                if self.receive_message(index).is_none() || Instant::now() >= until {
                    break;
                }
            }
            self.reap_unwatched(index);
            if Instant::now() >= until {
                return;
            }
        }
    }
}
