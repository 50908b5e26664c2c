//! What becomes of the error that a task's function returns.

use crate::close;
use crate::tasks::{
    Own, boxed, own_error, read, read_io, shown, square, text, unit_error, unspoken, with_cause,
};
use ipc_tests::{guarded, support::LIMIT};
use std::{error::Error, path::PathBuf};
use workring::{Failure, Pool, TaskError, pool::RegisteredTask};

fn missing() -> PathBuf {
    PathBuf::from("/no/such/file")
}

/// Returns the failure of a task, and checks that the task's error gives it.
fn failure<T: RegisteredTask<Error = Failure>>(pool: &Pool, task: T) -> Failure {
    let waited = pool.submit(task).expect("open").wait();
    match waited {
        Err(TaskError::Failed(failure)) => failure,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("an output"),
    }
}

#[test]
fn every_kind_of_error_arrives_as_a_failure() {
    guarded(LIMIT, || {
        let pool = Pool::start(1).expect("a pool");
        let own = failure(&pool, square::new(u64::MAX));
        assert_eq!((own.kind(), own.causes().count()), ("range", 0));
        assert!(own.place().contains("registered/tasks.rs:"), "{own:?}");

        let by_question_mark = failure(&pool, read::new(missing()));
        assert_eq!(by_question_mark.kind(), "NotFound");
        assert!(by_question_mark.place().contains("registered/tasks.rs:"));
        assert_eq!(failure(&pool, read_io::new(missing())).kind(), "NotFound");

        let chain = failure(&pool, with_cause::new());
        assert!(chain.kind().ends_with("::Outer"), "{chain:?}");
        assert_eq!(format!("{chain:#}"), "outer: inner");
        assert_eq!(
            format!("{:#}", failure(&pool, boxed::new())),
            "outer: inner"
        );
        assert_eq!(failure(&pool, text::new()).message(), "only text");
        assert_eq!(failure(&pool, shown::new()).message(), "shown");
        let unspoken = failure(&pool, unspoken::new());
        assert_eq!(unspoken.message(), "Unspoken { code: 7 }");
        assert!(unspoken.place().contains("registered/tasks.rs:"));
        assert_eq!(failure(&pool, unit_error::new(true)).message(), "()");
        close(&pool);
    });
}

#[test]
fn the_causes_are_the_sources_of_what_a_question_mark_passes_on() {
    fn run(pool: &Pool) -> Result<(), Box<dyn Error>> {
        pool.submit(with_cause::new())?.wait()?;
        Ok(())
    }
    guarded(LIMIT, || {
        let pool = Pool::start(1).expect("a pool");
        let error = run(&pool).expect_err("it fails");
        assert_eq!(error.to_string(), "the task failed: outer");
        let source = error.source().expect("a cause");
        assert_eq!(source.to_string(), "inner");
        close(&pool);
    });
}

/// Also for a task whose function returns an error without a text, such as `()`.
#[test]
fn a_question_mark_takes_the_error_of_every_task() {
    fn run(pool: &Pool, fails: bool) -> Result<u64, Box<dyn Error>> {
        Ok(pool.submit(unit_error::new(fails))?.wait()?)
    }
    guarded(LIMIT, || {
        let pool = Pool::start(1).expect("a pool");
        assert_eq!(run(&pool, false).expect("an output"), 7);
        let error = run(&pool, true).expect_err("it fails");
        assert_eq!(error.to_string(), "the task failed: ()");
        close(&pool);
    });
}

#[test]
fn an_error_type_of_the_task_travels_as_it_is() {
    guarded(LIMIT, || {
        let pool = Pool::start(1).expect("a pool");
        let failed = pool.submit(own_error::new(missing())).expect("open").wait();
        let expected = Own::Missing("entity not found".to_owned());
        assert_eq!(failed, Err(TaskError::Failed(expected)));
        close(&pool);
    });
}
