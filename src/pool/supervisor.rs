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
//! SUPERVISE-1. It sleeps in one wait: for orders, for what workers say, for their deaths, until the next thing is due. When
//!     nothing is due it is not woken. A wait that fails is followed by a pause, and by a look at everything.
//! SUPERVISE-2. It never waits for a worker: what it says to one it says without waiting.
//! SUPERVISE-4. In each turn orders come first, then deaths, then messages: at most [`TURN`] of a worker, and for at most
//!     [`LISTEN`] of all of them, each worker in its turn; then whatever is due. So a process that never stops to talk,
//!     such as a forked child that has the link of its worker, delays nothing else for longer than that.
//! SUPERVISE-3. It ends only when every process is reaped, or could not be killed; and then every task has its outcome.
//! SUPERVISE-4. It calls no code of the program: what there is to tell a listener, or a subscriber of `tracing`, it gives to a thread
//!     of its own for that (see [`crate::announce`]).

use super::builder::Settings;
use super::deaths::Retry;
use super::events::Event;
use super::launch::Launcher;
use super::limits::{PendingKill, sooner};
use super::messages::{FromParent, FromWorker, LONGEST, Terms};
use super::outage::Outage;
use super::panics::unwinding;
use super::slot::{DeadPeer, Slot, Stage, State, UNTIL_GIVEN_UP, Worker};
use super::strays::Strays;
use super::task::{Task, TaskError, TaskId};
use super::worker::identity;
use crate::announce::{Announcer, Importance, say};
use crate::error::StartError;
use crate::os::child::Process;
use crate::os::clock;
use crate::os::link::{Link, Received};
use crate::os::poll::{Event as Notifier, Watchlist};
use crate::segment::board;
use core::time::Duration;
use parking_lot::Mutex;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

/// What the supervisor is told by other threads.
pub(super) enum Command {
    /// Stop all workers, and end. The tasks that are left are cancelled if `cancel`, else there are none.
    Stop { cancel: bool },
    /// A task is cancelled: end its worker, if it still runs at that moment.
    Kill { task: TaskId, due: Instant },
}

/// Orders on their way.
pub(super) struct Commands {
    commands: Mutex<Vec<Command>>,
    bell: Notifier,
}

impl Commands {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            commands: Mutex::new(Vec::new()),
            bell: Notifier::new()?,
        })
    }

    /// Never waits.
    pub(super) fn give(&self, command: Command) {
        self.commands.lock().push(command);
        self.bell.set();
    }

    /// There is more to do than before: look at the workers. Never waits.
    pub(super) fn ring(&self) {
        self.bell.set();
    }

    fn take(&self) -> Vec<Command> {
        // Before the look, so that whatever comes after it rings again.
        self.bell.clear();
        core::mem::take(&mut *self.commands.lock())
    }
}

/// What became of workers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WorkerStats {
    pub(super) started: u64,
    pub(super) died: u64,
    pub(super) killed: u64,
    pub(super) retried: u64,
    pub(super) recycled: u64,
    pub(super) left_behind: u64,
}

/// See the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Running,
    Stopping {
        cancel: bool,
        step: Step,
        until: Instant,
    },
}

/// How hard workers are pressed to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Asked,
    Terminated,
    Killed,
}

/// Deaths of one worker that was just started, before a start fails.
const DEATHS_AT_START: u32 = 3;
/// Messages heard from one worker before the next has its turn.
const TURN: usize = 64;
/// How long messages are heard before anything else is looked after.
const LISTEN: Duration = Duration::from_millis(20);
/// The pause after a wait that has failed.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// The keys of a watchlist: that of orders, and those of a slot's link and process.
const ORDERS: u64 = 0;

const fn key_of_link(index: usize) -> u64 {
    1 + 2 * index as u64
}

const fn key_of_process(index: usize) -> u64 {
    2 + 2 * index as u64
}

pub(super) struct Supervisor<T: Task> {
    pub(super) launcher: Launcher<T>,
    orders: Arc<Commands>,
    /// All descriptors that are waited for. The links and processes of slots enter and leave it with them.
    pub(super) watchlist: Watchlist,
    has_reported_wait: bool,
    /// Who waits for the start; none once it was told.
    starter: Option<mpsc::Sender<Result<(), StartError>>>,
    /// When the start fails.
    start_by: Instant,
    pub(super) slots: Vec<Slot>,
    /// The slot whose messages are heard first in the next turn.
    next_heard: usize,
    pub(super) course: Phase,
    pub(super) outage: Outage,
    /// Those whose tasks are not settled yet, and when to look again.
    pub(super) deceased: Vec<DeadPeer>,
    pub(super) look_again: Option<Instant>,
    pub(super) retries: Vec<Retry<T>>,
    pub(super) condemned: Vec<PendingKill>,
    /// When to look at what workers do.
    pub(super) inspection: Option<Instant>,
    pub(super) toll: WorkerStats,
    pub(super) strays: Strays,
}

/// What a wait has found.
#[derive(Default)]
struct Ready {
    orders: bool,
    /// Slots whose worker has said something, and those whose worker has ended.
    spoken: Vec<usize>,
    ended: Vec<usize>,
}

impl Ready {
    fn of(keys: Vec<u64>) -> Self {
        let mut ready = Self::default();
        for key in keys {
            let Some(number) = key.checked_sub(1) else {
                ready.orders = true;
                continue;
            };
            let Ok(index) = usize::try_from(number / 2) else {
                continue;
            };
            if number % 2 == 0 {
                ready.spoken.push(index);
            } else {
                ready.ended.push(index);
            }
        }
        ready
    }
}

impl<T: Task> Supervisor<T> {
    pub(super) fn new(
        launcher: Launcher<T>,
        orders: Arc<Commands>,
        starter: mpsc::Sender<Result<(), StartError>>,
    ) -> io::Result<Self> {
        let watchlist = Watchlist::new()?;
        watchlist.add(&orders.bell, ORDERS)?;
        let settings = &launcher.shared.settings;
        let slots = (0..settings.staff.max).map(Slot::new).collect();
        Ok(Self {
            orders,
            watchlist,
            has_reported_wait: false,
            starter: Some(starter),
            start_by: clock::after(Instant::now(), settings.start_timeout),
            slots,
            next_heard: 0,
            course: Phase::Starting,
            outage: Outage::default(),
            deceased: Vec::new(),
            look_again: None,
            retries: Vec::new(),
            condemned: Vec::new(),
            inspection: Some(Instant::now()),
            toll: WorkerStats::default(),
            strays: Strays::default(),
            launcher,
        })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.launcher.shared.settings
    }

    /// The whole life of the thread.
    pub(super) fn run(mut self) -> WorkerStats {
        let shared = Arc::clone(&self.launcher.shared);
        // SUPERVISE-4.
        let announcer = Announcer::of_this_thread();
        // Whatever happens here, nobody waits for ever. The workers end with this thread.
        let lived = catch_unwind(AssertUnwindSafe(|| {
            for slot in 0..self.settings().staff.min as usize {
                // The first turn ends a start that is late already.
                if slot == 0 || self.start_by > Instant::now() {
                    self.fill(slot);
                }
            }
            while !self.is_over() {
                self.turn();
            }
            self.finish();
            self.strays.reap_all();
        }));
        if lived.is_err() {
            shared.inbox.lose("the pool's thread has panicked");
        }
        announcer.close(shared.settings.grace);
        self.toll
    }

    fn turn(&mut self) {
        let ready = self.wait();
        if ready.orders {
            for command in self.orders.take() {
                match command {
                    Command::Stop { cancel } => self.stop(cancel),
                    Command::Kill { task, due } => self.condemn(task, due),
                }
            }
            self.inspection = Some(Instant::now());
        }
        for slot in ready.ended {
            self.bury(slot);
        }
        self.listen(ready.spoken);
        self.tick(Instant::now());
        if self.inspection.is_some_and(|due| due <= Instant::now()) {
            self.inspect();
        }
        self.look_for_outage(Instant::now());
    }

    /// When the next thing is to be done although nothing is heard.
    fn due(&self) -> Option<Instant> {
        let course = match self.course {
            Phase::Starting => Some(self.start_by),
            Phase::Stopping { until, .. } => Some(until),
            Phase::Running => self.outage.due(),
        };
        let slots = self.slots.iter().filter_map(Slot::due);
        let retries = self.retries.iter().map(|retry| retry.due);
        slots
            .chain(retries)
            .chain(course)
            .chain(self.look_again)
            .chain(self.inspection)
            .chain(self.strays.due)
            .min()
    }

    /// SUPERVISE-1.
    fn wait(&mut self) -> Ready {
        match self.watchlist.wait(self.due()) {
            Ok(keys) => Ready::of(keys),
            Err(error) => {
                if !core::mem::replace(&mut self.has_reported_wait, true) {
                    super::log::wait_failed(&error);
                }
                thread::sleep(RETRY_DELAY);
                self.everything()
            }
        }
    }

    /// What a wait may have found.
    fn everything(&self) -> Ready {
        let all = || (0..).zip(&self.slots);
        let is_there = |slot: &Slot| slot.worker().is_some();
        Ready {
            orders: true,
            spoken: all().map(|(index, _)| index).collect(),
            ended: all()
                .filter(|(_, slot)| is_there(slot))
                .map(|(index, _)| index)
                .collect(),
        }
    }

    /// Waits for a worker from now on.
    fn watch(&self, index: usize, link: &Link, process: &Process) -> io::Result<()> {
        self.watchlist.add(link, key_of_link(index))?;
        let added = self.watchlist.add(process, key_of_process(index));
        if added.is_err() {
            self.watchlist.remove(link);
        }
        added
    }

    /// Do what is due.
    fn tick(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(index) else {
                continue;
            };
            if slot.due().is_none_or(|due| due > now) {
                continue;
            }
            match &mut slot.state {
                State::Occupied(_) => self.attend(index, now),
                State::BackingOff { .. } => self.fill(index),
                State::Absent => {}
            }
        }
        if self.look_again.is_some_and(|due| due <= now) {
            self.settle();
        }
        self.retry(now);
        self.strays.reap(now);
        match self.course {
            Phase::Starting if self.start_by <= now => {
                let error = self.late_start();
                self.fail(error);
            }
            Phase::Stopping { step, until, .. } if until <= now => self.press(step),
            _ => {}
        }
    }

    /// Why a start takes too long: workers that die, or are slow.
    pub(super) fn late_start(&self) -> StartError {
        let is_ready = |slot: &&Slot| {
            let worker = slot.worker();
            worker.is_some_and(|worker| worker.stage == Stage::Ready)
        };
        let late = self.slots.iter().filter(|slot| !is_ready(slot));
        let mut died = late.filter(|slot| slot.has_died_early);
        let is_no_worker = |slot: &Slot| slot.worker().is_some_and(Worker::is_no_worker);
        if self.slots.iter().any(is_no_worker) {
            return StartError::NoHandshake { status: None };
        }
        died.next_back()
            .map_or(StartError::TimedOut, |slot| StartError::Died {
                status: slot.last_status,
            })
    }

    /// Start a worker in a slot.
    pub(super) fn fill(&mut self, index: usize) {
        let Some(number) = self.slots.get(index).map(|slot| slot.number) else {
            return;
        };
        if matches!(self.course, Phase::Stopping { .. }) {
            return;
        }
        if let Some(line) = self.launcher.shared.board.slot(number) {
            line.reset();
        }
        let board = &self.launcher.shared.board;
        let start_before = board.slot(number).map_or(0, board::Slot::last_start);
        let launched = self.launcher.launch(number).and_then(|(link, process)| {
            let watched = self.watch(index, &link, &process);
            watched.map_err(|source| StartError::Os {
                what: "a worker can't be waited for",
                source,
            })?;
            Ok((link, process))
        });
        let overdue = Some(clock::after(Instant::now(), self.settings().start_timeout));
        match launched {
            Ok((link, process)) => {
                let pid = process.id();
                if let Some(slot) = self.slots.get_mut(index) {
                    let mut worker = Worker::new(link, process, overdue);
                    worker.start_before = start_before;
                    slot.state = State::Occupied(worker);
                }
                self.toll.started += 1;
                self.tell(Event::Started {
                    worker: number,
                    pid,
                });
            }
            Err(error) if self.course == Phase::Starting => self.fail(error),
            Err(error) => {
                super::log::failure(number, &error);
                self.note_failure(index, error.to_string());
                self.back_off(index);
            }
        }
    }

    /// Leave a slot empty for a while, the longer the more often it has failed.
    pub(super) fn back_off(&mut self, index: usize) {
        let backoff = self.settings().respawn_backoff;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.failures = slot.failures.saturating_add(1);
            let until = clock::after(Instant::now(), backoff.after(slot.failures));
            slot.state = State::BackingOff { until };
        }
    }

    /// SUPERVISE-4.
    fn listen(&mut self, mut spoken: Vec<usize>) {
        let until = clock::after(Instant::now(), LISTEN);
        let first = self.next_heard;
        spoken.sort_unstable_by_key(|&index| (index < first, index));
        for index in spoken {
            self.next_heard = index + 1;
            for _ in 0..TURN {
                if self.hear(index).is_none() || Instant::now() >= until {
                    break;
                }
            }
            self.bury_unwatched(index);
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// Hears one message of a worker. Returns its length; `None`: there is none now.
    pub(super) fn hear(&mut self, index: usize) -> Option<usize> {
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
            Ok((Received::Nothing, _)) => return None,
            Ok((Received::Datagram(bytes), sender)) => {
                let message = FromWorker::decode(bytes);
                if let Some(FromWorker::Process { pid }) = message {
                    worker.is_process(pid, sender);
                    if let Some(wrapped) = worker.process.wrapped() {
                        // An error: it is noticed when its wrapper ends.
                        let _ = self.watchlist.add(wrapped, key_of_process(index));
                    }
                    return Some(bytes.len());
                }
                (message, bytes.len())
            }
            Ok((Received::TooLong(length), _)) => (None, length),
            Ok((Received::Closed, _)) | Err(_) => {
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
            None => super::log::nonsense(pid),
        }
        Some(length)
    }

    /// See to a worker that no pidfd tells of: its child has ended before it has said who it is, and now its link has, too, or
    /// it was killed.
    pub(super) fn bury_unwatched(&mut self, index: usize) {
        let worker = self.slots.get_mut(index).and_then(Slot::worker_mut);
        if worker.is_some_and(|worker| !worker.process.is_watched() && worker.is_over()) {
            self.bury(index);
        }
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
                let mismatch = identity::<T>().mismatch(&theirs);
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
            } => super::log::pass_on(number, pid, level, target, message),
            _ => super::log::nonsense(pid),
        }
    }

    /// A worker does not fit, and never will.
    fn refuse(&mut self, number: u32, error: StartError) {
        if self.course == Phase::Starting {
            self.fail(error);
        } else {
            super::log::failure(number, &error);
        }
    }

    fn look_whether_started(&mut self) {
        // Those beyond the least number are started when there is work for them.
        let is_ready = |slot: &Slot| match &slot.state {
            State::Absent => true,
            State::Occupied(worker) => worker.stage == Stage::Ready,
            State::BackingOff { .. } => false,
        };
        if self.course == Phase::Starting && self.slots.iter().all(is_ready) {
            self.course = Phase::Running;
            self.inspection = Some(Instant::now());
            if let Some(starter) = self.starter.take() {
                // Gone if the thread that started the pool has panicked; then so is the pool, soon.
                let _ = starter.send(Ok(()));
            }
        }
    }

    /// The start has failed: end everybody at once.
    pub(super) fn fail(&mut self, error: StartError) {
        if let Some(starter) = self.starter.take() {
            self.launcher.shared.inbox.refuse();
            let _ = starter.send(Err(error));
        }
        self.leave_empty_slots();
        self.press(Step::Terminated);
    }

    /// A worker that was never ready has ended, while the pool is being started.
    pub(super) fn has_failed_to_start(
        &mut self,
        index: usize,
        stage: Stage,
        unfit: Option<String>,
        death: &DeadPeer,
    ) {
        let status = death.status;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.has_died_early = true;
            slot.last_status = status;
        }
        if let Some(what) = unfit {
            self.fail(StartError::Unfit { what });
        } else if stage == Stage::Starting
            && (death.was_no_worker || status.is_none_or(|status| status.code().is_some()))
        {
            self.fail(StartError::NoHandshake { status });
        } else if self
            .slots
            .get(index)
            .is_some_and(|slot| slot.failures >= DEATHS_AT_START)
        {
            self.fail(StartError::Died { status });
        } else {
            self.back_off(index);
        }
    }

    fn stop(&mut self, cancel: bool) {
        if matches!(self.course, Phase::Stopping { .. }) {
            return;
        }
        let (message, tasks) = (
            if cancel {
                FromParent::Cancel
            } else {
                FromParent::Stop
            },
            &self.launcher.shared.tasks,
        );
        if cancel && mutant!(ResultsNotDrained) {
            self.launcher.shared.inbox.results().cancel();
        }
        if cancel {
            tasks.cancel();
        } else {
            tasks.close();
        }
        self.leave_empty_slots();
        for worker in self.slots.iter_mut().filter_map(Slot::worker_mut) {
            worker.say(message);
        }
        let until = clock::after(Instant::now(), self.settings().grace);
        self.course = Phase::Stopping {
            cancel,
            step: Step::Asked,
            until,
        };
    }

    fn leave_empty_slots(&mut self) {
        for slot in &mut self.slots {
            if slot.worker().is_none() {
                slot.state = State::Absent;
            }
        }
    }

    /// The time for a step is up: go on to the next.
    fn press(&mut self, step: Step) {
        let now = Instant::now();
        if mutant!(StopNotEnforced) {
            return;
        }
        let (next, time) = match step {
            Step::Asked => (Step::Terminated, self.settings().grace),
            Step::Terminated => (Step::Killed, UNTIL_GIVEN_UP),
            Step::Killed => {
                self.give_up();
                return;
            }
        };
        for index in 0..self.slots.len() {
            let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut) else {
                continue;
            };
            if next == Step::Terminated {
                worker.is_doomed = true;
                // Counted as killed when it is reaped, if it has died of it.
                worker.is_terminated = true;
                let _ = worker.process.terminate_group();
            } else {
                self.toll.killed += u64::from(worker.kill());
            }
            self.bury_unwatched(index);
        }
        self.course = Phase::Stopping {
            cancel: true,
            step: next,
            until: clock::after(now, time),
        };
    }

    /// Those who live on although they were killed are the kernel's business.
    fn give_up(&mut self) {
        for slot in &mut self.slots {
            if let State::Occupied(worker) = core::mem::replace(&mut slot.state, State::Absent) {
                super::log::immortal(slot.number, worker.pid());
                self.toll.left_behind += 1;
                self.watchlist.remove(&worker.link);
                self.watchlist.remove(&worker.process);
                worker.process.abandon();
            }
        }
    }

    fn is_over(&self) -> bool {
        let is_absent = |slot: &Slot| matches!(slot.state, State::Absent);
        matches!(self.course, Phase::Stopping { .. }) && self.slots.iter().all(is_absent)
    }

    /// Every task gets its outcome (SUPERVISE-3): those whose results have arrived that, the others are cancelled.
    fn finish(&mut self) {
        self.settle();
        let inbox = &self.launcher.shared.inbox;
        inbox.collect();
        inbox.change(|state| {
            for id in state.flights() {
                let crashes = state.flight(id).map_or(0, |flight| flight.crashes);
                state.file(id, crashes, Err(TaskError::Cancelled));
            }
        });
        inbox.results().close();
        inbox.end();
    }

    /// Tells the listener, if there is one, of an event (SUPERVISE-4).
    pub(super) fn tell(&self, event: Event) {
        let Some(listener) = self.settings().listener.clone() else {
            return;
        };
        let importance = match event {
            Event::TaskStarted { .. } | Event::TaskEnded { .. } => Importance::Detail,
            _ => Importance::Life,
        };
        let tell = move || {
            if unwinding(|| listener(&event)).is_err() {
                super::log::deaf(event);
            }
        };
        say(importance, Box::new(tell));
    }
}
