//! The figures of a pool for the facade crate `metrics`, with the feature `metrics`.
//!
//! They are taken from [`PoolStats`] when the program asks for that, and not while tasks run: so tasks cost nothing, and no code of
//! the program, as a recorder is, runs in a thread or under a lock of the pool. An exporter that is scraped needs them just then.

use super::shared::Shared;
use super::stats::{PoolStats, WorkerStatus};
use crate::pool::histogram::Histogram;
use metrics::{Label, SharedString, Unit, counter, gauge, histogram};

const STATUSES: [(WorkerStatus, &str); 6] = [
    (WorkerStatus::Starting, "starting"),
    (WorkerStatus::Idle, "idle"),
    (WorkerStatus::Busy, "busy"),
    (WorkerStatus::Leaving, "leaving"),
    (WorkerStatus::Ending, "ending"),
    (WorkerStatus::BackingOff, "backing_off"),
];

impl Shared {
    /// See [`TypedPool::publish_metrics`](crate::pool::TypedPool::publish_metrics).
    pub(super) fn publish_metrics(&self) {
        if !self.owner.is_current() {
            return;
        }
        let stats = self.pool_stats();
        let pool = Label::new("pool", self.settings.name.clone());
        describe();
        publish_counts(&stats, &pool);
        if let Some(timings) = &stats.timings {
            let (waiting, running) = self.published_timings.advance(timings);
            let oldest = timings.oldest_queued.unwrap_or_default();
            let labels = || vec![pool.clone()];
            gauge!("workring_oldest_queued_task_seconds", labels()).set(oldest.as_secs_f64());
            record("workring_task_waiting_seconds", labels(), &waiting);
            record("workring_task_running_seconds", labels(), &running);
        }
    }
}

fn publish_counts(stats: &PoolStats, pool: &Label) {
    let (tasks, totals) = (&stats.tasks, &stats.totals);
    let with = |key: &'static str, value: &'static str| {
        vec![pool.clone(), Label::from_static_parts(key, value)]
    };
    for (name, total) in [
        ("workring_tasks_submitted_total", tasks.submitted),
        ("workring_tasks_retried_total", tasks.retried),
        ("workring_workers_started_total", totals.started),
        ("workring_workers_died_total", totals.died),
        ("workring_workers_killed_total", totals.killed),
        ("workring_workers_recycled_total", totals.recycled),
    ] {
        counter!(name, vec![pool.clone()]).absolute(total);
    }
    for (outcome, total) in [
        ("completed", tasks.completed),
        ("failed", tasks.failed),
        ("panicked", tasks.panicked),
        ("crashed", tasks.crashed),
        ("timed_out", tasks.timed_out),
        ("cancelled", tasks.cancelled),
        ("too_much_memory", tasks.too_much_memory),
        ("no_workers", tasks.no_workers),
        ("transport", tasks.transport),
        ("unknown", tasks.unknown),
    ] {
        counter!("workring_tasks_ended_total", with("outcome", outcome)).absolute(total);
    }
    for (state, number) in [
        ("queued", tasks.queued),
        ("running", tasks.running),
        ("retrying", tasks.retrying),
        ("unclaimed", tasks.unclaimed),
    ] {
        gauge!("workring_tasks", with("state", state)).set(as_float(number));
    }
    for (status, name) in STATUSES {
        let number = stats.workers_with(status) as u64;
        gauge!("workring_workers", with("status", name)).set(as_float(number));
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a gauge is a float, and exact up to 2^53"
)]
const fn as_float(number: u64) -> f64 {
    number as f64
}

/// Gives a recorder the durations of a histogram, each as the end of its bucket.
fn record(name: &'static str, labels: Vec<Label>, durations: &Histogram) {
    let recorder = histogram!(name, labels);
    for (duration, count) in durations.buckets() {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        recorder.record_many(duration.as_secs_f64(), count);
    }
}

/// A name, its unit, and what it means.
type Text = (&'static str, Unit, &'static str);
const COUNTERS: [Text; 7] = [
    (
        "workring_tasks_submitted_total",
        Unit::Count,
        "Tasks that the pool has accepted",
    ),
    (
        "workring_tasks_ended_total",
        Unit::Count,
        "Tasks with an outcome, by its kind",
    ),
    (
        "workring_tasks_retried_total",
        Unit::Count,
        "Attempts after the death of a worker",
    ),
    (
        "workring_workers_started_total",
        Unit::Count,
        "Worker processes that were started",
    ),
    (
        "workring_workers_died_total",
        Unit::Count,
        "Worker processes that ended unexpectedly",
    ),
    (
        "workring_workers_killed_total",
        Unit::Count,
        "Worker processes that were killed",
    ),
    (
        "workring_workers_recycled_total",
        Unit::Count,
        "Worker processes that were replaced",
    ),
];
const GAUGES: [Text; 3] = [
    ("workring_tasks", Unit::Count, "Tasks, by their state"),
    ("workring_workers", Unit::Count, "Workers, by their status"),
    (
        "workring_oldest_queued_task_seconds",
        Unit::Seconds,
        "How long the oldest task that was not started has waited",
    ),
];
const HISTOGRAMS: [Text; 2] = [
    (
        "workring_task_waiting_seconds",
        Unit::Seconds,
        "From the submission of a task to its first start",
    ),
    (
        "workring_task_running_seconds",
        Unit::Seconds,
        "How long the last attempt of a task ran",
    ),
];

/// Tells a recorder units and meanings. A recorder keeps the last text, so this may be repeated.
fn describe() {
    let text = SharedString::const_str;
    for (name, unit, what) in COUNTERS {
        metrics::with_recorder(|it| it.describe_counter(name.into(), Some(unit), text(what)));
    }
    for (name, unit, what) in GAUGES {
        metrics::with_recorder(|it| it.describe_gauge(name.into(), Some(unit), text(what)));
    }
    for (name, unit, what) in HISTOGRAMS {
        metrics::with_recorder(|it| it.describe_histogram(name.into(), Some(unit), text(what)));
    }
}
