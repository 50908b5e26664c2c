//! What a parent does that is killed, and what its workers do: each notes it in the ledger.

use super::books::{About, Kind, LEDGER};
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
    Context, OutcomeOf, Pool, Shutdown, StartError, Task, TaskError, TrySubmitError, run_if_worker,
};

const NAME: &str = "a-parent";
/// While there is a file of this name, the parent ends: as the file says.
pub(crate) const END: &str = "end";
pub(crate) const DRAIN: &str = "drain";
pub(crate) const CANCEL: &str = "cancel";
/// What the parent prints last, before the numbers of its report.
pub(crate) const REPORT: &str = "report";
/// What it prints if it has no pool.
pub(crate) const STILLBORN: &str = "stillborn";

/// Longer than whatever is in flight takes.
const LONG: Duration = Duration::from_mins(2);

/// A task that says when it begins and when it is done.
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
        // The same in each task of a worker.
        static OPEN: OnceLock<Ledger> = OnceLock::new();
        let ledger = OPEN.get_or_init(|| ledger(&self.scratch));
        let about = About {
            task: context.id().get(),
            attempt: context.attempt(),
            pid: std::process::id(),
        };
        ledger.note(Kind::Begun as u8, about.number());
        (0..self.spins).for_each(|_| std::hint::spin_loop());
        ledger.note(Kind::Done as u8, about.number());
        Ok(())
    }
}

fn ledger(scratch: &Path) -> Ledger {
    Ledger::create(scratch, LEDGER).expect("the ledger")
}

/// Does not return in a worker.
pub(crate) fn become_worker() {
    run_if_worker::<Work>();
}

/// The arguments of a parent.
pub(crate) struct Commands<'a> {
    pub(crate) workers: u32,
    pub(crate) capacity: usize,
    pub(crate) retries: u32,
    pub(crate) seed: u64,
    pub(crate) scratch: &'a Path,
}

impl Commands<'_> {
    pub(crate) fn to_arguments(&self) -> Vec<String> {
        vec![
            NAME.to_owned(),
            self.workers.to_string(),
            self.capacity.to_string(),
            self.retries.to_string(),
            self.seed.to_string(),
            self.scratch.display().to_string(),
        ]
    }
}

/// Is a parent if the arguments say so; false if they don't.
pub(crate) fn play(arguments: &[String]) -> bool {
    let [name, workers, capacity, retries, seed, scratch] = arguments else {
        return false;
    };
    if name != NAME {
        return false;
    }
    let number = |text: &String| text.parse::<usize>().expect("a number");
    let orders = Commands {
        workers: workers.parse().expect("a number"),
        capacity: number(capacity),
        retries: retries.parse().expect("a number"),
        seed: seed.parse().expect("a number"),
        scratch: Path::new(scratch),
    };
    match start(&orders) {
        Ok(pool) => Parent::new(&pool, &orders).live(),
        Err(error @ (StartError::Died { .. } | StartError::TimedOut)) => {
            println!("{STILLBORN}: {error}");
        }
        Err(other) => panic!("start a pool: {other}"),
    }
    true
}

fn start(orders: &Commands<'_>) -> Result<Pool<Work>, StartError> {
    let millis = Duration::from_millis;
    Pool::builder()
        .workers(orders.workers as usize)
        .capacity(orders.capacity)
        .retries(orders.retries)
        .retry_backoff(millis(1), millis(5))
        .respawn_backoff(millis(1), millis(20))
        // Workers are killed as fast as they come: that is no reason to give up.
        .max_worker_failures(u32::MAX)
        .start()
}

struct Parent<'a> {
    pool: &'a Pool<Work>,
    scratch: &'a Path,
    retries: u32,
    ledger: Ledger,
    rng: Rng,
    /// The pool is being shut down, and what is in flight cancelled.
    is_cancelled: AtomicBool,
    /// The pool is shut down.
    is_over: AtomicBool,
}

impl<'a> Parent<'a> {
    fn new(pool: &'a Pool<Work>, orders: &Commands<'a>) -> Self {
        Self {
            pool,
            scratch: orders.scratch,
            retries: orders.retries,
            ledger: ledger(orders.scratch),
            rng: Rng::with_seed(orders.seed),
            is_cancelled: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        }
    }

    fn note(&self, kind: Kind, task: u64, attempt: u32) {
        let about = About {
            task,
            attempt,
            pid: 0,
        };
        self.ledger.note(kind as u8, about.number());
    }

    fn live(mut self) {
        let mut rng = self.rng.fork();
        let this = &self;
        thread::scope(|scope| {
            scope.spawn(|| this.read());
            let how = this.submit(&mut rng);
            this.is_cancelled
                .store(how == Shutdown::Cancel, Ordering::SeqCst);
            let report = this.pool.shutdown(how, LONG).expect("this is no fork");
            this.is_over.store(true, Ordering::SeqCst);
            println!(
                "{REPORT} {} {} {} {} {} {} {} {} {} {}",
                report.submitted,
                report.completed,
                report.failed,
                report.timed_out,
                report.cancelled,
                report.lost,
                report.started,
                report.died,
                report.killed,
                report.retried
            );
        });
    }

    /// Submits until it is told to end, and how.
    fn submit(&self, rng: &mut Rng) -> Shutdown {
        loop {
            match fs::read_to_string(self.scratch.join(END)).as_deref() {
                Ok(DRAIN) => return Shutdown::Drain,
                Ok(CANCEL) => return Shutdown::Cancel,
                // Not yet, or it is just being written.
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
            self.note(Kind::Accepted, handle.id().get(), 0);
            if rng.u8(0..16) == 0 {
                handle.cancel();
            }
        }
    }

    /// Reads outcomes until there will be no more.
    fn read(&self) {
        loop {
            // Before the look: whatever comes afterwards comes out of the pool's end.
            let is_over = self.is_over.load(Ordering::SeqCst);
            self.pool.drain().for_each(|outcome| self.file(&outcome));
            if is_over {
                return;
            }
            thread::yield_now();
        }
    }

    fn file(&self, outcome: &OutcomeOf<Work>) {
        let kind = match &outcome.result {
            Ok(()) => Kind::Completed,
            Err(TaskError::Crashed { .. }) if outcome.attempts == self.retries + 1 => Kind::Crashed,
            // What is cut short by the end is not tried again; the flag is up before that can be.
            Err(TaskError::Crashed { .. }) if self.is_cancelled.load(Ordering::SeqCst) => {
                Kind::CutShort
            }
            Err(TaskError::Cancelled) => Kind::Cancelled,
            Err(other) => panic!("{outcome:?}, {} retries: {other}", self.retries),
        };
        self.note(kind, outcome.id.get(), outcome.attempts);
    }
}
