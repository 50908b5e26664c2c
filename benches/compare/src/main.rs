//! No-op tasks of 64 bytes through pools of two worker processes, in one run, in turn: medians of five.
//!
//!     cd benches/compare && cargo run --release
//!
//! | pool                                | in flight                       | a chunk is                          |
//! |-------------------------------------|---------------------------------|-------------------------------------|
//! | workring, `map_unordered`           | 64 tasks, or four chunks        | a message; results come one by one  |
//! | hand-made of ipc-channel            | the same                        | a message, both ways                |
//! | Python's `ProcessPoolExecutor.map`  | all: it has no window           | a message, both ways                |
//!
//! Each writes 64 bytes for each task, and reads the 64 bytes of its result. Python is left out, with a message,
//! where there is no `python3`.

mod by_hand;
mod python;

use by_hand::ByHand;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use workring::pool::{Context, TypedPool, Shutdown, Task, run_if_worker_for};

const RUNS: usize = 5;
const WORKERS: usize = 2;

/// A task that does nothing.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct NoOp([u64; 8]);

impl NoOp {
    fn new(number: u64) -> Self {
        Self(core::array::from_fn(|n| number.wrapping_add(n as u64)))
    }

    /// Its number, after all of it was checked.
    fn number(self) -> u64 {
        let [number, ..] = self.0;
        assert_eq!(self.0, Self::new(number).0, "task {number} is damaged");
        number
    }
}

impl Task for NoOp {
    type Output = Self;
    type Error = ();

    fn run(self, _: &Context) -> Result<Self, ()> {
        Ok(self)
    }
}

/// The maximum number of tasks in flight.
fn window(chunk: usize) -> usize {
    64.max(4 * chunk)
}

fn main() {
    run_if_worker_for::<NoOp>();
    by_hand::run_if_worker();
    print_origin();
    println!("# million tasks a second, medians of {RUNS}, in turn; {WORKERS} workers");
    let pool = TypedPool::<NoOp>::builder()
        .workers(WORKERS)
        .start()
        .expect("a pool");
    let mut by_hand = ByHand::start(WORKERS);
    println!(
        "{:>6} {:>10} {:>12} {:>8} {:>8} {:>8}",
        "chunk", "workring", "ipc-channel", "ratio", "Python", "ratio"
    );
    for chunk in [1, 64] {
        let tasks = if chunk == 1 { 300_000 } else { 1_000_000 };
        let (mut ours, mut theirs, mut pythons) = (Vec::new(), Vec::new(), Vec::new());
        ours_once(&pool, chunk, 10_000);
        for _ in 0..RUNS {
            ours.push(rate(tasks, || ours_once(&pool, chunk, tasks)));
            theirs.push(rate(tasks / 4, || by_hand.run(chunk, tasks / 4)));
            pythons.extend(python::run(WORKERS, chunk));
        }
        let (ours, theirs, python) = (median(&ours), median(&theirs), median(&pythons));
        println!(
            "{chunk:>6} {ours:>10.3} {theirs:>12.3} {:>8.1} {python:>8.3} {:>8.1}",
            ours / theirs,
            ours / python
        );
    }
    by_hand.end();
    let report = pool.shutdown(Shutdown::Drain, Duration::from_secs(60));
    assert!(report.expect("this process").is_balanced());
}

fn ours_once(pool: &TypedPool<NoOp>, chunk: usize, tasks: u64) {
    let outcomes = pool.map_unordered((0..tasks).map(NoOp::new));
    let outcomes = outcomes.chunk(chunk).window(window(chunk));
    let sum: u64 = outcomes
        .map(|outcome| outcome.result.expect("an output").number())
        .sum();
    assert_eq!(sum, sum_below(tasks), "tasks were lost or doubled");
}

const fn sum_below(tasks: u64) -> u64 {
    tasks * (tasks - 1) / 2
}

/// Millions of tasks a second.
fn rate(tasks: u64, act: impl FnOnce()) -> f64 {
    let began = Instant::now();
    act();
    tasks as f64 / began.elapsed().as_secs_f64() / 1e6
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What was measured with: machine and commit.
fn print_origin() {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let git = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .output();
    let commit = git.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "# {} processors,{}, commit {}, load {}",
        std::thread::available_parallelism().map_or(1, usize::from),
        model.unwrap_or(" unknown").trim_start_matches(['\t', ':']),
        commit.unwrap_or_default(),
        load.split(' ').next().unwrap_or_default()
    );
}
