//! Sends `tracing` events of a worker to its parent.
//!
//! If the parent has a subscriber, the worker gets one that sends each event over the link: its message, its fields and the
//! spans around it as texts, and the task that the worker runs. It is active from the preparation of the worker on, unless the
//! preparation installs another global subscriber. Events below the parent's level are not formatted.
//!
//! FORWARD-1. Events of the thread that runs the tasks are numbered for each task, from 1, over all of its attempts. The number is
//!     on the board once the event was sent, and before the outcome of the task is. So the parent knows whether events of a
//!     task are still to come when it has the outcome.

#[cfg(feature = "tracing")]
mod with_tracing {
    use super::super::worker_spans::{self, FieldsText, WorkerSpans};
    use crate::os::link::Link;
    use crate::pool::context::WorkerShared;
    use crate::pool::outcome::TaskId;
    use crate::pool::wire::messages::{FromWorker, Level, LogRecord, truncated, truncated_to};
    use std::sync::{Arc, Weak};
    use std::thread::{self, ThreadId};
    use tracing::level_filters::LevelFilter;
    use tracing::span::{Attributes, Id, Record};
    use tracing::subscriber::{set_global_default, with_default};
    use tracing::{Event, Metadata, Subscriber};

    /// The longest text about the fields of an event, in bytes. With the others, it fits a message.
    const MAX_FIELDS: usize = 4 << 10;
    const MAX_TARGET: usize = 512;

    /// Runs the preparation of this worker, and sends events from now on.
    pub(crate) fn preparing<R>(
        link: &Arc<Link>,
        verbosity: Option<Level>,
        worker: &Arc<WorkerShared>,
        prepare: impl FnOnce() -> R,
    ) -> R {
        let Some(verbosity) = verbosity else {
            return prepare();
        };
        let spans = Arc::<WorkerSpans>::default();
        let forwarder = || Forwarder {
            link: Arc::clone(link),
            verbosity: filter(verbosity),
            spans: Arc::clone(&spans),
            worker: Arc::downgrade(worker),
            task_thread: thread::current().id(),
        };
        let prepared = with_default(forwarder(), prepare);
        // On an error the preparation has installed a subscriber of its own, which stays.
        let _ = set_global_default(forwarder());
        prepared
    }

    fn filter(level: Level) -> LevelFilter {
        match level {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }

    fn level(level: tracing::Level) -> Level {
        match level {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::TRACE => Level::Trace,
        }
    }

    struct Forwarder {
        link: Arc<Link>,
        verbosity: LevelFilter,
        spans: Arc<WorkerSpans>,
        /// Weak: the worker leaves its queues before the process ends.
        worker: Weak<WorkerShared>,
        /// The thread that runs the tasks.
        task_thread: ThreadId,
    }

    impl Forwarder {
        /// Returns the task that the worker runs, and the number of this event among those of the task's thread (FORWARD-1).
        fn task(&self) -> Option<(u64, u64)> {
            let worker = self.worker.upgrade()?;
            let task = worker.board.entry(worker.slot)?.running()?.task;
            if thread::current().id() != self.task_thread {
                return Some((task, 0));
            }
            let times = worker.times(TaskId(task));
            Some((task, times.map_or(0, |times| times.logs() + 1)))
        }

        /// Notes that an event of a task was sent (FORWARD-1).
        fn note_sent(&self, (task, number): (u64, u64)) {
            if number > 0
                && let Some(worker) = self.worker.upgrade()
                && let Some(times) = worker.times(TaskId(task))
            {
                times.set_logs(number);
            }
        }
    }

    impl Subscriber for Forwarder {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= self.verbosity
        }

        fn max_level_hint(&self) -> Option<LevelFilter> {
            Some(self.verbosity)
        }

        fn event(&self, event: &Event<'_>) {
            let mut text = FieldsText::default();
            event.record(&mut text);
            let spans = self.spans.around(event.parent(), event.is_contextual());
            // After the program's `Debug`, which may log as well.
            let task = self.task();
            let log = FromWorker::Log(LogRecord {
                level: level(*event.metadata().level()),
                target: truncated_to(event.metadata().target().to_owned(), MAX_TARGET),
                message: truncated(text.message),
                fields: truncated_to(text.fields, MAX_FIELDS),
                spans,
                task,
            });
            // A slow parent blocks this thread, so no event is lost. The watcher deals with a parent that has ended.
            let _ = self.link.send(&log.encode());
            if let Some(task) = task {
                self.note_sent(task);
            }
        }

        fn new_span(&self, attributes: &Attributes<'_>) -> Id {
            self.spans.add(attributes)
        }

        fn record(&self, id: &Id, values: &Record<'_>) {
            self.spans.record(id, values);
        }

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn enter(&self, id: &Id) {
            worker_spans::enter(id);
        }

        fn exit(&self, id: &Id) {
            worker_spans::exit(id);
        }

        fn clone_span(&self, id: &Id) -> Id {
            self.spans.add_handle(id);
            id.clone()
        }

        fn try_close(&self, id: Id) -> bool {
            self.spans.remove_handle(&id)
        }
    }
}

#[cfg(feature = "tracing")]
pub(crate) use with_tracing::preparing;

#[cfg(not(feature = "tracing"))]
mod without {
    use crate::os::link::Link;
    use crate::pool::context::WorkerShared;
    use crate::pool::wire::messages::Level;
    use std::sync::Arc;

    pub(crate) fn preparing<R>(
        _: &Arc<Link>,
        _: Option<Level>,
        _: &Arc<WorkerShared>,
        prepare: impl FnOnce() -> R,
    ) -> R {
        prepare()
    }
}

#[cfg(not(feature = "tracing"))]
pub(crate) use without::preparing;
