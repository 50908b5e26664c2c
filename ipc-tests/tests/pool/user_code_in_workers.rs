//! Goal: user code that a worker calls may panic, hang, or end the worker. Each task still has its outcome, and the report adds
//! up.
//!
//! Method: that of `user_code`. `docs/user-code.md` lists the places and their tests.

use crate::user_code::{
    LONG, SOON, assert_works, end, hangs_in_decoding, number, quirks, transport_error,
};
use ipc_tests::support::LIMIT;
use ipc_tests::{
    guarded,
    jobs::PREPARE,
    program,
    quirks::{Deep, Misbehaviour, Nest, Quirk, Tricky, Work},
};
use std::{error::Error as _, thread, time::Duration};
use workring::pool::{Shutdown, StartError, SubmitError, TaskError, TypedPool};

#[test]
fn a_panic_of_the_users_code_in_a_worker_is_an_outcome_and_the_worker_lives() {
    guarded(LIMIT, || {
        let pool = quirks(1).start().expect("a pool");
        let pid = || number(pool.submit(Quirk::new(Work::Pid)).expect("open").wait());
        let run = |quirk| pool.submit(quirk).expect("open").wait();
        let before = pid();
        let panics = Misbehaviour::Panics;
        // A panic in decoding the task.
        let message = transport_error(run(Quirk::tricky(
            Tricky::new(Some(Work::Pid)).on_decode(panics),
        )));
        assert!(message.contains("a misbehaviour"), "{message}");
        // In dropping the task at the end of its run.
        let dropped = run(Quirk::tricky(Tricky::new(Some(Work::Pid)).on_drop(panics)));
        assert!(
            matches!(dropped, Err(TaskError::Panicked(_))),
            "{dropped:?}"
        );
        for work in [Work::Give, Work::Fail] {
            // In encoding an output or an error.
            let message = transport_error(run(Quirk::new(work(Tricky::new(1).on_encode(panics)))));
            assert!(message.contains("a misbehaviour"), "{message}");
            // In dropping the output after it was sent.
            let result = run(Quirk::new(work(Tricky::new(2).on_drop(panics))));
            assert!(
                matches!(&result, Ok(value) | Err(TaskError::Failed(value)) if *value.get() == 2),
                "{result:?}"
            );
            // In both: the output is dropped without having been sent.
            let both = Tricky::new(1).on_encode(panics).on_drop(panics);
            transport_error(run(Quirk::new(work(both))));
        }
        assert_eq!(pid(), before);
        let report = end(&pool, Shutdown::Drain);
        assert_eq!((report.died, report.started), (0, 1), "{report}");
    });
}

#[test]
fn a_task_whose_decoding_hangs_in_a_worker_is_ended_by_its_limit() {
    guarded(LIMIT, || {
        let pool = quirks(1).time_limit(SOON).start().expect("a pool");
        let hanging = pool.submit(hangs_in_decoding()).expect("open");
        assert!(matches!(hanging.wait(), Err(TaskError::TimedOut)));
        // A limit of its own, for one task of a chunk: the others are completed.
        let tasks = [
            Quirk::give(1),
            hangs_in_decoding().within(SOON),
            Quirk::give(2),
        ];
        let outcomes: Vec<_> = pool.map(tasks).chunk(3).map(|it| it.result).collect();
        assert!(
            matches!(
                outcomes.as_slice(),
                [Ok(_), Err(TaskError::TimedOut), Ok(_)]
            ),
            "{outcomes:?}"
        );
        let report = end(&pool, Shutdown::Drain);
        assert_eq!((report.timed_out, report.killed), (2, 2), "{report}");
    });
}

#[test]
fn a_task_whose_decoding_hangs_in_a_worker_is_ended_by_cancel_within_and_by_shutdown() {
    guarded(LIMIT, || {
        let pool = quirks(1).grace(SOON).start().expect("a pool");
        let hanging = pool.submit(hangs_in_decoding()).expect("open");
        assert!(hanging.cancel_within(Duration::ZERO));
        assert!(matches!(hanging.wait(), Err(TaskError::Cancelled)));
        assert_works(&pool);
        let hanging = pool.submit(hangs_in_decoding()).expect("open");
        let report = end(&pool, Shutdown::Cancel);
        assert!(matches!(hanging.wait(), Err(TaskError::Cancelled)));
        assert_eq!(report.cancelled, 2, "{report}");
    });
}

/// The output was sent, so the task has its outcome. The worker hangs in dropping the output, and is replaced after the
/// grace time.
#[test]
fn an_output_whose_drop_hangs_in_a_worker_has_arrived_and_the_worker_is_replaced() {
    guarded(LIMIT, || {
        let pool = quirks(1)
            .time_limit(SOON)
            .grace(SOON)
            .start()
            .expect("a pool");
        let stuck = Quirk::new(Work::Give(Tricky::new(8).on_drop(Misbehaviour::Hangs)));
        assert_eq!(number(pool.submit(stuck).expect("open").wait()), 8);
        assert_works(&pool);
        let report = end(&pool, Shutdown::Drain);
        assert_eq!((report.completed, report.killed), (2, 1), "{report}");
    });
}

/// A death in decoding is no attempt, since the task has not begun. After several such deaths the task has crashed.
#[test]
fn a_task_that_workers_die_of_in_decoding_is_lost_after_four_of_them() {
    guarded(LIMIT, || {
        let pool = quirks(1).respawn_backoff(Duration::ZERO, Duration::ZERO);
        let pool = pool.start().expect("a pool");
        let deadly = Quirk::tricky(Tricky::new(Some(Work::Pid)).on_decode(Misbehaviour::Aborts));
        let outcome = pool.submit(deadly).expect("open").outcome();
        assert_eq!(outcome.attempts, 1);
        assert!(matches!(outcome.result, Err(TaskError::Crashed { .. })));
        assert_works(&pool);
        let report = end(&pool, Shutdown::Drain);
        assert_eq!(
            (report.died, report.lost, report.retried),
            (4, 1, 0),
            "{report}"
        );
    });
}

#[test]
fn a_worker_whose_preparation_hangs_or_fails_without_a_message_is_a_typed_error() {
    guarded(LIMIT, || {
        let start = |order: &str| quirks(1).env(PREPARE, order);
        let hanging = start("hang").start_timeout(SOON).start();
        assert!(matches!(hanging, Err(StartError::TimedOut)), "{hanging:?}");
        match start("fail without words").start_timeout(LONG).start() {
            Err(StartError::Unfit { what, .. }) => assert!(what.contains("no words"), "{what}"),
            other => panic!("{other:?}"),
        }
    });
}

/// A value that is nested too deep for its receiver's stack is refused when it is encoded, in a worker and here.
#[test]
fn a_task_or_an_output_that_is_nested_too_deep_is_an_error_and_kills_no_process() {
    guarded(LIMIT, || {
        let builder = TypedPool::<Deep>::builder()
            .program(program("pooled"))
            .workers(1);
        let pool = builder.start().expect("a pool");
        let submit = |task, output| {
            let task = Nest::deep(task);
            pool.submit(Deep { task, output })
        };
        for depth in [64, 1_000, 60_000] {
            // The stacks of this thread and of the worker's thread have unusual sizes.
            let task = submit(0, depth).expect("open");
            let result = thread::spawn(move || task.wait()).join().expect("it lives");
            let Err(TaskError::Transport { what, .. }) = result else {
                panic!("{depth}: {result:?}");
            };
            assert!(what.contains("128 levels"), "{what}");
            let Err(refused) = submit(depth, 0) else {
                panic!("{depth}: accepted");
            };
            assert!(matches!(refused, SubmitError::Encode { .. }), "{refused}");
            let cause = refused.source().expect("the codec's error").to_string();
            assert!(cause.contains("128 levels"), "{cause}");
        }
        let task = submit(60, 60).expect("open");
        assert_eq!(task.wait().expect("an output").depth(), 60);
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
    });
}
