//! Maps of a pool: the tasks of an iterator and their outcomes, a window of them at a time, singly and in chunks.

use ipc_tests::support::{
    LIMIT,
    pools::{close, jobs},
};
use ipc_tests::{
    Pid, cpu, guarded,
    jobs::{Death, Job, Meeting},
    rounds::rounds,
};
use std::{cell::Cell, collections::BTreeSet, sync::mpsc, thread};
use workring::pool::{Pool, ResultOf, Shutdown, TaskError};

/// Chunk sizes that do and don't divide the numbers of tasks here.
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

/// What became of a task, in a word.
fn word(result: &ResultOf<Job>) -> &str {
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

fn words(pool: &Pool<Job>, tasks: Vec<Job>, chunk: usize) -> Vec<String> {
    let outcomes = pool.map(tasks).chunk(chunk);
    outcomes
        .map(|outcome| word(&outcome.result).to_owned())
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
fn an_unordered_map_does_not_wait_for_the_slow() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("slow");
        let pool = jobs(2).start().expect("a pool");
        let tasks = || std::iter::once(meeting.job()).chain(doubles(0..20));
        let mut unordered = pool.map_unordered(tasks());
        let mut quick = unordered.by_ref().take(20);
        assert!(quick.all(|outcome| word(&outcome.result) != "done"));
        meeting.guest().tell("done");
        let slow = unordered.next().expect("the last");
        assert_eq!(output(slow.result), "done");
        assert!(unordered.next().is_none());
        close(&pool);
    });
}

/// All others are done before the first is, and come after it all the same.
#[test]
fn a_map_waits_for_the_slow() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("ordered");
        let (all_sent, are_all_sent) = mpsc::channel();
        let pool = jobs(2).start().expect("a pool");
        thread::scope(|scope| {
            let outputs = scope.spawn(|| {
                let tasks = std::iter::once(meeting.job()).chain(doubles(0..20));
                // Asked for only when all others were sent.
                let the_end = std::iter::from_fn(|| {
                    all_sent.send(()).expect("somebody waits");
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
            let fullest = Cell::new(0);
            let source = doubles(0..200).inspect(|_| {
                pulled.set(pulled.get() + 1);
                fullest.set(fullest.get().max(pulled.get() - given.get()));
            });
            let map = pool.map(source).chunk(chunk).window(window);
            assert_eq!(pulled.get(), 0, "before anybody asks");
            for outcome in map {
                output(outcome.result);
                given.set(given.get() + 1);
            }
            assert_eq!((pulled.get(), given.get()), (200, 200));
            // An outcome that is being given still counts for the map, not for this test.
            assert!(fullest.get() <= most, "{} of {most}", fullest.get());
            assert!(fullest.get() + chunk > most, "{} of {most}", fullest.get());
        }
        close(&pool);
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

/// The first tasks of the chunk have their results, the third is the one that dies, and the last ones were not begun: each
/// task says at the meeting that it runs, and no other comes there.
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
                        word(&outcome.result).to_owned(),
                    )
                });
                all.collect::<Vec<_>>()
            });
            let mut workers = Vec::new();
            for task in 0..5 {
                let mut guest = meeting.guest();
                assert_eq!(guest.task, task, "another one runs");
                guest.tell(if task == 2 { "abort" } else { "done" });
                workers.push(guest.pid);
            }
            assert_eq!(workers.first(), workers.get(2));
            assert_ne!(workers.get(2), workers.get(3));
            let outcomes = outcomes.join().expect("join");
            let expected = ["done", "done", "crashed", "done", "done"];
            let expected = (0..).zip(expected);
            let expected = expected.map(|(task, word)| (task, 1, word.to_owned()));
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
fn each_failure_inside_a_chunk_is_that_of_its_own_task() {
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
            assert_eq!(words(&pool, tasks(), chunk), expected, "{chunk}");
        }
        let report = close(&pool);
        assert_eq!((report.completed, report.failed), (6, 9));
    });
}

/// A chunk that is too large for one message is sent task by task; a single task that is too large has an error as its outcome.
#[test]
fn a_chunk_or_a_task_that_is_too_large_has_its_outcomes() {
    guarded(LIMIT, || {
        let pool = jobs(2).max_message_len(2000).start().expect("a pool");
        let tasks = [900, 900, 5000, 900, 10];
        let tasks = tasks.map(|length| Job::Weigh(vec![7; length])).to_vec();
        let expected = ["900", "900", "not carried", "900", "10"];
        assert_eq!(words(&pool, tasks, 5), expected);
        let report = close(&pool);
        assert_eq!((report.completed, report.failed), (4, 1));
    });
}

#[test]
fn a_map_of_nothing_ends_at_once() {
    guarded(LIMIT, || {
        let pool = jobs(1).start().expect("a pool");
        let mut map = pool.map(Vec::new());
        assert!(map.next().is_none() && map.next().is_none());
        assert!(pool.map_unordered(None).chunk(8).next().is_none());
        drop(map);
        assert_eq!(close(&pool).submitted, 0);
    });
}

/// The running task is cancelled, waiting ones never begin, and their outcomes are discarded.
#[test]
fn a_map_that_is_dropped_cancels_what_is_left_of_it() {
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
            assert_eq!(pool.drain().count(), 0, "nobody gets what came later");
        }
    });
}

/// Four maps and a thread that drains: each gets its own outcomes.
#[test]
fn maps_of_several_threads_do_not_mix() {
    guarded(LIMIT, || {
        // Fewer than they want, together.
        let pool = jobs(2).capacity(40).start().expect("a pool");
        thread::scope(|scope| {
            for thread in 0..4 {
                let pool = &pool;
                scope.spawn(move || {
                    let numbers = 1000 * thread..1000 * thread + 300;
                    let map = pool.map(doubles(numbers.clone()));
                    let outcomes = map.chunk(1 + usize::try_from(thread).expect("few") * 5);
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

/// Others have taken all the room but for one place.
#[test]
fn a_map_goes_on_in_a_pool_that_others_fill() {
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

/// What was accepted is done; the chunk in hand is cancelled, and says so; nothing more is taken.
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
            let words = thread::scope(|scope| {
                let pool = &pool;
                let words = scope.spawn(move || {
                    let pulled = Cell::new(0);
                    let source = doubles(0..u64::MAX).inspect(|_| pulled.set(pulled.get() + 1));
                    let mut words = Vec::new();
                    for outcome in pool.map(source).chunk(chunk) {
                        words.push(word(&outcome.result).to_owned());
                        if words.len() == 100 {
                            under_way.send(()).expect("somebody waits");
                        }
                    }
                    assert_eq!(words.len(), pulled.get());
                    words
                });
                is_under_way.recv().expect("it is under way");
                let report = pool.shutdown(how, LIMIT).expect("here");
                assert!(report.is_balanced(), "{report}");
                words.join().expect("join")
            });
            let cancelled = words.iter().filter(|word| *word == "cancelled").count();
            let tail = words.iter().rev().take_while(|word| *word == "cancelled");
            assert!(tail.count() >= chunk, "it ended without a word");
            if how == Shutdown::Drain {
                assert_eq!(cancelled, chunk);
            }
            for (number, word) in words.iter().enumerate() {
                assert!(word == "cancelled" || *word == (2 * number).to_string());
            }
        }
    });
}
