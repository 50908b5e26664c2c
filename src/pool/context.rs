//! The context of a running task: its id, its attempt, and whether it is cancelled.

use super::outcome::TaskId;
use super::worker_state::{States, WorkerState};
use crate::codec::{Bincode, Codec};
use crate::error::EmitError;
use crate::segment::board::{Board, EmissionFlow, TaskTimes};
use crate::sync::{AtomicBool, Ordering};
use core::any::type_name;
use core::fmt;
use core::marker::PhantomData;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The state that the threads of a worker share.
#[derive(Debug)]
pub(super) struct WorkerShared {
    pub(super) board: Board,
    /// The worker's entry on the board, memory that the workers share with the parent.
    pub(super) slot: u32,
    /// Whether the worker starts no more tasks.
    pub(super) stopping: AtomicBool,
    /// Whether all tasks are cancelled.
    pub(super) cancelled: AtomicBool,
    pub(super) emitter: Box<dyn Emit>,
}

/// What sends the values of tasks.
pub(super) trait Emit: fmt::Debug + Send + Sync {
    /// Sends a value. Waits until it may, or the task `is_cancelled`.
    fn emit(
        &self,
        flow: &EmissionFlow,
        value: EncodedValue<'_>,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), EmitError>;
}

/// A value of a task, encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct EncodedValue<'a> {
    pub(super) task: TaskId,
    pub(super) attempt: u32,
    pub(super) type_name: &'static str,
    pub(super) bytes: &'a [u8],
}

impl WorkerShared {
    #[inline]
    pub(super) fn is_stopping(&self) -> bool {
        // Acquire: pairs with the store of the thread that received the order.
        self.stopping.load(Ordering::Acquire)
    }

    #[inline]
    pub(super) fn is_cancelled(&self, id: TaskId) -> bool {
        !mutant!(CancelNotReported)
            && (self.cancelled.load(Ordering::Acquire) || self.board.is_cancelled(id.0))
    }

    /// Returns the place on the board for the times of a task, if tasks are timed.
    #[inline]
    pub(super) fn times(&self, id: TaskId) -> Option<&TaskTimes> {
        self.board.times(id.0)
    }

    /// Returns how much the worker may emit; `None` in a forked child.
    fn flow(&self) -> Option<&EmissionFlow> {
        self.board.flow(self.slot)
    }

    /// Cancels all tasks, also one that waits to emit a value.
    pub(super) fn cancel_all(&self) {
        // Release: pairs with the loads in `is_cancelled` and `cancel_reason`.
        self.cancelled.store(true, Ordering::Release);
        if let Some(flow) = self.flow() {
            flow.notify();
        }
    }

    fn cancel_reason(&self, id: TaskId) -> Option<CancelReason> {
        if self.cancelled.load(Ordering::Acquire) {
            return Some(CancelReason::Shutdown);
        }
        Some(match self.board.cancel_reason(id.0)? {
            CANCELLED_BY_TIME_LIMIT => CancelReason::TimeLimit,
            _ => CancelReason::Cancelled,
        })
    }
}

/// Reasons for which a task is cancelled, as numbers on the board.
pub(super) const CANCELLED_BY_HANDLE: u64 = 0;
pub(super) const CANCELLED_BY_TIME_LIMIT: u64 = 1;

/// Why a task should end early. See [`Context::cancel_reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CancelReason {
    /// Its [handle](super::TaskHandle::cancel) cancelled it.
    Cancelled,
    /// It has run for longer than [`Builder::soft_time_limit`](super::Builder::soft_time_limit).
    TimeLimit,
    /// The pool shuts down without waiting for it.
    Shutdown,
}

/// The context of a running task: which task it is, and whether it is cancelled.
pub struct Context {
    pub(super) state: Arc<WorkerShared>,
    pub(super) id: TaskId,
    pub(super) attempt: u32,
    pub(super) states: Mutex<States>,
}

impl Context {
    /// Returns the id of the task, which is the same in each attempt.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::pool::{Context, TypedPool, Task, run_if_worker_for};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct WhoAmI;
    ///
    /// impl Task for WhoAmI {
    ///     type Output = (u64, u32);
    ///     type Error = ();
    ///
    ///     fn run(self, context: &Context) -> Result<(u64, u32), ()> {
    ///         Ok((context.id().get(), context.attempt()))
    ///     }
    /// }
    ///
    /// fn main() {
    ///     run_if_worker_for::<WhoAmI>();
    ///     let pool = TypedPool::<WhoAmI>::builder().start().expect("a pool");
    ///     let handle = pool.submit(WhoAmI).expect("open");
    ///     let id = handle.id().get();
    ///     assert_eq!(handle.wait().expect("an output"), (id, 1));
    /// }
    /// ```
    #[must_use]
    pub const fn id(&self) -> TaskId {
        self.id
    }

    /// Returns the number of this attempt to run the task, from 1. It rises if a worker dies while it runs the task and
    /// the task is [retried](super::Builder::retries).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use workring::pool::{Context, TypedPool, Task, run_if_worker_for};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct CrashOnce;
    ///
    /// impl Task for CrashOnce {
    ///     type Output = u32;
    ///     type Error = ();
    ///
    ///     fn run(self, context: &Context) -> Result<u32, ()> {
    ///         match context.attempt() {
    ///             1 => std::process::exit(1),
    ///             attempt => Ok(attempt),
    ///         }
    ///     }
    /// }
    ///
    /// fn main() {
    ///     run_if_worker_for::<CrashOnce>();
    ///     let pool = TypedPool::<CrashOnce>::builder().retries(1).start().expect("a pool");
    ///     assert_eq!(pool.submit(CrashOnce).expect("open").wait().expect("an output"), 2);
    /// }
    /// ```
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns whether the task was cancelled, has exceeded its soft time limit, or runs in a pool that shuts down
    /// without waiting for it. A long task should check this regularly and return early, with any result. Never
    /// blocks; takes a few nanoseconds.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::pool::{Context, TypedPool, Task, run_if_worker_for};
    ///
    /// /// Counts until it is cancelled.
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Count;
    ///
    /// impl Task for Count {
    ///     type Output = u64;
    ///     type Error = ();
    ///
    ///     fn run(self, context: &Context) -> Result<u64, ()> {
    ///         let mut count = 0;
    ///         while !context.is_cancelled() {
    ///             count += 1;
    ///         }
    ///         Ok(count)
    ///     }
    /// }
    ///
    /// fn main() {
    ///     run_if_worker_for::<Count>();
    ///     let pool = TypedPool::<Count>::builder().start().expect("a pool");
    ///     let handle = pool.submit(Count).expect("open");
    ///     let handle = handle.wait_timeout(std::time::Duration::from_millis(50)).expect_err("it counts");
    ///     handle.cancel();
    ///     println!("{:?}", handle.wait()); // the count, or `Cancelled` if it had not started
    /// }
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.state.is_cancelled(self.id)
    }

    /// Returns why [`is_cancelled`](Context::is_cancelled) is true, or `None` if it is false. Never blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use workring::pool::{CancelReason, Context, TypedPool, Task, run_if_worker_for};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Patient;
    ///
    /// impl Task for Patient {
    ///     type Output = String;
    ///     type Error = ();
    ///
    ///     fn run(self, context: &Context) -> Result<String, ()> {
    ///         loop {
    ///             match context.cancel_reason() {
    ///                 None => std::thread::sleep(Duration::from_millis(1)),
    ///                 Some(CancelReason::TimeLimit) => return Ok("out of time".to_owned()),
    ///                 Some(_) => return Err(()),
    ///             }
    ///         }
    ///     }
    /// }
    ///
    /// fn main() {
    ///     run_if_worker_for::<Patient>();
    ///     let limit = Duration::from_millis(10);
    ///     let pool = TypedPool::<Patient>::builder().soft_time_limit(limit).start().expect("a pool");
    ///     let said = pool.submit(Patient).expect("open").wait();
    ///     assert_eq!(said.expect("an output"), "out of time");
    /// }
    /// ```
    #[must_use]
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        self.state.cancel_reason(self.id)
    }
}

impl Context {
    /// Returns the number of this worker in its pool, from 0. A worker that replaces another one has the same number.
    #[must_use]
    pub fn worker(&self) -> u32 {
        self.state.slot
    }

    /// Calls `act` with the [state](WorkerState) of type `S` of this worker. The task names it in
    /// [`Task::build_states`](super::Task::build_states), where an example is.
    ///
    /// # Panics
    ///
    /// If there is no such state, because the pool was started without [`Builder::init`](super::Builder::init) for it, or the
    /// task does not name it; if it is in use, by another thread of the task or further up; or if it can't be built again. A panic
    /// of `act` drops the state, which is built again before its next use.
    pub fn with_state<S: WorkerState, R>(&self, act: impl FnOnce(&mut S) -> R) -> R {
        let name = type_name::<S>();
        let taken = self.states.lock().take::<S>();
        let taken = taken.unwrap_or_else(|error| {
            panic!("the state `{name}` was dropped by a panic and can't be built again: {error}")
        });
        let Some(mut state) = taken else {
            panic!(
                "the worker has no free state `{name}`: give `Builder::init::<{name}>` a value, name it in \
                 `Task::build_states`, and use it once at a time"
            );
        };
        let lent = Lent::<S> {
            states: &self.states,
            state: PhantomData,
        };
        let result = act(&mut *state);
        core::mem::forget(lent);
        self.states.lock().put(state);
        result
    }

    /// Sends a value to the caller while the task runs: how far it is, or a part of its result. The caller reads the values
    /// in this order, with [`TaskHandle::progress`](super::TaskHandle::progress).
    ///
    /// Any serde type can be emitted; the caller names it. To emit several kinds of values, make them variants of one enum.
    /// A value that no one will read is dropped, which is no error.
    ///
    /// # Blocking
    ///
    /// The values wait in the parent, up to a [bound](super::Builder::progress). Beyond that, the oldest value that was not
    /// read is dropped, or, if the pool is set to [`WhenFull::Wait`](super::WhenFull::Wait), this call blocks until the caller
    /// has read one. Otherwise it blocks only until the parent has taken over what this worker has emitted before, which does
    /// not depend on the reader. A task that waits here runs: its time limits count.
    ///
    /// # Errors
    ///
    /// [`EmitError`]: the value can't be encoded or is too large; the task was cancelled while this call waited.
    ///
    /// # Panics
    ///
    /// If `Serialize` of the value does. Then nothing was sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::pool::{Context, Failure, TypedPool, Task, run_if_worker_for};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Sum(Vec<u64>);
    ///
    /// impl Task for Sum {
    ///     type Output = u64;
    ///     type Error = Failure;
    ///
    ///     fn run(self, context: &Context) -> Result<u64, Failure> {
    ///         let mut sum = 0;
    ///         for (done, number) in (1_u64..).zip(&self.0) {
    ///             sum += number;
    ///             context.emit(done)?;
    ///         }
    ///         Ok(sum)
    ///     }
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     run_if_worker_for::<Sum>();
    ///     let pool = TypedPool::<Sum>::builder().workers(1).start()?;
    ///     let handle = pool.submit(Sum(vec![5, 6, 7]))?;
    ///     let mut done = Vec::new();
    ///     for emitted in handle.progress::<u64>() {
    ///         done.push(emitted?.value);
    ///     }
    ///     assert_eq!(done, [1, 2, 3]);
    ///     assert_eq!(handle.wait()?, 18);
    ///     Ok(())
    /// }
    /// ```
    #[allow(
        clippy::needless_pass_by_value,
        reason = "as for a send: what was emitted belongs to the reader"
    )]
    pub fn emit<P: Serialize + DeserializeOwned>(&self, value: P) -> Result<(), EmitError> {
        let flow = self.state.flow().ok_or(EmitError::Forked)?;
        let encode = |source| EmitError::Encode { source };
        let mut bytes = vec![0; Bincode::encoded_len(&value).map_err(encode)?];
        let length = Bincode::encode(&value, &mut bytes).map_err(encode)?;
        bytes.truncate(length);
        let value = EncodedValue {
            task: self.id,
            attempt: self.attempt,
            type_name: type_name::<P>(),
            bytes: &bytes,
        };
        let is_cancelled = || self.is_cancelled();
        self.state.emitter.emit(flow, value, &is_cancelled)
    }
}

/// A state that a task uses. Dropping this, by a panic, notes that the state is dropped.
struct Lent<'a, S: WorkerState> {
    states: &'a Mutex<States>,
    state: PhantomData<fn() -> S>,
}

impl<S: WorkerState> Drop for Lent<'_, S> {
    fn drop(&mut self) {
        self.states.lock().note_dropped::<S>();
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.id)
            .field("attempt", &self.attempt)
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
