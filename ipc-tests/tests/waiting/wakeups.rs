//! What ends a wait: a wake-up, an interrupt, a time limit, a close. And what a wait costs.

use ipc_tests::support::{LIMIT, asleep, dismiss, hand_over, in_time, prompt, sleepy};
use ipc_tests::{
    Pid,
    asleep::{await_sleepers, sleepers},
    child::Peer,
    cpu::Usage,
    filter::refuse,
    guarded,
    ledger::{Books, Ledger, Scratch},
    rounds::{Rng, rounds, seed},
    stops,
};
use nix::libc;
use std::{
    fmt::Display,
    hint,
    sync::mpsc::{self, channel},
    thread,
    time::Duration,
};
use workring::{
    Options, Receiver, RecvError, SendError,
    error::{RecvTimeoutError, SendTimeoutError},
    queue::Raw,
};

/// W1. Two processes send one number back and forth, and sleep in between. A wake-up is lost if both sleep while the
/// number is in a queue and neither has run since the last check. That state lasts until the liveness interval ends.
#[test]
fn no_wake_up_is_lost_between_two_processes_that_sleep() {
    const CHECK_INTERVAL: Duration = Duration::from_secs(1);
    let round_trips = rounds(10_000, 1_000_000);
    guarded(LIMIT + Duration::from_micros(500) * round_trips, || {
        let (there, there_out) = sleepy(4).channel::<u32>().expect("a queue");
        let (back, back_out) = sleepy(4).channel::<u32>().expect("a queue");
        let peer = |input, output| {
            hand_over("ping-pong", &[&round_trips], |handoff| {
                handoff.give("in", input)?.give("out", output)
            })
        };
        let (mut one, other) = (peer(&back_out, &there), peer(&there_out, &back));
        let pids = [one.pid(), other.pid()];
        let (sender, finished) = channel();
        let hearing = thread::spawn(move || {
            assert_eq!(one.answer(), "enough");
            sender.send(()).expect("the test waits for it");
            one
        });
        there.send(0).expect("room");
        let cost = || pids.map(|pid| Usage::of(pid).expect("a live process"));
        let mut before = cost();
        while finished.recv_timeout(CHECK_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
            let (asleep, queued) = (pids.map(sleepers), there.len() + back.len());
            let now = cost();
            assert!(
                asleep != [1, 1] || now != before || queued == 0,
                "both sleep while {queued} message is queued"
            );
            before = now;
        }
        let one = hearing.join().expect("join");
        for used in cost() {
            println!("{round_trips} round trips, {} sleeps", used.voluntary);
            assert!(
                used.voluntary > u64::from(round_trips) / 4,
                "they seldom slept"
            );
        }
        there.close();
        back.close();
        dismiss(one);
        dismiss(other);
    });
}

/// W1. In a queue for one message, processes wait for each other all the time, and fall asleep just as they are woken.
#[test]
fn no_wake_up_is_lost_in_a_queue_for_one_message() {
    const BATCH: u32 = 100;
    let batches = rounds(1_000, 20_000);
    guarded(LIMIT + Duration::from_millis(10) * batches, || {
        let (tx, rx) = sleepy(1).channel::<u32>().expect("a queue");
        let count = batches * BATCH;
        let senders = hand_over("stream", &[&2, &(count / 2)], |handoff| {
            handoff.give("queue", &tx)
        });
        drop(tx);
        let mut sum = 0;
        for _ in 0..batches {
            in_time(|| {
                for _ in 0..BATCH {
                    sum += u64::from(rx.recv().expect("a number"));
                }
            });
        }
        let each = u64::from(count / 2);
        assert_eq!(sum, each * (each - 1));
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        dismiss(senders);

        let (tx, rx) = sleepy(1).channel::<u32>().expect("a queue");
        let mut receivers = hand_over("sink", &[&2], |handoff| handoff.give("queue", &rx));
        drop(rx);
        for _ in 0..batches {
            in_time(|| (0..BATCH).for_each(|number| tx.send(number).expect("open")));
        }
        drop(tx);
        assert_eq!(receivers.answer(), count.to_string());
        dismiss(receivers);
    });
}

/// W3. The guard counts the threads that remain.
#[test]
fn waits_are_interrupted_many_times_without_closing_the_queue() {
    let rounds = rounds(1_000, 10_000);
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(1).channel::<u32>().expect("a queue");
        // A child that waits for the same queue is not interrupted.
        let mut child = hand_over("blocked-receivers", &[&1], |handoff| {
            handoff.give("queue", &rx)
        });
        await_sleepers(child.pid(), 1);
        for round in 0..rounds {
            let waiting = rx.clone();
            let interrupter = waiting.interrupter();
            let waiting = asleep(move || waiting.recv());
            let mut result = Ok(0);
            in_time(|| {
                interrupter.interrupt();
                result = waiting.join().expect("join");
            });
            assert!(
                matches!(result, Err(RecvError::Interrupted)),
                "{round}: {result:?}"
            );
        }
        assert!(!rx.is_closed());
        await_sleepers(child.pid(), 1);
        let waiting = {
            let rx = rx.clone();
            asleep(move || rx.recv())
        };
        tx.close();
        let result = waiting.join().expect("join");
        assert!(matches!(result, Err(RecvError::Closed)), "{result:?}");
        assert_eq!(child.answer(), "1");
        dismiss(child);
    });
}

/// W3, for senders that wait for room and for senders that wait for memory.
#[test]
fn a_sender_is_interrupted_and_keeps_its_message() {
    prompt(|| {
        let (tx, rx) = sleepy(64).channel_with::<Vec<u8>, Raw>().expect("a queue");
        let mut filled = 0;
        while tx.try_send(vec![7; 60_000]).is_ok() {
            filled += 1;
        }
        assert!(filled < 64, "there are few blocks of this size");
        let small = 64 - filled;
        let interrupted = |message: Vec<u8>| {
            let tx = tx.clone();
            let interrupter = tx.interrupter();
            let blocked = asleep(move || tx.send(message));
            interrupter.interrupt();
            match blocked.join().expect("join") {
                Err(SendError::Interrupted(message)) => message,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(interrupted(vec![8; 50_000]), vec![8; 50_000]);
        (0..small).for_each(|_| tx.send(vec![]).expect("room"));
        assert_eq!(interrupted(vec![9]), [9]);
        assert_eq!(
            rx.try_iter().count(),
            64,
            "the interrupted messages were not sent"
        );
    });
}

#[test]
fn an_interrupt_ends_one_wait_of_its_handle_now_or_later() {
    prompt(|| {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let interrupter = rx.interrupter();
        interrupter.interrupt();
        interrupter.clone().interrupt();
        tx.send(1).expect("room");
        assert_eq!(rx.recv().expect("a message"), 1);
        let other = rx.clone().recv_timeout(Duration::ZERO);
        assert!(matches!(other, Err(RecvTimeoutError::Timeout)), "{other:?}");
        let first = rx.recv_timeout(LIMIT);
        assert!(
            matches!(first, Err(RecvTimeoutError::Interrupted)),
            "{first:?}"
        );
        let second = rx.recv_timeout(Duration::ZERO);
        assert!(
            matches!(second, Err(RecvTimeoutError::Timeout)),
            "{second:?}"
        );

        // It interrupts one of two threads that wait on one handle.
        thread::scope(|scope| {
            let waits = [0; 2].map(|_| scope.spawn(|| rx.recv()));
            await_sleepers(Pid::this(), 2);
            interrupter.interrupt();
            await_sleepers(Pid::this(), 1);
            tx.send(2).expect("room");
            let results = waits.map(|wait| wait.join().expect("join"));
            let count = |matching: fn(&Result<u32, RecvError>) -> bool| {
                results.iter().filter(|result| matching(result)).count()
            };
            assert_eq!(
                count(|result| matches!(result, Err(RecvError::Interrupted))),
                1
            );
            assert_eq!(count(|result| matches!(result, Ok(2))), 1);
        });
    });
}

/// W4.
#[test]
fn receives_that_give_up_lose_no_message() {
    const PROCESSES: u32 = 2;
    const THREADS: u32 = 2;
    let cancelled = rounds(10_000, 100_000);
    guarded(LIMIT + Duration::from_millis(5) * cancelled, || {
        let scratch = Scratch::new().expect("scratch");
        let mut rng = Rng::with_seed(seed());
        let options = if rng.bool() {
            sleepy(8)
        } else {
            Options::new(8)
        };
        let (tx, rx) = options.channel::<u64>().expect("a queue");
        let enough = cancelled.div_ceil(PROCESSES * THREADS);
        let receivers: Vec<Peer> = (0..PROCESSES)
            .map(|number| {
                let seed = rng.u64(0..1 << 40);
                let arguments: [&dyn Display; 4] = [&scratch, &number, &enough, &seed];
                hand_over("short-waits", &arguments, |handoff| {
                    handoff.give("queue", &rx)
                })
            })
            .collect();
        drop(rx);
        // Messages are sent as long as any receiver still gives up waits.
        let done = thread::scope(|scope| {
            let watching = scope.spawn(move || {
                let mut receivers = receivers;
                for receiver in &mut receivers {
                    assert_eq!(receiver.answer(), "enough");
                }
                receivers
            });
            let mut books = Books::new();
            let mut id = 0;
            while !watching.is_finished() {
                for _ in 0..rng.u32(1..=3) {
                    tx.send(id).expect("open");
                    books.sent(id);
                    id += 1;
                }
                (0..rng.u32(0..40_000)).for_each(|_| hint::spin_loop());
            }
            tx.close();
            watching.join().expect("join").into_iter().for_each(dismiss);
            books
        });
        let mut books = done;
        let mut received = 0;
        for number in 0..PROCESSES {
            for entry in Ledger::read(scratch.path(), &number.to_string()).expect("a ledger") {
                books.received(entry.number);
                received += 1;
            }
        }
        books.assert_balanced();
        println!("{received} messages between {cancelled} cancelled receives");
        assert!(received > 0);
    });
}

/// W8. The child waits for 30 or 100 liveness intervals. It may wake once in each, and spins only before its first
/// sleep.
#[test]
fn an_idle_process_wakes_once_an_interval_and_costs_almost_nothing() {
    const INTERVAL: u64 = 100;
    let intervals = u64::from(rounds(30, 100));
    guarded(LIMIT, || {
        let (mut switches, mut milliseconds) = (0, 0);
        let mut measure = || {
            let options = Options::new(4).liveness_interval(Duration::from_millis(INTERVAL));
            let (tx, rx) = options.channel::<u32>().expect("a queue");
            let wait = INTERVAL * intervals;
            let mut idle = hand_over("idle", &[&wait], |handoff| handoff.give("queue", &rx));
            let mut number = || idle.answer().parse::<u64>().expect("a number");
            (switches, milliseconds) = (number(), number());
            tx.close();
            dismiss(idle);
        };
        // A process that was stopped during the wait has slept for fewer intervals.
        while stops::time(&mut measure).is_none() {}
        println!("{intervals} intervals: {switches} context switches, {milliseconds} ms");
        // Reading the count costs no context switch; a page fault may cost one.
        assert!(
            switches <= intervals + intervals / 5 + 5,
            "{switches} switches"
        );
        assert!(
            switches >= intervals / 2,
            "{switches} context switches: it was not idle"
        );
        // A few clock ticks.
        assert!(milliseconds <= 50, "{milliseconds} ms of processor time");
    });
}

#[test]
fn senders_blocked_by_a_full_queue_are_woken_one_for_each_message_taken() {
    const SENDERS: u32 = 5;
    prompt(|| {
        let (tx, rx) = sleepy(1).channel::<u32>().expect("a queue");
        tx.send(SENDERS).expect("room");
        let senders: Vec<Peer> = (0..SENDERS)
            .map(|number| {
                hand_over("full-sender", &[&number], |handoff| {
                    handoff.give("queue", &tx)
                })
            })
            .collect();
        let mut received = Vec::new();
        for left in (0..=SENDERS).rev() {
            let blocked = || {
                senders
                    .iter()
                    .map(|sender| sleepers(sender.pid()))
                    .sum::<usize>()
            };
            // It takes a while until a woken thread runs.
            while (tx.len(), blocked()) != (1, left as usize) {
                thread::yield_now();
            }
            received.push(rx.recv().expect("a message"));
        }
        received.sort_unstable();
        assert!(received.into_iter().eq(0..=SENDERS));
        senders.into_iter().for_each(dismiss);
    });
}

/// A receive with a deadline in the past still returns a message that is in the queue.
#[test]
fn a_deadline_in_the_past_still_takes_a_message() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(1).channel::<u32>().expect("a queue");
        let empty = |rx: &Receiver<u32>| {
            matches!(
                rx.recv_timeout(Duration::ZERO),
                Err(RecvTimeoutError::Timeout)
            )
        };
        assert!(empty(&rx));
        tx.send_timeout(1, Duration::ZERO).expect("room");
        let full = tx.send_timeout(2, Duration::ZERO);
        assert!(
            matches!(full, Err(SendTimeoutError::Timeout(2))),
            "{full:?}"
        );
        assert_eq!(rx.recv_timeout(Duration::ZERO).expect("a message"), 1);
        assert!(empty(&rx));
    });
}

/// M1, PARK-2. An acknowledgement makes no fence before it looks for sleepers: those make it by `membarrier`. A container
/// may refuse that to the process that acknowledges, or to the one that sleeps.
#[test]
fn a_sender_without_a_block_is_woken_where_membarrier_is_refused() {
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
                sleepy(64).channel_with::<Vec<u8>, Raw>().expect("a queue")
            });
            let (tx, rx) = made.join().expect("no panic");
            for _ in 0..BLOCKS {
                tx.send(message()).expect("a block");
            }
            let full = tx.try_send(message()).expect_err("no block is free");
            assert!(full.is_full());
            for _ in 0..rounds(20, 1000) {
                // A round in which this process was stopped says nothing.
                let _ = in_time(|| {
                    let sender = tx.clone();
                    let waiting = asleep(move || {
                        refuse();
                        sender.send(message())
                    });
                    assert_eq!(rx.recv().expect("a message"), message());
                    waiting.join().expect("no panic").expect("a block");
                });
            }
        }
    });
}
