//! Nanoseconds of each operation in one thread, while no other process uses the queue, next to crossbeam-channel.
//!
//!     cargo bench --bench uncontended
//!
//! Each side of a stream does about this for each message. *Exchange* is one `compare_exchange` of a word that no other
//! processor uses; a send does two of them, and a receive one. A queue is filled with 512 messages and emptied again, 2,000
//! times; the figures are medians. All bytes of a message are the same; the last one is compared. Each call is made through
//! a `dyn Fn`, which is in all figures.

mod support;

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use support::{Aligned, Plain, as_float, now, pin, print_origin, sized, sized_mut};
use workring::{
    Options,
    queue::{Codec, Raw},
};

const CAPACITY: usize = 1024;
/// Messages that are in the queue together.
const MESSAGES: u64 = 512;
const ROUNDS: u64 = 2_000;

fn main() {
    print_origin();
    pin(1);
    let word = AtomicU64::new(0);
    let exchange = measure([&|n| {
        let seen = word.load(Ordering::Relaxed);
        let changed = word.compare_exchange(seen, n, Ordering::AcqRel, Ordering::Relaxed);
        assert!(changed.is_ok(), "no other thread changes the word");
    }]);
    println!("# nanoseconds, medians");
    println!("exchange {:.1}", exchange[0]);
    println!(
        "{:>6} {:>6} {:>6} {:>16} {:>16} {:>15} {:>15}",
        "bytes",
        "send",
        "recv",
        "reserve, commit",
        "lease, ack",
        "crossbeam send",
        "crossbeam recv"
    );
    row::<8>();
    row::<64>();
}

fn row<const N: usize>()
where
    Raw: Codec<[u8; N]>,
{
    let (tx, rx) = Options::new(CAPACITY)
        .channel_with::<Aligned<N>, Plain>()
        .expect("a queue");
    let by_value = measure([
        &|n| {
            assert!(tx.send(message(n)).is_ok(), "room");
        },
        &|n| check(&rx.recv().expect("a message").0, n),
    ]);
    let (tx, rx) = Options::new(CAPACITY)
        .channel_with::<[u8; N], Raw>()
        .expect("a queue");
    let in_place = measure([
        &|n| {
            let mut room = tx.reserve(N).expect("room");
            sized_mut::<N>(&mut room).fill(byte(n));
            room.commit().expect("room");
        },
        &|n| {
            let message = rx.lease_bytes().expect("a message");
            check(sized::<N>(&message), n);
            message.ack();
        },
    ]);
    let (tx, rx) = crossbeam_channel::bounded::<Aligned<N>>(CAPACITY);
    let crossbeam = measure([
        &|n| {
            assert!(tx.send(message(n)).is_ok(), "room");
        },
        &|n| check(&rx.recv().expect("a message").0, n),
    ]);
    println!(
        "{N:>6} {:>6.1} {:>6.1} {:>16.1} {:>16.1} {:>15.1} {:>15.1}",
        by_value[0], by_value[1], in_place[0], in_place[1], crossbeam[0], crossbeam[1]
    );
}

/// Returns a byte that the compiler does not know.
#[inline(always)]
fn byte(number: u64) -> u8 {
    black_box(number).to_le_bytes()[0]
}

#[inline(always)]
fn message<const N: usize>(number: u64) -> Aligned<N> {
    Aligned([byte(number); N])
}

#[inline(always)]
fn check<const N: usize>(message: &[u8; N], number: u64) {
    let last = black_box(message).last();
    assert_eq!(last, number.to_le_bytes().first(), "a message is damaged");
}

/// Calls each operation for [`MESSAGES`] numbers, one operation after the other, [`ROUNDS`] times. Returns how long one call
/// of each takes.
fn measure<const K: usize>(operations: [&dyn Fn(u64); K]) -> [f64; K] {
    let mut times = [const { Vec::new() }; K];
    for _ in 0..ROUNDS {
        for (operation, times) in operations.iter().zip(&mut times) {
            let start = now();
            for number in 0..MESSAGES {
                operation(number);
            }
            times.push(as_float(now() - start) / as_float(MESSAGES));
        }
    }
    times.map(|times| support::median(&times))
}
