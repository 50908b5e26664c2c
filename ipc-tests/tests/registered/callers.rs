//! Groups, waits, tags and returned tasks in a pool whose tasks have several types.

use crate::close;
use crate::tasks::{ByHand, exit_at, shout, square, sum_of_four};
use ipc_tests::{guarded, support::LIMIT};
use std::time::{Duration, Instant};
use workring::pool::{Pool, RegisteredTask, Tag, TaskError, wait_all, wait_all_deadline, wait_any};

#[test]
fn a_group_has_tasks_of_several_types() {
    guarded(LIMIT, || {
        let pool = Pool::start(2).expect("a pool");
        let (one, other) = (pool.group(), pool.group());
        drop(one.submit(square::new(3)).expect("open"));
        drop(
            one.task(shout::new("a".into(), ('!', 1)))
                .tag("text")
                .submit()
                .expect("open"),
        );
        drop(other.try_submit(ByHand::Name).expect("room"));
        one.submit_detached(exit_at::new(1, 1)).expect("open");
        let mut names: Vec<_> = one
            .drain()
            .map(|outcome| (outcome.name(), outcome.tag().cloned()))
            .collect();
        names.sort();
        let mut expected = [(square::NAME, None), (shout::NAME, Some(Tag::from("text")))];
        expected.sort();
        assert_eq!(names, expected);
        one.join();
        let name = other.drain().next().expect("one");
        assert!(name.is::<ByHand>() && !name.is_ok());
        assert!(pool.drain().next().is_none());

        let kept = pool.scope(|scope| {
            drop(scope.submit(square::new(4)).expect("open"));
            scope.submit(exit_at::new(2, 2)).expect("open")
        });
        assert!(kept.is_finished());
        assert!(matches!(kept.wait(), Err(TaskError::Crashed { .. })));
        assert!(pool.drain().next().is_none());
        close(&pool);
    });
}

#[test]
fn handles_of_several_types_are_waited_for_at_once() {
    guarded(LIMIT, || {
        let pool = Pool::start(2).expect("a pool");
        let number = || pool.submit(square::new(12)).expect("open");
        let text = || pool.submit(shout::new("x".into(), ('!', 1))).expect("open");
        let died = || pool.submit(exit_at::new(1, 1)).expect("open");
        let handles = (number(), text(), died());
        assert!(wait_any(&handles).expect("one ends") < 3);
        assert!(wait_any(&(&handles.2, &handles.1)).expect("one ends") < 2);
        let (number_of, text_of, died_of) = wait_all(handles);
        assert_eq!((number_of, text_of), (Ok(144), Ok("X!".to_owned())));
        assert!(matches!(died_of, Err(TaskError::Crashed { .. })));
        let deadline = Instant::now() + LIMIT;
        let (text_of, number_of) =
            wait_all_deadline((text(), number()), deadline).expect("in time");
        assert_eq!((number_of, text_of), (Ok(144), Ok("X!".to_owned())));
        pool.join();
        assert!(pool.join_timeout(Duration::ZERO).is_ok());
        close(&pool);
        assert!(pool.outcomes().next().is_none());
    });
}

#[test]
fn an_outcome_of_any_type_carries_its_tag_and_its_task() {
    guarded(LIMIT, || {
        let pool = Pool::builder().workers(1).return_tasks(true).start();
        let pool = pool.expect("a pool");
        drop(
            pool.task(square::new(u64::MAX))
                .tag(7)
                .submit()
                .expect("open"),
        );
        drop(pool.task(exit_at::new(5, 5)).tag(8).submit().expect("open"));
        drop(pool.task(square::new(2)).tag(9).submit().expect("open"));
        let mut returned = Vec::new();
        for mut outcome in pool.drain() {
            let tag = outcome.tag().and_then(Tag::number);
            if let Some(task) = outcome.take_task::<exit_at>() {
                assert_eq!(pool.submit(task).expect("open").outcome().attempts, 1);
                returned.push(tag);
            } else if let Ok(mut outcome) = outcome.downcast::<square>() {
                assert_eq!(outcome.tag().and_then(Tag::number), tag);
                if outcome.take_task::<square>().is_some() {
                    returned.push(tag);
                }
            }
        }
        returned.sort_unstable();
        assert_eq!(returned, [Some(7), Some(8)]);
        close(&pool);
    });
}

#[test]
fn a_starmap_passes_tuples_to_the_functions_of_tasks() {
    guarded(LIMIT, || {
        let pool = Pool::start(2).expect("a pool");
        let arguments = (1..=9).map(|n| (n.to_string(), ('!', n)));
        let texts: Result<Vec<_>, _> = pool
            .starmap(shout::new, arguments)
            .map(|outcome| outcome.result)
            .collect();
        let texts = texts.expect("outputs");
        assert_eq!(
            (texts.len(), texts.last().map(String::as_str)),
            (9, Some("9!!!!!!!!!"))
        );
        let squares = pool
            .starmap_unordered(square::new, (0..100).map(|n| (n,)))
            .chunk(8);
        let squares = squares.map(|outcome| outcome.result.expect("an output"));
        assert_eq!(squares.sum::<u64>(), 328_350);
        let sums = pool.starmap(sum_of_four::new, [(1, 2, 3, 4)]);
        assert_eq!(
            sums.map(|outcome| outcome.result).collect::<Vec<_>>(),
            [Ok(10)]
        );
        close(&pool);
    });
}
