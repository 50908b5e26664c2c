//! The one thread of a pool: it starts the workers, listens to them, buries them, and starts others.
//!
//! | stage    | means                                                          | leaves it                              |
//! |----------|----------------------------------------------------------------|----------------------------------------|
//! | starting | `start` waits until every worker is ready                      | all are: running; one can't be: failed |
//! | running  | whoever dies is replaced                                       | `Stop`                                 |
//! | stopping | nobody is replaced; asked, then `SIGTERM`, then `SIGKILL`      | nobody is left: over                   |
//! | failed   | as stopping, from `SIGKILL` on; `start` has had its error      | nobody is left: over                   |
//! | over     | the thread ends                                                |                                        |
//!
//! SUPERVISE-1. It sleeps in one wait: for commands, for what workers say, for their deaths, until the next thing is due. When
//!     nothing is due it is not woken. A wait that fails is followed by a pause, and by a look at everything.
//! SUPERVISE-2. It never waits for a worker: what it says to one it says without waiting.
//! SUPERVISE-4. In each turn commands come first, then deaths, then messages: at most [`TURN`] of a worker, and for at most
//!     [`LISTEN`] of all of them, each worker in its turn; then whatever is due. So a process that never stops to talk,
//!     such as a forked child that has the link of its worker, delays nothing else for longer than that.
//! SUPERVISE-3. It ends only when every process is reaped, or could not be killed; and then every task has its outcome.
//! SUPERVISE-4. It calls no code of the program: what there is to tell a listener, or a subscriber of `tracing`, it gives to a thread
//!     of its own for that (see [`crate::announce`]).

use super::launch::Launcher;
use super::log;
use super::slot::{DeadWorker, WorkerSlot};
use super::strays::Strays;
use super::watchlist::COMMANDS_KEY;
use crate::announce::{Importance, announce};
use crate::error::StartError;
use crate::os::clock;
use crate::os::poll::Epoll;
use crate::pool::outcome::TaskId;
use crate::pool::parent::commands::Commands;
use crate::pool::parent::events::Event;
use crate::pool::parent::report::WorkerStats;
use crate::pool::parent::settings::Settings;
use crate::pool::task::Task;
use crate::pool::wire::panics::catch_panic_message;
use crate::pool::wire::task_message::Envelope;
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

/// See the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Running,
    Stopping {
        cancel: bool,
        step: StopStep,
        until: Instant,
    },
}

/// How hard workers are pressed to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopStep {
    Asked,
    Terminated,
    Killed,
}

pub(crate) struct Supervisor<T: Task> {
    pub(crate) launcher: Launcher<T>,
    pub(crate) commands: Arc<Commands>,
    /// All descriptors that are waited for. The links and processes of slots enter and leave it with them.
    pub(crate) watchlist: Epoll,
    pub(crate) has_reported_failed_wait: bool,
    /// Who waits for the start; none once it was told.
    pub(crate) start_result: Option<mpsc::Sender<Result<(), StartError>>>,
    /// When the start fails.
    pub(crate) start_deadline: Instant,
    pub(crate) slots: Vec<WorkerSlot>,
    /// The slot whose messages are heard first in the next turn.
    pub(crate) next_slot: usize,
    pub(crate) phase: Phase,
    pub(crate) outage: Outage,
    /// Those whose tasks are not settled yet, and when to look again.
    pub(crate) dead_workers: Vec<DeadWorker>,
    pub(crate) settle_again_at: Option<Instant>,
    pub(crate) retries: Vec<Retry<T>>,
    pub(crate) pending_kills: Vec<PendingKill>,
    /// When to look at what workers do.
    pub(crate) inspect_at: Option<Instant>,
    pub(crate) worker_stats: WorkerStats,
    pub(crate) strays: Strays,
}

/// A task that is to be sent again.
pub(crate) struct Retry<T> {
    pub(crate) due: Instant,
    pub(crate) envelope: Envelope<T>,
}

/// A task that is cancelled, and whose worker is to be killed if it still runs at `due`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingKill {
    pub(crate) task: TaskId,
    pub(crate) due: Instant,
    pub(crate) pause: Duration,
}

/// See the table.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// Why the last attempt failed.
    pub(crate) cause: Option<String>,
    /// While it is declared: when to look at the queue again; none if nothing is in flight.
    pub(crate) is_declared: bool,
    pub(crate) next_look: Option<Instant>,
}

impl Outage {
    pub(crate) fn due(&self) -> Option<Instant> {
        self.next_look
    }
}

/// The earlier of two moments, of which there may be none.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

impl<T: Task> Supervisor<T> {
    pub(crate) fn new(
        launcher: Launcher<T>,
        commands: Arc<Commands>,
        start_result: mpsc::Sender<Result<(), StartError>>,
    ) -> io::Result<Self> {
        let watchlist = Epoll::new()?;
        watchlist.add(&commands.notifier, COMMANDS_KEY)?;
        let settings = &launcher.shared.settings;
        let slots = (0..settings.workers.max).map(WorkerSlot::new).collect();
        Ok(Self {
            commands,
            watchlist,
            has_reported_failed_wait: false,
            start_result: Some(start_result),
            start_deadline: clock::after(Instant::now(), settings.start_timeout),
            slots,
            next_slot: 0,
            phase: Phase::Starting,
            outage: Outage::default(),
            dead_workers: Vec::new(),
            settle_again_at: None,
            retries: Vec::new(),
            pending_kills: Vec::new(),
            inspect_at: Some(Instant::now()),
            worker_stats: WorkerStats::default(),
            strays: Strays::default(),
            launcher,
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.launcher.shared.settings
    }

    /// Tells the listener, if there is one, of an event (SUPERVISE-4).
    pub(crate) fn notify_listener(&self, event: Event) {
        let Some(listener) = self.settings().listener.clone() else {
            return;
        };
        let importance = match event {
            Event::TaskStarted { .. } | Event::TaskEnded { .. } => Importance::Detail,
            _ => Importance::Lifecycle,
        };
        let tell = move || {
            if catch_panic_message(|| listener(&event)).is_err() {
                log::listener_panicked(event);
            }
        };
        announce(importance, Box::new(tell));
    }

    /// There is a worker more, or less.
    pub(crate) fn inspect_soon(&mut self) {
        self.inspect_at = Some(Instant::now());
    }
}
