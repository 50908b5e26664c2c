//! Logs about workers and from workers: events, panics, malformed messages (P14, P15), and a pool that is dropped (P12).
//!
//! One subscriber of the whole process listens: what workers say is passed on by a thread of the pool.

use ipc_tests::support::LIMIT;
use ipc_tests::{
    Signal,
    deeds::{Deed, links},
    guarded,
};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    os::unix::process::ExitStatusExt,
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::Duration,
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::set_global_default,
};
use workring::pool::{Pool, Shutdown, TaskError};

const DEEDS: &str = env!("CARGO_BIN_EXE_deeds");

/// One event.
#[derive(Clone, Debug)]
struct Said {
    level: Level,
    target: String,
    fields: BTreeMap<&'static str, String>,
}

impl Said {
    fn has(&self, field: &str, part: &str) -> bool {
        self.fields
            .get(field)
            .is_some_and(|text| text.contains(part))
    }
}

struct Log {
    all: Mutex<Vec<Said>>,
    news: Condvar,
}

/// What the subscriber does besides, in place of having heard an event.
type Mood = Arc<dyn Fn() + Send + Sync>;

static MOOD: Mutex<Option<Mood>> = Mutex::new(None);

/// Until it is dropped, the subscriber is in this mood.
struct Moody;

impl Moody {
    fn new(mood: impl Fn() + Send + Sync + 'static) -> Self {
        *MOOD.lock() = Some(Arc::new(mood));
        Self
    }
}

impl Drop for Moody {
    fn drop(&mut self) {
        *MOOD.lock() = None;
    }
}

static LOG: Log = Log {
    all: Mutex::new(Vec::new()),
    news: Condvar::new(),
};

impl Log {
    /// The log of this process, empty.
    fn begin() -> &'static Self {
        // An error: another test was here before.
        let _ = set_global_default(Listener);
        LOG.all.lock().clear();
        &LOG
    }

    /// Waits until `count` events satisfy `is_such`, and returns them.
    fn until(&self, count: usize, is_such: impl Fn(&Said) -> bool) -> Vec<Said> {
        let mut all = self.all.lock();
        loop {
            let such: Vec<Said> = all.iter().filter(|said| is_such(said)).cloned().collect();
            if such.len() >= count {
                return such;
            }
            self.news.wait(&mut all);
        }
    }
}

struct Listener;

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= LevelFilter::INFO
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn event(&self, event: &Event<'_>) {
        // Not on a caller's own thread, which calls it for what it finds itself.
        let is_pools = thread::current()
            .name()
            .is_some_and(|name| name.starts_with("workring-"));
        let mood = MOOD.lock().clone();
        if let Some(mood) = mood.filter(|_| is_pools) {
            mood();
        }
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        LOG.all.lock().push(Said {
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            fields,
        });
        LOG.news.notify_all();
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn one_worker() -> Pool<Deed> {
    let builder = Pool::builder().program(DEEDS).workers(1);
    builder.start().expect("a pool")
}

fn run(pool: &Pool<Deed>, deed: Deed) -> u64 {
    let handle = pool.submit(deed).expect("open");
    handle.wait().expect("an output")
}

/// Shuts the pool down and checks that no worker has died.
fn close(pool: &Pool<Deed>) {
    let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
    assert!(report.is_balanced(), "{report}");
    assert_eq!((report.started, report.died, report.killed), (1, 0, 0));
}

fn is_of_a_worker(said: &Said) -> bool {
    said.target == "workring::worker"
}

#[test]
fn p15_what_a_worker_logs_reaches_the_parent() {
    guarded(LIMIT, || {
        let log = Log::begin();
        let pool = one_worker();
        let pid = run(&pool, Deed::Log("out of paint".to_owned()));
        let said = log.until(3, is_of_a_worker);
        let [prepared, error, info] = said.as_slice() else {
            panic!("something else was said: {said:#?}");
        };
        for event in &said {
            assert!(
                event.has("pid", &pid.to_string()) && event.has("worker", "0"),
                "{event:?}"
            );
            assert!(event.has("origin", "ipc_tests::deeds"), "{event:?}");
        }
        assert!(prepared.has("message", "prepared"), "{prepared:?}");
        assert_eq!(
            (prepared.level, error.level, info.level),
            (Level::INFO, Level::ERROR, Level::INFO)
        );
        assert!(
            error.has("message", "out of paint task=0 colour=\"mauve\""),
            "{error:?}"
        );
        // What the parent would not listen to is not even put into words.
        assert!(info.has("message", "debug=false length=12"), "{info:?}");
        close(&pool);
    });
}

/// Longer than a link's buffers, and faster than the parent may read: nothing is left out.
#[test]
fn p15_no_event_is_left_out() {
    guarded(LIMIT, || {
        let log = Log::begin();
        let pool = one_worker();
        for number in 0..500 {
            let text = format!("{number} {}", "x".repeat(4000));
            drop(pool.submit(Deed::Log(text)).expect("open"));
        }
        let said = log.until(500, |said| {
            said.level == Level::ERROR && is_of_a_worker(said)
        });
        for (number, said) in said.iter().enumerate() {
            let text = said.fields.get("message").expect("a message");
            assert!(text.starts_with(&format!("{number} x")), "{text}");
        }
        close(&pool);
    });
}

#[test]
fn p15_a_panic_of_a_thread_of_a_worker_reaches_the_parent() {
    guarded(LIMIT, || {
        let log = Log::begin();
        let pool = one_worker();
        run(&pool, Deed::PanicElsewhere("no brush".to_owned()));
        let said = log.until(1, |said| said.level == Level::ERROR && is_of_a_worker(said));
        let panic = said.first().expect("an event");
        assert!(
            panic.has("message", "no brush") && panic.has("message", "deeds.rs:"),
            "{panic:?}"
        );
        close(&pool);
    });
}

/// Where it was made is what a reader of the log needs. A pool that was shut down is not worth a word.
#[test]
fn p12_a_pool_that_is_dropped_logs_one_warning_that_names_where_it_was_made() {
    guarded(LIMIT, || {
        let log = Log::begin();
        let builder = Pool::<Deed>::builder().program(DEEDS).workers(1);
        let (pool, line) = (builder.start().expect("a pool"), line!());
        drop(pool.submit(Deed::Pid).expect("open"));
        assert!(pool.drain().all(|outcome| outcome.result.is_ok()));
        drop(pool);
        close(&one_worker());
        let all = log.all.lock();
        let warnings: Vec<&Said> = all
            .iter()
            .filter(|said| said.level <= Level::WARN)
            .collect();
        let [warning] = warnings.as_slice() else {
            panic!("{warnings:#?}");
        };
        assert_eq!(warning.target, "workring");
        assert!(warning.has("message", "dropped without"), "{warning:?}");
        assert!(
            warning.has("made_at", &format!("logs.rs:{line}:")),
            "{warning:?}"
        );
        assert!(warning.has("report", "1 completed"), "{warning:?}");
    });
}

/// A worker that ends before it has taken its queues over is no death of a process with the id 0.
#[test]
fn a_queue_that_was_not_taken_over_is_reported_as_such_and_without_a_process_id() {
    guarded(LIMIT, || {
        let log = Log::begin();
        let builder = Pool::<Deed>::builder().program("/bin/true").workers(1);
        builder.start().map(drop).expect_err("it is no worker");
        log.until(1, |said| said.has("message", "before it inherited it"));
        let all = log.all.lock();
        let zero = |said: &&Said| said.fields.get("pid").is_some_and(|pid| pid == "0");
        assert_eq!(all.iter().find(zero).map(|said| &said.fields), None);
    });
}

/// Without a link the parent would receive nothing from it.
#[test]
fn w7_a_worker_whose_link_is_broken_is_replaced_though_it_lives() {
    guarded(LIMIT, || {
        let builder = Pool::builder().program(DEEDS).workers(1);
        let pool = builder.grace(Duration::from_millis(20)).start();
        let pool = pool.expect("a pool");
        let handle = pool.submit(Deed::Mute).expect("open");
        match handle.wait() {
            Err(TaskError::Crashed { status, .. }) => {
                let signal = status.and_then(|status| status.signal());
                assert_eq!(signal, Some(Signal::SIGKILL as i32));
            }
            other => panic!("{other:?}"),
        }
        run(&pool, Deed::Pid);
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.completed, report.lost), (1, 1));
        assert_eq!((report.started, report.killed, report.died), (2, 1, 0));
    });
}

/// What no worker of this version says, at least not now: unknown kinds, kinds without their parts, or with too many, what
/// only parents say, what was said before, more than fits, and nothing at all.
fn nonsense() -> Vec<Vec<u8>> {
    vec![
        vec![0],
        vec![255; 100],
        vec![3],
        vec![6, 1, 2],
        vec![2, 0],
        vec![7, 7],
        vec![2],
        vec![65, 1, 0],
        vec![68],
        vec![1; 17_000],
        vec![4; 60_000],
        vec![],
        vec![4],
    ]
}

#[test]
fn p14_what_a_worker_says_that_makes_no_sense_is_logged_and_skipped() {
    guarded(LIMIT, || {
        let log = Log::begin();
        let pool = one_worker();
        let pid = run(&pool, Deed::Inject(nonsense()));
        let is_about_it = |said: &Said| {
            said.has("message", "malformed message of a worker")
                && said.has("pid", &pid.to_string())
        };
        let said = log.until(nonsense().len(), is_about_it);
        assert_eq!(said.len(), nonsense().len());
        assert!(said.iter().all(|said| said.level == Level::WARN));
        // The reader lives, and so does who was read.
        assert_eq!(run(&pool, Deed::Log("still here".to_owned())), pid);
        log.until(1, |said| said.has("message", "still here"));
        close(&pool);
    });
}

/// What no parent says: the worker says so.
#[test]
fn p14_what_a_parent_says_that_makes_no_sense_is_logged_and_skipped() {
    let nonsense = [
        vec![0],
        vec![255; 100],
        vec![2],
        vec![65],
        vec![65, 1, 0],
        vec![65, 1, 1, 9],
        vec![66, 0],
        vec![68; 20_000],
        vec![],
    ];
    guarded(LIMIT, || {
        let log = Log::begin();
        let pool = one_worker();
        let pid = run(&pool, Deed::Pid);
        let link = links().pop().expect("a link");
        for datagram in &nonsense {
            link.send(datagram).expect("the worker lives");
        }
        drop(link);
        let said = log.until(nonsense.len(), |said| {
            is_of_a_worker(said) && said.has("message", "malformed message of the parent")
        });
        assert_eq!(said.len(), nonsense.len());
        assert_eq!(run(&pool, Deed::Pid), pid);
        close(&pool);
    });
}

/// `println!` to a closed pipe is enough to make a subscriber panic.
#[test]
fn a_subscriber_that_panics_costs_no_task_and_no_worker() {
    guarded(LIMIT, || {
        let _log = Log::begin();
        let pool = one_worker();
        let moody = Moody::new(|| panic!("failed printing to stdout"));
        for number in 0..3 {
            let crashed = pool.submit(Deed::Abort).expect("open").wait();
            assert!(
                matches!(crashed, Err(TaskError::Crashed { .. })),
                "{crashed:?}"
            );
            assert_eq!(run(&pool, Deed::Echo(number)), number);
            run(&pool, Deed::Log("heard by nobody".to_owned()));
            drop(pool.submit(Deed::Echo(1)).expect("open"));
            assert_eq!(pool.drain().count(), 1);
        }
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.submitted, report.lost, report.died), (12, 3, 3));
        // Nor does it make the drop of a pool panic.
        drop(one_worker());
        drop(moody);
    });
}

/// The subscriber waits for the test from the first death on. Limits, deaths, cancellation and the end go on.
#[test]
fn a_subscriber_that_never_returns_holds_up_no_limit_and_no_death() {
    guarded(LIMIT, || {
        let _log = Log::begin();
        let soon = Duration::from_millis(100);
        let pool = Pool::builder().program(DEEDS).workers(1).time_limit(soon);
        let pool = pool.grace(soon).start().expect("a pool");
        let open = Arc::new(OnceLock::new());
        let (arrive, arrived) = mpsc::channel();
        let opened = Arc::clone(&open);
        let moody = Moody::new(move || {
            let _ = arrive.send(());
            opened.wait();
        });
        let crash = || {
            let crashed = pool.submit(Deed::Abort).expect("open").wait();
            assert!(
                matches!(crashed, Err(TaskError::Crashed { .. })),
                "{crashed:?}"
            );
        };
        crash();
        arrived.recv().expect("it is told of the death");
        crash();
        let late = pool.submit(Deed::UntilCancelled).expect("open").wait();
        assert!(matches!(late, Err(TaskError::TimedOut)), "{late:?}");
        assert_eq!(run(&pool, Deed::Echo(3)), 3);
        // It does not wait for the subscriber for longer than the grace time.
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.submitted, report.lost, report.timed_out), (4, 2, 1));
        drop(moody);
        // The thread that was left ends when the subscriber returns.
        open.set(()).expect("closed until now");
    });
}
