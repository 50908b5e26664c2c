//! State that a worker keeps from one task to the next.

use crate::close;
use ipc_tests::{guarded, support::LIMIT};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process,
};
use workring::pool::{Failure, Pool, StartError, TaskError, WorkerState};

/// Counts its uses, from where the parent says.
pub(crate) struct Counter {
    next: u64,
}

impl WorkerState for Counter {
    type Init = u64;

    fn build(start: u64) -> Result<Self, Failure> {
        match start {
            13 => Err(Failure::new("an unlucky number")),
            14 => panic!("a worse number"),
            _ => Ok(Self { next: start }),
        }
    }
}

/// The state of another library.
pub(crate) struct Log(Vec<String>);

impl WorkerState for Log {
    type Init = String;

    fn build(first: String) -> Result<Self, Failure> {
        Ok(Self(vec![first]))
    }
}

/// Returns the process, the attempt, and the number of this use. Dies in all attempts before `attempt`.
#[workring::task(retries = 3)]
pub(crate) fn count(
    context: &workring::Context,
    counter: &mut Counter,
    attempt: u32,
) -> (u32, u32, u64) {
    counter.next += 1;
    if context.attempt() < attempt {
        process::abort();
    }
    (process::id(), context.worker(), counter.next - 1)
}

#[workring::task]
pub(crate) fn spoil(counter: &mut Counter) {
    counter.next = 1_000;
    panic!("in the middle");
}

/// Spoils the state, and catches the panic itself.
#[workring::task]
pub(crate) fn spoil_and_go_on(context: &workring::Context) -> bool {
    let spoil = || {
        context.with_state(|counter: &mut Counter| {
            counter.next = 1_000;
            panic!("in the middle");
        });
    };
    catch_unwind(AssertUnwindSafe(spoil)).is_err()
}

#[workring::task]
pub(crate) fn note(log: &mut Log, text: String) -> String {
    log.0.push(text);
    log.0.join(" ")
}

#[test]
fn a_state_is_built_once_in_each_worker_from_the_value_of_the_parent() {
    guarded(LIMIT, || {
        let pool = Pool::builder().workers(1).init::<Counter>(5);
        let pool = pool.init::<Log>("a".to_owned()).start().expect("a pool");
        for expected in 5..20 {
            let counted = pool.submit(count::new(1)).expect("open").wait();
            let (_, worker, number) = counted.expect("an output");
            assert_eq!((worker, number), (0, expected));
        }
        for expected in ["a b", "a b b"] {
            let noted = pool.submit(note::new("b".to_owned())).expect("open").wait();
            assert_eq!(noted.expect("an output"), expected);
        }
        close(&pool);

        let pool = Pool::builder().workers(3).init::<Counter>(0);
        let pool = pool.start().expect("a pool");
        let mut seen = std::collections::BTreeMap::new();
        for outcome in pool.map((0..300).map(|_| count::new(1))) {
            let (pid, worker, number) = outcome.result.expect("an output");
            assert!(worker < 3);
            let next = seen.entry(worker).or_insert((pid, 0));
            assert_eq!(*next, (pid, number));
            next.1 += 1;
        }
        assert_eq!(seen.values().map(|(_, count)| count).sum::<u64>(), 300);
        close(&pool);
    });
}

/// In the same worker after a panic, also for the next task of the same chunk; in the next one after a death.
#[test]
fn a_state_is_built_again_after_a_panic_and_after_a_death() {
    guarded(LIMIT, || {
        let pool = Pool::builder().workers(1).init::<Counter>(5);
        let pool = pool.start().expect("a pool");
        let used = |attempt| {
            let counted = pool.submit(count::new(attempt)).expect("open").wait();
            counted.expect("an output")
        };
        let (first, _, number) = used(1);
        assert_eq!((number, used(1).2), (5, 6));
        match pool.submit(spoil::new()).expect("open").wait() {
            Err(TaskError::Panicked(panic)) => assert_eq!(panic.message, "in the middle"),
            other => panic!("{other:?}"),
        }
        assert_eq!(used(1), (first, 0, 5));
        let spoilt = pool.map((0..20).map(|_| spoil::new())).chunk(10);
        for outcome in spoilt {
            match outcome.result {
                Err(TaskError::Panicked(panic)) => assert_eq!(panic.message, "in the middle"),
                other => panic!("{other:?}"),
            }
        }
        let (second, _, number) = used(2);
        assert_eq!(number, 5);
        assert_ne!(first, second);
        close(&pool);
    });
}

#[test]
fn a_state_is_built_again_after_a_panic_that_its_task_has_caught() {
    guarded(LIMIT, || {
        let pool = Pool::builder().workers(1).init::<Counter>(5);
        let pool = pool.start().expect("a pool");
        let used = || pool.submit(count::new(1)).expect("open").wait();
        let (first, _, number) = used().expect("an output");
        assert_eq!(number, 5);
        for _ in 0..2 {
            let caught = pool.submit(spoil_and_go_on::new()).expect("open").wait();
            assert!(caught.expect("an output"));
        }
        assert_eq!(used().expect("an output"), (first, 0, 5));
        assert_eq!(used().expect("an output"), (first, 0, 6));
        close(&pool);
    });
}

#[test]
fn a_state_that_cannot_be_built_is_an_error_of_the_start() {
    guarded(LIMIT, || {
        for (value, text) in [(13, "an unlucky number"), (14, "a worse number")] {
            match Pool::builder().workers(2).init::<Counter>(value).start() {
                Err(StartError::Unfit { what, .. }) => assert!(what.contains(text), "{what}"),
                other => panic!("{other:?}"),
            }
        }
    });
}

/// The pools of programs that link a library need no value for its states.
#[test]
fn a_task_without_its_state_panics_and_names_the_remedy() {
    guarded(LIMIT, || {
        let pool = Pool::builder().workers(1).init::<Log>("a".to_owned());
        let pool = pool.start().expect("a pool");
        match pool.submit(spoil::new()).expect("open").wait() {
            Err(TaskError::Panicked(panic)) => {
                assert!(panic.message.contains("`Builder::init::<"), "{panic}");
            }
            other => panic!("{other:?}"),
        }
        let noted = pool.submit(note::new("b".to_owned())).expect("open").wait();
        assert_eq!(noted.expect("an output"), "a b");
        close(&pool);
    });
}

/// Larger than a pipe or a message over the link.
#[test]
fn the_value_may_be_large() {
    guarded(LIMIT, || {
        let text = "x".repeat(3 << 20);
        let pool = Pool::builder().workers(1).max_message_len(4 << 20);
        let pool = pool.init::<Log>("old".to_owned()).init::<Log>(text.clone());
        let pool = pool.start().expect("a pool");
        let noted = pool.submit(note::new("b".to_owned())).expect("open").wait();
        assert_eq!(noted.expect("an output"), text + " b");
        close(&pool);
    });
}
