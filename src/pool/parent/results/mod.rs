//! Tracks every task of the pool in the parent: which are in flight, and which outcomes are not yet claimed.
//!
//! | file         | content                                                                 |
//! |--------------|-------------------------------------------------------------------------|
//! | `table`      | the tasks in flight and the outcomes, under one lock                    |
//! | `spans`      | the `tracing` spans of tasks                                            |
//! | `timings`    | how long tasks wait and run                                             |
//! | `snapshot`   | the table in figures                                                    |
//! | `in_flight`  | what the table knows of a task in flight                                |
//! | `outcomes`   | recording outcomes, each for its owner, and taking them                 |
//! | `groups`     | the tasks and the outcomes of each group                                |
//! | `emissions`  | what tasks have emitted, until it is read                               |
//! | `reading`    | reading what tasks emit                                                 |
//! | `streams`    | the outcomes of each map                                                |
//! | `receive`    | waiting for a change of the table; which thread receives from the queue |
//! | `futures`    | the futures that wait for a change of the table                         |
//! | `arrival`    | receiving results while only futures wait for them                      |
//! | `operations` | what callers, maps and the supervisor do with the table                 |
//!
//! States of a task in the table. Reserved tasks count as in flight, in `in_flight` and for the capacity:
//!
//! | state              | where                   | leaves it                                                      |
//! |--------------------|-------------------------|----------------------------------------------------------------|
//! | reserved           | `entries`, not yet sent | sent: in flight; not sent: withdrawn, not counted as submitted |
//! | in flight          | `entries`               | its result arrives, or the supervisor records an outcome       |
//! | done, for a handle | `for_handles`           | the handle takes the outcome; it is dropped: unclaimed; it is detached: discarded |
//! | done, for a map    | `streams`               | the map takes the outcome; the map is dropped: discarded       |
//! | unclaimed          | `unclaimed`, or `groups` | claimed by `drain` of the pool or the group                   |
//!
//! RESULTS-1. A task has exactly one outcome. Recording it removes the task's entry; a later result for the same
//!     task, or a result of an earlier attempt, finds no matching entry and is dropped.
//! RESULTS-2. The entry of the task with id n is at index n modulo the number of entries. An id whose entry is occupied
//!     is skipped, so no two tasks in flight share an entry, here or on the *board*, shared memory in which workers
//!     record their tasks and the parent records cancellations.
//! RESULTS-3. At most `capacity` tasks are in flight, and the results queue has room for as many results, and for what workers
//!     emit. So no worker that sends a result waits for the parent to receive, unless large ones use up the blocks of their
//!     size.
//! RESULTS-4. At most one thread at a time (the *leader*) receives from the results queue, without holding the lock.
//!     A waiting thread becomes leader if there is none; other waiters sleep on `changed` and are woken after each
//!     batch and when the leader steps down. The pool has no dedicated receiver thread.
//!     While only futures wait, the reactor calls when there are results (ARRIVAL-1).
//! RESULTS-5. `collect`, for the supervisor, records all results that were sent so far: it interrupts the leader, and
//!     no other thread becomes leader while `collectors` is not zero.
//! RESULTS-6. Once `ended` is set, every task has its outcome, and no wait sleeps.
//! RESULTS-7. This module never decodes results: they stay
//!     [encoded](crate::pool::wire::result_message::Encoded). The user's `Deserialize` and `Drop` run in the thread
//!     that claims an outcome, which then neither holds the lock nor is the leader.
//! RESULTS-8. The leader steps down and records what it has received even when receiving unwinds: a `tracing`
//!     subscriber that is notified of a dead process may panic. Events that go through [`crate::announce`] are
//!     delivered after the lock is released and the leader has stepped down.
//! RESULTS-9. A forked child of the pool's process never takes the lock: a thread that the child does not have may have
//!     held it at the fork. Every function that callers can reach first checks whether it runs in such a child.

#[cfg(feature = "async")]
mod arrival;
mod emissions;
mod futures;
mod groups;
mod in_flight;
mod operations;
mod outcomes;
mod reading;
mod receive;
mod snapshot;
mod spans;
mod streams;
mod table;
mod timings;

pub(super) use emissions::Emissions;
#[cfg(feature = "async")]
pub(super) use futures::{Awaited, Registration};
pub(super) use groups::NextUnclaimed;
pub(super) use in_flight::{AttemptRange, GroupId, Home, InFlight, NewTask, OwnLimits, Owner};
pub(super) use reading::NextEmission;
pub(super) use receive::{FORKED, Results, WaitError};
pub(super) use snapshot::TableSnapshot;
pub(super) use spans::{TaskSpan, TaskSpans, are_wanted as are_spans_wanted};
pub(super) use streams::StreamId;
pub(super) use table::{MapStep, ReserveError, TaskTable};
pub(super) use timings::TaskClock;
