//! What workers say.

use super::log;
use super::slot::{Slot, Stage};
use super::supervisor::{Supervisor, sooner};
use super::watchlist::key_of_process;
use crate::error::StartError;
use crate::os::clock;
use crate::os::link::RecvOutcome;
use crate::pool::outcome::TaskId;
use crate::pool::parent::events::Event;
use crate::pool::parent::settings::Settings;
use crate::pool::task::Task;
use crate::pool::wire::messages::{FromParent, FromWorker, Identity, LONGEST, Terms};
use std::time::Instant;

impl<T: Task> Supervisor<T> {
    /// Hears one message of a worker. Returns its length; `None`: there is none now.
    pub(crate) fn hear(&mut self, index: usize) -> Option<usize> {
        let mut buffer = [0; LONGEST];
        let overdue = clock::after(Instant::now(), self.settings().grace);
        let worker = self.slots.get_mut(index).and_then(Slot::worker_mut)?;
        if !worker.is_listening {
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
                    worker.is_process(pid, sender);
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
                worker.is_listening = false;
                if !worker.is_doomed {
                    worker.overdue = Some(overdue);
                }
                self.watchlist.remove(&worker.link);
                return None;
            }
        };
        let pid = worker.pid();
        match message {
            Some(message) => self.understand(index, message),
            None => log::nonsense(pid),
        }
        Some(length)
    }

    fn understand(&mut self, index: usize, message: FromWorker) {
        let terms = match message {
            FromWorker::Hello(_) => self.settings().terms(),
            _ => Terms::default(),
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
                        if worker.has_renounced {
                            worker.overdue = overdue;
                        }
                        worker.say(FromParent::Welcome(terms));
                    }
                    Some((what, theirs, ours)) => {
                        worker.kill();
                        let error = StartError::Mismatch { what, theirs, ours };
                        worker.unfit = Some(error.to_string());
                        self.refuse(number, error);
                    }
                }
            }
            FromWorker::Renounced if worker.stage == Stage::Starting => {
                // It may become one yet: another thread of it has been too early.
                worker.has_renounced = true;
                worker.overdue = sooner(worker.overdue, soon);
            }
            FromWorker::Ready if worker.stage == Stage::Preparing => {
                worker.stage = Stage::Ready;
                worker.overdue = None;
                worker.ready_since = Some(Instant::now());
                slot.has_died_early = false;
                self.tell(Event::Ready {
                    worker: number,
                    pid,
                });
                self.begin_term(index);
                self.look_whether_started();
            }
            FromWorker::Unfit { what } if worker.stage == Stage::Preparing => {
                worker.unfit = Some(what);
            }
            FromWorker::Began { task } if worker.stage == Stage::Ready => {
                let task = TaskId(task);
                self.tell(Event::TaskStarted {
                    worker: number,
                    pid,
                    task,
                });
            }
            FromWorker::Ended { task } if worker.stage == Stage::Ready => {
                let task = TaskId(task);
                self.tell(Event::TaskEnded {
                    worker: number,
                    pid,
                    task,
                });
            }
            FromWorker::Stopping if worker.stage == Stage::Ready => {
                worker.stage = Stage::Stopping;
                worker.say(FromParent::Farewell);
                self.let_go(index);
            }
            FromWorker::Said {
                level,
                target,
                message,
            } if mutant!(LogsDropped) => drop((level, target, message)),
            FromWorker::Said {
                level,
                target,
                message,
            } => log::pass_on(number, pid, level, target, message),
            _ => log::nonsense(pid),
        }
    }
}

impl Settings {
    /// What a worker is told that is started now.
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            tells_tasks: self.listener.is_some(),
            verbosity: log::verbosity(),
            tasks: self.staff.tasks(),
            resident: self.staff.resident,
            addresses: self.limits.addresses,
            adopts_orphans: self.adopts_orphans,
        }
    }
}
