//! Errors: one type for each operation.
//!
//! | operation                           | waits             | does not wait        | waits for a limited time |
//! |-------------------------------------|-------------------|----------------------|--------------------------|
//! | send, reserve, commit               | [`SendError`]     | [`TrySendError`]     | [`SendTimeoutError`]     |
//! | send many messages                  | [`SendManyError`] | [`TrySendManyError`] | [`SendManyTimeoutError`] |
//! | receive, lease, receive with a watch | [`RecvError`]    | [`TryRecvError`]     | [`RecvTimeoutError`]     |
//! | select among several queues         | [`SelectError`]   | [`TrySelectError`]   | [`SelectTimeoutError`]   |
//! | submit a task to a pool             | [`SubmitError`]   | [`TrySubmitError`]   |                          |
//!
//! | operation                                       | error                                   |
//! |-------------------------------------------------|-----------------------------------------|
//! | make a queue, without or with a name            | [`CreateError`], [`CreateNamedError`]   |
//! | open or remove a queue that has a name          | [`OpenError`], [`RemoveError`]          |
//! | open a queue, or create it if there is none     | [`OpenOrCreateError`]                   |
//! | give an end to a child process, and inherit it  | [`HandoffError`], [`InheritError`]      |
//! | listen for connections of other processes       | `BindError`, `AcceptError`              |
//! | connect to another process                      | `ConnectError`                          |
//! | give an end over a connection, and take it      | `GiveError`, `TakeError`                |
//! | send a request, and wait for its answer         | [`RequestError`], [`ReplyError`]        |
//! | watch a file descriptor                         | [`WatchError`]                          |
//! | start or shut down a pool                       | [`StartError`], [`ShutdownError`]       |
//! | wait for several tasks                          | [`JoinTimeout`], [`WaitAnyError`]       |
//! | recycle or resize a pool                        | [`RolloutError`]                        |
//! | emit a value from a task, and read it           | [`EmitError`], [`ProgressError`]        |
//! | encode or decode a message                      | [`EncodeError`], [`DecodeError`]        |
//!
//! The same rules hold for all of them:
//!
//! - `Display` is one sentence in lower case: what failed, a colon, and what to do next.
//! - [`source()`](std::error::Error::source) returns the error that caused this one, and `Display` does not repeat it. A
//!   variant that only passes on another error of this module has the sentence and the source of that error.
//! - Two errors are equal if all their parts are. Errors of the operating system are compared by their
//!   [kind](std::io::Error::kind).

// One file for each family of operations. `memory` has the limits that several of them report, `text` and `equality` the
// sentences and comparisons that they share.
mod create;
mod equality;
mod handoff;
mod join;
mod memory;
mod open;
mod pool;
mod progress;
mod recv;
#[cfg(feature = "rendezvous")]
mod rendezvous;
mod request;
mod select;
mod send;
mod send_many;
mod start;
mod text;
#[cfg(feature = "rendezvous")]
mod transfer;
mod watch;

#[cfg(test)]
mod tests;

pub use crate::codec::{DecodeError, EncodeError};
pub use create::{CreateError, CreateNamedError};
pub use handoff::{HandoffError, InheritError};
pub use join::{JoinTimeout, WaitAnyError};
pub use memory::MemoryLimit;
pub(crate) use memory::OutOfMemory;
pub use open::{OpenError, OpenOrCreateError, RemoveError};
pub use pool::{RolloutError, ShutdownError, SubmitError, TrySubmitError};
pub use progress::{EmitError, ProgressError};
pub use recv::{RecvError, RecvTimeoutError, TryRecvError};
#[cfg(feature = "rendezvous")]
pub use rendezvous::{AcceptError, BindError, ConnectError};
pub use request::{ReplyError, RequestError};
pub use select::{SelectError, SelectTimeoutError, TrySelectError};
pub use send::{SendError, SendTimeoutError, TrySendError};
pub use send_many::{SendManyError, SendManyTimeoutError, TrySendManyError, Unsent};
pub use start::StartError;
pub(crate) use start::ending;
pub(crate) use text::with_causes;
#[cfg(feature = "rendezvous")]
pub use transfer::{GiveError, TakeError};
pub use watch::WatchError;
