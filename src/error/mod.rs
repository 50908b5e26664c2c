//! Errors: one public type for each operation.
//!
//! | file        | operations                                                          |
//! |-------------|---------------------------------------------------------------------|
//! | `send`      | sending a message, reserving room for one, committing it            |
//! | `send_many` | sending many messages at once                                       |
//! | `recv`      | receiving and leasing                                               |
//! | `create`    | making a queue, with or without a name                              |
//! | `open`      | opening and removing a queue with a name                            |
//! | `handoff`   | giving an end of a queue to a child process, and inheriting it      |
//! | `watch`     | watching a file descriptor                                          |
//! | `start`     | starting a pool                                                     |
//! | `pool`      | submitting a task to a pool, shutting it down                       |
//! | `memory`    | the limits on memory that several of these report                   |
//! | `text`, `equality` | sentences and comparisons that several files share           |
//!
//! The same rules hold for all of them:
//!
//! - `Display` is one sentence in lower case: what failed, a colon, and what to do next.
//! - `source()` returns the error that caused this one, and `Display` does not repeat it. `with_causes` joins the
//!   two. A variant that only passes on another error of this module has the sentence and the source of that error.
//! - Two errors are equal if all parts are. Errors of the operating system are compared by their
//!   [kind](std::io::Error::kind).

mod create;
mod equality;
mod handoff;
mod memory;
mod open;
mod pool;
mod recv;
mod send;
mod send_many;
mod start;
mod text;
mod watch;

#[cfg(test)]
mod tests;

pub use crate::codec::{DecodeError, EncodeError};
pub use create::{CreateError, CreateNamedError};
pub use handoff::{HandoffError, InheritError};
pub use memory::MemoryLimit;
pub use open::{OpenError, RemoveError};
pub use pool::{ShutdownError, SubmitError, TrySubmitError};
pub use recv::{RecvError, RecvTimeoutError, TryRecvError};
pub use send::{SendError, SendTimeoutError, TrySendError};
pub use send_many::{SendManyError, SendManyTimeoutError, TrySendManyError, Unsent};
pub use start::StartError;
pub(crate) use start::ending;
pub(crate) use text::with_causes;
pub use watch::WatchError;
