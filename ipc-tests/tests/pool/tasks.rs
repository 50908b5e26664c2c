//! Tasks and their outcomes in pools whose workers do not die, and starts that fail.

use ipc_tests::support::{
    LIMIT,
    pools::{close, jobs},
};
use ipc_tests::{
    guarded,
    jobs::{FORGETS, Job, Meeting, Other, PREPARE},
    program,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{
    collections::BTreeMap,
    env, fs, thread,
    time::{Duration, Instant},
};
use workring::pool::{
    ResultOf, Shutdown, StartError, SubmitError, TaskError, TrySubmitError, TypedPool,
};

/// A short time. No test depends on its length.
const SHORT_TIME: Duration = Duration::from_millis(20);

fn failure(result: ResultOf<Job>) -> TaskError<String> {
    result.expect_err("no output")
}

#[test]
fn p1_every_result_reaches_the_parent() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let mut expected = BTreeMap::new();
        for number in 0..500 {
            let handle = pool.submit(Job::Double(number)).expect("open");
            expected.insert(handle.id(), (2 * number).to_string());
        }
        let arrived = pool.drain().map(|outcome| {
            assert_eq!(outcome.attempts, 1);
            (outcome.id, outcome.result.expect("an output"))
        });
        assert_eq!(arrived.collect::<BTreeMap<_, _>>(), expected);
        let report = close(&pool);
        assert_eq!((report.submitted, report.completed), (500, 500));
        assert_eq!((report.started, report.died, report.killed), (2, 0, 0));
    });
}

/// A shutdown completes the tasks in flight. Their outcomes can be claimed afterwards.
#[test]
fn p1_outcomes_can_be_claimed_after_a_shutdown() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let kept = pool.submit(Job::Double(4)).expect("open");
        for number in 0..50 {
            drop(pool.submit(Job::Double(number)).expect("open"));
        }
        let report = close(&pool);
        assert_eq!((report.submitted, report.completed), (51, 51));
        assert_eq!(pool.drain().count(), 50);
        assert_eq!(kept.wait().expect("an output"), "8");
        let refused = pool.submit(Job::Double(7)).expect_err("closed");
        assert!(refused.is_closed(), "{refused}");
        assert_eq!(refused.into_task(), Job::Double(7));
    });
}

#[test]
fn a_handle_has_the_outcome_of_its_own_task() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let submit = |number| pool.submit(Job::Double(number)).expect("open");
        let handles: Vec<_> = (0..100).map(submit).collect();
        thread::scope(|scope| {
            for (number, handle) in (0_u64..).zip(handles) {
                scope.spawn(move || {
                    assert_eq!(handle.id().get(), number);
                    let output = handle.wait().expect("an output");
                    assert_eq!(output, (2 * number).to_string());
                });
            }
        });
        assert_eq!(pool.drain().count(), 0, "all outcomes were claimed");
        close(&pool);
    });
}

#[test]
fn a_wait_for_a_task_can_be_repeated_after_its_time_limit() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("give-up");
        let pool = jobs(1).start().expect("a pool");
        let handle = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        assert_eq!(guest.task, handle.id().get());
        let handle = handle.wait_timeout(SHORT_TIME).expect_err("it runs");
        assert!(!handle.is_finished());
        guest.tell("done");
        let result = handle.wait_timeout(LIMIT).expect("an outcome in time");
        assert_eq!(result.expect("an output"), "done");
        close(&pool);
    });
}

/// The handle is dropped while its task runs, or after its task is done.
#[test]
fn a_dropped_handle_leaves_its_outcome_to_the_drain() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("dropped");
        let pool = jobs(1).start().expect("a pool");
        let done = pool.submit(Job::Double(1)).expect("open");
        while !done.is_finished() {
            thread::yield_now();
        }
        let running = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        let ids = [done.id(), running.id()];
        drop((done, running));
        guest.tell("done");
        let drained: Vec<_> = pool.drain().map(|outcome| outcome.id).collect();
        assert_eq!(drained, ids);
        close(&pool);
    });
}

#[test]
fn submitting_everything_first_and_reading_afterwards_does_not_deadlock() {
    guarded(LIMIT, || {
        for (capacity, job) in [
            (1, Job::Double(1)),
            (3, Job::Double(1)),
            // Large tasks: the queue has fewer blocks for them than tasks may be in flight.
            (1000, Job::Letters(60_000)),
            (1000, Job::Weigh(vec![7; 60_000])),
        ] {
            let pool = jobs(2).capacity(capacity).start().expect("a pool");
            for _ in 0..600 {
                drop(pool.submit(job.clone()).expect("open"));
            }
            assert!(pool.drain().all(|outcome| outcome.result.is_ok()));
            assert_eq!(close(&pool).completed, 600);
        }
    });
}

#[test]
fn a_task_that_has_no_room_is_returned() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("no-room");
        let pool = jobs(1).capacity(2).start().expect("a pool");
        let first = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        let second = pool.try_submit(Job::Double(2)).expect("room for two");
        let refused = pool.try_submit(Job::Double(3)).expect_err("no room");
        assert!(refused.is_full(), "{refused}");
        assert_eq!(refused.into_task(), Job::Double(3));
        guest.tell("done");
        for handle in [first, second] {
            handle.wait().expect("an output");
        }
        pool.try_submit(Job::Double(3)).expect("room");
        assert_eq!(close(&pool).submitted, 3);
    });
}

#[test]
fn unclaimed_outcomes_are_bounded() {
    guarded(LIMIT, || {
        let pool = jobs(1).capacity(1).max_unclaimed_results(2).start();
        let pool = pool.expect("a pool");
        let refused = loop {
            match pool.submit(Job::Double(1)) {
                Ok(handle) => drop(handle),
                Err(refused) => break refused,
            }
        };
        assert!(
            matches!(refused, SubmitError::Unclaimed { max: 2, .. }),
            "{refused}"
        );
        assert!(pool.drain().count() >= 2);
        pool.submit(Job::Double(1)).expect("room");
        close(&pool);
    });
}

#[test]
fn a_task_that_is_too_large_is_returned_and_an_output_that_is_too_large_is_an_outcome() {
    guarded(LIMIT, || {
        let pool = jobs(1).max_message_len(1000).start().expect("a pool");
        let large = Job::Weigh(vec![7; 2000]);
        match pool.submit(large.clone()) {
            Err(SubmitError::TooLarge { task, len, max, .. }) => {
                assert!(task == large && len > 2000 && max == 1000, "{len} {max}");
            }
            other => panic!("{other:?}"),
        }
        let handle = pool.submit(Job::Letters(2000)).expect("open");
        let error = failure(handle.wait());
        let TaskError::Transport { what, .. } = &error else {
            panic!("{error:?}");
        };
        for part in ["1000", "the output", "`Builder::max_message_len`"] {
            assert!(what.contains(part), "{what}");
        }
        assert_eq!(
            pool.submit(Job::Letters(3))
                .expect("open")
                .wait()
                .expect("an output"),
            "xxx"
        );
        let report = close(&pool);
        assert_eq!(
            (report.submitted, report.completed, report.failed),
            (2, 1, 1)
        );
    });
}

#[test]
fn p6_an_error_or_a_panic_is_returned_and_the_worker_lives() {
    guarded(LIMIT, || {
        let pool = jobs(1).start().expect("a pool");
        let run = |job| pool.submit(job).expect("open").wait();
        let before = run(Job::Pid).expect("an output");
        let TaskError::Failed(error) = failure(run(Job::Fail("no such picture".to_owned()))) else {
            panic!("another error");
        };
        assert_eq!(error, "no such picture");
        let error = failure(run(Job::Panic("out of paint".to_owned())));
        let TaskError::Panicked(panic) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(panic.message, "out of paint");
        assert!(panic.place.contains("jobs.rs:"), "{}", panic.place);
        assert!(error.to_string().contains("out of paint"), "{error}");
        assert_eq!(run(Job::Pid).expect("an output"), before);
        let report = close(&pool);
        assert_eq!((report.completed, report.failed, report.died), (2, 2, 0));
    });
}

#[test]
fn p7_a_queued_task_that_is_cancelled_is_never_started() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("queued");
        let pool = jobs(1).start().expect("a pool");
        let running = pool.submit(meeting.job()).expect("open");
        let queued = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        assert!(queued.cancel());
        guest.tell("done");
        let outcome = queued.outcome();
        assert!(
            matches!(outcome.result, Err(TaskError::Cancelled)),
            "{outcome:?}"
        );
        assert_eq!(outcome.attempts, 0);
        assert!(running.is_finished() && !running.cancel(), "too late");
        running.wait().expect("an output");
        let report = close(&pool);
        assert_eq!((report.completed, report.cancelled), (1, 1));
    });
}

#[test]
fn p7_a_running_task_that_is_cancelled_is_notified() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("running");
        let pool = jobs(1).start().expect("a pool");
        let running = pool.submit(meeting.job()).expect("open");
        meeting.guest().tell("await cancel");
        assert!(running.cancel());
        let error = failure(running.wait());
        assert!(
            matches!(&error, TaskError::Failed(error) if error == "cancelled"),
            "{error:?}"
        );
        close(&pool);
    });
}

#[test]
fn p3_a_shutdown_that_cancels_notifies_running_tasks_and_starts_no_others() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("cancel");
        let pool = jobs(1).start().expect("a pool");
        let running = pool.submit(meeting.job()).expect("open");
        let queued: Vec<_> = (0..20)
            .map(|_| pool.submit(meeting.job()).expect("open"))
            .collect();
        meeting.guest().tell("await cancel");
        let report = pool.shutdown(Shutdown::Cancel, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.failed, report.cancelled, report.killed), (1, 20, 0));
        assert!(matches!(failure(running.wait()), TaskError::Failed(_)));
        for handle in queued {
            assert!(matches!(failure(handle.wait()), TaskError::Cancelled));
        }
    });
}

#[test]
fn p3_a_drain_that_takes_too_long_is_ended() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("cut-off");
        let pool = jobs(2).grace(SHORT_TIME).start().expect("a pool");
        let stuck = pool.submit(meeting.job()).expect("open");
        let _guest = meeting.guest();
        let report = pool.shutdown(Shutdown::Drain, SHORT_TIME).expect("here");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.cancelled, report.lost), (1, 0));
        assert!(matches!(failure(stuck.wait()), TaskError::Cancelled));
    });
}

#[test]
fn p3_sixteen_threads_get_the_same_report() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        for number in 0..100 {
            drop(pool.submit(Job::Double(number)).expect("open"));
        }
        let reports: Vec<_> = thread::scope(|scope| {
            let shut = || pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(shut)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("join"))
                .collect()
        });
        let report = close(&pool);
        assert_eq!(report.completed, 100);
        assert_eq!(reports, [report; 16]);
    });
}

/// A second shutdown with a shorter time limit shortens the first one.
#[test]
fn p3_a_second_shutdown_shortens_the_first() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("hurry");
        let pool = jobs(1).grace(SHORT_TIME).start().expect("a pool");
        drop(pool.submit(meeting.job()).expect("open"));
        let _guest = meeting.guest();
        thread::scope(|scope| {
            let patient = scope.spawn(|| pool.shutdown(Shutdown::Drain, 10 * LIMIT));
            while !matches!(
                pool.try_submit(Job::Double(1)),
                Err(TrySubmitError::Refused(_))
            ) {
                thread::yield_now();
            }
            let hasty = pool.shutdown(Shutdown::Cancel, LIMIT);
            assert_eq!(patient.join().expect("join"), hasty);
        });
    });
}

#[test]
fn p12_dropping_a_pool_ends_its_workers_and_its_tasks() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("drop");
        let pool = jobs(2).grace(SHORT_TIME).start().expect("a pool");
        let running = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        guest.tell("be deaf to SIGTERM");
        assert_eq!(guest.answer(), "ok");
        drop(pool);
        assert!(matches!(failure(running.wait()), TaskError::Cancelled));
        assert!(
            nix::sys::signal::kill(guest.pid, None).is_err(),
            "the worker is alive"
        );
    });
}

#[test]
fn workers_have_the_environment_and_the_directory_that_they_are_given() {
    guarded(LIMIT, || {
        let directory = env::temp_dir();
        let pool = jobs(1)
            .env("POOLED_COLOUR", "mauve")
            .env_remove("PATH")
            .current_dir(&directory);
        let pool = pool.start().expect("a pool");
        let run = |job| pool.submit(job).expect("open").wait();
        let variable = |name: &str| run(Job::Variable(name.to_owned()));
        assert_eq!(variable("POOLED_COLOUR").expect("set"), "mauve");
        assert!(matches!(failure(variable("PATH")), TaskError::Failed(_)));
        let at = run(Job::Directory).expect("a directory");
        assert_eq!(at, directory.display().to_string());
        close(&pool);
    });
}

/// The guard checks that the failed start leaves nothing behind.
#[test]
fn p11_a_program_that_never_becomes_a_worker_is_a_typed_error() {
    guarded(LIMIT, || {
        let start = |program: &str| jobs(3).program(program).start().map(drop);
        let error = start("/bin/true").expect_err("no worker");
        assert!(
            matches!(&error, StartError::NoHandshake { status: Some(status), .. } if status.success()),
            "{error:?}"
        );
        assert!(error.to_string().contains("run_if_worker"), "{error}");
        let error = start("/no/such/program").expect_err("no program");
        assert!(matches!(error, StartError::Spawn { .. }), "{error:?}");
        assert!(error.to_string().contains("/no/such/program"), "{error}");
    });
}

/// A program that never becomes a worker must not start itself repeatedly: it gets an error when it starts a pool.
#[test]
fn p11_a_program_that_starts_a_pool_before_it_becomes_a_worker_gets_an_error() {
    guarded(LIMIT, || {
        let error = jobs(2).env(FORGETS, "yes").start().map(drop);
        let error = error.expect_err("no worker");
        let StartError::NoHandshake { status, .. } = error else {
            panic!("{error:?}");
        };
        let code = status.and_then(|status| status.code());
        assert_eq!(code, Some(3), "the exit code of the program");
    });
}

/// Returns the number of open descriptors, including the one that counts them.
fn descriptors() -> u64 {
    let all = fs::read_dir("/proc/self/fd").expect("/proc");
    u64::try_from(all.count()).expect("a small number")
}

/// Each start may open one descriptor more than the one before, and so fails one step later, until one succeeds.
#[test]
fn p11_a_start_that_fails_at_any_step_leaves_nothing_behind() {
    guarded(LIMIT, || {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        let open = descriptors();
        let mut failures = 0;
        for limit in open - 1.. {
            let before = descriptors();
            setrlimit(Resource::RLIMIT_NOFILE, limit, hard).expect("lower it");
            let started = jobs(2).start();
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("raise it");
            match started {
                Ok(pool) => {
                    close(&pool);
                    break;
                }
                Err(error) => {
                    failures += 1;
                    assert!(limit < open + 100, "{error}");
                }
            }
            assert_eq!(descriptors(), before);
        }
        assert!(failures >= 10, "only {failures} starts have failed");
    });
}

#[test]
fn p11_a_worker_with_other_tasks_is_refused() {
    guarded(LIMIT, || {
        let pool = TypedPool::<Other>::builder()
            .program(program("pooled"))
            .workers(2);
        let error = pool.start().map(drop).expect_err("other tasks");
        let StartError::Mismatch {
            what, theirs, ours, ..
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!(*what, "type of task");
        assert_eq!(
            (theirs.as_str(), ours.as_str()),
            ("ipc_tests::jobs::Job", "ipc_tests::jobs::Other")
        );
        for name in [theirs, ours] {
            assert!(error.to_string().contains(name), "{error}");
        }
    });
}

#[test]
fn p11_a_worker_that_cannot_be_prepared_ends_the_start() {
    guarded(LIMIT, || {
        for (order, message) in [
            ("fail", "it was told to fail"),
            ("panic", "it was told to panic"),
        ] {
            let error = jobs(2).env(PREPARE, order).start().map(drop);
            let error = error.expect_err("unfit");
            assert!(matches!(error, StartError::Unfit { .. }), "{error:?}");
            assert!(error.to_string().contains(message), "{error}");
        }
        for order in ["exit", "kill"] {
            let error = jobs(2).env(PREPARE, order).start().map(drop);
            let error = error.expect_err("dead");
            assert!(matches!(error, StartError::Died { .. }), "{error:?}");
        }
    });
}

#[test]
fn invalid_options_are_refused_by_name() {
    guarded(LIMIT, || {
        for (builder, named) in [
            (jobs(0), "workers"),
            (jobs(513), "workers"),
            (jobs(1).capacity(0), "capacity"),
            (jobs(1).capacity(32_769), "capacity"),
            (jobs(1).max_unclaimed_results(0), "max_unclaimed_results"),
        ] {
            match builder.start() {
                Err(StartError::InvalidOption { option, .. }) => assert_eq!(option, named),
                other => panic!("{other:?}"),
            }
        }
        let error = jobs(1).max_message_len(1).start().map(drop);
        assert!(matches!(error, Err(StartError::Queue(_))), "{error:?}");
    });
}

#[test]
fn a_start_that_takes_too_long_fails() {
    guarded(LIMIT, || {
        let began = Instant::now();
        let error = jobs(1).start_timeout(Duration::ZERO).start().map(drop);
        assert!(matches!(error, Err(StartError::TimedOut)), "{error:?}");
        assert!(began.elapsed() < LIMIT);
    });
}
