//! Waiting: try, spin for a bounded time, then sleep in the kernel, until the operation succeeds or its
//! [policy](super::policy) ends the wait.
//!
//! Spinning is worth it for short waits: waking a sleeper on another processor takes about ten microseconds, seeing a
//! word change about ten nanoseconds. It is bounded because a spinning process keeps a processor from others.
//!
//! The state here, a [`Waiter`] in each handle, is private to the process: how well spinning, pauses and yields have
//! worked, how far the queue was when the last wait began, and whether an [`Interrupter`] has asked for the end of a wait.

use super::attachment::{Attachment, Entered};
use super::failure::{Failure, WaitError};
use super::pause::{self, Gap, PauseSearch};
use super::policy::WaitPolicy;
#[cfg(feature = "async")]
use super::reactor::Word;
use super::spin_time::SpinTime;
use super::yields::{Passed, Yields};
use crate::os::{cpu, futex};
use crate::protocol::ids::Position;
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::Role;
use crate::protocol::ring::Hint;
use crate::protocol::steps::walk;
use crate::protocol::{Corrupt, SharedState};
use crate::segment::sweep::SweepScope;
use crate::sync::{AtomicBool, AtomicU32, Ordering};
use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// What a handle waits for.
pub(super) struct Awaited<'a> {
    /// Notified when the awaited change may have happened.
    pub(super) word: &'a ParkingWord,
    /// A position of the queue that advances with each message or batch that a handle of the same role passes. Measures
    /// their rate.
    pub(super) own_side: &'a Hint,
    /// The position that the other role advances.
    pub(super) other_side: &'a Hint,
    /// Whether the wait itself shows that messages come in a stream: see [`super::pause`].
    pub(super) is_in_stream: bool,
}

impl<'a> Awaited<'a> {
    /// What a receiver waits for.
    pub(super) fn message(queue: Entered<'a>, is_in_stream: bool) -> Self {
        let segment = queue.segment();
        Self {
            word: segment.items(),
            own_side: segment.head(),
            other_side: segment.tail(),
            is_in_stream,
        }
    }

    fn passed(&self) -> Passed {
        Passed {
            own_side: self.own_side.get().0,
            other_side: self.other_side.get().0,
        }
    }
}

/// The state of one handle's waits.
#[derive(Debug)]
pub(super) struct Waiter {
    /// How many waits have spun to the end without success, since one has spun with success.
    fruitless: AtomicU32,
    /// The value of [`Awaited::own_side`] when the last wait began.
    last_position: Hint,
    created: Instant,
    pauses: PauseSearch,
    yields: Yields,
    /// Set by an [`Interrupter`], and consumed by the wait that it ends.
    interrupt: Arc<AtomicBool>,
}

/// A wait makes this many attempts at once, with a `spin_loop` hint after each, before it reads the clock for the first
/// time: a reading takes about as long as an attempt.
pub(super) const QUICK_TRIES: u32 = 32;
/// The capacity from which on a pause is worth trying because of [`Awaited::is_in_stream`]: in a smaller queue, no run can build
/// up meanwhile.
const SMALLEST_FOR_RUNS: u32 = 8;
/// The longest pause of a future: it keeps other tasks of its executor waiting.
#[cfg(feature = "async")]
const FUTURE_PAUSE: Duration = Duration::from_micros(4);
/// How long a process sleeps that waits for a `Release`, where it cannot make the fence for the others. What another
/// process has stored is visible to all long before that.
pub(super) const UNFENCED_SLEEP: Duration = Duration::from_millis(1);
/// After this many waits that have spun to the end without success, waits spin for a shorter time.
const GIVE_UP_SPINNING: u32 = 8;
/// The shorter spin time is the full one divided by this.
const SHORT_SPIN_DIVISOR: u32 = 16;
/// When waits spin for the shorter time, one of this many still spins for the full time.
const FULL_SPIN_EVERY: u32 = 16;
/// After this many attempts, and each time after as many again, the number of `spin_loop` hints between attempts grows:
/// from 0 to 1, then it doubles. Each attempt pulls the cache line away from the peer that is about to write it, and a
/// long wait may end a little late.
const ATTEMPTS_PER_PAUSE: u32 = 16;
/// The number of `spin_loop` hints between attempts is at most half of two to this power.
const MAX_PAUSE_LOG2: u32 = 4;
/// The clock is read once in this many attempts: a reading takes about as long as an attempt.
const ATTEMPTS_PER_CLOCK_READ: u32 = 4;
/// After the full spin time divided by this, a spinning thread yields its processor between attempts: there may be more
/// processes than processors, and the peer that it waits for may need this one. A fast peer answers before that. On a
/// machine with one processor it yields after the first attempt. While its handle does not yield, it sleeps instead: see
/// [`super::yields`].
const YIELD_AFTER_DIVISOR: u32 = 64;

/// Returns how long waits for this queue spin; `None` if they do not.
pub(super) fn spin_time(queue: Entered<'_>) -> Option<Duration> {
    let spin = queue.segment().settings().spin;
    (!spin.is_zero()).then_some(spin)
}

impl Waiter {
    pub(super) fn new() -> Self {
        Self {
            fruitless: AtomicU32::new(0),
            last_position: Hint::new(),
            created: Instant::now(),
            pauses: PauseSearch::new(),
            yields: Yields::new(),
            interrupt: Arc::default(),
        }
    }

    /// Calls `attempt` until it returns a value, or `policy` ends the wait.
    ///
    /// `attempt` returns `None` for "not now"; then it is worth another try once the word has been notified. If several
    /// ends of a wait are possible at once, the success of `attempt` comes first, then an interrupt, then the deadline.
    pub(super) fn wait_for<P: WaitPolicy, R, E: From<Corrupt>>(
        &self,
        queue: Entered<'_>,
        awaited: &Awaited<'_>,
        policy: &P,
        mut attempt: impl FnMut() -> Result<Option<R>, E>,
    ) -> Result<R, Failure<P::Error, E>> {
        match attempt()? {
            Some(result) => Ok(result),
            None => self.wait_more(queue, awaited, policy, attempt),
        }
    }

    /// Continues [`wait_for`](Waiter::wait_for) after a first attempt that returned `None`.
    #[inline(never)]
    pub(super) fn wait_more<P: WaitPolicy, R, E: From<Corrupt>>(
        &self,
        queue: Entered<'_>,
        awaited: &Awaited<'_>,
        policy: &P,
        mut attempt: impl FnMut() -> Result<Option<R>, E>,
    ) -> Result<R, Failure<P::Error, E>> {
        let mut tries = 0;
        while self.tries_again(queue, awaited, policy, &mut tries) {
            if let Some(result) = attempt()? {
                return Ok(result);
            }
        }
        match self.spin(queue, awaited, policy, &mut attempt)? {
            Some(result) => Ok(result),
            None => self.sleep(queue, awaited, policy, attempt),
        }
    }

    /// Repeats `attempt` until it returns a value, or `policy` ends the wait, and sleeps in between.
    #[inline(never)]
    pub(super) fn sleep<P: WaitPolicy, R, E: From<Corrupt>>(
        &self,
        queue: Entered<'_>,
        awaited: &Awaited<'_>,
        policy: &P,
        mut attempt: impl FnMut() -> Result<Option<R>, E>,
    ) -> Result<R, Failure<P::Error, E>> {
        let segment = queue.segment();
        let deadline = policy.deadline();
        let word = awaited.word;
        loop {
            let wait_key = word.prepare_wait();
            // A receiver that acknowledges a message makes no fence before it looks for sleepers that wait for its block,
            // or for the end of a closed queue (PARK-2).
            let awaits_release =
                core::ptr::eq(word, segment.blocks()) || !segment.lifecycle().load().is_open();
            let is_fenced = !awaits_release || segment.fence_others();
            // After `prepare_wait`, every change moves `word`, so the sleep cannot miss it. Every wait makes this last
            // attempt before it gives up, so that it does not consume a wake that another thread needs (PARK-4).
            if let Some(result) = attempt()? {
                return Ok(result);
            }
            if self.take_interrupt() {
                return Err(Failure::Wait(P::error(WaitError::Interrupted)));
            }
            let remaining =
                deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if remaining == Some(Duration::ZERO) && !mutant!(DeadlineIgnored) {
                return Err(Failure::Wait(P::error(WaitError::Timeout)));
            }
            let mut time = segment.time_until_sweep();
            if !is_fenced {
                time = time.min(UNFENCED_SLEEP);
            }
            let (fell_asleep, position) = (Instant::now(), awaited.own_side.get());
            futex::wait(
                word.futex_word(),
                wait_key.get(),
                remaining.map_or(time, |remaining| remaining.min(time)),
            );
            if awaited.own_side.get() == position {
                self.pauses.leave_out(fell_asleep.elapsed());
            }
            // A sleep after a wrong tail could repeat forever: report it as corrupt memory.
            walk::check_tail(segment).map_err(E::from)?;
            if let Some(result) = attempt()? {
                return Ok(result);
            }
            segment.sweep_if_due(SweepScope::PeersAndBlocks);
        }
    }

    /// Returns whether a wait that has begun makes one more attempt at once, after a pause: before it does what a longer
    /// wait needs. `tries` counts from 0.
    #[cold]
    #[inline(never)]
    pub(super) fn tries_again<P: WaitPolicy>(
        &self,
        queue: Entered<'_>,
        awaited: &Awaited<'_>,
        policy: &P,
        tries: &mut u32,
    ) -> bool {
        if !P::WAITS {
            return false;
        }
        if *tries == 0 {
            let is_worthwhile = !self.has_given_up_spinning() && cpu::is_multiprocessor();
            let Some(spin) = spin_time(queue).filter(|_| is_worthwhile) else {
                return false;
            };
            let position = awaited.own_side.get();
            let is_in_stream =
                awaited.is_in_stream && queue.segment().limits().capacity >= SMALLEST_FOR_RUNS;
            self.pause(position, is_in_stream, spin, policy.deadline());
        } else {
            core::hint::spin_loop();
        }
        *tries += 1;
        *tries <= QUICK_TRIES
    }

    /// Pauses before the first attempts of a wait, for at most `longest`, if messages come in a stream: if there was a run of
    /// them, or `is_in_stream` says so. See [`super::pause`]. A deadline or an interrupt cuts the pause short. Returns whether
    /// messages come in a stream.
    fn pause(
        &self,
        position: Position,
        is_in_stream: bool,
        longest: Duration,
        deadline: Option<Instant>,
    ) -> bool {
        let last = self.last_position.get();
        // If the hint has moved backwards, a run has passed whose length is not known.
        let run = position.0.checked_sub(last.0).unwrap_or(2);
        self.last_position.set(position);
        let now = || {
            let now = self.created.elapsed().as_nanos();
            u64::try_from(now).unwrap_or(u64::MAX)
        };
        let is_stream = is_in_stream || pause::is_run(run);
        let pause = self.pauses.next(run, is_stream, now).min(longest);
        if pause.is_zero() {
            return is_stream;
        }
        let start = Instant::now();
        let pause = deadline.map_or(pause, |deadline| {
            pause.min(deadline.saturating_duration_since(start))
        });
        while start.elapsed() < pause && !self.interrupt.load(Ordering::Relaxed) {
            core::hint::spin_loop();
        }
        is_stream
    }

    /// Pauses before a future waits, as a blocking wait does, but for at most [`FUTURE_PAUSE`]. Returns whether messages come
    /// in runs, so that a few more attempts are worth their time.
    #[cfg(feature = "async")]
    pub(super) fn pause_in_run(&self, queue: Entered<'_>, own_side: &Hint) -> bool {
        self.pauses.expect_gaps();
        spin_time(queue)
            .filter(|_| cpu::is_multiprocessor())
            .is_some_and(|spin| self.pause(own_side.get(), false, spin.min(FUTURE_PAUSE), None))
    }

    /// Repeats `attempt` for the queue's spin time, or for a shorter time if recent waits have spun without success.
    /// Fails at once if `policy` does not wait. While the handle does not yield, ends when it would yield.
    ///
    /// Time in which another thread had this processor may not count: see [`super::spin_time`].
    #[inline(never)]
    pub(super) fn spin<P: WaitPolicy, R, E: From<Corrupt>>(
        &self,
        queue: Entered<'_>,
        awaited: &Awaited<'_>,
        policy: &P,
        mut attempt: impl FnMut() -> Result<Option<R>, E>,
    ) -> Result<Option<R>, Failure<P::Error, E>> {
        if !P::WAITS {
            return Err(Failure::Wait(P::error(WaitError::Timeout)));
        }
        let Some(full) = spin_time(queue) else {
            return Ok(None);
        };
        let deadline = policy.deadline();
        let time = self.time_to_spin(full);
        let begun = Instant::now();
        let mut spun = SpinTime::begin(begun);
        let mut gap = Gap::begin(begun, awaited.own_side.get());
        let mut yields_at_all = self.yields.are_allowed(begun, deadline);
        let mut yields_at_once = yields_at_all && !cpu::is_multiprocessor();
        let yield_after = full / YIELD_AFTER_DIVISOR;
        for attempts in 1_u32.. {
            if let Some(result) = attempt()? {
                self.fruitless.store(0, Ordering::Relaxed);
                return Ok(Some(result));
            }
            for _ in 0..(1 << (attempts / ATTEMPTS_PER_PAUSE).min(MAX_PAUSE_LOG2)) >> 1 {
                core::hint::spin_loop();
            }
            if !yields_at_once && !attempts.is_multiple_of(ATTEMPTS_PER_CLOCK_READ) {
                continue;
            }
            let now = Instant::now();
            self.pauses.leave_out(gap.grow(now, awaited.own_side.get()));
            let elapsed = spun.at(now);
            let is_over = elapsed >= time || deadline.is_some_and(|deadline| now >= deadline);
            if is_over || self.interrupt.load(Ordering::Relaxed) {
                break;
            }
            if elapsed < yield_after && !yields_at_once {
                continue;
            }
            if !yields_at_all {
                // Not fruitless: a longer spin might have succeeded.
                return Ok(None);
            }
            yields_at_once = false;
            let yielded = self.yields.yield_now(now, || awaited.passed());
            spun.yielded(&yielded, deadline);
            yields_at_all = self.yields.are_allowed(yielded.ended, deadline);
        }
        self.fruitless.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }

    /// Returns how long a wait spins that begins now: usually for the `full` time.
    fn time_to_spin(&self, full: Duration) -> Duration {
        let is_full = self
            .fruitless
            .load(Ordering::Relaxed)
            .is_multiple_of(FULL_SPIN_EVERY);
        if self.has_given_up_spinning() && !is_full {
            full / SHORT_SPIN_DIVISOR
        } else {
            full
        }
    }

    /// Returns whether waits spin for the shorter time.
    fn has_given_up_spinning(&self) -> bool {
        self.fruitless.load(Ordering::Relaxed) >= GIVE_UP_SPINNING
    }

    pub(super) fn take_interrupt(&self) -> bool {
        // Acquire: pairs with the store in `interrupt`.
        self.interrupt.load(Ordering::Relaxed)
            && (mutant!(InterruptNotConsumed) || self.interrupt.swap(false, Ordering::AcqRel))
    }

    pub(super) fn interrupter(&self, attachment: &Arc<Attachment>, role: Role) -> Interrupter {
        Interrupter {
            interrupt: Arc::clone(&self.interrupt),
            target: Target::Handle(Arc::downgrade(attachment), role),
        }
    }
}

/// A handle that interrupts the waits of one [`Sender`](crate::Sender) or [`Receiver`](crate::Receiver), without
/// closing the queue, or of one [`Select`](crate::queue::Select).
///
/// Returned by [`Sender::interrupter`](crate::Sender::interrupter) and
/// [`Receiver::interrupter`](crate::Receiver::interrupter), for that sender or receiver only: its clones are not
/// affected. Likewise by [`Select::interrupter`](crate::queue::Select::interrupter). A clone of an interrupter is another
/// one for the same object.
///
/// # Examples
///
/// ```
/// let (tx, rx) = workring::channel::<u32>(4)?;
/// let interrupter = rx.interrupter();
/// let waiting = std::thread::spawn(move || rx.recv());
/// interrupter.interrupt();
/// assert_eq!(waiting.join().unwrap(), Err(workring::RecvError::Interrupted));
/// # drop(tx);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Interrupter {
    interrupt: Arc<AtomicBool>,
    target: Target,
}

/// What an interrupter notifies.
#[derive(Clone)]
enum Target {
    Handle(Weak<Attachment>, Role),
    /// The own word of a select, in this process's memory.
    Select(Arc<ParkingWord>),
}

impl Interrupter {
    pub(super) fn of_select(interrupt: &Arc<AtomicBool>, own_word: &Arc<ParkingWord>) -> Self {
        Self {
            interrupt: Arc::clone(interrupt),
            target: Target::Select(Arc::clone(own_word)),
        }
    }

    /// Interrupts the current wait of the sender, receiver or select or, if there is none, the next operation that would
    /// have to sleep. If several threads wait with the same sender or receiver, one of them is interrupted.
    ///
    /// Several interrupts before a wait has ended count as one. An operation that can succeed does so, and leaves the
    /// interrupt for the next one. Never waits.
    pub fn interrupt(&self) {
        // Release, and before the notification: a thread that is woken by it, or does not sleep because of it, sees
        // this.
        self.interrupt.store(true, Ordering::Release);
        let (attachment, role) = match &self.target {
            Target::Handle(attachment, role) => (attachment.upgrade(), role),
            Target::Select(word) => {
                return word.notify(|word| futex::wake(word.futex_word(), u32::MAX));
            }
        };
        let Some(attachment) = attachment else {
            return;
        };
        let Ok(queue) = attachment.enter() else {
            return;
        };
        let segment = queue.segment();
        let words: &[&ParkingWord] = match role {
            Role::Sender => &[segment.space(), segment.blocks()],
            Role::Receiver => &[segment.items()],
        };
        #[cfg(feature = "async")]
        call_futures(&attachment, *role);
        for word in words {
            // All sleepers check again, because the word does not say which of them waits with this handle.
            word.notify(|word| segment.wake(word, u32::MAX));
        }
    }
}

/// Makes all futures of this process that wait like a handle of `role` try again. The notification does not: there is no
/// message and no room.
#[cfg(feature = "async")]
fn call_futures(attachment: &Attachment, role: Role) {
    let words: &[Word] = match role {
        Role::Sender => &[Word::Space, Word::Blocks],
        Role::Receiver => &[Word::Items],
    };
    for word in words {
        attachment.seats.call_all(*word);
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
mod tests;
