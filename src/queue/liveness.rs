//! Paces the checks for dead peers of a process that is busy with a queue.
//!
//! A process that waits for a queue checks its peers when its sleep ends. A process that never waits checks them at the
//! start of an operation, but not of each one: reading even a coarse clock costs 3 ns, and a message 12. So each handle
//! counts its operations, and reads the clock once in `stride` of them. At some of these reads it also looks how far apart
//! senders and receivers are (`end`).
//!
//! | countdown | meaning                                                                       |
//! |-----------|-------------------------------------------------------------------------------|
//! | n > 1     | the next n - 1 operations do not read the clock                                |
//! | n <= 1    | the next operation reads the clock, and sets the countdown to the stride       |
//!
//! LIVENESS-1. The peers are checked before an operation takes, allocates or locks anything: the check may call a
//!             `tracing` subscriber, which may panic, block, or use this queue. An operation that it unwinds has done
//!             nothing. (`Lease::ack` checks after it has acknowledged, [`Reservation::commit`](super::Reservation)
//!             while the reservation's guard holds the block, and only if its first attempt fails: otherwise the
//!             check of `reserve` does for both.)
//! LIVENESS-2. `stride` is at most [`MAX_STRIDE`]: after any change of pace, at most this many operations pass before
//!             the clock is read.
//! LIVENESS-3. At the measured pace, `stride` operations take at most half of the time that is left until a sweep of
//!             the peers is due. So at a steady pace the first operation after that moment sweeps: a death is noticed
//!             within one liveness interval and one operation.
//! LIVENESS-4. The measured time of an operation is an upper bound. A coarse clock is late by at most one tick, so near
//!             the due moment the exact clock is read instead.
//! LIVENESS-5. A second read within one tick of the coarse clock, at the largest stride and far from the due moment,
//!             changes nothing, because `stride` operations take less than a tick. A busy handle reads the clock like
//!             this most of the time, and it costs little more than the read.
//!
//! The state belongs to one handle, because the pace of other handles and processes says nothing about the pace of this
//! one. Its words are written without locked instructions. Threads that share a handle may overwrite each other's
//! counts, down to below 0, but only while they are fast.

use crate::os::clock;
use crate::segment::Segment;
use crate::segment::sweep::SweepScope;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The largest number of operations between two reads of the clock.
const MAX_STRIDE: u32 = 64;
/// The coarse clock is exact enough while no sweep is due within this number of its ticks.
const COARSE_TICKS: u64 = 4;

/// The pace of one handle.
#[derive(Debug)]
pub(super) struct LivenessPacer {
    /// The countdown, a signed number.
    countdown: AtomicU32,
    stride: AtomicU32,
    /// The earliest moment that the last read of the clock can have been at, by [`clock::now`].
    last_read: AtomicU64,
    /// The tick of the coarse clock in which another read changes nothing (LIVENESS-5).
    quiet_tick: AtomicU64,
}

impl LivenessPacer {
    /// Returns the state of a new handle, whose first operation reads the clock.
    pub(super) const fn new() -> Self {
        Self {
            countdown: AtomicU32::new(1),
            stride: AtomicU32::new(1),
            last_read: AtomicU64::new(0),
            quiet_tick: AtomicU64::new(0),
        }
    }

    /// Counts one operation, and checks the peers if that is due. Returns whether it has read the clock.
    ///
    /// The caller must hold nothing that unwinding would lose (LIVENESS-1), and must not be a forked child.
    #[inline(always)]
    pub(super) fn count(&self, segment: &Segment) -> bool {
        let left = self.countdown.load(Ordering::Relaxed).wrapping_sub(1);
        self.countdown.store(left, Ordering::Relaxed);
        let is_due = left.cast_signed() <= 0;
        if is_due {
            self.read_clock(segment);
        }
        is_due
    }

    #[cold]
    #[inline(never)]
    fn read_clock(&self, segment: &Segment) {
        let coarse = clock::now_coarse();
        if coarse == self.quiet_tick.load(Ordering::Relaxed) {
            self.set_countdown(MAX_STRIDE);
        } else {
            self.adjust(segment, coarse);
        }
    }

    #[inline(never)]
    fn adjust(&self, segment: &Segment, coarse: u64) {
        let tick = clock::coarse_tick();
        let left = segment.nanoseconds_until_sweep(coarse);
        if left > COARSE_TICKS * tick {
            self.set_stride(coarse, coarse + tick, left - tick);
            let is_quiet = self.stride.load(Ordering::Relaxed) == MAX_STRIDE;
            let quiet_tick = if is_quiet { coarse } else { 0 };
            self.quiet_tick.store(quiet_tick, Ordering::Relaxed);
            return;
        }
        let now = clock::now();
        if segment.nanoseconds_until_sweep(now) == 0 && !mutant!(TriesNeverSweep) {
            // If this unwinds, the countdown stays below 1, and the sweep is no longer due.
            segment.sweep_if_due(SweepScope::Peers);
        }
        self.set_stride(now, now, segment.nanoseconds_until_sweep(now));
    }

    /// Sets stride and countdown after a read of the clock between `earliest` and `latest`, with at least `left`
    /// nanoseconds until the next sweep is due.
    fn set_stride(&self, earliest: u64, latest: u64, left: u64) {
        let last_read = self.last_read.load(Ordering::Relaxed);
        self.last_read.store(earliest, Ordering::Relaxed);
        let stride = self.stride.load(Ordering::Relaxed);
        let next = next_stride(stride, latest.saturating_sub(last_read), left);
        self.stride.store(next, Ordering::Relaxed);
        self.set_countdown(next);
    }

    fn set_countdown(&self, stride: u32) {
        self.countdown.store(stride, Ordering::Relaxed);
    }
}

/// Returns the next stride, after `stride` operations that took at most `took` nanoseconds, with `left` nanoseconds
/// until the next sweep is due (LIVENESS-3).
fn next_stride(stride: u32, took: u64, left: u64) -> u32 {
    let stride = u64::from(stride);
    let fitting = stride.saturating_mul(left) / took.saturating_mul(2).max(1);
    // At most doubled: the time of few operations is a rough measure.
    let next = fitting.min(2 * stride).min(MAX_STRIDE.into());
    u32::try_from(next).map_or(MAX_STRIDE, |next| next.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Returns how many operations of this length start between two sweeps, and how many of them read the clock. Panics
    /// if the first operation that starts after the sweep is due does not.
    fn simulate(operation: u64, interval: u64, tick: u64) -> (u64, u64) {
        let (mut now, mut stride, mut last_read) = (5 * MS, 1, 0);
        let (mut operations, mut reads) = (0, 0);
        // The second interval counts: in the first one, the pace is not known yet.
        for _ in 0..2 {
            let due = now + interval;
            (operations, reads) = (0, 0);
            while now < due {
                now += u64::from(stride) * operation;
                operations += u64::from(stride);
                reads += 1;
                let coarse = now - now % tick;
                let (earliest, latest, left) = match due.saturating_sub(coarse) {
                    far if far > COARSE_TICKS * tick => (coarse, coarse + tick, far - tick),
                    _ => (now, now, due.saturating_sub(now)),
                };
                // After the sweep, a whole interval is left.
                let left = if left == 0 { interval } else { left };
                stride = next_stride(stride, latest - last_read, left);
                last_read = earliest;
            }
            let late = now - due;
            assert!(late < operation, "{operation} ns: {late} ns too late");
        }
        (operations, reads)
    }

    #[test]
    fn at_any_steady_pace_a_sweep_starts_with_the_first_operation_after_it_is_due() {
        for interval in [MS, 10 * MS, 100 * MS, 10_000 * MS] {
            for tick in [MS, 4 * MS, 10 * MS] {
                for operation in [12, 500, 20_000, MS, 3 * MS, 20 * MS, 200 * MS] {
                    let (operations, _) = simulate(operation, interval, tick);
                    assert!(operations <= interval / operation + 1, "{operation} ns");
                }
            }
        }
    }

    #[test]
    fn a_fast_handle_reads_the_clock_once_in_64_operations() {
        let (operations, reads) = simulate(12, 100 * MS, 4 * MS);
        assert!(
            reads * 63 < operations,
            "{reads} reads in {operations} operations"
        );
    }

    #[test]
    fn a_stride_grows_step_by_step_and_shrinks_at_once() {
        assert_eq!(next_stride(1, 10, 100 * MS), 2);
        assert_eq!(next_stride(32, 10, 100 * MS), 64);
        assert_eq!(next_stride(64, 10, 100 * MS), 64);
        assert_eq!(next_stride(64, 10_000 * MS, 100 * MS), 1);
        assert_eq!(next_stride(64, 64, 10), 5);
        assert_eq!(next_stride(64, 0, 0), 1);
    }
}
