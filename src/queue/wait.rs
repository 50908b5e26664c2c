//! Waiting: try, spin for a bounded time, then sleep in the kernel, until it works or the caller's patience
//! ends.
//!
//! Why spin at all: to wake a sleeper on another processor takes some ten microseconds, to see a word change
//! some ten nanoseconds. Why not for long: a spinning process burns a processor that others may need.

use super::attachment::Attachment;
use crate::os::{cpu, futex};
use crate::protocol::ids::Position;
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::Role;
use crate::protocol::ring::Hint;
use crate::protocol::steps::walk;
use crate::protocol::{Corrupt, SharedState};
use crate::segment::sweep::SweepScope;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// How long a caller is willing to wait, and what it gets to hear when that ends.
pub(super) trait WaitPolicy {
    /// Why the wait ended without success.
    type Stop;
    /// Whether to wait at all.
    const WAITS: bool;
    fn deadline(&self) -> Option<Instant>;
    fn stop(reason: Reason) -> Self::Stop;
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Deadline,
    Interrupted,
}

/// Not to wait at all.
pub(super) struct NonBlocking;
/// It would have had to wait.
pub(super) struct WouldBlock;

impl WaitPolicy for NonBlocking {
    type Stop = WouldBlock;
    const WAITS: bool = false;
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn stop(_: Reason) -> WouldBlock {
        WouldBlock
    }
}

/// To wait until it works, or an interrupter ends it.
pub(super) struct Unbounded;
/// An interrupter ended the wait.
pub(super) struct Interrupted;

impl WaitPolicy for Unbounded {
    type Stop = Interrupted;
    const WAITS: bool = true;
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn stop(_: Reason) -> Interrupted {
        Interrupted
    }
}

/// To wait until a moment; `None`: one so far away that it never comes.
pub(super) struct Deadline(pub(super) Option<Instant>);

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }
}

impl WaitPolicy for Deadline {
    type Stop = Reason;
    const WAITS: bool = true;
    fn deadline(&self) -> Option<Instant> {
        self.0
    }
    fn stop(reason: Reason) -> Reason {
        reason
    }
}

/// Why something that waits did not work.
pub(super) enum Failure<S, E> {
    /// The caller's patience ended.
    Stopped(S),
    /// It will never work.
    Refused(E),
}

impl<S, E> From<E> for Failure<S, E> {
    fn from(refusal: E) -> Self {
        Self::Refused(refusal)
    }
}

/// What a handle waits for.
pub(super) struct Awaited<'a> {
    /// Notified when it may have come.
    pub(super) word: &'a ParkingWord,
    /// Moves on with each entry of the queue, a message or a batch.
    pub(super) progress: &'a Hint,
}

/// How one handle waits: what its waits have taught it, and the permit of its interrupters.
#[derive(Debug)]
pub(super) struct Waiter {
    /// How many waits in a row have spun in vain.
    fruitless: AtomicU32,
    /// How far the queue was when the last wait began.
    position: Hint,
    /// When that was, in nanoseconds after `made`.
    moment: AtomicU64,
    made: Instant,
    interrupt: Arc<AtomicBool>,
}

/// How long to leave a stream alone, for each entry of it since the handle's last wait began, and at the most.
const PAUSE_FOR_EACH: Duration = Duration::from_nanos(300);
const LONGEST_FIRST_PAUSE: Duration = Duration::from_micros(8);
/// So many vain waits, and spinning is cut short ...
const GIVE_UP_SPINNING: u32 = 8;
/// ... to this part of its time ...
const SHORT_SPIN: u32 = 16;
/// ... but for every so many waits.
const STILL_TRY_EVERY: u32 = 16;
/// After so many attempts there is a pause between them, which then doubles again and again, up to half of this
/// power of two: an attempt takes cache lines away from the very process that is being waited for, and a wait that
/// takes longer can be found out later.
const ATTEMPTS_A_PAUSE: u32 = 16;
const LONGEST_PAUSE: u32 = 4;
/// The clock is looked at once in so many attempts: a look takes about as long as one of them.
const ATTEMPTS_A_LOOK: u32 = 4;
/// After this part of the spin time other processes get the processor in between: there may be more of them than
/// processors, and the one that is being waited for may be waiting for this one to move.
const YIELD_AFTER: u32 = 2;
/// The same where messages are slow to come: others may have as much to do with theirs, on this very processor.
const YIELD_SOON_AFTER: u32 = 64;
/// A message is slow to come, on average, when it takes about as long as giving the processor away and getting it
/// back: one of some kilobytes, or one that somebody works on. With fast ones that would cost more than it gives.
const SLOW: Duration = Duration::from_nanos(500);

/// Whether `passed` messages in that time are slow to come.
fn is_slow(passed: u64, took: Duration) -> bool {
    took.as_nanos() > u128::from(passed) * SLOW.as_nanos()
}

/// How long to leave the queue alone before the first look again, when a run of so many entries went before.
///
/// A receiver that has caught up with its senders, or a sender that has filled the queue, would go on message by
/// message, and each of its looks takes the very line away from the other side that the next message is about to
/// be written to or taken from: both then wait for lines more than they work. A moment later there is a run of
/// messages, or of room for them, that nobody fights over. Such a pause grows with the runs that it makes, as long
/// as they come fast enough; a single message is no stream.
fn pause_after(run: u64) -> Duration {
    if run < 2 {
        return Duration::ZERO;
    }
    let run = u32::try_from(run).unwrap_or(u32::MAX);
    LONGEST_FIRST_PAUSE.min(PAUSE_FOR_EACH.saturating_mul(run))
}

impl Waiter {
    pub(super) fn new() -> Self {
        Self {
            fruitless: AtomicU32::new(0),
            position: Hint::new(),
            moment: AtomicU64::new(0),
            made: Instant::now(),
            interrupt: Arc::default(),
        }
    }

    /// Call `attempt` until it gives something, or `patience` ends.
    ///
    /// `attempt` gives `None` for "not now"; then it is worth trying again once the word has been notified.
    pub(super) fn wait_for<P: WaitPolicy, R, E: From<Corrupt>>(
        &self,
        attachment: &Attachment,
        awaited: &Awaited<'_>,
        patience: &P,
        mut attempt: impl FnMut() -> Result<Option<R>, E>,
    ) -> Result<R, Failure<P::Stop, E>> {
        match attempt()? {
            Some(result) => Ok(result),
            None => self.wait_more(attachment, awaited, patience, attempt),
        }
    }

    /// As [`wait_for`](Waiter::wait_for), after an attempt that gave nothing.
    #[inline(never)]
    pub(super) fn wait_more<P: WaitPolicy, R, E: From<Corrupt>>(
        &self,
        attachment: &Attachment,
        awaited: &Awaited<'_>,
        patience: &P,
        mut attempt: impl FnMut() -> Result<Option<R>, E>,
    ) -> Result<R, Failure<P::Stop, E>> {
        if !P::WAITS {
            return Err(Failure::Stopped(P::stop(Reason::Deadline)));
        }
        let segment = attachment.segment();
        let deadline = patience.deadline();
        if let Some(result) = self.spin(attachment, awaited, deadline, &mut attempt)? {
            return Ok(result);
        }
        let word = awaited.word;
        loop {
            let epoch = word.prepare_wait();
            // Between this and the sleep, `word` tells of every change. And nobody leaves without this last
            // look, lest it take a wake along that was meant for somebody else (PARK-4).
            if let Some(result) = attempt()? {
                return Ok(result);
            }
            if self.take_interrupt() {
                return Err(Failure::Stopped(P::stop(Reason::Interrupted)));
            }
            let remaining =
                deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if remaining == Some(Duration::ZERO) && !mutant!(DeadlineIgnored) {
                return Err(Failure::Stopped(P::stop(Reason::Deadline)));
            }
            let slice = segment.time_until_sweep();
            futex::wait(
                word.word(),
                epoch.get(),
                remaining.map_or(slice, |remaining| remaining.min(slice)),
            );
            walk::check_tail(attachment.segment()).map_err(E::from)?;
            if let Some(result) = attempt()? {
                return Ok(result);
            }
            segment.sweep_if_due(SweepScope::PeersAndBlocks);
        }
    }

    /// Try again and again for the queue's spin time, or less where that has been in vain.
    fn spin<R, E>(
        &self,
        attachment: &Attachment,
        awaited: &Awaited<'_>,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Result<Option<R>, E>,
    ) -> Result<Option<R>, E> {
        let full = attachment.segment().settings().spin;
        if full.is_zero() || !cpu::is_multiprocessor() {
            return Ok(None);
        }
        let fruitless = self.fruitless.load(Ordering::Relaxed);
        let short = fruitless >= GIVE_UP_SPINNING && !fruitless.is_multiple_of(STILL_TRY_EVERY);
        let time = if short { full / SHORT_SPIN } else { full };
        let start = Instant::now();
        let (passed, took) = self.since_last_wait(awaited.progress.get(), start);
        let yield_after = if is_slow(passed, took) {
            full / YIELD_SOON_AFTER
        } else {
            full / YIELD_AFTER
        };
        let first_pause = pause_after(passed).min(time);
        while !first_pause.is_zero() && start.elapsed() < first_pause {
            core::hint::spin_loop();
        }
        for attempts in 1_u32.. {
            if let Some(result) = attempt()? {
                self.fruitless.store(0, Ordering::Relaxed);
                return Ok(Some(result));
            }
            for _ in 0..(1 << (attempts / ATTEMPTS_A_PAUSE).min(LONGEST_PAUSE)) >> 1 {
                core::hint::spin_loop();
            }
            if !attempts.is_multiple_of(ATTEMPTS_A_LOOK) {
                continue;
            }
            let now = Instant::now();
            let elapsed = now.duration_since(start);
            let is_over = elapsed >= time || deadline.is_some_and(|deadline| now >= deadline);
            if is_over || self.interrupt.load(Ordering::Relaxed) {
                break;
            }
            if elapsed >= yield_after {
                cpu::yield_now();
            }
        }
        self.fruitless
            .store(fruitless.wrapping_add(1), Ordering::Relaxed);
        Ok(None)
    }

    /// How many entries have passed since the last wait began, and in what time. A guess: several threads may wait with
    /// one handle, and where a hint has moved back, the number is close to 2^64.
    fn since_last_wait(&self, position: Position, now: Instant) -> (u64, Duration) {
        let passed = position.0.wrapping_sub(self.position.get().0);
        self.position.set(position);
        let moment = now.saturating_duration_since(self.made).as_nanos();
        let moment = u64::try_from(moment).unwrap_or(u64::MAX);
        let last = self.moment.load(Ordering::Relaxed);
        self.moment.store(moment, Ordering::Relaxed);
        (passed, Duration::from_nanos(moment.saturating_sub(last)))
    }

    fn take_interrupt(&self) -> bool {
        // Acquire: pairs with the store in `interrupt`.
        self.interrupt.load(Ordering::Relaxed)
            && (mutant!(InterruptNotConsumed) || self.interrupt.swap(false, Ordering::AcqRel))
    }

    pub(super) fn interrupter(&self, attachment: &Arc<Attachment>, role: Role) -> Interrupter {
        Interrupter {
            interrupt: Arc::clone(&self.interrupt),
            attachment: Arc::downgrade(attachment),
            role,
        }
    }
}

/// Ends a wait of one handle, without closing the queue.
///
/// Made by [`Sender::interrupter`](crate::Sender::interrupter) and
/// [`Receiver::interrupter`](crate::Receiver::interrupter), for that very handle; clones of the handle are
/// not affected. Cloning an interrupter gives another for the same handle.
///
/// # Examples
///
/// ```
/// let (tx, rx) = workring::channel::<u32>(4)?;
/// let interrupter = rx.interrupter();
/// let waiting = std::thread::spawn(move || rx.recv());
/// interrupter.interrupt();
/// assert!(matches!(waiting.join().unwrap(), Err(workring::RecvError::Interrupted)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Interrupter {
    interrupt: Arc<AtomicBool>,
    attachment: Weak<Attachment>,
    role: Role,
}

impl Interrupter {
    /// End the wait that the handle is in, or else the next one that would have to sleep. Exactly one: with
    /// several threads waiting on one handle, one of them.
    ///
    /// Interrupting several times before a wait has ended counts once. An operation that can succeed does so,
    /// and leaves the interrupt for the next one. Never waits.
    pub fn interrupt(&self) {
        // Release, and before the notification: whoever it wakes, or keeps from sleeping, sees the permit.
        self.interrupt.store(true, Ordering::Release);
        if let Some(attachment) = self.attachment.upgrade()
            && !attachment.is_forked_child()
        {
            let segment = attachment.segment();
            let words: &[&ParkingWord] = match self.role {
                Role::Sender => &[segment.space(), segment.blocks()],
                Role::Receiver => &[segment.items()],
            };
            for word in words {
                // Which of the sleepers is the one meant can't be told, so all look again.
                word.notify(|word| segment.wake(word, u32::MAX));
            }
        }
    }
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupter")
            .field("pending", &self.interrupt)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wait_knows_how_fast_messages_came_since_the_last_one() {
        let waiter = Waiter::new();
        let at = |micros| waiter.made + Duration::from_micros(micros);
        let since = |position, micros| waiter.since_last_wait(Position(position), at(micros));
        assert_eq!(since(10, 1), (10, Duration::from_micros(1)));
        assert_eq!(since(1010, 4), (1000, Duration::from_micros(3)));
        assert_eq!(since(1010, 9), (0, Duration::from_micros(5)));
    }

    #[test]
    fn a_stream_is_left_alone_for_longer_the_more_of_it_there_was() {
        assert_eq!(pause_after(0), Duration::ZERO);
        assert_eq!(
            pause_after(1),
            Duration::ZERO,
            "a single message is no stream"
        );
        assert_eq!(pause_after(2), 2 * PAUSE_FOR_EACH);
        assert_eq!(pause_after(20), 20 * PAUSE_FOR_EACH);
        assert_eq!(
            pause_after(u64::MAX),
            LONGEST_FIRST_PAUSE,
            "a hint has moved back"
        );
    }

    #[test]
    fn messages_that_take_as_long_as_two_switches_are_slow() {
        let micros = Duration::from_micros;
        assert!(is_slow(1, micros(1)));
        assert!(is_slow(0, micros(1)), "none came at all");
        assert!(!is_slow(3, micros(1)));
    }
}
