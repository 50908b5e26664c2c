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
use super::results::Vain;
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
pub(super) struct Ending {
    orders: Arc<Commands>,
    /// When draining is to end; none before the first `shutdown`, and none for ever.
    draining: Mutex<Draining>,
    supervisor: Mutex<Supervision>,
}

#[derive(Clone, Copy)]
enum Draining {
    NotYet,
    Deadline(Option<Instant>),
}

enum Supervision {
    Running(JoinHandle<WorkerStats>),
    Over(Report),
}

/// What a caller that waits for the drain has found.
enum Found {
    Done,
    Sooner,
}

impl Ending {
    pub(super) fn new(orders: Arc<Commands>, supervisor: JoinHandle<WorkerStats>) -> Self {
        Self {
            orders,
            draining: Mutex::new(Draining::NotYet),
            supervisor: Mutex::new(Supervision::Running(supervisor)),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(*self.supervisor.lock(), Supervision::Over(_))
    }

    /// Wait for a supervisor that ends by itself, after a start that has failed.
    pub(super) fn join(self) {
        if let Supervision::Running(thread) = self.supervisor.into_inner() {
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
        self.hurry(match how {
            Shutdown::Drain => began.checked_add(timeout),
            Shutdown::Cancel => Some(began),
        });
        shared.inbox.refuse();
        let mut supervisor = self.supervisor.lock();
        if let Supervision::Over(report) = *supervisor {
            return report;
        }
        let is_drained = self.drain(shared);
        self.orders.give(Command::Stop {
            cancel: !is_drained,
        });
        // Ends with the inbox, receiving meanwhile (SHUTDOWN-3).
        let _ = shared.inbox.wait_until(None, |_| None::<()>);
        let toll = match core::mem::replace(&mut *supervisor, Supervision::Over(Report::default()))
        {
            Supervision::Running(thread) => thread.join().unwrap_or_default(),
            Supervision::Over(_) => WorkerStats::default(),
        };
        let tally = shared.inbox.with(|state| state.tally());
        let mut report = tally.report();
        report.retried = toll.retried;
        report.started = toll.started;
        report.died = toll.died;
        report.killed = toll.killed;
        report.recycled = toll.recycled;
        report.left_behind = toll.left_behind;
        report.took = began.elapsed();
        debug_assert!(report.is_balanced(), "{report}");
        *supervisor = Supervision::Over(report);
        report
    }

    /// SHUTDOWN-2.
    fn hurry(&self, until: Option<Instant>) {
        let mut draining = self.draining.lock();
        *draining = match (*draining, until) {
            (Draining::Deadline(Some(earlier)), Some(until)) => {
                Draining::Deadline(Some(earlier.min(until)))
            }
            (Draining::Deadline(Some(earlier)), None) => Draining::Deadline(Some(earlier)),
            (Draining::NotYet | Draining::Deadline(None), until) => Draining::Deadline(until),
        };
    }

    fn until(&self) -> Option<Instant> {
        match *self.draining.lock() {
            Draining::NotYet => None,
            Draining::Deadline(until) => until,
        }
    }

    /// Wait until nothing is in flight, or the time is up. Whether nothing is.
    fn drain<T: Task>(&self, shared: &Shared<T>) -> bool {
        loop {
            let until = self.until();
            let found = shared.inbox.wait_until(until, |state| {
                if state.in_flight() == 0 {
                    return Some(Found::Done);
                }
                (self.until() != until).then_some(Found::Sooner)
            });
            match found {
                Ok(Found::Done) => return true,
                Ok(Found::Sooner) => {}
                Err(Vain::Deadline | Vain::Ended | Vain::Unknown(_)) => return false,
            }
        }
    }
}
