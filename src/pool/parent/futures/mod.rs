//! Futures and streams of pools. Needs the feature `async`.
//!
//! They work with any runtime, and need none of its features. None of them blocks its thread, or spins. While futures wait
//! and no thread does, the [reactor](crate::queue::futures) receives results for them.
//!
//! | method                                                            | dropping it before it has completed           |
//! |-------------------------------------------------------------------|-----------------------------------------------|
//! | `handle.await`, [`TaskHandle::outcome_async`]                     | does what dropping the handle does: the outcome goes to `drain`; or the task is cancelled, after [`TaskHandle::cancel_on_drop`] |
//! | [`TypedPool::submit_async`]                                       | drops the task, which is not submitted        |
//! | [`Map::into_stream`]                                              | does what dropping the map does: cancels its tasks in flight |
//! | [`Progress::into_stream`]                                         | loses no value that another reader could have |
//! | [`Drain::into_stream`], of the pool or of a group                 | loses no outcome                              |
//! | [`TypedPool::join_async`], also that of a group                   | changes nothing                               |
//! | [`TypedPool::shutdown_async`]                                     | does not stop the shutdown                    |
//!
//! In a forked child they complete at once, with the same errors as the blocking forms.
//!
//! [`TaskHandle::outcome_async`]: crate::pool::TaskHandle::outcome_async
//! [`TaskHandle::cancel_on_drop`]: crate::pool::TaskHandle::cancel_on_drop
//! [`TypedPool::submit_async`]: crate::pool::TypedPool::submit_async
//! [`TypedPool::join_async`]: crate::pool::TypedPool::join_async
//! [`TypedPool::shutdown_async`]: crate::pool::TypedPool::shutdown_async
//! [`Map::into_stream`]: crate::pool::Map::into_stream
//! [`Progress::into_stream`]: crate::pool::Progress::into_stream
//! [`Drain::into_stream`]: crate::pool::Drain::into_stream

// `outcome` waits for one task, `progress` for what it emits, `submit` for room, `streams` for the outcomes of many, `join` for all
// tasks; `shutdown` has a thread while the
// pool shuts down. The others only look at the table of tasks, and register their wakers there (`super::results`).
mod join;
mod outcome;
mod progress;
mod shutdown;
mod streams;
mod submit;

pub use join::JoinFuture;
pub use outcome::{OutcomeFuture, TaskFuture};
pub use progress::ProgressStream;
pub use shutdown::ShutdownFuture;
#[cfg(feature = "macros")]
pub use streams::AnyDrainStream;
pub use streams::{DrainStream, MapStream};
pub use submit::SubmitFuture;
