//! A pool of worker processes: tasks go in, each has one outcome, whatever happens to the workers.
//!
//! Workers are this same program, run again. It becomes one by the first line of its `main`, which returns at once in
//! any other process:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//! use workring::pool::{Context, Pool, Shutdown, Task, run_if_worker};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Square(u64);
//!
//! impl Task for Square {
//!     type Output = u64;
//!     type Error = String;
//!
//!     fn run(self, _: &Context) -> Result<u64, String> {
//!         self.0.checked_mul(self.0).ok_or_else(|| format!("{} is too large", self.0))
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     run_if_worker::<Square>();
//!
//!     let pool = Pool::<Square>::builder().workers(4).start()?;
//!
//!     // One task, and its result:
//!     let handle = pool.submit(Square(12))?;
//!     assert_eq!(handle.wait()?, 144);
//!
//!     // Many, and their outcomes as they come; the loop ends by itself:
//!     for n in 0..100 {
//!         pool.submit(Square(n))?;
//!     }
//!     for outcome in pool.drain() {
//!         match outcome.result {
//!             Ok(square) => println!("task {}: {square}", outcome.id),
//!             Err(error) => println!("task {}: {error}", outcome.id),
//!         }
//!     }
//!
//!     // From any iterator, a few at a time, and the results in the same order:
//!     for outcome in pool.map((0..1_000).map(Square)) {
//!         println!("{}", outcome.result?);
//!     }
//!
//!     println!("{}", pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?);
//!     Ok(())
//! }
//! ```
//!
//! # What it guarantees
//!
//! | | |
//! |---|---|
//! | outcomes | Each task that was accepted has one outcome, and only one: [output or error](TaskError). |
//! | crashes | A worker that dies, at any instruction, costs only the task that it was running, which is tried again ([`Builder::retries`]) or reported with the worker's exit status, or as unknown where this process did not keep it. Tasks that it had not begun go to another worker. It is replaced. |
//! | limits | A task that runs for too long, or takes too much memory, ends with its worker, which is replaced: [`Builder::time_limit`], [`Task::time_limit`], [`Builder::memory_limit`]. |
//! | panics | A panic of a task is its outcome, with message and place. The worker lives. |
//! | no dead end | Who submits without reading moves results into memory meanwhile. |
//! | the end | [`Pool::shutdown`] is bounded in every step, may be called by anybody at any time, and its books balance. |
//! | nobody left | A worker leads a process group of its own, which ends with it; a worker that is ended takes its other descendants along. What is left in rare cases: [`Builder::adopt_orphans`]. Workers end when their parent does, however it ends. |
//! | logs | What workers log by `tracing`, and panics of their threads, reach the parent's subscriber, as far as it listens; as events of the target `workring::worker`. |
//! | mismatch | A worker whose program has other tasks, or another version of this crate, is a typed error that names both. |
//!
//! # Signals
//!
//! Each worker leads a process group of its own. So a Ctrl-C at the terminal, or a `SIGTERM` to the group of this process, does
//! not reach workers, nor what their tasks have started: this process hears it, and calls [`Pool::shutdown`], as
//! [`Shutdown::Cancel`] if it is in a hurry. If it has no handler and dies of the signal, its workers end with it.
//!
//! A signal that somebody sends to a worker itself is another thing: the worker dies of it, and that is reported as any other
//! death, and the task is [tried again](Builder::retries) or lost. Where a service or a container is stopped by a `SIGTERM` to all
//! of its processes, as `systemd` does unless told otherwise, let it send it to the first one only (`KillMode=mixed`).
//!
//! # What a worker starts with
//!
//! A worker is started without a copy of its parent's memory: a parent that has gigabytes in use starts one as fast as a
//! small one. Nothing of the parent's own code runs between the two programs.
//!
//! | | |
//! |---|---|
//! | program | The one that its parent runs (`/proc/self/exe`), also after the file was removed or replaced; then `std::env::current_exe` names a file that ends in ` (deleted)`. Or [`Builder::program`], by its path. |
//! | name | The first argument is the path of the program, and there is no other. |
//! | descriptors | The standard input is empty. The standard output and error are the parent's, or `/dev/null` where the parent has them closed. Nothing else that is closed on exec. |
//! | signals | None blocked, and all with the default disposition, whatever the parent has set; but `SIGTTIN` and `SIGTTOU` are ignored, so that a worker that touches the terminal gets an error (`EIO`) and is not stopped, and `SIGHUP` is if the parent ignores it (`nohup`). |
//! | environment, directory | Those of the parent, with [`Builder::env`], [`Builder::env_remove`] and [`Builder::current_dir`]. |
//!
//! How a worker ended is unknown where the parent ignores `SIGCHLD`, or other code of it waits for any child: then
//! [`TaskError::Crashed`] has no status.
//!
//! # How it works
//!
//! ```text
//! parent:  submit -- tasks queue (settled, one attempt) -->  worker: lease, run,
//!          wait, drain   <-- results queue --                        send, acknowledge
//!          supervisor    <-- a link for each worker -->              watcher
//!                        <-- the board: what runs, what is cancelled
//! ```
//!
//! No thread stands between a submitter and the worker, nor between the worker and whoever waits for the outcome. The
//! supervisor is the thread that starts workers and hears of their deaths; with nobody dying it sleeps.
//!
//! | file          | what                                                                           |
//! |---------------|--------------------------------------------------------------------------------|
//! | `task`        | what users implement, and what they get                                        |
//! | `envelope`    | what travels through the queues                                                |
//! | `messages`    | what is said over a link                                                       |
//! | `inbox`       | the parent's memory of its tasks: states of a task, who receives results       |
//! | `streams`     | the outcomes of maps, until these take them                                    |
//! | `pace`        | whether to sleep between two messages, or to let others go first                |
//! | `pool`, `handle`, `map`, `builder` | the parent's side, as callers see it                      |
//! | `supervisor`, `slot`, `launch`, `deaths` | workers' lives: states of a slot, what a death leaves behind |
//! | `outage` | what becomes of tasks while no worker can be had |
//! | `limits`, `staff` | workers that take too long, or too much; that have done enough; how many there are |
//! | `shutdown`, `report` | the end, and the books                                                  |
//! | `worker`, `context`, `panics`, `forward` | the worker's side                                   |
//! | `standing`    | whether a process was started as a worker, and may start pools                |
//!
//! # A task's life
//!
//! | state       | means                                                     | then                                        |
//! |-------------|-----------------------------------------------------------|---------------------------------------------|
//! | queued      | accepted; in the tasks queue                              | a worker leases it: held                    |
//! | held        | leased, not on the board                                  | running; cancelled; its worker dies: queued  |
//! | running     | on the board                                              | done, failed, panicked; its worker dies: waiting, crashed, timed out or cancelled |
//! | waiting     | to be tried again, for its back-off                       | queued                                      |
//! | done, failed, panicked, crashed, timed out, cancelled | it has its outcome               | never changes                               |

mod context;
mod outcome;
mod pace;
mod parent;
mod task;
mod wire;
mod worker;

pub use crate::error::{ShutdownError, StartError, SubmitError, TrySubmitError};
pub use context::{CancelReason, Context};
pub use outcome::{Outcome, Panic, TaskError, TaskId};
pub use parent::{Builder, Drain, Event, Map, Pool, Report, Shutdown, TaskHandle, Workers};
pub use task::{OutcomeOf, ResultOf, Task};
pub use worker::{Kinds, run_if_worker};
