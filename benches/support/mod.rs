//! Shared by the benchmarks: their arguments, binding to processors, a clock that all processes share, a probe of the
//! distance between the processors, messages with checkable contents, and printing.
#![allow(dead_code, reason = "each benchmark uses a part of this module")]

use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use workring::{
    error::{DecodeError, EncodeError},
    queue::{Codec, Raw},
};

/// How often each measurement is repeated. The median is printed.
pub(crate) const RUNS: usize = 5;

/// The longest round trip of a cache line, in nanoseconds, between processors that are near each other. The host of a
/// virtual machine may move its processors apart for a while: a run in which they are is repeated.
const MAX_NEAR: f64 = 150.0;

/// Returns the arguments of this program, without the one that `cargo bench` adds.
pub(crate) fn arguments() -> Vec<String> {
    let arguments = std::env::args().skip(1);
    arguments.filter(|argument| argument != "--bench").collect()
}

/// Binds this thread, and the threads and processes that it starts from now on, to one processor.
pub(crate) fn pin(cpu: usize) {
    let cpus = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .max(online());
    let mut set = CpuSet::new();
    set.set(cpu % cpus)
        .expect("a processor number within the set");
    sched_setaffinity(Pid::from_raw(0), &set).expect("sched_setaffinity");
}

fn online() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN)
        .ok()
        .flatten()
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(1)
}

/// Returns the nanoseconds of a clock that all processes share.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the monotonic clock");
    u64::try_from(Duration::from(time).as_nanos()).expect("less than 584 years")
}

/// Returns the nanoseconds that a cache line takes from processor 0 to processor 1 and back.
pub(crate) fn cache_line_round_trip() -> f64 {
    const ROUNDS: u64 = 20_000;
    static LINE: AtomicU64 = AtomicU64::new(0);
    LINE.store(0, Ordering::SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(1);
            for round in 0..ROUNDS {
                while LINE.load(Ordering::Acquire) != 2 * round + 1 {
                    std::hint::spin_loop();
                }
                LINE.store(2 * round + 2, Ordering::Release);
            }
        });
        scope
            .spawn(|| {
                pin(0);
                let start = now();
                for round in 0..ROUNDS {
                    LINE.store(2 * round + 1, Ordering::Release);
                    while LINE.load(Ordering::Acquire) != 2 * round + 2 {
                        std::hint::spin_loop();
                    }
                }
                as_float(now() - start) / as_float(ROUNDS)
            })
            .join()
            .expect("the probe")
    })
}

/// Runs `measure` until the processors are near each other before and after it, at most 20 times. Returns what it
/// measured, and the slower of the two probes.
pub(crate) fn while_near<R>(mut measure: impl FnMut() -> R) -> (R, f64) {
    let mut tries = 0;
    loop {
        let before = cache_line_round_trip();
        let result = measure();
        let probe = before.max(cache_line_round_trip());
        tries += 1;
        if probe <= MAX_NEAR || tries == 20 {
            return (result, probe);
        }
        eprintln!(
            "# a cache line's round trip took {probe:.0} ns: the processors are apart, so the run is repeated"
        );
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "figures to be printed with three digits"
)]
pub(crate) fn as_float(number: u64) -> f64 {
    number as f64
}

pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// `[u8; N]`, aligned like words. Without that, the bytes would lie at an odd address in a `Result`, behind its tag.
/// The processor cannot forward such stores to loads, and that would be most of what is measured, on both sides.
#[repr(C, align(8))]
pub(crate) struct Aligned<const N: usize>(pub(crate) [u8; N]);

/// The codec of raw bytes that are aligned.
pub(crate) struct Plain;

impl<const N: usize> Codec<Aligned<N>> for Plain {
    const NAME: &'static str = "aligned raw bytes";

    #[inline(always)]
    fn encode(message: &Aligned<N>, into: &mut [u8]) -> Result<usize, EncodeError> {
        Raw::encode(&message.0, into)
    }

    fn encoded_len(message: &Aligned<N>) -> Result<usize, EncodeError> {
        Raw::encoded_len(&message.0)
    }

    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<Aligned<N>, DecodeError> {
        let mut message = Aligned([0; N]);
        if bytes.len() != N {
            return Err(DecodeError::new("a message of another length"));
        }
        message.0.copy_from_slice(bytes);
        Ok(message)
    }
}

/// Returns word `n` of message `number`. It does not depend on the word before, so the compiler can write and check
/// several at once.
#[inline(always)]
fn word(number: u64, n: usize) -> u64 {
    number.wrapping_add((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Fills a message: its number first, then words that follow from the number, so that every byte is different each
/// time.
#[inline(always)]
pub(crate) fn write_message(bytes: &mut [u8], number: u64) {
    for (n, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&word(number, n).to_le_bytes());
    }
}

/// Returns a message in place with a length that the compiler knows, as it does for a message by value.
#[inline(always)]
pub(crate) fn sized<const N: usize>(bytes: &[u8]) -> &[u8; N] {
    bytes.try_into().expect("a message of this length")
}

/// Returns the same to be written.
#[inline(always)]
pub(crate) fn sized_mut<const N: usize>(bytes: &mut [u8]) -> &mut [u8; N] {
    bytes.try_into().expect("a buffer of this length")
}

/// Checks every word of a message, and returns its number.
#[inline(always)]
pub(crate) fn read_message(bytes: &[u8]) -> u64 {
    let words = || {
        bytes
            .chunks_exact(8)
            .map(|chunk| u64::from_le_bytes(chunk.try_into().expect("eight bytes")))
    };
    // Hidden from the compiler. Otherwise it would leave the first word out of the check below, and read the others in
    // pairs that straddle the pairs that were written, which is slow, on both sides.
    let number = std::hint::black_box(words().next().expect("at least eight bytes"));
    let difference = words().enumerate().fold(0, |difference, (n, found)| {
        difference | (found ^ word(number, n))
    });
    assert_eq!(difference, 0, "message {number} is damaged");
    number
}

/// Returns the number of message `count` of sender `sender`.
#[inline(always)]
pub(crate) fn number(sender: usize, count: u64) -> u64 {
    (sender as u64) << 48 | count
}

/// Checks the order of the messages of each sender, and counts all messages.
#[derive(Default)]
pub(crate) struct Check {
    next: [u64; 8],
    received: u64,
}

impl Check {
    #[inline(always)]
    pub(crate) fn see(&mut self, number: u64) {
        let next = self
            .next
            .get_mut((number >> 48) as usize)
            .expect("a sender's number");
        let count = number & ((1 << 48) - 1);
        assert!(count >= *next, "message {count} after {next}");
        *next = count + 1;
        self.received += 1;
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }
}

/// Prints the machine and the commit that are measured.
pub(crate) fn print_origin() {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown");
    let git = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .output();
    let commit = git
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        .unwrap_or_default();
    println!(
        "# {} online processors,{}, commit {commit}",
        online(),
        model.trim_start_matches(['\t', ':'])
    );
}
