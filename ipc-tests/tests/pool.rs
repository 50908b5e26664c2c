//! The pool of worker processes: tasks and their outcomes, while nobody dies.

use crate::support::LIMIT;
use crate::support::pools::{jobs, pooled};
use ipc_tests::{
    guarded,
    jobs::{Job, Meeting, Other},
};
use std::{collections::BTreeMap, time::Duration};
use workring::workers::{Pool, Shutdown, StartError, TaskError};

mod support;

#[test]
fn p1_every_result_reaches_the_parent_in_the_drain_and_the_books_balance() {
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
        let report = pooled(&pool);
        assert_eq!((report.submitted, report.completed), (500, 500));
        assert_eq!((report.started, report.died, report.killed), (2, 0, 0));
    });
}
