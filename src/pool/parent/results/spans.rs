//! The `tracing` spans of tasks: one for each task whose caller has a subscriber that wants it.
//!
//! | a span        | where                             | leaves it                                                     |
//! |---------------|-----------------------------------|---------------------------------------------------------------|
//! | is open       | `open`, `awaited_logs` is `None`  | the outcome is recorded                                       |
//! | waits for logs | `open`, `awaited_logs` is `Some` | the last event that the task has logged arrives, or its worker dies |
//! | is closed     | nowhere                           |                                                               |
//!
//! A worker sends the events that a task logs over its link, and the outcome over the queue of results. So the outcome may be
//! here first. The worker counts the events on the board, in [`TaskTimes`](crate::segment::board::TaskTimes).
//!
//! SPANS-1. A subscriber is code of the program. Under the lock of the table, a span is neither made, changed nor dropped: that
//!     is done before the lock is taken, or in a notice (see [`crate::announce`]).
//! SPANS-2. A panic of the subscriber costs no task: it is caught, also where a span is made.

#[cfg(feature = "tracing")]
mod with_tracing {
    use crate::announce::{Importance, announce};
    use crate::os::clock;
    use crate::pool::outcome::TaskId;
    use crate::segment::board::{Board, TaskTimes};
    use std::collections::HashMap;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::Arc;
    use tracing::dispatcher::with_default;
    use tracing::field::Empty;
    use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
    use tracing::span::Id;
    use tracing::{Span, debug_span};

    /// Returns whether any subscriber of this process may want spans of tasks.
    #[inline]
    pub(crate) fn are_wanted() -> bool {
        LevelFilter::DEBUG <= STATIC_MAX_LEVEL && LevelFilter::DEBUG <= LevelFilter::current()
    }

    /// The span of a task.
    #[derive(Clone, Debug)]
    pub(crate) struct TaskSpan(Arc<Span>);

    impl TaskSpan {
        /// Makes the span of a task, in the span that this thread is in. Returns `None` if no subscriber wants it, or if the
        /// subscriber panics (SPANS-2). The caller holds no lock.
        pub(crate) fn new(id: TaskId, task_name: &'static str) -> Option<Self> {
            let make = || {
                debug_span!(
                    target: "workring::task",
                    "task",
                    task = id.0,
                    task_name,
                    attempt = Empty,
                    worker = Empty,
                    pid = Empty,
                    queue_time_us = Empty,
                    run_time_us = Empty,
                    outcome = Empty,
                )
            };
            match catch_unwind(AssertUnwindSafe(make)) {
                Ok(span) => (!span.is_disabled()).then(|| Self(Arc::new(span))),
                Err(payload) => {
                    // Dropping the payload might panic in turn.
                    core::mem::forget(payload);
                    None
                }
            }
        }

        /// Calls `act` with the span, and drops this handle afterwards. For a notice: each of the two may panic, but a panic
        /// during another one would end the process.
        pub(crate) fn consume(self, act: impl FnOnce(&Span)) {
            let done = catch_unwind(AssertUnwindSafe(|| act(&self.0)));
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(self)));
            if let Err(payload) = dropped {
                core::mem::forget(payload);
            }
            if let Err(payload) = done {
                resume_unwind(payload);
            }
        }

        /// Calls `emit` for the subscriber of the span, if there is a span, with the id of the span.
        pub(crate) fn emit_in(span: Option<Self>, emit: impl FnOnce(Option<Id>)) {
            match span {
                None => emit(None),
                Some(span) => span.consume(|span| {
                    span.with_subscriber(|(id, subscriber)| {
                        with_default(subscriber, || emit(Some(id.clone())));
                    });
                }),
            }
        }

        /// Drops this handle in a notice (SPANS-1).
        pub(crate) fn release(self) {
            let notice = move || self.consume(|_| ());
            announce(Importance::Lifecycle, Box::new(notice));
        }
    }

    /// The spans of a pool's tasks.
    pub(crate) struct TaskSpans {
        board: Arc<Board>,
        open: HashMap<TaskId, OpenSpan>,
    }

    struct OpenSpan {
        span: TaskSpan,
        /// The number of the last event of the task that has arrived.
        last_log: u64,
        /// When the outcome is recorded: the number of the last event that the task has logged, and its worker.
        awaited_logs: Option<(u64, Option<u32>)>,
    }

    impl TaskSpans {
        pub(crate) fn new(board: Arc<Board>) -> Self {
            Self {
                board,
                open: HashMap::new(),
            }
        }

        #[inline]
        pub(crate) fn is_empty(&self) -> bool {
            self.open.is_empty()
        }

        /// Adds the span of a task that is not sent yet. If the pool does not time its tasks, notes when it was submitted.
        pub(crate) fn insert(&mut self, id: TaskId, span: TaskSpan, is_timed: bool) {
            if !is_timed && let Some(times) = self.board.times(id.0) {
                times.submit(clock::now());
            }
            let open = OpenSpan {
                span,
                last_log: 0,
                awaited_logs: None,
            };
            if let Some(old) = self.open.insert(id, open) {
                old.span.release();
            }
        }

        /// Closes the span of a task that was not accepted after all.
        pub(crate) fn withdraw(&mut self, id: TaskId) {
            if let Some(open) = self.open.remove(&id) {
                let close = move || {
                    open.span.consume(|span| {
                        span.record("outcome", "withdrawn");
                    });
                };
                announce(Importance::Lifecycle, Box::new(close));
            }
        }

        /// Records the end of a task in its span. Closes the span, unless the worker that has sent the outcome has also sent
        /// events of the task that have not arrived.
        #[cold]
        #[inline(never)]
        pub(crate) fn end(
            &mut self,
            id: TaskId,
            attempt: u16,
            outcome: &'static str,
            is_from_worker: bool,
        ) {
            let Some(open) = self.open.get_mut(&id) else {
                return;
            };
            let times = self.board.times(id.0);
            let measured = times.map(|times| times.read(clock::now));
            let worker = measured.and_then(|measured| measured.worker);
            let logged = times.map_or(0, TaskTimes::logs);
            let span = open.span.clone();
            let awaits = is_from_worker && logged > open.last_log;
            if awaits && !mutant!(SpanClosedBeforeItsEvents) {
                open.awaited_logs = Some((logged, worker.map(|(_, slot)| slot)));
            } else {
                self.open.remove(&id);
            }
            let record = move || {
                span.consume(|span| {
                    span.record("attempt", attempt);
                    span.record("outcome", outcome);
                    if let Some((pid, worker)) = worker {
                        span.record("pid", pid);
                        span.record("worker", worker);
                    }
                    let microseconds = |nanoseconds: u64| nanoseconds / 1_000;
                    if let Some(waited) = measured.and_then(|it| it.waited) {
                        span.record("queue_time_us", microseconds(waited));
                    }
                    if let Some(ran) = measured.and_then(|it| it.ran) {
                        span.record("run_time_us", microseconds(ran));
                    }
                });
            };
            announce(Importance::Lifecycle, Box::new(record));
        }

        /// Returns the span of a task that is in flight, or that waits for logs. To drop the last handle of it calls
        /// the subscriber.
        pub(crate) fn get(&self, id: TaskId) -> Option<TaskSpan> {
            self.open.get(&id).map(|open| open.span.clone())
        }

        /// Notes that an event has arrived that a task has logged, with this number, and returns the span of the task, and
        /// whether it was the last one that the span has waited for: then the caller has the last handle.
        pub(crate) fn note_log(&mut self, id: TaskId, number: u64) -> Option<(TaskSpan, bool)> {
            let open = self.open.get_mut(&id)?;
            open.last_log = open.last_log.max(number);
            let is_last = open
                .awaited_logs
                .is_some_and(|(logged, _)| open.last_log >= logged);
            let span = open.span.clone();
            if is_last {
                self.open.remove(&id);
            }
            Some((span, is_last))
        }

        /// Closes the spans that wait for logs of a worker that has died: none will arrive.
        pub(crate) fn note_death(&mut self, worker: u32) {
            self.close_if(|open| {
                open.awaited_logs
                    .is_some_and(|(_, slot)| slot.is_none_or(|slot| slot == worker))
            });
        }

        /// Closes all spans, at the end of the pool.
        pub(crate) fn close_all(&mut self) {
            self.close_if(|_| true);
        }

        fn close_if(&mut self, mut test: impl FnMut(&OpenSpan) -> bool) {
            let closed = self.open.extract_if(|_, open| test(open));
            let closed: Vec<TaskSpan> = closed.map(|(_, open)| open.span).collect();
            closed.into_iter().for_each(TaskSpan::release);
        }
    }
}

#[cfg(feature = "tracing")]
pub(crate) use with_tracing::{TaskSpan, TaskSpans, are_wanted};

#[cfg(not(feature = "tracing"))]
mod without_tracing {
    use crate::pool::outcome::TaskId;
    use crate::segment::board::Board;
    use std::sync::Arc;

    #[inline]
    pub(crate) const fn are_wanted() -> bool {
        false
    }

    /// There are no spans.
    #[derive(Clone, Debug)]
    pub(crate) enum TaskSpan {}

    impl TaskSpan {
        pub(crate) fn new(_: TaskId, _: &'static str) -> Option<Self> {
            None
        }

        pub(crate) fn release(self) {}
    }

    pub(crate) struct TaskSpans;

    impl TaskSpans {
        pub(crate) fn new(_: Arc<Board>) -> Self {
            Self
        }

        #[inline]
        pub(crate) fn is_empty(&self) -> bool {
            true
        }

        pub(crate) fn insert(&mut self, _: TaskId, _: TaskSpan, _: bool) {}
        pub(crate) fn withdraw(&mut self, _: TaskId) {}
        pub(crate) fn end(&mut self, _: TaskId, _: u16, _: &'static str, _: bool) {}

        pub(crate) fn get(&self, _: TaskId) -> Option<TaskSpan> {
            None
        }

        pub(crate) fn note_log(&mut self, _: TaskId, _: u64) -> Option<(TaskSpan, bool)> {
            None
        }

        pub(crate) fn note_death(&mut self, _: u32) {}
        pub(crate) fn close_all(&mut self) {}
    }
}

#[cfg(not(feature = "tracing"))]
pub(crate) use without_tracing::{TaskSpan, TaskSpans, are_wanted};
