//! Goal: what a task emits reaches its reader in order, within the bound, and up to the end of the task, however it ends. No
//! other task, and no end of the pool, waits for a reader.
//!
//! Method: the tasks of `emitting`. Where a test has to know how far a task has come without asking the pool, the task writes
//! to a file.

use futures::{
    StreamExt,
    future::{join, join_all},
};
use ipc_tests::{
    Pid, Signal,
    asleep::await_sleepers,
    emitting::{Emitting, End, Trap},
    guarded, program,
    rounds::{rounds, seed},
    runtimes::{Flag, block_on},
    support::{LIMIT, asleep},
};
use nix::sys::signal::kill;
use std::{
    env, fs,
    path::PathBuf,
    pin::pin,
    process,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::Duration,
};
use workring::pool::{
    Builder, Progress, ProgressError, Report, Shutdown, TaskError, TaskHandle, TypedPool, WhenFull,
};

type Emitters = TypedPool<Emitting>;

fn emitters(workers: usize, bound: usize, when_full: WhenFull) -> Builder<Emitters> {
    TypedPool::builder()
        .program(program("pooled"))
        .workers(workers)
        .progress(bound, when_full)
}

fn close(pool: &Emitters) -> Report {
    let report = pool.shutdown(Shutdown::Drain, LIMIT);
    let report = report.expect("this is the pool's process");
    assert!(report.is_balanced(), "{report}");
    report
}

/// Reads all numbers, each with its index.
fn numbers(progress: Progress<u64>) -> Vec<u64> {
    let mut all = Vec::new();
    for emitted in progress {
        let emitted = emitted.expect("a number");
        assert_eq!((emitted.attempt, emitted.index), (1, emitted.value));
        all.push(emitted.value);
    }
    all
}

fn range(end: u64) -> Vec<u64> {
    (0..end).collect()
}

/// A file to which a task writes a byte for each value that it has emitted.
struct Note(PathBuf);

impl Note {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("workring-note-{}-{name}", process::id()));
        let _ = fs::remove_file(&path);
        Self(path)
    }

    fn count(&self) -> u64 {
        fs::metadata(&self.0).map_or(0, |data| data.len())
    }

    fn await_count(&self, count: u64) {
        while self.count() < count {
            thread::yield_now();
        }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn values_arrive_in_order_before_the_end_of_their_task() {
    guarded(LIMIT, || {
        let count = u64::from(rounds(300, 10_000));
        for bound in [1, 3, 1_000] {
            let pool = emitters(2, bound, WhenFull::Wait).start().expect("a pool");
            thread::scope(|scope| {
                for _ in 0..4 {
                    let handle = pool.submit(Emitting::Numbers(count, End::Output));
                    let handle = handle.expect("open");
                    scope.spawn(move || {
                        assert_eq!(numbers(handle.progress()), range(count));
                        assert!(handle.is_finished(), "the outcome comes last");
                        assert_eq!(handle.wait().expect("an output"), count);
                    });
                }
            });
            assert_eq!(close(&pool).completed, 4);
        }
    });
}

/// Whatever that is, and with either policy.
#[test]
fn a_reader_ends_with_its_task() {
    guarded(LIMIT, || {
        for (when_full, end) in
            [WhenFull::DropOldest, WhenFull::Wait]
                .into_iter()
                .flat_map(|when_full| {
                    let ends = [
                        End::Output,
                        End::Error,
                        End::Panic,
                        End::Death,
                        End::Never,
                        End::Cancel,
                    ];
                    ends.map(|end| (when_full, end))
                })
        {
            let pool = emitters(1, 8, when_full).start().expect("a pool");
            let handle = pool.submit(Emitting::Numbers(5, end)).expect("open");
            let mut progress = handle.progress::<u64>();
            let read: Vec<_> = progress.by_ref().take(5).collect();
            match end {
                End::Never => assert!(handle.cancel_within(Duration::ZERO)),
                End::Cancel => assert!(handle.cancel()),
                _ => {}
            }
            assert!(progress.next().is_none() && progress.is_over());
            let read = read.into_iter().map(|it| it.expect("a number").value);
            assert_eq!(read.collect::<Vec<_>>(), range(5));
            match (end, handle.wait()) {
                (End::Output, Ok(5))
                | (End::Error | End::Cancel, Err(TaskError::Failed(_)))
                | (End::Panic, Err(TaskError::Panicked(_)))
                | (End::Death, Err(TaskError::Crashed { .. }))
                | (End::Never, Err(TaskError::Cancelled)) => {}
                (end, other) => panic!("{end:?}: {other:?}"),
            }
            close(&pool);
        }
    });
}

#[test]
fn a_reader_ends_at_a_time_limit_and_with_the_pool() {
    guarded(LIMIT, || {
        let pool = emitters(1, 8, WhenFull::Wait).time_limit(Duration::from_millis(300));
        let pool = pool.start().expect("a pool");
        let handle = pool.submit(Emitting::Numbers(3, End::Never)).expect("open");
        // A slow machine may end the task before it has emitted anything.
        assert!(range(3).starts_with(&numbers(handle.progress())));
        assert!(matches!(handle.wait(), Err(TaskError::TimedOut)));
        close(&pool);

        let pool = emitters(1, 8, WhenFull::Wait).grace(Duration::from_millis(20));
        let pool = pool.start().expect("a pool");
        let handle = pool.submit(Emitting::Numbers(3, End::Never)).expect("open");
        let queued = pool.submit(Emitting::Numbers(3, End::Never)).expect("open");
        let mut progress = handle.progress::<u64>();
        assert_eq!(progress.by_ref().take(3).count(), 3);
        let reader = thread::spawn(move || progress.count());
        let report = pool.shutdown(Shutdown::Cancel, Duration::ZERO);
        assert_eq!(report.expect("this is the pool's process").submitted, 2);
        assert_eq!(reader.join().expect("join"), 0);
        assert_eq!(queued.progress::<u64>().count(), 0);
        assert!(handle.wait().is_err() && queued.wait().is_err());
    });
}

/// The reader goes on, and the outcome goes to `drain`.
#[test]
fn a_reader_may_outlive_the_handle() {
    guarded(LIMIT, || {
        let pool = emitters(1, 4, WhenFull::Wait).start().expect("a pool");
        let handle = pool.submit(Emitting::Numbers(100, End::Output));
        let handle = handle.expect("open");
        let progress = handle.progress();
        drop(handle);
        assert_eq!(numbers(progress), range(100));
        assert_eq!(pool.drain().count(), 1);

        let handle = pool.submit(Emitting::Numbers(100, End::Output));
        let handle = handle.expect("open");
        let progress = handle.progress();
        let reader = thread::spawn(move || numbers(progress));
        assert_eq!(handle.wait().expect("an output"), 100);
        assert_eq!(reader.join().expect("join"), range(100));
        close(&pool);
    });
}

#[test]
fn the_oldest_values_give_way() {
    guarded(LIMIT, || {
        let pool = emitters(1, 8, WhenFull::DropOldest);
        let pool = pool.start().expect("a pool");
        let handle = pool.submit(Emitting::Numbers(100, End::Output));
        let handle = handle.expect("open");
        while !handle.is_finished() {
            thread::yield_now();
        }
        let mut progress = handle.progress::<u64>();
        assert_eq!(progress.lost(), 92);
        for number in 92..100 {
            let emitted = progress.next().expect("a value").expect("a number");
            assert_eq!((emitted.index, emitted.value), (number, number));
        }
        assert!(progress.try_next().is_none() && progress.is_over());
        assert_eq!(handle.wait().expect("an output"), 100);
        close(&pool);
    });
}

/// The task is never further than the bound ahead of the reader, and gets as far.
#[test]
fn a_task_waits_for_its_reader() {
    guarded(LIMIT, || {
        for bound in [1, 4, 40] {
            let pool = emitters(1, bound, WhenFull::Wait).start().expect("a pool");
            let (count, bound) = (100, bound as u64);
            let note = Note::new(&format!("waits-{bound}"));
            let handle = pool.submit(Emitting::Noted(count, note.0.clone()));
            let handle = handle.expect("open");
            let mut progress = handle.progress::<u64>();
            for read in 0..count {
                note.await_count(count.min(read + bound));
                assert!(note.count() <= read + bound);
                assert_eq!(
                    progress.next().expect("a value").expect("a number").index,
                    read
                );
            }
            assert!(progress.next().is_none());
            assert_eq!(progress.lost(), 0);
            assert_eq!(handle.wait().expect("an output"), count);
            close(&pool);
        }
    });
}

/// Not one thread of this process calls the pool meanwhile.
#[test]
fn a_task_may_emit_although_no_thread_receives() {
    guarded(LIMIT, || {
        for capacity in [1, 1_000] {
            let pool = emitters(2, 8, WhenFull::DropOldest).capacity(capacity);
            let pool = pool.start().expect("a pool");
            let note = Note::new(&format!("alone-{capacity}"));
            let handle = pool.submit(Emitting::Noted(5_000, note.0.clone()));
            note.await_count(5_000);
            let handle = handle.expect("open");
            assert_eq!(handle.wait().expect("an output"), 5_000);
            close(&pool);
        }
    });
}

/// The values of the first task are never read. The others run in the same worker.
#[test]
fn a_reader_that_does_not_read_delays_no_other_task() {
    guarded(LIMIT, || {
        for when_full in [WhenFull::DropOldest, WhenFull::Wait] {
            let pool = emitters(1, 50, when_full).start().expect("a pool");
            let unread = pool.submit(Emitting::Numbers(50, End::Output));
            let unread = unread.expect("open");
            for _ in 0..20 {
                let other = pool.submit(Emitting::Numbers(200, End::Output));
                let other = other.expect("open");
                if when_full == WhenFull::Wait {
                    assert_eq!(numbers(other.progress()), range(200));
                }
                assert_eq!(other.wait().expect("an output"), 200);
            }
            // What is read of a task that has ended changes nothing for one that runs in the same worker.
            let other = pool.submit(Emitting::Numbers(200, End::Output));
            let other = other.expect("open");
            let (mut read, mut ended) = (other.progress::<u64>(), unread.progress::<u64>());
            for number in 0..50 {
                assert!(when_full == WhenFull::DropOldest || read.next().is_some());
                let emitted = ended.next().expect("a value").expect("a number");
                assert_eq!(emitted.value, number);
            }
            assert!(ended.next().is_none());
            assert!(when_full == WhenFull::DropOldest || read.count() == 150);
            assert_eq!(other.wait().expect("an output"), 200);
            close(&pool);
        }
    });
}

/// In a pool whose tasks wait for readers, and with a bound that each of them exceeds.
#[test]
fn no_end_waits_for_a_reader_that_is_not_there() {
    let submit = |pool: &Emitters| pool.submit(Emitting::Numbers(2_000, End::Output));
    guarded(LIMIT, || {
        let pool = emitters(2, 1, WhenFull::Wait).start().expect("a pool");
        assert_eq!(
            submit(&pool).expect("open").wait().expect("an output"),
            2_000
        );
        for _ in 0..10 {
            drop(submit(&pool).expect("open"));
        }
        assert_eq!(pool.drain().count(), 10);
        let tasks = (0..10).map(|_| Emitting::Numbers(2_000, End::Output));
        assert_eq!(pool.map_unordered(tasks).count(), 10);
        let handle = submit(&pool).expect("open");
        drop(handle.progress::<u64>().next());
        assert_eq!(handle.wait().expect("an output"), 2_000);
        assert_eq!(
            block_on(submit(&pool).expect("open").into_future()),
            Ok(2_000)
        );

        let (read, unread) = (submit(&pool).expect("open"), submit(&pool).expect("open"));
        let mut progress = read.progress::<u64>();
        assert_eq!(
            progress.next().expect("a value").expect("a number").value,
            0
        );
        assert_eq!(close(&pool).completed, 25);
        // What they have emitted last can still be read.
        let last: Vec<u64> = (976..2_000).collect();
        for progress in [progress, unread.progress()] {
            let values = progress.map(|it| it.expect("a number").value);
            assert_eq!(values.collect::<Vec<_>>(), last);
        }
    });
}

/// The caller waits already when the last reader goes away, and a reader that was made meanwhile goes away as well.
#[test]
fn a_reader_that_leaves_during_a_wait_holds_up_no_task() {
    guarded(LIMIT, || {
        for is_made_later in [false, true] {
            let pool = emitters(1, 1, WhenFull::Wait).start().expect("a pool");
            let handle = pool.submit(Emitting::Numbers(100, End::Output));
            let handle = handle.expect("open");
            let mut progress = handle.progress::<u64>();
            let other = is_made_later.then(|| handle.progress::<u64>());
            progress.next().expect("a value").expect("a number");
            let waiter = asleep(move || handle.wait());
            drop(progress);
            drop(other);
            assert_eq!(waiter.join().expect("join").expect("an output"), 100);

            let handle = pool.submit(Emitting::Numbers(100, End::Output));
            let handle = handle.expect("open");
            let progress = handle.progress::<u64>();
            thread::scope(|scope| {
                let joined = scope.spawn(|| pool.join());
                await_sleepers(Pid::this(), 1);
                drop(progress);
                joined.join().expect("join");
            });
            assert_eq!(handle.wait().expect("an output"), 100);
            close(&pool);
        }
    });
}

/// Several workers emit as fast as they can, so that there is always a value to receive.
#[test]
fn a_flood_of_values_delays_no_death_and_no_limit() {
    guarded(LIMIT, || {
        let pool = emitters(6, 8, WhenFull::DropOldest).start();
        let pool = pool.expect("a pool");
        let floods = [(); 5].map(|()| {
            let flood = pool.submit(Emitting::Pids).expect("open");
            let value = flood.progress::<u32>().next().expect("a value");
            value.expect("a number");
            flood
        });
        for _ in 0..rounds(20, 1_000) {
            let task = pool.submit(Emitting::Numbers(0, End::Death));
            let crash = task.expect("open").wait();
            assert!(matches!(crash, Err(TaskError::Crashed { .. })), "{crash:?}");
            let task = pool.submit(Emitting::Numbers(1, End::Never));
            let task = task.expect("open");
            task.cancel_within(Duration::ZERO);
            let killed = task.wait();
            assert!(matches!(killed, Err(TaskError::Cancelled)), "{killed:?}");
        }
        for flood in floods {
            flood.cancel();
            flood.wait().expect_err("it is cancelled");
        }
        close(&pool);
    });
}

#[test]
fn a_task_that_waits_for_its_reader_can_be_cancelled() {
    fn failure(handle: TaskHandle<Emitting>) -> Option<String> {
        match handle.wait() {
            Err(TaskError::Failed(text)) => Some(text),
            Err(TaskError::Cancelled | TaskError::TimedOut) => None,
            other => panic!("{other:?}"),
        }
    }
    guarded(LIMIT, || {
        for _ in 0..rounds(10, 1_000) {
            let pool = emitters(1, 2, WhenFull::Wait).start().expect("a pool");
            let handle = pool.submit(Emitting::Pids).expect("open");
            let progress = handle.progress::<u32>();
            while !handle.is_finished() {
                handle.cancel();
                thread::yield_now();
            }
            assert!(failure(handle).is_none_or(|text| text.contains("cancelled")));
            drop(progress);
            let handle = pool.submit(Emitting::Pids).expect("open");
            let mut progress = handle.progress::<u32>();
            progress.next().expect("a value").expect("a number");
            assert!(handle.cancel());
            assert!(failure(handle).expect("it ran").contains("cancelled"));
            assert!(progress.count() <= 3);
            close(&pool);
        }
        let pool = emitters(1, 2, WhenFull::Wait).soft_time_limit(Duration::from_millis(20));
        let pool = pool.start().expect("a pool");
        let handle = pool.submit(Emitting::Pids).expect("open");
        let _progress = handle.progress::<u32>();
        assert!(matches!(handle.wait(), Err(TaskError::TimedOut)));
        close(&pool);
    });
}

/// A worker is killed at a random moment, while it emits or waits.
#[test]
fn a_worker_that_is_killed_leaves_what_it_has_emitted() {
    guarded(LIMIT, || {
        let mut rng = fastrand::Rng::with_seed(seed());
        let pool = emitters(1, 8, WhenFull::Wait).start().expect("a pool");
        for _ in 0..rounds(20, 1_000) {
            let handle = pool.submit(Emitting::Pids).expect("open");
            let mut progress = handle.progress::<u32>();
            let first = progress.next().expect("a value").expect("a number");
            let before = rng.u64(0..40);
            let mut next = 1;
            for emitted in progress {
                let emitted = emitted.expect("a number");
                assert_eq!((emitted.index, emitted.value), (next, first.value));
                if next == before {
                    let pid = Pid::from_raw(first.value.cast_signed());
                    kill(pid, Signal::SIGKILL).expect("it lives");
                }
                next += 1;
                if before == 0 && next == 2 {
                    let pid = Pid::from_raw(first.value.cast_signed());
                    kill(pid, Signal::SIGKILL).expect("it lives");
                }
            }
            assert!(matches!(handle.wait(), Err(TaskError::Crashed { .. })));
            let handle = pool.submit(Emitting::Numbers(30, End::Output));
            let handle = handle.expect("open");
            assert_eq!(numbers(handle.progress()), range(30));
        }
        close(&pool);
    });
}

#[test]
fn each_attempt_emits_anew() {
    guarded(LIMIT, || {
        for when_full in [WhenFull::DropOldest, WhenFull::Wait] {
            let pool = emitters(1, 8, when_full)
                .retries(2)
                .start()
                .expect("a pool");
            let handle = pool.submit(Emitting::Attempts(3)).expect("open");
            let read = handle.progress::<u32>().map(|emitted| {
                let emitted = emitted.expect("a number");
                assert_eq!(emitted.value, emitted.attempt);
                (emitted.attempt, emitted.index)
            });
            let expected = [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)];
            assert_eq!(read.collect::<Vec<_>>(), expected);
            assert_eq!(handle.wait().expect("an output"), 3);
            close(&pool);
        }
    });
}

#[test]
fn a_value_that_cannot_be_read_is_a_typed_error_in_its_place() {
    guarded(LIMIT, || {
        let pool = emitters(1, 8, WhenFull::DropOldest);
        let pool = pool.max_message_len(10_000).start().expect("a pool");
        let handle = pool.submit(Emitting::Text("a".to_owned())).expect("open");
        match handle.progress::<u64>().collect::<Vec<_>>().as_slice() {
            [
                Err(ProgressError::Type {
                    emitted, wanted, ..
                }),
            ] => {
                assert_eq!(
                    (emitted.as_str(), wanted.as_str()),
                    ("alloc::string::String", "u64")
                );
            }
            other => panic!("{other:?}"),
        }

        let handle = pool.submit(Emitting::Trap).expect("open");
        let read: Vec<_> = handle.progress::<Trap>().collect();
        match read.as_slice() {
            [
                Ok(first),
                Err(ProgressError::Decode { what: panicked, .. }),
                Err(ProgressError::Decode { what: refused, .. }),
                Ok(last),
            ] => {
                assert_eq!((first.value, last.value), (Trap(12), Trap(15)));
                assert!(panicked.contains("unlucky") && refused.contains("likes"));
            }
            other => panic!("{other:?}"),
        }

        let handle = pool.submit(Emitting::TooLarge(20_000)).expect("open");
        let read: Vec<_> = handle.progress::<String>().collect();
        assert!(matches!(read.as_slice(), [Ok(emitted)] if emitted.value == "small"));
        assert!(handle.wait().expect("`TooLarge`") > 20_000);
        close(&pool);
    });
}

#[test]
fn a_value_whose_encoding_panics_ends_its_task() {
    guarded(LIMIT, || {
        let pool = emitters(1, 8, WhenFull::Wait).start().expect("a pool");
        for _ in 0..20 {
            let handle = pool.submit(Emitting::Unspeakable).expect("open");
            assert_eq!(handle.progress::<u64>().count(), 1);
            match handle.wait() {
                Err(TaskError::Panicked(panic)) => assert!(panic.message.contains("no name")),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(close(&pool).started, 1);
    });
}

/// Large values: there are few blocks for them, and no thread of this process receives.
#[test]
fn large_values_wait_for_memory() {
    guarded(LIMIT, || {
        let pool = emitters(2, 40, WhenFull::Wait).start().expect("a pool");
        let text = "x".repeat(100_000);
        let handles: Vec<_> = (0..40)
            .map(|_| pool.submit(Emitting::Text(text.clone())).expect("open"))
            .collect();
        for handle in handles {
            let read: Vec<_> = handle.progress::<String>().collect();
            assert!(matches!(read.as_slice(), [Ok(emitted)] if emitted.value == text));
        }
        close(&pool);
    });
}

#[test]
fn threads_of_a_task_share_its_order_and_readers_share_its_values() {
    guarded(LIMIT, || {
        let pool = emitters(1, 4, WhenFull::Wait).start().expect("a pool");
        let handle = pool.submit(Emitting::Threads(100)).expect("open");
        let readers = [(); 2].map(|()| handle.progress::<u64>());
        let mut read: Vec<(u64, u64)> = thread::scope(|scope| {
            let read = readers.map(|progress| {
                scope.spawn(move || {
                    let read = progress.map(|it| it.expect("a number"));
                    read.map(|it| (it.index, it.value)).collect::<Vec<_>>()
                })
            });
            read.into_iter()
                .flat_map(|read| {
                    let read = read.join().expect("join");
                    assert!(read.is_sorted());
                    read
                })
                .collect()
        });
        read.sort_unstable();
        assert!(read.iter().map(|(index, _)| *index).eq(0..200));
        let mut values: Vec<_> = read.into_iter().map(|(_, value)| value).collect();
        values.sort_unstable();
        assert!(
            values
                .into_iter()
                .eq((0..100).flat_map(|number| [number; 2]))
        );
        assert_eq!(handle.wait().expect("an output"), 200);
        close(&pool);
    });
}

#[test]
fn a_stream_has_the_same_values() {
    guarded(LIMIT, || {
        for when_full in [WhenFull::DropOldest, WhenFull::Wait] {
            let pool = Arc::new(emitters(2, 256, when_full).start().expect("a pool"));
            let read = |end| {
                let pool = Arc::clone(&pool);
                async move {
                    let handle = pool.submit_async(Emitting::Numbers(200, end)).await;
                    let handle = handle.expect("open");
                    let stream = handle.progress::<u64>().into_stream();
                    let values = stream.map(|it| it.expect("a number").value);
                    let (values, outcome) =
                        join(values.collect::<Vec<_>>(), handle.into_future()).await;
                    assert_eq!(values, range(200));
                    assert_eq!(outcome.is_ok(), end == End::Output);
                }
            };
            let ends = [End::Output, End::Death, End::Error, End::Output];
            block_on(join_all(ends.map(read)));
            close(&pool);
        }
    });
}

/// A future for the next value, and then the stream, are dropped at random; a reader that blocks takes the rest.
#[test]
fn a_stream_that_is_dropped_loses_no_value() {
    guarded(LIMIT, || {
        let mut rng = fastrand::Rng::with_seed(seed());
        let pool = emitters(1, 4, WhenFull::Wait).start().expect("a pool");
        let flag = Flag::new();
        let waker = flag.waker();
        let mut context = Context::from_waker(&waker);
        for _ in 0..rounds(30, 1_000) {
            let handle = pool.submit(Emitting::Numbers(50, End::Output));
            let handle = handle.expect("open");
            let mut read = Vec::new();
            while read.len() < 40 {
                let mut stream = handle.progress::<u64>().into_stream();
                for _ in 0..rng.u32(1..20) {
                    let mut next = pin!(stream.next());
                    if let Poll::Ready(Some(emitted)) = next.as_mut().poll(&mut context) {
                        read.push(emitted.expect("a number").value);
                    } else if rng.bool() {
                        read.push(block_on(next).expect("a value").expect("a number").value);
                    }
                    if read.len() >= 40 {
                        break;
                    }
                }
            }
            read.extend(numbers(handle.progress()));
            assert_eq!(read, range(50));
            assert_eq!(handle.wait().expect("an output"), 50);
        }
        close(&pool);
    });
}
