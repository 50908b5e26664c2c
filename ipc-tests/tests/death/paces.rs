//! Goal: a process that uses a queue without ever waiting notices a dead peer by itself, at any pace: at a steady pace
//! within one liveness interval and one operation, after a change of pace within 64 operations.
//!
//! Method: the tests count operations and measure no time. Two operations are at least a pause apart, so at most
//! `interval / pause` of them fit into a liveness interval, however slow the machine is. The victim holds a message
//! that may be delivered once. It becomes a dead letter when the death is noticed, and counting dead letters does not
//! look for dead peers.

use ipc_tests::support::{LIMIT, hand_over};
use ipc_tests::{Signal, child::Peer, guarded};
use std::{thread, time::Duration};
use workring::{
    Options, Receiver, RecvError, SendError, Sender,
    error::{TryRecvError, TrySendError},
    queue::{Raw, Watched},
};

/// The bound after a change of pace.
const MAX_OPERATIONS: u32 = 64;
const LIVENESS_INTERVAL: Duration = Duration::from_millis(100);
const CAPACITY: usize = 4096;

type Bytes = Vec<u8>;

/// Both ends of a queue with a backlog, after a victim has leased a message.
struct Ends {
    tx: Sender<Bytes, Raw>,
    rx: Receiver<Bytes, Raw>,
}

/// The message that the victim holds.
const HELD: [u8; 8] = [0; 8];

impl Ends {
    fn new(options: &Options, backlog: usize) -> (Self, Peer) {
        let (tx, rx) = options.channel_with::<Bytes, Raw>().expect("a queue");
        let mut victim = hand_over("bytes-lessee", &[], |handoff| handoff.give("tasks", &rx));
        tx.send(HELD.into()).expect("room");
        assert_eq!(victim.answer(), "leased");
        // By a handle of its own, so that the handles of the test have no pace yet.
        let hasty = tx.clone();
        for _ in 0..backlog {
            hasty.send(vec![1; 8]).expect("room");
        }
        (Self { tx, rx }, victim)
    }

    fn is_noticed(&self) -> bool {
        self.rx.dead_letters().any(|letter| letter.bytes() == HELD)
    }
}

/// Kills the victim without reporting its exit.
fn kill(mut victim: Peer) {
    victim.signal(Signal::SIGKILL);
    victim.wait();
}

/// Returns how many operations it takes until the death is noticed, each after a pause. Gives up after too many.
fn operations(ends: &Ends, pause: Duration, mut operation: impl FnMut()) -> u32 {
    let mut count = 0;
    // No operation has fewer messages than this.
    while count < 190 && !ends.is_noticed() {
        thread::sleep(pause);
        operation();
        count += 1;
    }
    count
}

fn options(interval: Duration) -> Options {
    Options::new(CAPACITY)
        .max_deliveries(1)
        .max_dead_letters(CAPACITY)
        .liveness_interval(interval)
}

/// Returns how many operations fit into a liveness interval, plus the one that notices, plus one for the clock's
/// resolution.
fn allowed(interval: Duration, pause: Duration) -> u32 {
    let fit = interval.as_nanos().div_ceil(pause.as_nanos());
    u32::try_from(fit).expect("a small number") + 2
}

type Make = fn(&Ends) -> Box<dyn FnMut() + '_>;

/// Everything that a program can do repeatedly with a queue without waiting.
const OPERATIONS: &[(&str, usize, Make)] = &[
    ("recv", 600, |ends| {
        Box::new(|| drop(ends.rx.recv().expect("a message")))
    }),
    ("iter", 600, |ends| {
        let mut messages = ends.rx.iter();
        Box::new(move || drop(messages.next().expect("open")))
    }),
    ("try_recv of an empty queue", 0, |ends| {
        Box::new(|| assert!(matches!(ends.rx.try_recv(), Err(TryRecvError::Empty))))
    }),
    ("recv from a batch", 0, |ends| {
        ends.tx
            .send_many((0..600).map(|_| vec![2; 8]))
            .expect("room");
        Box::new(|| drop(ends.rx.recv().expect("a message")))
    }),
    ("lease and ack", 600, |ends| {
        Box::new(|| ends.rx.lease_bytes().expect("a message").ack())
    }),
    ("lease and keep it", 600, |ends| {
        let mut kept = Vec::new();
        Box::new(move || kept.push(ends.rx.lease_bytes().expect("a message")))
    }),
    ("ack of an earlier lease", 600, |ends| {
        let mut leases: Vec<_> = (0..600)
            .map(|_| ends.rx.lease_bytes().expect("a message"))
            .collect();
        Box::new(move || leases.pop().expect("enough").ack())
    }),
    ("nack of an earlier lease", 600, |ends| {
        let mut leases: Vec<_> = (0..600)
            .map(|_| ends.rx.lease().expect("a message"))
            .collect();
        Box::new(move || leases.pop().expect("enough").nack())
    }),
    ("recv_many", 600, |ends| {
        let mut messages = Vec::new();
        Box::new(move || {
            ends.rx.recv_many(&mut messages, 1).expect("a message");
        })
    }),
    ("watch", 600, |ends| {
        let (file, other) = std::io::pipe().expect("a pipe");
        let watch = ends.rx.watch(&file).expect("a watch");
        Box::new(move || {
            let _open = &other;
            assert!(matches!(watch.recv(), Ok(Watched::Message(_))));
        })
    }),
    ("send", 0, |ends| {
        Box::new(|| ends.tx.send(vec![3; 8]).expect("room"))
    }),
    ("try_send to a full queue", CAPACITY, |ends| {
        Box::new(|| {
            assert!(matches!(
                ends.tx.try_send(vec![3; 8]),
                Err(TrySendError::Full(_))
            ));
        })
    }),
    ("send_many", 0, |ends| {
        Box::new(|| {
            assert_eq!(
                ends.tx.send_many([vec![4; 8], vec![5; 8]]).expect("room"),
                2
            );
        })
    }),
    ("reserve and commit", 0, |ends| {
        Box::new(|| {
            ends.tx.reserve(8).expect("room").commit().expect("open");
        })
    }),
    ("try_commit to a full queue", CAPACITY, |ends| {
        let mut room = ends.tx.reserve(8).expect("a block");
        Box::new(move || assert!(matches!(room.try_commit(), Err(TrySendError::Full(())))))
    }),
    ("is_closed", 0, |ends| {
        Box::new(|| assert!(!ends.tx.is_closed()))
    }),
    ("len", 0, |ends| Box::new(|| assert_eq!(ends.rx.len(), 0))),
    ("is_empty", 0, |ends| {
        Box::new(|| assert!(ends.rx.is_empty()))
    }),
    ("is_full", 0, |ends| {
        Box::new(|| assert!(!ends.tx.is_full()))
    }),
    ("stats", 0, |ends| {
        Box::new(|| assert_eq!(ends.tx.stats().queued, 0))
    }),
];

/// Runs every operation, each on a thread of its own: first `before` times with pauses of `pause_before`; then, after
/// the victim was killed, with pauses of `pause` until the death is noticed.
fn each(interval: Duration, before: u32, pause_before: Duration, pause: Duration, most: u32) {
    guarded(LIMIT, || {
        thread::scope(|scope| {
            for &(name, backlog, make) in OPERATIONS {
                scope.spawn(move || {
                    let (ends, victim) = Ends::new(&options(interval), backlog);
                    let mut operation = make(&ends);
                    for _ in 0..before {
                        thread::sleep(pause_before);
                        operation();
                    }
                    kill(victim);
                    let count = operations(&ends, pause, operation);
                    println!("{name}, {pause:?} each: noticed after {count} operations");
                    assert!(count <= most, "{name}: {count} operations, not {most}");
                });
            }
        });
    });
}

fn at_a_steady_pace(pause: Duration) {
    each(
        LIVENESS_INTERVAL,
        8,
        pause,
        pause,
        allowed(LIVENESS_INTERVAL, pause),
    );
}

#[test]
fn a_death_is_noticed_within_an_interval_at_1_ms_an_operation() {
    at_a_steady_pace(Duration::from_millis(1));
}

#[test]
fn a_death_is_noticed_within_an_interval_at_20_ms_an_operation() {
    at_a_steady_pace(Duration::from_millis(20));
}

#[test]
fn a_death_is_noticed_within_an_interval_at_200_ms_an_operation() {
    at_a_steady_pace(Duration::from_millis(200));
}

/// A handle that was used quickly looks at the clock seldom, and is then used slowly.
#[test]
fn a_death_is_noticed_within_64_operations_after_a_change_of_pace() {
    let (interval, pause) = (Duration::from_millis(10), Duration::from_millis(20));
    each(interval, 400, Duration::ZERO, pause, MAX_OPERATIONS);
}

/// Each thread has another pace.
#[test]
fn threads_that_share_a_handle_notice_a_death_at_their_common_pace() {
    guarded(LIMIT, || {
        let (ends, victim) = Ends::new(&options(LIVENESS_INTERVAL), 600);
        kill(victim);
        let pauses = [7, 20, 50].map(Duration::from_millis);
        thread::scope(|scope| {
            for pause in pauses {
                let ends = &ends;
                scope.spawn(move || {
                    let receive = || drop(ends.rx.recv().expect("a message"));
                    let count = operations(ends, pause, receive);
                    // Operations of the other threads count too, so no thread needs more than it would alone.
                    assert!(
                        count <= allowed(LIVENESS_INTERVAL, pause),
                        "{count} operations"
                    );
                });
            }
        });
    });
}

/// The message that the dead receiver held is delivered next, before newer ones.
#[test]
fn a_slow_receiver_gets_the_message_of_a_dead_one_within_an_interval() {
    guarded(LIMIT, || {
        let pause = Duration::from_millis(20);
        let (ends, victim) = Ends::new(&options(LIVENESS_INTERVAL).max_deliveries(2), 100);
        kill(victim);
        let mut newer = 0;
        loop {
            let lease = ends.rx.lease().expect("a message");
            if lease.deliveries() > 0 {
                break assert_eq!(*lease, HELD);
            }
            thread::sleep(pause);
            lease.ack();
            newer += 1;
        }
        assert!(
            newer <= allowed(LIVENESS_INTERVAL, pause),
            "{newer} newer messages came first"
        );
    });
}

#[test]
fn a_slow_sender_fails_within_an_interval_after_the_last_receiver_has_died() {
    guarded(LIMIT, || {
        let pause = Duration::from_millis(20);
        let (Ends { tx, rx }, victim) = Ends::new(&options(LIVENESS_INTERVAL), 0);
        drop(rx);
        kill(victim);
        let mut accepted = 0;
        while !matches!(tx.send(vec![1]), Err(SendError::Closed(_))) {
            thread::sleep(pause);
            accepted += 1;
        }
        assert!(
            accepted <= allowed(LIVENESS_INTERVAL, pause),
            "{accepted} accepted"
        );
    });
}

#[test]
fn a_slow_poller_gets_closed_within_an_interval_after_the_last_sender_has_died() {
    guarded(LIMIT, || {
        let pause = Duration::from_millis(20);
        let (tx, rx) = options(LIVENESS_INTERVAL)
            .channel::<u32>()
            .expect("a queue");
        let mut victim = hand_over("victim", &[], |handoff| handoff.give("results", &tx));
        assert_eq!(victim.answer(), "ready");
        drop(tx);
        kill(victim);
        let mut empty = 0;
        while !matches!(rx.try_recv(), Err(TryRecvError::Closed)) {
            thread::sleep(pause);
            empty += 1;
        }
        assert!(
            empty <= allowed(LIVENESS_INTERVAL, pause),
            "empty {empty} times"
        );
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
    });
}
