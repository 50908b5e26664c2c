//! A pool as one makes it by hand of ipc-channel: a channel to each worker, and one back from all of them. It knows of no
//! deaths, no limits and no shutdown but the end of its channels.

use crate::{NoOp, sum_below, window};
use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};
use serde::{Deserialize, Serialize};
use std::process::{Child, Command};

/// Tells a process that it is a worker, and where its parent listens.
const VARIABLE: &str = "COMPARE_BY_HAND";

/// What came of a chunk, and who has done it.
#[derive(Serialize, Deserialize)]
struct Done {
    worker: usize,
    outputs: Vec<NoOp>,
}

/// The first message to a worker.
#[derive(Serialize, Deserialize)]
struct Start {
    worker: usize,
    tasks: IpcReceiver<Vec<NoOp>>,
    results: IpcSender<Done>,
}

pub(crate) fn run_if_worker() {
    let Ok(name) = std::env::var(VARIABLE) else {
        return;
    };
    let hello = IpcSender::<IpcSender<Start>>::connect(name).expect("the parent listens");
    let (to_me, start) = ipc::channel::<Start>().expect("a channel");
    hello.send(to_me).expect("the parent listens");
    let Start {
        worker,
        tasks,
        results,
    } = start.recv().expect("a start");
    while let Ok(tasks) = tasks.recv() {
        let outputs = tasks.into_iter().map(no_op).collect();
        results
            .send(Done { worker, outputs })
            .expect("the parent listens");
    }
    std::process::exit(0)
}

#[inline(never)]
fn no_op(task: NoOp) -> NoOp {
    task
}

pub(crate) struct ByHand {
    workers: Vec<(Child, IpcSender<Vec<NoOp>>)>,
    results: IpcReceiver<Done>,
}

impl ByHand {
    pub(crate) fn start(workers: usize) -> Self {
        let (to_us, results) = ipc::channel().expect("a channel");
        let start = |worker| {
            let (server, name) = IpcOneShotServer::<IpcSender<Start>>::new().expect("a server");
            let mut command = Command::new(std::env::current_exe().expect("this program"));
            let child = command.env(VARIABLE, name).spawn().expect("a worker");
            let (_, to_it) = server.accept().expect("a worker");
            let (tasks, theirs) = ipc::channel().expect("a channel");
            let start = Start {
                worker,
                tasks: theirs,
                results: to_us.clone(),
            };
            to_it.send(start).expect("it listens");
            (child, tasks)
        };
        Self {
            workers: (0..workers).map(start).collect(),
            results,
        }
    }

    /// Each worker has its share of the window. A worker that has finished a chunk gets the next one.
    pub(crate) fn run(&mut self, chunk: usize, tasks: u64) {
        let mut source = (0..tasks).map(NoOp::new);
        let (mut received, mut sum) = (0, 0);
        let chunks = window(chunk) / chunk;
        for number in 0..chunks {
            self.feed(number % self.workers.len(), chunk, &mut source);
        }
        while received < tasks {
            let Done { worker, outputs } = self.results.recv().expect("a result");
            received += outputs.len() as u64;
            sum += outputs.into_iter().map(NoOp::number).sum::<u64>();
            self.feed(worker, chunk, &mut source);
        }
        assert_eq!(sum, sum_below(tasks), "tasks were lost or doubled");
    }

    fn feed(&self, worker: usize, chunk: usize, source: &mut impl Iterator<Item = NoOp>) {
        let tasks: Vec<NoOp> = source.take(chunk).collect();
        if !tasks.is_empty() {
            self.workers[worker].1.send(tasks).expect("it listens");
        }
    }

    pub(crate) fn end(self) {
        for (mut child, tasks) in self.workers {
            drop(tasks);
            assert!(child.wait().expect("wait").success());
        }
    }
}
