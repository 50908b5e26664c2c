//! A pool of worker processes: tasks go in, each has one outcome, whatever happens to the workers.
//!
//! A task is a function, and workers are this same program, run again. One line, anywhere in the program or in a library,
//! lets a worker begin before `main`:
//!
//! ```
//! use std::time::Duration;
//! use workring::pool::{Failure, Pool, Shutdown};
//!
//! workring::auto_worker!();
//!
//! #[workring::task]
//! fn square(n: u64) -> Result<u64, Failure> {
//!     n.checked_mul(n).ok_or_else(|| Failure::new(format!("{n} is too large")))
//! }
//!
//! #[workring::task]
//! fn shout(text: String) -> String {
//!     text.to_uppercase()
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let pool = Pool::start(4)?;
//!
//!     // One task, and its result, of its own type:
//!     assert_eq!(pool.submit(square::new(12))?.wait()?, 144);
//!     assert_eq!(pool.submit(shout::new("four".to_owned()))?.wait()?, "FOUR");
//!
//!     // Many, and their outcomes as they come; the loop ends by itself:
//!     for n in 0..100 {
//!         pool.submit(square::new(n))?;
//!     }
//!     for outcome in pool.drain() {
//!         let square = outcome.downcast::<square>().expect("only squares are left");
//!         match square.result {
//!             Ok(square_of) => println!("task {}: {square_of}", square.id),
//!             Err(error) => println!("task {}: {error}", square.id),
//!         }
//!     }
//!
//!     // From any iterator, a few at a time, and the results in the same order:
//!     for outcome in pool.map((0..1_000).map(square::new)) {
//!         println!("{}", outcome.result?);
//!     }
//!
//!     println!("{}", pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?);
//!     Ok(())
//! }
//! ```
//!
//! # Two kinds of pools
//!
//! | | runs | workers begin |
//! |---|---|---|
//! | `Pool` | every task of the program and of all libraries that it links: `#[workring::task]`, `register!` | before `main`, by `auto_worker!`; or in `main`, by `run_if_worker` |
//! | [`TypedPool<T>`](TypedPool) | the tasks of one type that implements [`Task`] | in `main`, by [`run_if_worker_for`]; a registered type also before `main` |
//!
//! Both have the same operations and options, and give the same guarantees. A `TypedPool` needs neither macros nor
//! registered tasks, and its `drain` returns outcomes of the one type. A pool of a library is best a `Pool`: then programs
//! need to know nothing of it, and several libraries can each have one.
//!
//! # What it guarantees
//!
//! | | |
//! |---|---|
//! | outcomes | Each accepted task has exactly one outcome: its [output or an error](TaskError). |
//! | crashes | A worker that dies, at any instruction, costs only the task that it was running. That task is tried again ([`Builder::retries`]) or reported with the worker's exit status, if this process could obtain it. Tasks that the worker had not started go to another one. The worker is replaced. |
//! | limits | A task that runs for too long, or takes too much memory, ends with its worker, which is replaced: [`Builder::time_limit`], [`Task::time_limit`], [`Builder::memory_limit`]. |
//! | panics | A panic of a task is its outcome, with message and location. The worker lives; where [a panic ends the process](#panics-that-end-the-process), it is replaced. |
//! | no deadlock | A thread that submits without reading outcomes moves results into this process's own memory while it waits. |
//! | shutdown | [`TypedPool::shutdown`] is bounded in every step, may be called by several threads at any time, and its report balances. |
//! | no orphans | A worker leads a process group of its own, which ends with it. A worker that is killed takes its other descendants along; [`Builder::adopt_orphans`] describes the rare exceptions. Workers end when their parent ends, however it ends. |
//! | logs | `tracing` events of workers, and panics of their threads, reach the parent's subscriber, filtered by its level, [in the span](#what-a-pool-tells-through-tracing) of the task. |
//! | mismatch | A worker program with other tasks, with other fields or arguments of them, or with another version of this crate, is a typed error that names both sides: see [`Builder::program`]. |
//!
//! # Ways to wait
//!
//! Every task has one outcome, and each outcome goes to one place:
//!
//! | the caller | the outcome goes to |
//! |---|---|
//! | keeps the handle that [`submit`](TypedPool::submit) returns | the handle: [`wait`](TaskHandle::wait), [`outcome`](TaskHandle::outcome); for several handles [`wait_any`] and [`wait_all`] |
//! | drops the handle | the pool: [`drain`](TypedPool::drain), which ends when no such task is in flight, or [`outcomes`](TypedPool::outcomes), which ends with the pool |
//! | submits to a [group](TypedPool::group), or in a [scope](TypedPool::scope) | the group, as above: its own handles, its own [`drain`](Group::drain) |
//! | passes many tasks to a [map](TypedPool::map) | the map |
//! | needs none: [`submit_detached`](TypedPool::submit_detached), [`detach`](TaskHandle::detach) | no one. It is counted in the [`Report`]. |
//!
//! [`join`](TypedPool::join) waits until tasks have ended, and takes nothing. A [tag](Submission::tag) tells the caller which
//! outcome belongs to what:
//!
//! ```
//! use workring::pool::{Failure, Pool, Tag};
//!
//! workring::auto_worker!();
//!
//! #[workring::task]
//! fn square(n: u64) -> Result<u64, Failure> {
//!     n.checked_mul(n).ok_or_else(|| Failure::new(format!("{n} is too large")))
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let pool = Pool::start(2)?;
//!     let request = pool.group(); // its outcomes are its own, and dropping it cancels its tasks
//!     for (name, n) in [("small", 12), ("large", u64::MAX)] {
//!         request.task(square::new(n)).tag(name).submit()?;
//!     }
//!     for outcome in request.drain() {
//!         let name = outcome.tag().and_then(Tag::text).unwrap_or("untagged");
//!         println!("{name}: {}", if outcome.is_ok() { "done" } else { "failed" });
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Priorities and times
//!
//! In a pool with [priorities](Builder::priorities), free workers take tasks of a higher [`Priority`] first, and no level
//! starves. In any pool a task can have a time before which it does not begin:
//!
//! ```
#![doc = include_str!("registered.in")]
//! use std::time::Instant;
//! let pool = Pool::builder().workers(2).priorities().start()?;
//! let urgent = pool.task(square::new(3)).priority(Priority::High).submit()?;
//! let tonight = Instant::now() + Duration::from_secs(36_000);
//! let later = pool.task(shout::new("good night".to_owned())).priority(Priority::Low).not_before(tonight).submit()?;
//! assert_eq!(urgent.wait()?, 9);
//! later.cancel();
//! assert!(later.wait().is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # Progress
//!
//! A task [emits](Context::emit) values while it runs: how far it is, or parts of its result. Its handle
//! [returns them](TaskHandle::progress) in order, up to the end of the task, however that ends:
//!
//! ```
//! use workring::pool::{Context, Failure, Pool};
//!
//! workring::auto_worker!();
//!
//! #[workring::task]
//! fn checksum(context: &Context, blocks: Vec<u64>) -> Result<u64, Failure> {
//!     let mut sum = 0_u64;
//!     for (done, block) in (1_u32..).zip(blocks) {
//!         sum = sum.rotate_left(1) ^ block;
//!         context.emit(done)?;
//!     }
//!     Ok(sum)
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let pool = Pool::start(1)?;
//!     let handle = pool.submit(checksum::new(vec![1, 1, 1]))?;
//!     for emitted in handle.progress::<u32>() {
//!         println!("{} of 3", emitted?.value);
//!     }
//!     assert_eq!(handle.wait()?, 7);
//!     Ok(())
//! }
//! ```
//!
//! The values of each task wait in this process up to a [bound](Builder::progress); then the oldest is dropped, or the task
//! waits. A caller who does not read them delays no other task, and neither `drain` nor shutdown.
//!
//! # A long-running service
//!
//! ```
#![doc = include_str!("registered.in")]
//! let pool = Pool::builder().workers(2).max_workers(8).timings(true).start()?;
//! pool.submit(square::new(3))?.wait()?;
//!
//! let stats = pool.stats(); // for a status page, say
//! println!("{} tasks are queued, {} run", stats.tasks.queued, stats.tasks.running);
//! for worker in &stats.workers {
//!     println!("process {:?}: {:?}, task {:?}", worker.pid, worker.status, worker.task);
//! }
//! let waited = stats.timings.and_then(|timings| timings.waiting.quantile(0.99));
//! println!("99 % of the tasks waited at most {waited:?}");
//!
//! pool.recycle()?.wait()?; // on SIGHUP, say: each worker finishes its task, and another process takes its place
//! pool.resize(4)?; // more workers, or fewer
//! # Ok(())
//! # }
//! ```
//!
//! | | |
//! |---|---|
//! | figures | [`TypedPool::stats`]: plain data, at any time, from any thread; it never waits. How long tasks wait and run is measured with [`Builder::timings`], as histograms that can be merged. |
//! | other processes | [`TypedPool::recycle`] replaces all workers, one after the other. [`Builder::recycle_after_tasks`], [`Builder::recycle_above_memory`] and [`Builder::recycle_after_age`] replace each at its own time. |
//! | another size | [`TypedPool::resize`], up to [`Builder::max_workers`]. With a range of workers, a pool follows its load by itself. |
//! | output | [`Builder::stdout`] and [`Builder::stderr`] make each line that a worker writes an event of `tracing`, or drop it. |
//! | what workers may use | [`Builder::nice`], [`Builder::processors`], [`Builder::resource_limit`], [`Builder::address_limit`]. Their environment: [`Builder::env`], [`Builder::env_clear`], [`Builder::env_remove`]. |
//! | code before their program | [`Builder::pre_exec`], as [`PreExec`], which takes unsafe code, and is the slow way to start. |
//!
//! # Metrics
//!
//! With the feature `metrics`, `publish_metrics` of a pool gives its figures to the recorder of the facade
//! [metrics](https://docs.rs/metrics). It does so only when it is called, with what [`TypedPool::stats`] returns: tasks cost nothing
//! for it, and the recorder runs in no thread of the pool. Each metric has the label `pool`, with the name of
//! `Builder::name`.
//!
//! | metric | kind, unit | further label |
//! |---|---|---|
//! | `workring_tasks_submitted_total` | counter | |
//! | `workring_tasks_ended_total` | counter | `outcome`: `completed`, `failed`, `panicked`, `crashed`, `timed_out`, `cancelled`, `too_much_memory`, `no_workers`, `transport`, `unknown` |
//! | `workring_tasks_retried_total` | counter | |
//! | `workring_tasks` | gauge | `state`: `queued`, `running`, `retrying`, `unclaimed` |
//! | `workring_workers_started_total`, `workring_workers_died_total`, `workring_workers_killed_total`, `workring_workers_recycled_total` | counters | |
//! | `workring_workers` | gauge | `status`: `starting`, `idle`, `busy`, `leaving`, `ending`, `backing_off` |
//! | `workring_oldest_queued_task_seconds` | gauge, seconds; with [`Builder::timings`] | |
//! | `workring_task_waiting_seconds`, `workring_task_running_seconds` | histograms, seconds; with [`Builder::timings`] | |
//!
//! Durations in the histograms are up to an eighth too long: see [`Histogram`].
//!
//! # What a pool tells through `tracing`
//!
//! | target | level | what |
//! |---|---|---|
//! | `workring` | see below | the death of a worker, with everything that the pool knows: one event |
//! | `workring` | `ERROR` to `INFO` | what a program should know otherwise: an outage, a worker that can't be started or killed, a pool that was dropped |
//! | `workring::task` | `DEBUG` | a span for each task, in the span that its caller was in |
//! | `workring::worker` | as in the worker | events of workers, and panics of their threads, in the span of the task |
//! | `workring::output` | `INFO` | what workers write, with [`Builder::stdout`] and [`Builder::stderr`] |
//!
//! The span of a task begins when it is submitted, and ends when its outcome has arrived, and with it all that the task has
//! logged. There is one for all attempts. A subscriber for `DEBUG` gets it (for `tracing-subscriber`, a filter such as
//! `info,workring::task=debug`); if there is none, a task looks at the level and at an empty map, no more.
//!
//! | field of the span | |
//! |---|---|
//! | `task`, `task_name` | its id, and the name of its type |
//! | `attempt`, `worker`, `pid` | the last attempt, from 1, and the worker that had it, with its process id as the worker knows it |
//! | `queue_time_us`, `run_time_us` | from the submission to the first start, and how long the last attempt ran, in microseconds |
//! | `outcome` | `completed`, `failed`, `panicked`, `crashed`, `timed_out`, `cancelled`, `too_much_memory`, `no_workers`, `transport`, `unknown`; or `withdrawn`: it was not accepted |
//!
//! `worker`, `pid` and the two times are there if the subscriber was installed when the pool was started, or with
//! [`Builder::timings`].
//!
//! An event of a worker has the message and the level that it had there. Fields of events are fixed when a program is compiled, so
//! its own are texts here; each text has a limit, from which on it is cut:
//!
//! | field of the event | |
//! |---|---|
//! | `worker`, `pid` | the number of the worker, and its process id |
//! | `origin` | the target of the event in the worker |
//! | `task` | the task that the worker was running |
//! | `fields` | `ratio=0.5 path="a/b"`: its fields, each value by `Debug` |
//! | `spans` | `outer{size=3}:inner`: the worker's own spans around it, with their fields |
//!
//! A worker sends what its parent's subscriber may want, by the most detailed level that the subscriber had asked for, of any
//! target, when the worker was started. The subscriber then filters by target and level.
//!
//! The event of a death is in the span of the task, too. It comes when the task of the worker is settled. Its level is `WARN` if the worker died by itself or was killed
//! for a limit, `INFO` if a caller or the shutdown has ended it, and `DEBUG` if the pool had planned its end. Fields that do not
//! apply are left out:
//!
//! | field | |
//! |---|---|
//! | `worker`, `pid` | the number of the worker, and its process id |
//! | `reason` | it died by itself: `signal`, `exit`, `unknown`, `not_prepared`; the pool has killed it: `time_limit`, `memory_limit`, `cancelled`, `did_not_stop`, `link_closed`, `not_ready_in_time`, `refused`, `shutdown`; planned: `tasks_or_memory`, `age`, `idle`, `surplus`, `recycled`, `shutdown` |
//! | `status`, `signal`, `exit_code`, `error` | how it ended, as a text and as a number; why it could not be prepared, or was refused |
//! | `task`, `task_name`, `attempt` | the task that it was running |
//! | `fate` | what becomes of that task: `ended`, with the kind of its `outcome`; `tried_again`, after `tried_again_in_ms`; `sent_again`, and the attempt does not count; `had_ended`: its result had arrived |
//! | `replacement` | `at_once`; `later`, after `replaced_in_ms`; `none` |
//!
//! # Async
//!
//! With the feature `async`, a [`TaskHandle`] can be awaited, progress is a stream, `submit_async` waits for room, maps and drains become streams,
//! and `shutdown_async` shuts down: see the module `pool::futures`. They work with any runtime, and never block its threads.
//!
//! # Signals
//!
//! Each worker leads a process group of its own. So Ctrl-C at the terminal, or `SIGTERM` to the process group of this
//! process, does not reach workers and their children. This process handles the signal and calls [`TypedPool::shutdown`],
//! with [`Shutdown::Cancel`] for a quick end. If it has no handler and dies of the signal, its workers end with it.
//!
//! A signal that is sent to a worker kills it. That is reported like any other death, and the task is
//! [tried again](Builder::retries) or lost. `systemd` stops a service by `SIGTERM` to all of its processes, unless it
//! is configured to send it to the main process only (`KillMode=mixed`).
//!
//! # Panics that end the process
//!
//! In a program that is built with `panic = "abort"`, a panic ends the worker, which is replaced. The panic hook of this crate
//! sends the outcome first: that the task panicked, or could not be decoded or encoded, with message and location. The task
//! is not tried again. There are three exceptions:
//!
//! | | |
//! |---|---|
//! | a panic of another thread than that of the task | The task has [crashed](TaskError::Crashed) with `SIGABRT`, and is tried again like after any crash. The log has message and location. |
//! | a panic in a program that has replaced the hook after the worker began | The same, without the log. A hook that calls the one before it keeps the outcome. |
//! | a panic of the program's own code in this process, such as the `Deserialize` of an output | It ends this process. |
//!
//! # What a worker starts with
//!
//! Starting a worker does not copy the parent's memory: a parent that uses gigabytes starts one as fast as a small one.
//! None of the parent's own code runs between fork and exec.
//!
//! | | |
//! |---|---|
//! | program | The parent's program (`/proc/self/exe`), even after the file was removed or replaced; `std::env::current_exe` then returns a path that ends in ` (deleted)`. Or the path of [`Builder::program`]. |
//! | arguments | None but the path of the program. |
//! | descriptors | Standard input is empty. Standard output and standard error are the parent's, or `/dev/null` where the parent has closed them; [`Builder::stdout`] and [`Builder::stderr`] change that. Other descriptors are inherited unless they are closed on exec. |
//! | signals | None is blocked, and all have the default disposition, whatever the parent has set. Exceptions: `SIGTTIN` and `SIGTTOU` are ignored, so that a worker that uses the terminal gets an error (`EIO`) instead of being stopped; `SIGHUP` is ignored if the parent ignores it (`nohup`). |
//! | priority, processors, limits | Those of the parent, with [`Builder::nice`], [`Builder::processors`] and [`Builder::resource_limit`]. |
//! | environment, directory | Those of the parent, with [`Builder::env`], [`Builder::env_remove`] and [`Builder::current_dir`]. |
//!
//! The exit status of a worker is unknown if the parent ignores `SIGCHLD`, or if other code in it waits for any child.
//! Then [`TaskError::Crashed`] has no status.
//!
//! # How it works
//!
//! ```text
//! parent:  submit -- tasks queue (one delivery) --------->  worker: lease, run,
//!          wait, drain   <-- results queue --                        send, acknowledge
//!          supervisor    <-- a link for each worker -->              watcher
//!                        <-- the board: what runs, what is cancelled
//! ```
//!
//! The board is shared memory in which each worker records its task, and the parent what is cancelled.
//!
//! No thread stands between the submitting thread and the worker, nor between the worker and the thread that waits for
//! the outcome. The supervisor thread starts workers and is notified of their deaths; otherwise it sleeps.
//!
//! | module | content |
//! |---|---|
//! | `task`, `context`, `outcome`, `carried` | what users implement, and what they get |
//! | `worker_state` | what a worker keeps from one task to the next |
//! | `parent` | pools, handles, maps, results; supervision of worker processes |
//! | `worker` | the main loop of a worker, and how a process becomes one |
//! | `failure`, `macros` | the error of tasks without one of their own; what registers a task, and lets workers begin before `main` |
//! | `wire` | what both sides agree on: messages, ids of tasks and attempts, the start of a worker |
//! | `priority` | the levels of priority, and in which order a worker looks at their queues |
//!
//! # A task's life
//!
//! | state       | meaning                                                   | next                                        |
//! |-------------|-----------------------------------------------------------|---------------------------------------------|
//! | queued      | accepted; in the tasks queue                              | a worker leases it: held                    |
//! | held        | leased, not on the board                                  | running; cancelled; its worker dies: queued  |
//! | running     | on the board                                              | done, failed, panicked; its worker dies: waiting, crashed, timed out or cancelled |
//! | waiting     | for its back-off, or the time that it was submitted with  | queued; cancelled                           |
//! | done, failed, panicked, crashed, timed out, cancelled | it has its outcome               | never changes                               |

mod carried;
mod coded;
mod context;
mod failure;
mod histogram;
#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod macros;
#[cfg(feature = "cli")]
pub(crate) mod observed;
mod outcome;
mod parent;
mod priority;
mod task;
mod wire;
mod worker;
mod worker_state;

pub use crate::error::{
    EmitError, JoinTimeout, ProgressError, RolloutError, ShutdownError, StartError, SubmitError,
    TrySubmitError, WaitAnyError,
};
pub use crate::os::spawn::PreExec;
pub use carried::Tag;
pub use context::{CancelReason, Context};
pub use failure::Failure;
pub use histogram::Histogram;
pub use outcome::{Outcome, Panic, TaskError, TaskId};
#[cfg(feature = "async")]
pub use parent::futures;
pub use parent::{
    AllHandles, Builder, Drain, Emitted, Event, Group, Handles, MakeFrom, Map, OnDrop, PoolStats,
    PoolTask, PoolWorker, Progress, Report, Resource, Rollout, Shutdown, Starmap, Submission,
    TaskCounts, TaskHandle, Timings, TypedPool, WhenFull, WorkerCounts, WorkerOutput, WorkerStatus,
    Workers, wait_all, wait_all_deadline, wait_any, wait_any_deadline,
};
#[cfg(feature = "macros")]
pub use parent::{AnyDrain, AnyGroup, AnyOutcome, Pool};
pub use priority::Priority;
pub use task::{OutcomeOf, ResultOf, Task};
pub use worker::{Kinds, run_if_worker_for};
#[cfg(feature = "macros")]
pub use worker::{registry::RegisteredTask, run_if_worker};
pub use worker_state::{States, WorkerState};
