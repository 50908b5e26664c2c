//! Finds out how long a wait pauses before its first attempt.
//!
//! A receiver that has caught up with its senders, or a sender that has filled the queue, would otherwise continue
//! message by message. Each of its attempts would pull away the very cache line that the other side needs for the next
//! message, and both would mostly wait for cache lines. After a pause there is a run of messages, or of free slots, for
//! which the two sides do not compete. How long the pause should be depends on the machine, on how far apart its
//! processors are, and on what the program does with a message. So each handle finds it by trial: it measures how many
//! messages pass in a time with the pause that it has, with a longer one and with a shorter one, and keeps the best.
//!
//! | trial   | pause                                | what is kept afterwards                                     |
//! |---------|--------------------------------------|-------------------------------------------------------------|
//! | Keep    | as it is                             | the rate, to compare with                                   |
//! | Longer  | twice                                | the longer pause, if that moved clearly more messages       |
//! | Jump    | in some rounds instead: much longer  | the same                                                    |
//! | Shorter | half                                 | the shorter pause, unless that moved clearly fewer messages |
//!
//! PAUSE-1. A wait pauses only in a *stream*: at least two messages, a *run*, have passed since the last wait of the handle
//!     began; or a sender waits for room in a full queue; or a sender writes the message that a receiver waits for, when that
//!     wait begins (in a block that was [prepared](super::prepared), it does not count). So processes that send single messages to
//!     each other do not pause, or seldom. Without the last two, both sides could stay in step, a message at a time, which is
//!     slowest of all: no run would build up, so no pause would be tried. They do not count for small queues, where no run can
//!     build up, and for futures.
//! PAUSE-2. No pause is longer than [`LONGEST`], which is what a pause may add to the last message of a stream.
//! PAUSE-3. If the rate does not depend on the pause, because messages come at a pace of their own, the pause shrinks to
//!     nothing. So the rate counts all messages, also those that come one by one: otherwise a pause that makes runs of
//!     them would seem to move more.
//! PAUSE-4. If messages come in bursts, the pause becomes the best one for a burst. So the rate leaves out the time between
//!     bursts: sleeps, and waits of [`LONGEST_GAP`] or longer, if no message has passed meanwhile, not even one that another
//!     handle has received or sent. With that time the rate would be that of the bursts whatever the pause is, and the search
//!     would follow the noise. The waits of futures count: a longer pause may save one.
//!
//! The state belongs to one handle. Threads that share the handle may mix up the measurements of a trial, which costs
//! some speed and nothing else.

use crate::protocol::ids::Position;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use std::time::Instant;

/// The longest pause (PAUSE-2), in nanoseconds.
const LONGEST: u32 = 8192;
/// The shortest pause that is not nothing, in nanoseconds. Reading the clock takes about as long.
const SHORTEST: u32 = 32;
/// The pause of a new handle, in nanoseconds.
const FIRST: u32 = 512;

/// If no message passes for this long, the burst is over (PAUSE-4). Within a burst they follow each other in the time that a
/// cache line or two take, also between processors that are far apart.
const LONGEST_GAP: Duration = Duration::from_micros(4);

/// The number of waits in a stream in each trial; messages are counted in all waits. A trial of a much longer pause takes
/// more time, so it has fewer.
const KEEP_WAITS: u32 = 48;
/// The same while the best pause is nothing: trials would cost more than they could find.
const KEEP_NOTHING_WAITS: u32 = 512;
const OTHER_WAITS: u32 = 16;
const JUMP_WAITS: u32 = 6;
/// One round of trials in this many tries a pause that is at least eight times as long: twice as long may make no difference
/// where even eight times as long helps.
const JUMP_EVERY: u32 = 8;
/// In a steady stream it is also at least one of these, in turn: between processors that are far apart, no pause may help that
/// is shorter. Between bursts, a pause that long would hold up a whole burst now and then.
const JUMPS: [u32; 3] = [FIRST, 4 * FIRST, LONGEST];

/// The trial that is under way. A round consists of Keep, one of Longer and Jump, and Shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    Keep,
    Longer,
    /// To eight times the best pause and, in a steady stream, to at least this one.
    Jump(u32),
    Shorter,
}

/// The search of one handle.
#[derive(Debug)]
pub(super) struct PauseSearch {
    /// The best pause so far, in nanoseconds.
    best: AtomicU32,
    /// The number of trials that have ended.
    trials: AtomicU32,
    /// What has passed in the current trial.
    waits: AtomicU32,
    messages: AtomicU64,
    /// When the current trial began, in nanoseconds.
    started: AtomicU64,
    /// The time of the current trial that is left out, in nanoseconds.
    left_out: AtomicU64,
    /// The rates of this round's first two trials.
    rates: [AtomicU64; 2],
    /// Whether there may have been time between bursts in the current trial.
    has_gaps: AtomicBool,
    /// Whether messages come in a steady stream: there were no gaps in this round's first trial.
    is_steady: AtomicBool,
}

impl PauseSearch {
    pub(super) const fn new() -> Self {
        Self {
            best: AtomicU32::new(FIRST),
            trials: AtomicU32::new(0),
            waits: AtomicU32::new(0),
            messages: AtomicU64::new(0),
            started: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            rates: [const { AtomicU64::new(0) }; 2],
            has_gaps: AtomicBool::new(false),
            is_steady: AtomicBool::new(false),
        }
    }

    /// Returns how long a wait pauses that begins now, after this number of messages. `is_stream`: whether they are part of
    /// a stream (PAUSE-1). `now` is a clock with nanoseconds; reading it is left out where possible.
    pub(super) fn next(&self, passed: u64, is_stream: bool, now: impl FnOnce() -> u64) -> Duration {
        let messages = self.messages.load(Ordering::Relaxed).saturating_add(passed);
        if !is_stream {
            if !mutant!(SingleMessagesNotCounted) {
                self.messages.store(messages, Ordering::Relaxed);
            }
            return Duration::ZERO;
        }
        let waits = self.waits.load(Ordering::Relaxed) + 1;
        let trials = self.trials.load(Ordering::Relaxed);
        let trial = trial_of(trials);
        let best = self.best.load(Ordering::Relaxed);
        if waits < waits_in(trial, best) {
            self.messages.store(messages, Ordering::Relaxed);
            self.waits.store(waits, Ordering::Relaxed);
        } else {
            let now = now();
            let elapsed = now.saturating_sub(self.started.load(Ordering::Relaxed));
            let left_out = self.left_out.load(Ordering::Relaxed);
            // Otherwise other threads have waited at the same time. The trial is repeated.
            if left_out < elapsed {
                let has_gaps = self.has_gaps.swap(false, Ordering::Relaxed);
                if trial == Trial::Keep {
                    self.is_steady.store(!has_gaps, Ordering::Relaxed);
                }
                self.end_trial(trials, rate(messages, elapsed - left_out));
                self.trials.store(trials.wrapping_add(1), Ordering::Relaxed);
            }
            self.messages.store(0, Ordering::Relaxed);
            self.waits.store(0, Ordering::Relaxed);
            self.started.store(now, Ordering::Relaxed);
            self.left_out.store(0, Ordering::Relaxed);
        }
        Duration::from_nanos(self.current().into())
    }

    /// Notes that there may be time between bursts which is not left out, as in the waits of futures.
    pub(super) fn expect_gaps(&self) {
        self.has_gaps.store(true, Ordering::Relaxed);
    }

    /// Leaves this time out of the rate (PAUSE-4).
    pub(super) fn leave_out(&self, time: Duration) {
        if time.is_zero() || mutant!(GapsCounted) {
            return;
        }
        self.expect_gaps();
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let sum = self.left_out.load(Ordering::Relaxed).saturating_add(nanos);
        self.left_out.store(sum, Ordering::Relaxed);
    }

    /// Returns the number of trials that have ended.
    #[cfg(all(test, not(loom)))]
    pub(super) fn trials(&self) -> u32 {
        self.trials.load(Ordering::Relaxed)
    }

    /// Returns the pause of the current trial, in nanoseconds; 0 if it is too short to matter.
    fn current(&self) -> u32 {
        let pause = self.pause_in(trial_of(self.trials.load(Ordering::Relaxed)));
        if pause < SHORTEST { 0 } else { pause }
    }

    /// Returns the pause of a trial of this round.
    fn pause_in(&self, trial: Trial) -> u32 {
        let best = self.best.load(Ordering::Relaxed);
        match trial {
            Trial::Keep => best,
            Trial::Longer => best.saturating_mul(2).min(LONGEST),
            Trial::Jump(at_least) => {
                let is_steady = self.is_steady.load(Ordering::Relaxed);
                let at_least = if is_steady { at_least } else { 0 };
                best.saturating_mul(8).max(at_least).min(LONGEST)
            }
            Trial::Shorter => best / 2,
        }
    }

    /// Ends the trial that came after `trials` others.
    fn end_trial(&self, trials: u32, rate: u64) {
        let [keep, longer] = &self.rates;
        match trial_of(trials) {
            Trial::Keep => keep.store(rate, Ordering::Relaxed),
            Trial::Longer | Trial::Jump(_) => longer.store(rate, Ordering::Relaxed),
            Trial::Shorter => {
                let (keep, longer) = (keep.load(Ordering::Relaxed), longer.load(Ordering::Relaxed));
                let winner = if is_clearly_more(longer, keep.max(rate)) {
                    trial_of(trials.wrapping_sub(1))
                } else if is_clearly_more(keep, rate) {
                    Trial::Keep
                } else {
                    Trial::Shorter
                };
                let next = self.pause_in(winner).max(SHORTEST / 2);
                self.best.store(next, Ordering::Relaxed);
            }
        }
    }
}

/// The time of a wait in which no message has passed, on its side of the queue.
pub(super) struct Gap {
    began: Instant,
    /// How far the queue was then.
    position: Position,
    /// How much of it was left out.
    left_out: Duration,
}

impl Gap {
    pub(super) const fn begin(now: Instant, position: Position) -> Self {
        Self {
            began: now,
            position,
            left_out: Duration::ZERO,
        }
    }

    /// Returns how much more has to be [left out](PauseSearch::leave_out), now that the queue is at `position`.
    pub(super) fn grow(&mut self, now: Instant, position: Position) -> Duration {
        if position != self.position {
            *self = Self::begin(now, position);
        }
        let so_far = now.saturating_duration_since(self.began);
        if so_far < LONGEST_GAP {
            return Duration::ZERO;
        }
        let more = so_far.saturating_sub(self.left_out);
        self.left_out = so_far;
        more
    }
}

/// Returns the trial that comes after `trials` others.
fn trial_of(trials: u32) -> Trial {
    let (round, in_round) = (trials / 3, trials % 3);
    match in_round {
        0 => Trial::Keep,
        1 if round.is_multiple_of(JUMP_EVERY) => {
            let jump = (round / JUMP_EVERY) as usize % JUMPS.len();
            Trial::Jump(JUMPS.get(jump).copied().unwrap_or(FIRST))
        }
        1 => Trial::Longer,
        _ => Trial::Shorter,
    }
}

const fn waits_in(trial: Trial, best: u32) -> u32 {
    match trial {
        Trial::Keep if best < SHORTEST => KEEP_NOTHING_WAITS,
        Trial::Keep => KEEP_WAITS,
        Trial::Jump(_) => JUMP_WAITS,
        Trial::Longer | Trial::Shorter => OTHER_WAITS,
    }
}

/// Returns whether this number of messages since the last wait is a run (PAUSE-1).
pub(super) const fn is_run(messages: u64) -> bool {
    messages >= 2
}

/// Returns the number of messages in 2^20 nanoseconds.
fn rate(messages: u64, took: u64) -> u64 {
    messages.saturating_mul(1 << 20) / took.max(1)
}

/// Returns whether one rate is more than another by a 32nd.
fn is_clearly_more(rate: u64, than: u64) -> bool {
    rate > than.saturating_add(than / 32)
}

#[cfg(test)]
mod tests;
