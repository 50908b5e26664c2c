//! The shutdown of a pool.
//!
//! | phase    | what happens                                            | ends                               |
//! |----------|---------------------------------------------------------|------------------------------------|
//! | open     | tasks are accepted                                      | the first call of `shutdown`       |
//! | draining | none is accepted; those in flight go on                 | no task is in flight; the deadline |
//! | stopping | the queue of tasks is closed or cancelled; workers stop | all workers have ended             |
//! | over     | every task has its outcome; the report is made          | never                              |
//!
//! SHUTDOWN-1. The first caller goes through the phases; the others wait for it, and get the same report.
//! SHUTDOWN-2. A later caller can only move the deadline of draining forward: the earliest of all counts.
//! SHUTDOWN-3. While workers are being stopped, the first caller receives results, so that no worker waits for room
//!     for its result.

use super::commands::Command;
use super::report::{Report, WorkerStats};
use super::results::WaitError;
use super::shared::Shared;
use crate::announce::exempt_from_shutdown;
use core::time::Duration;
use parking_lot::Mutex;
use std::thread::JoinHandle;
use std::time::Instant;

/// What becomes of the tasks that are in flight when a pool is [shut down](crate::pool::TypedPool::shutdown).
///
/// # Examples
///
/// ```
#[doc = include_str!("../example.in")]
/// let pool = TypedPool::<Nap>::builder().workers(1).start()?;
/// let naps = [pool.submit(Nap(HOUR))?, pool.submit(Nap(HOUR))?];
/// let report = pool.shutdown(Shutdown::Cancel, Duration::ZERO)?;
/// assert_eq!((report.submitted, report.completed), (2, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// They are run, as far as the time allows.
    Drain,
    /// They are cancelled: those that are queued are not run, and those that run are asked to end.
    Cancel,
}

/// How far the shutdown of a pool has got.
pub(super) struct ShutdownState {
    drain_deadline: Mutex<DrainDeadline>,
    supervisor: Mutex<SupervisorThread>,
}

#[derive(Clone, Copy)]
enum DrainDeadline {
    /// `shutdown` was not called yet.
    NotSet,
    /// `None` if there is no limit.
    Set(Option<Instant>),
}

enum SupervisorThread {
    Running(JoinHandle<WorkerStats>),
    Over(Report),
}

/// Why a wait for the tasks in flight ended.
enum DrainWait {
    Drained,
    DeadlineMoved,
}

impl ShutdownState {
    pub(super) fn new(supervisor: JoinHandle<WorkerStats>) -> Self {
        Self {
            drain_deadline: Mutex::new(DrainDeadline::NotSet),
            supervisor: Mutex::new(SupervisorThread::Running(supervisor)),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(*self.supervisor.lock(), SupervisorThread::Over(_))
    }

    /// Waits for a supervisor that ends by itself because the start has failed.
    pub(super) fn join(self) {
        if let SupervisorThread::Running(thread) = self.supervisor.into_inner() {
            // A panic of the thread was printed. Its children have died with it.
            let _ = thread.join();
        }
    }

    /// Goes through all phases, or waits for the thread that does.
    pub(super) fn shut_down(&self, shared: &Shared, how: Shutdown, timeout: Duration) -> Report {
        let began = Instant::now();
        // The end of the pool can't wait for the announcer's thread if that is the caller: the pool's listener may call
        // `shutdown`.
        exempt_from_shutdown();
        self.advance_deadline(match how {
            Shutdown::Drain => began.checked_add(timeout),
            Shutdown::Cancel => Some(began),
        });
        shared.results.close();
        let mut supervisor = self.supervisor.lock();
        if let SupervisorThread::Over(report) = *supervisor {
            return report;
        }
        let is_drained = self.drain(shared);
        shared.commands.send(Command::Stop {
            cancel: !is_drained,
        });
        // Receives results (SHUTDOWN-3) until the supervisor ends all waits.
        let _ = shared.results.wait_until(None, |_| None::<()>);
        let ended = SupervisorThread::Over(Report::default());
        let worker_stats = match core::mem::replace(&mut *supervisor, ended) {
            SupervisorThread::Running(thread) => thread.join().unwrap_or_default(),
            SupervisorThread::Over(_) => WorkerStats::default(),
        };
        let task_stats = shared.results.with(|tasks| tasks.stats());
        let report = Report::new(task_stats, worker_stats, began.elapsed());
        debug_assert!(report.is_balanced(), "{report}");
        *supervisor = SupervisorThread::Over(report);
        report
    }

    /// Moves the deadline of draining forward, if `deadline` is earlier (SHUTDOWN-2).
    fn advance_deadline(&self, deadline: Option<Instant>) {
        let mut current = self.drain_deadline.lock();
        *current = match (*current, deadline) {
            (DrainDeadline::Set(Some(earlier)), Some(deadline)) => {
                DrainDeadline::Set(Some(earlier.min(deadline)))
            }
            (DrainDeadline::Set(Some(earlier)), None) => DrainDeadline::Set(Some(earlier)),
            (DrainDeadline::NotSet | DrainDeadline::Set(None), deadline) => {
                DrainDeadline::Set(deadline)
            }
        };
    }

    fn deadline(&self) -> Option<Instant> {
        match *self.drain_deadline.lock() {
            DrainDeadline::NotSet => None,
            DrainDeadline::Set(deadline) => deadline,
        }
    }

    /// Waits until no task is in flight, or the deadline passes. Returns whether no task is.
    fn drain(&self, shared: &Shared) -> bool {
        loop {
            let deadline = self.deadline();
            if let Some(deadline) = deadline {
                shared.commands.send(Command::WithdrawAfter(deadline));
            }
            let found = shared.results.wait_until(deadline, |tasks| {
                if tasks.in_flight() == 0 {
                    return Some(DrainWait::Drained);
                }
                (self.deadline() != deadline).then_some(DrainWait::DeadlineMoved)
            });
            match found {
                Ok(DrainWait::Drained) => return true,
                Ok(DrainWait::DeadlineMoved) => {}
                Err(WaitError::TimedOut | WaitError::Ended | WaitError::Unknown(_)) => {
                    return false;
                }
            }
        }
    }
}
