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
use super::slot::DeadPeer;
use super::supervisor::{Phase, Retry, Supervisor};
use crate::error::{TrySendError, with_causes};
use crate::os::clock;
use crate::pool::outcome::{TaskError, TaskId};
use crate::pool::parent::results::{InFlight, State as InboxState};
use crate::pool::task::Task;
use crate::pool::wire::task_message::Envelope;
use crate::pool::wire::ticket::Ticket;
use core::time::Duration;
use std::time::Instant;

/// When to look again for what could not be done now.
const A_LITTLE_LATER: Duration = Duration::from_millis(10);

/// So many workers may die with a task in hand that they have not begun. If there are more, it is what they die of: of
/// decoding it, most likely.
const UNBEGUN: u32 = 3;

/// What is to be done with a task of a letter.
enum Verdict {
    /// It has its outcome, or nobody knows it.
    Discard,
    SendAgain(Instant),
}

impl<T: Task> Supervisor<T> {
    /// Steps 2 to 4, for all who have died and are not settled yet.
    pub(crate) fn settle(&mut self) {
        self.look_again = None;
        if self.deceased.is_empty() {
            return;
        }
        let is_repaired: Vec<bool> = self
            .deceased
            .iter()
            .map(|death| self.is_repaired(death.pid))
            .collect();
        if !mutant!(SettleWithoutCollecting) {
            self.launcher.shared.inbox.collect();
        }
        self.read_letters();
        for (death, is_repaired) in core::mem::take(&mut self.deceased)
            .into_iter()
            .zip(is_repaired)
        {
            if is_repaired {
                self.report_unlettered(&death);
            } else {
                self.deceased.push(death);
                self.look_again = Some(clock::after(Instant::now(), A_LITTLE_LATER));
            }
        }
    }

    /// Step 2; see DEATH-1.
    fn is_repaired(&self, pid: u32) -> bool {
        let (tasks, results) = (
            &self.launcher.shared.tasks,
            self.launcher.shared.inbox.results(),
        );
        tasks.report_exit(pid);
        results.report_exit(pid);
        let is_there =
            |peers: &[crate::queue::PeerStats]| peers.iter().any(|peer| peer.pid == Some(pid));
        !is_there(&tasks.stats().peers) && !is_there(&results.stats().peers)
    }

    /// Step 4.
    fn read_letters(&mut self) {
        for letter in self.launcher.to_do.dead_letters() {
            let envelopes = match Envelope::<T>::reopen(&letter.bytes()) {
                Ok(envelopes) => envelopes,
                Err(error) => {
                    log::illegible(&error.to_string());
                    letter.discard();
                    continue;
                }
            };
            if envelopes.iter().any(|task| self.is_anothers(task.ticket)) {
                continue;
            }
            for mut envelope in envelopes {
                if let Verdict::SendAgain(due) = self.judge(&mut envelope) {
                    self.retries.push(Retry { due, envelope });
                }
            }
            letter.discard();
        }
    }

    /// Whether a letter with this task belongs to a worker that is not buried yet.
    fn is_anothers(&self, ticket: Ticket) -> bool {
        let id = ticket.id;
        let inbox = &self.launcher.shared.inbox;
        let is_open = || inbox.with(|state| state.flight(id).is_some_and(|it| it.ticket == ticket));
        self.runs_elsewhere(id) && !self.deceased.iter().any(|death| runs(death, id)) && is_open()
    }

    fn judge(&mut self, envelope: &mut Envelope<T>) -> Verdict {
        let id = envelope.ticket.id;
        let is_stopping = matches!(self.course, Phase::Stopping { cancel: true, .. });
        // Once for each death: what it was running is known then, and later attempts are no business of it.
        let dead = self.deceased.iter_mut().find(|death| runs(death, id));
        let dead = dead.map(|death| {
            let judged = *death;
            death.running = None;
            judged
        });
        let last = self.deceased.last().copied();
        let (retries, backoff) = (self.settings().retries, self.settings().retry_backoff);
        let verdict = self.launcher.shared.inbox.change(|state| {
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
                flight.unbegun += 1;
                match dead.or(last).filter(|_| {
                    flight.unbegun > UNBEGUN && !mutant!(UnstartedRetriedForever)
                        || mutant!(ChunkCrashesWhole)
                }) {
                    Some(death) => death,
                    None => return Verdict::SendAgain(now),
                }
            };
            if death.struck.is_some_and(|strike| !strike.is_for(id)) && !mutant!(BystanderCrashed) {
                return Verdict::SendAgain(now);
            }
            flight.crashes += 1;
            let (flight, crashes) = (*flight, flight.crashes);
            let is_unwanted = flight.cancelled || flight.timed_out || death.struck.is_some();
            if is_unwanted || is_stopping || crashes + u32::from(mutant!(OneRetryLess)) > retries {
                close(state, &flight, &death);
                return Verdict::Discard;
            }
            if let Some(flight) = state.flight(id).filter(|_| !mutant!(TicketAttemptKept)) {
                flight.ticket.attempt = flight.ticket.attempt.saturating_add(1);
                envelope.ticket = flight.ticket;
            }
            if mutant!(BackoffIgnored) {
                return Verdict::SendAgain(now);
            }
            Verdict::SendAgain(clock::after(now, backoff.after(crashes)))
        });
        let is_innocent = |death: &DeadPeer| death.struck.is_some() || has_not_begun(death);
        if dead.is_some_and(|death| !is_innocent(&death))
            && matches!(verdict, Verdict::SendAgain(_))
        {
            self.toll.retried += 1;
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
    fn report_unlettered(&self, death: &DeadPeer) {
        let Some(running) = death.running else {
            return;
        };
        let id = TaskId(running.task);
        self.launcher.shared.inbox.change(|state| {
            if let Some(flight) = state.flight(id) {
                flight.crashes += 1;
                let flight = *flight;
                close(state, &flight, death);
            }
        });
    }

    /// Send what is due.
    pub(crate) fn retry(&mut self, now: Instant) {
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
                        due: clock::after(now, A_LITTLE_LATER),
                        envelope: error.into_inner(),
                    });
                }
                Err(error) => self.not_carried(error),
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

    fn not_carried(&self, error: TrySendError<Envelope<T>>) {
        let what = with_causes(&error);
        let id = error.into_inner().ticket.id;
        self.launcher.shared.inbox.change(|state| {
            let crashes = state.flight(id).map_or(0, |flight| flight.crashes);
            state.file(id, crashes, Err(TaskError::Transport { what }));
        });
    }
}

fn runs(death: &DeadPeer, id: TaskId) -> bool {
    death.running.is_some_and(|running| running.task == id.0)
}

/// Whether the task that stands on its line was only being decoded, and it was not killed for that either (DEATH-3).
fn has_not_begun(death: &DeadPeer) -> bool {
    death.was_decoding && death.struck.is_none()
}

/// The end of a task whose worker has died of it, or with it.
fn close(state: &mut InboxState, flight: &InFlight, death: &DeadPeer) {
    let id = flight.ticket.id;
    let error = if let Some(strike) = death.struck.filter(|strike| strike.is_for(id)) {
        strike.why.into()
    } else if flight.timed_out {
        TaskError::TimedOut
    } else if flight.cancelled || death.was_doomed && death.struck.is_none() {
        TaskError::Cancelled
    } else {
        TaskError::Crashed {
            status: death.status,
        }
    };
    state.file(id, flight.crashes, Err(error));
}
