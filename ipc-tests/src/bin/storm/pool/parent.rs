//! The parent of a pool, and its workers. Each records what it does in the ledger.

use super::{
    events::{Event, Record, open_ledger},
    report::ReportNumbers,
};
use ipc_tests::{ledger::Ledger, rounds::Rng};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use workring::pool::{
    Context, OutcomeOf, Shutdown, StartError, Task, TaskError, TrySubmitError, TypedPool,
    run_if_worker_for,
};

/// The first argument of a parent.
const ROLE: &str = "pool-parent";
/// Once there is a file of this name in the scratch directory, the parent shuts its pool down, in the way that the file
/// contains.
pub(super) const SHUTDOWN_FILE: &str = "shutdown";
pub(super) const DRAIN: &str = "drain";
pub(super) const CANCEL: &str = "cancel";
/// The beginning of what a parent prints if its pool could not be started.
pub(super) const NEVER_STARTED: &str = "never started";

/// Longer than any shutdown takes.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_mins(2);

/// A task that records when it begins and when it is done.
#[derive(Serialize, Deserialize)]
struct Work {
    scratch: PathBuf,
    /// How long it takes.
    spins: u32,
}

impl Task for Work {
    type Output = ();
    type Error = String;

    fn run(self, context: &Context) -> Result<(), String> {
        // The scratch directory is the same in each task of a worker.
        static LEDGER: OnceLock<Ledger> = OnceLock::new();
        let ledger = LEDGER.get_or_init(|| open_ledger(&self.scratch));
        let record = |event| Record {
            event,
            task: context.id().get(),
            attempt: context.attempt(),
            pid: std::process::id(),
        };
        record(Event::Begun).append_to(ledger);
        (0..self.spins).for_each(|_| std::hint::spin_loop());
        record(Event::Done).append_to(ledger);
        Ok(())
    }
}

/// Runs as a worker, if this process is one. Then it does not return.
pub(crate) fn become_worker() {
    run_if_worker_for::<Work>();
}

/// The arguments of a parent.
pub(super) struct ParentArguments<'a> {
    pub(super) workers: u32,
    pub(super) capacity: usize,
    pub(super) retries: u32,
    pub(super) seed: u64,
    pub(super) scratch: &'a Path,
}

impl ParentArguments<'_> {
    pub(super) fn to_arguments(&self) -> Vec<String> {
        vec![
            ROLE.to_owned(),
            self.workers.to_string(),
            self.capacity.to_string(),
            self.retries.to_string(),
            self.seed.to_string(),
            self.scratch.display().to_string(),
        ]
    }
}

/// Runs as the parent that the arguments describe. Returns false if they describe none.
pub(crate) fn run_as_parent(arguments: &[String]) -> bool {
    let [role, workers, capacity, retries, seed, scratch] = arguments else {
        return false;
    };
    if role != ROLE {
        return false;
    }
    let arguments = ParentArguments {
        workers: workers.parse().expect("a number"),
        capacity: capacity.parse().expect("a number"),
        retries: retries.parse().expect("a number"),
        seed: seed.parse().expect("a number"),
        scratch: Path::new(scratch),
    };
    match start_pool(&arguments) {
        Ok(pool) => Parent::new(&pool, &arguments).run(),
        Err(error @ (StartError::Died { .. } | StartError::TimedOut)) => {
            println!("{NEVER_STARTED}: {error}");
        }
        Err(other) => panic!("start a pool: {other}"),
    }
    true
}

fn start_pool(arguments: &ParentArguments<'_>) -> Result<TypedPool<Work>, StartError> {
    let millis = Duration::from_millis;
    TypedPool::builder()
        .workers(arguments.workers as usize)
        .capacity(arguments.capacity)
        .retries(arguments.retries)
        .retry_backoff(millis(1), millis(5))
        .respawn_backoff(millis(1), millis(20))
        // Workers are killed as fast as they are started; the pool must not give up.
        .max_worker_failures(u32::MAX)
        .start()
}

struct Parent<'a> {
    pool: &'a TypedPool<Work>,
    scratch: &'a Path,
    retries: u32,
    ledger: Ledger,
    rng: Rng,
    /// The pool is being shut down, and its tasks are cancelled.
    is_cancelling: AtomicBool,
    /// The pool has been shut down.
    is_shut_down: AtomicBool,
}

impl<'a> Parent<'a> {
    fn new(pool: &'a TypedPool<Work>, arguments: &ParentArguments<'a>) -> Self {
        Self {
            pool,
            scratch: arguments.scratch,
            retries: arguments.retries,
            ledger: open_ledger(arguments.scratch),
            rng: Rng::with_seed(arguments.seed),
            is_cancelling: AtomicBool::new(false),
            is_shut_down: AtomicBool::new(false),
        }
    }

    fn record(&self, event: Event, task: u64, attempt: u32) {
        let record = Record {
            event,
            task,
            attempt,
            pid: 0,
        };
        record.append_to(&self.ledger);
    }

    /// Submits tasks and receives their outcomes, each in a thread, until the shutdown; then prints the report.
    fn run(mut self) {
        let mut rng = self.rng.fork();
        let this = &self;
        thread::scope(|scope| {
            scope.spawn(|| this.receive_outcomes());
            let how = this.submit(&mut rng);
            this.is_cancelling
                .store(how == Shutdown::Cancel, Ordering::SeqCst);
            let report = this
                .pool
                .shutdown(how, SHUTDOWN_TIMEOUT)
                .expect("not a fork");
            this.is_shut_down.store(true, Ordering::SeqCst);
            println!("{}", ReportNumbers::from(&report));
        });
    }

    /// Submits tasks until a shutdown is requested. Returns its kind.
    fn submit(&self, rng: &mut Rng) -> Shutdown {
        loop {
            match fs::read_to_string(self.scratch.join(SHUTDOWN_FILE)).as_deref() {
                Ok(DRAIN) => return Shutdown::Drain,
                Ok(CANCEL) => return Shutdown::Cancel,
                // There is no file yet, or it is being written.
                _ => {}
            }
            let work = Work {
                scratch: self.scratch.to_owned(),
                spins: rng.u32(0..5_000) << rng.u32(0..6),
            };
            let handle = if rng.u8(0..4) == 0 {
                match self.pool.try_submit(work) {
                    Err(TrySubmitError::Full(_)) => continue,
                    other => other.expect("the pool is open"),
                }
            } else {
                self.pool.submit(work).expect("the pool is open")
            };
            self.record(Event::Accepted, handle.id().get(), 0);
            if rng.u8(0..16) == 0 {
                handle.cancel();
            }
        }
    }

    /// Records outcomes until there will be no more.
    fn receive_outcomes(&self) {
        loop {
            // Read before the drain: after the shutdown one more drain finds all that is left.
            let is_shut_down = self.is_shut_down.load(Ordering::SeqCst);
            self.pool
                .drain()
                .for_each(|outcome| self.record_outcome(&outcome));
            if is_shut_down {
                return;
            }
            thread::yield_now();
        }
    }

    fn record_outcome(&self, outcome: &OutcomeOf<Work>) {
        let event = match &outcome.result {
            Ok(()) => Event::Completed,
            Err(TaskError::Crashed { .. }) if outcome.attempts == self.retries + 1 => {
                Event::Crashed
            }
            // A crash in a shutdown with `Cancel` is not retried. The flag is set before the shutdown begins.
            Err(TaskError::Crashed { .. }) if self.is_cancelling.load(Ordering::SeqCst) => {
                Event::CrashedInShutdown
            }
            Err(TaskError::Cancelled) => Event::Cancelled,
            Err(other) => panic!("{outcome:?}, {} retries: {other}", self.retries),
        };
        self.record(event, outcome.id.get(), outcome.attempts);
    }
}
