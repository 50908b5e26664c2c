//! Goal: a pool that is dropped without a shutdown does what `Builder::on_drop` says, also when a panic drops it (P12).
//!
//! Method: that of `callers`.

use crate::callers::SHORT_TIME;
use ipc_tests::support::{LIMIT, pools::jobs};
use ipc_tests::{
    guarded,
    jobs::{Death, Job, Meeting},
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use workring::pool::{OnDrop, TaskError, TaskHandle, wait_all};

#[test]
fn a_dropped_pool_does_what_it_was_told() {
    guarded(LIMIT, || {
        let told = |on_drop| {
            jobs(1)
                .grace(LIMIT)
                .on_drop(on_drop)
                .start()
                .expect("a pool")
        };
        let pool = told(OnDrop::Drain(LIMIT));
        let handles: Vec<_> = (0..50)
            .map(|n| pool.submit(Job::Double(n)).expect("open"))
            .collect();
        let group = pool.group();
        drop(group.submit(Job::Die(Death::Abort)).expect("open"));
        drop(pool);
        for (n, result) in (0..).zip(wait_all(handles)) {
            assert_eq!(result, Ok((2_u64 * n).to_string()));
        }
        let died = group.drain().next().expect("one");
        assert!(matches!(died.result, Err(TaskError::Crashed { .. })));

        for on_drop in [OnDrop::Drain(SHORT_TIME), OnDrop::Cancel] {
            let meeting = Meeting::new("on-drop");
            let pool = told(on_drop);
            let handles = [(); 2].map(|()| pool.submit(meeting.job()).expect("open"));
            meeting.guest().tell("await cancel");
            drop(pool);
            let [running, queued] = wait_all(handles);
            assert_eq!(running, Err(TaskError::Failed("cancelled".into())));
            assert_eq!(queued, Err(TaskError::Cancelled));
        }
    });
}

/// A pool that is dropped by a panic ends as it was told, too.
#[test]
fn a_panic_drains_a_pool_that_drains_on_drop() {
    guarded(LIMIT, || {
        let pool = jobs(1)
            .on_drop(OnDrop::Drain(LIMIT))
            .start()
            .expect("a pool");
        let submit = |n| pool.submit(Job::Double(n)).expect("open");
        let handles: Vec<_> = (0..100).map(submit).collect();
        let panicking = move || {
            let _pool = pool;
            panic!("while tasks are queued");
        };
        assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
        assert!(handles.iter().all(TaskHandle::is_finished));
        assert!(wait_all(handles).iter().all(Result::is_ok));
    });
}
