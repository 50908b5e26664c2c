//! Messages of workers.

use super::log;
use super::slot::Stage;
use super::supervisor::{Supervisor, earlier};
use super::watchlist::key_of_process;
use crate::error::{StartError, with_causes};
use crate::os::link::RecvOutcome;
use crate::os::{clock, program};
use crate::pool::outcome::TaskId;
use crate::pool::parent::events::Event;
use crate::pool::parent::results::TaskSpan;
use crate::pool::parent::settings::Settings;
use crate::pool::wire::messages::{
    FromParent, FromWorker, Identity, LogRecord, MAX_LEN, WorkerConfig,
};
use core::time::Duration;
use std::time::Instant;

/// How long a process may go on that has started a pool before it has become a worker. It may still become one: another thread
/// of it has called `start` too early.
const TIME_TO_BECOME_WORKER: Duration = Duration::from_millis(500);

impl Supervisor {
    /// Receives and handles one message of a worker. Returns its length, or `None` if no message has arrived. Never
    /// waits.
    pub(super) fn receive_message(&mut self, index: usize) -> Option<usize> {
        let mut buffer = [0; MAX_LEN];
        let deadline = clock::after(Instant::now(), self.settings().grace);
        let slot = self.slots.get_mut(index)?;
        let worker = slot.worker_mut()?;
        if !worker.is_link_open {
            return None;
        }
        let received = if worker.stage > Stage::Starting {
            worker.link.try_recv(&mut buffer).map(|it| (it, None))
        } else {
            worker.link.try_recv_from(&mut buffer)
        };
        let (message, length) = match received {
            Ok((RecvOutcome::WouldBlock, _)) => return None,
            Ok((RecvOutcome::Datagram(bytes), sender)) => {
                let message = FromWorker::decode(bytes);
                if let Some(FromWorker::Process { pid }) = message {
                    worker.set_process_id(pid, sender);
                    if let Some(wrapped) = worker.process.worker_pidfd() {
                        // If this fails, the death of the worker is noticed when its wrapper ends.
                        let _ = self.watchlist.add(wrapped, key_of_process(index));
                    }
                    return Some(bytes.len());
                }
                (message, bytes.len())
            }
            Ok((RecvOutcome::TooLong(length), _)) => (None, length),
            Ok((RecvOutcome::Closed, _)) | Err(_) => {
                // The worker has ended, or is about to.
                worker.is_link_open = false;
                if !worker.is_being_ended {
                    worker.deadline = Some(deadline);
                }
                self.watchlist.remove(&worker.link);
                return None;
            }
        };
        let pid = worker.pid();
        match message {
            Some(message) => self.handle_message(index, message),
            None => log::malformed_message(pid),
        }
        Some(length)
    }

    fn handle_message(&mut self, index: usize, message: FromWorker) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let number = slot.number;
        let Some(worker) = slot.worker_mut() else {
            return;
        };
        let (pid, stage) = (worker.pid(), worker.stage);
        match message {
            FromWorker::Hello(identity) if stage == Stage::Starting => {
                self.handle_hello(index, &identity);
            }
            FromWorker::StartsPool if stage == Stage::Starting => {
                worker.starts_pool = true;
                let grace = self.launcher.shared.settings.grace;
                let soon = Instant::now().checked_add(grace.min(TIME_TO_BECOME_WORKER));
                worker.deadline = earlier(worker.deadline, soon);
            }
            FromWorker::Ready if stage == Stage::Preparing => {
                slot.note_ready();
                self.handle_ready(index, number, pid);
            }
            FromWorker::CannotPrepare { what } if stage == Stage::Preparing => {
                worker.start_failure = Some(what);
            }
            FromWorker::TaskStarted { task } if stage == Stage::Ready => {
                self.notify_listener(Event::TaskStarted {
                    worker: number,
                    pid,
                    task: TaskId(task),
                });
            }
            FromWorker::TaskEnded { task } if stage == Stage::Ready => {
                self.notify_listener(Event::TaskEnded {
                    worker: number,
                    pid,
                    task: TaskId(task),
                });
            }
            FromWorker::EmissionWaits if stage == Stage::Ready => {
                self.results().record_all_arrived();
            }
            FromWorker::Stopping if stage == Stage::Ready => {
                worker.stage = Stage::Stopping;
                worker.send(FromParent::Farewell);
                self.note_stopping(index);
            }
            FromWorker::Log(_) if mutant!(LogsDropped) => {}
            FromWorker::Log(record) => self.forward_log(number, pid, record),
            _ => log::malformed_message(pid),
        }
    }

    /// Passes on an event of a worker, in the span of its task.
    fn forward_log(&self, worker: u32, pid: u32, record: LogRecord) {
        let found = record.task.and_then(|(id, number)| {
            self.results()
                .with(|tasks| tasks.spans.note_log(TaskId(id), number))
        });
        let (span, is_last) = found.map_or((None, false), |(span, is_last)| (Some(span), is_last));
        let last = span.clone().filter(|_| is_last);
        log::forward(worker, pid, record, span);
        last.into_iter().for_each(TaskSpan::release);
    }

    fn handle_ready(&mut self, index: usize, number: u32, pid: u32) {
        self.notify_listener(Event::Ready {
            worker: number,
            pid,
        });
        self.set_retirement(index);
        self.check_all_ready();
    }

    /// Welcomes a worker that has identified itself, or kills it if it does not match.
    fn handle_hello(&mut self, index: usize, identity: &Identity) {
        let config = worker_config(self.settings());
        let start_deadline = Instant::now().checked_add(self.settings().start_timeout);
        let mismatch = self.launcher.shared.identity.mismatch(identity);
        let Some(worker) = self.worker_mut(index) else {
            return;
        };
        match mismatch.filter(|_| !mutant!(MismatchAccepted)) {
            None => {
                worker.stage = Stage::Preparing;
                if worker.starts_pool {
                    worker.deadline = start_deadline;
                }
                worker.send(FromParent::Welcome(config));
                self.note_build(index, identity);
            }
            Some((what, theirs, ours)) => {
                worker.kill();
                let error = StartError::Mismatch { what, theirs, ours };
                worker.start_failure = Some(with_causes(&error));
                self.handle_mismatch(error);
            }
        }
    }
}

impl Supervisor {
    /// Logs, once, that workers run another build than this process: what their tasks contain may differ.
    fn note_build(&mut self, index: usize, theirs: &Identity) {
        if !self.launcher.runs_other_program() || self.has_reported_other_build {
            return;
        }
        let Some(worker) = self.worker(index) else {
            return;
        };
        let ours = &self.launcher.shared.identity.build;
        let is_same = ours.is_some() && *ours == theirs.build;
        if !is_same && !program::runs_same_file(worker.process.worker_id()) {
            log::other_build(worker.pid());
            self.has_reported_other_build = true;
        }
    }
}

/// Returns the configuration of a worker that starts now.
fn worker_config(settings: &Settings) -> WorkerConfig {
    WorkerConfig {
        reports_tasks: settings.listener.is_some(),
        verbosity: log::verbosity(),
        max_tasks: settings.workers.draw_max_tasks(),
        max_memory: settings.workers.max_memory,
        address_space: settings.limits.address_space,
        adopts_orphans: settings.adopts_orphans,
        emissions: settings.emission_limits(),
    }
}
