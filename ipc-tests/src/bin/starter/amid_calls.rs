//! Forks while other threads are in calls of the pool, so that the child gets locks that are held by threads which it
//! does not have. Each child calls every function.

use crate::act::Act;
use ipc_tests::role::Io;
use nix::{
    libc,
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, alarm, fork},
};
use std::{
    fs,
    io::{PipeWriter, Read, Write, pipe},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use workring::pool::{
    Group, Map, OutcomeOf, ResultOf, Shutdown, ShutdownError, SubmitError, TaskError, TaskHandle,
    TrySubmitError, TypedPool, wait_any, wait_any_deadline,
};

/// The forks of each phase. With this many, each lock is held in some of them: a missing check was always noticed.
const FORKS: u64 = 50;
/// Tasks of each map.
const TASKS: u64 = 12;
/// Longer than any wait of this program.
const LONG: Duration = Duration::from_hours(1);
/// The seconds after which a child is killed, because it hangs.
const CHILD_LIMIT: u32 = 60;

type Handles = [TaskHandle<Act>; 5];

/// An ordered map and an unordered one.
type Maps<I, J> = (Map<'static, Act, I>, Map<'static, Act, J>);

/// A thread that calls the pool until it is stopped. Returns how many tasks it has submitted, or received outcomes of.
type Caller = JoinHandle<u64>;

/// Runs the role; see [the module](self).
pub(super) fn forked_amid_calls(io: &mut Io) {
    let report: String = io.argument();
    let pool = TypedPool::<Act>::builder().workers(2).capacity(8);
    let pool = pool.start().expect("a pool");
    // Threads use it to the end of the process.
    let pool: &'static TypedPool<Act> = Box::leak(Box::new(pool));
    let gate = pool.submit(Act::AwaitCancel).expect("open");
    let forks = Forks {
        pool,
        gate: &gate,
        report,
    };
    let mut submitted = 1 + forks.while_open();

    // One thread waits in `shutdown`, and holds its lock during the wait.
    let mut handles = echoes(pool);
    submitted += handles.len() as u64;
    let ends = thread::spawn(|| pool.shutdown(Shutdown::Drain, LONG));
    while let Ok(handle) = pool.submit(Act::Echo(0)) {
        submitted += 1;
        assert_eq!(handle.wait().expect("an output"), "0");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let counter = call_until(&stop, move || {
        assert!(pool.in_flight() > 0, "the gate");
        0
    });
    for number in 0..FORKS {
        let maps = (pool.map([]), pool.map_unordered([]));
        (handles, _, _) = forks.fork(number, handles, pool.group(), maps);
    }
    stop.store(true, Ordering::Relaxed);
    counter.join().expect("no panic");
    assert!(!gate.is_finished(), "a child has cancelled it");
    assert!(gate.cancel());
    assert_eq!(gate.wait().expect("an output"), "cancelled");
    assert_echoes(handles);
    let report = ends.join().expect("no panic").expect("this is its process");
    assert!(report.is_balanced(), "{report}");
    assert_eq!(
        (report.submitted, report.completed),
        (submitted, submitted),
        "{report}"
    );
    assert_eq!(report.started, 2, "{report}");
    assert_eq!(pool.drain().count() + pool.in_flight(), 0);
}

/// Starts a thread that calls `act` until `stop` is set. Returns the sum of its results.
fn call_until(stop: &Arc<AtomicBool>, mut act: impl FnMut() -> u64 + Send + 'static) -> Caller {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        let mut sum = 0;
        while !stop.load(Ordering::Relaxed) {
            sum += act();
        }
        sum
    })
}

fn echoes(pool: &TypedPool<Act>) -> Handles {
    [1, 2, 3, 4, 5].map(|number| pool.submit(Act::Echo(number)).expect("open"))
}

fn assert_echoes(handles: Handles) {
    for (number, handle) in (1..).zip(handles) {
        assert_eq!(echo(handle.wait()), number);
    }
}

/// Counts the outcomes of tasks whose handles were dropped.
fn drain_dropped(pool: &TypedPool<Act>) -> u64 {
    let outcomes = pool.drain().map(|outcome| echo(outcome.result));
    outcomes.filter(|&number| number == 6).count() as u64
}

fn echo(result: ResultOf<Act>) -> u64 {
    let text = result.expect("an output");
    text.parse().expect("a number")
}

/// What all forks have.
struct Forks<'a> {
    pool: &'static TypedPool<Act>,
    gate: &'a TaskHandle<Act>,
    report: String,
}

impl Forks<'_> {
    /// Forks while one thread each drains, waits, submits and counts. Returns how many tasks were submitted.
    fn while_open(&self) -> u64 {
        let pool = self.pool;
        let stop = Arc::new(AtomicBool::new(false));
        let drainer = call_until(&stop, || drain_dropped(pool));
        let feeder = call_until(&stop, || {
            drop(pool.submit(Act::Echo(6)).expect("open"));
            1
        });
        let waiter = call_until(&stop, || {
            let handle = pool.submit(Act::Echo(7)).expect("open");
            assert_eq!(echo(handle.wait()), 7);
            1
        });
        let counter = call_until(&stop, || {
            assert!(pool.in_flight() > 0, "the gate");
            0
        });
        for number in 0..FORKS {
            let handles = echoes(pool);
            let group = pool.group();
            drop(group.submit(Act::Echo(number)).expect("open"));
            let tasks = || (0..TASKS).map(Act::Echo);
            let mut ordered = pool.map(tasks()).window(4);
            let mut unordered = pool.map_unordered(tasks()).window(4);
            let mut numbers: Vec<_> = [ordered.next(), unordered.next()].into();
            let maps = (ordered, unordered);
            let (handles, group, (ordered, unordered)) = self.fork(number, handles, group, maps);
            assert_echoes(handles);
            let of_group = group.drain().map(|outcome| echo(outcome.result));
            assert_eq!(of_group.collect::<Vec<_>>(), [number]);
            numbers.extend(ordered.map(Some));
            numbers.extend(unordered.map(Some));
            let numbers = numbers.into_iter();
            let mut numbers: Vec<_> = numbers
                .map(|outcome| echo(outcome.expect("one for each task").result))
                .collect();
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq((0..2 * TASKS).map(|n| n / 2)));
        }
        stop.store(true, Ordering::Relaxed);
        let submitted = feeder.join().expect("no panic");
        let awaited = waiter.join().expect("no panic");
        counter.join().expect("no panic");
        assert_eq!(
            drainer.join().expect("no panic") + drain_dropped(pool),
            submitted
        );
        submitted + awaited + FORKS * (6 + 2 * TASKS)
    }

    /// Forks, and waits for the child's exit. The parent keeps its handles and maps.
    fn fork<I: Iterator<Item = Act>, J: Iterator<Item = Act>>(
        &self,
        number: u64,
        handles: Handles,
        group: Group<Act>,
        maps: Maps<I, J>,
    ) -> (Handles, Group<Act>, Maps<I, J>) {
        let (mut reader, steps_writer) = pipe().expect("a pipe");
        // SAFETY: the child takes no lock that another thread may hold; that is what is tested. The C library takes
        // care of the locks of the allocator. The child ends here.
        match unsafe { fork() }.expect("a fork") {
            ForkResult::Child => {
                alarm::set(CHILD_LIMIT);
                let mut child = Child {
                    pool: self.pool,
                    steps: steps_writer,
                };
                let is_well = catch_unwind(AssertUnwindSafe(|| {
                    child.call_handles(self.gate, handles);
                    child.call_maps(number, maps);
                    child.call_group(&group);
                    child.begin("drop of a group");
                    drop(group);
                    child.call_pool();
                    child.end_pool();
                }));
                // SAFETY: it only ends this process.
                unsafe { libc::_exit(i32::from(is_well.is_err())) }
            }
            ForkResult::Parent { child } => {
                drop(steps_writer);
                let mut steps = String::new();
                reader.read_to_string(&mut steps).expect("a pipe");
                let status = waitpid(child, None).expect("a child");
                let report = fs::read_to_string(&self.report).unwrap_or_default();
                let last = steps.lines().last();
                assert_eq!(
                    status,
                    WaitStatus::Exited(child, 0),
                    "child {number}, in {last:?}: {report}"
                );
                assert_eq!(last, Some("end"));
                (handles, group, maps)
            }
        }
    }
}

/// A child, which writes the name of each function to a pipe before it calls it.
struct Child {
    pool: &'static TypedPool<Act>,
    steps: PipeWriter,
}

impl Child {
    fn begin(&mut self, step: &str) {
        writeln!(self.steps, "{step}").expect("the parent reads");
    }

    fn call_handles(&mut self, gate: &TaskHandle<Act>, handles: Handles) {
        for handle in handles.iter().chain([gate]) {
            self.begin("is_finished");
            assert!(handle.is_finished(), "a wait for it returns at once");
            self.begin("cancel");
            assert!(!handle.cancel());
            self.begin("cancel_within");
            assert!(!handle.cancel_within(Duration::ZERO));
            self.begin("progress");
            let mut progress = handle.progress::<u64>();
            assert!(progress.next().is_none() && progress.is_over());
            let mut progress = handle.progress::<u64>();
            assert!(progress.try_next().is_none() && progress.is_over());
            assert_eq!(progress.lost(), 0);
            drop(progress);
            self.begin("Debug of a handle");
            assert!(format!("{handle:?}").contains("TaskHandle"));
        }
        self.begin("wait_any");
        assert_eq!(wait_any(&handles), Ok(0));
        assert_eq!(wait_any_deadline(&handles, Instant::now()), Ok(0));
        let [one, two, three, four, five] = handles;
        self.begin("wait");
        assert_lost(&one.wait());
        self.begin("wait_timeout");
        assert_lost(&two.wait_timeout(LONG).expect("at once"));
        self.begin("wait_deadline");
        assert_lost(&three.wait_deadline(Instant::now()).expect("at once"));
        self.begin("outcome");
        assert_lost(&four.outcome().result);
        self.begin("detach");
        five.detach();
    }

    /// Uses maps that were begun before the fork. Every second child drops them at once.
    fn call_maps<I: Iterator<Item = Act>, J: Iterator<Item = Act>>(
        &mut self,
        number: u64,
        maps: Maps<I, J>,
    ) {
        let (mut ordered, mut unordered) = maps;
        self.begin("Debug of a map");
        assert!(format!("{ordered:?} {unordered:?}").contains("Map"));
        if number.is_multiple_of(2) {
            self.begin("next of a map");
            assert_rest(&mut ordered);
            self.begin("next of an unordered map");
            assert_rest(&mut unordered);
        }
        self.begin("drop of a map");
        drop(ordered);
        self.begin("drop of an unordered map");
        drop(unordered);
    }

    fn call_pool(&mut self) {
        let pool = self.pool;
        self.begin("submit");
        let refused = pool.submit(Act::Echo(8));
        assert!(
            matches!(refused, Err(SubmitError::Forked(Act::Echo(8)))),
            "{refused:?}"
        );
        self.begin("try_submit");
        let refused = pool.try_submit(Act::Echo(9));
        assert!(
            matches!(
                refused,
                Err(TrySubmitError::Refused(SubmitError::Forked(Act::Echo(9))))
            ),
            "{refused:?}"
        );
        self.begin("drain");
        let mut drain = pool.drain();
        assert!(format!("{drain:?}").contains("in_flight: 0"));
        assert_lost(&drain.next().expect("an error").result);
        assert!(drain.next().is_none() && drain.next().is_none());
        for chunk in [1, 3] {
            self.begin("map");
            let tasks = || (0..TASKS).map(Act::Echo);
            assert_eq!(assert_rest(&mut pool.map(tasks()).chunk(chunk)), chunk);
            self.begin("map_unordered");
            let mut map = pool.map_unordered(tasks()).chunk(chunk);
            assert_eq!(assert_rest(&mut map), chunk);
        }
        self.call_group(&pool.group());
        self.begin("outcomes");
        let mut outcomes = pool.outcomes();
        assert_lost(&outcomes.next().expect("an error").result);
        assert!(outcomes.next().is_none());
        self.begin("join");
        pool.join();
        assert!(pool.join_timeout(Duration::ZERO).is_ok());
        self.begin("submit_detached");
        let refused = pool.submit_detached(Act::Echo(9));
        assert!(
            matches!(refused, Err(SubmitError::Forked(_))),
            "{refused:?}"
        );
        self.begin("scope");
        let refused = pool.scope(|scope| scope.submit(Act::Echo(9)));
        assert!(
            matches!(refused, Err(SubmitError::Forked(_))),
            "{refused:?}"
        );
        self.begin("in_flight");
        assert_eq!(pool.in_flight(), 0);
        self.begin("Debug of the pool");
        assert!(format!("{pool:?}").contains("in_flight: 0"));
    }

    fn call_group(&mut self, group: &Group<Act>) {
        self.begin("submit to a group");
        let refused = group.task(Act::Echo(9)).tag(9).submit();
        assert!(
            matches!(refused, Err(SubmitError::Forked(_))),
            "{refused:?}"
        );
        self.begin("cancel of a group");
        assert_eq!(group.cancel() + group.in_flight(), 0);
        self.begin("join of a group");
        group.join();
        self.begin("drain of a group");
        let mut drain = group.drain();
        assert_lost(&drain.next().expect("an error").result);
        assert!(drain.next().is_none());
        self.begin("Debug of a group");
        assert!(format!("{group:?}").contains("in_flight: 0"));
    }

    fn end_pool(&mut self) {
        for how in [Shutdown::Drain, Shutdown::Cancel] {
            for timeout in [Duration::ZERO, LONG, Duration::MAX] {
                self.begin("shutdown");
                let refused = self.pool.shutdown(how, timeout);
                assert!(matches!(refused, Err(ShutdownError::Forked)), "{refused:?}");
            }
        }
        self.begin("drop of the pool");
        // SAFETY: it is not used again before the process ends. The threads that have references are not in this
        // process.
        drop(unsafe { ptr::read(self.pool) });
        self.begin("end");
    }
}

fn assert_lost(result: &ResultOf<Act>) {
    match result {
        Err(TaskError::Unknown { what, .. }) => assert!(what.contains("forked"), "{what}"),
        other => panic!("{other:?}"),
    }
}

/// Checks the rest of a map. Outcomes that had arrived before the fork may be there. Returns how many are lost.
fn assert_rest(map: &mut impl Iterator<Item = OutcomeOf<Act>>) -> usize {
    let lost = map.by_ref().filter(|outcome| outcome.result.is_err());
    let lost = lost.map(|outcome| assert_lost(&outcome.result)).count();
    assert!(map.next().is_none());
    lost
}
