//! Where the system or a limit refuses something: a forked child, kernels without `futex_waitv` or `membarrier`, a limit of
//! leases.

use super::threads::await_reactors;
use ipc_tests::{
    Pid,
    asleep::await_sleepers,
    child::Peer,
    filter::refuse,
    guarded,
    ledger::{Ledger, Scratch},
    program,
    rounds::rounds,
    runtimes::{Flag, block_on, poll_once},
    support::{LIMIT, dismiss, hand_over, in_time, prompt, sleepy},
};
use nix::libc;
use std::{fmt::Display, process::Command, task::Poll, thread};
use workring::{RecvError, SendError, queue::Raw, test_hooks};

/// M6. In the child a pending future completes with `Forked`, and futures of a queue of its own work. The future of the
/// parent goes on.
#[test]
fn a_future_that_is_polled_in_a_forked_child_ends_and_the_parents_goes_on() {
    guarded(LIMIT, || {
        let mut peer =
            Peer::spawn(program("peer"), "future-forker", &[], Command::spawn).expect("spawn");
        assert_eq!(peer.answer(), "the child is done");
        assert_eq!(peer.answer(), "the parent is done");
        assert!(peer.wait().success());
    });
}

/// Where the kernel has no wait for several words, a thread sleeps for each: futures are woken all the same, and all threads
/// have ended with the last queue.
#[test]
fn futures_are_woken_where_the_kernel_cannot_wait_for_several_words() {
    const QUEUES: usize = 5;
    prompt(|| {
        test_hooks::refuse_futex_waitv();
        let queues: Vec<_> = (0..QUEUES)
            .map(|_| sleepy(1).channel::<u32>().expect("a queue"))
            .collect();
        let flags: Vec<_> = queues.iter().map(|_| Flag::new()).collect();
        let mut receives: Vec<_> = queues.iter().map(|(_, rx)| rx.recv_async()).collect();
        for (receive, flag) in receives.iter_mut().zip(&flags) {
            assert!(poll_once(receive, flag).is_pending());
        }
        await_sleepers(Pid::this(), QUEUES);
        await_reactors(1);
        for ((tx, _), (receive, flag)) in queues.iter().zip(receives.iter_mut().zip(&flags)).rev() {
            tx.send(7).expect("room");
            flag.await_raised();
            assert_eq!(poll_once(receive, flag), Poll::Ready(Ok(7)));
        }
        // Senders that wait for room, and receivers that wait for the end.
        for (number, (tx, rx)) in queues.iter().enumerate() {
            tx.send(1).expect("room");
            let flag = Flag::new();
            let mut send = tx.send_async(2);
            assert!(poll_once(&mut send, &flag).is_pending());
            assert_eq!(rx.recv(), Ok(1));
            flag.await_raised();
            assert_eq!(poll_once(&mut send, &flag), Poll::Ready(Ok(())));
            assert_eq!(rx.recv(), Ok(2));
            let mut receive = rx.recv_async();
            let flag = Flag::new();
            assert!(poll_once(&mut receive, &flag).is_pending());
            if number % 2 == 0 {
                assert!(tx.close());
            } else {
                assert_eq!(tx.cancel(), 0);
            }
            flag.await_raised();
            let ended = Poll::Ready(Err(RecvError::Closed));
            assert_eq!(poll_once(&mut receive, &flag), ended);
        }
        drop(receives);
        drop(queues);
        await_reactors(0);
    });
}

/// M1, PARK-2. An acknowledgement makes no fence before it looks for sleepers: the reactor makes it by `membarrier`. Where
/// that is refused to the reactor, or to all, a future that waits for a block is woken as well, and so is one that waits
/// for the end of a closed queue.
#[test]
fn futures_are_woken_where_membarrier_is_refused() {
    /// The number of blocks for messages of this length.
    const BLOCKS: usize = 16;
    let message = || vec![7; 60_000];
    let refuse = || refuse(libc::SYS_membarrier, libc::EPERM.unsigned_abs());
    guarded(LIMIT, || {
        for refused_to_all in [false, true] {
            let made = thread::spawn(move || {
                if refused_to_all {
                    refuse();
                }
                let options = sleepy(64).close_waits_for_leases(true);
                options.channel_with::<Vec<u8>, Raw>().expect("a queue")
            });
            let (tx, rx) = made.join().expect("no panic");
            for _ in 0..BLOCKS {
                tx.send(message()).expect("a block");
            }
            // The thread of the reactor is started by the first future that waits, and inherits the filter.
            thread::scope(|scope| {
                let filtered = scope.spawn(|| {
                    refuse();
                    for _ in 0..rounds(20, 1000) {
                        // A round in which this process was stopped says nothing.
                        let _ = in_time(|| {
                            let flag = Flag::new();
                            let mut send = tx.send_async(message());
                            assert!(poll_once(&mut send, &flag).is_pending());
                            assert_eq!(rx.recv().expect("a message"), message());
                            flag.await_raised();
                            block_on(send).expect("a block");
                        });
                    }
                });
                filtered.join().expect("no panic");
            });
            let _ = in_time(|| {
                while rx.try_recv().is_ok() {}
                tx.send(message()).expect("a block");
                let lease = rx.lease().expect("a message");
                tx.close();
                let flag = Flag::new();
                let mut receive = rx.recv_async();
                assert!(poll_once(&mut receive, &flag).is_pending());
                lease.ack();
                flag.await_raised();
                assert_eq!(block_on(receive), Err(RecvError::Closed));
            });
            assert!(matches!(
                block_on(tx.send_async(message())),
                Err(SendError::Closed(_))
            ));
            drop((tx, rx));
            await_reactors(0);
        }
    });
}

/// A lease that is refused although its future was woken for a message passes the wake on: to the next future.
#[test]
fn a_lease_that_the_limit_refuses_wakes_the_next_future() {
    prompt(|| {
        let (tx, rx) = sleepy(4).max_leases(1).channel::<u32>().expect("a queue");
        let flags = [Flag::new(), Flag::new(), Flag::new()];
        let [mut first, mut second] = [rx.lease_async(), rx.lease_async()];
        let mut third = rx.recv_async();
        assert!(poll_once(&mut first, &flags[0]).is_pending());
        assert!(poll_once(&mut second, &flags[1]).is_pending());
        assert!(poll_once(&mut third, &flags[2]).is_pending());
        tx.send(1).expect("room");
        flags[0].await_raised();
        let Poll::Ready(Ok(lease)) = poll_once(&mut first, &flags[0]) else {
            panic!("the message is there");
        };
        tx.send(2).expect("room");
        flags[1].await_raised();
        assert!(!flags[2].is_set(), "one message wakes one future");
        assert!(matches!(
            poll_once(&mut second, &flags[1]),
            Poll::Ready(Err(RecvError::TooManyLeases { max: 1, .. }))
        ));
        flags[2].await_raised();
        assert_eq!(poll_once(&mut third, &flags[2]), Poll::Ready(Ok(2)));
        assert_eq!(lease.ack(), 1);
    });
}

/// The same, to a blocking receiver of another process.
#[test]
fn a_lease_that_the_limit_refuses_wakes_another_process() {
    prompt(|| {
        let (tx, rx) = sleepy(4).max_leases(1).channel::<u64>().expect("a queue");
        let flags = [Flag::new(), Flag::new()];
        let [mut first, mut second] = [rx.lease_async(), rx.lease_async()];
        assert!(poll_once(&mut first, &flags[0]).is_pending());
        assert!(poll_once(&mut second, &flags[1]).is_pending());
        tx.send(1).expect("room");
        flags[0].await_raised();
        let Poll::Ready(Ok(lease)) = poll_once(&mut first, &flags[0]) else {
            panic!("the message is there");
        };
        // The kernel wakes the one that has slept longest.
        await_sleepers(Pid::this(), 1);
        let scratch = Scratch::new().expect("scratch");
        let arguments: [&dyn Display; 4] = [&scratch, &"blocking", &0, &0];
        let mut other = hand_over("short-waits", &arguments, |handoff| {
            handoff.give("queue", &rx)
        });
        assert_eq!(other.answer(), "enough");
        await_sleepers(other.pid(), 1);
        tx.send(2).expect("room");
        flags[1].await_raised();
        assert!(matches!(
            poll_once(&mut second, &flags[1]),
            Poll::Ready(Err(RecvError::TooManyLeases { max: 1, .. }))
        ));
        while !tx.is_empty() {
            thread::yield_now();
        }
        lease.ack();
        tx.close();
        dismiss(other);
        let entries = Ledger::read(scratch.path(), "blocking").expect("a ledger");
        assert_eq!(entries.first().map(|entry| entry.number), Some(2));
    });
}
