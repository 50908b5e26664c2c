//! The parent's side of a pool: tasks on one hand, worker processes on the other.
//!
//! | file                    | content                                                                    |
//! |-------------------------|----------------------------------------------------------------------------|
//! | `settings`, `builder`   | the options of a pool; their defaults and their limits                     |
//! | `start`, `running`      | the start of a pool; a running one, and its drop                           |
//! | `shared`, `commands`    | what callers and the supervisor share; what callers ask the supervisor for |
//! | `submission`            | submitting a task, with what its caller sets for it                        |
//! | `unclaimed`, `drain`    | claiming outcomes that no handle waits for                                 |
//! | `group`                 | tasks whose outcomes are their group's own                                 |
//! | `dispatch`              | sending tasks to the workers                                               |
//! | `when`, `held`          | when a task is to run; holding it back until then                          |
//! | `results`               | the tasks in flight; receiving and keeping their outcomes                  |
//! | `typed_pool`, `handle`, `map`, `starmap` | the operations of callers                                  |
//! | `wait`                  | waiting for several handles                                                |
//! | `progress`              | reading what a task emits                                                  |
//! | `futures`               | the operations of async callers                                            |
//! | `in_order`              | the outcomes of a map until it is their turn                               |
//! | `supervision`           | the thread that starts, watches, ends and replaces worker processes        |
//! | `shutdown`, `report`    | the end of a pool, and its report                                          |
//! | `lines`                 | cuts what workers write into lines                                         |
//! | `rollout`               | changes of the workers that are under way                                  |
//! | `events`                | events in the lives of workers                                             |
//! | `staff`, `running_task` | what the workers do now, for threads other than the supervisor             |
//! | `metrics`, `published_timings` | these figures for the facade `metrics`                               |
//! | `stats`, `stats_of_pool` | the figures of a pool, and how they are put together                      |

#[cfg(feature = "macros")]
mod any_outcome;
mod builder;
mod commands;
mod dispatch;
mod drain;
mod events;
#[cfg(feature = "async")]
pub mod futures;
mod group;
mod handle;
mod held;
mod in_order;
mod lines;
mod map;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "macros")]
mod pool;
mod progress;
#[cfg(feature = "metrics")]
mod published_timings;
mod report;
mod results;
mod rollout;
mod running;
mod running_task;
mod settings;
mod shared;
mod shutdown;
mod staff;
mod starmap;
mod start;
mod stats;
mod stats_of_pool;
mod submission;
mod supervision;
mod typed_pool;
mod unclaimed;
mod wait;
mod when;

#[cfg(feature = "macros")]
pub use any_outcome::AnyOutcome;
pub use builder::{Builder, Resource};
#[cfg(feature = "macros")]
pub use drain::AnyDrain;
pub use drain::Drain;
pub use events::Event;
#[cfg(feature = "macros")]
pub use group::AnyGroup;
pub use group::Group;
pub use handle::TaskHandle;
pub use map::Map;
#[cfg(feature = "macros")]
pub use pool::Pool;
pub use progress::{Emitted, Progress};
pub use report::Report;
pub use rollout::Rollout;
pub use settings::{OnDrop, WhenFull, WorkerOutput, Workers};
pub use shutdown::Shutdown;
pub use starmap::{MakeFrom, Starmap};
pub use stats::{PoolStats, PoolTask, PoolWorker, TaskCounts, Timings, WorkerCounts, WorkerStatus};
pub use submission::Submission;
pub use typed_pool::TypedPool;
pub use wait::{AllHandles, Handles, wait_all, wait_all_deadline, wait_any, wait_any_deadline};
