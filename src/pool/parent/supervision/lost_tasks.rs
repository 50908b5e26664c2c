//! What becomes of the task of a worker that has died.
//!
//! A death leaves a dead letter, the task that the worker had leased, unless it had acknowledged it. In this order:
//!
//! 1. the worker is reaped, and its group with it, so that it does nothing more; what it has said is heard; its line on the
//!    board says what it was running;
//! 2. both queues are told, and repair what it left: its letter is there now;
//! 3. the results that have been accepted are filed: nothing more of it can come after that;
//! 4. the letters are read:
//!
//! | the letter's task                 | what becomes of it                                                         |
//! |-----------------------------------|----------------------------------------------------------------------------|
//! | has its outcome                   | nothing: the worker was killed between its result and the acknowledgement  |
//! | runs, says the line of the dead   | it crashed: tried again, after a while, or reported                        |
//! | ... which was killed for it       | it was timed out, cancelled, or took too much memory: reported             |
//! | ... which was killed for another  | it was begun in the very moment: sent again, and no attempt counted        |
//! | runs, says the line of another    | it is left for that one's own burial                                       |
//! | runs nowhere                      | it was not begun: sent again, and no attempt counted, but for DEATH-3           |
//!
//! The tasks of a chunk that the worker had leased are one letter, and are judged one by one: those with a result are done,
//! one was running, the others go to other workers, each by itself.
//!
//! DEATH-1. The repair of step 2 may be somebody else's who has begun it, and been stopped: then the dead is still listed among
//!     the queue's peers, and everything from 2 on is done again a little later.
//! DEATH-2. A task that was running and has no letter, although the repair is done, can't be sent again: it is reported. (The
//!     tasks were cancelled.)
//! DEATH-3. A worker that dies in decoding a task, or before, has not begun it. A task that several workers in a row have died
//!     with like this is what they die of: from then on such a death counts as a crash of the task.
//! DEATH-4. The verdict is the kernel's, and comes first: a forked child that has the link of a dead worker may flood it for
//!     ever. What the worker has said was on the link when it was reaped, so as many bytes are heard as were there then.

use super::log;
use super::slot::DeadWorker;
use super::supervisor::{Phase, Retry, Supervisor};
use crate::error::{TrySendError, with_causes};
use crate::os::clock;
use crate::pool::outcome::{TaskError, TaskId};
use crate::pool::parent::results::{InFlight, State as ResultsState};
use crate::pool::task::Task;
use crate::pool::wire::task_message::Envelope;
use crate::pool::wire::ticket::Ticket;
use core::time::Duration;
use std::time::Instant;

/// When to look again for what could not be done now.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// So many workers may die with a task in hand that they have not begun. If there are more, it is what they die of: of
/// decoding it, most likely.
const MAX_DEATHS_BEFORE_START: u32 = 3;

/// What is to be done with a task of a letter.
enum Verdict {
    /// It has its outcome, or nobody knows it.
    Discard,
    Resend(Instant),
}

impl<T: Task> Supervisor<T> {
    /// Steps 2 to 4, for all who have died and are not settled yet.
    pub(crate) fn settle_tasks(&mut self) {
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
            self.launcher.shared.results.collect();
        }
        self.judge_dead_letters();
        for (death, is_recovered) in core::mem::take(&mut self.dead_workers)
            .into_iter()
            .zip(is_recovered)
        {
            if is_recovered {
                self.report_tasks_without_letter(&death);
            } else {
                self.dead_workers.push(death);
                self.settle_again_at = Some(clock::after(Instant::now(), RETRY_DELAY));
            }
        }
    }

    /// Step 2; see DEATH-1.
    fn is_recovered(&self, pid: u32) -> bool {
        let (tasks, results) = (
            &self.launcher.shared.tasks,
            self.launcher.shared.results.queue(),
        );
        tasks.report_exit(pid);
        results.report_exit(pid);
        let is_there =
            |peers: &[crate::queue::PeerStats]| peers.iter().any(|peer| peer.pid == Some(pid));
        !is_there(&tasks.stats().peers) && !is_there(&results.stats().peers)
    }

    /// Step 4.
    fn judge_dead_letters(&mut self) {
        for letter in self.launcher.to_do.dead_letters() {
            let envelopes = match Envelope::<T>::from_dead_letter(&letter.bytes()) {
                Ok(envelopes) => envelopes,
                Err(error) => {
                    log::unreadable_task(&error.cause().to_string());
                    letter.discard();
                    continue;
                }
            };
            if envelopes
                .iter()
                .any(|task| self.belongs_to_live_worker(task.ticket))
            {
                continue;
            }
            for mut envelope in envelopes {
                if let Verdict::Resend(due) = self.judge(&mut envelope) {
                    self.retries.push(Retry { due, envelope });
                }
            }
            letter.discard();
        }
    }

    /// Whether a letter with this task belongs to a worker that is not buried yet.
    fn belongs_to_live_worker(&self, ticket: Ticket) -> bool {
        let id = ticket.id;
        let results = &self.launcher.shared.results;
        let is_open =
            || results.with(|state| state.flight(id).is_some_and(|it| it.ticket == ticket));
        self.runs_elsewhere(id)
            && !self.dead_workers.iter().any(|death| runs(death, id))
            && is_open()
    }

    fn judge(&mut self, envelope: &mut Envelope<T>) -> Verdict {
        let id = envelope.ticket.id;
        let is_stopping = matches!(self.phase, Phase::Stopping { cancel: true, .. });
        // Once for each death: what it was running is known then, and later attempts are no business of it.
        let dead = self.dead_workers.iter_mut().find(|death| runs(death, id));
        let dead = dead.map(|death| {
            let judged = *death;
            death.running = None;
            judged
        });
        let last = self.dead_workers.last().copied();
        let (retries, backoff) = (self.settings().retries, self.settings().retry_backoff);
        let verdict = self.launcher.shared.results.change(|state| {
            let Some(flight) = state
                .flight(id)
                .filter(|flight| flight.ticket == envelope.ticket)
            else {
                return Verdict::Discard;
            };
            let now = Instant::now();
            let death = if let Some(death) = dead.filter(|death| !has_not_begun(death)) {
                death
            } else {
                flight.deaths_before_start += 1;
                match dead.or(last).filter(|_| {
                    flight.deaths_before_start > MAX_DEATHS_BEFORE_START
                        && !mutant!(UnstartedRetriedForever)
                        || mutant!(ChunkCrashesWhole)
                }) {
                    Some(death) => death,
                    None => return Verdict::Resend(now),
                }
            };
            if death.kill_reason.is_some_and(|kill| !kill.is_for(id)) && !mutant!(BystanderCrashed)
            {
                return Verdict::Resend(now);
            }
            flight.crashes += 1;
            let (flight, crashes) = (*flight, flight.crashes);
            let is_unwanted = flight.cancelled || flight.timed_out || death.kill_reason.is_some();
            if is_unwanted || is_stopping || crashes + u32::from(mutant!(OneRetryLess)) > retries {
                close(state, &flight, &death);
                return Verdict::Discard;
            }
            if let Some(flight) = state.flight(id).filter(|_| !mutant!(TicketAttemptKept)) {
                flight.ticket.attempt = flight.ticket.attempt.saturating_add(1);
                envelope.ticket = flight.ticket;
            }
            if mutant!(BackoffIgnored) {
                return Verdict::Resend(now);
            }
            Verdict::Resend(clock::after(now, backoff.after(crashes)))
        });
        let is_innocent = |death: &DeadWorker| death.kill_reason.is_some() || has_not_begun(death);
        if dead.is_some_and(|death| !is_innocent(&death)) && matches!(verdict, Verdict::Resend(_)) {
            self.worker_stats.retried += 1;
        }
        verdict
    }

    /// Whether the line of a worker that is not buried yet says so.
    fn runs_elsewhere(&self, id: TaskId) -> bool {
        let board = &self.launcher.shared.board;
        let occupied = self.slots.iter().filter(|slot| slot.worker().is_some());
        occupied
            .filter_map(|slot| board.entry(slot.number)?.running())
            .any(|running| running.task == id.0)
    }

    /// DEATH-2.
    fn report_tasks_without_letter(&self, death: &DeadWorker) {
        let Some(running) = death.running else {
            return;
        };
        let id = TaskId(running.task);
        self.launcher.shared.results.change(|state| {
            if let Some(flight) = state.flight(id) {
                flight.crashes += 1;
                let flight = *flight;
                close(state, &flight, death);
            }
        });
    }

    /// Send what is due.
    pub(crate) fn send_due_retries(&mut self, now: Instant) {
        if self.retries.iter().all(|retry| retry.due > now) {
            return;
        }
        for retry in core::mem::take(&mut self.retries) {
            if retry.due > now {
                self.retries.push(retry);
                continue;
            }
            match self.launcher.shared.tasks.try_send(retry.envelope) {
                // Closed: the pool is at its end, which sees to what is left.
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(error @ (TrySendError::Full(_) | TrySendError::NoMemory { .. })) => {
                    self.retries.push(Retry {
                        due: clock::after(now, RETRY_DELAY),
                        envelope: error.into_inner(),
                    });
                }
                Err(error) => self.record_unsendable(error),
            }
        }
    }

    /// Takes all tasks that wait to be tried again, whether they are due or not.
    pub(crate) fn take_retries(&mut self) -> Vec<Ticket> {
        let retries = core::mem::take(&mut self.retries);
        retries
            .into_iter()
            .map(|retry| retry.envelope.ticket)
            .collect()
    }

    fn record_unsendable(&self, error: TrySendError<Envelope<T>>) {
        let what = with_causes(&error);
        let id = error.into_inner().ticket.id;
        self.launcher.shared.results.change(|state| {
            let crashes = state.flight(id).map_or(0, |flight| flight.crashes);
            state.record_outcome(id, crashes, Err(TaskError::Transport { what }));
        });
    }
}

fn runs(death: &DeadWorker, id: TaskId) -> bool {
    death.running.is_some_and(|running| running.task == id.0)
}

/// Whether the task that stands on its line was only being decoded, and it was not killed for that either (DEATH-3).
fn has_not_begun(death: &DeadWorker) -> bool {
    death.was_decoding && death.kill_reason.is_none()
}

/// The end of a task whose worker has died of it, or with it.
fn close(state: &mut ResultsState, flight: &InFlight, death: &DeadWorker) {
    let id = flight.ticket.id;
    let error = if let Some(kill) = death.kill_reason.filter(|kill| kill.is_for(id)) {
        kill.cause.into()
    } else if flight.timed_out {
        TaskError::TimedOut
    } else if flight.cancelled || death.was_ended_by_shutdown && death.kill_reason.is_none() {
        TaskError::Cancelled
    } else {
        TaskError::Crashed {
            status: death.status,
        }
    };
    state.record_outcome(id, flight.crashes, Err(error));
}
