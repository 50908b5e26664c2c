//! Work queues and worker pools for Linux. Any process may die at any instruction; the others carry on.
//!
//! # A pool of worker processes
//!
//! A pool runs tasks in separate processes. A task that crashes takes down only its worker, not the program.
//!
//! ```no_run
//! use std::time::Duration;
//! use workring::{Failure, Pool, pool::Shutdown};
//!
//! workring::auto_worker!(); // a worker is this program, started again
//!
//! #[workring::task]
//! fn square(n: u64) -> Result<u64, Failure> {
//!     n.checked_mul(n).ok_or_else(|| Failure::new(format!("{n} is too large")))
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let pool = Pool::start(4)?;
//!     assert_eq!(pool.submit(square::new(12))?.wait()?, 144);
//!     pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
//!     Ok(())
//! }
//! ```
//!
//! [`task`](macro@task) makes the type `square` next to the function. [`pool`] has the rest: many tasks, types of tasks, limits, retries, cancellation, shutdown.
//!
//! # A queue between processes
//!
//! The pool is built on a bounded multi-producer multi-consumer queue in shared memory, which you can also use directly. Each
//! message goes to one receiver. After the queue is closed, receivers still get every accepted message, and after that
//! always the error `Closed`.
//!
//! ```
//! let (tx, rx) = workring::channel::<String>(16)?;
//! tx.send("first".to_owned())?;
//! tx.send("second".to_owned())?;
//! tx.close();
//! assert_eq!(rx.iter().collect::<Result<Vec<_>, _>>()?, ["first", "second"]);
//! assert_eq!(rx.recv(), Err(workring::RecvError::Closed));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Handoff`] gives either end to a child process, which takes it with [`inherit()`]. Processes that did not start each other
//! [open](open()) a queue by its name, which a message can carry as an [`Address`](queue::Address), or send
//! [requests](request) by it; with the feature `rendezvous` they connect, and give each other ends of queues without a name.
//! A receiver that [leases](Receiver::lease) messages acknowledges each one when its work is done; if it dies first, the
//! message goes to another receiver. [`queue`] has the rest: waiting for several queues, batches, messages in
//! place, dead letters, statistics.
//!
//! # Errors
//!
//! Each kind of operation has its own error type in [`error`], named as in the standard library. Errors of sends carry the
//! message that was not sent; sends and receives fail with `Closed` once the queue is closed. Operations do not panic unless
//! code of the program that they call does (serde, `Drop`, an iterator), or the program completes an operation of a
//! [`Select`](queue::Select) with another queue than it has selected. Everything read from shared memory is checked
//! before use; impossible values are the error `Corrupt`.
//!
//! # More
//!
//! The package contains `docs/GUARANTEES.md`, which states every guarantee with the test that shows it, and descriptions of
//! the architecture, the verification and the benchmarks.
//!
//! | feature | default | what it does |
//! |---------|---------|--------------|
//! | `macros` | yes | tasks from functions ([`task`](macro@task)), [`Pool`], which runs all of them, and workers that begin before `main` ([`auto_worker!`]) |
//! | `tracing` | yes | reports deaths, recoveries and workers' logs as [tracing](https://docs.rs/tracing) events |
//! | `async` | no | futures, a `Stream` and a `Sink` for queues, for any runtime ([`queue::futures`](queue/futures/index.html)) |
//! | `bytemuck` | no | values that are plain old data, written and read in place ([`queue::Bytemuck`](queue/struct.Bytemuck.html)) |
//! | `postcard`, `json` | no | the codecs [`queue::Postcard`](queue/struct.Postcard.html) and [`queue::Json`](queue/struct.Json.html); which one carries what: [`queue::Codec`](queue::Codec#what-each-codec-carries) |
//! | `metrics` | no | the figures of pools for the facade [metrics](https://docs.rs/metrics) ([`pool`](pool#metrics)) |
//! | `rendezvous` | no | processes that did not start each other connect by a name, and give each other ends of queues ([`rendezvous`](rendezvous/index.html)) |
//! | `shared-memory` | no | named queues in mappings of the crate [shared_memory](https://docs.rs/shared_memory/0.12.4) ([`queue::open_on`](queue/fn.open_on.html)) |
//! | `cli` | no | the command line `workring`, to see and steer queues from a terminal: `docs/CLI.md` |
//! | `testing` | no | for your own tests: finds what a test has left behind ([`testing::leak_guard`](testing/fn.leak_guard.html)) |
//! | `test-hooks` | no | internal hooks for this crate's own tests; unstable |
//!
//! The queue is based on Dmitry Vyukov's bounded queue, changed so that a process that stops in the middle of an operation
//! blocks no other. Sleeping uses event counts (Reed and Kanodia, 1979).

// `mutant!(X)` is the constant `false`, except in test builds that switch on the deliberate fault X.
#[macro_use]
mod mutants;

#[cfg(not(loom))]
mod announce;
mod codec;
pub mod error;
#[cfg(all(feature = "cli", not(loom)))]
#[doc(hidden)]
pub mod inspect;
#[cfg(not(loom))]
mod os;
#[cfg(not(loom))]
pub mod pool;
mod protocol;
#[cfg(not(loom))]
pub mod queue;
#[cfg(all(loom, feature = "async"))]
#[path = "queue/under_loom.rs"]
mod queue;
#[cfg(not(loom))]
pub mod request;
#[cfg(not(loom))]
mod segment;
mod sync;
#[cfg(all(feature = "testing", not(loom)))]
pub mod testing;

pub use error::{RecvError, SendError};
#[cfg(all(feature = "macros", not(loom)))]
pub use pool::{AnyOutcome, Pool, run_if_worker};
#[cfg(not(loom))]
pub use pool::{Context, Failure, Task, TaskError, TypedPool, run_if_worker_for};
#[cfg(not(loom))]
pub use queue::{Handoff, Lease, Options, Receiver, Sender, channel, inherit, open};

#[cfg(all(feature = "rendezvous", not(loom)))]
pub use queue::rendezvous;
#[cfg(all(feature = "test-hooks", not(loom)))]
#[doc(hidden)]
pub use queue::test_hooks;

#[cfg(all(feature = "macros", not(loom)))]
#[doc(hidden)]
pub use pool::macros as __private;
#[cfg(all(feature = "macros", not(loom)))]
/// Makes a task of a function: `square::new(12)` is a value that a [`Pool`] sends to a worker, which calls `square(12)`.
///
/// The function stays as it is, and can be called. Next to it comes a type of the same name and visibility, with the function
/// `new`, which takes the same arguments. The type implements [`Task`] and is [registered](register!), so that a [`Pool`]
/// runs it.
///
/// | of the function | |
/// |---|---|
/// | arguments | serde types that own what they contain. If the first is a `&Context`, the task gets its [`Context`] there, and `new` has no such argument. A `&mut S` after that lends the task the [state](pool::WorkerState) of type `S` that its worker keeps. |
/// | result | `Result<T, E>`, under any path and name that ends in `Result`; or any other type, for a task that does not fail. `T` is a serde type. |
/// | error | Becomes a [`Failure`]: a `Failure` as it is; any [`Error`](std::error::Error) with its sources; what can be boxed as one, such as `anyhow::Error` and `String`; what can be displayed; what has `Debug` only, such as `()`. |
/// | not possible | `async`, `unsafe`, generic parameters, `self`, other references |
///
/// | option | |
/// |---|---|
/// | `name = "text"` | the name by which workers find the task, instead of its path |
/// | `error = Type` | the error of the task, a serde type into which that of the function [converts](From) |
/// | `time_limit = duration` | see [`Task::time_limit`] |
/// | `retries = number` | see [`Task::retries`] |
/// | `prepare = function` | prepares each worker, as [`Task::prepare_worker`]; returns `Result<(), E>` with any error |
/// | `schema = number` | see [`Task::SCHEMA`] |
/// | `crate = path` | the path of this crate, if it is not `::workring` |
///
/// # Examples
///
/// ```
/// use std::path::PathBuf;
/// use std::time::Duration;
/// use workring::{Context, Failure, Pool, TaskError};
///
/// workring::auto_worker!();
///
/// /// Counts the lines of a file.
/// #[workring::task(time_limit = Duration::from_secs(60), retries = 2)]
/// fn lines(context: &Context, path: PathBuf) -> Result<usize, Failure> {
///     let text = std::fs::read_to_string(path)?;
///     Ok(text.lines().take_while(|_| !context.is_cancelled()).count())
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let pool = Pool::start(2)?;
///     assert!(pool.submit(lines::new("/proc/cpuinfo".into()))?.wait()? > 0);
///     match pool.submit(lines::new("/no/such/file".into()))?.wait() {
///         Err(TaskError::Failed(failure)) => assert_eq!(failure.kind(), "NotFound"),
///         other => panic!("{other:?}"),
///     }
///     Ok(())
/// }
/// ```
pub use workring_macros::task;

/// The README's example, compiled.
#[cfg(all(doctest, not(loom)))]
#[doc = include_str!("../README.md")]
struct Readme;
