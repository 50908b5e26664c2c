//! Processes that were killed with a worker, and that become children of this process as their parents end: where it is the
//! first process of its namespace, or has asked for orphans. It reaps them, and no others: they are held by their pidfds.

use crate::os::child::ChildProcess;
use crate::os::{pidfd, subreaper};
use core::time::Duration;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// How often to look whether one can be reaped.
const LOOK: Duration = Duration::from_millis(10);
/// After this time one is given up. It was killed, so it has ended, unless the kernel keeps it.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    all: Vec<(OwnedFd, Instant)>,
    /// When to look again.
    pub(crate) due: Option<Instant>,
}

impl Strays {
    pub(crate) fn extend(&mut self, processes: Vec<OwnedFd>) {
        let now = Instant::now();
        let given_up = now + PATIENCE;
        self.all
            .extend(processes.into_iter().map(|process| (process, given_up)));
        self.due = (!self.all.is_empty()).then_some(now);
    }

    /// What a worker that is about to be reaped has left in its group.
    pub(crate) fn extend_from_group(&mut self, worker: &mut ChildProcess) {
        let held = worker.kill_recorded_descendants();
        if subreaper::is_reaper() {
            self.extend(held);
            self.extend(worker.kill_group_members());
        }
    }

    /// Reaps those that can be reaped.
    pub(crate) fn reap(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.all
            .retain(|(process, given_up)| !pidfd::reap_if_ended(process) && *given_up > now);
        self.due = (!self.all.is_empty()).then_some(now + LOOK);
    }

    /// Waits until all are reaped, for a short time: at the end of the pool.
    pub(crate) fn reap_all(&mut self) {
        let deadline = Instant::now() + 100 * LOOK;
        while self.due.is_some() && Instant::now() < deadline {
            self.reap(Instant::now() + LOOK);
            std::thread::yield_now();
        }
    }
}
