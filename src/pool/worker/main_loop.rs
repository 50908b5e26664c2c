//! The main loop of a worker process.
//!
//! | thread  | waits for                                | and                                                 |
//! |---------|------------------------------------------|-----------------------------------------------------|
//! | main    | a task                                   | runs it, sends its result, acknowledges it          |
//! | watcher | messages of the parent; the parent's end | notifies the main thread, or ends the process group |
//!
//! The steps of the main thread for one task, and what a death right after each step leaves behind:
//!
//! | step                            | left behind                                                        |
//! |---------------------------------|--------------------------------------------------------------------|
//! | the task is leased, not decoded | a dead letter, not started: it goes to another worker              |
//! | `begin` on the board            | a dead letter that was being decoded: the same, but see LOST-3     |
//! | it is decoded                   | a dead letter that was running: retried or reported as crashed     |
//! | it is run                       | the same                                                           |
//! | its result is sent              | the result; a dead letter whose outcome is known, which is dropped |
//! | `end` on the board              | the same                                                           |
//! | it is acknowledged              | the result                                                         |
//!
//! A task is on the board before its `Deserialize` is called, so that the time limit includes decoding. Each piece of
//! user code runs within [`catch_panic`]: see `docs/user-code.md`.
//!
//! The tasks of a chunk are decoded, run and answered one after the other; the chunk is acknowledged after the last
//! one. A death in between leaves one dead letter for all of them: some have their results, one was running, the
//! others were not started.
//!
//! The loop ends when the tasks queue is closed, when the parent sends `Stop`, or when the worker's quota is used up.
//! The main thread then sends `Stopping` and waits for the watcher, which ends with the parent's `Farewell`. If the
//! parent has died, the watcher ends the process.

use super::by_priority::{ByPriority, TakeError};
use super::handshake::greet;
use super::inherited::{TaskReceiver, given_states, inherit_tasks, shared_state};
use super::last_words::{Doing, LastWords, note, undecodable};
use super::log_forwarding;
use super::panics::{self, catch_panic};
use super::watcher::{Interrupters, watch};
use crate::error::{RecvError, SendError, with_causes};
use crate::os::link::Link;
use crate::os::{clock, memory_use, parent, subreaper};
use crate::pool::context::{Context, WorkerShared};
use crate::pool::outcome::TaskId;
use crate::pool::priority::Levels;
use crate::pool::task::Task;
use crate::pool::wire::messages::{
    FromWorker, Identity, Level, LogRecord, WorkerConfig, truncated,
};
use crate::pool::wire::result_message::{
    EncodedResult, EncodedResultCodec, ResultCodec, ResultMessage, WorkerResult,
};
use crate::pool::wire::startup::{BOARD, RESULTS, Starter};
use crate::pool::wire::task_attempt::TaskAttempt;
use crate::pool::wire::task_message::{TaskKey, TaskMessage, decode_task};
use crate::pool::wire::task_phase;
use crate::pool::worker_state::States;
use crate::queue::{Sender, inherit_fd, inherit_silent};
use crate::segment::board::{Board, WorkerEntry};
use core::mem::needs_drop;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::process::{self, exit};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

/// The exit code of a worker that cannot continue: `EX_SOFTWARE` of sysexits(3).
pub(crate) const BROKEN: i32 = 70;

/// What a worker was started for.
#[derive(Debug)]
pub struct Startup<'a> {
    pub(super) task_type: &'a str,
    pub(super) slot: u32,
    pub(super) starter: Option<Starter>,
    pub(super) link: Arc<Link>,
}

impl Startup<'_> {
    /// Returns the name of the type of the tasks.
    pub(crate) const fn task_type(&self) -> &str {
        self.task_type
    }
}

/// Prepares the worker, and returns its states.
fn prepared_states<R: Runner>(
    startup: &Startup<'_>,
    config: &WorkerConfig,
    runner: &R,
    shared: &Arc<WorkerShared>,
) -> Result<States, String> {
    let mut states = given_states()?;
    // Formatting the error runs user code too.
    let prepare = || {
        runner
            .prepare(&mut states)
            .map_err(|error| error.to_string())
    };
    note(Doing::Preparing);
    let prepared =
        catch_panic(|| log_forwarding::preparing(&startup.link, config.verbosity, shared, prepare));
    note(Doing::Other);
    match prepared {
        Ok(prepared) => prepared.map(|()| states),
        Err(panic) => Err(panic.to_string()),
    }
}

/// The tasks that a worker runs.
pub(crate) trait Runner {
    /// What the worker says it is.
    fn identity(&self) -> Identity;

    /// Prepares the process for these tasks.
    fn prepare(&self, states: &mut States) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Runs an encoded task, and sends its result.
    fn run(
        &self,
        worker: &mut Worker,
        key: TaskKey,
        attempt: TaskAttempt,
        bytes: &[u8],
        start: u64,
    );
}

/// A running worker.
pub(crate) struct Worker {
    link: Arc<Link>,
    config: WorkerConfig,
    /// The number of tasks after which it stops by itself.
    tasks_left: u64,
    /// Shared, so that the lease of a message borrows the receiver and not the whole worker.
    tasks: Rc<Levels<TaskReceiver>>,
    interrupters: Interrupters,
    results: Sender<EncodedResult, EncodedResultCodec>,
    context: Context,
    watcher: JoinHandle<()>,
    last_words: Arc<LastWords>,
}

impl Worker {
    /// Takes over the descriptors of this process and prepares it. Ends the process if that fails.
    pub(crate) fn enter<R: Runner>(startup: &Startup<'_>, runner: &R) -> Self {
        let link = &startup.link;
        let last_words = panics::install(Arc::clone(link));
        let identity = runner.identity();
        let schema = identity.queue_schema();
        let Some(config) = greet(link, identity) else {
            exit(0);
        };
        Self::take_over(startup, config, &schema, runner, last_words).unwrap_or_else(|what| {
            let what = truncated(what);
            let _ = link.send(&FromWorker::CannotPrepare { what }.encode());
            exit(BROKEN)
        })
    }

    fn take_over<R: Runner>(
        startup: &Startup<'_>,
        config: WorkerConfig,
        schema: &str,
        runner: &R,
        last_words: Arc<LastWords>,
    ) -> Result<Self, String> {
        let tasks = inherit_tasks(schema)?;
        let results = inherit_silent(RESULTS, schema).map_err(|error| with_causes(&error))?;
        let results: Sender<EncodedResult, EncodedResultCodec> = results;
        let board = inherit_fd(BOARD).map_err(|error| with_causes(&error))?;
        let board = Board::attach(board).map_err(|refusal| format!("the board: {refusal:?}"))?;
        let link = Arc::clone(&startup.link);
        let state = shared_state(startup.slot, link, &config, board, Sender::clone(&results))?;
        last_words.set_results(&results);
        // Without it this process is killed with its parent, but not the processes that it has started.
        let parent = match startup.starter.filter(|starter| starter.is_visible()) {
            Some(starter) => parent::watch_starter(starter.process, starter.started),
            None => parent::watch_parent(),
        };
        let parent = parent.ok();
        let (link, state_of_watcher) = (Arc::clone(&startup.link), Arc::clone(&state));
        let interrupters = Interrupters::new(tasks.normal.interrupter());
        let watcher = watch(link, parent, state_of_watcher, interrupters.clone())?;
        if config.adopts_orphans {
            subreaper::adopt_orphans()
                .map_err(|error| format!("cannot adopt its descendants: {error}"))?;
        }
        if let Some(bytes) = config.address_space {
            memory_use::limit_address_space(bytes)
                .map_err(|error| format!("cannot limit its address space: {error}"))?;
        }
        let states = prepared_states(startup, &config, runner, &state)?;
        let context = Context {
            state,
            id: TaskId(0),
            attempt: 0,
            states: Mutex::new(states),
        };
        Ok(Self {
            link: Arc::clone(&startup.link),
            config,
            tasks_left: config.max_tasks.unwrap_or(u64::MAX),
            tasks: Rc::new(tasks),
            interrupters,
            results,
            context,
            watcher,
            last_words,
        })
    }

    /// Runs tasks until the tasks queue ends or the worker is to stop.
    pub(crate) fn work<R: Runner>(mut self, runner: &R) -> ! {
        self.send_to_parent(&FromWorker::Ready);
        let tasks = Rc::clone(&self.tasks);
        if tasks.has_priorities() {
            self.work_by_priority(runner, &tasks);
        } else {
            self.work_in_order(runner, &tasks.normal);
        }
        drop(tasks);
        self.leave()
    }

    /// Runs the tasks of one queue.
    #[inline(always)]
    fn work_in_order<R: Runner>(&mut self, runner: &R, tasks: &TaskReceiver) {
        while !self.is_stopping() {
            match tasks.lease_bytes() {
                Ok(lease) => {
                    let count = self.run_leased(runner, &lease);
                    lease.ack();
                    if self.is_spent(count) {
                        break;
                    }
                }
                Err(RecvError::Closed) => break,
                Err(RecvError::Interrupted) => {}
                Err(error) => self.give_up(&with_causes(&error)),
            }
        }
    }

    /// Runs the tasks of the queues of all levels.
    fn work_by_priority<R: Runner>(&mut self, runner: &R, tasks: &Levels<TaskReceiver>) {
        let mut tasks = ByPriority::new(tasks);
        self.interrupters.add(tasks.interrupter());
        while !self.is_stopping() {
            match tasks.take() {
                Ok(lease) => {
                    let count = self.run_leased(runner, lease.bytes());
                    lease.ack();
                    if self.is_spent(count) {
                        break;
                    }
                }
                Err(TakeError::Closed) => break,
                Err(TakeError::Interrupted) => {}
                Err(TakeError::Broken(what)) => self.give_up(&what),
            }
        }
    }

    /// Returns whether the worker takes no more tasks.
    #[inline(always)]
    fn is_stopping(&self) -> bool {
        self.context.state.is_stopping()
    }

    /// Runs the tasks of a message that was just leased, and returns how many there were.
    #[inline(always)]
    fn run_leased<R: Runner>(&mut self, runner: &R, message: &[u8]) -> u64 {
        let now = clock::now_coarse();
        self.run_message(runner, message, now)
    }

    /// Counts tasks whose message was acknowledged. Returns whether the worker is to be replaced.
    #[inline(always)]
    fn is_spent(&mut self, tasks: u64) -> bool {
        self.tasks_left = self.tasks_left.saturating_sub(tasks);
        let spent = self.tasks_left == 0 && !mutant!(NeverRecycled);
        spent || self.exceeds_memory()
    }

    /// Returns whether it uses more memory than its limit for recycling.
    fn exceeds_memory(&self) -> bool {
        let limit = self.config.max_memory;
        limit.is_some_and(|limit| memory_use::own().is_ok_and(|used| used > limit))
    }

    /// Runs the tasks of a message that arrived at this time of the coarse clock, and returns how many there were.
    fn run_message<R: Runner>(&mut self, runner: &R, message: &[u8], arrival: u64) -> u64 {
        let tasks = match TaskMessage::open(message) {
            Ok(tasks) => tasks,
            Err(error) => {
                // A parent of this version never sends it, so no caller waits for it.
                self.report(format!("a message without a task id was skipped: {error}"));
                return 0;
            }
        };
        let key = tasks.key();
        let mut count = 0;
        for (attempt, task) in tasks {
            count += 1;
            if count > 1 && mutant!(ChunkTailLost) {
                continue;
            }
            match task {
                Ok(bytes) => {
                    let start = if count == 1 {
                        arrival
                    } else {
                        clock::now_coarse()
                    };
                    runner.run(self, key, attempt, bytes, start);
                }
                Err(error) => {
                    self.report_transport(attempt, error.cause().to_string());
                }
            }
        }
        count
    }

    /// Reports that a task could not be run, for this reason.
    #[cold]
    pub(crate) fn report_transport(&self, attempt: TaskAttempt, what: String) {
        self.send_result::<(), ()>(attempt, WorkerResult::Transport(what));
    }

    /// Decodes and runs a task, and sends its result.
    #[inline]
    pub(crate) fn run_and_report<T: Task>(
        &mut self,
        attempt: TaskAttempt,
        bytes: &[u8],
        start: u64,
    ) {
        if self.context.state.is_cancelled(attempt.id) {
            self.send_result::<(), ()>(attempt, WorkerResult::Cancelled);
            return;
        }
        if let Some(times) = self.context.state.times(attempt.id) {
            times.start(clock::now(), process::id(), self.context.state.slot);
        }
        let result = self.run_task::<T>(bytes, attempt, start);
        if let Some(times) = self.context.state.times(attempt.id) {
            times.end(clock::now());
        }
        self.entry().set_phase(task_phase::SENDING);
        if mutant!(LineEndedBeforeAnswer) {
            self.entry().end();
        }
        self.send_result(attempt, result);
        if self.config.reports_tasks {
            self.send_to_parent(&FromWorker::TaskEnded { task: attempt.id.0 });
        }
        self.entry().end();
    }

    fn run_task<T: Task>(
        &mut self,
        bytes: &[u8],
        attempt: TaskAttempt,
        start: u64,
    ) -> WorkerResult<T::Output, T::Error> {
        let entry = self.entry();
        entry.set_phase(task_phase::DECODING);
        entry.begin(attempt.id.0, start);
        if self.config.reports_tasks {
            self.send_to_parent(&FromWorker::TaskStarted { task: attempt.id.0 });
        }
        self.context.id = attempt.id;
        self.context.attempt = attempt.number.into();
        let mut is_decoded = false;
        note(Doing::Decoding(attempt));
        let ran = catch_panic(|| {
            let task = decode_task::<T>(bytes)?;
            is_decoded = true;
            note(Doing::Running(attempt));
            self.entry().set_phase(task_phase::RUNNING);
            Ok(task.run(&self.context))
        });
        match ran {
            Ok(Ok(Ok(output))) => WorkerResult::Output(output),
            Ok(Ok(Err(error))) => WorkerResult::Failed(error),
            Ok(Err(what)) => WorkerResult::Transport(what),
            Err(panic) if is_decoded => {
                self.build_states_again::<T>();
                WorkerResult::Panicked(panic)
            }
            Err(panic) => undecodable(&panic),
        }
    }

    /// Builds states that a panic of a task has dropped. If that fails, the worker takes no more tasks.
    #[cold]
    fn build_states_again<T: Task>(&mut self) {
        let states = self.context.states.get_mut();
        let built =
            catch_panic(|| T::build_states(states).map_err(|error| truncated(error.to_string())));
        let what = match built {
            Ok(Ok(())) => return,
            Ok(Err(what)) => what,
            Err(panic) => panic.to_string(),
        };
        self.tasks_left = 0;
        self.report(format!("a state could not be built again: {what}"));
    }

    /// Returns this worker's entry on the board.
    #[inline(always)]
    fn entry(&self) -> &WorkerEntry {
        let state = &*self.context.state;
        match state.board.entry(state.slot) {
            Some(entry) => entry,
            None => self.give_up("the board is gone"),
        }
    }

    /// Sends the outcome of a task. If that cannot be sent, sends the reason: each task has an outcome.
    fn send_result<O, E>(&self, attempt: TaskAttempt, result: WorkerResult<O, E>)
    where
        O: Serialize + DeserializeOwned,
        E: Serialize + DeserializeOwned,
    {
        let message = ResultMessage { attempt, result };
        note(Doing::Encoding(attempt));
        let what = match catch_panic(|| self.results.send_ref::<_, ResultCodec>(&message)) {
            // Closed: the parent needs no more results.
            Ok(Ok(()) | Err(SendError::Closed(()))) => None,
            Ok(Err(error @ (SendError::Forked(()) | SendError::Corrupt { .. }))) => {
                self.give_up(&with_causes(&error))
            }
            Ok(Err(SendError::TooLarge { len, max, .. })) => Some(format!(
                "the output has {len} bytes, and at most {max} are allowed: raise `Builder::max_message_len`"
            )),
            Ok(Err(error)) => Some(with_causes(&error)),
            Err(panic) => Some(panic.to_string()),
        };
        note(Doing::Other);
        if let Some(what) = what {
            let result = WorkerResult::<(), ()>::Transport(truncated(what));
            let reason = ResultMessage { attempt, result };
            if let Err(error) = self.results.send_ref::<_, ResultCodec>(&reason)
                && !error.is_closed()
            {
                self.give_up(&with_causes(&error));
            }
        }
        // The outcome has been sent: a panic in its `Drop` no longer changes it.
        if (needs_drop::<O>() || needs_drop::<E>())
            && let Err(panic) = catch_panic(|| drop(message))
        {
            self.report(format!(
                "dropping the output of task {}: {panic}",
                attempt.id
            ));
        }
    }

    /// Sends an error event to the parent's log.
    #[cold]
    fn report(&self, what: String) {
        let log = LogRecord::of_crate(Level::Error, what);
        self.send_to_parent(&FromWorker::Log(log));
    }

    fn send_to_parent(&self, message: &FromWorker) {
        // The watcher deals with a parent that has ended.
        let _ = self.link.send(&message.encode());
    }

    fn leave(self) -> ! {
        self.send_to_parent(&FromWorker::Stopping);
        // The watcher ends with the parent's farewell.
        let _ = self.watcher.join();
        self.last_words.clear_results();
        // Not the states, which run code of the program.
        drop((self.tasks, self.results, self.context.state));
        parent::kill_own_descendants();
        exit(0)
    }

    /// Ends the worker after an error that it cannot handle. What it holds is returned to the queue.
    fn give_up(&self, what: &str) -> ! {
        self.report(format!("a worker gives up: {what}"));
        exit(BROKEN)
    }
}
