//! Strays: descendants of workers that were killed with them and that become children of this process when their own
//! parents end, because it is the first process of its namespace or a subreaper. This process reaps them, and no other
//! children of the program: it knows them by their pidfds.

use crate::os::child::ChildProcess;
use crate::os::{pidfd, subreaper};
use core::time::Duration;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// How often to try to reap.
const INTERVAL: Duration = Duration::from_millis(10);
/// How long to try. The process was killed, so it has ended by then, unless the kernel can't end it.
const TIME_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Strays {
    /// Each with the time when it is given up.
    all: Vec<(OwnedFd, Instant)>,
    /// When to try again.
    pub(super) due: Option<Instant>,
}

impl Strays {
    pub(super) fn extend(&mut self, processes: Vec<OwnedFd>) {
        let now = Instant::now();
        let given_up = now + TIME_LIMIT;
        self.all
            .extend(processes.into_iter().map(|process| (process, given_up)));
        self.due = (!self.all.is_empty()).then_some(now);
    }

    /// Kills what a worker leaves in its process group, right before the worker is reaped.
    pub(super) fn extend_from_group(&mut self, worker: &mut ChildProcess) {
        let recorded = worker.kill_recorded_descendants();
        if subreaper::is_reaper() {
            self.extend(recorded);
            self.extend(worker.kill_group_members());
        }
    }

    /// Reaps those that have ended, if it is time.
    pub(super) fn reap(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.all
            .retain(|(process, given_up)| !pidfd::reap_if_ended(process) && *given_up > now);
        self.due = (!self.all.is_empty()).then_some(now + INTERVAL);
    }

    /// Waits a short time until all are reaped: at the end of the pool.
    pub(super) fn reap_all(&mut self) {
        let deadline = Instant::now() + 100 * INTERVAL;
        while self.due.is_some() && Instant::now() < deadline {
            self.reap(Instant::now() + INTERVAL);
            std::thread::yield_now();
        }
    }
}
