//! The guard for users' own tests names each kind of thing that a test leaves behind, and nothing else.

use crate::close;
use crate::tasks::square;
use ipc_tests::{guarded, support::LIMIT};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use workring::testing::{Leak, leak_guard};
use workring::{Options, Pool, queue::remove_named};

#[test]
fn each_thing_that_a_test_leaves_behind_is_named() {
    guarded(LIMIT, || {
        let guard = leak_guard();
        let (release, released) = channel::<()>();
        let (runs, running) = channel();
        let builder = thread::Builder::new().name("forgotten".to_owned());
        let thread = builder.spawn(move || {
            // It has its name by now.
            runs.send(()).expect("a receiver");
            released.recv()
        });
        let thread = thread.expect("a thread");
        running.recv().expect("a thread");
        let mut child = Command::new("sleep").arg("1000").spawn().expect("a child");
        let mut ended = Command::new("true").spawn().expect("a child");
        let id = Pid::from_raw(ended.id().try_into().expect("an id"));
        waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("an end");
        let file = File::open("/dev/null").expect("a file");
        let name = format!("leaks-{}", process::id());
        drop(
            Options::new(16)
                .create_named::<u32>(&name)
                .expect("a queue"),
        );

        let leaks = guard.leaks();
        let [
            Leak::Thread {
                name: of_thread, ..
            },
            children @ ..,
            Leak::Descriptor { target, .. },
            Leak::NamedQueue { name: of_queue, .. },
        ] = leaks.as_slice()
        else {
            panic!("{leaks:?}");
        };
        assert_eq!(of_thread, "forgotten");
        assert_eq!((target.as_str(), of_queue), ("/dev/null", &name));
        let is_listed = |pid: u32, named: &str, zombie: bool| {
            children.iter().any(|leak| {
                matches!(leak, Leak::Child { id, name, is_zombie, .. }
                    if (*id, name.as_str(), *is_zombie) == (pid, named, zombie))
            })
        };
        assert_eq!(children.len(), 2, "{leaks:?}");
        assert!(is_listed(child.id(), "sleep", false), "{leaks:?}");
        assert!(is_listed(ended.id(), "true", true), "{leaks:?}");
        let text = children
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        assert!(text.contains("(true), not waited for"), "{text}");

        drop((release, file));
        thread.join().expect("no panic").expect_err("released");
        child.kill().expect("killed");
        child.wait().expect("reaped");
        ended.wait().expect("reaped");
        remove_named(&name).expect("removed");
        guard.check();
    });
}

#[test]
fn a_pool_is_left_behind_until_it_is_shut_down() {
    guarded(LIMIT, || {
        let guard = leak_guard();
        let pool = Pool::start(2).expect("a pool");
        let sixteen = pool.submit(square::new(4)).expect("open").wait();
        assert_eq!(sixteen.expect("an output"), 16);
        let leaks = guard.leaks();
        let workers = leaks
            .iter()
            .filter(|it| matches!(it, Leak::Child { .. }))
            .count();
        assert_eq!(workers, 2, "{leaks:?}");
        let is_thread =
            |it: &Leak| matches!(it, Leak::Thread { name, .. } if name == "workring-pool");
        assert!(leaks.iter().any(is_thread), "{leaks:?}");
        close(&pool);
        drop(pool);
        guard.check();
    });
}

#[test]
fn a_guard_that_is_dropped_fails_the_test_unless_it_fails_already() {
    guarded(LIMIT, || {
        let mut left = None;
        let failed = catch_unwind(AssertUnwindSafe(|| {
            let _guard = leak_guard();
            left = Some(File::open("/dev/null").expect("a file"));
        }));
        let text = failed
            .expect_err("a leak")
            .downcast::<String>()
            .expect("text");
        assert!(text.contains("of /dev/null"), "{text}");
        let failed = catch_unwind(AssertUnwindSafe(|| {
            let _guard = leak_guard();
            left = Some(File::open("/dev/zero").expect("a file"));
            panic!("the test itself");
        }));
        let text = *failed
            .expect_err("a panic")
            .downcast::<&str>()
            .expect("text");
        assert_eq!(text, "the test itself");
    });
}

#[test]
fn guards_of_several_threads_take_turns_and_a_thread_that_waits_is_no_leak() {
    guarded(LIMIT, || {
        let has_turn = AtomicBool::new(false);
        thread::scope(|scope| {
            let guard = leak_guard();
            // A second guard of the same thread does not wait for the first.
            leak_guard().check();
            let other = scope.spawn(|| {
                let guard = leak_guard();
                has_turn.store(true, Ordering::Relaxed);
                guard.check();
            });
            // Until the other thread waits for its turn.
            while !guard.leaks().is_empty() {}
            assert!(!has_turn.load(Ordering::Relaxed));
            guard.check();
            other.join().expect("no panic");
        });
        assert!(has_turn.load(Ordering::Relaxed));
    });
}
