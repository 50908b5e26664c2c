//! Waits for several queues: what ends them, that nothing is lost, doubled or starved, what they cost, and that they pass
//! on the wake-ups that they do not use. All with the kernel's wait for several words, and without it.
#![allow(
    clippy::indexing_slicing,
    reason = "the index of a selected operation is that of its queue"
)]

use ipc_tests::support::{LIMIT, dismiss, hand_over, in_time, prompt, sleepy};
use ipc_tests::{
    Pid,
    asleep::{await_sleepers, sleepers},
    child::Peer,
    cpu::{Usage, allowed, pin},
    filter::refuse,
    guarded,
    rounds::rounds,
    stops,
};
use nix::{libc, sys::signal::Signal};
use std::{fmt::Display, process, thread, time::Duration};
use workring::{
    Options, Receiver, RecvError, SendError, Sender, channel,
    error::{SelectError, SelectTimeoutError, TrySelectError},
    queue::{Raw, Select, remove_named},
    test_hooks,
};

/// What a peer uses for its waits: see `peer/selecting.rs`.
const WAITS: [&str; 2] = ["kernel", "threads"];

fn queue() -> (Sender<u32>, Receiver<u32>) {
    sleepy(1).channel().expect("a queue")
}

/// Runs a test twice, the second time as if the kernel had no wait for several words. It gets the number of threads that
/// sleep in shared memory while a select waits for one queue, two and so on.
fn both_ways(test: impl Fn(fn(usize) -> usize)) {
    prompt(|| test(|_| 1));
    prompt(|| {
        test_hooks::refuse_futex_waitv();
        test(|queues| queues);
    });
}

#[test]
fn a_select_takes_what_is_ready_and_nothing_else() {
    guarded(LIMIT, || {
        let (number_tx, number_rx) = channel::<u32>(4).expect("a queue");
        let (text_tx, text_rx) = channel::<String>(4).expect("a queue");
        let (tx, rx) = channel::<u32>(1).expect("a queue");
        let mut select = Select::new();
        assert_eq!(
            select.try_select().expect_err("nothing"),
            TrySelectError::NoOperations
        );
        let number = select.recv(&number_rx);
        let text = select.lease(&text_rx);
        assert!(select.try_select().expect_err("empty").is_not_ready());

        text_tx.send("text".to_owned()).expect("room");
        let selected = select.try_select().expect("ready");
        assert_eq!(selected.index(), text);
        assert_eq!(selected.lease(&text_rx).expect("a message").ack(), "text");

        // What is not completed returns to its queue.
        number_tx.send(1).expect("room");
        let selected = select.try_select().expect("ready");
        assert_eq!(selected.index(), number);
        drop(selected);
        let lease = number_rx.try_lease().expect("returned");
        assert_eq!((*lease, lease.deliveries()), (1, 1));
        lease.ack();

        let sending = select.send(&tx, &7);
        assert_eq!(select.try_select().expect("ready").index(), sending);
        assert!(select.try_select().is_err(), "it is sent once");
        assert!(!select.remove(sending) && select.remove(text));
        assert_eq!(rx.recv().expect("a message"), 7);

        number_tx.close();
        for _ in 0..2 {
            let selected = select.try_select().expect("ready");
            assert_eq!(selected.recv(&number_rx), Err(RecvError::Closed));
        }
        tx.close();
        assert!(select.remove(number));
        select.send(&tx, &8);
        let selected = select.try_select().expect("ready");
        assert_eq!(selected.send(&tx), Err(SendError::Closed(())));
    });
}

#[test]
fn messages_room_blocks_and_close_end_a_select() {
    both_ways(|sleepers| {
        let (number_tx, number_rx) = queue();
        let (text_tx, text_rx) = sleepy(4).channel::<String>().expect("a queue");
        let (full_tx, full_rx) = queue();
        full_tx.send(0).expect("room");
        let (block_tx, block_rx) = sleepy(64).channel_with::<Vec<u8>, Raw>().expect("a queue");
        while block_tx.try_send(vec![7; 60_000]).is_ok() {}
        assert!(!block_tx.is_full(), "blocks are used up first");
        let large = vec![8; 60_000];
        let ready = |then: &(dyn Fn() + Sync)| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    await_sleepers(Pid::this(), sleepers(4));
                    then();
                });
                let mut select = Select::new();
                select.recv(&number_rx);
                select.recv(&text_rx);
                select.send(&full_tx, &1);
                select.send(&block_tx, &large);
                let selected = select.select().expect("ready");
                match selected.index() {
                    0 => format!("{:?}", selected.recv(&number_rx)),
                    1 => format!("{:?}", selected.recv(&text_rx)),
                    2 => format!("sent {:?}", selected.send(&full_tx)),
                    3 => format!("stored {:?}", selected.send(&block_tx)),
                    other => panic!("{other}"),
                }
            })
        };
        let send_number = || number_tx.send(3).expect("room");
        assert_eq!(ready(&send_number), "Ok(3)");
        let send_text = || text_tx.send("text".to_owned()).expect("room");
        assert_eq!(ready(&send_text), "Ok(\"text\")");
        let make_room = || assert_eq!(full_rx.recv().expect("a message"), 0);
        assert_eq!(ready(&make_room), "sent Ok(())");
        let free_block = || drop(block_rx.recv().expect("a message"));
        assert_eq!(ready(&free_block), "stored Ok(())");
        let close_text = || assert!(text_tx.close());
        assert_eq!(ready(&close_text), "Err(Closed)");
        assert_eq!(full_rx.recv().expect("the select's"), 1);
        assert!(number_rx.is_empty() && full_rx.is_empty());
    });
}

#[test]
fn a_deadline_and_an_interrupter_of_its_own_end_a_select() {
    both_ways(|sleepers| {
        let (_one_tx, one_rx) = queue();
        let (_two_tx, two_rx) = queue();
        let mut select = Select::new();
        select.recv(&one_rx);
        select.recv(&two_rx);
        let late = select.select_timeout(Duration::from_millis(5));
        assert_eq!(late.expect_err("late"), SelectTimeoutError::Timeout);
        let interrupter = select.interrupter();
        // One before the wait counts for it.
        interrupter.interrupt();
        interrupter.interrupt();
        assert_eq!(
            select.select().expect_err("ended"),
            SelectError::Interrupted
        );
        let late = select.select_timeout(Duration::ZERO);
        assert_eq!(late.expect_err("late"), SelectTimeoutError::Timeout);
        for _ in 0..rounds(100, 1_000) {
            thread::scope(|scope| {
                scope.spawn(|| {
                    await_sleepers(Pid::this(), sleepers(2));
                    interrupter.interrupt();
                });
                let ended = select.select().expect_err("ended");
                assert!(ended.is_interrupted());
            });
        }
        // That of a receiver is for receives with it.
        one_rx.interrupter().interrupt();
        let late = select.select_timeout(Duration::from_millis(5));
        assert_eq!(late.expect_err("late"), SelectTimeoutError::Timeout);
    });
}

/// W3. Where the kernel does not wait for several words, a select has threads. The guard counts those that remain.
#[test]
fn the_threads_of_a_select_end_with_it() {
    prompt(|| {
        refuse(libc::SYS_futex_waitv, libc::EPERM.unsigned_abs());
        let (tx, one_rx) = queue();
        let (_two_tx, two_rx) = queue();
        let count = || std::fs::read_dir("/proc/self/task").expect("/proc").count();
        // A thread that was joined stays in `/proc` for a moment. The watchdog limits the wait.
        let await_count = |threads| {
            while count() != threads {
                thread::yield_now();
            }
        };
        let before = count();
        for round in 0..rounds(200, 1_000) {
            let mut select = Select::new();
            select.recv(&one_rx);
            select.recv(&two_rx);
            // One for each queue, and one for interrupts. Beside other load, the time may be over before it sleeps.
            while count() != before + 3 {
                assert!(select.select_timeout(Duration::from_micros(200)).is_err());
            }
            // Those that are asleep pass on what reaches them between two waits.
            thread::scope(|scope| {
                let waiting = scope.spawn(|| one_rx.recv());
                while sleepers(Pid::this()) == 0 {
                    thread::yield_now();
                }
                tx.send(round).expect("room");
                assert_eq!(waiting.join().expect("join").expect("a message"), round);
            });
            drop(select);
            await_count(before);
        }
    });
}

/// The last sender is in another process, which is killed.
#[test]
fn the_death_of_the_last_sender_ends_a_select() {
    for wait in WAITS {
        guarded(LIMIT, || {
            if wait == "threads" {
                test_hooks::refuse_futex_waitv();
            }
            let options = Options::new(4).liveness_interval(Duration::from_millis(50));
            let (_tx, rx) = options.channel::<u32>().expect("a queue");
            let (dying_tx, dying_rx) = options.channel::<u32>().expect("a queue");
            let killed = hand_over("sole-sender", &[], |handoff| {
                handoff.give("queue", &dying_tx)
            });
            drop(dying_tx);
            let mut select = Select::new();
            select.recv(&rx);
            let dying = select.recv(&dying_rx);
            assert!(select.select_timeout(Duration::from_millis(100)).is_err());
            killed.signal(Signal::SIGKILL);
            let selected = select.select().expect("ready");
            assert_eq!(selected.index(), dying);
            assert_eq!(selected.recv(&dying_rx), Err(RecvError::Closed));
        });
    }
}

/// A6. Processes forward what comes from two queues of different types to a third one, all three in one select, and this
/// process sends and receives with a select too.
#[test]
fn selects_lose_and_double_no_message() {
    let rounds = rounds(10_000, 100_000);
    guarded(LIMIT + Duration::from_millis(5) * rounds, || {
        for capacity in [1, 4] {
            let options = sleepy(capacity);
            let (number_tx, number_rx) = options.channel::<u64>().expect("a queue");
            let (text_tx, text_rx) = options.channel::<String>().expect("a queue");
            let (out_tx, out_rx) = options.channel::<(u64, Vec<u8>)>().expect("a queue");
            let forwarders = WAITS.map(|wait| {
                hand_over("selecting-forwarder", &[&wait], |handoff| {
                    let handoff = handoff.give("numbers", &number_rx)?;
                    handoff.give("texts", &text_rx)?.give("out", &out_tx)
                })
            });
            drop((number_rx, text_rx, out_tx));
            let mut seen = vec![0; rounds as usize];
            let mut next = 0;
            while next < u64::from(rounds) {
                in_time(|| {
                    let text = next.to_string();
                    let mut select = Select::new();
                    let sends = [select.send(&number_tx, &next), select.send(&text_tx, &text)];
                    let received = select.recv(&out_rx);
                    let selected = select.select().expect("ready");
                    match selected.index() {
                        index if index == received => {
                            let received = selected.recv(&out_rx).expect("a message");
                            count(&mut seen, received);
                            return;
                        }
                        index if index == sends[0] => selected.send(&number_tx).expect("open"),
                        _ => selected.send(&text_tx).expect("open"),
                    }
                    drop(select);
                    next += 1;
                });
            }
            drop((number_tx, text_tx));
            for received in &out_rx {
                count(&mut seen, received.expect("a message"));
            }
            assert!(seen.iter().all(|&count| count == 1), "{seen:?}");
            forwarders.into_iter().for_each(dismiss);
        }
    });
}

fn count(seen: &mut [u32], (id, payload): (u64, Vec<u8>)) {
    assert_eq!(payload.len() as u64, id % 300);
    let index = usize::try_from(id).expect("small");
    *seen.get_mut(index).expect("an id that was sent") += 1;
}

/// A6. Two of many operations are always ready.
#[test]
fn each_ready_operation_is_selected_about_as_often() {
    const SELECTS: u32 = 2_000;
    guarded(LIMIT, || {
        let queues: Vec<_> = (0..10)
            .map(|_| channel::<u32>(1).expect("a queue"))
            .collect();
        for keep in [true, false] {
            let mut kept = Select::new();
            for (_, rx) in &queues {
                kept.recv(rx);
            }
            let mut counts = [0_u32; 10];
            for _ in 0..SELECTS {
                for (tx, _) in &queues[3..5] {
                    let _ = tx.try_send(1);
                }
                let mut new = Select::new();
                for (_, rx) in &queues {
                    new.recv(rx);
                }
                let select = if keep { &mut kept } else { &mut new };
                let selected = select.select().expect("ready");
                let index = selected.index();
                selected.recv(&queues[index].1).expect("a message");
                counts[index] += 1;
            }
            println!("kept {keep}: {counts:?}");
            assert_eq!(counts[3] + counts[4], SELECTS);
            assert!(counts[3].abs_diff(counts[4]) < SELECTS / 5, "{counts:?}");
        }
    });
}

/// A6, W8. The process wakes once in each liveness interval of its queues, which are due at about the same time.
#[test]
fn an_idle_select_wakes_once_an_interval_and_costs_almost_nothing() {
    const INTERVAL: u64 = 100;
    const QUEUES: u64 = 3;
    let intervals = u64::from(rounds(30, 100));
    for wait in WAITS {
        guarded(LIMIT, || {
            let (mut switches, mut milliseconds) = (0, 0);
            let mut measure = || {
                let options = Options::new(1).liveness_interval(Duration::from_millis(INTERVAL));
                let (_number_tx, number_rx) = options.channel::<u64>().expect("a queue");
                let (_text_tx, text_rx) = options.channel::<String>().expect("a queue");
                let (full_tx, _full_rx) = options.channel::<u32>().expect("a queue");
                full_tx.send(1).expect("room");
                let time = INTERVAL * intervals;
                let arguments: [&dyn Display; 2] = [&wait, &time];
                let mut idle = hand_over("idle-select", &arguments, |handoff| {
                    let handoff = handoff.give("numbers", &number_rx)?;
                    handoff.give("texts", &text_rx)?.give("full", &full_tx)
                });
                let mut number = || idle.answer().parse::<u64>().expect("a number");
                (switches, milliseconds) = (number(), number());
                dismiss(idle);
            };
            // A process that was stopped during the wait has slept for fewer intervals.
            while stops::time(&mut measure).is_none() {}
            println!("{wait}: {intervals} intervals: {switches} switches, {milliseconds} ms");
            // Each queue has intervals of its own.
            let most = QUEUES * (intervals + intervals / 5 + 5);
            assert!(switches <= most, "{switches} switches");
            assert!(switches >= intervals / 2, "{switches}: it was not idle");
            // A few clock ticks.
            assert!(milliseconds <= 100, "{milliseconds} ms of processor time");
        });
    }
}

/// A process may be attached to one queue twice. Announcing a sleep changes the word: if a select did so twice, it
/// would wake itself.
#[test]
fn a_select_of_one_queue_attached_twice_is_idle() {
    both_ways(|_| {
        let name = format!("select-twice-{}", process::id());
        let (tx, one_rx) = sleepy(4).create_named::<u32>(&name).expect("a queue");
        let two_rx: Receiver<u32> = workring::open(&name).expect("the queue");
        let mut select = Select::new();
        select.recv(&one_rx);
        select.recv(&two_rx);
        select.recv(&one_rx);
        assert!(select.select_timeout(Duration::from_millis(20)).is_err());
        let usage = || Usage::of(Pid::this()).expect("self");
        let before = usage();
        assert!(select.select_timeout(Duration::from_secs(1)).is_err());
        let used = usage() - before;
        println!("{used:?}");
        drop(select);
        drop((tx, one_rx, two_rx));
        remove_named(&name).expect("removed");
        assert!(used.voluntary < 50, "{used:?}");
        assert!(used.time < Duration::from_millis(300), "{used:?}");
    });
}

/// W1, PARK-4. One process selects among three queues, another one waits for each of them. The select sleeps first, so that
/// messages of all three queues can wake it before it runs. It takes one. The wake-ups of the others must reach the other
/// process: no sleep ends by itself within an hour.
#[test]
fn wakes_that_a_select_does_not_use_reach_other_processes() {
    let rounds = rounds(100, 2_000);
    for wait in WAITS {
        guarded(
            Duration::from_mins(2) + Duration::from_millis(50) * rounds,
            || {
                // A select on the sender's processor does not run before all three messages are sent.
                pin(&allowed()[..1]);
                let queues = [(); 3].map(|()| {
                    let options = Options::new(4).spin(Duration::ZERO);
                    let options =
                        test_hooks::with_liveness_interval(options, Duration::from_hours(1));
                    options.channel::<u32>().expect("a queue")
                });
                let spawn = |role, arguments: &[&dyn Display]| {
                    hand_over(role, arguments, |mut handoff| {
                        for (name, (_, rx)) in ["a", "b", "c"].into_iter().zip(&queues) {
                            handoff = handoff.give(name, rx)?;
                        }
                        Ok(handoff)
                    })
                };
                let mut selecting = spawn("one-of-three", &[&wait]);
                let mut receiving = spawn("all-three", &[]);
                let select_sleepers = if wait == "kernel" { 1 } else { 3 };
                for _ in 0..rounds {
                    await_sleepers(selecting.pid(), select_sleepers);
                    receiving.say("go");
                    await_sleepers(receiving.pid(), 3);
                    for (tx, _) in &queues {
                        tx.send(1).expect("room");
                    }
                    let taken = index(&mut selecting);
                    let mut others = [index(&mut receiving), index(&mut receiving)];
                    others.sort_unstable();
                    let rest: Vec<usize> = (0..3).filter(|&other| other != taken).collect();
                    assert_eq!(others, *rest);
                    queues[taken].0.send(2).expect("room");
                    assert_eq!(index(&mut receiving), taken);
                    selecting.say("again");
                }
                for (tx, _) in &queues {
                    tx.send(3).expect("room");
                }
                index(&mut selecting);
                dismiss(selecting);
                dismiss(receiving);
            },
        );
    }
}

fn index(peer: &mut Peer) -> usize {
    peer.answer().parse().expect("an index")
}

/// W1. A select that is killed as it is woken takes its wake-up along, and perhaps a message. The other receiver gets the
/// message within a liveness interval.
#[test]
fn a_select_that_is_killed_when_it_is_woken_takes_no_message_along() {
    let rounds = rounds(20, 1_000);
    guarded(LIMIT + Duration::from_millis(200) * rounds, || {
        let queues = [(); 3].map(|()| {
            let options = Options::new(4).spin(Duration::ZERO);
            let options = options.liveness_interval(Duration::from_millis(50));
            options.channel::<u32>().expect("a queue")
        });
        for round in 0..rounds {
            let wait = WAITS[round as usize % 2];
            let selecting = hand_over("select-and-hold", &[&wait], |mut handoff| {
                for (name, (_, rx)) in ["a", "b", "c"].into_iter().zip(&queues) {
                    handoff = handoff.give(name, rx)?;
                }
                Ok(handoff)
            });
            await_sleepers(selecting.pid(), if wait == "kernel" { 1 } else { 3 });
            let (tx, rx) = &queues[round as usize % 3];
            thread::scope(|scope| {
                let waiting = scope.spawn(|| rx.recv());
                await_sleepers(Pid::this(), 1);
                tx.send(round).expect("room");
                selecting.signal(Signal::SIGKILL);
                assert_eq!(waiting.join().expect("join").expect("a message"), round);
            });
        }
    });
}

#[test]
fn a_select_waits_for_as_many_queues_as_a_thread_can_sleep_on() {
    const MOST: usize = 127;
    prompt(|| {
        let queues: Vec<_> = (0..=MOST).map(|_| queue()).collect();
        let (last, others) = queues.split_last().expect("many");
        let mut select = Select::new();
        for (_, rx) in others {
            select.recv(rx);
            // The same queue again counts once.
            select.lease(rx);
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                await_sleepers(Pid::this(), 1);
                others[77].0.send(1).expect("room");
            });
            let index = select.select().expect("ready").index();
            assert_eq!(index / 2, 77);
        });
        let _ = others[77].1.try_recv();
        let one_more = select.recv(&last.1);
        let refused = select.select().expect_err("too many");
        assert!(
            matches!(refused, SelectError::TooManyQueues { max: MOST, .. }),
            "{refused}"
        );
        // What does not sleep does not mind.
        last.0.send(1).expect("room");
        assert_eq!(select.select().expect("ready").index(), one_more);
    });
}
