//! Large messages in place, next to a plain fill-then-read of the same bytes between the same two processors.
//!
//!     cargo bench --bench in_place
//!
//! *Copied in, read there*: the sender, a process on processor 0, copies the next piece of 64 MiB of its own into
//! each message (`reserve`, `commit`); the receiver, a process on processor 1, sums up the message where it lies
//! (`lease_bytes`, `ack`) together with the same piece of its own 64 MiB, and compares the sums. The plain side does
//! just that between two threads, with as many buffers as the queue has places and two counters to hand them over;
//! nobody sleeps on either side. The two are run in turn, five times each; the ratio is that of the medians.
//!
//! *Untouched*: what a message costs if nobody looks at its bytes, by its size: one thread that reserves, commits,
//! leases and acknowledges. After the first one the memory is there.

mod support;

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{RUNS, as_float, median, now, pin, print_origin, while_near};
use workring::{Handoff, Options, Receiver, Sender, inherit, queue::Raw};

const CAPACITY: usize = 16;
/// What each side has of its own, to fill from and to compare with: more than caches hold.
const OWN: usize = 64 << 20;
/// Bytes to be sent in one run.
const TOTAL: usize = 2 << 30;
const UNTOUCHED_MESSAGES: u64 = 200_000;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["child", "send", size] => send(size.parse().expect("size")),
        ["child", "receive"] => receive(),
        _ => {
            print_origin();
            println!("# GB/s, median of {RUNS}; line: ns there and back, worst probe");
            println!(
                "{:>9} {:>14} {:>10} {:>7} {:>6}",
                "bytes", "workring GB/s", "plain GB/s", "ratio", "line"
            );
            touched(64 << 10);
            touched(1 << 20);
            untouched(4 << 10, 16 << 20);
        }
    }
}

fn touched(size: usize) {
    let (mut ours, mut plain, mut worst) = (Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..RUNS {
        let ((our, bare), probe) = while_near(|| (between_processes(size), between_threads(size)));
        ours.push(our);
        plain.push(bare);
        worst = worst.max(probe);
    }
    let (our, bare) = (median(&ours), median(&plain));
    println!(
        "{size:>9} {our:>14.2} {bare:>10.2} {:>7.2} {worst:>6.0}",
        our / bare
    );
}

/// The 64 MiB that both sides have.
fn own() -> Vec<u8> {
    let words = (0..OWN as u64 / 8).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).collect()
}

/// The piece for message number `n`.
fn piece(own: &[u8], size: usize, n: usize) -> &[u8] {
    let start = n * size % OWN;
    own.get(start..start + size).expect("sizes divide it")
}

fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(8);
    words.fold(0, |sum, word| {
        u64::from_le_bytes(word.try_into().expect("eight")).wrapping_add(sum)
    })
}

fn check(message: &[u8], own: &[u8]) {
    assert_eq!(sum(message), sum(own), "a message is damaged");
}

fn rate(start: u64, end: u64) -> f64 {
    as_float(TOTAL as u64) / as_float(end - start)
}

/// Gigabytes a second through a workring queue.
fn between_processes(size: usize) -> f64 {
    let options = Options::new(CAPACITY)
        .max_message_len(size)
        .spin(Duration::from_millis(10));
    let (tx, rx) = options.channel_with::<Vec<u8>, Raw>().expect("a queue");
    let (ready, all_ready) = workring::channel::<()>(2).expect("a queue");
    let (go, wait_for_go) = workring::channel::<()>(1).expect("a queue");
    let (done, reports) = workring::channel::<(u64, u64)>(2).expect("a queue");
    let start = |arguments: &[&str], sends: bool| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("child").args(arguments);
        let handoff = if sends {
            Handoff::new().give("queue", &tx)
        } else {
            Handoff::new().give("queue", &rx)
        };
        let handoff = handoff.and_then(|handoff| handoff.give("ready", &ready));
        let handoff = handoff.and_then(|handoff| handoff.give("go", &wait_for_go));
        let handoff = handoff.and_then(|handoff| handoff.give("done", &done));
        handoff
            .expect("tickets")
            .spawn(&mut command)
            .expect("a child")
    };
    let children = [
        start(&["send", &size.to_string()], true),
        start(&["receive"], false),
    ];
    drop((tx, rx, ready, wait_for_go, done));
    for _ in &children {
        all_ready.recv().expect("a child is ready");
    }
    go.close();
    let (mut first, mut last) = (u64::MAX, 0);
    for report in reports {
        let (start, end) = report.expect("a report");
        first = first.min(start);
        last = last.max(end);
    }
    for mut child in children {
        assert!(child.wait().expect("wait").success(), "a child failed");
    }
    rate(first, last)
}

/// Inherits what both children have, runs `work` once both are ready, and reports when it began and ended.
fn report(cpu: usize, work: impl FnOnce(&[u8])) {
    pin(cpu);
    let own = own();
    let ready: Sender<()> = inherit("ready").expect("ready");
    let go: Receiver<()> = inherit("go").expect("go");
    let done: Sender<(u64, u64)> = inherit("done").expect("done");
    ready.send(()).expect("the parent listens");
    assert!(go.recv().is_err(), "go is told by closing");
    let start = now();
    work(&own);
    done.send((start, now())).expect("the parent listens");
}

fn send(size: usize) {
    let queue: Sender<Vec<u8>, Raw> = inherit("queue").expect("queue");
    report(0, |own| {
        for n in 0..TOTAL / size {
            let mut room = queue.reserve(size).expect("a block");
            room.copy_from_slice(piece(own, size, n));
            room.commit().expect("room");
        }
        drop(queue);
    });
}

fn receive() {
    let queue: Receiver<Vec<u8>, Raw> = inherit("queue").expect("queue");
    report(1, |own| {
        let mut bytes = 0;
        while let Ok(message) = queue.lease_bytes() {
            let size = message.len();
            check(&message, piece(own, size, bytes / size));
            bytes += size;
            message.ack();
        }
        assert_eq!(bytes, TOTAL, "messages were lost or doubled");
    });
}

/// Gigabytes a second through buffers that two threads hand to each other: each is locked by one at a time, and
/// nobody ever waits for a lock.
fn between_threads(size: usize) -> f64 {
    let buffers: Vec<Mutex<Vec<u8>>> = (0..CAPACITY).map(|_| Mutex::new(vec![1; size])).collect();
    let (filled, read) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let barrier = std::sync::Barrier::new(2);
    let own = own();
    let count = TOTAL / size;
    let buffer = |n: usize| {
        let buffer = buffers.get(n % CAPACITY).expect("a buffer");
        buffer.lock().expect("nobody panics")
    };
    std::thread::scope(|scope| {
        let filling = scope.spawn(|| {
            pin(0);
            let own = own.clone();
            barrier.wait();
            let start = now();
            for n in 0..count {
                while n as u64 - read.0.load(Ordering::Acquire) == CAPACITY as u64 {
                    std::hint::spin_loop();
                }
                buffer(n).copy_from_slice(piece(&own, size, n));
                filled.0.store(n as u64 + 1, Ordering::Release);
            }
            start
        });
        let reading = scope.spawn(|| {
            pin(1);
            let own = own.clone();
            barrier.wait();
            for n in 0..count {
                while filled.0.load(Ordering::Acquire) == n as u64 {
                    std::hint::spin_loop();
                }
                check(&buffer(n), piece(&own, size, n));
                read.0.store(n as u64 + 1, Ordering::Release);
            }
            now()
        });
        let start = filling.join().expect("a thread");
        rate(start, reading.join().expect("a thread"))
    })
}

/// A counter with its lines to itself.
#[repr(align(128))]
struct Line(AtomicU64);

/// Nanoseconds for a message that nobody looks at.
fn pass_on(size: usize) -> f64 {
    let options = Options::new(CAPACITY).max_message_len(size);
    let (tx, rx) = options.channel_with::<Vec<u8>, Raw>().expect("a queue");
    let pass = || {
        tx.reserve(size).expect("a block").commit().expect("room");
        rx.lease_bytes().expect("a message").ack();
    };
    pass();
    let start = now();
    for _ in 0..UNTOUCHED_MESSAGES {
        pass();
    }
    as_float(now() - start) / as_float(UNTOUCHED_MESSAGES)
}

fn untouched(small: usize, large: usize) {
    let (mut smalls, mut larges) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        smalls.push(pass_on(small));
        larges.push(pass_on(large));
    }
    let (one, other) = (median(&smalls), median(&larges));
    println!(
        "untouched: {small} bytes {one:.0} ns a message, {large} bytes {other:.0} ns, ratio {:.2}",
        other / one
    );
}
