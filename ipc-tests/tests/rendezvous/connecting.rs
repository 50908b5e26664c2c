//! Connecting: to a listener that is busy, late, gone, or killed in between.

use crate::{Folder, ask, await_client, meeting, name, soon};
use ipc_tests::{child::Peer, guarded, program, rounds::rounds, support::LIMIT};
use std::{
    os::unix::net::UnixStream,
    process::{self, Command},
    thread,
    time::{Duration, Instant},
};
use workring::{
    Receiver,
    error::{AcceptError, ConnectError, TakeError},
    rendezvous::{ConnectOptions, ListenOptions, Listener, connect},
};

/// How long the connects wait that must fail.
const SHORT: Duration = Duration::from_millis(20);

fn in_short() -> Instant {
    Instant::now() + SHORT
}

#[test]
fn a_process_that_connects_before_accept_begins_is_accepted() {
    guarded(LIMIT, || {
        let name = name("before");
        let listener = Listener::bind(&name).expect("bind");
        let mut client = meeting();
        assert_eq!(
            ask(&mut client, &format!("connect {name} 100000")),
            "connecting"
        );
        await_client(&listener);
        let connection = listener.accept().expect("accept");
        assert_eq!(
            connection.peer().pid(),
            Some(client.pid().as_raw().unsigned_abs())
        );
        assert!(
            client
                .answer()
                .starts_with(&format!("connected {} ", process::id()))
        );
        drop(connection);
        assert_eq!(ask(&mut client, "take-in jobs"), "Closed");
    });
}

#[test]
fn a_process_that_connects_after_accept_has_begun_is_accepted() {
    guarded(LIMIT, || {
        let name = name("after");
        let listener = Listener::bind(&name).expect("bind");
        thread::scope(|scope| {
            let accepting = scope.spawn(|| listener.accept());
            while !sleeps_in_epoll() {
                thread::yield_now();
            }
            let connection = connect(&name, soon()).expect("connect");
            let accepted = accepting.join().expect("no panic").expect("accept");
            for peer in [connection.peer(), accepted.peer()] {
                assert_eq!(peer.pid(), Some(process::id()));
            }
        });
    });
}

/// Returns whether a thread of this process waits for descriptors.
fn sleeps_in_epoll() -> bool {
    let threads = std::fs::read_dir("/proc/self/task")
        .expect("/proc")
        .flatten();
    let mut channels =
        threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("syscall")).ok());
    let waits = [
        nix::libc::SYS_epoll_wait,
        nix::libc::SYS_epoll_pwait,
        nix::libc::SYS_epoll_pwait2,
    ];
    channels.any(|line| {
        let call = line.split(' ').next().and_then(|call| call.parse().ok());
        call.is_some_and(|call: i64| waits.contains(&call))
    })
}

/// A listener that starts late is found; so is one that takes the place of another.
#[test]
fn a_process_may_connect_before_there_is_a_listener() {
    guarded(LIMIT, || {
        let name = name("late");
        let error = connect(&name, in_short()).expect_err("no listener");
        assert!(error.is_timeout(), "{error:?}");
        thread::scope(|scope| {
            let connecting = scope.spawn(|| connect(&name, soon()));
            let listener = Listener::bind(&name).expect("bind");
            let accepted = listener.accept().expect("accept");
            assert!(connecting.join().expect("no panic").is_ok());
            drop(accepted);
        });
    });
}

#[test]
fn a_process_that_waits_to_be_accepted_gets_closed_when_the_listener_is_dropped() {
    guarded(LIMIT, || {
        for _ in 0..rounds(20, 1000) {
            let name = name("dropped");
            let listener = Listener::bind(&name).expect("bind");
            thread::scope(|scope| {
                let connecting = scope.spawn(|| connect(&name, soon()));
                await_client(&listener);
                drop(listener);
                let error = connecting.join().expect("no panic").expect_err("closed");
                assert!(error.is_closed(), "{error:?}");
            });
        }
    });
}

/// `interprocess` reports this one as connected.
#[test]
fn a_backlog_that_stays_full_is_a_timeout_and_never_a_connection() {
    guarded(LIMIT, || {
        let folder = Folder::new("full");
        let options = ListenOptions::new("full").directory(&folder.0).backlog(0);
        let listener = options.bind().expect("bind");
        let guest = UnixStream::connect(folder.0.join("full.sock")).expect("room for one");
        let connecting = ConnectOptions::new("full").directory(&folder.0);
        for _ in 0..rounds(20, 1000) {
            let start = Instant::now();
            let error = connecting.connect(in_short()).expect_err("no room");
            let last = "the listener's backlog was full";
            assert!(
                matches!(error, ConnectError::Timeout { last: found, .. } if found == last),
                "{error:?}"
            );
            assert!(start.elapsed() >= SHORT, "it gave up before its deadline");
        }
        drop(guest);
        let error = listener
            .try_accept()
            .expect_err("only the guest that is gone");
        assert_eq!(error, AcceptError::Empty);
    });
}

#[test]
fn a_full_backlog_that_is_freed_is_a_connection() {
    guarded(LIMIT, || {
        let folder = Folder::new("freed");
        let options = ListenOptions::new("freed").directory(&folder.0).backlog(0);
        let listener = options.bind().expect("bind");
        let connecting = ConnectOptions::new("freed").directory(&folder.0);
        for round in 0..rounds(20, 1000) {
            let guest = UnixStream::connect(folder.0.join("freed.sock")).expect("room for one");
            let error = connecting.connect(Instant::now()).expect_err("no room");
            assert!(error.is_timeout(), "{error:?}");
            thread::scope(|scope| {
                let client = scope.spawn(|| connecting.connect(soon()));
                // In every second round the guest stays, and never says hello.
                let guest = Some(guest).filter(|_| round % 2 == 0);
                let accepted = listener.accept().expect("accept");
                let mut client = client.join().expect("no panic").expect("a connection");
                // The proof of a link is what goes through it.
                let (tx, rx) = workring::channel::<u32>(4).expect("a queue");
                accepted.give("jobs", &rx).expect("give");
                let jobs: Receiver<u32> = client.take("jobs").expect("take");
                tx.send(round).expect("room");
                assert_eq!(jobs.recv(), Ok(round));
                drop(guest);
            });
            while listener.try_accept().is_ok() {}
        }
    });
}

/// The kernel reports success, since the connection is in the backlog.
#[test]
fn a_listener_that_does_not_accept_is_a_timeout_and_never_a_connection() {
    guarded(LIMIT, || {
        let name = name("idle");
        let listener = Listener::bind(&name).expect("bind");
        for _ in 0..rounds(5, 100) {
            let error = connect(&name, in_short()).expect_err("not accepted");
            let last = "the listener did not accept";
            assert!(
                matches!(error, ConnectError::Timeout { last: found, .. } if found == last),
                "{error:?}"
            );
        }
        // Those clients are gone, and none of them is reported.
        assert_eq!(
            listener.try_accept().expect_err("nobody"),
            AcceptError::Empty
        );
    });
}

/// The process that listens is killed after it has accepted, before it has said hello.
#[test]
fn a_listener_killed_between_accept_and_hello_is_a_timeout_or_the_next_listener() {
    guarded(LIMIT, || {
        let folder = Folder::new("killed");
        let socket = folder.0.join("killed.sock").display().to_string();
        let connecting = ConnectOptions::new("killed").directory(&folder.0);
        for round in 0..rounds(20, 1000) {
            let spawned = Peer::spawn(program("peer"), "mute-listener", &[&socket], Command::spawn);
            let mut mute = spawned.expect("spawn");
            assert_eq!(mute.answer(), "listening");
            let is_replaced = round % 2 == 0;
            let deadline = if is_replaced { soon() } else { in_short() };
            thread::scope(|scope| {
                let client = scope.spawn(|| connecting.connect(deadline));
                assert_eq!(mute.answer(), "accepted");
                drop(mute);
                if is_replaced {
                    let options = ListenOptions::new("killed").directory(&folder.0);
                    let listener = options.bind().expect("bind");
                    let accepted = listener.accept().expect("accept");
                    assert!(client.join().expect("no panic").is_ok());
                    drop(accepted);
                } else {
                    let error = client.join().expect("no panic").expect_err("killed");
                    assert!(error.is_timeout(), "{error:?}");
                }
            });
        }
    });
}

#[test]
fn waits_end_at_their_time_limit_or_by_an_interrupt() {
    guarded(LIMIT, || {
        let name = name("waits");
        let listener = Listener::bind(&name).expect("bind");
        let timeout = listener.accept_timeout(SHORT).expect_err("nobody");
        assert_eq!(timeout, AcceptError::Timeout);
        let interrupter = listener.interrupter();
        thread::scope(|scope| {
            let accepting = scope.spawn(|| listener.accept());
            interrupter.interrupt();
            let error = accepting
                .join()
                .expect("no panic")
                .expect_err("interrupted");
            assert_eq!(error, AcceptError::Interrupted);
        });
        thread::scope(|scope| {
            let connecting = scope.spawn(|| connect(&name, soon()));
            let _accepted = listener.accept().expect("the interrupt is used up");
            let mut connection = connecting.join().expect("no panic").expect("connect");
            let timeout = connection.take_timeout::<Receiver<u32>>("jobs", SHORT);
            assert_eq!(timeout.expect_err("nothing"), TakeError::Timeout);
            let interrupter = connection.interrupter();
            let taking = scope.spawn(move || connection.take::<Receiver<u32>>("jobs"));
            interrupter.interrupt();
            let error = taking.join().expect("no panic").expect_err("interrupted");
            assert_eq!(error, TakeError::Interrupted);
        });
    });
}

/// A guest that never says hello keeps no other process from being accepted, and its accepting thread neither.
#[test]
fn a_process_that_says_nothing_keeps_no_other_from_being_accepted() {
    guarded(LIMIT, || {
        let folder = Folder::new("silent");
        let options = ListenOptions::new("silent").directory(&folder.0);
        let listener = options.bind().expect("bind");
        let silent = || UnixStream::connect(folder.0.join("silent.sock")).expect("connect");
        let first: Vec<_> = (0..10).map(|_| silent()).collect();
        assert_eq!(
            listener.try_accept().expect_err("nobody"),
            AcceptError::Empty
        );
        thread::scope(|scope| {
            let accepting: Vec<_> = (0..3).map(|_| scope.spawn(|| listener.accept())).collect();
            let connecting = ConnectOptions::new("silent").directory(&folder.0);
            // More than are kept: the first are dropped, and those threads still accept.
            let more: Vec<_> = (0..100).map(|_| silent()).collect();
            let connections: Vec<_> = (0..3)
                .map(|_| connecting.connect(soon()).expect("accepted"))
                .collect();
            for accepting in accepting {
                assert!(accepting.join().expect("no panic").is_ok());
            }
            drop((connections, more));
        });
        drop(first);
    });
}
