//! When a process that is busy with a queue checks whether a peer has died.
//!
//! A process that waits for a queue checks when its sleep ends. One that never waits checks at the start of an
//! operation, but not of every one: a coarse clock costs 3 ns, and a message 12. So each handle counts its operations,
//! and looks at the clock once in `stride` of them.
//!
//! | countdown | meaning                                                                       |
//! |-----------|-------------------------------------------------------------------------------|
//! | n > 1     | n - 1 operations need not look at the clock                                   |
//! | n <= 1    | the next operation looks at the clock, and sets the countdown to the stride   |
//!
//! LIVENESS-1. A check happens before an operation takes, allocates or locks anything: it may call a `tracing`
//!             subscriber, which may panic, block, or use this very queue. An operation that it unwinds has done nothing.
//!             (`Lease::ack` checks after it has acknowledged, [`Reservation::commit`](super::Reservation) while the
//!             reservation's guard holds the block.)
//! LIVENESS-2. `stride` is at most [`MAX_STRIDE`]: whatever the pace was before, at most this many operations pass
//!             before the clock is read.
//! LIVENESS-3. At the measured pace, `stride` operations take at most half of the time that is left until a sweep of the
//!             peers is due. So at a steady pace no operation that starts after that moment skips the check: a death is
//!             noticed within one liveness interval and one operation.
//! LIVENESS-4. The measured time of an operation is an upper bound. A coarse clock is one tick late at most, so near
//!             the due moment the exact clock is read instead.
//!
//! LIVENESS-5. A look within the same tick of the coarse clock as the one before, at the largest stride and far from the
//!             due moment, changes nothing: `stride` operations take less than a tick. That is the look of a busy
//!             handle, and costs little more than the clock.
//!
//! The state is private to the handle: what other handles or processes do says nothing about the pace of this one. Its
//! words are written without locked operations. Threads that share a handle may overwrite each other's counts, which
//! happens only to threads that are fast; a count below 0 is such a one.
use crate::os::clock;
use crate::segment::Segment;
use crate::segment::sweep::SweepScope;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The largest number of operations between two looks at the clock.
const MAX_STRIDE: u32 = 64;
/// The coarse clock will do as long as a sweep is not due within this number of its ticks.
const COARSE_TICKS: u64 = 4;

/// The state of one handle. See the module.
#[derive(Debug)]
pub(super) struct LivenessPacer {
    /// A signed number.
    countdown: AtomicU32,
    stride: AtomicU32,
    /// The earliest moment at which the last look can have been, by [`clock::now`].
    looked: AtomicU64,
    /// The tick of the coarse clock in which looks need do nothing (LIVENESS-5).
    calm: AtomicU64,
}

impl LivenessPacer {
    /// The first operation looks at the clock.
    pub(super) const fn new() -> Self {
        Self {
            countdown: AtomicU32::new(1),
            stride: AtomicU32::new(1),
            looked: AtomicU64::new(0),
            calm: AtomicU64::new(0),
        }
    }

    /// Counts one operation, and checks on the peers if it is time to.
    ///
    /// Nothing may be in hand that unwinding would lose (LIVENESS-1). This must not be a forked child.
    #[inline(always)]
    pub(super) fn count(&self, segment: &Segment) {
        let left = self.countdown.load(Ordering::Relaxed).wrapping_sub(1);
        self.countdown.store(left, Ordering::Relaxed);
        if left.cast_signed() <= 0 {
            self.look(segment);
        }
    }

    #[cold]
    #[inline(never)]
    fn look(&self, segment: &Segment) {
        let coarse = clock::now_coarse();
        if coarse == self.calm.load(Ordering::Relaxed) {
            self.set_countdown(MAX_STRIDE);
        } else {
            self.look_closely(segment, coarse);
        }
    }

    #[inline(never)]
    fn look_closely(&self, segment: &Segment, coarse: u64) {
        let tick = clock::coarse_tick();
        let left = segment.nanoseconds_until_sweep(coarse);
        if left > COARSE_TICKS * tick {
            self.pace(coarse, coarse + tick, left - tick);
            let is_calm = self.stride.load(Ordering::Relaxed) == MAX_STRIDE;
            self.calm
                .store(if is_calm { coarse } else { 0 }, Ordering::Relaxed);
            return;
        }
        let now = clock::now();
        if segment.nanoseconds_until_sweep(now) == 0 && !mutant!(TriesNeverSweep) {
            // It may unwind. Then the countdown is still below 1, and the sweep is not due any more.
            segment.sweep_if_due(SweepScope::Peers);
        }
        self.pace(now, now, segment.nanoseconds_until_sweep(now));
    }

    /// Sets the countdown after a look between `earliest` and `latest`, when at least `left` nanoseconds are left until
    /// the next sweep is due.
    fn pace(&self, earliest: u64, latest: u64, left: u64) {
        let looked = self.looked.load(Ordering::Relaxed);
        self.looked.store(earliest, Ordering::Relaxed);
        let stride = self.stride.load(Ordering::Relaxed);
        let next = next_stride(stride, latest.saturating_sub(looked), left);
        self.stride.store(next, Ordering::Relaxed);
        self.set_countdown(next);
    }

    fn set_countdown(&self, stride: u32) {
        self.countdown.store(stride, Ordering::Relaxed);
    }
}

/// The next stride, after `stride` operations that took `took` nanoseconds at most, with `left` nanoseconds until the
/// next sweep is due (LIVENESS-3).
fn next_stride(stride: u32, took: u64, left: u64) -> u32 {
    let stride = u64::from(stride);
    let fitting = stride.saturating_mul(left) / took.saturating_mul(2).max(1);
    // No more than twice as many: the measure of few operations is rough.
    let next = fitting.min(2 * stride).min(MAX_STRIDE.into());
    u32::try_from(next).map_or(MAX_STRIDE, |next| next.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// How many operations of this length start from one sweep to the next, and how many of them look at the clock.
    /// Panics if one that starts when the sweep is due does not.
    fn simulate(operation: u64, interval: u64, tick: u64) -> (u64, u64) {
        let (mut now, mut stride, mut looked) = (5 * MS, 1, 0);
        let (mut operations, mut looks) = (0, 0);
        // The second interval counts: in the first, the pace is not known yet.
        for _ in 0..2 {
            let due = now + interval;
            (operations, looks) = (0, 0);
            while now < due {
                now += u64::from(stride) * operation;
                operations += u64::from(stride);
                looks += 1;
                let coarse = now - now % tick;
                let (earliest, latest, left) = match due.saturating_sub(coarse) {
                    far if far > COARSE_TICKS * tick => (coarse, coarse + tick, far - tick),
                    _ => (now, now, due.saturating_sub(now)),
                };
                // After the sweep, a whole interval is left.
                let left = if left == 0 { interval } else { left };
                stride = next_stride(stride, latest - looked, left);
                looked = earliest;
            }
            let late = now - due;
            assert!(late < operation, "{operation} ns: {late} ns too late");
        }
        (operations, looks)
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
    fn a_fast_handle_looks_at_the_clock_once_in_64_operations() {
        let (operations, looks) = simulate(12, 100 * MS, 4 * MS);
        assert!(
            looks * 63 < operations,
            "{looks} looks in {operations} operations"
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
