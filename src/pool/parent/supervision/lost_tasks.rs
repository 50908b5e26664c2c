//! What becomes of the tasks that a dead worker had leased.
//!
//! If a worker dies while it holds an unacknowledged message, that message (one task, or a chunk) becomes a dead letter.
//! After the worker is reaped, and its entry on the board is read, in this order:
//!
//! 1. All queues are notified of the death, and recover what the worker held. Its dead letter exists now.
//! 2. All results that were sent so far are recorded. No result of the worker can arrive after that.
//! 3. The dead letters are read, and each task in them is judged:
//!
//! | the task                                            | action                                               |
//! |-----------------------------------------------------|------------------------------------------------------|
//! | has its outcome                                     | nothing: the worker died before acknowledging it     |
//! | was run by the worker                               | it is retried; or its outcome is `Crashed`           |
//! | was run by the worker, which was killed for it      | its outcome is the cause of the kill                 |
//! | was run by the worker, which was killed for another | it is sent again, and the attempt not counted        |
//! | is run by another worker                            | nothing until that worker is reaped                  |
//! | is run by no worker                                 | it is sent again, and no attempt counted; see LOST-3 |
//!
//! The tasks of a chunk are in one dead letter, and are judged one by one: some have their outcomes, one was running,
//! the others are sent to other workers, each in a message of its own.
//!
//! LOST-1. Another process may have begun the recovery of step 1, and may be stopped. Then the dead worker is still
//!     among the queue's peers, and everything from step 1 on is repeated a little later.
//! LOST-2. A task that was running and has no dead letter, although the recovery is complete, can't be sent again: its
//!     outcome is recorded. This happens if the queue of tasks was cancelled.
//! LOST-3. A worker that dies while it decodes a task, or before, has not started it. If more than
//!     [`MAX_DEATHS_BEFORE_START`] workers die like this with the same task, the task is the likely cause: from then
//!     on, such a death counts as a crash of the task.

use super::death_report::Fate;
use super::log;
use super::slot::DeadWorker;
use super::supervisor::{Phase, Supervisor};
use crate::os::clock;
use crate::pool::outcome::{TaskError, TaskId};
use crate::pool::parent::commands::HeldTask;
use crate::pool::parent::results::{InFlight, TaskTable};
use crate::pool::parent::settings::Backoff;
use crate::pool::priority::Priority;
use crate::pool::wire::task_attempt::TaskAttempt;
use crate::pool::wire::task_message::{EncodedTask, EncodedTaskCodec, TaskKey};
use crate::queue::{DeadLetters, PeerStats};
use core::time::Duration;
use std::time::Instant;

/// The pause before a recovery check is repeated.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// How many workers may die with a task that they have leased and not started (LOST-3).
const MAX_DEATHS_BEFORE_START: u32 = 3;

/// What is done with a task of a dead letter.
#[derive(Clone, Copy)]
enum Verdict {
    /// It had its outcome, or has it now.
    Discard(Fate),
    /// It is sent again at this time.
    Resend(Instant, Fate),
}

impl Verdict {
    fn fate(self) -> Fate {
        match self {
            Self::Discard(fate) | Self::Resend(_, fate) => fate,
        }
    }
}

impl Supervisor {
    /// Settles the tasks of all dead workers: steps 1 to 3.
    pub(super) fn settle_tasks(&mut self) {
        self.settle_again_at = None;
        if self.dead_workers.is_empty() {
            return;
        }
        let is_recovered: Vec<bool> = self
            .dead_workers
            .iter()
            .map(|death| self.is_recovered(death.pid))
            .collect();
        if !mutant!(SettleWithoutCollecting) {
            self.results().collect();
        }
        self.judge_dead_letters();
        // Before a task that is tried again can have its outcome.
        let staff = &self.launcher.shared.staff;
        staff.publish_counts(self.worker_stats);
        let dead_workers = core::mem::take(&mut self.dead_workers);
        for (death, is_recovered) in dead_workers.into_iter().zip(is_recovered) {
            if is_recovered {
                self.record_task_without_letter(&death);
            } else {
                // See LOST-1.
                self.dead_workers.push(death);
                self.settle_again_at = Some(clock::after(Instant::now(), RETRY_DELAY));
            }
        }
    }

    /// Notifies all queues of a death. Returns whether the recovery is complete.
    fn is_recovered(&self, pid: u32) -> bool {
        let is_listed = |peers: &[PeerStats]| peers.iter().any(|peer| peer.pid == Some(pid));
        let mut is_recovered = true;
        for (_, tasks) in self.launcher.shared.tasks.iter() {
            tasks.report_exit(pid);
            is_recovered &= !is_listed(&tasks.stats().peers);
        }
        let results = self.results().queue();
        results.report_exit(pid);
        is_recovered && !is_listed(&results.stats().peers)
    }

    fn judge_dead_letters(&mut self) {
        let queues = self.launcher.tasks.iter();
        let queues: Vec<_> = queues
            .map(|(level, queue)| (level, queue.dead_letters()))
            .collect();
        for (level, letters) in queues {
            self.judge_letters(level, letters);
        }
    }

    /// Judges the tasks of the dead letters of one queue. Those that are sent again keep their priority.
    fn judge_letters(
        &mut self,
        priority: Priority,
        letters: DeadLetters<EncodedTask, EncodedTaskCodec>,
    ) {
        for letter in letters {
            let tasks = match EncodedTask::all_of(&letter.bytes()) {
                Ok(tasks) => tasks,
                Err(error) => {
                    log::unreadable_task(&error.cause().to_string());
                    letter.discard();
                    continue;
                }
            };
            if tasks
                .iter()
                .any(|task| self.is_of_live_worker(task.attempt))
            {
                continue;
            }
            for mut task in tasks {
                if let Verdict::Resend(due, _) = self.judge(&mut task) {
                    self.hold(HeldTask {
                        due,
                        priority,
                        task,
                        is_retry: true,
                    });
                }
            }
            letter.discard();
        }
    }

    /// Returns whether a task of a dead letter is run by a worker that is not reaped yet.
    fn is_of_live_worker(&self, attempt: TaskAttempt) -> bool {
        let id = attempt.id;
        let is_in_flight = || {
            self.results().with(|tasks| {
                tasks
                    .get_mut(id)
                    .is_some_and(|task| task.attempt == attempt)
            })
        };
        self.is_run_by_live_worker(id)
            && !self
                .dead_workers
                .iter()
                .any(|death| death.running == Some(id))
            && is_in_flight()
    }

    /// Returns whether the board shows this task as running in a worker that is not reaped yet.
    fn is_run_by_live_worker(&self, id: TaskId) -> bool {
        let occupied = self.slots.iter().filter(|slot| slot.worker().is_some());
        occupied
            .filter_map(|slot| self.board_entry(slot.number)?.running())
            .any(|running| running.task == id.0)
    }

    /// Decides what happens to one task of a dead letter, and counts a retry.
    fn judge(&mut self, task: &mut EncodedTask) -> Verdict {
        let id = task.attempt.id;
        // The death of the worker that was running the task. It counts once: later attempts have nothing to do with it.
        let mut deaths = self.dead_workers.iter_mut();
        let death = deaths.find(|death| death.running == Some(id)).map(|death| {
            let judged = *death;
            death.running = None;
            judged
        });
        let case = Case {
            id,
            death,
            last_death: self.dead_workers.last().copied(),
            is_stopping: matches!(self.phase, Phase::Stopping { cancel: true, .. }),
            retries: self.settings().retries,
            backoff: self.settings().retry_backoff,
        };
        let verdict = self
            .results()
            .change(|tasks| case.judge(tasks, &mut task.attempt));
        let has_crashed =
            death.is_some_and(|death| death.kill_reason.is_none() && !died_while_decoding(&death));
        if has_crashed && matches!(verdict, Verdict::Resend(..)) {
            self.worker_stats.retried += 1;
        }
        if let Some(death) = death {
            self.note_fate(&death, task.key, verdict.fate());
        }
        verdict
    }

    /// Records the outcome of the task that a worker was running, if it has none: there was no dead letter (LOST-2).
    fn record_task_without_letter(&mut self, death: &DeadWorker) {
        let Some(id) = death.running else {
            return;
        };
        let (key, fate) = self.results().change(|tasks| {
            let Some(task) = tasks.get_mut(id) else {
                return (TaskKey::NONE, Fate::HadEnded);
            };
            task.crashes += 1;
            let task = *task;
            (task.key, record_death(tasks, &task, death))
        });
        self.note_fate(death, key, fate);
    }
}

/// A task of a dead letter, and what is known about it.
struct Case {
    id: TaskId,
    /// The death of the worker that was running the task.
    death: Option<DeadWorker>,
    /// The last death that is not settled.
    last_death: Option<DeadWorker>,
    is_stopping: bool,
    retries: u32,
    backoff: Backoff,
}

impl Case {
    /// Judges the task, and records its outcome or, in the table and in `attempt`, its next attempt.
    fn judge(&self, tasks: &mut TaskTable, attempt: &mut TaskAttempt) -> Verdict {
        let id = self.id;
        let task = tasks.get_mut(id).filter(|task| task.attempt == *attempt);
        let Some(task) = task else {
            return Verdict::Discard(Fate::HadEnded);
        };
        let now = Instant::now();
        let started = self.death.filter(|death| !died_while_decoding(death));
        let death = started.or_else(|| {
            task.deaths_before_start += 1;
            let is_suspect = task.deaths_before_start > MAX_DEATHS_BEFORE_START
                && !mutant!(UnstartedRetriedForever)
                || mutant!(ChunkCrashesWhole);
            self.death.or(self.last_death).filter(|_| is_suspect)
        });
        let Some(death) = death else {
            return Verdict::Resend(now, Fate::SentAgain);
        };
        let killed_for_other = death.kill_reason.is_some_and(|reason| !reason.is_for(id));
        if killed_for_other && !mutant!(BystanderCrashed) {
            return Verdict::Resend(now, Fate::SentAgain);
        }
        task.crashes += 1;
        let crashes = task.crashes;
        let is_unwanted = task.cancelled || task.timed_out || death.kill_reason.is_some();
        let has_retries =
            crashes + u32::from(mutant!(OneRetryLess)) <= task.own.retries.unwrap_or(self.retries);
        if is_unwanted || self.is_stopping || !has_retries {
            let task = *task;
            return Verdict::Discard(record_death(tasks, &task, &death));
        }
        if !mutant!(AttemptNumberKept) {
            task.attempt.number = task.attempt.number.saturating_add(1);
            *attempt = task.attempt;
        }
        if mutant!(BackoffIgnored) {
            return Verdict::Resend(now, Fate::TriedAgain(now));
        }
        let due = clock::after(now, self.backoff.after(crashes));
        Verdict::Resend(due, Fate::TriedAgain(due))
    }
}

/// Returns whether the worker died while it decoded the task on its entry, and this process had not killed it (LOST-3).
fn died_while_decoding(death: &DeadWorker) -> bool {
    death.was_decoding && death.kill_reason.is_none()
}

/// Records the outcome of a task whose worker has died. Returns what became of the task.
fn record_death(tasks: &mut TaskTable, task: &InFlight, death: &DeadWorker) -> Fate {
    let id = task.attempt.id;
    let error = if let Some(reason) = death.kill_reason.filter(|reason| reason.is_for(id)) {
        reason.cause.into()
    } else if task.timed_out {
        TaskError::TimedOut
    } else if task.cancelled || death.was_ended_by_shutdown && death.kill_reason.is_none() {
        TaskError::Cancelled
    } else {
        TaskError::Crashed {
            status: death.status,
        }
    };
    let fate = Fate::Ended(error.kind());
    tasks.record_outcome(id, task.crashes, Err(error));
    fate
}
