//! Runs tasks on each runtime that the futures of a queue must work with.

use futures::task::AtomicWaker;
use std::{
    convert::Infallible,
    fmt,
    pin::{Pin, pin},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

/// A task of a test.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// tokio with two threads.
    TokioThreads,
    /// tokio with the current thread only.
    TokioCurrent,
    /// smol with two threads.
    Smol,
    /// A thread for each task, and a `block_on` of ten lines.
    Plain,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::TokioThreads,
        Self::TokioCurrent,
        Self::Smol,
        Self::Plain,
    ];

    /// Runs all tasks at the same time, and returns when all have ended. A task that panics fails the caller.
    pub fn run(self, tasks: Vec<Task>) {
        match self {
            Self::TokioThreads => on_tokio(&mut tokio::runtime::Builder::new_multi_thread(), tasks),
            Self::TokioCurrent => {
                on_tokio(&mut tokio::runtime::Builder::new_current_thread(), tasks);
            }
            Self::Smol => on_smol(tasks),
            Self::Plain => thread::scope(|scope| {
                for task in tasks {
                    scope.spawn(|| block_on(task));
                }
            }),
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for Runtime {
    type Err = Infallible;
    fn from_str(name: &str) -> Result<Self, Infallible> {
        let found = Self::ALL.into_iter().find(|one| one.to_string() == name);
        Ok(found.unwrap_or_else(|| panic!("no runtime {name}")))
    }
}

fn on_tokio(builder: &mut tokio::runtime::Builder, tasks: Vec<Task>) {
    let runtime = builder.worker_threads(2).build().expect("a runtime");
    runtime.block_on(async {
        let started: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
        for task in started {
            task.await.expect("no panic");
        }
    });
}

/// Without `smol::block_on`, which starts a thread that never ends.
fn on_smol(tasks: Vec<Task>) {
    let executor = smol::Executor::new();
    let started: Vec<_> = tasks.into_iter().map(|task| executor.spawn(task)).collect();
    let (stop, stopped) = smol::channel::unbounded::<()>();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| block_on(executor.run(stopped.recv())));
        }
        block_on(async {
            for task in started {
                task.await;
            }
        });
        drop(stop);
    });
}

/// Runs a future on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// A waker that notes that it was called, and tells a task that waits for that.
#[derive(Debug, Default)]
pub struct Flag {
    is_set: AtomicBool,
    task: AtomicWaker,
}

impl Flag {
    /// Returns a flag that is not set.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Returns the waker that sets the flag.
    #[must_use]
    pub fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// Returns whether the waker was called.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Completes when the waker is called.
    pub async fn raised(&self) {
        std::future::poll_fn(|context| {
            self.task.register(context.waker());
            if self.is_set() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Waits until the waker is called. A watchdog is the limit.
    pub fn await_raised(&self) {
        block_on(self.raised());
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.is_set.store(true, Ordering::Release);
        self.task.wake();
    }
}

/// Polls a future once. The flag is set when it wants to be polled again.
pub fn poll_once<F: Future + Unpin>(future: &mut F, flag: &Arc<Flag>) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&flag.waker()))
}
