//! For tests of programs that use this crate: [`leak_guard`] finds what a test has left behind.
//!
//! ```standalone_crate
//! use std::time::Duration;
//! use workring::pool::{Pool, Shutdown};
//! use workring::testing::leak_guard;
//!
//! workring::auto_worker!();
//!
//! #[workring::task]
//! fn square(n: u64) -> u64 {
//!     n * n
//! }
//!
//! // A `#[test]` function has the same body.
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let guard = leak_guard();
//!     let pool = Pool::start(2)?;
//!     assert_eq!(pool.submit(square::new(12))?.wait()?, 144);
//!     pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
//!     // The pool keeps its queues as long as it can be asked for its report.
//!     drop(pool);
//!     // Panics, with a list, if a worker, a thread, a descriptor or a named queue is left.
//!     guard.check();
//!     Ok(())
//! }
//! ```
//!
//! # Tests that run at the same time
//!
//! A guard compares the whole process: what another test of the same process has open at that moment counts, too. So in a
//! test program that uses guards, let every test begin with one: guards of several threads take turns, and a test that waits
//! for its turn is not counted. Or run the tests one at a time (`--test-threads=1`), or each in a process of its own (`cargo
//! nextest`).
//!
//! | file | content |
//! |---|---|
//! | `guard` | the guard, and how guards take turns |
//! | `snapshot` | what a process has at one moment |

mod guard;
mod snapshot;

pub use guard::{LeakGuard, leak_guard};
pub use snapshot::Leak;
