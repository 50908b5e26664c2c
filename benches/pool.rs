//! Speed of a pool of worker processes, with tasks that do nothing.
//!
//!     cargo bench --bench pool                           # all but `large`
//!     cargo bench --bench pool -- map 64                 # tasks a second, in chunks of 64
//!     cargo bench --bench pool -- map 1 4 20             # by four workers, each task keeps one busy for 20 us
//!     cargo bench --bench pool -- registered 1           # the pool of registered tasks next to that of one type
//!     cargo bench --bench pool -- one                    # round trip of one task, next to two hops of a queue
//!     cargo bench --bench pool -- life                   # start and shutdown
//!     cargo bench --bench pool -- large                  # start of a worker by a process that uses 6 GiB
//!
//! A task is 64 bytes, all of them written before it is submitted. Its output is the same 64 bytes, all of them
//! checked. There are two workers. `benches/compare` measures the same for other pools.
//!
//! How to read the lines:
//!
//! - `map_unordered`: throughput of many tasks, the median and all runs.
//! - `round trip of one task`: from `submit` to the output on an idle pool, and next to it a message to another process
//!   and back through two queues. All processes sleep before. The ratio shows what the pool adds to the queues.
//! - `four workers`: `start` until four workers are ready, and `shutdown` until all of them have ended. Next to it, four
//!   processes of the same program that end at once, from the start of the first until all have ended.
//! - `one worker`, `Handoff::spawn` (of `large`): the start of a child before and after this process has taken 6 GiB. A
//!   ratio of 1 means that the memory of the parent does not matter.

mod support;

use serde::{Deserialize, Serialize};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use support::{RUNS, arguments, as_float, median, print_origin, read_message, write_message};
#[cfg(feature = "macros")]
use workring::Pool;
use workring::pool::{Context, OutcomeOf, Shutdown, Task, TypedPool, run_if_worker_for};
use workring::{Handoff, Options, Receiver, Sender, inherit};

/// How long each task keeps its worker busy. Workers get it in this variable of their environment.
static BUSY: LazyLock<Option<Duration>> = LazyLock::new(|| {
    let time = std::env::var(BUSY_MICROSECONDS).ok()?.parse();
    Some(Duration::from_micros(time.expect("microseconds")))
});
const BUSY_MICROSECONDS: &str = "WORKRING_BENCH_BUSY";

/// A task that does nothing, unless there is [`BUSY`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct NoOp([u64; 8]);

impl Task for NoOp {
    type Output = Self;
    type Error = ();

    #[inline(always)]
    fn run(self, _: &Context) -> Result<Self, ()> {
        if let Some(time) = *BUSY {
            let end = Instant::now() + time;
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
        Ok(self)
    }
}

#[cfg(feature = "macros")]
workring::register!(NoOp);

impl NoOp {
    fn new(number: u64) -> Self {
        let mut bytes = [0; 64];
        write_message(&mut bytes, number);
        let mut words = [0; 8];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        }
        Self(words)
    }

    /// Checks all of it, and returns its number.
    fn number(self) -> u64 {
        let mut bytes = [0; 64];
        for (word, chunk) in self.0.iter().zip(bytes.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        read_message(&bytes)
    }
}

/// How long a shutdown may take, far more than it should.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(60);

fn main() {
    run_if_worker_for::<NoOp>();
    let arguments = arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["child"] => child(),
        ["nothing"] => {}
        ["map", chunk] => {
            print_origin();
            throughput(&start(2), chunk.parse().expect("a chunk size"), 1_000_000);
        }
        ["map", chunk, workers, busy] => {
            print_origin();
            let builder = TypedPool::builder().workers(workers.parse::<usize>().expect("a number"));
            let pool = builder.env(BUSY_MICROSECONDS, busy).start();
            let chunk = chunk.parse().expect("a chunk size");
            throughput(&pool.expect("a pool"), chunk, 50_000);
        }
        #[cfg(feature = "macros")]
        ["registered", chunk] => {
            print_origin();
            registered(chunk.parse().expect("a chunk size"));
        }
        ["one"] => {
            print_origin();
            round_trip();
        }
        ["life"] => {
            print_origin();
            start_and_shutdown();
        }
        ["large"] => {
            print_origin();
            start_in_large_process();
        }
        [] => {
            print_origin();
            throughput(&start(2), 1, 1_000_000);
            throughput(&start(2), 64, 1_000_000);
            round_trip();
            start_and_shutdown();
        }
        other => panic!("see the first lines of this file; got {other:?}"),
    }
}

fn start(workers: usize) -> TypedPool<NoOp> {
    TypedPool::builder()
        .workers(workers)
        .start()
        .expect("a pool")
}

fn end(pool: &TypedPool<NoOp>) -> Duration {
    let report = pool
        .shutdown(Shutdown::Drain, SHUTDOWN_LIMIT)
        .expect("the pool's own process");
    assert!(report.is_balanced() && report.died == 0, "{report}");
    report.took
}

/// Measures tasks a second through `map_unordered`, with 64 tasks or four chunks in flight, whichever is more.
fn throughput(pool: &TypedPool<NoOp>, chunk: usize, tasks: u64) {
    let window = 64.max(4 * chunk);
    let run = |tasks: u64| {
        let all = pool.map_unordered((0..tasks).map(NoOp::new));
        measure(all.chunk(chunk).window(window), tasks)
    };
    run(10_000);
    let mut figures = Vec::new();
    for _ in 0..RUNS {
        figures.push(run(tasks));
    }
    println!(
        "map_unordered, chunk {chunk:>2}, window {window:>3}: {:.2} million tasks a second; of {RUNS}: {figures:.2?}",
        median(&figures)
    );
    end(pool);
}

/// Runs all tasks of a map, and returns how many million a second.
fn measure(outcomes: impl Iterator<Item = OutcomeOf<NoOp>>, tasks: u64) -> f64 {
    let began = Instant::now();
    let mut sum = 0;
    for outcome in outcomes {
        sum += outcome.result.expect("an output").number();
    }
    assert_eq!(
        sum,
        tasks * (tasks - 1) / 2,
        "tasks were lost or duplicated"
    );
    as_float(tasks) / began.elapsed().as_secs_f64() / 1e6
}

/// Measures the throughput of the pool of registered tasks next to that of one type, in turn.
#[cfg(feature = "macros")]
fn registered(chunk: usize) {
    let (tasks, window) = (500_000_u64, 64.max(4 * chunk));
    let typed = start(2);
    let all = Pool::start(2).expect("a pool");
    let mut ratios = Vec::new();
    for _ in 0..RUNS {
        let tasks_of_one = typed.map_unordered((0..tasks).map(NoOp::new));
        let one = measure(tasks_of_one.chunk(chunk).window(window), tasks);
        let tasks_of_any = all.map_unordered((0..tasks).map(NoOp::new));
        let any = measure(tasks_of_any.chunk(chunk).window(window), tasks);
        println!(
            "one type: {one:.2} million tasks a second; registered: {any:.2}; ratio {:.2}",
            any / one
        );
        ratios.push(any / one);
    }
    println!(
        "registered / one type, chunk {chunk}, median of {RUNS}: {:.2}",
        median(&ratios)
    );
    end(&typed);
    let report = all.shutdown(Shutdown::Drain, SHUTDOWN_LIMIT);
    assert!(report.is_ok_and(|report| report.is_balanced()));
}

/// Measures the round trip of one task on an idle pool, next to that of a message through two queues. All sides are
/// asleep.
fn round_trip() {
    const ROUNDS: usize = 2_000;
    let pool = start(1);
    let hops = Hops::start();
    let mut ratios = Vec::new();
    for _ in 0..RUNS {
        let (mut ours, mut raw) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS as u64 {
            ours.push(timed(|| {
                let handle = pool.submit(NoOp::new(round)).expect("open");
                assert_eq!(handle.wait().expect("an output").number(), round);
            }));
            raw.push(timed(|| hops.round_trip(round)));
        }
        let (ours, raw) = (median(&ours), median(&raw));
        println!(
            "round trip of one task: {ours:.1} us; two sleeping hops of a queue: {raw:.1} us; ratio {:.2}",
            ours / raw
        );
        ratios.push(ours / raw);
    }
    println!(
        "one task / two hops, median of {RUNS}: {:.2}",
        median(&ratios)
    );
    hops.end();
    end(&pool);
}

/// Returns how many microseconds `act` takes when all processes have been asleep for a while.
fn timed(act: impl FnOnce()) -> f64 {
    // Longer than any process spins.
    std::thread::sleep(Duration::from_micros(300));
    let began = Instant::now();
    act();
    began.elapsed().as_secs_f64() * 1e6
}

/// A child process that sends each message back.
struct Hops {
    there: Sender<NoOp>,
    back: Receiver<NoOp>,
    child: std::process::Child,
}

impl Hops {
    fn start() -> Self {
        // As for the queues of a pool.
        let options = || Options::new(1000).spin(Duration::from_micros(50));
        let (there, childs_receiver) = options().channel::<NoOp>().expect("a queue");
        let (childs_sender, back) = options().channel::<NoOp>().expect("a queue");
        let handoff = Handoff::new()
            .give("there", &childs_receiver)
            .expect("a ticket");
        let handoff = handoff.give("back", &childs_sender).expect("a ticket");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let child = handoff.spawn(command.arg("child")).expect("a child");
        Self { there, back, child }
    }

    fn round_trip(&self, round: u64) {
        self.there.send(NoOp::new(round)).expect("open");
        assert_eq!(self.back.recv().expect("open").number(), round);
    }

    fn end(mut self) {
        self.there.close();
        assert!(self.child.wait().expect("wait").success());
    }
}

fn child() {
    let there: Receiver<NoOp> = inherit("there").expect("there");
    let back: Sender<NoOp> = inherit("back").expect("back");
    while let Ok(task) = there.recv() {
        back.send(task).expect("open");
    }
}

/// Measures the start of a pool of four workers, until all are ready, and its shutdown, next to four processes that do
/// nothing.
fn start_and_shutdown() {
    let (mut starts, mut ends, mut processes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..4 * RUNS {
        let began = Instant::now();
        let pool = start(4);
        starts.push(began.elapsed().as_secs_f64() * 1e3);
        ends.push(end(&pool).as_secs_f64() * 1e3);
        let began = Instant::now();
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("nothing");
        let children = [(); 4].map(|()| command.spawn().expect("a process"));
        for mut child in children {
            assert!(child.wait().expect("wait").success());
        }
        processes.push(began.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "four workers: ready after {:.1} ms, shut down in {:.1} ms; four processes that do nothing: {:.1} ms (medians of \
         {})",
        median(&starts),
        median(&ends),
        median(&processes),
        4 * RUNS
    );
}

/// Measures the start of a pool of one worker, before and after this process has taken 6 GiB and written to all of it.
/// Does the same for a child that is started with [`Handoff`], for which the standard library forks.
fn start_in_large_process() {
    const SIZE: usize = 6 << 30;
    const PAGE: usize = 4096;
    let pools = || {
        let mut starts = Vec::new();
        for _ in 0..4 * RUNS {
            let began = Instant::now();
            let pool = start(1);
            starts.push(began.elapsed().as_secs_f64() * 1e3);
            end(&pool);
        }
        median(&starts)
    };
    let forks = || {
        let mut starts = Vec::new();
        for _ in 0..RUNS {
            let began = Instant::now();
            let hops = Hops::start();
            starts.push(began.elapsed().as_secs_f64() * 1e3);
            hops.end();
        }
        median(&starts)
    };
    let (small_pool, small_fork) = (pools(), forks());
    let mut memory = vec![0_u8; SIZE];
    memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    let (large_pool, large_fork) = (pools(), forks());
    assert_eq!(
        memory
            .iter()
            .step_by(PAGE)
            .map(|&byte| u64::from(byte))
            .sum::<u64>(),
        (SIZE / PAGE) as u64
    );
    println!(
        "one worker ready after {small_pool:.1} ms; with 6 GiB in use {large_pool:.1} ms; ratio {:.2} (medians of {})",
        large_pool / small_pool,
        4 * RUNS
    );
    println!(
        "Handoff::spawn: {small_fork:.1} ms; with 6 GiB in use {large_fork:.1} ms; ratio {:.2} (medians of {RUNS})",
        large_fork / small_fork
    );
}
