//! Goal: a task whose result was sent never runs again, and a task whose result was not sent has crashed.
//!
//! Method: the worker is killed at a known moment before or after it sends a result, while the parent receives nothing.
//!
//! Two faults once passed all tests: the parent read dead letters before the results that had arrived, and a worker
//! marked its task as ended before it had sent the result.

use ipc_tests::support::{
    LIMIT,
    pools::{close, jobs},
};
use ipc_tests::{
    Pid, Signal,
    asleep::await_sleepers,
    guarded,
    jobs::{Job, Meeting},
};
use nix::sys::signal::kill;
use std::{
    sync::mpsc::{Receiver, channel},
    time::Duration,
};
use workring::pool::{Builder, Event, TaskError, TaskHandle, TypedPool};

/// Returns a builder for a pool of one worker, and the ids of the workers that become ready.
fn one_worker() -> (Builder<TypedPool<Job>>, Receiver<u32>) {
    let (sender, ready) = channel();
    let builder = jobs(1)
        .retries(0)
        .respawn_backoff(Duration::from_millis(1), Duration::from_millis(1))
        .on_event(move |event| {
            if let Event::Ready { pid, .. } = event {
                // At the end of a test the receiver is gone.
                let _ = sender.send(*pid);
            }
        });
    (builder, ready)
}

/// The worker is killed in the second task of a chunk, while the result of the first is still in the queue.
#[test]
fn a_result_that_is_not_received_yet_counts_when_its_worker_dies() {
    guarded(LIMIT, || {
        let (gate, room) = (Meeting::new("once-gate"), Meeting::new("once-room"));
        let (builder, ready) = one_worker();
        let pool = builder.start().expect("a pool");
        let tasks = vec![Job::Double(1), gate.job(), room.job(), room.job()];
        let mut outcomes = pool.map_unordered(tasks).chunk(2).window(4);
        let first = outcomes.next().expect("the first");
        assert_eq!(first.result.expect("an output"), "2");
        // From here on, this process receives nothing until the worker is dead and replaced.
        gate.guest().tell("done");
        room.guest().tell("done");
        let last = room.guest();
        kill(last.pid, Signal::SIGKILL).expect("it lives");
        while Pid::from_raw(ready.recv().expect("another").cast_signed()) == last.pid {}
        let results: Vec<_> = outcomes.map(|outcome| outcome.result).collect();
        let [Ok(_), Ok(_), Err(TaskError::Crashed { .. })] = results.as_slice() else {
            panic!("{results:?}");
        };
        // If a task ran again, the only worker would run it now.
        let next = pool.submit(room.job()).expect("open");
        let mut guest = room.guest();
        assert_eq!(guest.task, next.id().get(), "a task runs again");
        guest.tell("done");
        assert_eq!(next.wait().expect("an output"), "done");
        let report = close(&pool);
        assert_eq!((report.completed, report.lost), (4, 1), "{report}");
    });
}

/// A worker that finds no block for its result sleeps. When it is killed there, its task has begun and has no result.
#[test]
fn a_worker_that_is_killed_before_its_result_is_sent_has_crashed_in_its_task() {
    const TASKS: usize = 400;
    guarded(LIMIT, || {
        let (builder, ready) = one_worker();
        let pool = builder.capacity(TASKS).start().expect("a pool");
        let handles: Vec<_> = (0..TASKS)
            .map(|_| pool.submit(Job::Letters(60_000)).expect("open"))
            .collect();
        let worker = Pid::from_raw(ready.recv().expect("the worker").cast_signed());
        // Tasks are queued, so the worker sleeps because it cannot send a result.
        await_sleepers(worker, 1);
        kill(worker, Signal::SIGKILL).expect("it lives");
        while Pid::from_raw(ready.recv().expect("another").cast_signed()) == worker {}
        let results = handles.into_iter().map(TaskHandle::wait);
        let crashed = results
            .filter(|result| match result {
                Ok(letters) => letters.len() != 60_000,
                Err(TaskError::Crashed { .. }) => true,
                Err(other) => panic!("{other}"),
            })
            .count();
        assert_eq!(crashed, 1);
        let report = close(&pool);
        assert_eq!((report.lost, report.died), (1, 1), "{report}");
    });
}
