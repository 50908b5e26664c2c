//! The state of the supervisor: the one thread of a pool. It starts the workers, receives their messages, reaps those
//! that have ended, and starts others.
//!
//! | phase    | meaning                                                       | leaves it                             |
//! |----------|---------------------------------------------------------------|---------------------------------------|
//! | starting | `start` waits until every worker is ready                     | all are: running; one fails: stopping |
//! | running  | a worker that dies is replaced                                | the command `Stop`                    |
//! | stopping | workers are asked to stop, then get `SIGTERM`, then `SIGKILL` | none is left: the thread ends         |
//!
//! If the start fails, the workers get `SIGKILL` at once.
//!
//! SUPERVISE-1. The thread sleeps in one wait, for commands, messages and deaths, until the next thing is due. If a
//!     wait fails, it pauses, and then looks at everything.
//! SUPERVISE-2. The thread never waits for a worker. If a message to a worker can't be sent at once, it is dropped.
//! SUPERVISE-3. The thread ends only when every process is reaped, or could not be killed; and then every task has
//!     its outcome.
//! SUPERVISE-4. In each turn, commands come first, then deaths, then messages, then whatever is due. Messages are
//!     limited in number for each worker, and in time for all of them, and workers take turns. So a process that
//!     floods its link, such as a forked child of a worker, delays other things by no more than that time.
//! SUPERVISE-5. The thread calls no code of the program. Calls of the listener and of a `tracing` subscriber are left
//!     to another thread (see [`crate::announce`]).

use super::death_report::DeathReport;
use super::held_tasks::HeldTasks;
use super::launch::Launcher;
use super::log;
use super::rollout_list::Rollouts;
use super::slot::{DeadWorker, WorkerProcess, WorkerSlot};
use super::strays::Strays;
use super::watchlist::COMMANDS_KEY;
use crate::announce::{Importance, announce};
use crate::error::StartError;
use crate::os::clock;
use crate::os::poll::Epoll;
use crate::pool::outcome::TaskId;
use crate::pool::parent::events::Event;
use crate::pool::parent::report::WorkerStats;
use crate::pool::parent::results::Results;
use crate::pool::parent::settings::{PoolSize, Settings};
use crate::pool::parent::staff::StaffMember;
use crate::pool::wire::panics::catch_panic_message;
use crate::segment::board::WorkerEntry;
use crate::sync::AtomicUsize;
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Running,
    Stopping {
        cancel: bool,
        step: StopStep,
        /// When the next step is due.
        until: Instant,
    },
}

/// What was done to make the workers end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopStep {
    Asked,
    Terminated,
    Killed,
}

/// The state of the supervisor thread. The other files of this folder have its methods, by subject.
pub(crate) struct Supervisor {
    pub(super) launcher: Launcher,
    /// All descriptors that the thread waits for. Those of a worker are added and removed with it.
    pub(super) watchlist: Epoll,
    pub(super) has_reported_failed_wait: bool,
    pub(super) has_reported_other_build: bool,
    /// Where the result of the start is sent; `None` once it was sent.
    pub(super) start_result: Option<mpsc::Sender<Result<(), StartError>>>,
    pub(super) start_deadline: Instant,
    pub(super) slots: Vec<WorkerSlot>,
    /// The number of workers that there are to be. There may be more slots.
    pub(super) size: PoolSize,
    pub(super) rollouts: Rollouts,
    /// The slot whose messages are received first in the next turn.
    pub(super) next_slot: usize,
    /// The same for what workers write.
    pub(super) next_output: usize,
    /// The bytes of captured lines that wait for the subscriber.
    pub(super) pending_output: Arc<AtomicUsize>,
    pub(super) phase: Phase,
    pub(super) outage: Outage,
    /// Dead workers whose tasks are not settled.
    pub(super) dead_workers: Vec<DeadWorker>,
    /// When to try again to settle them.
    pub(super) settle_again_at: Option<Instant>,
    /// Deaths whose events are not emitted yet.
    pub(super) death_reports: Vec<DeathReport>,
    pub(super) held: HeldTasks,
    pub(super) pending_kills: Vec<PendingKill>,
    /// When to inspect the tasks that run, and the number of workers.
    pub(super) inspect_at: Option<Instant>,
    pub(super) worker_stats: WorkerStats,
    pub(super) strays: Strays,
    /// Memory for the next copy of the figures.
    pub(super) published: Vec<StaffMember>,
}

/// A cancelled task whose worker is killed if it runs the task at `due`.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingKill {
    pub(super) task: TaskId,
    pub(super) due: Instant,
    /// The pause before the next attempt.
    pub(super) pause: Duration,
}

/// Whether there is an outage: see [`super::outage`].
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// Why the last attempt to get a worker failed.
    pub(super) cause: Option<String>,
    pub(super) is_declared: bool,
    /// During an outage: when to look at the queue of tasks; `None` if no task is in flight.
    pub(super) look_at: Option<Instant>,
}

/// Returns the earlier of two times that may be missing.
pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

impl Supervisor {
    pub(crate) fn new(
        launcher: Launcher,
        start_result: mpsc::Sender<Result<(), StartError>>,
    ) -> io::Result<Self> {
        let watchlist = Epoll::new()?;
        watchlist.add(&launcher.shared.commands.notifier, COMMANDS_KEY)?;
        let settings = &launcher.shared.settings;
        let slots = (0..settings.workers.room).map(WorkerSlot::new).collect();
        let size = settings.workers.size;
        Ok(Self {
            watchlist,
            has_reported_failed_wait: false,
            has_reported_other_build: false,
            start_result: Some(start_result),
            start_deadline: clock::after(Instant::now(), settings.start_timeout),
            slots,
            size,
            rollouts: Rollouts::default(),
            next_slot: 0,
            next_output: 0,
            pending_output: Arc::default(),
            phase: Phase::Starting,
            outage: Outage::default(),
            dead_workers: Vec::new(),
            death_reports: Vec::new(),
            settle_again_at: None,
            held: HeldTasks::default(),
            pending_kills: Vec::new(),
            inspect_at: Some(Instant::now()),
            worker_stats: WorkerStats::default(),
            strays: Strays::default(),
            published: Vec::new(),
            launcher,
        })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.launcher.shared.settings
    }

    pub(super) fn results(&self) -> &Results {
        &self.launcher.shared.results
    }

    /// Returns the entry of a worker on the board, by the number of its slot.
    pub(super) fn board_entry(&self, number: u32) -> Option<&WorkerEntry> {
        self.launcher.shared.board.entry(number)
    }

    pub(super) fn worker(&self, index: usize) -> Option<&WorkerProcess> {
        self.slots.get(index).and_then(WorkerSlot::worker)
    }

    pub(super) fn worker_mut(&mut self, index: usize) -> Option<&mut WorkerProcess> {
        self.slots.get_mut(index).and_then(WorkerSlot::worker_mut)
    }

    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. })
    }

    /// Lets the listener know of an event, if there is a listener (SUPERVISE-5).
    pub(super) fn notify_listener(&self, event: Event) {
        let Some(listener) = self.settings().listener.clone() else {
            return;
        };
        let importance = match event {
            Event::TaskStarted { .. } | Event::TaskEnded { .. } => Importance::Detail,
            _ => Importance::Lifecycle,
        };
        let notice = move || {
            if catch_panic_message(|| listener(&event)).is_err() {
                log::listener_panicked(event);
            }
        };
        announce(importance, Box::new(notice));
    }

    /// Makes the thread inspect tasks and the number of workers in this turn.
    pub(super) fn inspect_soon(&mut self) {
        self.inspect_at = Some(Instant::now());
    }
}
