//! Goal: an outcome carries the tag of its task, however the task ends, and in a pool that returns tasks the task itself if it has
//! no output (P20).
//!
//! Method: that of `callers`.

use ipc_tests::support::{
    LIMIT,
    pools::{close, jobs},
};
use ipc_tests::{
    emitting::Emitting,
    guarded,
    jobs::{Death, Job, Meeting, Poison},
    program,
    quirks::{Hook, Quirk, Tricky, Work},
    runtimes::block_on,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use workring::pool::{OutcomeOf, Shutdown, Tag, TaskHandle, TypedPool};

// Tags.

#[test]
fn the_outcome_carries_the_tag_however_the_task_ends() {
    guarded(LIMIT, || {
        let pool = jobs(2).retries(1).start().expect("a pool");
        let meeting = Meeting::new("tags");
        let group = pool.group();
        let jobs = [
            Job::Double(1),
            Job::Fail("wrong".into()),
            Job::Panic("bad".into()),
            Job::Die(Death::Abort),
            Job::DieUntil(2, Death::Abort),
            Job::Letters(5_000_000),
        ];
        for (n, job) in (0..).zip(&jobs) {
            let tagged = || pool.task(job.clone()).tag(n);
            let outcome = tagged().submit().expect("open").outcome();
            assert_eq!(outcome.tag(), Some(&Tag::Number(n)), "{outcome:?}");
            drop(tagged().try_submit().expect("room"));
            let outcome = pool.drain().next().expect("one");
            assert_eq!(outcome.tag().and_then(Tag::number), Some(n));
            let text = format!("of a group: {n}");
            drop(
                group
                    .task(job.clone())
                    .tag(text.clone())
                    .submit()
                    .expect("open"),
            );
            let outcome = group.drain().next().expect("one");
            assert_eq!(outcome.tag().and_then(Tag::text), Some(&*text));
            let awaited = block_on(async {
                tagged()
                    .submit_async()
                    .await
                    .expect("open")
                    .outcome_async()
                    .await
            });
            assert_eq!(awaited.tag(), Some(&Tag::Number(n)));
            tagged().submit_detached().expect("open");
        }
        assert_eq!(
            pool.submit(Job::Double(1)).expect("open").outcome().tag(),
            None
        );

        let running = pool.task(meeting.job()).tag("runs").submit().expect("open");
        meeting.guest().tell("await cancel");
        running.cancel();
        assert_eq!(running.outcome().tag(), Some(&Tag::from("runs")));
        close(&pool);
        let refused = pool.task(Job::Double(1)).tag(1).submit();
        assert!(refused.is_err_and(|error| error.is_closed()));
    });
}

#[test]
fn the_outcomes_of_a_map_carry_tags() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let tasks = || {
            (0..40).map(|n| {
                if n % 10 == 3 {
                    Job::Die(Death::Abort)
                } else {
                    Job::Double(n)
                }
            })
        };
        let text = |job: &Job| format!("{job:?}");
        for chunk in [1, 7] {
            let tagged = pool.map(tasks()).chunk(chunk).tag(text);
            let tags = tagged.map(|outcome| outcome.tag().cloned().expect("each has one"));
            assert!(tags.eq(tasks().map(|job| Tag::from(text(&job)))));
            for outcome in pool.map_unordered(tasks()).chunk(chunk).tag(text) {
                let tag = outcome.tag().and_then(Tag::text).expect("each has one");
                match &outcome.result {
                    Ok(output) => {
                        let number: u64 = output.parse().expect("a number");
                        assert_eq!(tag, text(&Job::Double(number / 2)));
                    }
                    Err(_) => assert!(tag.starts_with("Die"), "{tag}"),
                }
            }
        }
        close(&pool);
        let refused = pool.map(tasks()).tag(text).next().expect("one");
        assert_eq!(refused.tag(), Some(&Tag::from(text(&Job::Double(0)))));
    });
}

// Tasks that are returned.

/// One job for each way to have no output.
fn without_output() -> Vec<Job> {
    vec![
        Job::Fail("wrong".into()),
        Job::Panic("bad".into()),
        Job::Die(Death::Abort),
        Job::Poison(Poison),
        // Its result is too large.
        Job::Letters(5_000_000),
    ]
}

#[test]
fn an_outcome_without_output_carries_its_task_back() {
    guarded(LIMIT, || {
        let pool = jobs(2).return_tasks(true).start().expect("a pool");
        let group = pool.group();
        let mut total = 0;
        for job in without_output().into_iter().chain([Job::Double(1)]) {
            let expected = (!matches!(job, Job::Double(_))).then(|| job.clone());
            let submit = || pool.task(job.clone()).tag("tagged").submit().expect("open");
            let check = |mut outcome: OutcomeOf<Job>| {
                assert_eq!(outcome.result.is_err(), expected.is_some());
                assert!(
                    outcome.take_task::<Emitting>().is_none(),
                    "it is of another type"
                );
                assert_eq!(outcome.take_task::<Job>(), expected);
                assert_eq!(outcome.take_task::<Job>(), None);
            };
            let outcome = submit().outcome();
            assert_eq!(outcome.tag().and_then(Tag::text), Some("tagged"));
            check(outcome);
            drop(submit());
            check(pool.drain().next().expect("one"));
            let done = submit();
            pool.join();
            drop(done);
            check(pool.drain().next().expect("one"));
            drop(group.submit(job.clone()).expect("open"));
            check(group.drain().next().expect("one"));
            let awaited = async {
                pool.submit_async(job.clone())
                    .await
                    .expect("open")
                    .outcome_async()
                    .await
            };
            check(block_on(awaited));
            pool.submit_detached(job.clone()).expect("open");
            pool.submit(job.clone()).expect("open").detach();
            total += 7;
        }
        assert_eq!(close(&pool).submitted, total);
    });
}

/// Those that are queued, running or refused when the pool ends.
#[test]
fn tasks_come_back_from_a_pool_that_ends() {
    guarded(LIMIT, || {
        let pool = jobs(1)
            .grace(LIMIT)
            .return_tasks(true)
            .start()
            .expect("a pool");
        let meeting = Meeting::new("come-back");
        let running = pool.submit(meeting.job()).expect("open");
        meeting.guest().tell("await cancel");
        let queued = pool.submit(Job::Double(1)).expect("open");
        let in_map = [Job::Double(2), Job::Double(3)];
        let mut map = pool.map(in_map.clone()).window(1);
        let report = pool.shutdown(Shutdown::Cancel, Duration::ZERO);
        assert!(report.expect("this is its process").is_balanced());
        assert_eq!(running.outcome().take_task(), Some(meeting.job()));
        assert_eq!(queued.outcome().take_task(), Some(Job::Double(1)));
        let mut refused = map.next().expect("the first is refused");
        assert_eq!(refused.take_task::<Job>().as_ref(), in_map.first());
    });
}

#[test]
fn maps_return_tasks_singly_and_in_chunks() {
    guarded(LIMIT, || {
        let pool = jobs(2).return_tasks(true).start().expect("a pool");
        let tasks: Vec<_> = (0..8_u64)
            .flat_map(|n| {
                without_output()
                    .into_iter()
                    .chain([Job::Double(n)])
                    .cycle()
                    .skip(usize::try_from(n).expect("small"))
                    .take(3)
            })
            .collect();
        for chunk in [1, 7] {
            let check = |mut outcome: OutcomeOf<Job>| {
                let task = outcome.take_task::<Job>();
                assert_eq!(task.is_some(), outcome.result.is_err());
                task
            };
            let expected = || tasks.iter().filter(|job| !matches!(job, Job::Double(_)));
            let returned = pool.map(tasks.clone()).chunk(chunk).filter_map(check);
            assert!(returned.eq(expected().cloned()));
            let returned = pool
                .map_unordered(tasks.clone())
                .chunk(chunk)
                .filter_map(check);
            let mut returned: Vec<_> = returned.map(|job| format!("{job:?}")).collect();
            let mut expected: Vec<_> = expected().map(|job| format!("{job:?}")).collect();
            returned.sort_unstable();
            expected.sort_unstable();
            assert_eq!(returned, expected);
        }
        close(&pool);
    });
}

#[test]
fn a_panic_of_a_kept_tasks_drop_or_of_a_tag_reaches_the_caller_and_costs_nothing_else() {
    guarded(LIMIT, || {
        let pool = TypedPool::<Quirk>::builder()
            .program(program("pooled"))
            .workers(1)
            .return_tasks(true);
        let pool = pool.start().expect("a pool");
        let hook = Hook::new(|| panic!("a hook"));
        let work = || Some(Work::Give(Tricky::new(1)));
        let task = || Quirk::tricky(Tricky::new(work()).on_drop(hook.misbehaviour()));
        let panics = |act: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(act)).is_err();

        let mut handle = Some(pool.submit(task()).expect("open"));
        assert!(panics(&mut || drop(handle.take().map(TaskHandle::wait))));
        drop(pool.submit(task()).expect("open"));
        assert!(panics(&mut || drop(pool.drain().next())));
        let mut map = pool.map([task(), Quirk::give(2)]);
        assert!(panics(&mut || drop(map.next())));
        assert_eq!(
            map.map(|outcome| *outcome.result.expect("an output").get())
                .collect::<Vec<_>>(),
            [2]
        );

        let is_first = AtomicBool::new(true);
        let tag = |_: &Quirk| {
            assert!(!is_first.swap(false, Ordering::SeqCst), "a tag");
            7
        };
        let mut map = pool.map([1, 2, 3].map(Quirk::give)).window(1).tag(tag);
        assert!(panics(&mut || drop(map.next())));
        let tags: Vec<_> = map
            .map(|outcome| outcome.tag().and_then(Tag::number))
            .collect();
        assert_eq!(tags, [None, Some(7), Some(7)]);
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("its process");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.submitted, report.completed), (7, 7));
    });
}

/// The value is dropped where its outcome is claimed, or where it is given up, and never under a lock of the pool: its `Drop`
/// uses the pool.
#[test]
fn a_kept_task_whose_drop_uses_the_pool_is_dropped_without_a_lock() {
    guarded(LIMIT, || {
        let pool = TypedPool::<Quirk>::builder()
            .program(program("pooled"))
            .workers(1)
            .return_tasks(true);
        let pool = Arc::new(pool.start().expect("a pool"));
        let drops = Arc::new(AtomicU32::new(0));
        let hook = {
            let (pool, drops) = (Arc::downgrade(&pool), Arc::clone(&drops));
            Hook::new(move || {
                drops.fetch_add(1, Ordering::SeqCst);
                if let Some(pool) = pool.upgrade() {
                    assert!(pool.in_flight() < 100);
                }
            })
        };
        let work = || Some(Work::Give(Tricky::new(1)));
        let task = || Quirk::tricky(Tricky::new(work()).on_drop(hook.misbehaviour()));
        let group = pool.group();
        let mut expected = 0;
        let mut check = |what: &str| {
            expected += 1;
            pool.join();
            assert_eq!(drops.load(Ordering::SeqCst), expected, "{what}");
        };
        drop(pool.submit(task()).expect("open").wait());
        check("waited for");
        drop(pool.submit(task()).expect("open"));
        drop(pool.drain().next());
        check("drained");
        pool.submit(task()).expect("open").detach();
        check("detached");
        pool.submit_detached(task()).expect("open");
        check("submitted detached");
        drop(pool.submit(task()).expect("open").cancel_on_drop());
        check("cancelled on drop");
        drop(group.submit(task()).expect("open"));
        drop(group);
        check("its group was dropped");
        drop(pool.map_unordered([task()]).next());
        check("of a map");
        drop(pool.map([task()]));
        check("of a map that was not begun");
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("its process");
        assert!(report.is_balanced(), "{report}");
    });
}
