//! The figures of a pool for the facade `metrics`: each has the value of `stats`, its unit, and the name of its pool.

use ipc_tests::support::{
    LIMIT,
    pools::{close, jobs},
};
use ipc_tests::{
    guarded,
    jobs::{Death, Job},
};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit, with_local_recorder,
};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A value, by its name and labels.
#[derive(Clone, Default)]
struct Recorded {
    values: Arc<Mutex<BTreeMap<String, f64>>>,
    counts: Arc<Mutex<BTreeMap<String, usize>>>,
    units: Arc<Mutex<BTreeMap<String, Unit>>>,
}

struct Cell {
    key: String,
    recorded: Recorded,
}

impl Cell {
    fn of(key: &Key, recorded: &Recorded) -> Arc<Self> {
        let labels: Vec<String> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        Arc::new(Self {
            key: format!("{} {}", key.name(), labels.join(" ")),
            recorded: recorded.clone(),
        })
    }

    fn set(&self, value: f64) {
        let mut values = self.recorded.values.lock();
        values.insert(self.key.clone(), value);
    }
}

impl CounterFn for Cell {
    fn increment(&self, _: u64) {
        panic!("the counters are absolute");
    }

    #[allow(clippy::cast_precision_loss, reason = "the counts of a test are small")]
    fn absolute(&self, value: u64) {
        self.set(value as f64);
    }
}

impl GaugeFn for Cell {
    fn increment(&self, _: f64) {
        panic!("the gauges are set");
    }

    fn decrement(&self, _: f64) {
        panic!("the gauges are set");
    }

    fn set(&self, value: f64) {
        Self::set(self, value);
    }
}

impl HistogramFn for Cell {
    fn record(&self, value: f64) {
        let mut values = self.recorded.values.lock();
        *values.entry(self.key.clone()).or_default() += value;
        let mut counts = self.recorded.counts.lock();
        *counts.entry(self.key.clone()).or_default() += 1;
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        let unit = unit.expect("each has one");
        self.units.lock().insert(key.as_str().to_owned(), unit);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe_counter(key, unit, text);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe_counter(key, unit, text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Cell::of(key, self))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Cell::of(key, self))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Cell::of(key, self))
    }
}

impl Recorded {
    fn text(&self, key: &str) -> String {
        self.value(key).to_string()
    }

    fn value(&self, key: &str) -> f64 {
        let values = self.values.lock();
        let value = values.get(key).copied();
        value.unwrap_or_else(|| panic!("no {key} among {:?}", values.keys()))
    }
}

#[test]
fn metrics_have_the_figures_of_the_pool_and_its_name() {
    guarded(LIMIT, || {
        let recorder = Recorded::default();
        let pool = jobs(2).name("thumbnails").timings(true).start();
        let pool = pool.expect("a pool");
        let publish = || with_local_recorder(&recorder, || pool.publish_metrics());
        publish();
        let workers = "workring_workers pool=thumbnails status=idle";
        assert_eq!(recorder.text(workers), "2");
        let submitted = "workring_tasks_submitted_total pool=thumbnails";
        assert_eq!(recorder.text(submitted), "0");

        let some_time = Duration::from_millis(20);
        let busy = Job::Busy(20_000);
        for job in [Job::Double(1), busy, Job::Fail("no".to_owned())] {
            let _ = pool.submit(job).expect("open").wait();
        }
        let dies = pool.submit(Job::Die(Death::Abort)).expect("open");
        dies.wait().expect_err("it dies");
        publish();
        // Nothing is counted twice.
        publish();
        let ended = |outcome: &str| {
            recorder.text(&format!(
                "workring_tasks_ended_total pool=thumbnails outcome={outcome}"
            ))
        };
        assert_eq!(recorder.text(submitted), "4");
        let counts = ["completed", "failed", "crashed", "timed_out"].map(ended);
        assert_eq!(counts, ["2", "1", "1", "0"]);
        let deaths = "workring_workers_died_total pool=thumbnails";
        assert_eq!(recorder.text(deaths), "1");
        let running = "workring_task_running_seconds pool=thumbnails";
        assert_eq!(recorder.counts.lock().get(running), Some(&4));
        assert!(recorder.value(running) >= some_time.as_secs_f64());
        let queued = "workring_tasks pool=thumbnails state=queued";
        assert_eq!(recorder.text(queued), "0");

        // Each metric that was published has its unit, and there are no others.
        let values = recorder.values.lock().clone();
        let names = values
            .keys()
            .map(|key| key.split(' ').next().expect("a name"));
        let names: std::collections::BTreeSet<&str> = names.collect();
        let units = recorder.units.lock().clone();
        assert_eq!(names, units.keys().map(String::as_str).collect());
        for (name, unit) in units {
            let is_time = name.ends_with("_seconds");
            assert_eq!(unit, if is_time { Unit::Seconds } else { Unit::Count });
        }
        close(&pool);
    });
}
