//! Goal: the peers of a dead process finish or undo what it had begun. They leave a live process alone, whatever it
//! looks like.
//!
//! Method: `report_exit` examines a peer at once, and thoroughly; it does not rely on the report. Where a test does not
//! call it, the peers notice the death by themselves.

use ipc_tests::support::{LIMIT, asleep, dismiss, hand_over, prompt, sleepy};
use ipc_tests::{
    Pid, Signal,
    asleep::await_sleepers,
    child::Peer,
    guarded, program,
    rounds::{Rng, rounds, seed},
};
use nix::sys::signal::kill;
use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};
use workring::{
    Handoff, Options, Receiver, RecvError, SendError, Sender,
    error::{RecvTimeoutError, TryRecvError},
    queue::{Raw, Stats},
};

/// Returns options for queues whose waits sleep at once, and look for dead peers often.
fn watchful(capacity: usize) -> Options {
    Options::new(capacity)
        .spin(Duration::ZERO)
        .liveness_interval(Duration::from_millis(5))
}

fn id(peer: &Peer) -> u32 {
    peer.pid().as_raw().try_into().expect("a process id")
}

/// Kills the process, whatever it is doing, and reaps it.
fn kill_and_reap(peer: &mut Peer) -> u32 {
    let id = id(peer);
    peer.signal(Signal::SIGKILL);
    peer.wait();
    id
}

/// Gives an order to a `mortal`, and returns its answer.
fn ask(peer: &mut Peer, order: &str) -> String {
    peer.say(order);
    peer.answer()
}

/// Asserts that every block of a queue at rest is free or contains one of its messages (K6).
fn assert_conserved(stats: &Stats) {
    let used: u64 = stats
        .blocks
        .iter()
        .map(|class| class.total - class.free)
        .sum();
    let messages = stats.queued + stats.held + stats.returned + stats.dead_letters;
    assert_eq!(used, messages, "blocks leaked: {stats:?}");
}

fn mortal(tasks: &Receiver<u32>) -> Peer {
    let mut peer = hand_over("victim", &[], |handoff| handoff.give("tasks", tasks));
    assert_eq!(peer.answer(), "ready");
    peer
}

/// Returns a queue with one message, which a child has leased.
fn one_leased() -> (Sender<u32>, Receiver<u32>, Peer) {
    let (tx, rx) = watchful(8).channel::<u32>().expect("a queue");
    let mut victim = mortal(&rx);
    tx.send(1).expect("room");
    assert_eq!(ask(&mut victim, "lease"), "leased");
    (tx, rx, victim)
}

/// Returns a queue with five messages, three of which a child has leased.
fn three_of_five_leased(options: &Options) -> (Sender<u32>, Receiver<u32>, Peer) {
    let (tx, rx) = options.channel::<u32>().expect("a queue");
    let mut victim = mortal(&rx);
    for number in 1..=5 {
        tx.send(number).expect("room");
    }
    assert_eq!(ask(&mut victim, "lease 3"), "leased");
    (tx, rx, victim)
}

/// Receives all messages, and returns each with its number of deliveries.
fn drain(rx: &Receiver<u32>) -> Vec<(u32, u32)> {
    std::iter::from_fn(|| rx.try_lease().ok())
        .map(|lease| (lease.deliveries(), lease.ack()))
        .map(|(attempts, number)| (number, attempts))
        .collect()
}

/// Asserts that a live peer is left alone, however often it is examined.
fn assert_left_alone(rx: &Receiver<u32>, victim: &Peer, held: u64) {
    rx.report_exit(id(victim));
    let waited = rx.recv_timeout(Duration::from_millis(30));
    assert!(
        matches!(waited, Err(RecvTimeoutError::Timeout)),
        "{waited:?}"
    );
    let stats = rx.stats();
    assert_eq!((stats.recovered, stats.held), (0, held));
}

/// Asserts that the peer was found dead: its messages are returned, and its entry in the peer table is free.
fn assert_found_dead(rx: &Receiver<u32>, held: &[u32]) {
    for number in held {
        let lease = rx.lease().expect("a message that was returned");
        assert_eq!((*lease, lease.deliveries()), (*number, 1));
        lease.ack();
    }
    let stats = rx.stats();
    assert_eq!((stats.recovered, stats.held), (1, 0));
    assert_conserved(&stats);
}

#[test]
fn messages_of_a_killed_process_are_delivered_first_and_in_order() {
    prompt(|| {
        let (tx, rx, mut victim) = three_of_five_leased(&sleepy(8));
        let dead = kill_and_reap(&mut victim);
        tx.report_exit(dead);
        let stats = rx.stats();
        assert_eq!((stats.returned, stats.held, stats.recovered), (3, 0, 1));
        let deaths: Vec<_> = stats.deaths.iter().map(|death| death.pid).collect();
        assert_eq!(deaths, [Some(dead)]);
        assert_eq!(drain(&rx), [(1, 1), (2, 1), (3, 1), (4, 0), (5, 0)]);
        assert_conserved(&rx.stats());
    });
}

#[test]
fn after_its_last_delivery_the_message_of_a_killed_process_is_a_dead_letter() {
    prompt(|| {
        let (_tx, rx, mut victim) = three_of_five_leased(&sleepy(8).max_deliveries(1));
        rx.report_exit(kill_and_reap(&mut victim));
        assert_eq!(drain(&rx), [(4, 0), (5, 0)]);
        let mut letters = Vec::new();
        for letter in rx.dead_letters() {
            letters.push((letter.decode().expect("a number"), letter.deliveries()));
        }
        assert_eq!(letters, [(1, 1), (2, 1), (3, 1)]);
        assert_conserved(&rx.stats());
    });
}

#[test]
fn a_waiting_receiver_notices_a_death() {
    guarded(LIMIT, || {
        let (_tx, rx, mut victim) = one_leased();
        kill_and_reap(&mut victim);
        assert_found_dead(&rx, &[1]);
    });
}

/// It receives continuously and never waits.
#[test]
fn a_busy_receiver_notices_a_death() {
    guarded(LIMIT, || {
        let (tx, rx, mut victim) = one_leased();
        kill_and_reap(&mut victim);
        for number in 2.. {
            tx.try_send(number).expect("room");
            if rx.try_recv().expect("a message") == 1 {
                break;
            }
        }
        assert_eq!(rx.stats().recovered, 1);
    });
}

/// It only calls `try_recv`, and the queue is empty.
#[test]
fn a_receiver_that_never_waits_notices_a_death() {
    guarded(LIMIT, || {
        let (_tx, rx, mut victim) = one_leased();
        kill_and_reap(&mut victim);
        while matches!(rx.try_recv(), Err(TryRecvError::Empty)) {}
        assert_eq!(rx.stats().recovered, 1);
    });
}

#[test]
fn a_sender_that_is_killed_with_a_reservation_leaves_no_trace() {
    prompt(|| {
        let (tx, rx) = sleepy(4).channel_with::<Vec<u8>, Raw>().expect("a queue");
        let mut victim = hand_over("reserver", &[], |handoff| handoff.give("queue", &tx));
        assert_eq!(victim.answer(), "reserved");
        rx.report_exit(kill_and_reap(&mut victim));
        assert_conserved(&rx.stats());
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    });
}

#[test]
fn a_sender_that_is_killed_in_its_sleep_leaves_no_trace() {
    prompt(|| {
        let (tx, rx) = sleepy(1).channel::<u32>().expect("a queue");
        tx.send(1).expect("room");
        let mut victim = hand_over("blocked-sender", &[&2], |handoff| {
            handoff.give("queue", &tx)
        });
        await_sleepers(victim.pid(), 1);
        rx.report_exit(kill_and_reap(&mut victim));
        assert_conserved(&rx.stats());
        assert_eq!(drain(&rx), [(1, 0)]);
        tx.send(3).expect("room");
    });
}

#[test]
fn a_receiver_that_is_killed_in_its_sleep_takes_no_message() {
    prompt(|| {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let mut victim = hand_over("liveness-checker", &[], |handoff| {
            handoff.give("tasks", &rx)
        });
        assert_eq!(victim.answer(), "ready");
        await_sleepers(victim.pid(), 1);
        let dead = kill_and_reap(&mut victim);
        let waiting = {
            let rx = rx.clone();
            asleep(move || rx.recv())
        };
        tx.send(1).expect("room");
        tx.report_exit(dead);
        assert_eq!(waiting.join().expect("join").expect("a message"), 1);
    });
}

/// C7 by SIGKILL, without a report of the exit.
#[test]
fn the_last_sender_that_is_killed_ends_the_readers() {
    guarded(LIMIT, || {
        let (tx, rx) = watchful(4).channel::<u32>().expect("a queue");
        let mut senders: Vec<Peer> = (0..3)
            .map(|_| hand_over("victim", &[], |handoff| handoff.give("results", &tx)))
            .collect();
        drop(tx);
        for sender in &mut senders {
            assert_eq!(sender.answer(), "ready");
            assert_eq!(ask(sender, "send 7"), "sent");
        }
        for sender in &mut senders {
            assert!(!rx.is_closed(), "a sender is left");
            kill_and_reap(sender);
        }
        for _ in 0..3 {
            assert_eq!(rx.recv().expect("the message that they had sent"), 7);
        }
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
    });
}

/// C7 by SIGKILL, without a report of the exit.
#[test]
fn the_last_receiver_that_is_killed_ends_the_senders() {
    guarded(LIMIT, || {
        let (tx, rx) = watchful(1).channel::<u32>().expect("a queue");
        let mut receivers = [mortal(&rx), mortal(&rx)];
        drop(rx);
        tx.send(1).expect("room");
        for receiver in &mut receivers {
            assert!(!tx.is_closed(), "a receiver is left");
            kill_and_reap(receiver);
        }
        assert!(matches!(tx.send(2), Err(SendError::Closed(2))));
    });
}

/// A close that waits for leases does not wait for holders that are dead.
#[test]
fn a_close_that_waits_for_leases_ends_after_the_messages_of_a_dead_holder() {
    guarded(LIMIT, || {
        let (tx, rx, mut victim) = three_of_five_leased(&watchful(8).close_waits_for_leases(true));
        drop(tx);
        assert_eq!(drain(&rx), [(4, 0), (5, 0)]);
        kill_and_reap(&mut victim);
        assert_found_dead(&rx, &[1, 2, 3]);
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
    });
}

#[test]
fn a_stopped_process_is_alive() {
    guarded(LIMIT, || {
        let (_tx, rx, mut victim) = one_leased();
        victim.stop();
        assert_left_alone(&rx, &victim, 1);
        victim.resume();
        assert_eq!(ask(&mut victim, "ack"), "acknowledged");
        assert_eq!(rx.stats().acknowledged, 1);
        dismiss(victim);
    });
}

/// Its mapping keeps its lock, since it may write to the queue at any moment. Its death is noticed all the same.
#[test]
fn a_process_that_closes_all_descriptors_is_alive_until_it_is_dead() {
    guarded(LIMIT, || {
        let (tx, rx, mut victim) = one_leased();
        assert_eq!(ask(&mut victim, "close-all"), "closed");
        assert!(rx.stats().peers.iter().all(|peer| !peer.unlocked));
        assert_left_alone(&rx, &victim, 1);
        assert_eq!(ask(&mut victim, "ack"), "acknowledged");
        tx.send(2).expect("room");
        assert_eq!(ask(&mut victim, "lease"), "leased");
        kill_and_reap(&mut victim);
        assert_found_dead(&rx, &[2]);
    });
}

/// The child has a copy of the descriptor, and so holds the lock.
#[test]
fn a_forked_child_that_keeps_the_lock_does_not_keep_its_parent_alive() {
    guarded(LIMIT, || {
        let (_tx, rx, mut victim) = one_leased();
        let child: i32 = ask(&mut victim, "fork").parse().expect("a process id");
        assert_left_alone(&rx, &victim, 1);
        kill_and_reap(&mut victim);
        assert_found_dead(&rx, &[1]);
        kill(Pid::from_raw(child), Signal::SIGKILL).expect("the child is alive");
    });
}

/// The parent runs another program. Only its mappings show that.
#[test]
fn a_forked_child_that_keeps_the_lock_does_not_hide_another_program() {
    guarded(LIMIT, || {
        let (_tx, rx, mut victim) = one_leased();
        let child: i32 = ask(&mut victim, "fork").parse().expect("a process id");
        assert_eq!(ask(&mut victim, "exec"), "another");
        assert_found_dead(&rx, &[1]);
        kill(Pid::from_raw(child), Signal::SIGKILL).expect("the child is alive");
        dismiss(victim);
    });
}

#[test]
fn a_process_that_runs_another_program_is_dead() {
    guarded(LIMIT, || {
        let (_tx, rx, mut victim) = one_leased();
        assert_eq!(ask(&mut victim, "exec"), "another");
        assert_found_dead(&rx, &[1]);
        dismiss(victim);
    });
}

/// It looks like a zombie.
#[test]
fn a_process_whose_first_thread_has_ended_is_alive() {
    guarded(LIMIT, || {
        let (tx, rx, mut victim) = one_leased();
        assert_eq!(ask(&mut victim, "leader-ends"), "going on");
        let stat = format!("/proc/{}/stat", victim.pid());
        while !std::fs::read_to_string(&stat)
            .expect("/proc")
            .contains(") Z ")
        {
            thread::yield_now();
        }
        assert_left_alone(&rx, &victim, 1);
        // It is alive without its descriptors, too.
        assert_eq!(ask(&mut victim, "close-all"), "closed");
        assert_left_alone(&rx, &victim, 1);
        assert_eq!(ask(&mut victim, "ack"), "acknowledged");
        tx.send(2).expect("room");
        assert_eq!(ask(&mut victim, "lease"), "leased");
        kill_and_reap(&mut victim);
        assert_found_dead(&rx, &[2]);
    });
}

#[test]
fn an_unreaped_zombie_is_dead() {
    guarded(LIMIT, || {
        let (_tx, rx, mut victim) = one_leased();
        victim.signal(Signal::SIGKILL);
        victim.wait_unreaped();
        assert_found_dead(&rx, &[1]);
        victim.wait();
    });
}

#[test]
fn a_child_that_exits_without_dropping_its_handles_is_dead() {
    guarded(LIMIT, || {
        let (_tx, rx, mut victim) = one_leased();
        victim.say("exit");
        victim.wait();
        assert_found_dead(&rx, &[1]);
    });
}

/// It never becomes a peer. Its end counts from the hand-off until the child is dead.
#[test]
fn a_child_that_ends_before_it_takes_over_its_end_is_dead() {
    guarded(LIMIT, || {
        for killed in [false, true] {
            let (tx, rx) = watchful(4).channel::<u32>().expect("a queue");
            let mut child = hand_over("echo", &[&1], |handoff| handoff.give("queue", &tx));
            drop(tx);
            assert_eq!(ask(&mut child, "here"), "here");
            assert_left_alone(&rx, &child, 0);
            assert!(!rx.is_closed());
            if killed {
                kill_and_reap(&mut child);
            } else {
                dismiss(child);
            }
            assert!(matches!(rx.recv(), Err(RecvError::Closed)));
            assert_eq!(rx.stats().recovered, 1);
        }
    });
}

/// The child is a program that does not use queues.
#[test]
fn a_parent_that_watches_ends_the_role_of_a_dead_child_at_once() {
    prompt(|| {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let handoff = Handoff::new().give("queue", &tx).expect("give");
        let mut child = handoff.spawn(&mut Command::new("true")).expect("spawn");
        drop(tx);
        child.wait().expect("wait");
        rx.report_exit(child.id());
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
    });
}

/// New peers reuse the entries of dead ones in the peer table.
#[test]
fn dead_peers_make_room_for_new_ones() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let mut victim = mortal(&rx);
        let mut handoffs = Vec::new();
        while let Ok(handoff) = Handoff::new().give("tx", &tx) {
            handoffs.push(handoff);
        }
        kill_and_reap(&mut victim);
        let handoff = Handoff::new().give("tx", &tx);
        handoffs.push(handoff.expect("the entry of a dead peer"));
        assert_eq!(rx.stats().recovered, 1);
    });
}

#[test]
fn a_forked_child_cannot_use_its_parents_queues() {
    guarded(LIMIT, || {
        let mut peer = Peer::spawn(program("peer"), "forker", &[], Command::spawn).expect("spawn");
        assert_eq!(peer.answer(), "the child is done");
        assert_eq!(peer.answer(), "the parent is done");
        dismiss(peer);
    });
}

/// W1. A receiver is killed just after it was woken, before or after it has taken the message.
#[test]
fn no_message_is_lost_with_a_receiver_that_is_killed_when_it_is_woken() {
    let rounds = rounds(100, 10_000);
    guarded(LIMIT + Duration::from_millis(100) * rounds, || {
        let mut rng = Rng::with_seed(seed());
        let options = sleepy(8).max_deliveries(15);
        let (tasks, incoming) = options.channel::<u32>().expect("a queue");
        let (outgoing, results) = options.channel::<u32>().expect("a queue");
        let lessee = || {
            let mut peer = hand_over("lessee", &[], |handoff| {
                handoff.give("tasks", &incoming)?.give("results", &outgoing)
            });
            assert_eq!(peer.answer(), "ready");
            peer
        };
        let mut lessees = [lessee(), lessee()];
        for round in 0..rounds {
            for peer in &lessees {
                await_sleepers(peer.pid(), 1);
            }
            tasks.send(round).expect("open");
            let victim = rng.choice(&mut lessees).expect("one of two");
            (0..rng.u32(0..3_000)).for_each(|_| std::hint::spin_loop());
            let dead = kill_and_reap(victim);
            *victim = lessee();
            tasks.report_exit(dead);
            results.report_exit(dead);
            // A result comes twice if a receiver was killed between the result and the acknowledgement.
            while results.recv().expect("a result") != round {}
        }
        drop((tasks, incoming, outgoing));
        lessees.into_iter().for_each(dismiss);
        drain(&results);
        assert_conserved(&results.stats());
    });
}

/// The next process starts the recovery again.
#[test]
fn a_recoverer_may_be_killed_and_the_next_one_finishes() {
    const HELD: u32 = 500;
    let rounds = rounds(15, 400);
    guarded(LIMIT + Duration::from_millis(500) * rounds, || {
        let mut rng = Rng::with_seed(seed());
        for _ in 0..rounds {
            let options = watchful(HELD as usize).liveness_interval(Duration::from_millis(1));
            let (tx, rx) = options.channel::<u32>().expect("a queue");
            let mut holder = mortal(&rx);
            for number in 0..HELD {
                tx.send(number).expect("room");
            }
            assert_eq!(ask(&mut holder, &format!("lease {HELD}")), "leased");
            let mut recoverer = hand_over("victim", &[], |handoff| handoff.give("tasks", &rx));
            assert_eq!(recoverer.answer(), "ready");
            recoverer.say("lease");
            await_sleepers(recoverer.pid(), 1);
            let dead = kill_and_reap(&mut holder);
            (0..rng.u32(0..200_000)).for_each(|_| std::hint::spin_loop());
            let also_dead = kill_and_reap(&mut recoverer);
            rx.report_exit(dead);
            rx.report_exit(also_dead);
            let numbers = drain(&rx);
            assert_eq!(numbers.len(), HELD as usize);
            for (expected, (number, attempts)) in (0..).zip(numbers) {
                assert_eq!(number, expected);
                // The first message has one delivery more if the recoverer had leased it.
                assert!(attempts == 1 || number == 0 && attempts == 2);
            }
            assert_eq!(rx.stats().recovered, 2);
            assert_conserved(&rx.stats());
        }
    });
}

/// K7. The times are printed and not asserted, since other programs run on this machine.
#[test]
fn the_time_until_a_death_is_noticed() {
    let rounds = rounds(10, 100);
    guarded(LIMIT, || {
        for (name, slice, watched) in [
            ("a parent that watches", 10_000, true),
            ("liveness checks every 100 ms", 100, false),
        ] {
            let mut times: Vec<Duration> = (0..rounds).map(|_| notice(slice, watched)).collect();
            times.sort();
            let median = times.get(times.len() / 2).expect("times");
            let worst = times.last().expect("times");
            println!("{name}: median {median:.1?}, worst {worst:.1?}");
        }
    });
}

/// Returns the time from the kill until a sleeping receiver has the victim's message.
fn notice(slice: u64, watched: bool) -> Duration {
    let options = sleepy(4).liveness_interval(Duration::from_millis(slice));
    let (tx, rx) = options.channel::<u32>().expect("a queue");
    let mut victim = mortal(&rx);
    tx.send(1).expect("room");
    assert_eq!(ask(&mut victim, "lease"), "leased");
    let sleeper = {
        let rx = rx.clone();
        asleep(move || {
            rx.recv().expect("a message");
            Instant::now()
        })
    };
    let start = Instant::now();
    let dead = kill_and_reap(&mut victim);
    if watched {
        tx.report_exit(dead);
    }
    sleeper.join().expect("join") - start
}

/// The liveness interval is long, so only the wake-up of the recovery ends this sleep in time.
#[test]
fn the_recovery_of_a_message_wakes_a_sleeper() {
    prompt(|| {
        let (tx, rx) = sleepy(8).channel::<u32>().expect("a queue");
        let mut victim = mortal(&rx);
        tx.send(1).expect("room");
        assert_eq!(ask(&mut victim, "lease"), "leased");
        let waiting = {
            let rx = rx.clone();
            asleep(move || rx.recv())
        };
        let dead = kill_and_reap(&mut victim);
        tx.report_exit(dead);
        let received = waiting.join().expect("join");
        assert_eq!(received.expect("the message of the dead peer"), 1);
    });
}
