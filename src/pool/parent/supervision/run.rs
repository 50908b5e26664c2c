//! The loop of the supervisor thread.

use super::captured::StandardStream;
use super::log;
use super::slot::{SlotState, WorkerSlot};
use super::supervisor::{Phase, Supervisor};
use super::watchlist::Ready;
use crate::announce::Announcer;
use crate::os::clock;
use crate::pool::parent::commands::Command;
use crate::pool::parent::report::WorkerStats;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// The largest number of messages of one worker that are received before those of the next.
const MAX_MESSAGES: usize = 64;

/// How long messages are received before other work is done.
const MESSAGE_TIME: Duration = Duration::from_millis(20);

/// The pause after a wait that has failed.
const RETRY_DELAY: Duration = Duration::from_millis(10);

impl Supervisor {
    /// Runs until all workers have ended, and returns how many there were. The main function of the thread.
    pub(crate) fn run(mut self) -> WorkerStats {
        let shared = Arc::clone(&self.launcher.shared);
        // See SUPERVISE-5.
        let announcer = Announcer::for_this_thread();
        // If this panics, no caller may wait forever. The workers end with this thread.
        let run = catch_unwind(AssertUnwindSafe(|| {
            for slot in 0..self.size.min as usize {
                // If the start takes too long already, the first turn fails it.
                if slot == 0 || self.start_deadline > Instant::now() {
                    self.start_worker(slot);
                }
            }
            while !self.is_over() {
                self.run_turn();
            }
            self.finish_tasks();
            self.strays.reap_all();
            self.publish_staff();
        }));
        if run.is_err() {
            shared
                .results
                .fail_unknown("the supervisor thread has panicked");
        }
        // Before the wait for the listener, which may wait for them.
        self.end_rollouts();
        announcer.close(shared.settings.grace);
        self.worker_stats
    }

    /// Waits, and does all that there is to do then, in the order of SUPERVISE-4.
    fn run_turn(&mut self) {
        let ready = self.wait();
        if ready.commands {
            for command in self.launcher.shared.commands.take() {
                match command {
                    Command::Stop { cancel } => self.stop(cancel),
                    Command::Kill { task, due } => self.schedule_kill(task, due),
                    Command::Hold(task) => self.hold(task),
                    Command::WithdrawCancelled => self.withdraw_cancelled(),
                    Command::WithdrawAfter(time) => self.withdraw_after(time),
                    Command::Recycle { done } => self.begin_recycling(done),
                    Command::Resize { size, done } => self.begin_resizing(size, done),
                }
            }
            self.inspect_soon();
        }
        for slot in ready.ended {
            self.reap_worker(slot);
        }
        self.receive_messages(ready.readable);
        self.read_output(ready.output);
        self.run_due(Instant::now());
        if self.inspect_at.is_some_and(|due| due <= Instant::now()) {
            self.inspect();
        }
        self.update_outage(Instant::now());
        self.continue_rollouts();
        self.publish_staff();
    }

    /// Waits until a descriptor is ready or something is due (SUPERVISE-1).
    fn wait(&mut self) -> Ready {
        match self.watchlist.wait(self.next_due()) {
            Ok(keys) => Ready::from_keys(keys),
            Err(error) => {
                if !core::mem::replace(&mut self.has_reported_failed_wait, true) {
                    log::wait_failed(&error);
                }
                thread::sleep(RETRY_DELAY);
                self.everything_ready()
            }
        }
    }

    /// Returns when the next thing has to be done even if no descriptor is ready.
    fn next_due(&self) -> Option<Instant> {
        let of_phase = match self.phase {
            Phase::Starting => Some(self.start_deadline),
            Phase::Stopping { until, .. } => Some(until),
            Phase::Running => self.outage.look_at,
        };
        let slots = self.slots.iter().filter_map(WorkerSlot::next_due);
        slots
            .chain(self.held.next_due())
            .chain(of_phase)
            .chain(self.settle_again_at)
            .chain(self.inspect_at)
            .chain(self.strays.due)
            .min()
    }

    /// Returns all that a wait could have found.
    fn everything_ready(&self) -> Ready {
        let all = || (0..).zip(&self.slots);
        let occupied = all().filter(|(_, slot)| slot.worker().is_some());
        let streams = |index| StandardStream::BOTH.map(|stream| (index, stream));
        let output = all().flat_map(|(index, _)| streams(index)).collect();
        Ready {
            commands: true,
            readable: all().map(|(index, _)| index).collect(),
            ended: occupied.map(|(index, _)| index).collect(),
            output,
        }
    }

    /// Receives messages, within the limits of SUPERVISE-4.
    fn receive_messages(&mut self, mut readable: Vec<usize>) {
        let until = clock::after(Instant::now(), MESSAGE_TIME);
        let first = self.next_slot;
        readable.sort_unstable_by_key(|&index| (index < first, index));
        for index in readable {
            self.next_slot = index + 1;
            for _ in 0..MAX_MESSAGES {
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

    /// Does what is due, except for the inspection.
    fn run_due(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index) else {
                continue;
            };
            if slot.next_due().is_none_or(|due| due > now) {
                continue;
            }
            match slot.state {
                SlotState::Occupied(_) => self.handle_overdue(index, now),
                SlotState::BackingOff { .. } => self.start_worker(index),
                SlotState::Empty => {}
            }
        }
        if self.settle_again_at.is_some_and(|due| due <= now) {
            self.settle_tasks();
            self.report_deaths();
        }
        self.send_due_tasks(now);
        self.strays.reap(now);
        match self.phase {
            Phase::Starting if self.start_deadline <= now => {
                let error = self.late_start_error();
                self.fail_start(error);
            }
            Phase::Stopping { step, until, .. } if until <= now => self.escalate(step),
            _ => {}
        }
    }
}
