//! Large messages in place, next to a plain fill and read of the same bytes between two threads.
//!
//!     cargo bench --bench in_place                       # all
//!     cargo bench --bench in_place -- frames
//!
//! *Touched*: the sender, a process on processor 0, copies the next piece of its own 64 MiB into each message
//! (`reserve`, `commit`). The receiver, a process on processor 1, sums up the message where it lies (`lease_bytes`,
//! `ack`), sums up the same piece of its own 64 MiB, and compares. The plain side does the same between two threads: as
//! many buffers as the queue has places, and two counters to hand them over. No side sleeps. The two are run in turn,
//! five times each.
//!
//! *Untouched*: the cost of a message whose bytes are neither written nor read, for two lengths: one thread reserves,
//! commits, leases and acknowledges. The memory of the message was taken before. A ratio of 1 means that the cost does
//! not depend on the length.
//!
//! *Frames*: messages of 10 MB from one sender, which writes all of each, to three receivers on the other processor,
//! which read the first and the last byte. A queue of capacity 8 next to one of capacity 1: a ratio below 1 means that
//! the memory of messages that wait costs something. When the machine is busy, more messages wait than its cache holds.
//!
//! | column | meaning |
//! |---|---|
//! | bytes | length of a message |
//! | workring, plain | GB a second, medians |
//! | ratio | of the two medians: 1 means that the queue costs nothing |
//! | capacity 8, capacity 1 | GB a second of frames, medians |
//! | line | a cache line's round trip, in ns, the worst: compare only figures with similar ones |

mod support;

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{RUNS, arguments, as_float, median, now, pin, print_origin, while_near};
use workring::{Handoff, Options, Receiver, Sender, inherit, queue::Raw};

const CAPACITY: usize = 16;
/// The bytes that each side has, to fill messages from and to compare them with: more than caches hold.
const SOURCE_LEN: usize = 64 << 20;
/// The bytes that are sent in one run.
const TOTAL: usize = 2 << 30;
const UNTOUCHED_MESSAGES: u64 = 200_000;
const FRAME_LEN: usize = 10_000_000;
const FRAMES: usize = 3_000;

fn main() {
    let arguments = arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["child", "send", size] => send(size.parse().expect("size")),
        ["child", "receive"] => receive(),
        ["child", "send-frames"] => send_frames(),
        ["child", "receive-frames"] => receive_frames(),
        ["frames"] => {
            print_origin();
            frames();
        }
        _ => {
            print_origin();
            println!("# GB/s, median of {RUNS}; line: ns of a cache line's round trip, worst");
            println!(
                "{:>9} {:>14} {:>10} {:>7} {:>6}",
                "bytes", "workring GB/s", "plain GB/s", "ratio", "line"
            );
            touched(64 << 10);
            touched(1 << 20);
            untouched(4 << 10, 16 << 20);
            frames();
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

/// Returns the bytes that both sides have.
fn source() -> Vec<u8> {
    let words = (0..SOURCE_LEN as u64 / 8).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).collect()
}

/// Returns the piece for message number `n`.
fn piece(source: &[u8], size: usize, n: usize) -> &[u8] {
    let start = n * size % SOURCE_LEN;
    source.get(start..start + size).expect("sizes divide it")
}

fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(8);
    words.fold(0, |sum, word| {
        u64::from_le_bytes(word.try_into().expect("eight")).wrapping_add(sum)
    })
}

fn check(message: &[u8], expected: &[u8]) {
    assert_eq!(sum(message), sum(expected), "a message is damaged");
}

fn rate(total: usize, start: u64, end: u64) -> f64 {
    as_float(total as u64) / as_float(end - start)
}

/// Returns gigabytes a second through a workring queue.
fn between_processes(size: usize) -> f64 {
    let options = Options::new(CAPACITY)
        .max_message_len(size)
        .spin(Duration::from_millis(10));
    let size = size.to_string();
    let children = [(&["send", &size][..], true), (&["receive"], false)];
    rate_of(TOTAL, &options, &children)
}

/// Starts these children, each with its arguments and whether it sends. Returns the gigabytes a second at which they
/// move `total` bytes.
fn rate_of(total: usize, options: &Options, children: &[(&[&str], bool)]) -> f64 {
    let (tx, rx) = options.channel_with::<Vec<u8>, Raw>().expect("a queue");
    let (ready, all_ready) = workring::channel::<()>(4).expect("a queue");
    let (go, wait_for_go) = workring::channel::<()>(1).expect("a queue");
    let (done, reports) = workring::channel::<(u64, u64)>(4).expect("a queue");
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
    let children: Vec<_> = children
        .iter()
        .map(|(arguments, sends)| start(arguments, *sends))
        .collect();
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
    rate(total, first, last)
}

/// Plays a child: runs `work` once all children are ready, and reports when it started and ended.
fn report(work: impl FnOnce()) {
    let ready: Sender<()> = inherit("ready").expect("ready");
    let go: Receiver<()> = inherit("go").expect("go");
    let done: Sender<(u64, u64)> = inherit("done").expect("done");
    ready.send(()).expect("the parent receives");
    assert!(
        go.recv().is_err(),
        "the parent closes it to start all children"
    );
    let start = now();
    work();
    done.send((start, now())).expect("the parent receives");
}

fn send(size: usize) {
    let queue: Sender<Vec<u8>, Raw> = inherit("queue").expect("queue");
    pin(0);
    let source = source();
    report(|| {
        for n in 0..TOTAL / size {
            let mut room = queue.reserve(size).expect("a block");
            room.copy_from_slice(piece(&source, size, n));
            room.commit().expect("room");
        }
        drop(queue);
    });
}

fn receive() {
    let queue: Receiver<Vec<u8>, Raw> = inherit("queue").expect("queue");
    pin(1);
    let source = source();
    report(|| {
        let mut bytes = 0;
        while let Ok(message) = queue.lease_bytes() {
            let size = message.len();
            check(&message, piece(&source, size, bytes / size));
            bytes += size;
            message.ack();
        }
        assert_eq!(bytes, TOTAL, "messages were lost or duplicated");
    });
}

/// Returns gigabytes a second through buffers that two threads hand to each other. The counters keep the threads apart,
/// so no thread ever waits for the lock of a buffer.
fn between_threads(size: usize) -> f64 {
    let buffers: Vec<Mutex<Vec<u8>>> = (0..CAPACITY).map(|_| Mutex::new(vec![1; size])).collect();
    let (filled, read) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let barrier = std::sync::Barrier::new(2);
    let source = source();
    let count = TOTAL / size;
    let buffer = |n: usize| {
        let buffer = buffers.get(n % CAPACITY).expect("a buffer");
        buffer.lock().expect("no thread panics")
    };
    std::thread::scope(|scope| {
        let filling = scope.spawn(|| {
            pin(0);
            let source = source.clone();
            barrier.wait();
            let start = now();
            for n in 0..count {
                while n as u64 - read.0.load(Ordering::Acquire) == CAPACITY as u64 {
                    std::hint::spin_loop();
                }
                buffer(n).copy_from_slice(piece(&source, size, n));
                filled.0.store(n as u64 + 1, Ordering::Release);
            }
            start
        });
        let reading = scope.spawn(|| {
            pin(1);
            let source = source.clone();
            barrier.wait();
            for n in 0..count {
                while filled.0.load(Ordering::Acquire) == n as u64 {
                    std::hint::spin_loop();
                }
                check(&buffer(n), piece(&source, size, n));
                read.0.store(n as u64 + 1, Ordering::Release);
            }
            now()
        });
        let start = filling.join().expect("a thread");
        rate(TOTAL, start, reading.join().expect("a thread"))
    })
}

/// A counter on two cache lines of its own.
#[repr(align(128))]
struct Line(AtomicU64);

/// Returns the nanoseconds of a message that is neither written nor read.
fn pass_untouched(size: usize) -> f64 {
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
        smalls.push(pass_untouched(small));
        larges.push(pass_untouched(large));
    }
    let (one, other) = (median(&smalls), median(&larges));
    println!(
        "untouched: {small} bytes {one:.0} ns a message, {large} bytes {other:.0} ns, ratio {:.2}",
        other / one
    );
}

fn send_frames() {
    pin(0);
    let queue: Sender<Vec<u8>, Raw> = inherit("queue").expect("queue");
    report(|| {
        for byte in (1..=u8::MAX).cycle().take(FRAMES) {
            let mut frame = queue.reserve(FRAME_LEN).expect("a block");
            frame.fill(byte);
            frame.commit().expect("room");
        }
        drop(queue);
    });
}

fn receive_frames() {
    pin(1);
    let queue: Receiver<Vec<u8>, Raw> = inherit("queue").expect("queue");
    report(|| {
        while let Ok(frame) = queue.lease_bytes() {
            assert_eq!(frame.first(), frame.last());
            frame.ack();
        }
    });
}

/// Returns gigabytes a second of frames through a queue.
fn frames_through(capacity: usize) -> f64 {
    let options = Options::new(capacity).max_message_len(FRAME_LEN);
    let reader = (&["receive-frames"][..], false);
    let children = [(&["send-frames"][..], true), reader, reader, reader];
    rate_of(FRAMES * FRAME_LEN, &options, &children)
}

fn frames() {
    let (mut eights, mut ones) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        eights.push(frames_through(8));
        ones.push(frames_through(1));
    }
    let (eight, one) = (median(&eights), median(&ones));
    println!(
        "frames of 10 MB, 1 to 3: capacity 8 {eight:.1} GB/s, capacity 1 {one:.1} GB/s, ratio {:.2}",
        eight / one
    );
}
