//! Making a queue and dropping it: the time that both take together, and the memory that the queue has in between.
//!
//!     cargo bench --bench creation
//!
//! | column | meaning |
//! |---|---|
//! | µs | microseconds to make a queue and drop it, median of all |
//! | best | the same, the shortest of all |
//! | KiB | memory of the queue before its first message, as its statistics say |

mod support;

use std::time::Instant;
use support::{pin, print_origin};
use workring::{Options, Receiver, Sender, queue::Raw};

const QUEUES: usize = 2000;

fn main() {
    print_origin();
    println!("# {QUEUES} queues of each kind, one after the other");
    println!("{:>32} {:>8} {:>8} {:>8}", "", "µs", "best", "KiB");
    pin(0);
    row("16 of u64", || Options::new(16).channel::<u64>());
    row("1024 of u64", || Options::new(1024).channel::<u64>());
    row("16 of String", || Options::new(16).channel::<String>());
    row("16 of Vec<u8>, up to 64 MiB", || {
        let options = Options::new(16).max_message_len(64 << 20);
        options.channel_with::<Vec<u8>, Raw>()
    });
    row("16 of u64, preallocated", || {
        Options::new(16).preallocate(true).channel::<u64>()
    });
}

fn row<T, C, E: std::fmt::Debug>(
    name: &str,
    make: impl Fn() -> Result<(Sender<T, C>, Receiver<T, C>), E>,
) where
    C: workring::queue::Codec<T>,
{
    let memory = make().expect("a queue").0.stats().memory;
    let mut times: Vec<f64> = (0..QUEUES)
        .map(|_| {
            let start = Instant::now();
            drop(make().expect("a queue"));
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let (best, median) = (times.first(), times.get(QUEUES / 2));
    println!(
        "{name:>32} {:>8.1} {:>8.1} {:>8}",
        median.expect("many"),
        best.expect("many"),
        memory / 1024
    );
}
