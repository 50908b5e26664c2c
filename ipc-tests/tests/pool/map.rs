//! `TypedPool::map`: runs the tasks of an iterator, a window of them at a time, singly or in chunks.

use ipc_tests::support::{
    LIMIT,
    pools::{close, jobs},
};
use ipc_tests::{
    Pid, cpu, guarded,
    jobs::{Death, Job, Meeting},
    rounds::rounds,
};
use std::{
    cell::Cell,
    collections::BTreeSet,
    panic::{self, AssertUnwindSafe},
    sync::mpsc,
    thread,
};
use workring::pool::{ResultOf, Shutdown, TaskError, TypedPool};

/// Chunk sizes that divide the numbers of tasks here, and others.
const CHUNKS: [usize; 3] = [1, 7, 64];

fn doubles(numbers: std::ops::Range<u64>) -> impl Iterator<Item = Job> {
    numbers.map(Job::Double)
}

fn doubled(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|number| (2 * number).to_string()).collect()
}

fn output(result: ResultOf<Job>) -> String {
    result.expect("an output")
}

/// Returns the outcome of a task as a word.
fn kind(result: &ResultOf<Job>) -> &str {
    match result {
        Ok(output) => output,
        Err(TaskError::Failed(error)) => error,
        Err(TaskError::Panicked(_)) => "panicked",
        Err(TaskError::Crashed { .. }) => "crashed",
        Err(TaskError::Cancelled) => "cancelled",
        Err(TaskError::Transport { .. }) => "not carried",
        Err(_) => "something else",
    }
}

fn kinds(pool: &TypedPool<Job>, tasks: Vec<Job>, chunk: usize) -> Vec<String> {
    let outcomes = pool.map(tasks).chunk(chunk);
    outcomes
        .map(|outcome| kind(&outcome.result).to_owned())
        .collect()
}

#[test]
fn a_map_gives_the_outcomes_in_the_order_of_the_tasks() {
    guarded(LIMIT, || {
        let pool = jobs(3).start().expect("a pool");
        for chunk in CHUNKS {
            let outcomes: Vec<_> = pool.map(doubles(0..500)).chunk(chunk).collect();
            assert!(outcomes.is_sorted_by_key(|outcome| outcome.id));
            let outputs = outcomes.into_iter().map(|outcome| output(outcome.result));
            assert_eq!(outputs.collect::<Vec<_>>(), doubled(0..500), "{chunk}");
        }
        assert_eq!(close(&pool).completed, 1500);
    });
}

#[test]
fn an_unordered_map_gives_each_outcome_once() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        for chunk in CHUNKS {
            let outcomes: Vec<_> = pool.map_unordered(doubles(0..500)).chunk(chunk).collect();
            let ids: BTreeSet<_> = outcomes.iter().map(|outcome| outcome.id).collect();
            assert_eq!((ids.len(), outcomes.len()), (500, 500));
            let outputs = outcomes.into_iter().map(|outcome| output(outcome.result));
            let expected: BTreeSet<_> = doubled(0..500).into_iter().collect();
            assert_eq!(outputs.collect::<BTreeSet<_>>(), expected);
        }
        assert_eq!(close(&pool).completed, 1500);
    });
}

#[test]
fn an_unordered_map_does_not_wait_for_a_slow_task() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("slow");
        let pool = jobs(2).start().expect("a pool");
        let tasks = || std::iter::once(meeting.job()).chain(doubles(0..20));
        let mut unordered = pool.map_unordered(tasks());
        let mut quick = unordered.by_ref().take(20);
        assert!(quick.all(|outcome| kind(&outcome.result) != "done"));
        meeting.guest().tell("done");
        let slow = unordered.next().expect("the last");
        assert_eq!(output(slow.result), "done");
        assert!(unordered.next().is_none());
        close(&pool);
    });
}

/// The first task is done last, and its outcome still comes first.
#[test]
fn a_map_waits_for_a_slow_task() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("ordered");
        let (all_sent, are_all_sent) = mpsc::channel();
        let pool = jobs(2).start().expect("a pool");
        thread::scope(|scope| {
            let outputs = scope.spawn(|| {
                let tasks = std::iter::once(meeting.job()).chain(doubles(0..20));
                // Requested only when all other tasks were sent.
                let the_end = std::iter::from_fn(|| {
                    all_sent.send(()).expect("the other thread waits");
                    None
                });
                let tasks = tasks.chain(the_end);
                let outputs = pool.map(tasks).map(|outcome| output(outcome.result));
                outputs.collect::<Vec<_>>()
            });
            let mut first = meeting.guest();
            are_all_sent.recv().expect("all are sent");
            while pool.in_flight() > 1 {
                thread::yield_now();
            }
            first.tell("done");
            let outputs = outputs.join().expect("join");
            assert_eq!(
                outputs.split_first(),
                Some((&"done".to_owned(), &*doubled(0..20)))
            );
        });
        close(&pool);
    });
}

#[test]
fn nothing_is_taken_from_the_iterator_beyond_the_window() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        for (chunk, window) in [(1, 1), (1, 10), (4, 10), (8, 2)] {
            let most = window.max(chunk);
            let (pulled, given) = (Cell::new(0), Cell::new(0));
            let most_in_flight = Cell::new(0);
            let source = doubles(0..200).inspect(|_| {
                pulled.set(pulled.get() + 1);
                most_in_flight.set(most_in_flight.get().max(pulled.get() - given.get()));
            });
            let map = pool.map(source).chunk(chunk).window(window);
            assert_eq!(pulled.get(), 0, "before the first call");
            for outcome in map {
                output(outcome.result);
                given.set(given.get() + 1);
            }
            assert_eq!((pulled.get(), given.get()), (200, 200));
            // The outcome that is being returned counts for the map, and not for this test.
            assert!(
                most_in_flight.get() <= most,
                "{} of {most}",
                most_in_flight.get()
            );
            assert!(
                most_in_flight.get() + chunk > most,
                "{} of {most}",
                most_in_flight.get()
            );
        }
        close(&pool);
    });
}

#[test]
fn a_task_is_sent_before_the_next_one_is_taken_from_the_iterator() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        // An iterator may block, as one over a channel does: what it has given runs meanwhile.
        let source = doubles(0..100).enumerate().map(|(taken, job)| {
            assert_eq!(pool.stats().tasks.submitted, taken as u64);
            job
        });
        let outputs = pool.map(source).map(|outcome| output(outcome.result));
        assert!(outputs.eq(doubled(0..100)));
        close(&pool);
    });
}

#[test]
fn a_tag_that_panics_after_the_pool_has_refused_the_tasks_loses_no_outcome() {
    guarded(LIMIT, || {
        let pool = jobs(1).start().expect("a pool");
        close(&pool);
        for ordered in [false, true] {
            let mut map: Box<dyn Iterator<Item = _>> = if ordered {
                let map = pool.map(doubles(0..3)).chunk(3);
                Box::new(map.tag(|_| -> u64 { panic!("there is no tag") }))
            } else {
                let map = pool.map_unordered(doubles(0..3)).chunk(3);
                Box::new(map.tag(|_| -> u64 { panic!("there is no tag") }))
            };
            let first = panic::catch_unwind(AssertUnwindSafe(|| map.next().is_some()));
            assert!(first.is_err(), "the panic reaches the caller");
            let kinds: Vec<_> = map.map(|it| kind(&it.result).to_owned()).collect();
            assert_eq!(kinds, ["cancelled"; 3]);
        }
    });
}

#[test]
fn a_tag_that_ends_the_pool_and_panics_makes_no_second_outcome() {
    guarded(LIMIT, || {
        let pool = jobs(1).max_message_len(1000).start().expect("a pool");
        // Too long for one message together, so they are sent one by one.
        let tasks = (0..2).map(|_| Job::Weigh(vec![0; 600]));
        let mut map = pool.map_unordered(tasks).chunk(2).tag(|_| -> u64 {
            pool.shutdown(Shutdown::Cancel, LIMIT).expect("here");
            panic!("there is no tag")
        });
        assert!(panic::catch_unwind(AssertUnwindSafe(|| map.next().is_some())).is_err());
        assert_eq!(map.count(), 2);
    });
}

#[test]
fn a_long_map_takes_no_more_memory_than_a_short_one() {
    guarded(LIMIT, || {
        let tasks = rounds(40_000, 1_000_000);
        let pool = jobs(2).start().expect("a pool");
        let mut before = 0;
        let all = (0..tasks).map(|_| Job::Letters(1000));
        let mut count = 0;
        for outcome in pool.map(all).chunk(16) {
            assert_eq!(output(outcome.result).len(), 1000);
            count += 1;
            if count == tasks / 4 {
                before = cpu::resident(Pid::this()).expect("this process");
            }
        }
        assert_eq!(count, tasks);
        let grown = cpu::resident(Pid::this()).expect("this process");
        let grown = grown.saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes more");
        close(&pool);
    });
}

/// The worker dies in the third task of the chunk, when the first two have their results and the last ones have not
/// begun. Each task connects to the meeting when it begins.
#[test]
fn p5_a_crash_inside_a_chunk_costs_only_its_own_task() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("chunk");
        let pool = jobs(1).start().expect("a pool");
        thread::scope(|scope| {
            let outcomes = scope.spawn(|| {
                let tasks = (0..5).map(|_| meeting.job());
                let outcomes = pool.map(tasks).chunk(5);
                let all = outcomes.map(|outcome| {
                    (
                        outcome.id.get(),
                        outcome.attempts,
                        kind(&outcome.result).to_owned(),
                    )
                });
                all.collect::<Vec<_>>()
            });
            let mut workers = Vec::new();
            for task in 0..5 {
                let mut guest = meeting.guest();
                assert_eq!(guest.task, task, "another task runs");
                guest.tell(if task == 2 { "abort" } else { "done" });
                workers.push(guest.pid);
            }
            assert_eq!(workers.first(), workers.get(2));
            assert_ne!(workers.get(2), workers.get(3));
            let outcomes = outcomes.join().expect("join");
            let expected = ["done", "done", "crashed", "done", "done"];
            let expected = (0..).zip(expected);
            let expected = expected.map(|(task, kind)| (task, 1, kind.to_owned()));
            assert_eq!(outcomes, expected.collect::<Vec<_>>());
        });
        let report = close(&pool);
        assert_eq!((report.submitted, report.completed, report.lost), (5, 4, 1));
        assert_eq!((report.started, report.died, report.retried), (2, 1, 0));
    });
}

#[test]
fn p5_a_task_that_is_retried_keeps_its_place_in_the_order() {
    guarded(LIMIT, || {
        let builder = jobs(2).retries(1);
        let pool = builder.start().expect("a pool");
        let deadly = |number: u64| number % 25 == 7;
        let tasks = (0..100).map(|number| {
            if deadly(number) {
                Job::DieUntil(2, Death::Abort)
            } else {
                Job::Double(number)
            }
        });
        let outcomes: Vec<_> = pool.map(tasks).chunk(10).collect();
        assert_eq!(outcomes.len(), 100);
        for (number, outcome) in (0..).zip(outcomes) {
            let (attempts, expected) = if deadly(number) {
                (2, 2)
            } else {
                (1, 2 * number)
            };
            assert_eq!(outcome.attempts, attempts, "{number}");
            assert_eq!(output(outcome.result), expected.to_string());
        }
        let report = close(&pool);
        assert_eq!((report.completed, report.died, report.retried), (100, 4, 4));
    });
}

#[test]
fn each_failure_inside_a_chunk_belongs_to_its_own_task() {
    guarded(LIMIT, || {
        let pool = jobs(2).max_message_len(2000).start().expect("a pool");
        let tasks = || {
            vec![
                Job::Double(1),
                Job::Fail("failed".to_owned()),
                Job::Panic("so".to_owned()),
                Job::Letters(3000),
                Job::Double(2),
            ]
        };
        let expected = ["2", "failed", "panicked", "not carried", "4"];
        for chunk in [1, 2, 5] {
            assert_eq!(kinds(&pool, tasks(), chunk), expected, "{chunk}");
        }
        let report = close(&pool);
        assert_eq!((report.completed, report.failed), (6, 9));
    });
}

/// A chunk that is too large for one message is sent task by task. The outcome of a single task that is too large is an
/// error.
#[test]
fn a_chunk_or_a_task_that_is_too_large_has_its_outcomes() {
    guarded(LIMIT, || {
        let pool = jobs(2).max_message_len(2000).start().expect("a pool");
        let tasks = [900, 900, 5000, 900, 10];
        let tasks = tasks.map(|length| Job::Weigh(vec![7; length])).to_vec();
        let expected = ["900", "900", "not carried", "900", "10"];
        assert_eq!(kinds(&pool, tasks, 5), expected);
        let report = close(&pool);
        assert_eq!((report.completed, report.failed), (4, 1));
    });
}

#[test]
fn a_map_of_no_tasks_ends_at_once() {
    guarded(LIMIT, || {
        let pool = jobs(1).start().expect("a pool");
        let mut map = pool.map(Vec::new());
        assert!(map.next().is_none() && map.next().is_none());
        assert!(pool.map_unordered(None).chunk(8).next().is_none());
        drop(map);
        assert_eq!(close(&pool).submitted, 0);
    });
}

/// The running task is cancelled, queued ones never begin, and all their outcomes are discarded.
#[test]
fn a_dropped_map_cancels_its_remaining_tasks() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("dropped-map");
        for chunk in [1, 4] {
            let pool = jobs(1).start().expect("a pool");
            let tasks = doubles(0..1).chain((0..99).map(|_| meeting.job()));
            let mut map = pool.map_unordered(tasks).chunk(chunk).window(20);
            let first = map.next().expect("the first");
            assert_eq!(output(first.result), "0");
            let mut guest = meeting.guest();
            drop(map);
            guest.tell("await cancel");
            assert_eq!(pool.drain().count(), 0);
            let report = close(&pool);
            assert_eq!((report.completed, report.failed), (1, 1), "{chunk}");
            let left = report.submitted - 2;
            assert_eq!((report.cancelled, report.died), (left, 0));
            assert!(report.submitted <= 20 + 4, "{report}");
            assert_eq!(pool.drain().count(), 0, "the later outcomes are discarded");
        }
    });
}

/// Four maps and a thread that drains: each gets its own outcomes.
#[test]
fn maps_of_several_threads_get_their_own_outcomes() {
    guarded(LIMIT, || {
        // Fewer places than the maps use together.
        let pool = jobs(2).capacity(40).start().expect("a pool");
        thread::scope(|scope| {
            for thread in 0..4 {
                let pool = &pool;
                scope.spawn(move || {
                    let numbers = 1000 * thread..1000 * thread + 300;
                    let map = pool.map(doubles(numbers.clone()));
                    let outcomes =
                        map.chunk(1 + usize::try_from(thread).expect("a small number") * 5);
                    let outputs = outcomes.map(|outcome| output(outcome.result));
                    assert_eq!(outputs.collect::<Vec<_>>(), doubled(numbers));
                });
            }
            scope.spawn(|| {
                let mut drained = 0;
                for number in 9000..9200 {
                    drop(pool.submit(Job::Double(number)).expect("open"));
                }
                for outcome in pool.drain() {
                    let number: u64 = output(outcome.result).parse().expect("a number");
                    assert!((18_000..18_400).contains(&number), "{number}");
                    drained += 1;
                }
                assert_eq!(drained, 200);
            });
        });
        assert_eq!(close(&pool).completed, 1400);
    });
}

/// Other tasks occupy all places but one.
#[test]
fn a_map_proceeds_in_a_pool_that_other_tasks_fill() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("crowded");
        let pool = jobs(3).capacity(3).start().expect("a pool");
        let stuck = [(); 2].map(|()| pool.submit(meeting.job()).expect("open"));
        let mut guests = [meeting.guest(), meeting.guest()];
        let outputs = pool.map(doubles(0..50)).chunk(8).window(16);
        let outputs = outputs.map(|outcome| output(outcome.result));
        assert_eq!(outputs.collect::<Vec<_>>(), doubled(0..50));
        for guest in &mut guests {
            guest.tell("done");
        }
        for handle in stuck {
            assert_eq!(output(handle.wait()), "done");
        }
        close(&pool);
    });
}

/// Accepted tasks are completed, the outcomes of an unsent chunk are `Cancelled`, and the iterator is not used any
/// more.
#[test]
fn a_shutdown_ends_an_endless_map() {
    guarded(LIMIT, || {
        for (how, chunk) in [
            (Shutdown::Drain, 1),
            (Shutdown::Drain, 6),
            (Shutdown::Cancel, 1),
            (Shutdown::Cancel, 6),
        ] {
            let pool = jobs(2).start().expect("a pool");
            let (under_way, is_under_way) = mpsc::channel();
            let kinds = thread::scope(|scope| {
                let pool = &pool;
                let kinds = scope.spawn(move || {
                    let pulled = Cell::new(0);
                    let source = doubles(0..u64::MAX).inspect(|_| pulled.set(pulled.get() + 1));
                    let mut kinds = Vec::new();
                    for outcome in pool.map(source).chunk(chunk) {
                        kinds.push(kind(&outcome.result).to_owned());
                        if kinds.len() == 100 {
                            under_way.send(()).expect("the other thread waits");
                        }
                    }
                    assert_eq!(kinds.len(), pulled.get());
                    kinds
                });
                is_under_way.recv().expect("the map has begun");
                let report = pool.shutdown(how, LIMIT).expect("here");
                assert!(report.is_balanced(), "{report}");
                kinds.join().expect("join")
            });
            let cancelled = kinds.iter().filter(|kind| *kind == "cancelled").count();
            let tail = kinds.iter().rev().take_while(|kind| *kind == "cancelled");
            assert!(tail.count() >= chunk, "outcomes are missing at the end");
            if how == Shutdown::Drain {
                assert_eq!(cancelled, chunk);
            }
            for (number, kind) in kinds.iter().enumerate() {
                assert!(kind == "cancelled" || *kind == (2 * number).to_string());
            }
        }
    });
}
