//! Events of `tracing` about a pool, and those that its workers forward, if the feature `tracing` is on.
//!
//! A subscriber is code of the program, so the supervisor thread does not call it: see [`crate::announce`].

use crate::error::StartError;
use crate::pool::parent::events::Event;
use crate::pool::parent::results::TaskSpan;
use crate::pool::wire::messages::{Level, LogRecord};

#[cfg(feature = "tracing")]
mod with_tracing {
    use super::super::captured::PendingBytes;
    use super::super::death_report::{DeathReport, Fate, Severity};
    use super::{Event, Level, LogRecord, StartError, TaskSpan};
    use crate::announce::{Importance, announce};
    use crate::error::with_causes;
    use std::io;
    use tracing::level_filters::LevelFilter;
    use tracing::{debug, error, info, trace, warn};

    const OUTPUT_TARGET: &str = "workring::output";

    /// Returns the least severe level that a subscriber of this process receives; `None` if it receives none.
    pub(crate) fn verbosity() -> Option<Level> {
        Some(match LevelFilter::current().into_level()? {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::TRACE => Level::Trace,
        })
    }

    /// Leaves an event to the thread that calls the subscriber, if this level is enabled.
    fn emit(level: LevelFilter, notice: impl FnOnce() + Send + 'static) {
        if level <= LevelFilter::current() {
            announce(Importance::Lifecycle, Box::new(notice));
        }
    }

    /// Emits an event that a worker has forwarded, in the span of its task.
    pub(crate) fn forward(worker: u32, pid: u32, record: LogRecord, span: Option<TaskSpan>) {
        macro_rules! emit_record {
            ($level:ident, $parent:ident) => {
                $level!(
                    target: "workring::worker",
                    parent: $parent,
                    worker,
                    pid,
                    origin = record.target,
                    task = record.task.map(|(task, _)| task),
                    fields = (!record.fields.is_empty()).then_some(record.fields.as_str()),
                    spans = (!record.spans.is_empty()).then_some(record.spans.as_str()),
                    "{}",
                    record.message
                )
            };
        }
        let notice = move || {
            TaskSpan::emit_in(span, |parent| match record.level {
                Level::Error => emit_record!(error, parent),
                Level::Warn => emit_record!(warn, parent),
                Level::Info => emit_record!(info, parent),
                Level::Debug => emit_record!(debug, parent),
                Level::Trace => emit_record!(trace, parent),
            });
        };
        announce(Importance::Detail, Box::new(notice));
    }

    /// Returns whether a subscriber receives what workers write.
    pub(crate) fn wants_output() -> bool {
        LevelFilter::INFO <= LevelFilter::current()
    }

    /// Emits a line, or a piece of one, that a worker has written.
    pub(crate) fn output(
        worker: u32,
        pid: u32,
        stream: &'static str,
        line: String,
        pending: PendingBytes,
    ) {
        let notice = move || {
            info!(target: OUTPUT_TARGET, worker, pid, stream, "{line}");
            drop(pending);
        };
        announce(Importance::Detail, Box::new(notice));
    }

    pub(crate) fn output_dropped(worker: u32, pid: u32, stream: &'static str, lines: u64) {
        emit(LevelFilter::WARN, move || {
            warn!(
                target: OUTPUT_TARGET,
                worker,
                pid,
                stream,
                lines,
                "lines of a worker's output were dropped, because the `tracing` subscriber is too slow: make it faster"
            );
        });
    }

    pub(crate) fn malformed_message(pid: u32) {
        emit(LevelFilter::WARN, move || {
            warn!(target: "workring", pid, "a malformed message of a worker was skipped");
        });
    }

    pub(crate) fn start_failed(worker: u32, error: &StartError) {
        let error = with_causes(error);
        emit(LevelFilter::WARN, move || {
            warn!(target: "workring", worker, %error, "a worker could not be started, and is tried again later");
        });
    }

    pub(crate) fn other_build(pid: u32) {
        emit(LevelFilter::INFO, move || {
            info!(
                target: "workring",
                pid,
                "the program of the workers is another build than this one: `Task::SCHEMA` says what is compared"
            );
        });
    }

    /// Emits the event of a death at this level.
    macro_rules! emit_death {
        ($level:ident, $parent:ident, $report:ident, $tried_again_in_ms:ident, $message:literal) => {
            $level!(
                target: "workring",
                parent: $parent,
                worker = $report.worker,
                pid = $report.pid,
                reason = $report.reason,
                status = $report.status,
                signal = $report.signal,
                exit_code = $report.exit_code,
                error = $report.error,
                task = $report.task.map(|task| task.0),
                task_name = $report.task_name,
                attempt = $report.attempt,
                fate = $report.fate.map(Fate::name),
                outcome = $report.fate.and_then(Fate::outcome),
                $tried_again_in_ms,
                replacement = $report.replacement,
                replaced_in_ms = $report.replaced_in_ms,
                $message
            )
        };
    }

    pub(crate) fn died(mut report: DeathReport) {
        let span = report.span.take();
        let tried_again_in_ms = report.fate.and_then(Fate::tried_again_in_ms);
        let severity = report.severity;
        let level = match severity {
            Severity::Planned => LevelFilter::DEBUG,
            Severity::Requested => LevelFilter::INFO,
            Severity::Unexpected => LevelFilter::WARN,
        };
        let of_notice = span.clone();
        emit(level, move || {
            TaskSpan::emit_in(of_notice, |parent| match severity {
                Severity::Planned => {
                    emit_death!(
                        debug,
                        parent,
                        report,
                        tried_again_in_ms,
                        "a worker has ended"
                    );
                }
                Severity::Requested => {
                    emit_death!(
                        info,
                        parent,
                        report,
                        tried_again_in_ms,
                        "a worker was ended"
                    );
                }
                Severity::Unexpected => {
                    emit_death!(
                        warn,
                        parent,
                        report,
                        tried_again_in_ms,
                        "a worker died unexpectedly"
                    );
                }
            });
        });
        span.into_iter().for_each(TaskSpan::release);
    }

    pub(crate) fn left_behind(worker: u32, pid: u32) {
        emit(LevelFilter::ERROR, move || {
            error!(target: "workring", worker, pid, "a worker was killed but has not ended: it is left behind");
        });
    }

    /// Reports that a worker of a running pool has survived its kill. Returns the text.
    pub(crate) fn unkillable(worker: u32, pid: u32) -> String {
        let text = super::unkillable_text(pid);
        let message = text.clone();
        emit(LevelFilter::ERROR, move || {
            error!(target: "workring", worker, pid, "{message}");
        });
        text
    }

    pub(crate) fn wait_failed(error: &io::Error) {
        let error = error.to_string();
        emit(LevelFilter::ERROR, move || {
            error!(
                target: "workring",
                %error,
                "the pool can't wait for its workers: it checks them every 10 ms instead"
            );
        });
    }

    pub(crate) fn outage(cause: &str) {
        let cause = cause.to_owned();
        emit(LevelFilter::ERROR, move || {
            error!(
                target: "workring",
                cause,
                "no worker could be started, several times in a row: tasks fail until one can be started"
            );
        });
    }

    pub(crate) fn outage_ended() {
        emit(LevelFilter::INFO, || {
            info!(target: "workring", "a worker was started again: the pool accepts tasks");
        });
    }

    pub(crate) fn listener_panicked(event: Event) {
        emit(LevelFilter::ERROR, move || {
            error!(target: "workring", ?event, "the listener of the pool has panicked");
        });
    }

    pub(crate) fn unreadable_task(reason: &str) {
        let reason = reason.to_owned();
        emit(LevelFilter::ERROR, move || {
            error!(target: "workring", reason, "a message in the queue of tasks could not be read and is dropped");
        });
    }
}

#[cfg(feature = "tracing")]
pub(super) use with_tracing::{
    died, forward, left_behind, listener_panicked, malformed_message, other_build, outage,
    outage_ended, output, output_dropped, start_failed, unkillable, unreadable_task, verbosity,
    wait_failed, wants_output,
};

fn unkillable_text(pid: u32) -> String {
    format!(
        "the worker with process id {pid} was killed and has not ended: if it is stopped and belongs to another user, \
         continue it or end it as that user"
    )
}

#[cfg(not(feature = "tracing"))]
mod without_tracing {
    use super::super::captured::PendingBytes;
    use super::super::death_report::DeathReport;
    use super::{Event, Level, LogRecord, StartError, TaskSpan};

    pub(crate) fn verbosity() -> Option<Level> {
        None
    }

    pub(crate) fn forward(_: u32, _: u32, _: LogRecord, _: Option<TaskSpan>) {}
    pub(crate) fn wants_output() -> bool {
        false
    }

    pub(crate) fn output(_: u32, _: u32, _: &str, _: String, _: PendingBytes) {}
    pub(crate) fn output_dropped(_: u32, _: u32, _: &str, _: u64) {}
    pub(crate) fn malformed_message(_: u32) {}
    pub(crate) fn start_failed(_: u32, _: &StartError) {}
    pub(crate) fn died(_: DeathReport) {}
    pub(crate) fn left_behind(_: u32, _: u32) {}
    pub(crate) fn unkillable(_: u32, pid: u32) -> String {
        super::unkillable_text(pid)
    }
    pub(crate) fn wait_failed(_: &std::io::Error) {}
    pub(crate) fn outage(_: &str) {}
    pub(crate) fn other_build(_: u32) {}
    pub(crate) fn outage_ended() {}
    pub(crate) fn listener_panicked(_: Event) {}
    pub(crate) fn unreadable_task(_: &str) {}
}

#[cfg(not(feature = "tracing"))]
pub(super) use without_tracing::{
    died, forward, left_behind, listener_panicked, malformed_message, other_build, outage,
    outage_ended, output, output_dropped, start_failed, unkillable, unreadable_task, verbosity,
    wait_failed, wants_output,
};
