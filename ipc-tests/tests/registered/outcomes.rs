//! One pool, several types of tasks: each outcome has the type of its own task.

use crate::close;
use crate::tasks::{
    ByHand, endless, exit_at, exit_before, never_retried, retried_once, shout, square,
};
use ipc_tests::{guarded, support::LIMIT};
use workring::pool::{Pool, RegisteredTask, Shutdown, TaskError, TypedPool};

#[test]
fn each_handle_has_the_type_of_its_task() {
    guarded(LIMIT, || {
        let pool = Pool::start(2).expect("a pool");
        let number = pool.submit(square::new(12)).expect("open");
        let text = pool.submit(shout::new("four".to_owned(), ('!', 2)));
        let by_hand = pool.try_submit(ByHand::Double(4)).expect("open");
        assert_eq!(number.wait().expect("an output"), 144);
        assert_eq!(text.expect("open").wait().expect("an output"), "FOUR!!");
        assert_eq!(by_hand.wait().expect("an output"), "8");
        let failed = pool.submit(ByHand::Name).expect("open").wait();
        assert_eq!(failed, Err(TaskError::Failed("it has none".to_owned())));
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("the owner");
        assert_eq!(
            (report.submitted, report.completed, report.failed),
            (4, 3, 1)
        );
    });
}

#[test]
fn an_unclaimed_outcome_is_found_by_the_type_of_its_task() {
    guarded(LIMIT, || {
        let pool = Pool::start(2).expect("a pool");
        let (mut squares, mut shouts) = (0, 0);
        for n in 0..20 {
            drop(pool.submit(square::new(n)).expect("open"));
            drop(
                pool.submit(shout::new(n.to_string(), ('!', 1)))
                    .expect("open"),
            );
        }
        // A handle that is dropped when its outcome has arrived.
        let late = pool.submit(ByHand::Name).expect("open");
        while !late.is_finished() {
            std::thread::yield_now();
        }
        let late_id = late.id();
        drop(late);
        for outcome in pool.drain() {
            assert_eq!(outcome.attempts(), 1);
            let id = outcome.id();
            if id == late_id {
                assert_eq!(outcome.name(), "tests: by hand");
                assert_eq!(outcome.status().result, Err(TaskError::Failed(())));
                assert!(!outcome.is_ok());
                let outcome = outcome.downcast::<square>().expect_err("another type");
                let outcome = outcome.downcast::<ByHand>().expect("its type");
                assert_eq!(outcome.id, id);
                assert!(matches!(outcome.result, Err(TaskError::Failed(_))));
                continue;
            }
            assert!(outcome.is_ok());
            if outcome.is::<square>() {
                assert_eq!(outcome.name(), square::NAME);
                let square = outcome.downcast::<square>().expect("its type");
                let n = id.get() / 2;
                assert_eq!(square.result.expect("an output"), n * n);
                squares += 1;
            } else {
                let shout = outcome.downcast::<shout>().expect("its type").result;
                assert_eq!(shout.expect("an output"), format!("{}!", id.get() / 2));
                shouts += 1;
            }
        }
        assert_eq!((squares, shouts), (20, 20));
        close(&pool);
    });
}

/// The tasks of a chunk whose worker has died are sent again, and are still of their type.
#[test]
fn a_crash_in_a_chunk_costs_only_its_own_task() {
    guarded(LIMIT, || {
        let pool = Pool::start(2).expect("a pool");
        let tasks = (0..64).map(|number| exit_at::new(number, 20));
        for (number, outcome) in (0..64).zip(pool.map(tasks).chunk(16)) {
            match outcome.result {
                Ok(output) => assert_eq!(output, number),
                Err(TaskError::Crashed { .. }) => assert_eq!(number, 20),
                Err(other) => panic!("{other}"),
            }
        }
        let sum: u64 = pool
            .map_unordered((0..100).map(square::new))
            .map(|outcome| outcome.result.expect("an output"))
            .sum();
        assert_eq!(sum, (0..100).map(|n| n * n).sum::<u64>());
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("the owner");
        assert_eq!((report.submitted, report.lost), (164, 1));
    });
}

#[test]
fn a_tasks_own_retries_replace_those_of_the_pool() {
    guarded(LIMIT, || {
        let none = Pool::builder().workers(1).start().expect("a pool");
        let lost = none.submit(exit_before::new(2)).expect("open").wait();
        assert!(matches!(lost, Err(TaskError::Crashed { .. })), "{lost:?}");
        let retried = none.submit(retried_once::new(2)).expect("open").wait();
        assert_eq!(retried, Ok(2));
        let lost = none.submit(retried_once::new(3)).expect("open").wait();
        assert!(matches!(lost, Err(TaskError::Crashed { .. })), "{lost:?}");
        let three = Pool::builder()
            .workers(1)
            .retries(3)
            .start()
            .expect("a pool");
        let retried = three.map([exit_before::new(3)]).next().expect("one");
        assert_eq!((retried.attempts, retried.result), (3, Ok(3)));
        let lost = three.map([never_retried::new(2)]).next().expect("one");
        assert!(matches!(lost.result, Err(TaskError::Crashed { .. })));
        close(&none);
        close(&three);
    });
}

#[test]
fn a_tasks_own_time_limit_ends_it() {
    guarded(LIMIT, || {
        let pool = Pool::start(1).expect("a pool");
        let late = pool.submit(endless::new()).expect("open").wait();
        assert!(matches!(late, Err(TaskError::TimedOut)), "{late:?}");
        close(&pool);
    });
}

/// A registered type can also have a pool of its own: its workers begin before `main`, too.
#[test]
fn a_pool_of_one_registered_type_needs_no_first_line_in_main() {
    guarded(LIMIT, || {
        let pool = TypedPool::<square>::builder().workers(1).start();
        let pool = pool.expect("a pool");
        assert_eq!(pool.submit(square::new(5)).expect("open").wait(), Ok(25));
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("the owner");
        assert_eq!((report.submitted, report.completed), (1, 1));
    });
}
