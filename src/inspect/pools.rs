//! Pools: found by their boards, with their workers and what these run.

use super::address::Address;
use super::find::{Anonymous, Open};
use super::view::QueueView;
use crate::os::{clock, open_files};
use crate::pool::observed::{self, TaskPhase};
use crate::segment::board::image::{self, BoardImageError, WorkerImage};
use core::time::Duration;
use std::collections::BTreeMap;

/// What a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Task {
    /// The number of the task.
    pub id: u64,
    /// How long it has been running.
    pub age: Duration,
    /// What the worker does with it: `decoding`, `running`, or `sending` its result.
    pub phase: &'static str,
}

/// A worker of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolWorker {
    /// Its number in the pool.
    pub slot: u32,
    /// Its process; `None`: none runs at this number now.
    pub pid: Option<u32>,
    /// Whether the process is stopped.
    pub is_stopped: bool,
    /// What it runs; `None`: it is idle.
    pub task: Option<Task>,
}

/// A pool of worker processes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pool {
    /// Where its board is found.
    pub address: Address,
    /// The process that has the pool; `None`: only workers are left.
    pub parent: Option<u32>,
    /// The type of its tasks, if a worker runs.
    pub task_type: Option<String>,
    /// The queue of its tasks.
    pub tasks: Option<Address>,
    /// The queue of its results.
    pub results: Option<Address>,
    /// Its workers, up to the most that it may have.
    pub workers: Vec<PoolWorker>,
    /// Why its board cannot be read, if it cannot.
    pub problem: Option<String>,
}

/// Returns the pools among these files, and which of the files are queues of pools.
#[must_use]
pub fn pools(files: &[Anonymous]) -> Vec<Pool> {
    let queues = queues_of_pools(files);
    let boards = files.iter().filter(|file| file.is_board);
    boards
        .filter_map(|board| pool(board, board.first()?, &queues))
        .collect()
}

/// A queue of a pool: where it is, whether it has tasks (or results), and the processes that have it open.
struct PoolQueue {
    address: Address,
    has_tasks: bool,
    processes: Vec<u32>,
}

fn queues_of_pools(files: &[Anonymous]) -> Vec<PoolQueue> {
    let queue = |file: &Anonymous| {
        let address = address(file.first()?);
        let settings = QueueView::open(&address).ok()?.settings();
        let schema = settings.schema.as_deref().unwrap_or_default();
        Some(PoolQueue {
            address,
            has_tasks: observed::has_tasks(&settings.codec, schema)?,
            processes: file.processes(),
        })
    };
    let queues = files.iter().filter(|file| !file.is_board);
    queues.filter_map(queue).collect()
}

fn address(open: Open) -> Address {
    Address::Descriptor {
        process: open.process,
        descriptor: open.descriptor,
    }
}

fn pool(board: &Anonymous, first: Open, queues: &[PoolQueue]) -> Option<Pool> {
    let file = open_files::open_again(first.process, first.descriptor, false).ok()?;
    let read = image::read(&file, open_files::size(&file).ok()?);
    let now = clock::now();
    let mut workers = BTreeMap::new();
    let (mut parent, mut task_type) = (None, None);
    for process in board.processes() {
        match observed::worker_of(process) {
            Some(worker) => {
                task_type = Some(worker.task_type);
                // A child that a worker forks looks like the worker, and has a higher number.
                workers.entry(worker.slot).or_insert(process);
            }
            None => parent = parent.or(Some(process)),
        }
    }
    let (images, problem) = match read {
        Ok(images) => (images, None),
        Err(error) => (Vec::new(), Some(problem_of(&error))),
    };
    let worker = |(slot, image): (u32, &WorkerImage)| {
        let pid = workers.get(&slot).copied();
        let process = pid.and_then(open_files::process);
        PoolWorker {
            slot,
            pid,
            is_stopped: process.is_some_and(|process| process.is_stopped),
            task: task(image, now),
        }
    };
    Some(Pool {
        address: address(first),
        parent,
        task_type,
        tasks: queue_of(board, queues, true),
        results: queue_of(board, queues, false),
        workers: (0..).zip(&images).map(worker).collect(),
        problem,
    })
}

/// Returns the queue of tasks, or of results, that all processes of a board have open.
fn queue_of(board: &Anonymous, queues: &[PoolQueue], has_tasks: bool) -> Option<Address> {
    let processes = board.processes();
    let mut matching = queues.iter().filter(|queue| {
        let has_open = |process| queue.processes.contains(process);
        queue.has_tasks == has_tasks && processes.iter().all(has_open)
    });
    // With two, a process has several pools and no worker tells them apart.
    let found = matching.next()?;
    matching.next().is_none().then(|| found.address.clone())
}

fn task(image: &WorkerImage, now: u64) -> Option<Task> {
    let (id, started) = image.running?;
    Some(Task {
        id,
        age: Duration::from_nanos(now.saturating_sub(started)),
        phase: match observed::phase(image.phase) {
            TaskPhase::Decoding => "decoding",
            TaskPhase::Running => "running",
            TaskPhase::Sending => "sending",
        },
    })
}

fn problem_of(error: &BoardImageError) -> String {
    match error {
        BoardImageError::NotABoard(what) => format!("not a board: {what}"),
        BoardImageError::Version(version) => format!("a board of version {version}"),
        BoardImageError::Os(error) => format!("the board could not be read: {error}"),
    }
}
