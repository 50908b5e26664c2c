//! The trait that users implement for their tasks.

use super::context::Context;
use super::outcome::{Outcome, TaskError};
use super::wire::shape::shape;
use super::worker_state::States;
use core::time::Duration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;

/// Work that runs in a worker process: a value that is sent there, and the function to run on it.
///
/// `#[workring::task]` makes one of a function.
///
/// The task, its output and its error travel between processes, so all three are serde types. Several kinds of work are
/// variants of one enum.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use workring::pool::{Context, Task};
///
/// #[derive(Serialize, Deserialize)]
/// enum Geometry {
///     Area { radius: f64 },
///     Corners(u32),
/// }
///
/// impl Task for Geometry {
///     type Output = f64;
///     type Error = String;
///
///     fn run(self, _: &Context) -> Result<f64, String> {
///         match self {
///             Self::Area { radius } => Ok(std::f64::consts::PI * radius * radius),
///             Self::Corners(n) if n < 3 => Err(format!("there is no polygon with {n} corners")),
///             Self::Corners(n) => Ok(f64::from(n - 2) * 180.0),
///         }
///     }
/// }
/// ```
pub trait Task: Serialize + DeserializeOwned + Send + 'static {
    /// The result of a task that succeeds.
    type Output: Serialize + DeserializeOwned + Send + 'static;
    /// The error that the task itself returns.
    type Error: Serialize + DeserializeOwned + Send + 'static;

    /// A version of the task's meaning. A worker whose program has another number is refused.
    ///
    /// Workers are this same program, unless [`Builder::program`](super::Builder::program) names another. Then the names of the
    /// types, of the task's fields or variants, and of those of its output and error are compared, in their order. What is
    /// inside these is not: raise the number when it changes.
    const SCHEMA: u64 = 0;

    /// Returns what a worker compares with its own. For `#[task]` only.
    #[doc(hidden)]
    #[must_use]
    fn __shape() -> String {
        shape::<Self>()
    }

    /// Runs the task in a worker process, on its main thread. A panic is caught and becomes the task's outcome.
    ///
    /// # Errors
    ///
    /// Any error of the task. The caller gets it as [`TaskError::Failed`].
    fn run(self, context: &Context) -> Result<Self::Output, Self::Error>;

    /// Returns the time limit of this task, which replaces the pool's [`time_limit`](super::Builder::time_limit).
    /// `None`, the default, keeps the pool's.
    ///
    /// Called once, in the parent, when the task is submitted or [taken from a map's iterator](super::TypedPool::map). The
    /// limit holds for each attempt. The pool's [soft limit](super::Builder::soft_time_limit) is the same for all
    /// tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use workring::pool::{Context, TypedPool, Task, TaskError, run_if_worker_for};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Sleep {
    ///     seconds: u64,
    ///     at_most: Duration,
    /// }
    ///
    /// impl Task for Sleep {
    ///     type Output = ();
    ///     type Error = ();
    ///
    ///     fn run(self, _: &Context) -> Result<(), ()> {
    ///         std::thread::sleep(Duration::from_secs(self.seconds));
    ///         Ok(())
    ///     }
    ///
    ///     fn time_limit(&self) -> Option<Duration> {
    ///         Some(self.at_most)
    ///     }
    /// }
    ///
    /// fn main() {
    ///     run_if_worker_for::<Sleep>();
    ///     let pool = TypedPool::<Sleep>::builder().start().expect("a pool");
    ///     let sleep = Sleep { seconds: 1000, at_most: Duration::from_millis(10) };
    ///     let handle = pool.submit(sleep).expect("open");
    ///     assert!(matches!(handle.wait(), Err(TaskError::TimedOut)));
    /// }
    /// ```
    fn time_limit(&self) -> Option<Duration> {
        None
    }

    /// Returns how many times this task is retried if its worker dies while it runs the task, instead of the pool's
    /// [`retries`](super::Builder::retries). `None`, the default, keeps the pool's.
    ///
    /// Called like [`time_limit`](Task::time_limit), once, in the parent.
    fn retries(&self) -> Option<u32> {
        None
    }

    /// Prepares a worker process before its first task: opens a database, loads a model. Does nothing by default.
    ///
    /// # Errors
    ///
    /// Any error ends the worker. Then [`Builder::start`](super::Builder::start) fails with its text. In a pool that
    /// has started already, the worker is started again after a delay.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error;
    /// use std::sync::OnceLock;
    /// use workring::pool::{Context, TypedPool, Task, run_if_worker_for};
    ///
    /// static WORDS: OnceLock<Vec<String>> = OnceLock::new();
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct IsWord(String);
    ///
    /// impl Task for IsWord {
    ///     type Output = bool;
    ///     type Error = String;
    ///
    ///     fn run(self, _: &Context) -> Result<bool, String> {
    ///         let words = WORDS.get().ok_or("not prepared")?;
    ///         Ok(words.contains(&self.0))
    ///     }
    ///
    ///     fn prepare_worker() -> Result<(), Box<dyn Error + Send + Sync>> {
    ///         // In a real program, from a large file.
    ///         WORDS.get_or_init(|| vec!["ring".to_owned(), "work".to_owned()]);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// fn main() {
    ///     run_if_worker_for::<IsWord>();
    ///     let pool = TypedPool::<IsWord>::builder().start().expect("a pool");
    ///     let handle = pool.submit(IsWord("ring".to_owned())).expect("open");
    ///     assert!(handle.wait().expect("an output"));
    /// }
    /// ```
    fn prepare_worker() -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }

    /// Builds the [states](super::WorkerState) that the task [uses](Context::with_state), with [`States::build`] for each.
    /// Called after [`prepare_worker`](Task::prepare_worker), and again after a panic of the task. Does nothing by default.
    ///
    /// # Errors
    ///
    /// As for [`prepare_worker`](Task::prepare_worker).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error;
    /// use workring::pool::{Context, Failure, States, Task, TypedPool, WorkerState, run_if_worker_for};
    ///
    /// struct Total(u64);
    ///
    /// impl WorkerState for Total {
    ///     type Init = u64;
    ///
    ///     fn build(start: u64) -> Result<Self, Failure> {
    ///         Ok(Self(start))
    ///     }
    /// }
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Add(u64);
    ///
    /// impl Task for Add {
    ///     type Output = u64;
    ///     type Error = Failure;
    ///
    ///     fn run(self, context: &Context) -> Result<u64, Failure> {
    ///         Ok(context.with_state(|total: &mut Total| {
    ///             total.0 += self.0;
    ///             total.0
    ///         }))
    ///     }
    ///
    ///     fn build_states(states: &mut States) -> Result<(), Box<dyn Error + Send + Sync>> {
    ///         states.build::<Total>()
    ///     }
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn Error>> {
    ///     run_if_worker_for::<Add>();
    ///     let pool = TypedPool::<Add>::builder().workers(1).init::<Total>(100).start()?;
    ///     assert_eq!(pool.submit(Add(5))?.wait()?, 105);
    ///     assert_eq!(pool.submit(Add(6))?.wait()?, 111);
    ///     Ok(())
    /// }
    /// ```
    fn build_states(states: &mut States) -> Result<(), Box<dyn Error + Send + Sync>> {
        let _ = states;
        Ok(())
    }
}

/// The [`Outcome`] of a task of type `T`.
pub type OutcomeOf<T> = Outcome<<T as Task>::Output, <T as Task>::Error>;

/// The result of a task of type `T`.
pub type ResultOf<T> = Result<<T as Task>::Output, TaskError<<T as Task>::Error>>;
