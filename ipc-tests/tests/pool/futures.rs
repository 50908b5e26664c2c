//! Goal: with futures and streams of a pool each task has one outcome, whichever of them are dropped, and when; on every
//! runtime, and next to threads that block.
//!
//! Method: pools with the tasks of `jobs`, on each of the runtimes of `runtimes`; futures that are polled by hand a random
//! number of times. The liveness interval of a pool's queues is long, so a lost wake-up is a hang, which the watchdog reports.

use futures::{
    StreamExt,
    future::{self, join_all},
};
use ipc_tests::support::{
    LIMIT, asleep,
    pools::{close, jobs},
};
use ipc_tests::{
    guarded,
    jobs::{Death, Job, Meeting},
    rounds::{rounds, seed},
    runtimes::{Flag, Runtime, Task, block_on, poll_once},
};
use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};
use workring::pool::{Shutdown, TaskError, TaskHandle, TypedPool};

const ROUNDS: u64 = 60;

#[test]
fn each_task_has_its_outcome_on_every_runtime() {
    guarded(LIMIT, || {
        for runtime in Runtime::ALL {
            let pool = Arc::new(jobs(2).capacity(8).start().expect("a pool"));
            let done = Arc::new(AtomicU64::new(0));
            let task = |number: u64| -> Task {
                let (pool, done) = (Arc::clone(&pool), Arc::clone(&done));
                Box::pin(async move {
                    let job = match number % 20 {
                        3 => Job::Fail("wrong".into()),
                        5 => Job::Panic("bad".into()),
                        7 => Job::Die(Death::Abort),
                        _ => Job::Double(number),
                    };
                    let handle = pool.submit_async(job).await.expect("open");
                    match (number % 20, handle.await) {
                        (3, Err(TaskError::Failed(_)))
                        | (5, Err(TaskError::Panicked(_)))
                        | (7, Err(TaskError::Crashed { .. })) => {}
                        (_, Ok(output)) => assert_eq!(output, (2 * number).to_string()),
                        (_, other) => panic!("{runtime}, {number}: {other:?}"),
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                })
            };
            runtime.run((0..ROUNDS).map(task).collect());
            assert_eq!(done.load(Ordering::SeqCst), ROUNDS);
            let report = close(&pool);
            assert_eq!(report.submitted, ROUNDS);
            assert_eq!(report.completed, ROUNDS - 9);
        }
    });
}

/// Futures have no thread that could receive results, and threads may take their results away.
#[test]
fn threads_and_futures_share_a_pool() {
    guarded(LIMIT, || {
        let pool = jobs(2).capacity(16).start().expect("a pool");
        let count = u64::from(rounds(300, 10_000));
        thread::scope(|scope| {
            for first in [0, 1] {
                let pool = &pool;
                scope.spawn(move || {
                    for number in 0..count {
                        let handle = pool.submit(Job::Double(number)).expect("open");
                        if number % 3 == first {
                            drop(handle);
                        } else {
                            assert_eq!(handle.wait().expect("an output"), (2 * number).to_string());
                        }
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    block_on(async {
                        for number in 0..count {
                            let handle = pool.submit_async(Job::Double(number)).await;
                            let output = handle.expect("open").await.expect("an output");
                            assert_eq!(output, (2 * number).to_string());
                        }
                    });
                });
            }
        });
        let left = block_on(pool.drain().into_stream().count());
        let report = close(&pool);
        assert_eq!(report.completed, 4 * count);
        // Of one thread every third handle from 0 on was dropped, of the other from 1 on.
        let dropped = count.div_ceil(3) + (count - 1).div_ceil(3);
        assert_eq!(left as u64, dropped);
    });
}

/// While a thread receives results, futures leave that to it. When it gives up, because its time is over, they go on alone.
#[test]
fn a_thread_that_leaves_lets_futures_go_on() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("leaves");
        let pool = jobs(2).start().expect("a pool");
        let [first, second] = [(); 2].map(|()| pool.submit(meeting.job()).expect("open"));
        let mut guests = [meeting.guest(), meeting.guest()];
        let first = asleep(move || first.wait_timeout(Duration::from_millis(300)));
        let mut second = second.into_future();
        let mut flag = Flag::new();
        assert!(poll_once(&mut second, &flag).is_pending());
        let first = first.join().expect("join").expect_err("it is not done");
        for guest in &mut guests {
            guest.tell("done");
        }
        // It is polled only when its waker is called.
        loop {
            flag.await_raised();
            flag = Flag::new();
            if poll_once(&mut second, &flag).is_ready() {
                break;
            }
        }
        assert!(first.wait().is_ok());
        close(&pool);
    });
}

#[test]
fn maps_and_drains_are_streams() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        for chunk in [1, 7] {
            let outputs = pool
                .map((0..200).map(Job::Double))
                .chunk(chunk)
                .into_stream();
            let outputs = outputs.map(|outcome| outcome.result.expect("an output"));
            let outputs: Vec<_> = block_on(outputs.collect());
            let expected = (0..200).map(|number: u64| (2 * number).to_string());
            assert_eq!(outputs, expected.collect::<Vec<_>>());
            let unordered = pool.map_unordered((0..200).map(Job::Double)).chunk(chunk);
            assert_eq!(block_on(unordered.into_stream().count()), 200);
        }
        for number in 0..50 {
            drop(pool.submit(Job::Double(number)).expect("open"));
        }
        assert_eq!(block_on(pool.drain().into_stream().count()), 50);
        assert_eq!(close(&pool).completed, 850);
    });
}

/// A map that is dropped in the middle cancels its tasks; the pool goes on.
#[test]
fn a_stream_that_is_dropped_cancels_its_tasks() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("dropped-stream");
        let pool = jobs(1).start().expect("a pool");
        let mut stream = pool.map((0..3).map(|_| meeting.job())).into_stream();
        let flag = Flag::new();
        let waker = flag.waker();
        let mut context = Context::from_waker(&waker);
        assert!(stream.poll_next_unpin(&mut context).is_pending());
        let mut guest = meeting.guest();
        drop(stream);
        guest.tell("done");
        let after = block_on(pool.submit(Job::Double(4)).expect("open").into_future());
        assert_eq!(after.expect("an output"), "8");
        let report = close(&pool);
        assert_eq!((report.submitted, report.cancelled), (4, 2));
    });
}

/// W4 and A1 for a pool: a future that is dropped takes no outcome and no wake-up with it.
#[test]
fn a_future_that_is_dropped_loses_no_outcome() {
    guarded(LIMIT, || {
        let mut rng = fastrand::Rng::with_seed(seed());
        let pool = jobs(2).capacity(8).start().expect("a pool");
        let count = u64::from(rounds(500, 20_000));
        let (mut awaited, mut unsent) = (0, 0);
        let flag = Flag::new();
        let waker = flag.waker();
        let mut context = Context::from_waker(&waker);
        for number in 0..count {
            let mut submitting = pin!(pool.submit_async(Job::Double(number)));
            let handle = match poll_some(submitting.as_mut(), &mut context, rng.u32(1..4)) {
                Some(handle) => handle.expect("open"),
                None if rng.bool() => {
                    unsent += 1;
                    continue;
                }
                None => block_on(submitting).expect("open"),
            };
            let mut outcome = pin!(handle.into_future());
            let found = match poll_some(outcome.as_mut(), &mut context, rng.u32(0..20)) {
                None if rng.bool() => Some(block_on(outcome)),
                found => found,
            };
            if let Some(output) = found {
                assert_eq!(output.expect("an output"), (2 * number).to_string());
                awaited += 1;
            }
        }
        let dropped = block_on(pool.drain().into_stream().count()) as u64;
        assert_eq!(awaited + dropped + unsent, count);
        let report = close(&pool);
        assert_eq!(report.submitted, count - unsent);
    });
}

/// Polls a future this many times.
fn poll_some<F: Future>(
    mut future: Pin<&mut F>,
    context: &mut Context<'_>,
    times: u32,
) -> Option<F::Output> {
    (0..times).find_map(|_| match future.as_mut().poll(context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => {
            thread::yield_now();
            None
        }
    })
}

#[test]
fn a_handle_that_cancels_on_drop_cancels_a_task_that_runs() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("cancels-on-drop");
        let pool = jobs(1).start().expect("a pool");
        let running = pool.submit(meeting.job()).expect("open").cancel_on_drop();
        let mut guest = meeting.guest();
        let mut running = Box::pin(running.into_future());
        let flag = Flag::new();
        let waker = flag.waker();
        assert!(
            running
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        drop(running);
        guest.tell("await cancel");
        // Its outcome is discarded.
        assert_eq!(block_on(pool.drain().into_stream().count()), 0);
        let report = close(&pool);
        assert_eq!((report.submitted, report.failed), (1, 1));
    });
}

/// Sixteen blocks have room for such a task, and the pool has a thousand places. A worker frees a block when it takes a task.
#[test]
fn futures_and_streams_wait_for_memory() {
    let large = || Job::Weigh(vec![1; 60_000]);
    guarded(LIMIT, || {
        let meeting = Meeting::new("futures-memory");
        let pool = jobs(1).capacity(1000).start().expect("a pool");
        let busy = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        let mut handles = Vec::new();
        while let Ok(handle) = pool.try_submit(large()) {
            handles.push(handle);
        }
        thread::scope(|scope| {
            let submitting = scope.spawn(|| {
                block_on(async {
                    for _ in 0..40 {
                        let handle = pool.submit_async(large()).await.expect("open");
                        assert_eq!(handle.await.expect("an output"), "60000");
                    }
                });
            });
            let mapping = scope.spawn(|| {
                let outcomes = pool.map((0..40).map(|_| large())).into_stream();
                block_on(
                    outcomes
                        .filter(|outcome| future::ready(outcome.result.is_ok()))
                        .count(),
                )
            });
            guest.tell("done");
            submitting.join().expect("join");
            assert_eq!(mapping.join().expect("join"), 40);
        });
        assert!(busy.wait().is_ok() && handles.into_iter().all(|handle| handle.wait().is_ok()));
        close(&pool);
    });
}

/// Whatever they wait for.
#[test]
fn a_join_waits_for_all_tasks_and_takes_no_outcome_on_every_runtime() {
    guarded(LIMIT, || {
        for runtime in Runtime::ALL {
            let pool = Arc::new(jobs(2).start().expect("a pool"));
            let joined = Arc::clone(&pool);
            let task: Task = Box::pin(async move {
                let group = joined.group();
                let submit = |number| joined.submit(Job::Double(number)).expect("open");
                let kept: Vec<_> = (0..50).map(submit).collect();
                let of_group = group.submit(Job::Double(50)).expect("open");
                submit(51).detach();
                drop(submit(52));
                group.join_async().await;
                assert!(of_group.is_finished());
                joined.join_async().await;
                assert!(kept.iter().all(TaskHandle::is_finished));
                assert_eq!(joined.stats().tasks.completed, 53);
                for (number, handle) in (0..).zip(kept) {
                    let output: u64 = handle.await.expect("an output").parse().expect("a number");
                    assert_eq!(output, 2 * number);
                }
                assert_eq!(joined.drain().into_stream().count().await, 1);
                // None is in flight.
                joined.join_async().await;
            });
            runtime.run(vec![task]);
            close(&pool);
        }
    });
}

#[test]
fn a_join_of_a_group_does_not_wait_for_others_and_one_that_is_dropped_changes_nothing() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("async-join");
        let pool = jobs(1).start().expect("a pool");
        let running = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        let group = pool.group();
        block_on(group.join_async());
        let flag = Flag::new();
        let waker = flag.waker();
        let mut context = Context::from_waker(&waker);
        let mut dropped = Box::pin(pool.join_async());
        assert!(dropped.as_mut().poll(&mut context).is_pending());
        drop(dropped);
        let mut join = pin!(pool.join_async());
        assert!(join.as_mut().poll(&mut context).is_pending());
        guest.tell("done");
        block_on(join);
        assert!(running.is_finished());
        close(&pool);
    });
}

#[test]
fn a_shutdown_ends_all_futures() {
    guarded(LIMIT, || {
        for round in 0..rounds(5, 100) {
            let meeting = Meeting::new("ended-futures");
            let pool = jobs(1).capacity(2).grace(Duration::from_millis(20));
            let pool = pool.start().expect("a pool");
            let running = pool.submit(meeting.job()).expect("open");
            let queued = pool.submit(meeting.job()).expect("open");
            let _guest = meeting.guest();
            thread::scope(|scope| {
                let waiting = scope.spawn(|| {
                    block_on(async {
                        let refused = pool.submit_async(Job::Double(1));
                        futures::join!(running.into_future(), queued.into_future(), refused)
                    })
                });
                let drained = scope.spawn(|| block_on(pool.drain().into_stream().count()));
                let joined = scope.spawn(|| block_on(pool.join_async()));
                let how = if round % 2 == 0 {
                    Shutdown::Cancel
                } else {
                    Shutdown::Drain
                };
                let report = block_on(pool.shutdown_async(how, Duration::ZERO));
                let report = report.expect("this is the pool's process");
                assert!(report.is_balanced(), "{report}");
                let (running, queued, refused) = waiting.join().expect("join");
                assert!(running.is_err() && queued.is_err());
                if let Ok(handle) = refused {
                    assert!(handle.wait().is_err());
                }
                drained.join().expect("join");
                joined.join().expect("join");
            });
        }
    });
}

/// Also if the future is dropped: the shutdown goes on, and the next one waits for it.
#[test]
fn a_shutdown_goes_on_without_its_future() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let handle = pool.submit(Job::Double(3)).expect("open");
        let flag = Flag::new();
        let waker = flag.waker();
        let mut context = Context::from_waker(&waker);
        {
            let mut shutdown = pin!(pool.shutdown_async(Shutdown::Drain, LIMIT));
            let _ = shutdown.as_mut().poll(&mut context);
        }
        assert_eq!(handle.wait().expect("an output"), "6");
        let reports = block_on(join_all(
            (0..3).map(|_| pool.shutdown_async(Shutdown::Cancel, LIMIT)),
        ));
        for report in reports {
            assert_eq!(report.expect("this is the pool's process").completed, 1);
        }
    });
}

/// The pool moves results into this process's memory only while something waits for them. Many futures wait here, before any
/// task can begin, and each result wakes its own.
#[test]
fn a_thousand_futures_wait_at_once() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("a-thousand");
        let pool: TypedPool<Job> = jobs(2).capacity(1002).start().expect("a pool");
        let first = [(); 2].map(|()| pool.submit(meeting.job()).expect("open"));
        let mut guests = [meeting.guest(), meeting.guest()];
        let handles: Vec<_> = (0..1000)
            .map(|number| {
                pool.submit(Job::Double(number))
                    .expect("open")
                    .into_future()
            })
            .collect();
        let mut all = join_all(handles);
        let mut flag = Flag::new();
        assert!(poll_once(&mut all, &flag).is_pending());
        for guest in &mut guests {
            guest.tell("done");
        }
        // They are polled only when a waker is called.
        let outputs = loop {
            flag.await_raised();
            flag = Flag::new();
            if let Poll::Ready(outputs) = poll_once(&mut all, &flag) {
                break outputs;
            }
        };
        for (number, output) in (0_u64..).zip(outputs) {
            assert_eq!(output.expect("an output"), (2 * number).to_string());
        }
        assert!(first.map(TaskHandle::wait).iter().all(Result::is_ok));
        close(&pool);
    });
}
