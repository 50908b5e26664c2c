//! The death of a worker is one event of `tracing`, which says who died, why, with which task, what becomes of the task, and
//! whether the worker is replaced.
//!
//! Method: workers die in each way that there is. Then the pool is shut down, which emits all events, and the events are
//! counted: those of the pool, those that its queues would emit, and those that workers forward.

use super::recorder::{Recorded, Recorder};
use ipc_tests::guarded;
use ipc_tests::jobs::{Death, Job};
use ipc_tests::support::{
    LIMIT,
    pools::{close, jobs},
};
use std::time::Duration;
use tracing::{Level, level_filters::LevelFilter};
use workring::pool::{Shutdown, TaskError, TypedPool, WorkerOutput};

/// Returns all events of the pool, its queues and its workers, without the one that says that the workers are of another
/// program.
fn events(recorder: &Recorder) -> Vec<Recorded> {
    let mut events = recorder.events();
    events.retain(|event| {
        event.target != "workring::output" && !event.has("message", "another build")
    });
    events
}

/// Asserts that these fields of an event have these values.
fn assert_fields(event: &Recorded, expected: &[(&str, &str)]) {
    for (field, value) in expected {
        assert_eq!(event.field(field), *value, "{field} of {event:#?}");
    }
}

fn crash(pool: &TypedPool<Job>, death: Death) {
    let crashed = pool.submit(Job::Die(death)).expect("open").wait();
    assert!(
        matches!(crashed, Err(TaskError::Crashed { .. })),
        "{crashed:?}"
    );
}

/// Its queues are shared by three processes, each of which finds the dead.
#[test]
fn each_unexpected_death_is_one_event_with_everything_in_it() {
    guarded(LIMIT, || {
        let recorder = Recorder::install();
        let pool = jobs(3).liveness_interval(Duration::from_millis(20));
        let pool = pool.max_message_len(4 << 10).start().expect("a pool");
        crash(&pool, Death::Abort);
        crash(&pool, Death::Exit(3));
        let echo = pool.submit(Job::Double(2)).expect("open").wait();
        assert_eq!(echo, Ok("4".to_owned()));
        let report = close(&pool);
        assert_eq!(report.died, 2);
        let events = events(recorder);
        let [aborted, exited] = events.as_slice() else {
            panic!("{events:#?}");
        };
        for (event, task) in [(aborted, "0"), (exited, "1")] {
            assert_eq!(
                (event.level, event.target.as_str()),
                (Level::WARN, "workring")
            );
            assert!(event.has("task_name", "Job"), "{event:?}");
            assert!(event.field("pid").parse::<u32>().is_ok(), "{event:?}");
            assert!(event.field("worker").parse::<u32>().is_ok(), "{event:?}");
            assert_fields(
                event,
                &[
                    ("task", task),
                    ("attempt", "1"),
                    ("fate", "ended"),
                    ("outcome", "crashed"),
                    ("replacement", "at_once"),
                ],
            );
        }
        assert_fields(aborted, &[("reason", "signal"), ("signal", "6")]);
        assert_fields(exited, &[("reason", "exit"), ("exit_code", "3")]);
        assert!(aborted.has("status", "SIGABRT"), "{aborted:?}");
    });
}

#[test]
fn the_event_of_a_death_says_that_its_task_is_tried_again() {
    guarded(LIMIT, || {
        let recorder = Recorder::install();
        let pool = jobs(1).retries(1).start().expect("a pool");
        crash(&pool, Death::Abort);
        close(&pool);
        let events = events(recorder);
        let [first, second] = events.as_slice() else {
            panic!("{events:#?}");
        };
        assert_fields(
            first,
            &[("attempt", "1"), ("fate", "tried_again"), ("outcome", "")],
        );
        let soon = first.field("tried_again_in_ms").parse::<u64>();
        assert!(soon.is_ok(), "{first:?}");
        assert_fields(
            second,
            &[("attempt", "2"), ("fate", "ended"), ("outcome", "crashed")],
        );
    });
}

/// A worker that its pool kills for a task is one event, too, and one that the pool has planned is not worth a warning.
#[test]
fn the_event_of_a_death_says_what_the_pool_has_ended_the_worker_for() {
    guarded(LIMIT, || {
        let recorder = Recorder::install_at(LevelFilter::DEBUG);
        let soon = Duration::from_millis(50);
        let sleep = || Job::Shell("sleep 1000".to_owned());
        let pool = jobs(1)
            .recycle_after_tasks(2, 0)
            .stdout(WorkerOutput::Tracing)
            .grace(LIMIT)
            .start();
        let pool = pool.expect("a pool");
        let late = pool.submit(Job::Within(soon, Box::new(sleep())));
        assert_eq!(late.expect("open").wait(), Err(TaskError::TimedOut));
        let begun = Job::Write("begun\n".to_owned(), false);
        let unwanted = Job::Then(Box::new(begun), Box::new(sleep()));
        let unwanted = pool.submit(unwanted).expect("open");
        // A task that has not begun needs no kill.
        recorder.wait_for_events(1, |event| event.has("message", "begun"));
        assert!(unwanted.cancel_within(soon));
        assert_eq!(unwanted.wait(), Err(TaskError::Cancelled));
        // The third worker has run its two tasks.
        for number in 0..2 {
            let double = pool.submit(Job::Double(number)).expect("open").wait();
            assert_eq!(double, Ok((2 * number).to_string()));
        }
        let recycled = |event: &Recorded| event.field("reason") == "tasks_or_memory";
        recorder.wait_for_events(1, recycled);
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        let mut deaths = events(recorder);
        deaths.retain(|event| event.fields.contains_key("replacement"));
        let [late, unwanted, recycled, last] = deaths.as_slice() else {
            panic!("{deaths:#?}");
        };
        assert_fields(
            late,
            &[
                ("reason", "time_limit"),
                ("fate", "ended"),
                ("outcome", "timed_out"),
                ("task", "0"),
                ("replacement", "at_once"),
            ],
        );
        assert_fields(
            unwanted,
            &[
                ("reason", "cancelled"),
                ("outcome", "cancelled"),
                ("task", "1"),
            ],
        );
        assert_fields(
            recycled,
            &[("task", ""), ("fate", ""), ("replacement", "at_once")],
        );
        assert_fields(last, &[("reason", "shutdown"), ("replacement", "none")]);
        let levels = [late, unwanted, recycled, last].map(|event| event.level);
        assert_eq!(
            levels,
            [Level::WARN, Level::INFO, Level::DEBUG, Level::DEBUG]
        );
        // Nothing else at that level or above.
        let loud = events(recorder)
            .into_iter()
            .filter(|it| it.level <= Level::INFO);
        assert_eq!(loud.count(), 2);
    });
}
