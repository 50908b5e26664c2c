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
//! V1. It sleeps in one wait: for orders, for what workers say, for their deaths, until the next thing is due. When
//!     nothing is due it is not woken.
//! V2. It never waits for a worker: what it says to one it says without waiting.
//! V3. It ends only when every process is reaped, or could not be killed; and then every task has its outcome.

use super::builder::Settings;
use super::deaths::Retry;
use super::events::Event;
use super::launch::Launcher;
use super::limits::Condemned;
use super::messages::{FromParent, FromWorker, LONGEST, Terms};
use super::slot::{Deceased, Slot, Stage, State, Worker};
use super::task::{Task, TaskError, TaskId};
use super::worker::identity;
use crate::error::StartError;
use crate::host::link::Received;
use crate::host::poll::{Event as Bell, Poll};
use core::time::Duration;
use parking_lot::Mutex;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

/// What the supervisor is told by other threads.
pub(super) enum Command {
    /// Stop all workers, and end. The tasks that are left are cancelled if `cancel`, else there are none.
    Stop { cancel: bool },
    /// A task is cancelled: end its worker, if it still runs at that moment.
    Kill { task: TaskId, due: Instant },
}

/// Commands on their way.
pub(super) struct Orders {
    commands: Mutex<Vec<Command>>,
    bell: Bell,
}

impl Orders {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            commands: Mutex::new(Vec::new()),
            bell: Bell::new()?,
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
pub(super) struct Toll {
    pub(super) started: u64,
    pub(super) died: u64,
    pub(super) killed: u64,
    pub(super) retried: u64,
    pub(super) recycled: u64,
}

/// See the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
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

/// A process that was killed has no say in it; but the kernel may take its time, over a file system that does not answer.
const UNTIL_GIVEN_UP: Duration = Duration::from_secs(5);
/// Deaths of workers that were just started, before a start fails.
const DEATHS_AT_START: u32 = 3;
/// Messages heard from one worker before the next has its turn.
const TURN: usize = 64;

pub(super) struct Supervisor<T: Task> {
    pub(super) launcher: Launcher<T>,
    orders: Arc<Orders>,
    /// Who waits for the start; none once it was told.
    starter: Option<mpsc::Sender<Result<(), StartError>>>,
    pub(super) slots: Vec<Slot>,
    pub(super) course: Course,
    /// Those whose tasks are not settled yet, and when to look again.
    pub(super) deceased: Vec<Deceased>,
    pub(super) look_again: Option<Instant>,
    pub(super) retries: Vec<Retry<T>>,
    pub(super) condemned: Vec<Condemned>,
    /// When to look at what workers do.
    pub(super) inspection: Option<Instant>,
    pub(super) toll: Toll,
}

/// What a wait has found.
struct Ready {
    orders: bool,
    /// Slots whose worker has said something, and those whose worker has ended.
    spoken: Vec<usize>,
    ended: Vec<usize>,
}

impl<T: Task> Supervisor<T> {
    pub(super) fn new(
        launcher: Launcher<T>,
        orders: Arc<Orders>,
        starter: mpsc::Sender<Result<(), StartError>>,
    ) -> Self {
        let slots = (0..launcher.shared.settings.staff.max).map(Slot::new);
        Self {
            orders,
            starter: Some(starter),
            slots: slots.collect(),
            course: Course::Starting,
            deceased: Vec::new(),
            look_again: None,
            retries: Vec::new(),
            condemned: Vec::new(),
            inspection: Some(Instant::now()),
            toll: Toll::default(),
            launcher,
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.launcher.shared.settings
    }

    /// The whole life of the thread.
    pub(super) fn run(mut self) -> Toll {
        let shared = Arc::clone(&self.launcher.shared);
        // Whatever happens here, nobody waits for ever. The workers end with this thread.
        let lived = catch_unwind(AssertUnwindSafe(|| {
            for slot in 0..self.settings().staff.min as usize {
                self.fill(slot);
            }
            while !self.is_over() {
                self.turn();
            }
            self.finish();
        }));
        if lived.is_err() {
            shared.inbox.lose("the pool's thread has panicked");
        }
        self.toll
    }

    fn turn(&mut self) {
        let deadline = self.due();
        let Some(ready) = self.wait(deadline) else {
            return;
        };
        if ready.orders {
            for command in self.orders.take() {
                match command {
                    Command::Stop { cancel } => self.stop(cancel),
                    Command::Kill { task, due } => self.condemn(task, due),
                }
            }
            self.inspection = Some(Instant::now());
        }
        for slot in ready.spoken {
            self.hear(slot);
        }
        for slot in ready.ended {
            self.bury(slot);
        }
        self.tick(Instant::now());
        if self.inspection.is_some_and(|due| due <= Instant::now()) {
            self.inspect();
        }
    }

    /// When the next thing is to be done although nothing is heard.
    fn due(&self) -> Option<Instant> {
        let course = match self.course {
            Course::Stopping { until, .. } => Some(until),
            Course::Starting | Course::Running => None,
        };
        let slots = self.slots.iter().filter_map(Slot::due);
        let retries = self.retries.iter().map(|retry| retry.due);
        slots
            .chain(retries)
            .chain(course)
            .chain(self.look_again)
            .chain(self.inspection)
            .min()
    }

    /// V1. `None`: the wait failed, and is to be tried again.
    fn wait(&self, deadline: Option<Instant>) -> Option<Ready> {
        let mut poll = Poll::new();
        let orders = poll.readable(self.orders.bell.as_fd());
        let mut places = Vec::with_capacity(self.slots.len());
        for (index, slot) in self.slots.iter().enumerate() {
            if let Some(worker) = slot.worker() {
                let link = worker
                    .is_listening
                    .then(|| poll.readable(worker.link.as_fd()));
                places.push((index, link, poll.readable(worker.process.as_fd())));
            }
        }
        poll.wait(deadline).ok()?;
        let is_ready = |place| poll.is_ready(place);
        Some(Ready {
            orders: is_ready(orders),
            spoken: places
                .iter()
                .filter(|(_, link, _)| link.is_some_and(is_ready))
                .map(|&(index, ..)| index)
                .collect(),
            ended: places
                .iter()
                .filter(|&&(.., process)| is_ready(process))
                .map(|&(index, ..)| index)
                .collect(),
        })
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
        if let Course::Stopping { step, until, .. } = self.course
            && until <= now
        {
            self.press(step);
        }
    }

    /// Start a worker in a slot.
    pub(super) fn fill(&mut self, index: usize) {
        let Some(number) = self.slots.get(index).map(|slot| slot.number) else {
            return;
        };
        if matches!(self.course, Course::Stopping { .. }) {
            return;
        }
        if let Some(line) = self.launcher.shared.board.slot(number) {
            line.reset();
        }
        let launched = self.launcher.launch(number);
        let overdue = Instant::now().checked_add(self.settings().start_timeout);
        match launched {
            Ok((link, process)) => {
                let pid = process.id();
                if let Some(slot) = self.slots.get_mut(index) {
                    slot.state = State::Occupied(Worker::new(link, process, overdue));
                }
                self.toll.started += 1;
                self.tell(Event::Started {
                    worker: number,
                    pid,
                });
            }
            Err(error) if self.course == Course::Starting => self.fail(error),
            Err(error) => {
                super::log::failure(number, &error);
                self.back_off(index);
            }
        }
    }

    /// Leave a slot empty for a while, the longer the more often it has failed.
    pub(super) fn back_off(&mut self, index: usize) {
        let backoff = self.settings().respawn_backoff;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.failures = slot.failures.saturating_add(1);
            let until = Instant::now() + backoff.after(slot.failures);
            slot.state = State::BackingOff { until };
        }
    }

    /// Hear what a worker has to say. False: there is no more of it now.
    pub(super) fn hear(&mut self, index: usize) -> bool {
        let mut buffer = [0; LONGEST];
        for _ in 0..TURN {
            let grace = self.settings().grace;
            let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut) else {
                return false;
            };
            if !worker.is_listening {
                return false;
            }
            let message = match worker.link.try_recv(&mut buffer) {
                Ok(Received::Nothing) => return false,
                Ok(Received::Datagram(bytes)) => FromWorker::decode(bytes),
                Ok(Received::TooLong(_)) => None,
                Ok(Received::Closed) | Err(_) => {
                    // It has ended, or is about to.
                    worker.is_listening = false;
                    worker.overdue = Instant::now().checked_add(grace);
                    return false;
                }
            };
            let pid = worker.pid();
            match message {
                Some(message) => self.understand(index, message),
                None => super::log::nonsense(pid),
            }
        }
        true
    }

    fn understand(&mut self, index: usize, message: FromWorker) {
        let terms = match message {
            FromWorker::Hello(_) => self.settings().terms(),
            _ => Terms::default(),
        };
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
                match identity::<T>().mismatch(&theirs) {
                    None => {
                        worker.stage = Stage::Preparing;
                        worker.say(FromParent::Welcome(terms));
                    }
                    Some((what, theirs, ours)) => {
                        worker.kill();
                        let error = StartError::Mismatch { what, theirs, ours };
                        self.refuse(number, error);
                    }
                }
            }
            FromWorker::Ready if worker.stage == Stage::Preparing => {
                worker.stage = Stage::Ready;
                worker.overdue = None;
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
            } => super::log::pass_on(number, pid, level, &target, &message),
            _ => super::log::nonsense(pid),
        }
    }

    /// A worker does not fit, and never will.
    fn refuse(&mut self, number: u32, error: StartError) {
        if self.course == Course::Starting {
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
        if self.course == Course::Starting && self.slots.iter().all(is_ready) {
            self.course = Course::Running;
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
        death: &Deceased,
    ) {
        let status = death.status;
        if let Some(what) = unfit {
            self.fail(StartError::Unfit { what });
        } else if stage == Stage::Starting && status.is_none_or(|status| status.code().is_some()) {
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
        if matches!(self.course, Course::Stopping { .. }) {
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
        if cancel {
            tasks.cancel();
        } else {
            tasks.close();
        }
        self.leave_empty_slots();
        for worker in self.slots.iter_mut().filter_map(Slot::worker_mut) {
            worker.say(message);
        }
        let until = Instant::now() + self.settings().grace;
        self.course = Course::Stopping {
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
        let (next, time) = match step {
            Step::Asked => (Step::Terminated, self.settings().grace),
            Step::Terminated => (Step::Killed, UNTIL_GIVEN_UP),
            Step::Killed => {
                self.give_up();
                return;
            }
        };
        for worker in self.slots.iter_mut().filter_map(Slot::worker_mut) {
            if next == Step::Terminated {
                worker.is_doomed = true;
                let _ = worker.process.terminate_group();
            } else {
                self.toll.killed += 1;
                worker.kill();
            }
        }
        self.course = Course::Stopping {
            cancel: true,
            step: next,
            until: now + time,
        };
    }

    /// Those who live on although they were killed are the kernel's business.
    fn give_up(&mut self) {
        for slot in &mut self.slots {
            if let Some(worker) = slot.worker() {
                super::log::immortal(slot.number, worker.pid());
                slot.state = State::Absent;
            }
        }
    }

    fn is_over(&self) -> bool {
        let is_absent = |slot: &Slot| matches!(slot.state, State::Absent);
        matches!(self.course, Course::Stopping { .. }) && self.slots.iter().all(is_absent)
    }

    /// Every task gets its outcome (V3): those whose results have arrived that, the others are cancelled.
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

    /// Tell whoever wants to know.
    pub(super) fn tell(&self, event: Event) {
        if let Some(listener) = &self.settings().listener {
            // What it leaves half done is its own.
            let told = catch_unwind(AssertUnwindSafe(|| listener(&event)));
            if told.is_err() {
                super::log::deaf(&event);
            }
        }
    }
}

impl Worker {
    /// V2. One that does not listen has no room for more, or has ended.
    pub(super) fn say(&self, message: FromParent) {
        let _ = self.link.try_send(&message.encode());
    }
}
