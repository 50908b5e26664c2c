//! What workers say.

use super::log;
use super::slot::{Stage, WorkerSlot};
use super::supervisor::{Supervisor, earlier};
use super::watchlist::key_of_process;
use crate::error::StartError;
use crate::os::clock;
use crate::os::link::RecvOutcome;
use crate::pool::outcome::TaskId;
use crate::pool::parent::events::Event;
use crate::pool::parent::settings::Settings;
use crate::pool::task::Task;
use crate::pool::wire::messages::{FromParent, FromWorker, Identity, MAX_LEN, WorkerConfig};
use std::time::Instant;

impl<T: Task> Supervisor<T> {
    /// Hears one message of a worker. Returns its length; `None`: there is none now.
    pub(crate) fn receive_message(&mut self, index: usize) -> Option<usize> {
        let mut buffer = [0; MAX_LEN];
        let overdue = clock::after(Instant::now(), self.settings().grace);
        let worker = self.slots.get_mut(index).and_then(WorkerSlot::worker_mut)?;
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
                        // An error: it is noticed when its wrapper ends.
                        let _ = self.watchlist.add(wrapped, key_of_process(index));
                    }
                    return Some(bytes.len());
                }
                (message, bytes.len())
            }
            Ok((RecvOutcome::TooLong(length), _)) => (None, length),
            Ok((RecvOutcome::Closed, _)) | Err(_) => {
                // It has ended, or is about to.
                worker.is_link_open = false;
                if !worker.is_being_ended {
                    worker.overdue = Some(overdue);
                }
                self.watchlist.remove(&worker.link);
                return None;
            }
        };
        let pid = worker.pid();
        match message {
            Some(message) => self.handle_message(index, message),
            None => log::invalid_message(pid),
        }
        Some(length)
    }

    fn handle_message(&mut self, index: usize, message: FromWorker) {
        let config = match message {
            FromWorker::Hello(_) => self.settings().config(),
            _ => WorkerConfig::default(),
        };
        let now = Instant::now();
        let soon = now.checked_add(self.settings().grace);
        let overdue = now.checked_add(self.settings().start_timeout);
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let number = slot.number;
        let Some(worker) = slot.worker_mut() else {
            return;
        };
        let pid = worker.pid();
        match message {
            FromWorker::Hello(theirs) if worker.stage == Stage::Starting => {
                let mismatch = Identity::of::<T>().mismatch(&theirs);
                match mismatch.filter(|_| !mutant!(MismatchAccepted)) {
                    None => {
                        worker.stage = Stage::Preparing;
                        if worker.starts_pool {
                            worker.overdue = overdue;
                        }
                        worker.send(FromParent::Welcome(config));
                    }
                    Some((what, theirs, ours)) => {
                        worker.kill();
                        let error = StartError::Mismatch { what, theirs, ours };
                        worker.start_failure = Some(error.to_string());
                        self.refuse(number, error);
                    }
                }
            }
            FromWorker::StartsPool if worker.stage == Stage::Starting => {
                // It may become one yet: another thread of it has been too early.
                worker.starts_pool = true;
                worker.overdue = earlier(worker.overdue, soon);
            }
            FromWorker::Ready if worker.stage == Stage::Preparing => {
                worker.stage = Stage::Ready;
                worker.overdue = None;
                worker.ready_since = Some(Instant::now());
                slot.died_before_ready = false;
                self.notify_listener(Event::Ready {
                    worker: number,
                    pid,
                });
                self.handle_ready(index);
                self.check_all_ready();
            }
            FromWorker::CannotPrepare { what } if worker.stage == Stage::Preparing => {
                worker.start_failure = Some(what);
            }
            FromWorker::TaskStarted { task } if worker.stage == Stage::Ready => {
                let task = TaskId(task);
                self.notify_listener(Event::TaskStarted {
                    worker: number,
                    pid,
                    task,
                });
            }
            FromWorker::TaskEnded { task } if worker.stage == Stage::Ready => {
                let task = TaskId(task);
                self.notify_listener(Event::TaskEnded {
                    worker: number,
                    pid,
                    task,
                });
            }
            FromWorker::Stopping if worker.stage == Stage::Ready => {
                worker.stage = Stage::Stopping;
                worker.send(FromParent::Farewell);
                self.handle_stopping(index);
            }
            FromWorker::Log {
                level,
                target,
                message,
            } if mutant!(LogsDropped) => drop((level, target, message)),
            FromWorker::Log {
                level,
                target,
                message,
            } => log::forward(number, pid, level, target, message),
            _ => log::invalid_message(pid),
        }
    }
}

impl Settings {
    /// What a worker is told that is started now.
    pub(crate) fn config(&self) -> WorkerConfig {
        WorkerConfig {
            reports_tasks: self.listener.is_some(),
            verbosity: log::verbosity(),
            max_tasks: self.workers.draw_max_tasks(),
            max_memory: self.workers.max_memory,
            address_space: self.limits.address_space,
            adopts_orphans: self.adopts_orphans,
        }
    }
}
