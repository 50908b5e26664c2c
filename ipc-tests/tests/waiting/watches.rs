//! Waits for a message or a descriptor: which of them ends the wait, what remains for the next one, which threads wake,
//! and what a wait costs.

use ipc_tests::support::{LIMIT, hand_over, in_time, prompt, sleepy};
use ipc_tests::{
    Pid,
    asleep::await_sleepers,
    child::Peer,
    cpu::resident,
    guarded, program,
    rounds::{Rng, rounds, seed},
    stops,
};
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Command,
    thread,
    time::Duration,
};
use workring::{
    Lease, Options, Receiver, RecvError, Sender, channel,
    error::RecvTimeoutError,
    queue::{Watch, Watched},
};

fn queue() -> (Sender<u32>, Receiver<u32>) {
    sleepy(8).channel().expect("a queue")
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a pair of sockets")
}

fn say(stream: &UnixStream) {
    let mut stream = stream;
    stream.write_all(b"!").expect("written");
}

/// Reads one byte. Returns false at the end of the stream.
fn answer(stream: &UnixStream) -> bool {
    let mut stream = stream;
    stream.read(&mut [0; 1]).expect("read") > 0
}

fn ready<M>(watched: &Result<Watched<M>, RecvError>) -> bool {
    matches!(watched, Ok(Watched::Ready))
}

fn message(watched: Result<Watched<u32>, RecvError>) -> u32 {
    match watched {
        Ok(Watched::Message(number)) => number,
        other => panic!("{other:?}"),
    }
}

/// Receives with the watch, calls `while_asleep` when that sleeps, and returns the result of the receive.
fn received_while(
    watch: &Watch<'_, u32>,
    while_asleep: impl FnOnce(),
) -> Result<Watched<u32>, RecvError> {
    thread::scope(|scope| {
        let waiting = scope.spawn(|| watch.recv());
        await_sleepers(Pid::this(), 1);
        while_asleep();
        waiting.join().expect("join")
    })
}

#[test]
fn a_message_a_descriptor_and_close_end_a_wait() {
    prompt(|| {
        let (tx, rx) = queue();
        let (link, its) = pair();
        let watch = rx.watch(&its).expect("a watch");
        let sent = received_while(&watch, || tx.send(1).expect("room"));
        assert_eq!(message(sent), 1);
        for _ in 0..3 {
            let received = received_while(&watch, || say(&link));
            assert!(ready(&received), "{received:?}");
            assert!(answer(&its));
        }
        let interrupter = rx.interrupter();
        let ended = received_while(&watch, || interrupter.interrupt());
        assert!(matches!(ended, Err(RecvError::Interrupted)));
        let closed = received_while(&watch, || {
            tx.close();
        });
        assert!(matches!(closed, Err(RecvError::Closed)), "{closed:?}");
    });
}

#[test]
fn a_descriptor_is_ready_while_it_can_be_read_from_and_messages_stay() {
    prompt(|| {
        let (tx, rx) = queue();
        let (link, its) = pair();
        say(&link);
        tx.send(1).expect("room");
        let watch = rx.watch(&its).expect("a watch");
        assert!(ready(&watch.recv()), "it was ready before the watch");
        assert!(ready(&watch.recv()), "it is still ready");
        assert_eq!(rx.len(), 1);
        assert!(answer(&its));
        assert_eq!(message(watch.recv()), 1);
        tx.send(2).expect("room");
        assert_eq!(message(watch.recv()), 2);
        // Neither an interrupt nor readiness is left over.
        let silent = watch.recv_timeout(Duration::from_millis(1));
        assert!(
            matches!(silent, Err(RecvTimeoutError::Timeout)),
            "{silent:?}"
        );
        // The descriptor is ready again. A receive without the watch ignores it.
        let received = received_while(&watch, || say(&link));
        assert!(ready(&received), "{received:?}");
        tx.send(3).expect("room");
        assert_eq!(rx.recv().expect("a message"), 3);
        let silent = rx.recv_timeout(Duration::from_millis(1));
        assert!(
            matches!(silent, Err(RecvTimeoutError::Timeout)),
            "{silent:?}"
        );
        tx.close();
        assert!(ready(&watch.recv()), "a closed queue");
        assert!(answer(&its));
        assert!(matches!(watch.recv(), Err(RecvError::Closed)));
    });
}

fn leased(watched: Result<Watched<Lease<'_, u32>>, RecvError>) -> Lease<'_, u32> {
    match watched {
        Ok(Watched::Message(lease)) => lease,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lease_can_be_waited_for_as_well() {
    prompt(|| {
        let (tx, rx) = sleepy(8).max_leases(1).channel().expect("a queue");
        let (link, its) = pair();
        let watch = rx.watch(&its).expect("a watch");
        tx.send(1).expect("room");
        let lease = leased(watch.lease());
        let refused = watch.lease().expect_err("the only lease is held");
        assert!(matches!(refused, RecvError::TooManyLeases { max: 1, .. }));
        lease.nack();
        let lease = leased(watch.lease());
        assert_eq!((lease.deliveries(), lease.ack()), (1, 1));
        let late = watch.lease_timeout(Duration::from_millis(1));
        assert!(matches!(late, Err(RecvTimeoutError::Timeout)));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| watch.lease());
            await_sleepers(Pid::this(), 1);
            say(&link);
            assert!(ready(&waiting.join().expect("join")));
        });
    });
}

/// W7.
#[test]
fn the_end_of_a_stream_is_ready_however_its_writer_ends() {
    prompt(|| {
        let (_tx, rx) = queue();
        let (link, its) = pair();
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(OwnedFd::from(link));
        let mut child = command.spawn().expect("a child");
        drop(command);
        let watch = rx.watch(&its).expect("a watch");
        let ended = received_while(&watch, || child.kill().expect("a signal"));
        assert!(ready(&ended), "{ended:?}");
        assert!(
            !answer(&its) && ready(&watch.recv()),
            "the end of a stream stays ready"
        );
        child.wait().expect("reaped");
    });
}

#[test]
fn all_watches_return_at_a_close() {
    prompt(|| {
        let (_tx, rx) = queue();
        let (link, its) = pair();
        let watch = rx.watch(&its).expect("a watch");
        thread::scope(|scope| {
            let waiting = [(); 3].map(|()| scope.spawn(|| watch.recv()));
            await_sleepers(Pid::this(), 3);
            say(&link);
            assert!(waiting.map(|waiting| ready(&waiting.join().expect("join"))) == [true; 3]);
        });
    });
}

/// The only wake-up of a message may reach a watcher that returns for its descriptor. It must pass the wake-up on.
#[test]
fn a_watcher_that_returns_for_its_descriptor_passes_a_wake_up_on() {
    let rounds = rounds(500, 20_000);
    guarded(LIMIT, || {
        let (tx, rx) = queue();
        let (link, its) = pair();
        let watch = rx.watch(&its).expect("a watch");
        let other = rx.clone();
        for round in 0..rounds {
            in_time(|| {
                thread::scope(|scope| {
                    // The thread that sleeps first is woken first.
                    let watching = scope.spawn(|| watch.recv());
                    await_sleepers(Pid::this(), 1);
                    let waiting = scope.spawn(|| other.recv());
                    await_sleepers(Pid::this(), 2);
                    let sending = scope.spawn(|| tx.send(round).expect("room"));
                    say(&link);
                    sending.join().expect("join");
                    match watching.join().expect("join") {
                        Ok(Watched::Ready) => {}
                        Ok(Watched::Message(number)) => {
                            assert_eq!(number, round);
                            tx.send(round).expect("room");
                        }
                        Err(error) => panic!("{error}"),
                    }
                    assert_eq!(waiting.join().expect("join").expect("a message"), round);
                });
                assert!(answer(&its));
            });
        }
    });
}

/// Two threads send messages and bytes at random times until both end. Nothing is lost, and no thread remains.
#[test]
fn nothing_is_lost_between_a_queue_and_a_descriptor() {
    const MESSAGES: u32 = 20;
    const BYTES: usize = 10;
    let rounds = rounds(1_000, 20_000);
    guarded(LIMIT + Duration::from_millis(2) * rounds, || {
        let mut rng = Rng::with_seed(seed());
        for round in 0..rounds {
            let options = if rng.bool() {
                sleepy(4)
            } else {
                Options::new(4)
            };
            let (tx, rx) = options.channel::<u32>().expect("a queue");
            let (link, its) = pair();
            its.set_nonblocking(true).expect("a socket");
            let pause = rng.u32(0..500);
            let (numbers, bytes) = thread::scope(|scope| {
                scope
                    .spawn(move || (0..MESSAGES).for_each(|number| tx.send(number).expect("room")));
                scope.spawn(move || {
                    for _ in 0..BYTES {
                        (0..pause).for_each(|_| std::hint::spin_loop());
                        say(&link);
                    }
                });
                receive_all(&rx, &its)
            });
            assert_eq!(numbers, (0..MESSAGES).collect::<Vec<_>>(), "{round}");
            assert_eq!(bytes, BYTES, "{round}");
        }
    });
}

/// Returns the messages until the queue is closed, and the number of bytes until the end of the stream.
fn receive_all(rx: &Receiver<u32>, stream: &UnixStream) -> (Vec<u32>, usize) {
    let (mut numbers, mut bytes) = (Vec::new(), 0);
    let watch = rx.watch(stream).expect("a watch");
    let mut closed = false;
    loop {
        match watch.recv() {
            Ok(Watched::Message(number)) => numbers.push(number),
            Ok(Watched::Ready) => {
                let mut stream = stream;
                match stream.read(&mut [0; 4]) {
                    Ok(0) => break,
                    Ok(read) => bytes += read,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            Err(RecvError::Closed) => {
                closed = true;
                thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
    drop(watch);
    if !closed {
        numbers.extend(rx.iter().map(|number| number.expect("a message")));
    }
    (numbers, bytes)
}

#[test]
fn a_watch_is_dropped_while_others_wait_for_messages() {
    prompt(|| {
        let (tx, rx) = queue();
        let (_link, its) = pair();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| rx.recv());
            await_sleepers(Pid::this(), 1);
            for _ in 0..100 {
                drop(rx.watch(&its).expect("a watch"));
            }
            await_sleepers(Pid::this(), 1);
            tx.send(1).expect("room");
            assert_eq!(waiting.join().expect("join").expect("a message"), 1);
        });
    });
}

#[test]
fn all_watches_of_a_process_have_one_thread_which_ends_with_the_last() {
    const WATCHES: usize = 100;
    prompt(|| {
        let threads = || fs::read_dir("/proc/self/task").expect("/proc").count();
        let before = threads();
        let (_tx, rx) = queue();
        let pairs: Vec<_> = (0..WATCHES).map(|_| pair()).collect();
        let watch = |(_, its): &(UnixStream, UnixStream)| rx.watch(its).expect("a watch");
        let mut watches: Vec<_> = pairs.iter().map(watch).collect();
        assert_eq!(threads(), before + 1);
        for ((link, its), watch) in pairs.iter().zip(&watches) {
            let received = received_while(watch, || say(link));
            assert!(ready(&received) && answer(its), "{received:?}");
        }
        assert_eq!(threads(), before + 1);
        let last = watches.pop();
        drop(watches);
        assert_eq!(threads(), before + 1);
        drop(last);
        assert_eq!(threads(), before);
    });
}

/// T2.
#[test]
fn a_thousand_watches_leave_memory_descriptors_and_threads_as_they_were() {
    /// Room for memory of the allocator.
    const SLACK: u64 = 4 << 20;
    guarded(LIMIT, || {
        let cycle = || {
            let (tx, rx) = channel::<u32>(4).expect("a queue");
            let (link, its) = pair();
            let watch = rx.watch(&its).expect("a watch");
            tx.send(1).expect("room");
            assert_eq!(message(watch.recv()), 1);
            say(&link);
            assert!(ready(&watch.recv()));
        };
        let count = |directory| fs::read_dir(directory).expect("/proc").count();
        let inventory = || (count("/proc/self/fd"), resident(Pid::this()).expect("self"));
        (0..50).for_each(|_| cycle());
        let before = inventory();
        (0..rounds(1_000, 10_000)).for_each(|_| cycle());
        let after = inventory();
        println!("{before:?}, then {after:?}");
        assert_eq!(before.0, after.0);
        assert!(after.1 <= before.1 + SLACK, "{before:?}, then {after:?}");
    });
}

/// W8.
#[test]
fn an_idle_process_that_watches_wakes_once_an_interval() {
    const INTERVAL: u64 = 100;
    let intervals = u64::from(rounds(30, 100));
    guarded(LIMIT, || {
        let mut switches = 0;
        let mut measure = || {
            let options = Options::new(4).liveness_interval(Duration::from_millis(INTERVAL));
            let (_tx, rx) = options.channel::<u32>().expect("a queue");
            let wait = INTERVAL * intervals;
            let mut idle = hand_over("idle-watcher", &[&wait], |handoff| {
                handoff.give("queue", &rx)
            });
            switches = idle.answer().parse::<u64>().expect("a number");
            assert!(idle.wait().success());
        };
        // A process that was stopped during the wait has slept for fewer intervals.
        while stops::time(&mut measure).is_none() {}
        println!("{intervals} intervals: {switches} context switches");
        assert!(
            switches <= intervals + intervals / 5 + 5,
            "{switches} switches"
        );
        assert!(switches >= intervals / 2, "{switches}: it was not idle");
    });
}

/// M6.
#[test]
fn a_forked_child_cannot_use_a_watch() {
    guarded(LIMIT, || {
        let mut peer =
            Peer::spawn(program("peer"), "watch-forker", &[], Command::spawn).expect("spawn");
        assert_eq!(peer.answer(), "the child is done");
        assert_eq!(peer.answer(), "the parent is done");
        assert!(peer.wait().success());
    });
}
