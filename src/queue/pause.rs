//! Finds out how long a wait pauses before its first attempt.
//!
//! A receiver that has caught up with its senders, or a sender that has filled the queue, would otherwise continue
//! message by message. Each of its attempts would pull away the very cache line that the other side needs for the next
//! message, and both would mostly wait for cache lines. After a pause there is a run of messages, or of free slots, for
//! which the two sides do not compete. How long the pause should be depends on the machine, on how far apart its
//! processors are, and on what the program does with a message. So each handle finds it by trial: it measures how many
//! messages pass in a time with the pause that it has, with a longer one and with a shorter one, and keeps the best.
//!
//! | trial   | pause                              | what is kept afterwards                                     |
//! |---------|------------------------------------|-------------------------------------------------------------|
//! | Keep    | as it is                           | the rate, to compare with                                   |
//! | Longer  | twice; in some rounds eight times  | the longer pause, if that moved clearly more messages       |
//! | Shorter | half                               | the shorter pause, unless that moved clearly fewer messages |
//!
//! PAUSE-1. A wait pauses only after a *run*: at least two messages have passed since the last wait of the handle began.
//!     So processes that send single messages to each other never pause.
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
use crate::sync::{AtomicU32, AtomicU64, Ordering};
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

/// The number of waits after a run in each trial; messages are counted in all waits. A trial of a much longer pause takes
/// more time, so it has fewer.
const KEEP_WAITS: u32 = 48;
/// The same while the best pause is nothing: trials would cost more than they could find.
const KEEP_NOTHING_WAITS: u32 = 512;
const OTHER_WAITS: u32 = 16;
const JUMP_WAITS: u32 = 6;
/// One round of trials in this many tries a pause that is eight times as long: twice as long may make no difference
/// where even eight times as long helps.
const JUMP_EVERY: u32 = 8;

/// The trial that is under way. A round consists of these three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    Keep,
    Longer,
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
        }
    }

    /// Returns how long a wait pauses that begins now, after a run of `run` messages. `now` is a clock with nanoseconds;
    /// reading it is left out where possible.
    pub(super) fn next(&self, run: u64, now: impl FnOnce() -> u64) -> Duration {
        let messages = self.messages.load(Ordering::Relaxed).saturating_add(run);
        if !is_run(run) {
            if !mutant!(SingleMessagesNotCounted) {
                self.messages.store(messages, Ordering::Relaxed);
            }
            return Duration::ZERO;
        }
        let waits = self.waits.load(Ordering::Relaxed) + 1;
        let trials = self.trials.load(Ordering::Relaxed);
        let (trial, is_jump) = trial_of(trials);
        let best = self.best.load(Ordering::Relaxed);
        if waits < waits_in(trial, is_jump, best) {
            self.messages.store(messages, Ordering::Relaxed);
            self.waits.store(waits, Ordering::Relaxed);
        } else {
            let now = now();
            let elapsed = now.saturating_sub(self.started.load(Ordering::Relaxed));
            let left_out = self.left_out.load(Ordering::Relaxed);
            // Otherwise other threads have waited at the same time. The trial is repeated.
            if left_out < elapsed {
                self.end_trial(trial, is_jump, rate(messages, elapsed - left_out));
                self.trials.store(trials.wrapping_add(1), Ordering::Relaxed);
            }
            self.messages.store(0, Ordering::Relaxed);
            self.waits.store(0, Ordering::Relaxed);
            self.started.store(now, Ordering::Relaxed);
            self.left_out.store(0, Ordering::Relaxed);
        }
        Duration::from_nanos(self.current().into())
    }

    /// Leaves this time out of the rate (PAUSE-4).
    pub(super) fn leave_out(&self, time: Duration) {
        if time.is_zero() || mutant!(GapsCounted) {
            return;
        }
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let sum = self.left_out.load(Ordering::Relaxed).saturating_add(nanos);
        self.left_out.store(sum, Ordering::Relaxed);
    }

    /// Returns the pause of the current trial, in nanoseconds; 0 if it is too short to matter.
    fn current(&self) -> u32 {
        let (trial, is_jump) = trial_of(self.trials.load(Ordering::Relaxed));
        let pause = pause_in(trial, is_jump, self.best.load(Ordering::Relaxed));
        if pause < SHORTEST { 0 } else { pause }
    }

    fn end_trial(&self, trial: Trial, is_jump: bool, rate: u64) {
        let [keep, longer] = &self.rates;
        match trial {
            Trial::Keep => keep.store(rate, Ordering::Relaxed),
            Trial::Longer => longer.store(rate, Ordering::Relaxed),
            Trial::Shorter => {
                let best = self.best.load(Ordering::Relaxed);
                let (keep, longer) = (keep.load(Ordering::Relaxed), longer.load(Ordering::Relaxed));
                let winner = if is_clearly_more(longer, keep.max(rate)) {
                    Trial::Longer
                } else if is_clearly_more(keep, rate) {
                    Trial::Keep
                } else {
                    Trial::Shorter
                };
                let next = pause_in(winner, is_jump, best).max(SHORTEST / 2);
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

/// Returns the trial that comes after `trials` others, and whether its round tries a pause that is eight times as long.
fn trial_of(trials: u32) -> (Trial, bool) {
    let trial = match trials % 3 {
        0 => Trial::Keep,
        1 => Trial::Longer,
        _ => Trial::Shorter,
    };
    (trial, (trials / 3).is_multiple_of(JUMP_EVERY))
}

const fn waits_in(trial: Trial, is_jump: bool, best: u32) -> u32 {
    match trial {
        Trial::Keep if best < SHORTEST => KEEP_NOTHING_WAITS,
        Trial::Keep => KEEP_WAITS,
        Trial::Longer if is_jump => JUMP_WAITS,
        Trial::Longer | Trial::Shorter => OTHER_WAITS,
    }
}

fn pause_in(trial: Trial, is_jump: bool, best: u32) -> u32 {
    match trial {
        Trial::Keep => best,
        Trial::Longer if is_jump => best.saturating_mul(8).min(LONGEST),
        Trial::Longer => best.saturating_mul(2).min(LONGEST),
        Trial::Shorter => best / 2,
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
mod tests {
    use super::*;

    /// How far the queue is.
    const AT: Position = Position(7);

    /// Runs waits in a world where a cycle of a run of messages and a pause of `pause` nanoseconds moves
    /// `messages(pause)` in `time(pause)`. Returns the pause that the search has settled on.
    fn search(messages: fn(u64) -> u64, time: fn(u64) -> u64) -> u64 {
        let search = PauseSearch::new();
        let (mut now, mut run) = (0, 2);
        for _ in 0..100_000 {
            let pause = u64::try_from(search.next(run, || now).as_nanos()).expect("short");
            now += time(pause);
            run = messages(pause);
        }
        search.best.load(Ordering::Relaxed).into()
    }

    #[test]
    fn a_single_message_is_no_reason_to_pause() {
        let search = PauseSearch::new();
        for now in 0..1000 {
            assert_eq!(search.next(1, || now), Duration::ZERO);
            assert_eq!(search.next(0, || now), Duration::ZERO);
        }
    }

    #[test]
    fn the_pause_shrinks_to_nothing_if_it_makes_no_difference() {
        // Messages come every 100 ns, however long the pause is.
        let best = search(|pause| 2 + pause / 100, |pause| 200 + pause / 100 * 100);
        assert!(best < u64::from(SHORTEST), "{best}");
    }

    #[test]
    fn the_pause_shrinks_to_nothing_if_messages_come_one_by_one_with_a_run_now_and_then() {
        const INTERVAL: u64 = 1000;
        let search = PauseSearch::new();
        let (mut now, mut received) = (0, 0);
        for wait in 0..100_000 {
            // Sometimes the receiver is held up.
            now += if wait % 20 == 0 { 3 * INTERVAL } else { 50 };
            let run = now / INTERVAL - received;
            received += run;
            let pause = search.next(run, || now);
            now += u64::try_from(pause.as_nanos()).expect("short");
            now = now.max((received + 1) * INTERVAL);
        }
        let best = search.best.load(Ordering::Relaxed);
        assert!(best < SHORTEST, "{best}");
    }

    /// Messages come in bursts of 64, which are far from filling the time.
    #[test]
    fn the_pause_stays_short_if_messages_come_in_bursts() {
        const BURST: u64 = 64;
        const BETWEEN_BURSTS: u64 = 50_000;
        const BETWEEN_MESSAGES: u64 = 100;
        // When a message is sent, counted from 0. Bursts do not come regularly.
        let sent = |message: u64| {
            let burst = message / BURST;
            burst * BETWEEN_BURSTS + burst * 7919 % 40_000 + message % BURST * BETWEEN_MESSAGES
        };
        let search = PauseSearch::new();
        let (mut now, mut received, mut longest) = (0, 0, 0);
        for wait in 0..100_000 {
            let before = received;
            while sent(received) <= now {
                received += 1;
                now += BETWEEN_MESSAGES / 2;
            }
            let pause = u64::try_from(search.next(received - before, || now).as_nanos());
            let pause = pause.expect("short");
            if wait > 1000 {
                longest = longest.max(pause);
            }
            now += pause;
            if let Some(gap) = sent(received).checked_sub(now) {
                // It notices a message a little late.
                now += gap + 3 * BETWEEN_MESSAGES;
                let began = Instant::now();
                let ended = began + Duration::from_nanos(gap);
                search.leave_out(Gap::begin(began, AT).grow(ended, AT));
            }
        }
        assert!(longest < 1000, "{longest}");
    }

    #[test]
    fn the_best_of_the_three_trials_wins() {
        // Both a longer and a shorter pause move more than the first one, and the shorter one most.
        let search = PauseSearch::new();
        let mut now = 0;
        while search.trials.load(Ordering::Relaxed) < 3 {
            let pause = search.next(1000, || now).as_nanos();
            now += match pause.cmp(&FIRST.into()) {
                core::cmp::Ordering::Less => 1000,
                core::cmp::Ordering::Equal => 3000,
                core::cmp::Ordering::Greater => 2000,
            };
        }
        assert_eq!(search.best.load(Ordering::Relaxed), FIRST / 2);
    }

    #[test]
    fn a_gap_is_left_out_once_and_only_if_it_is_long() {
        let began = Instant::now();
        let mut gap = Gap::begin(began, AT);
        let at = |part: u32| began + LONGEST_GAP * part / 2;
        let more: Vec<_> = (0..5).map(|part| gap.grow(at(part), AT)).collect();
        let half = LONGEST_GAP / 2;
        assert_eq!(
            more,
            [Duration::ZERO, Duration::ZERO, LONGEST_GAP, half, half]
        );
    }

    #[test]
    fn a_message_that_another_handle_passes_ends_a_gap() {
        let began = Instant::now();
        let mut gap = Gap::begin(began, AT);
        for part in 1..100 {
            let position = AT.plus(part / 2);
            let now = began + LONGEST_GAP / 2 * u32::try_from(part).expect("small");
            assert_eq!(gap.grow(now, position), Duration::ZERO);
        }
        assert_eq!(
            gap.grow(began + LONGEST_GAP * 51, AT.plus(49)),
            LONGEST_GAP * 2
        );
    }

    #[test]
    fn a_trial_during_which_threads_wait_at_the_same_time_is_repeated() {
        let search = PauseSearch::new();
        let mut now = 0;
        for wait in 0..KEEP_WAITS * 10 {
            now += 1000;
            // Two threads have waited for all of that time.
            if wait < KEEP_WAITS * 9 {
                search.leave_out(Duration::from_micros(2));
            }
            search.next(10, || now);
        }
        assert_eq!(search.trials.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn the_pause_grows_as_long_as_that_moves_more_messages() {
        // Each change of sides costs 2 us, and a message 20 ns: the longer the runs, the fewer changes.
        let best = search(|pause| 2 + pause / 20, |pause| 2000 + 2 * pause);
        assert!(best >= 2048, "{best}");
    }

    #[test]
    fn a_pause_that_must_be_much_longer_to_help_is_found() {
        // Less than 1 us changes nothing, as between processors that are far apart.
        let best = search(
            |pause| if pause < 1000 { 4 } else { pause / 10 },
            |pause| if pause < 1000 { 2000 } else { 2000 + pause },
        );
        assert!(best >= 1000, "{best}");
    }

    #[test]
    fn no_pause_is_longer_than_the_limit() {
        let best = search(|pause| 2 + pause * pause, |pause| 100 + pause);
        assert_eq!(best, u64::from(LONGEST));
    }
}
