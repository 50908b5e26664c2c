//! The event that reports a death, and what happens to a queue whose `tracing` subscriber panics, blocks, or uses that
//! queue.

use ipc_tests::support::books::{all, assert_adds_up, assert_all_free, assert_balanced};
use ipc_tests::support::{LIMIT, hand_over, prompt, sleepy};
use ipc_tests::{Pid, Signal, asleep::await_sleepers, child::Peer, guarded};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};
use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    dispatcher::with_default,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use workring::{Handoff, Lease, Options, Receiver, Sender, queue::Raw};

type Fields = BTreeMap<&'static str, String>;

/// A subscriber that keeps the fields of all events.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<Fields>>>);

struct FieldVisitor<'a>(&'a mut Fields);

impl Visit for FieldVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "workring"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut FieldVisitor(&mut fields));
        self.0.lock().expect("no panic").push(fields);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn ask(peer: &mut Peer, order: &str) -> String {
    peer.say(order);
    peer.answer()
}

#[test]
fn an_event_says_who_died_and_what_was_done() {
    prompt(|| {
        let listener = Listener::default();
        let (tx, rx) = sleepy(8).channel::<u32>().expect("a queue");
        let mut victim = hand_over("victim", &[], |handoff| handoff.give("tasks", &rx));
        assert_eq!(victim.answer(), "ready");
        for number in 0..3 {
            tx.send(number).expect("room");
        }
        assert_eq!(ask(&mut victim, "lease 3"), "leased");
        let id = victim.pid().as_raw().try_into().expect("a process id");
        with_default(&Dispatch::new(listener.clone()), || {
            rx.report_exit(id);
            victim.signal(Signal::SIGKILL);
            victim.wait();
            rx.report_exit(id);
        });
        let fields = listener.0.lock().expect("no panic");
        let [death] = &fields[..] else {
            panic!("one death: {fields:?}");
        };
        let has = |event: &Fields, field, value: &str| {
            event.get(field).is_some_and(|text| text.contains(value))
        };
        assert!(has(death, "pid", &id.to_string()) && has(death, "message", "died"));
        assert!(has(death, "returned", "3") && has(death, "receives", "true"));
    });
}

/// A subscriber that calls a function for each event of the crate, and counts the calls.
struct Caller {
    calls: Arc<AtomicU64>,
    act: Box<dyn Fn() + Send + Sync>,
}

impl Subscriber for Caller {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "workring"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        (self.act)();
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Runs `body` with a subscriber that calls `act`. Returns how often it was called, with the outcome of `body`.
fn subscribed<R>(
    act: impl Fn() + Send + Sync + 'static,
    body: impl FnOnce() -> R,
) -> (u64, thread::Result<R>) {
    let calls = Arc::<AtomicU64>::default();
    let caller = Caller {
        calls: Arc::clone(&calls),
        act: Box::new(act),
    };
    let outcome = with_default(&Dispatch::new(caller), || {
        catch_unwind(AssertUnwindSafe(body))
    });
    (calls.load(Ordering::Relaxed), outcome)
}

fn panics() {
    panic!("failed printing to stdout");
}

const LIVENESS_INTERVAL: Duration = Duration::from_millis(20);

fn options(capacity: usize) -> Options {
    sleepy(capacity)
        .liveness_interval(LIVENESS_INTERVAL)
        .max_leases(2)
}

type Tx = Sender<u32>;
type Rx = Receiver<u32>;

/// Kills a peer, and waits until this process is due to look for dead peers. The next operation of a new handle then
/// finds it dead.
fn kill_until_sweep_is_due(mut victim: Peer) {
    victim.signal(Signal::SIGKILL);
    victim.wait();
    // The next sweep is due by the clock. This waits for the clock, and for no process.
    thread::sleep(2 * LIVENESS_INTERVAL);
}

/// Returns a peer that holds messages 0 and 1.
fn victim_of(tx: &Tx, rx: &Rx) -> Peer {
    let mut victim = hand_over("victim", &[], |handoff| handoff.give("tasks", rx));
    assert_eq!(victim.answer(), "ready");
    tx.send(0).expect("room");
    tx.send(1).expect("room");
    assert_eq!(ask(&mut victim, "lease 2"), "leased");
    victim
}

/// One operation, which returns the messages that it has received.
type Operation = fn(&Tx, &Rx) -> Vec<u32>;

fn recv_many(rx: &Rx) -> Vec<u32> {
    let mut messages = Vec::new();
    let _ = rx.recv_many(&mut messages, 2);
    messages
}

/// Operations that send 90 (and 91), or receive. A test sees to it that none has to wait.
const OPERATIONS: [(&str, Operation); 12] = [
    ("send", |tx, _| {
        tx.send(90).map(|()| vec![]).unwrap_or_default()
    }),
    ("try_send", |tx, _| {
        tx.try_send(90).map(|()| vec![]).unwrap_or_default()
    }),
    ("send_timeout", |tx, _| {
        let sent = tx.send_timeout(90, LIMIT);
        sent.map(|()| vec![]).unwrap_or_default()
    }),
    ("send_many", |tx, _| {
        tx.send_many([90, 91]).map(|_| vec![]).unwrap_or_default()
    }),
    ("recv", |_, rx| rx.recv().into_iter().collect()),
    ("try_recv", |_, rx| rx.try_recv().into_iter().collect()),
    ("recv_timeout", |_, rx| {
        rx.recv_timeout(LIMIT).into_iter().collect()
    }),
    ("recv_many", |_, rx| recv_many(rx)),
    ("iter", |_, rx| {
        rx.iter().next().and_then(Result::ok).into_iter().collect()
    }),
    ("lease", |_, rx| {
        rx.lease().map(Lease::ack).into_iter().collect()
    }),
    ("try_lease", |_, rx| {
        rx.try_lease().map(Lease::ack).into_iter().collect()
    }),
    ("give", |_, rx| {
        drop(Handoff::new().give("tasks", rx));
        vec![]
    }),
];

fn sorted(mut messages: Vec<u32>) -> Vec<u32> {
    messages.sort_unstable();
    messages
}

/// Asserts that the queue contains exactly the messages `expected`, and that every operation works.
fn assert_works(tx: &Tx, rx: &Rx, expected: Vec<u32>, what: &str) {
    assert_balanced(rx);
    let stats = rx.stats();
    let inside = stats.queued + stats.returned;
    assert_eq!((inside, stats.held), (expected.len() as u64, 0), "{what}");
    assert_eq!(sorted(all(rx)), sorted(expected), "{what}");
    assert_all_free(rx);
    for (name, act) in OPERATIONS {
        tx.send(5).expect("room");
        tx.send(6).expect("room");
        let mut seen = act(tx, rx);
        seen.extend(all(rx));
        assert!(
            seen.contains(&5) && seen.contains(&6),
            "{name} after {what}"
        );
        let sends = name.contains("send");
        assert_eq!(seen.contains(&90), sends, "{name} after {what}");
    }
    tx.try_send_many([7, 8]).expect("room");
    let lease = rx.try_lease().expect("one");
    let other = rx.try_lease().expect("the second of two leases");
    lease.nack();
    other.ack();
    assert_eq!(all(rx).len(), 1, "{what}");
    assert_balanced(rx);
    assert_all_free(rx);
}

#[test]
fn a_subscriber_that_panics_unwinds_an_operation_that_has_done_nothing() {
    guarded(LIMIT, || {
        for (name, act) in OPERATIONS {
            let (tx, rx) = options(16).channel::<u32>().expect("a queue");
            let victim = victim_of(&tx, &rx);
            (2..6).for_each(|n| tx.send(n).expect("room"));
            kill_until_sweep_is_due(victim);
            let (calls, outcome) = subscribed(panics, || act(&tx.clone(), &rx.clone()));
            assert!(outcome.is_err(), "{name} finds the dead peer");
            assert_eq!(calls, 1, "{name}");
            assert_works(&tx, &rx, (0..6).collect(), name);
        }
    });
}

#[test]
fn a_subscriber_that_panics_on_each_of_two_deaths_gets_both_and_both_are_recovered() {
    guarded(LIMIT, || {
        let (tx, rx) = options(16).channel::<u32>().expect("a queue");
        let first = victim_of(&tx, &rx);
        let second = victim_of(&tx, &rx);
        kill_until_sweep_is_due(first);
        kill_until_sweep_is_due(second);
        let (calls, outcome) = subscribed(panics, || rx.clone().try_recv());
        assert!(outcome.is_err() && calls == 2, "one event for each death");
        assert_works(&tx, &rx, vec![0, 0, 1, 1], "try_recv");
    });
}

#[test]
fn a_subscriber_that_panics_ends_a_wait_and_costs_nothing_else() {
    guarded(LIMIT, || {
        for (name, act) in OPERATIONS {
            let sends = name.starts_with("send");
            if name.starts_with("try") || name == "give" {
                continue;
            }
            let (tx, rx) = options(4).channel::<u32>().expect("a queue");
            let mut victim = victim_of(&tx, &rx);
            let mut inside = vec![0, 1];
            // So that a receive finds no message, and a send no room.
            while sends && tx.try_send(2).is_ok() {
                inside.push(2);
            }
            thread::scope(|scope| {
                let waits = scope.spawn(|| subscribed(panics, || act(&tx.clone(), &rx.clone())));
                await_sleepers(Pid::this(), 1);
                victim.signal(Signal::SIGKILL);
                victim.wait();
                let (calls, outcome) = waits.join().expect("caught");
                assert!(outcome.is_err() && calls == 1, "{name} finds the dead peer");
            });
            assert_works(&tx, &rx, inside, name);
        }
    });
}

#[test]
fn a_subscriber_that_panics_between_two_batches_leaves_what_was_accepted_before() {
    guarded(LIMIT, || {
        let (tx, rx) = options(4096).channel::<u32>().expect("a queue");
        let mut victim = Some(victim_of(&tx, &rx));
        let source = (2..).inspect(|&n| {
            if n == 50 {
                victim.take().into_iter().for_each(kill_until_sweep_is_due);
            }
        });
        let (calls, outcome) = subscribed(panics, || tx.send_many(source).is_ok());
        assert!(outcome.is_err() && calls == 1);
        let inside = u32::try_from(rx.stats().accepted).expect("a small number");
        assert!(
            inside > 64 && inside % 64 == 2,
            "two, and full batches: {inside}"
        );
        assert_works(&tx, &rx, (0..inside).collect(), "send_many");
    });
}

#[test]
fn a_subscriber_that_panics_leaves_a_lease_settled_and_its_count_right() {
    guarded(LIMIT, || {
        for acks in [true, false] {
            let (tx, rx) = options(16).channel::<u32>().expect("a queue");
            let victim = victim_of(&tx, &rx);
            (2..6).for_each(|n| tx.send(n).expect("room"));
            let lease = rx.lease().expect("a message");
            let other = rx.lease().expect("a message");
            assert_eq!((*lease, *other), (2, 3));
            kill_until_sweep_is_due(victim);
            // The panic leaves the lease settled: acknowledged, or returned.
            let (calls, outcome) = subscribed(panics, || {
                if acks {
                    lease.ack();
                } else {
                    lease.nack();
                }
            });
            assert!(outcome.is_err() && calls == 1, "acks: {acks}");
            let stats = rx.stats();
            assert_eq!((stats.acknowledged, stats.held), (acks.into(), 1));
            assert_eq!(other.ack(), 3);
            let left = [0, 1, 2, 4, 5].into_iter().filter(|&n| !acks || n != 2);
            assert_works(&tx, &rx, left.collect(), "a lease");
        }
    });
}

/// It may wait for the memory of the batch, or for the end of the queue.
#[test]
fn a_subscriber_finds_that_a_batch_has_gone_back_whose_last_message_is_acknowledged() {
    guarded(LIMIT, || {
        for is_owned in [false, true] {
            let (tx, rx) = options(16).channel::<u32>().expect("a queue");
            let victim = victim_of(&tx, &rx);
            tx.send_many([2, 3]).expect("room");
            tx.send(4).expect("room");
            rx.lease().expect("the first of the batch").ack();
            let [last, other] = [3, 4].map(|message| {
                let lease = rx.lease().expect("a message");
                assert_eq!(*lease, message);
                if is_owned { lease.into_owned() } else { lease }
            });
            kill_until_sweep_is_due(victim);
            let in_use = Arc::<AtomicU64>::default();
            let (seen, looks) = (Arc::clone(&in_use), rx.clone());
            let look = move || {
                let blocks = looks.stats().blocks;
                let used = blocks.iter().map(|class| class.total - class.free).sum();
                seen.store(used, Ordering::Relaxed);
            };
            let (calls, _) = subscribed(look, || last.ack());
            // Those of the other lease, and of the two messages that the victim held.
            assert_eq!((calls, in_use.load(Ordering::Relaxed)), (1, 3));
            assert_eq!(other.ack(), 4);
            assert_works(&tx, &rx, vec![0, 1], "a lease of a batch");
        }
    });
}

#[test]
fn a_subscriber_that_panics_in_reserve_keeps_no_block() {
    guarded(LIMIT, || {
        let queue = options(16).channel_with::<Vec<u8>, Raw>();
        let (tx, rx) = queue.expect("a queue");
        let mut victim = hand_over("bytes-lessee", &[], |handoff| handoff.give("tasks", &rx));
        tx.send(vec![1]).expect("room");
        assert_eq!(victim.answer(), "leased");
        let other = tx.clone();
        kill_until_sweep_is_due(victim);
        let (calls, outcome) = subscribed(panics, || drop(other.reserve(8)));
        assert!(outcome.is_err() && calls == 1, "it finds the dead peer");
        let stats = rx.stats();
        assert_adds_up(&stats);
        assert_eq!((stats.accepted, stats.returned, stats.held), (1, 1, 0));
        assert_eq!(all(&rx), [[1]]);
        assert_all_free(&rx);
        let mut room = tx.reserve(1).expect("room");
        room.fill(9);
        room.commit().expect("room");
        drop(rx.lease_bytes().expect("it"));
        assert_eq!(rx.recv().expect("it"), [9]);
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}

/// The message of a commit to a full queue is offered, and not accepted, when the call of the subscriber unwinds: before the
/// wait, or in it.
#[test]
fn a_subscriber_that_panics_in_a_commit_keeps_no_block() {
    guarded(LIMIT, || {
        for waits in [false, true] {
            commit_with_a_panic(waits);
        }
    });
}

fn commit_with_a_panic(waits: bool) {
    let queue = options(4).channel_with::<Vec<u8>, Raw>();
    let (tx, rx) = queue.expect("a queue");
    let mut victim = hand_over("bytes-lessee", &[], |handoff| handoff.give("tasks", &rx));
    tx.send(vec![1]).expect("room");
    assert_eq!(victim.answer(), "leased");
    // The second operation of a handle looks at the clock: one operation does not make a pace yet.
    let other = tx.clone();
    let mut room = other.reserve(8).expect("a block");
    let mut inside = vec![vec![1]];
    while tx.try_send(vec![2]).is_ok() {
        inside.push(vec![2]);
    }
    let (calls, outcome) = if waits {
        thread::scope(|scope| {
            let waiting = scope.spawn(|| subscribed(panics, || room.commit().is_ok()));
            await_sleepers(Pid::this(), 1);
            victim.signal(Signal::SIGKILL);
            victim.wait();
            waiting.join().expect("caught")
        })
    } else {
        kill_until_sweep_is_due(victim);
        subscribed(panics, || room.try_commit().is_ok())
    };
    assert!(outcome.is_err() && calls == 1, "it finds the dead peer");
    let stats = rx.stats();
    assert_adds_up(&stats);
    let accepted = inside.len() as u64;
    assert_eq!((stats.accepted, stats.returned), (accepted, 1), "{stats:?}");
    assert!(room.is_empty(), "the reservation has no block any more");
    assert_eq!(all(&rx), inside);
    assert_all_free(&rx);
    // Nor does it remember the header of one, which may be another owner's by now.
    room.commit().expect_err("there is no block to send");
    assert_eq!(all(&rx), Vec::<Vec<u8>>::new());
    assert_all_free(&rx);
    drop(room);
    assert_all_free(&rx);
    let mut room = tx.reserve(1).expect("room");
    room.fill(9);
    room.commit().expect("room");
    assert_eq!(rx.recv().expect("it"), [9]);
    assert_balanced(&rx);
}

#[test]
fn a_subscriber_may_use_or_close_the_very_queue_that_it_is_called_by() {
    guarded(LIMIT, || {
        for closes in [false, true] {
            for (name, act) in OPERATIONS {
                let (tx, rx) = options(16).channel::<u32>().expect("a queue");
                let victim = victim_of(&tx, &rx);
                (2..9).for_each(|n| tx.send(n).expect("room"));
                kill_until_sweep_is_due(victim);
                let taken = Arc::<Mutex<Vec<u32>>>::default();
                let (inner_tx, inner_rx, seen) = (tx.clone(), rx.clone(), Arc::clone(&taken));
                let uses = move || {
                    let mut seen = seen.lock().expect("no panic");
                    inner_tx.send(70).expect("room");
                    inner_tx.send_many([71, 72]).expect("room");
                    seen.push(inner_rx.recv().expect("one"));
                    seen.push(inner_rx.try_recv().expect("one"));
                    seen.push(inner_rx.lease().expect("one").ack());
                    inner_rx.lease().expect("one").nack();
                    seen.extend(recv_many(&inner_rx));
                    drop(inner_rx.clone());
                    assert_balanced(&inner_rx);
                    if closes {
                        inner_tx.close();
                    }
                };
                let (calls, outcome) = subscribed(uses, || act(&tx.clone(), &rx.clone()));
                assert_eq!(calls, 1, "{name}");
                let mut taken = taken.lock().expect("no panic").clone();
                taken.extend(outcome.expect("no panic"));
                taken.extend(all(&rx));
                let mut expected: Vec<u32> = (0..9).chain([70, 71, 72]).collect();
                let sent = if name == "send_many" { 2 } else { 1 };
                if name.contains("send") && !closes {
                    expected.extend([90, 91].iter().take(sent));
                }
                assert_eq!(sorted(taken), expected, "{name}, closes: {closes}");
                assert_balanced(&rx);
                assert_all_free(&rx);
                if !closes {
                    assert_works(&tx, &rx, vec![], name);
                }
            }
        }
    });
}

#[test]
fn a_subscriber_may_use_or_close_the_very_queue_in_the_middle_of_a_wait() {
    guarded(LIMIT, || {
        for (name, act) in OPERATIONS {
            let sends = name.starts_with("send");
            if name.starts_with("try") || name == "give" {
                continue;
            }
            for closes in [false, true] {
                let (tx, rx) = options(4).channel::<u32>().expect("a queue");
                let mut victim = victim_of(&tx, &rx);
                let mut inside = vec![0, 1];
                while sends && tx.try_send(2).is_ok() {
                    inside.push(2);
                }
                let taken = Arc::<Mutex<Vec<u32>>>::default();
                let (inner_tx, inner_rx, seen) = (tx.clone(), rx.clone(), Arc::clone(&taken));
                // After this, the waiting operation has to notice by itself that it can proceed.
                let uses = move || {
                    let mut seen = seen.lock().expect("no panic");
                    seen.push(inner_rx.lease().expect("one").ack());
                    seen.extend(all(&inner_rx));
                    assert_balanced(&inner_rx);
                    inner_tx.send(70).expect("room");
                    if closes {
                        seen.extend(all(&inner_rx));
                        inner_tx.close();
                    }
                };
                let received = thread::scope(|scope| {
                    let waits = scope.spawn(|| subscribed(uses, || act(&tx.clone(), &rx.clone())));
                    await_sleepers(Pid::this(), 1);
                    victim.signal(Signal::SIGKILL);
                    victim.wait();
                    let (calls, outcome) = waits.join().expect("caught");
                    assert_eq!(calls, 1, "{name}");
                    outcome.expect("no panic")
                });
                assert!(closes || sends || received == [70], "{name}: {received:?}");
                let mut taken = taken.lock().expect("no panic").clone();
                taken.extend(received);
                taken.extend(all(&rx));
                inside.push(70);
                let sent = if name == "send_many" { 2 } else { 1 };
                if sends && !closes {
                    inside.extend([90, 91].iter().take(sent));
                }
                assert_eq!(sorted(taken), inside, "{name}, closes: {closes}");
                assert_balanced(&rx);
                assert_all_free(&rx);
            }
        }
    });
}

#[test]
fn a_subscriber_that_blocks_holds_up_only_its_own_thread() {
    guarded(LIMIT, || {
        for (name, act) in OPERATIONS {
            let (tx, rx) = options(16).channel::<u32>().expect("a queue");
            let victim = victim_of(&tx, &rx);
            kill_until_sweep_is_due(victim);
            let (arrive, arrived) = mpsc::channel();
            let (open, gate) = mpsc::channel::<()>();
            let gate = Mutex::new(gate);
            let blocks = move || {
                arrive.send(()).expect("the test waits");
                let _ = gate.lock().expect("no panic").recv();
            };
            thread::scope(|scope| {
                let (tx, rx) = (&tx, &rx);
                let held_up =
                    scope.spawn(move || subscribed(blocks, || act(&tx.clone(), &rx.clone())));
                arrived.recv().expect("it is called");
                assert_works(tx, rx, vec![0, 1], name);
                // For the operations that receive.
                tx.send_many([3, 4]).expect("room");
                drop(open);
                let (calls, outcome) = held_up.join().expect("caught");
                let mut seen = outcome.expect("no panic");
                seen.extend(all(rx));
                assert_eq!(calls, 1, "{name}");
                assert!(seen.contains(&3) && seen.contains(&4), "{name}: {seen:?}");
                assert_balanced(rx);
                assert_all_free(rx);
            });
        }
    });
}
