//! The end of a pool.
//!
//! | phase     | what happens                                                                   | ends                            |
//! |-----------|--------------------------------------------------------------------------------|---------------------------------|
//! | open      | tasks are accepted                                                             | with the first `shutdown`       |
//! | draining  | none is accepted; those in flight go on                                        | none is left; the time is up    |
//! | stopping  | the tasks are closed, or cancelled; the supervisor stops the workers, in steps | all workers have ended          |
//! | over      | what had arrived is filed, what is left is cancelled; the report is made       | never                           |
//!
//! SHUTDOWN-1. The first caller goes through the phases; the others wait for it, and get the same report.
//! SHUTDOWN-2. Whoever comes later can only make it sooner: the earliest of all times counts.
//! SHUTDOWN-3. While workers are being stopped, the first caller receives results: no worker is kept from its end by results that
//!     nobody reads.

use super::commands::{Command, Commands};
use super::report::Report;
use super::report::WorkerStats;
use super::results::WaitError;
use super::shared::Shared;
use crate::pool::task::Task;
use core::time::Duration;
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// What becomes of the tasks that are in flight when a pool is [shut down](crate::pool::Pool::shutdown).
///
/// # Examples
///
/// ```
#[doc = include_str!("../example.in")]
/// let pool = Pool::<Nap>::builder().workers(1).start()?;
/// let naps = [pool.submit(Nap(HOUR))?, pool.submit(Nap(HOUR))?];
/// let report = pool.shutdown(Shutdown::Cancel, Duration::ZERO)?;
/// assert_eq!((report.submitted, report.completed), (2, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// They are done first, as far as the time allows.
    Drain,
    /// They are cancelled: those that have not been started are not, those that run are told.
    Cancel,
}

/// What a pool needs to end itself.
pub(super) struct ShutdownState {
    commands: Arc<Commands>,
    /// When draining is to end; none before the first `shutdown`, and none for ever.
    drain_deadline: Mutex<DrainDeadline>,
    supervisor: Mutex<SupervisorThread>,
}

#[derive(Clone, Copy)]
enum DrainDeadline {
    NotSet,
    Set(Option<Instant>),
}

enum SupervisorThread {
    Running(JoinHandle<WorkerStats>),
    Over(Report),
}

/// What a caller that waits for the drain has found.
enum DrainWait {
    Drained,
    DeadlineMoved,
}

impl ShutdownState {
    pub(super) fn new(commands: Arc<Commands>, supervisor: JoinHandle<WorkerStats>) -> Self {
        Self {
            commands,
            drain_deadline: Mutex::new(DrainDeadline::NotSet),
            supervisor: Mutex::new(SupervisorThread::Running(supervisor)),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(*self.supervisor.lock(), SupervisorThread::Over(_))
    }

    /// Wait for a supervisor that ends by itself, after a start that has failed.
    pub(super) fn join(self) {
        if let SupervisorThread::Running(thread) = self.supervisor.into_inner() {
            // A panic was printed, and there is nothing to clear up: its children have died with it.
            let _ = thread.join();
        }
    }

    pub(super) fn shut_down<T: Task>(
        &self,
        shared: &Shared<T>,
        how: Shutdown,
        timeout: Duration,
    ) -> Report {
        let began = Instant::now();
        // By the listener, for instance: then it can't be waited for.
        crate::announce::exempt_from_shutdown();
        self.move_deadline(match how {
            Shutdown::Drain => began.checked_add(timeout),
            Shutdown::Cancel => Some(began),
        });
        shared.results.refuse();
        let mut supervisor = self.supervisor.lock();
        if let SupervisorThread::Over(report) = *supervisor {
            return report;
        }
        let is_drained = self.drain(shared);
        self.commands.send(Command::Stop {
            cancel: !is_drained,
        });
        // Ends with the results, receiving meanwhile (SHUTDOWN-3).
        let _ = shared.results.wait_until(None, |_| None::<()>);
        let worker_stats =
            match core::mem::replace(&mut *supervisor, SupervisorThread::Over(Report::default())) {
                SupervisorThread::Running(thread) => thread.join().unwrap_or_default(),
                SupervisorThread::Over(_) => WorkerStats::default(),
            };
        let task_stats = shared.results.with(|state| state.task_stats());
        let mut report = task_stats.report();
        report.retried = worker_stats.retried;
        report.started = worker_stats.started;
        report.died = worker_stats.died;
        report.killed = worker_stats.killed;
        report.recycled = worker_stats.recycled;
        report.left_behind = worker_stats.left_behind;
        report.took = began.elapsed();
        debug_assert!(report.is_balanced(), "{report}");
        *supervisor = SupervisorThread::Over(report);
        report
    }

    /// SHUTDOWN-2.
    fn move_deadline(&self, until: Option<Instant>) {
        let mut drain_deadline = self.drain_deadline.lock();
        *drain_deadline = match (*drain_deadline, until) {
            (DrainDeadline::Set(Some(earlier)), Some(until)) => {
                DrainDeadline::Set(Some(earlier.min(until)))
            }
            (DrainDeadline::Set(Some(earlier)), None) => DrainDeadline::Set(Some(earlier)),
            (DrainDeadline::NotSet | DrainDeadline::Set(None), until) => DrainDeadline::Set(until),
        };
    }

    fn until(&self) -> Option<Instant> {
        match *self.drain_deadline.lock() {
            DrainDeadline::NotSet => None,
            DrainDeadline::Set(until) => until,
        }
    }

    /// Wait until nothing is in flight, or the time is up. Whether nothing is.
    fn drain<T: Task>(&self, shared: &Shared<T>) -> bool {
        loop {
            let until = self.until();
            let found = shared.results.wait_until(until, |state| {
                if state.in_flight() == 0 {
                    return Some(DrainWait::Drained);
                }
                (self.until() != until).then_some(DrainWait::DeadlineMoved)
            });
            match found {
                Ok(DrainWait::Drained) => return true,
                Ok(DrainWait::DeadlineMoved) => {}
                Err(WaitError::Deadline | WaitError::Ended | WaitError::Unknown(_)) => {
                    return false;
                }
            }
        }
    }
}
