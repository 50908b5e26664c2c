//! Processes that use a queue without ever waiting for it, at any pace: each of them notices a death by itself.
//!
//! The promise: at a steady pace within one slice and one operation, after a change of pace within 64 operations. It is
//! checked by counting operations, not by time: between two of them lies at least the pause, so a slice has room for no
//! more than `slice / pause` of them, however slow the machine is.
//!
//! The victim holds the lease of a message that may be handed out once: when its death is noticed the message becomes a
//! dead letter, and to look for dead letters is no operation that looks for the dead.

use ipc_tests::support::{LIMIT, hand_over};
use ipc_tests::{Signal, child::Peer, guarded};
use std::{thread, time::Duration};
use workring::{
    Options, Receiver, RecvError, SendError, Sender,
    error::{TryRecvError, TrySendError},
    queue::{Raw, Watched},
};

/// What is promised after a change of pace.
const MOST: u32 = 64;
const SLICE: Duration = Duration::from_millis(100);
const CAPACITY: usize = 4096;

type Bytes = Vec<u8>;

/// Both ends of a queue with a backlog. A victim has leased a message of its own before.
struct Ends {
    tx: Sender<Bytes, Raw>,
    rx: Receiver<Bytes, Raw>,
}

/// What the victim holds.
const HELD: [u8; 8] = [0; 8];

impl Ends {
    fn new(options: &Options, backlog: usize) -> (Self, Peer) {
        let (tx, rx) = options.channel_with::<Bytes, Raw>().expect("a queue");
        let mut victim = hand_over("bytes-lessee", &[], |handoff| handoff.give("tasks", &rx));
        tx.send(HELD.into()).expect("room");
        assert_eq!(victim.answer(), "leased");
        // By another handle: those of the test have no pace yet.
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

/// How many operations it takes until the death is noticed, each after a pause; it gives up after too many.
fn operations(ends: &Ends, pause: Duration, mut operation: impl FnMut()) -> u32 {
    let mut count = 0;
    // Fewer than any operation has messages for.
    while count < 190 && !ends.is_noticed() {
        thread::sleep(pause);
        operation();
        count += 1;
    }
    count
}

fn options(slice: Duration) -> Options {
    Options::new(CAPACITY)
        .max_deliveries(1)
        .max_dead_letters(CAPACITY)
        .liveness_interval(slice)
}

/// The most operations that fit into a slice, and the one that notices; one more for the clock's grain.
fn allowed(slice: Duration, pause: Duration) -> u32 {
    let fit = slice.as_nanos().div_ceil(pause.as_nanos());
    u32::try_from(fit).expect("few") + 2
}

type Make = fn(&Ends) -> Box<dyn FnMut() + '_>;

/// Everything that a program can do with a queue again and again without waiting.
const OPERATIONS: &[(&str, usize, Make)] = &[
    ("recv", 600, |ends| {
        Box::new(|| drop(ends.rx.recv().expect("a message")))
    }),
    ("iter", 600, |ends| {
        let mut messages = ends.rx.iter();
        Box::new(move || drop(messages.next().expect("open")))
    }),
    ("try_recv, in vain", 0, |ends| {
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
    ("lease, and keep it", 600, |ends| {
        let mut kept = Vec::new();
        Box::new(move || kept.push(ends.rx.lease_bytes().expect("a message")))
    }),
    ("ack what was leased", 600, |ends| {
        let mut leases: Vec<_> = (0..600)
            .map(|_| ends.rx.lease_bytes().expect("a message"))
            .collect();
        Box::new(move || leases.pop().expect("enough").ack())
    }),
    ("nack what was leased", 600, |ends| {
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
    ("try_send, in vain", CAPACITY, |ends| {
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

/// Runs every operation, all at the same time: `before` times after a pause of `pause_before`, and, when the victim has
/// been killed, after a pause of `pause` until that is noticed.
fn each(slice: Duration, before: u32, pause_before: Duration, pause: Duration, most: u32) {
    guarded(LIMIT, || {
        thread::scope(|scope| {
            for &(name, backlog, make) in OPERATIONS {
                scope.spawn(move || {
                    let (ends, victim) = Ends::new(&options(slice), backlog);
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
    each(SLICE, 8, pause, pause, allowed(SLICE, pause));
}

#[test]
fn a_death_is_noticed_within_a_slice_at_1_ms_an_operation() {
    at_a_steady_pace(Duration::from_millis(1));
}

#[test]
fn a_death_is_noticed_within_a_slice_at_20_ms_an_operation() {
    at_a_steady_pace(Duration::from_millis(20));
}

#[test]
fn a_death_is_noticed_within_a_slice_at_200_ms_an_operation() {
    at_a_steady_pace(Duration::from_millis(200));
}

/// A handle that has been in a hurry has no reason to look at the clock often; then everything takes its time.
#[test]
fn a_death_is_noticed_within_64_operations_after_a_change_of_pace() {
    let (slice, pause) = (Duration::from_millis(10), Duration::from_millis(20));
    each(slice, 400, Duration::ZERO, pause, MOST);
}

/// As the pace of one thread is not that of the other.
#[test]
fn threads_that_share_a_handle_notice_a_death_at_their_common_pace() {
    guarded(LIMIT, || {
        let (ends, victim) = Ends::new(&options(SLICE), 600);
        kill(victim);
        let pauses = [7, 20, 50].map(Duration::from_millis);
        thread::scope(|scope| {
            for pause in pauses {
                let ends = &ends;
                scope.spawn(move || {
                    let receive = || drop(ends.rx.recv().expect("a message"));
                    let count = operations(ends, pause, receive);
                    // Operations of the other threads count too, so no thread needs more than it would alone.
                    assert!(count <= allowed(SLICE, pause), "{count} operations");
                });
            }
        });
    });
}

/// What the dead one held comes next, before what is newer.
#[test]
fn a_slow_receiver_gets_the_message_of_a_dead_one_within_a_slice() {
    guarded(LIMIT, || {
        let pause = Duration::from_millis(20);
        let (ends, victim) = Ends::new(&options(SLICE).max_deliveries(2), 100);
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
        assert!(newer <= allowed(SLICE, pause), "{newer} newer ones");
    });
}

#[test]
fn a_slow_sender_is_refused_within_a_slice_after_the_last_receiver_has_died() {
    guarded(LIMIT, || {
        let pause = Duration::from_millis(20);
        let (Ends { tx, rx }, victim) = Ends::new(&options(SLICE), 0);
        drop(rx);
        kill(victim);
        let mut accepted = 0;
        while !matches!(tx.send(vec![1]), Err(SendError::Closed(_))) {
            thread::sleep(pause);
            accepted += 1;
        }
        assert!(accepted <= allowed(SLICE, pause), "{accepted} accepted");
    });
}

#[test]
fn a_slow_poller_gets_closed_within_a_slice_after_the_last_sender_has_died() {
    guarded(LIMIT, || {
        let pause = Duration::from_millis(20);
        let (tx, rx) = options(SLICE).channel::<u32>().expect("a queue");
        let mut victim = hand_over("victim", &[], |handoff| handoff.give("results", &tx));
        assert_eq!(victim.answer(), "ready");
        drop(tx);
        kill(victim);
        let mut empty = 0;
        while !matches!(rx.try_recv(), Err(TryRecvError::Closed)) {
            thread::sleep(pause);
            empty += 1;
        }
        assert!(empty <= allowed(SLICE, pause), "{empty} times empty");
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
    });
}
