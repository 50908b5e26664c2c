//! Throughput between two processes: batches of 64 messages next to single messages.
//!
//!     cargo bench --bench batches
//!     cargo bench --bench batches -- crowded
//!
//! The second form sends single messages through a queue that keeps 128 dead letters and 64 leases all the time, next to
//! an empty one: they occupy cells of the ring.
//!
//! One sender, bound to processor 0, and one receiver, bound to processor 1; capacity 1,024. *Batches* use `send_many`
//! with 64 messages and `recv_many` with up to 64, *single messages* use `send` and `recv`. Every byte of every message
//! is written and checked. The two are run in turn, five times each.
//!
//! | column | meaning |
//! |---|---|
//! | bytes | length of a message |
//! | by 64, single | millions of messages a second, medians |
//! | ratio | of the two medians: how much batches gain |
//! | line | a cache line's round trip, in ns, the worst: compare only figures with similar ones |

mod support;

use std::process::Command;
use support::{
    Aligned, Plain, RUNS, arguments, as_float, median, now, number, pin, print_origin, while_near,
    write_message,
};
use workring::{Handoff, Options, Receiver, Sender, inherit};

const CAPACITY: usize = 1024;
const BATCH: usize = 64;

impl<const N: usize> Aligned<N> {
    #[inline(always)]
    fn make(number: u64) -> Self {
        let mut bytes = [0; N];
        write_message(&mut bytes, number);
        Self(bytes)
    }
}

fn main() {
    let arguments = arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["child", end, kind, size, count] => {
            let (batched, count) = (*kind == "batched", count.parse().expect("count"));
            match *size {
                "8" => act::<8>(end, batched, count),
                "64" => act::<64>(end, batched, count),
                other => panic!("no messages of {other} bytes"),
            }
        }
        [] => {
            print_origin();
            println!(
                "# M/s: millions of messages a second, median of {RUNS}; line: ns of a cache line's round trip, worst"
            );
            println!(
                "{:>8} {:>14} {:>14} {:>7} {:>6}",
                "bytes", "by 64, M/s", "single, M/s", "ratio", "line"
            );
            compare::<8>("batched", "single", 40_000_000);
            compare::<64>("batched", "single", 8_000_000);
        }
        ["crowded"] => {
            print_origin();
            println!("# M/s: millions of messages a second, median of {RUNS}; line: as above");
            println!(
                "{:>8} {:>14} {:>14} {:>7} {:>6}",
                "bytes", "crowded, M/s", "empty, M/s", "ratio", "line"
            );
            compare::<8>("crowded", "single", 20_000_000);
            compare::<64>("crowded", "single", 8_000_000);
        }
        other => panic!("see the first lines of this file; got {other:?}"),
    }
}

/// Prints the rates of two kinds of sending, and their ratio.
fn compare<const N: usize>(kind: &str, other: &str, messages: u64) {
    let (mut rates, mut others, mut worst) = (Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..RUNS {
        let ((rate, other), probe) =
            while_near(|| (run::<N>(kind, messages), run::<N>(other, messages)));
        rates.push(rate);
        others.push(other);
        worst = worst.max(probe);
    }
    let (rate, other) = (median(&rates), median(&others));
    println!(
        "{N:>8} {rate:>14.2} {other:>14.2} {:>7.2} {worst:>6.0}",
        rate / other
    );
}

/// Makes the queue keep 128 dead letters and 64 leases, for as long as this process runs.
fn crowd<const N: usize>(tx: &Sender<Aligned<N>, Plain>, rx: &Receiver<Aligned<N>, Plain>) {
    for n in 0..128 {
        assert!(tx.send(Aligned::make(n)).is_ok(), "there is room");
        drop(rx.lease().expect("a message"));
    }
    for n in 0..64 {
        assert!(tx.send(Aligned::make(n)).is_ok(), "there is room");
        core::mem::forget(rx.lease().expect("a message"));
    }
    let stats = rx.stats();
    assert_eq!((stats.dead_letters, stats.held), (128, 64));
}

/// Returns millions of messages a second.
fn run<const N: usize>(kind: &str, messages: u64) -> f64 {
    let (tx, rx) = Options::new(CAPACITY)
        .max_deliveries(1)
        .channel_with::<Aligned<N>, Plain>()
        .expect("a queue");
    if kind == "crowded" {
        crowd(&tx, &rx);
    }
    let (ready, all_ready) = workring::channel::<()>(2).expect("a queue");
    let (go, wait_for_go) = workring::channel::<()>(1).expect("a queue");
    let (done, all_done) = workring::channel::<(u64, u64, u64)>(2).expect("a queue");
    let (size, count) = (N.to_string(), messages.to_string());
    let mut children = Vec::new();
    for end in ["send", "receive"] {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["child", end, kind, size.as_str(), count.as_str()]);
        let handoff = Handoff::new();
        let handoff = if end == "send" {
            handoff.give("queue", &tx).expect("a ticket")
        } else {
            handoff.give("queue", &rx).expect("a ticket")
        };
        let handoff = handoff.give("ready", &ready).expect("a ticket");
        let handoff = handoff.give("go", &wait_for_go).expect("a ticket");
        let handoff = handoff.give("done", &done).expect("a ticket");
        children.push(handoff.spawn(&mut command).expect("a child"));
    }
    drop((tx, rx, ready, wait_for_go, done));
    for _ in &children {
        all_ready.recv().expect("a child is ready");
    }
    go.close();
    let (mut first, mut last, mut received) = (u64::MAX, 0, 0);
    for report in all_done {
        let (start, end, count) = report.expect("a report");
        first = first.min(start);
        last = last.max(end);
        received += count;
    }
    for mut child in children {
        assert!(child.wait().expect("wait").success(), "a child failed");
    }
    assert_eq!(received, messages, "messages were lost or duplicated");
    as_float(received) * 1e3 / as_float(last - first)
}

/// Plays a child: the sender or the receiver.
fn act<const N: usize>(end: &str, batched: bool, count: u64) {
    let ready: Sender<()> = inherit("ready").expect("ready");
    let go: Receiver<()> = inherit("go").expect("go");
    let done: Sender<(u64, u64, u64)> = inherit("done").expect("done");
    let sends = end == "send";
    pin(usize::from(!sends));
    let start = || {
        ready.send(()).expect("the parent receives");
        assert!(
            go.recv().is_err(),
            "the parent closes it to start all children"
        );
        now()
    };
    let report = if sends {
        let queue: Sender<Aligned<N>, Plain> = inherit("queue").expect("queue");
        let started = start();
        send(&queue, batched, count);
        (started, now(), 0)
    } else {
        let queue: Receiver<Aligned<N>, Plain> = inherit("queue").expect("queue");
        let started = start();
        let count = receive(&queue, batched);
        (started, now(), count)
    };
    done.send(report).expect("the parent receives");
}

fn send<const N: usize>(queue: &Sender<Aligned<N>, Plain>, batched: bool, count: u64) {
    if !batched {
        for n in 0..count {
            let sent = queue.send(Aligned::make(number(0, n)));
            assert!(sent.is_ok(), "the queue takes every message");
        }
        return;
    }
    let mut next = 0;
    while next < count {
        let end = count.min(next + BATCH as u64);
        let sent = queue.send_many((next..end).map(|n| Aligned::make(number(0, n))));
        assert!(sent.is_ok(), "the queue takes every message");
        next = end;
    }
}

/// Returns the number of messages received. Compares every byte: with one sender and one receiver the next message is
/// known.
fn receive<const N: usize>(queue: &Receiver<Aligned<N>, Plain>, batched: bool) -> u64 {
    let mut count = 0;
    let mut check = |message: Aligned<N>| {
        let expected = Aligned::<N>::make(number(0, count));
        assert!(
            message.0 == expected.0,
            "message {count} is not the next one"
        );
        count += 1;
    };
    if batched {
        let mut messages = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut messages, BATCH).is_ok() {
            messages.drain(..).for_each(&mut check);
        }
    } else {
        while let Ok(message) = queue.recv() {
            check(message);
        }
    }
    count
}
