//! The wait of a select.

use super::super::attachment::Entered;
use super::super::failure::{Failure, SelectFailure, WaitError};
use super::super::policy::WaitPolicy;
use super::super::wait::{Interrupter, UNFENCED_SLEEP, spin_time};
use super::super::yields::{Passed, Yields};
use super::operation::{Awaited, Fault, Operation, Outcome};
use super::selected::SelectedOperation;
use crate::os::cpu;
use crate::os::wait_many::{MAX_WORDS, WaitWord, WordSleeper};
use crate::protocol::SharedState;
use crate::protocol::parking::{ParkingWord, WaitKey};
use crate::protocol::steps::walk;
use crate::segment::Segment;
use crate::segment::sweep::SweepScope;
use crate::sync::{AtomicBool, Ordering};
use core::hash::{BuildHasher, Hasher};
use core::time::Duration;
use std::collections::hash_map::RandomState;
use std::sync::Arc;
use std::time::Instant;

/// One word of a wait is the one that an interrupter notifies.
const MAX_QUEUE_WORDS: usize = MAX_WORDS - 1;
/// After this many waits that have spun to the end without success, and before one that has not, waits do not spin.
const GIVE_UP_SPINNING: u32 = 8;
/// Without spinning, one of this many waits spins all the same.
const SPIN_EVERY: u32 = 16;
/// After this part of the spin time, a spinning thread yields its processor between attempts, or sleeps: as in the wait for
/// one queue.
const YIELD_AFTER_DIVISOR: u32 = 64;

/// The operations of a select, and the state of its waits.
pub(super) struct SelectWait<'a> {
    operations: Vec<Registered<'a>>,
    next_index: usize,
    sleeper: WordSleeper,
    /// Set by an interrupter, and consumed by the wait that it ends.
    interrupt: Arc<AtomicBool>,
    /// In this process's own memory. Notified by an interrupter.
    own_word: Arc<ParkingWord>,
    /// How many waits have spun to the end without success, since one has spun with success.
    fruitless: u32,
    yields: Yields,
    random: u64,
}

struct Registered<'a> {
    index: usize,
    operation: Box<dyn Operation<'a> + 'a>,
}

/// An operation that was found ready: its place in the list, what it has waited for, and what became of it.
struct Found<'a> {
    place: usize,
    outcome: Outcome<'a>,
}

type Selected<'a, P> = Result<Found<'a>, Failure<<P as WaitPolicy>::Error, SelectFailure>>;

/// A word that was announced (SELECT-2).
struct Announced<'w> {
    word: &'w ParkingWord,
    key: WaitKey,
    /// The queue that it belongs to, and which of its words it is. `None`: the select's own.
    of: Option<(&'w Segment, Awaited)>,
}

impl<'a> SelectWait<'a> {
    pub(super) fn new() -> Self {
        Self {
            operations: Vec::new(),
            next_index: 0,
            sleeper: WordSleeper::new(),
            interrupt: Arc::default(),
            own_word: Arc::new(ParkingWord::new()),
            fruitless: 0,
            yields: Yields::new(),
            // Differs from one call to the next, and is never 0.
            random: RandomState::new().build_hasher().finish() | 1,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.operations.len()
    }

    pub(super) fn add(&mut self, operation: Box<dyn Operation<'a> + 'a>) -> usize {
        let index = self.next_index;
        self.next_index += 1;
        self.operations.push(Registered { index, operation });
        index
    }

    pub(super) fn remove(&mut self, index: usize) -> bool {
        let place = self.operations.iter().position(|it| it.index == index);
        place.map(|place| self.operations.remove(place)).is_some()
    }

    pub(super) fn interrupter(&self) -> Interrupter {
        Interrupter::of_select(&self.interrupt, &self.own_word)
    }

    /// Does one operation.
    pub(super) fn select<P: WaitPolicy>(
        &mut self,
        policy: &P,
    ) -> Result<SelectedOperation<'a>, Failure<P::Error, SelectFailure>> {
        if self.operations.is_empty() {
            return Err(SelectFailure::NoOperations.into());
        }
        let order = self.shuffled();
        let found = {
            // If user code panics, too.
            let mut attempts = Attempts(&mut self.operations);
            let mut wait = Wait {
                sleeper: &mut self.sleeper,
                interrupt: &self.interrupt,
                own_word: &self.own_word,
                fruitless: &mut self.fruitless,
                yields: &self.yields,
                order: &order,
            };
            wait.run(&mut attempts, policy)?
        };
        let Registered { index, operation } = self
            .operations
            .get(found.place)
            .ok_or(SelectFailure::NoOperations)?;
        let selected = SelectedOperation {
            index: *index,
            kind: operation.kind(),
            handle: operation.handle(),
            outcome: found.outcome,
        };
        if matches!(selected.outcome, Outcome::Sent(_)) {
            self.operations.remove(found.place);
        }
        Ok(selected)
    }

    /// Returns the places of the operations in random order.
    fn shuffled(&mut self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.operations.len()).collect();
        for last in (1..order.len()).rev() {
            // xorshift64.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let count = last as u64 + 1;
            let other = usize::try_from((self.random >> 11) % count).unwrap_or(last);
            if !mutant!(SelectInOrder) {
                order.swap(last, other);
            }
        }
        order
    }
}

/// The operations during a wait. Dropping this gives up what they hold.
struct Attempts<'s, 'a>(&'s mut Vec<Registered<'a>>);

impl Drop for Attempts<'_, '_> {
    fn drop(&mut self) {
        for registered in &mut *self.0 {
            registered.operation.give_up();
        }
    }
}

impl<'a> Attempts<'_, 'a> {
    /// Enters the queue of each operation again: user code may have forked (ATTACH-4).
    fn enter(&self) -> Result<Vec<Entered<'a>>, Found<'a>> {
        let entered = self.0.iter().enumerate().map(|(place, it)| {
            let entered = it.operation.handle().enter();
            entered.map_err(|forked| Found {
                place,
                outcome: it.operation.failed(Fault::Forked(forked)),
            })
        });
        entered.collect()
    }

    /// Tries the operations in this order, until one is ready.
    fn look(&mut self, order: &[usize]) -> Option<Found<'a>> {
        order.iter().find_map(|&place| {
            let operation = &mut self.0.get_mut(place)?.operation;
            let outcome = match operation.handle().enter() {
                Ok(queue) => operation.attempt(queue)?,
                Err(forked) => operation.failed(Fault::Forked(forked)),
            };
            Some(Found { place, outcome })
        })
    }

    /// Returns which word each operation sleeps on.
    fn awaited(&self) -> Vec<Awaited> {
        self.0.iter().map(|it| it.operation.awaited()).collect()
    }

    /// Returns a queue whose tail is corrupt, which a sleep could otherwise wait for forever.
    fn corrupt(&self, queues: &[Entered<'a>]) -> Option<Found<'a>> {
        self.0
            .iter()
            .zip(queues)
            .enumerate()
            .find_map(|(place, (it, queue))| {
                let corrupt = walk::check_tail(queue.segment()).err()?;
                let outcome = it.operation.failed(Fault::Corrupt(corrupt));
                Some(Found { place, outcome })
            })
    }
}

/// What one wait uses of a [`SelectWait`].
struct Wait<'s> {
    sleeper: &'s mut WordSleeper,
    interrupt: &'s AtomicBool,
    own_word: &'s ParkingWord,
    fruitless: &'s mut u32,
    yields: &'s Yields,
    order: &'s [usize],
}

impl Wait<'_> {
    fn run<'a, P: WaitPolicy>(
        &mut self,
        attempts: &mut Attempts<'_, 'a>,
        policy: &P,
    ) -> Selected<'a, P> {
        for (place, it) in attempts.0.iter().enumerate() {
            // All of them before an attempt takes anything (LIVENESS-1).
            if let Err(forked) = it.operation.handle().begin() {
                let outcome = it.operation.failed(Fault::Forked(forked));
                return Ok(Found { place, outcome });
            }
        }
        if let Some(found) = attempts.look(self.order) {
            return Ok(found);
        }
        if !P::WAITS {
            return Err(Failure::Wait(P::error(WaitError::Timeout)));
        }
        match self.spin(attempts, policy.deadline()) {
            Some(found) => Ok(found),
            None => self.sleep(attempts, policy),
        }
    }

    /// Repeats the attempts for the longest spin time of the queues, unless recent waits have spun without success.
    fn spin<'a>(
        &mut self,
        attempts: &mut Attempts<'_, 'a>,
        deadline: Option<Instant>,
    ) -> Option<Found<'a>> {
        let queues = match attempts.enter() {
            Ok(queues) => queues,
            Err(found) => return Some(found),
        };
        let full = queues.iter().filter_map(|queue| spin_time(*queue)).max()?;
        *self.fruitless = self.fruitless.wrapping_add(1);
        if *self.fruitless > GIVE_UP_SPINNING && !self.fruitless.is_multiple_of(SPIN_EVERY) {
            return None;
        }
        let awaited = attempts.awaited();
        let start = Instant::now();
        let mut yields_at_all = self.yields.are_allowed(start, deadline);
        let mut yields_at_once = yields_at_all && !cpu::is_multiprocessor();
        loop {
            if let Some(found) = attempts.look(self.order) {
                *self.fruitless = 0;
                return Some(found);
            }
            let now = Instant::now();
            let elapsed = now.duration_since(start);
            let is_over = elapsed >= full || deadline.is_some_and(|deadline| now >= deadline);
            if is_over || self.interrupt.load(Ordering::Relaxed) {
                return None;
            }
            if elapsed < full / YIELD_AFTER_DIVISOR && !yields_at_once {
                core::hint::spin_loop();
                continue;
            }
            if !yields_at_all {
                // Not fruitless: a longer spin might have succeeded.
                *self.fruitless = self.fruitless.wrapping_sub(1);
                return None;
            }
            yields_at_once = false;
            let yielded = self.yields.yield_now(now, || passed(&queues, &awaited));
            yields_at_all = self.yields.are_allowed(yielded.ended, deadline);
        }
    }

    /// Repeats the attempts until one succeeds, or `policy` ends the wait, and sleeps in between.
    fn sleep<'a, P: WaitPolicy>(
        &mut self,
        attempts: &mut Attempts<'_, 'a>,
        policy: &P,
    ) -> Selected<'a, P> {
        let deadline = policy.deadline();
        let registered = attempts.0.iter().map(|it| it.operation.register_waiter());
        let _waiting: Vec<_> = registered.collect();
        loop {
            let queues = match attempts.enter() {
                Ok(queues) => queues,
                Err(found) => return Ok(found),
            };
            let awaited = attempts.awaited();
            let words = announce(self.own_word, &queues, &awaited)?;
            let is_fenced = make_fence(&queues, &awaited);
            // The last attempts, as in the wait for one queue.
            if let Some(found) = attempts.look(self.order) {
                return Ok(found);
            }
            if attempts.awaited() != awaited {
                // SELECT-4.
                continue;
            }
            if self.take_interrupt() {
                return Err(Failure::Wait(P::error(WaitError::Interrupted)));
            }
            let remaining =
                deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if remaining == Some(Duration::ZERO) {
                return Err(Failure::Wait(P::error(WaitError::Timeout)));
            }
            let due = queues
                .iter()
                .map(|queue| queue.segment().time_until_sweep());
            let unfenced = (!is_fenced).then_some(UNFENCED_SLEEP);
            let time = due.chain(unfenced).chain(remaining).min();
            let waits: Vec<_> = words.iter().map(Announced::to_wait).collect();
            self.sleeper
                .wait_any(&waits, time.unwrap_or_default())
                .map_err(SelectFailure::Os)?;
            let found = attempts.corrupt(&queues);
            if let Some(found) = found.or_else(|| attempts.look(self.order)) {
                let used = queues.get(found.place).zip(awaited.get(found.place));
                pass_on(
                    &words,
                    used.map(|(queue, awaited)| (queue.segment(), *awaited)),
                );
                return Ok(found);
            }
            for queue in &queues {
                queue.segment().sweep_if_due(SweepScope::PeersAndBlocks);
            }
        }
    }

    fn take_interrupt(&self) -> bool {
        // Acquire: pairs with the store in `interrupt`.
        self.interrupt.load(Ordering::Relaxed) && self.interrupt.swap(false, Ordering::AcqRel)
    }
}

/// Returns how many messages have passed through these queues, seen by operations that wait like this.
fn passed(queues: &[Entered<'_>], awaited: &[Awaited]) -> Passed {
    let mut sum = Passed::default();
    for (queue, awaited) in queues.iter().zip(awaited) {
        let segment = queue.segment();
        let (received, sent) = (segment.head().get().0, segment.tail().get().0);
        let (own, other) = match awaited {
            Awaited::Items => (received, sent),
            Awaited::Space | Awaited::Blocks => (sent, received),
        };
        sum.own_side = sum.own_side.wrapping_add(own);
        sum.other_side = sum.other_side.wrapping_add(other);
    }
    sum
}

/// Announces a sleep on the word of each operation, and on the select's own (SELECT-2).
fn announce<'w>(
    own_word: &'w ParkingWord,
    queues: &[Entered<'w>],
    awaited: &[Awaited],
) -> Result<Vec<Announced<'w>>, SelectFailure> {
    let mut words: Vec<Announced<'w>> = Vec::with_capacity(queues.len() + 1);
    let own = Announced {
        word: own_word,
        key: own_word.prepare_wait(),
        of: None,
    };
    words.push(own);
    for (queue, &awaited) in queues.iter().zip(awaited) {
        let segment = queue.segment();
        if words.iter().any(|word| word.is(segment, awaited)) {
            continue;
        }
        if words.len() > MAX_QUEUE_WORDS {
            return Err(SelectFailure::TooManyQueues {
                max: MAX_QUEUE_WORDS,
            });
        }
        let word = awaited.word(segment);
        let key = word.prepare_wait();
        let of = Some((segment, awaited));
        words.push(Announced { word, key, of });
    }
    Ok(words)
}

/// Makes the fence for processes that acknowledge messages, if an operation waits for that (PARK-2): for a block, or for
/// the end of a closed queue. Returns false if it is needed and cannot be made.
fn make_fence(queues: &[Entered<'_>], awaited: &[Awaited]) -> bool {
    let mut waiting = queues.iter().zip(awaited);
    let awaits_release = waiting.find(|(queue, awaited)| {
        **awaited == Awaited::Blocks || !queue.segment().lifecycle().load().is_open()
    });
    // One fence is for all processes, whatever their queues are.
    awaits_release.is_none_or(|(queue, _)| queue.segment().fence_others())
}

/// Passes on the wakes of words that have changed, except the one that was used (SELECT-3).
fn pass_on(words: &[Announced<'_>], used: Option<(&Segment, Awaited)>) {
    for word in words {
        let Some((segment, awaited)) = word.of else {
            continue;
        };
        let is_used = used.is_some_and(|(segment, awaited)| word.is(segment, awaited));
        // User code may have forked.
        if is_used || !word.has_changed() || segment.is_forked_child() || mutant!(SelectKeepsWakes)
        {
            continue;
        }
        awaited
            .word(segment)
            .pass_on_wake(|word| segment.wake(word, 1));
        if mutant!(SelectPassesOneWake) {
            return;
        }
    }
}

impl<'w> Announced<'w> {
    fn is(&self, segment: &Segment, awaited: Awaited) -> bool {
        self.of.is_some_and(|(own, of)| {
            of == awaited && (core::ptr::eq(own, segment) || own.is_same_queue(segment))
        })
    }

    fn to_wait(&self) -> WaitWord<'w> {
        WaitWord {
            word: self.word.futex_word(),
            expected: self.key.get(),
        }
    }

    fn has_changed(&self) -> bool {
        self.word.futex_word().load(Ordering::Relaxed) != self.key.get()
    }
}
