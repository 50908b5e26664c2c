//! Throughput between processes, next to crossbeam-channel between threads of one process.
//!
//!     cargo bench --bench throughput                     # every cell
//!     cargo bench --bench throughput -- 2 64             # two senders, two receivers, 64 bytes
//!     cargo bench --bench throughput -- typed            # a struct of 48 bytes through the default codec, next to raw bytes
//!     cargo bench --bench throughput -- in-place         # messages in place, next to the same ones by value
//!     cargo bench --bench throughput -- larger           # 1 KiB in larger blocks, next to crossbeam-channel
//!     cargo bench --bench throughput -- alone 2 64       # without crossbeam-channel; prints one figure
//!     cargo bench --bench throughput -- alone-larger 1   # the same for 1 KiB in larger blocks
//!     benches/since COMMIT                               # every cell, next to an earlier state of the crate
//!
//! Sender k is a process bound to processor k mod 2, receiver k to processor (k + 1) mod 2; the threads of the
//! comparison are bound in the same way. Both libraries use the same message type and capacity 1,024. Every byte of
//! each message is written and checked, and so is the order of each sender's messages. The two are run in turn, five
//! times each, for at least some tenths of a second.
//!
//! *In place*: raw bytes, one sender to one receiver. By value they are sent and received (`send`, `recv`); in place they
//! are written and checked in shared memory (`reserve`, `commit`, `lease_bytes`, `ack`). The last rows are in larger blocks.
//!
//! *In larger blocks*: as messages are whose length the type does not tell. Cells have room for 96 bytes.
//!
//! | column | meaning |
//! |---|---|
//! | pairs | senders to receivers |
//! | bytes | length of a message |
//! | workring, crossbeam | millions of messages a second, medians |
//! | ratio | of the two medians: above 1, workring is faster |
//! | line | a cache line's round trip, in ns, the worst: compare only figures with similar ones |

mod support;

use serde::{Deserialize, Serialize};
use std::process::Command;
use support::{
    Aligned, Check, Plain, RUNS, arguments, as_float, median, now, number, pin, print_origin,
    read_message, sized, sized_mut, while_near, write_message,
};
use workring::{
    Handoff, Options, Receiver, Sender,
    error::{DecodeError, EncodeError},
    inherit,
    queue::{Codec, Raw},
};

const CAPACITY: usize = 1024;
/// The default room of a cell, where the type of the messages does not tell their length.
const SMALL_CELL: usize = 96;

/// Returns the processor of sender `k`.
const fn sender_cpu(k: usize) -> usize {
    k % 2
}
/// Returns the processor of receiver `k`.
const fn receiver_cpu(k: usize) -> usize {
    (k + 1) % 2
}

/// A message that can be made from its number and read back.
trait Message: Sized + Send + 'static {
    fn make(number: u64) -> Self;
    fn number(&self) -> u64;
}

impl Codec<Box<[u8]>> for Plain {
    const NAME: &'static str = "aligned raw bytes";

    fn encode(message: &Box<[u8]>, into: &mut [u8]) -> Result<usize, EncodeError> {
        Raw::encode(message, into)
    }

    fn encoded_len(message: &Box<[u8]>) -> Result<usize, EncodeError> {
        Raw::encoded_len(message)
    }

    fn decode(bytes: &[u8]) -> Result<Box<[u8]>, DecodeError> {
        Raw::decode(bytes)
    }
}

impl<const N: usize> Message for Aligned<N> {
    #[inline(always)]
    fn make(number: u64) -> Self {
        let mut bytes = [0; N];
        write_message(&mut bytes, number);
        Self(bytes)
    }
    #[inline(always)]
    fn number(&self) -> u64 {
        read_message(&self.0)
    }
}

impl<const N: usize> Message for [u8; N] {
    #[inline(always)]
    fn make(number: u64) -> Self {
        let mut bytes = [0; N];
        write_message(&mut bytes, number);
        bytes
    }
    #[inline(always)]
    fn number(&self) -> u64 {
        read_message(self)
    }
}

impl Message for Box<[u8]> {
    fn make(number: u64) -> Self {
        let mut bytes = vec![0; 65_536].into_boxed_slice();
        write_message(&mut bytes, number);
        bytes
    }
    fn number(&self) -> u64 {
        read_message(self)
    }
}

/// Six words, as a small task has.
#[derive(Serialize, Deserialize, Clone)]
struct Typed {
    id: u64,
    offset: u64,
    length: u64,
    flags: u32,
    kind: u32,
    weight: f64,
    deadline: u64,
}

impl Message for Typed {
    #[inline(always)]
    fn make(number: u64) -> Self {
        Self {
            id: number,
            offset: number + 1,
            length: number + 2,
            flags: 7,
            kind: 9,
            weight: 0.5,
            deadline: number + 3,
        }
    }
    #[inline(always)]
    fn number(&self) -> u64 {
        let sum = self
            .offset
            .wrapping_add(self.length)
            .wrapping_add(self.deadline);
        assert_eq!(
            sum,
            self.id.wrapping_mul(3).wrapping_add(6),
            "message {} is damaged",
            self.id
        );
        assert_eq!((self.flags, self.kind), (7, 9));
        self.id
    }
}

fn main() {
    let arguments = arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["child", end, kind, index, count] => {
            child(
                end,
                kind,
                index.parse().expect("index"),
                count.parse().expect("count"),
            );
        }
        [] => {
            print_head();
            for size in [8, 64, 1024, 65_536] {
                for pairs in [1, 2, 4] {
                    cell(pairs, size, compare);
                }
            }
            typed();
        }
        ["typed"] => typed(),
        ["in-place"] => in_place(),
        ["larger"] => {
            print_head();
            for pairs in [1, 2, 4] {
                compare(&in_larger_blocks(pairs));
            }
        }
        ["alone-larger", pairs] => alone(&in_larger_blocks(number_of(pairs))),
        [pairs, size] => {
            print_head();
            cell(number_of(pairs), number_of(size), compare);
        }
        ["alone", pairs, size] => cell(number_of(pairs), number_of(size), alone),
        other => panic!("see the first lines of this file; got {other:?}"),
    }
}

fn print_head() {
    print_origin();
    println!(
        "# M/s: millions of messages a second, median of {RUNS}; line: ns of a cache line's round trip, worst"
    );
    println!(
        "{:>7} {:>8} {:>14} {:>14} {:>7} {:>6}",
        "pairs", "bytes", "workring M/s", "crossbeam M/s", "ratio", "line"
    );
}

fn number_of(word: &str) -> usize {
    word.parse().expect("a number")
}

/// One line of the table.
struct Cell {
    pairs: usize,
    size: usize,
    messages: u64,
    options: Options,
    /// Measure millions of messages a second, through workring and through crossbeam-channel.
    ours: fn(&Self) -> f64,
    theirs: fn(&Self) -> f64,
}

impl Cell {
    fn of<M: Message>(pairs: usize, size: usize, messages: u64) -> Self
    where
        Plain: Codec<M>,
    {
        Self {
            pairs,
            size,
            messages,
            options: options(),
            ours: |cell| {
                let kind = cell.size.to_string();
                between_processes::<M, Plain>(&cell.options, &kind, cell.pairs, cell.messages)
            },
            theirs: |cell| between_threads::<M>(cell.pairs, cell.messages),
        }
    }
}

fn options() -> Options {
    Options::new(CAPACITY)
}

fn in_larger_blocks(pairs: usize) -> Cell {
    Cell {
        options: options().inline_len(SMALL_CELL),
        ..Cell::of::<Aligned<1024>>(pairs, 1024, 3_000_000)
    }
}

fn cell(pairs: usize, size: usize, measure: fn(&Cell)) {
    measure(&match size {
        8 => Cell::of::<Aligned<8>>(pairs, size, 30_000_000),
        64 => Cell::of::<Aligned<64>>(pairs, size, 8_000_000),
        1024 => Cell::of::<Aligned<1024>>(pairs, size, 3_000_000),
        65_536 => Cell::of::<Box<[u8]>>(pairs, size, 60_000),
        other => panic!("no cell of {other} bytes"),
    });
}

fn compare(cell: &Cell) {
    let (mut ours, mut theirs, mut worst) = (Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..RUNS {
        let ((our, their), probe) = while_near(|| ((cell.ours)(cell), (cell.theirs)(cell)));
        ours.push(our);
        theirs.push(their);
        worst = worst.max(probe);
    }
    let (our, their) = (median(&ours), median(&theirs));
    println!(
        "{pairs:>3} to {pairs} {size:>7} {our:>14.3} {their:>14.3} {:>7.2} {worst:>6.0}",
        our / their,
        pairs = cell.pairs,
        size = cell.size,
    );
}

fn alone(cell: &Cell) {
    let (our, _) = while_near(|| (cell.ours)(cell));
    println!("{our:.3}");
}

/// Measures a struct of 48 bytes through the default codec, next to raw bytes of the same length.
fn typed() {
    print_origin();
    let (mut typed, mut raw, mut worst) = (Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..RUNS {
        let ((t, r), probe) = while_near(|| {
            let queue = options();
            let typed =
                between_processes::<Typed, workring::queue::Bincode>(&queue, "typed", 1, 8_000_000);
            (
                typed,
                between_processes::<Aligned<48>, Plain>(&queue, "48", 1, 8_000_000),
            )
        });
        typed.push(t);
        raw.push(r);
        worst = worst.max(probe);
    }
    let (typed, raw) = (median(&typed), median(&raw));
    println!(
        "48 bytes, 1 to 1: typed {typed:.2} M/s, raw {raw:.2} M/s, raw / typed {:.2}, line {worst:.0}",
        raw / typed
    );
}

/// Measures messages in place, next to the same ones by value.
fn in_place() {
    print_origin();
    println!(
        "{:>7} {:>14} {:>14} {:>7} {:>6}",
        "bytes", "in place M/s", "by value M/s", "ratio", "line"
    );
    in_place_of::<8>(&options(), 30_000_000);
    in_place_of::<64>(&options(), 8_000_000);
    in_place_of::<1024>(&options(), 3_000_000);
    // By value in a box, as in the table: an array of this size would be moved through the stack several times.
    row_in_place(
        65_536,
        || between_processes::<[u8; 65_536], Raw>(&options(), "place-65536", 1, 60_000),
        || between_processes::<Box<[u8]>, Plain>(&options(), "65536", 1, 60_000),
    );
    println!("# in larger blocks:");
    let small_cells = options().inline_len(SMALL_CELL);
    in_place_of::<256>(&small_cells, 6_000_000);
    in_place_of::<1024>(&small_cells, 3_000_000);
}

fn in_place_of<const N: usize>(options: &Options, messages: u64)
where
    Raw: Codec<[u8; N]>,
{
    let measure =
        |how: &str| between_processes::<[u8; N], Raw>(options, &format!("{how}-{N}"), 1, messages);
    row_in_place(N, || measure("place"), || measure("value"));
}

fn row_in_place(size: usize, in_place: impl Fn() -> f64, by_value: impl Fn() -> f64) {
    let (mut placed, mut valued, mut worst) = (Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..RUNS {
        let ((in_place, by_value), probe) = while_near(|| (in_place(), by_value()));
        placed.push(in_place);
        valued.push(by_value);
        worst = worst.max(probe);
    }
    let (placed, valued) = (median(&placed), median(&valued));
    println!(
        "{size:>7} {placed:>14.3} {valued:>14.3} {:>7.2} {worst:>6.0}",
        placed / valued
    );
}

/// Returns millions of messages a second through a workring queue, with this many senders and as many receivers.
fn between_processes<M, C: Codec<M>>(
    options: &Options,
    kind: &str,
    pairs: usize,
    messages: u64,
) -> f64 {
    let (tx, rx) = options.channel_with::<M, C>().expect("a queue");
    let (ready, all_ready) = workring::channel::<()>(64).expect("a queue");
    let (go, wait_for_go) = workring::channel::<()>(1).expect("a queue");
    let (done, all_done) = workring::channel::<(u64, u64, u64)>(64).expect("a queue");
    let each = messages / pairs as u64;
    let mut children = Vec::new();
    for index in 0..2 * pairs {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let handoff = Handoff::new();
        let (handoff, end) = if index < pairs {
            (handoff.give("queue", &tx).expect("a ticket"), "send")
        } else {
            (handoff.give("queue", &rx).expect("a ticket"), "receive")
        };
        let (number, count) = ((index % pairs).to_string(), each.to_string());
        command.args(["child", end, kind, number.as_str(), count.as_str()]);
        let handoff = handoff
            .give("ready", &ready)
            .expect("a ticket")
            .give("go", &wait_for_go)
            .expect("a ticket");
        children.push(
            handoff
                .give("done", &done)
                .expect("a ticket")
                .spawn(&mut command)
                .expect("a child"),
        );
    }
    drop((tx, rx, ready, wait_for_go, done));
    for _ in 0..2 * pairs {
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
    assert_eq!(
        received,
        each * pairs as u64,
        "messages were lost or duplicated"
    );
    as_float(received) * 1e3 / as_float(last - first)
}

fn child(end: &str, kind: &str, index: usize, count: u64) {
    match kind {
        "8" => act::<Aligned<8>, Plain>(end, index, count),
        "48" => act::<Aligned<48>, Plain>(end, index, count),
        "64" => act::<Aligned<64>, Plain>(end, index, count),
        "1024" => act::<Aligned<1024>, Plain>(end, index, count),
        "65536" => act::<Box<[u8]>, Plain>(end, index, count),
        "typed" => act::<Typed, workring::queue::Bincode>(end, index, count),
        "value-8" => act::<[u8; 8], Raw>(end, index, count),
        "value-64" => act::<[u8; 64], Raw>(end, index, count),
        "value-256" => act::<[u8; 256], Raw>(end, index, count),
        "value-1024" => act::<[u8; 1024], Raw>(end, index, count),
        "place-8" => act_in_place::<8>(end, index, count),
        "place-64" => act_in_place::<64>(end, index, count),
        "place-256" => act_in_place::<256>(end, index, count),
        "place-1024" => act_in_place::<1024>(end, index, count),
        "place-65536" => act_in_place::<65_536>(end, index, count),
        other => panic!("no message of kind {other}"),
    }
}

fn act<M: Message, C: Codec<M>>(end: &str, index: usize, count: u64) {
    run_child(
        end,
        index,
        count,
        |queue: &Sender<M, C>, number| {
            assert!(
                queue.send(M::make(number)).is_ok(),
                "the queue takes every message"
            );
        },
        |queue: &Receiver<M, C>| queue.recv().ok().map(|message| message.number()),
    );
}

fn act_in_place<const N: usize>(end: &str, index: usize, count: u64)
where
    Raw: Codec<[u8; N]>,
{
    run_child(
        end,
        index,
        count,
        |queue: &Sender<[u8; N], Raw>, number| {
            let mut room = queue.reserve(N).expect("room");
            write_message(sized_mut::<N>(&mut room), number);
            room.commit().expect("the queue takes every message");
        },
        |queue: &Receiver<[u8; N], Raw>| {
            let Ok(message) = queue.lease_bytes() else {
                return None;
            };
            let number = read_message(sized::<N>(&message));
            message.ack();
            Some(number)
        },
    );
}

fn run_child<M, C: Codec<M>>(
    end: &str,
    index: usize,
    count: u64,
    send: impl Fn(&Sender<M, C>, u64),
    receive: impl Fn(&Receiver<M, C>) -> Option<u64>,
) {
    let ready: Sender<()> = inherit("ready").expect("ready");
    let go: Receiver<()> = inherit("go").expect("go");
    let done: Sender<(u64, u64, u64)> = inherit("done").expect("done");
    let begin = || {
        ready.send(()).expect("the parent receives");
        assert!(
            go.recv().is_err(),
            "the parent closes it to start all children"
        );
        now()
    };
    let report = if end == "send" {
        pin(sender_cpu(index));
        let queue: Sender<M, C> = inherit("queue").expect("queue");
        let start = begin();
        for n in 0..count {
            send(&queue, number(index, n));
        }
        (start, now(), 0)
    } else {
        pin(receiver_cpu(index));
        let queue: Receiver<M, C> = inherit("queue").expect("queue");
        let (start, mut check) = (begin(), Check::default());
        while let Some(number) = receive(&queue) {
            check.see(number);
        }
        (start, now(), check.received())
    };
    done.send(report).expect("the parent receives");
}

/// Returns the same for crossbeam-channel between threads.
fn between_threads<M: Message>(pairs: usize, messages: u64) -> f64 {
    let (tx, rx) = crossbeam_channel::bounded::<M>(CAPACITY);
    let each = messages / pairs as u64;
    let barrier = std::sync::Barrier::new(2 * pairs);
    let reports: Vec<(u64, u64, u64)> = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for index in 0..pairs {
            let (tx, rx, barrier) = (tx.clone(), rx.clone(), &barrier);
            threads.push(scope.spawn(move || {
                pin(sender_cpu(index));
                barrier.wait();
                let start = now();
                for n in 0..each {
                    assert!(
                        tx.send(M::make(number(index, n))).is_ok(),
                        "the queue takes every message"
                    );
                }
                (start, now(), 0)
            }));
            threads.push(scope.spawn(move || {
                pin(receiver_cpu(index));
                barrier.wait();
                let (start, mut check) = (now(), Check::default());
                while let Ok(message) = rx.recv() {
                    check.see(message.number());
                }
                (start, now(), check.received())
            }));
        }
        drop((tx, rx));
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread"))
            .collect()
    });
    let first = reports.iter().map(|report| report.0).min().unwrap_or(0);
    let last = reports.iter().map(|report| report.1).max().unwrap_or(1);
    let received: u64 = reports.iter().map(|report| report.2).sum();
    assert_eq!(
        received,
        each * pairs as u64,
        "messages were lost or duplicated"
    );
    as_float(received) * 1e3 / as_float(last - first)
}
