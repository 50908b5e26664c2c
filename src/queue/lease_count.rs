//! Counts the leases of this process, without a lock, and for the usual thread without locked instructions.
//!
//! A lease is *borrowed* as long as it borrows its receiver, and *owned* after
//! [`Lease::into_owned`](super::Lease::into_owned). The *home thread* is the first thread that leases a message.
//!
//! | word    | counts                                                      | written by                          |
//! |---------|-------------------------------------------------------------|-------------------------------------|
//! | `token` | nothing: it names the home thread, 0 before the first lease | the home thread, once               |
//! | `home`  | borrowed leases that the home thread took, less those that  | the home thread, by load and store  |
//! |         | it ended                                                    |                                     |
//! | `away`  | the same for all other threads together                     | other threads, by an exchange       |
//! | `owned` | owned leases                                                | any thread, by an exchange          |
//! | `alone` | nothing: it is the limit as long as only the home thread    | any thread that is about to raise   |
//! |         | has counted, and none of its leases is owned; then          | `away` or `owned`                   |
//! |         | [`NOT_ALONE`]                                               |                                     |
//!
//! A count may be negative: a lease that one thread took and another ended raised one word and lowered another.
//!
//! LEASE-1. The sum of the three counts is the number of leases, and `home` and `away` together are the borrowed ones.
//!     A lease that becomes owned is missing from the sum for a moment.
//! LEASE-2. Only the home thread writes `home`. Its token is the address of a thread-local variable. After its end
//!     another thread may get the same address, and is the home thread from then on: that thread was made, with its
//!     variables, after the memory of the first one was freed, so it sees the last value of `home`.
//! LEASE-3. Each change of a word raises its upper half, the *version*. So a word that two loads find equal has not
//!     changed in between, and two equal readings of all words, one after the other, are the state at one moment. A
//!     lease is refused only after such a reading: there were as many leases as there may be.
//! LEASE-4. A lease is granted after one reading, and counted after its message was taken. So threads that lease at the
//!     same moment may exceed the limit, each by one.
//! LEASE-5. `alone` is [`NOT_ALONE`] before `away` or `owned` is raised for the first time. So while `home` is below `alone`,
//!     there are fewer leases than the limit, and the usual thread reads no other word.
//!
//! Crash: the words are memory of this process. A forked child has a copy of them, and no lease that it could end.

use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::cell::Cell;

/// See the module. On cache lines of its own: the home thread writes it with each lease, and the other fields of the
/// attachment are read by all threads.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct LeaseCount {
    token: AtomicUsize,
    home: Tally,
    away: Tally,
    owned: Tally,
    alone: AtomicU32,
    max: u32,
}

/// A count and its version (LEASE-3). The count is a signed number in the lower half; one below 0 has borrowed from the
/// upper half. So one addition changes both.
#[derive(Debug)]
struct Tally(AtomicU64);

/// The value of `alone` when more than the home thread counts: as a signed number, below every count.
const NOT_ALONE: u32 = i32::MIN.cast_unsigned();
/// One more, and the next version.
const ONE_MORE: u64 = (1 << 32) + 1;
/// One less, and the next version.
const ONE_LESS: u64 = (1 << 32) - 1;

impl Tally {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Makes a change, in the only thread that writes this word. Returns the new value.
    // Release: a thread that sees the new value also sees the changes of other words that came before.
    #[inline(always)]
    fn write(&self, change: u64) -> u64 {
        let changed = self.0.load(Ordering::Relaxed).wrapping_add(change);
        self.0.store(changed, Ordering::Release);
        changed
    }

    /// Makes a change, in any thread. Returns the new value.
    // Release: as in `write`.
    #[inline(always)]
    fn add(&self, change: u64) -> u64 {
        self.0
            .fetch_add(change, Ordering::Release)
            .wrapping_add(change)
    }

    // Acquire: pairs with the release of the change.
    #[inline(always)]
    fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Returns the count of a [`Tally`] with this value.
#[inline(always)]
fn count(tally: u64) -> i32 {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the count is the lower half"
    )]
    {
        (tally as u32).cast_signed()
    }
}

/// Returns a number that names this thread among those that live. It is not 0.
#[inline(always)]
fn this_thread() -> usize {
    // Without initialisation on first use, and without a destructor: so it has an address until the thread ends.
    thread_local!(static HERE: Cell<u8> = const { Cell::new(0) });
    HERE.with(|here| core::ptr::from_ref(here).addr())
}

impl LeaseCount {
    /// Counts from 0. There are to be at most `max` leases.
    pub(super) fn new(max: u32) -> Self {
        Self {
            token: AtomicUsize::new(0),
            home: Tally::new(),
            away: Tally::new(),
            owned: Tally::new(),
            alone: AtomicU32::new(max),
            max,
        }
    }

    /// Returns whether there may be one more lease. If so, this thread may take a message for it, and then calls
    /// [`add`](Self::add) (LEASE-4).
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        let alone = self.alone.load(Ordering::Relaxed).cast_signed();
        count(self.home.load()) < alone || !self.is_full()
    }

    /// Answers [`has_room`](Self::has_room) the other way round, for certain (LEASE-3).
    #[inline(never)]
    fn is_full(&self) -> bool {
        is_full(self.max, || self.read())
    }

    /// Counts in one of the words that all threads write.
    fn add_to(&self, tally: &Tally) {
        if self.alone.load(Ordering::Relaxed) != NOT_ALONE && !mutant!(OthersLeasesNotSeen) {
            self.alone.store(NOT_ALONE, Ordering::Relaxed);
        }
        // Release: a thread that sees the count sees LEASE-5, too.
        tally.add(ONE_MORE);
    }

    #[inline(always)]
    fn read(&self) -> [u64; 3] {
        [self.home.load(), self.away.load(), self.owned.load()]
    }

    /// Returns the number of leases that borrow their receiver. Exact if no such lease is taken or ended meanwhile.
    pub(super) fn borrowed(&self) -> i32 {
        count(self.home.load()).wrapping_add(count(self.away.load()))
    }

    /// Counts a lease that borrows its receiver.
    #[inline(always)]
    pub(super) fn add(&self) {
        if mutant!(LeaseNotCounted) {
            return;
        }
        if self.token.load(Ordering::Relaxed) == this_thread() {
            self.home.write(ONE_MORE);
        } else {
            self.add_away();
        }
    }

    #[cold]
    #[inline(never)]
    fn add_away(&self) {
        let claimed =
            self.token
                .compare_exchange(0, this_thread(), Ordering::Relaxed, Ordering::Relaxed);
        if claimed.is_ok() {
            self.home.write(ONE_MORE);
        } else {
            self.add_to(&self.away);
        }
    }

    /// Counts the end of a lease that borrows its receiver. Returns whether there may be others: false only if the word
    /// that this thread counts in is 0 now.
    #[inline(always)]
    pub(super) fn remove(&self) -> bool {
        if mutant!(LeaseNotCounted) || mutant!(LeaseCountNeverFalls) {
            return false;
        }
        let left = if self.token.load(Ordering::Relaxed) == this_thread() {
            self.home.write(ONE_LESS)
        } else {
            self.away.add(ONE_LESS)
        };
        count(left) != 0
    }

    /// Counts a lease that borrowed its receiver as an owned one (LEASE-1).
    pub(super) fn make_owned(&self) {
        // In this order: until it is counted again, another thread may take one more, and none is refused needlessly.
        self.remove();
        if !mutant!(LeaseNotCounted) && !mutant!(OwnedLeaseNotCounted) {
            self.add_to(&self.owned);
        }
    }

    /// Counts the end of an owned lease. Returns whether there are other owned ones.
    pub(super) fn remove_owned(&self) -> bool {
        let counted = !mutant!(LeaseNotCounted) && !mutant!(OwnedLeaseNotCounted);
        counted && !mutant!(LeaseCountNeverFalls) && count(self.owned.add(ONE_LESS)) != 0
    }
}

/// Returns whether there are `max` leases, by two equal readings of the words.
fn is_full(max: u32, mut read: impl FnMut() -> [u64; 3]) -> bool {
    let mut seen = read();
    loop {
        if sum(seen) < max.cast_signed() {
            return false;
        }
        let now = read();
        if now == seen {
            return true;
        }
        seen = now;
    }
}

#[inline(always)]
fn sum([home, away, owned]: [u64; 3]) -> i32 {
    count(home)
        .wrapping_add(count(away))
        .wrapping_add(count(owned))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::thread;

    const MANY: u32 = 100;

    fn total(leases: &LeaseCount) -> i32 {
        sum(leases.read())
    }

    fn counts(leases: &LeaseCount) -> [i32; 3] {
        leases.read().map(count)
    }

    #[test]
    fn the_first_thread_that_leases_counts_in_a_word_of_its_own() {
        let leases = LeaseCount::new(MANY);
        leases.add();
        leases.add();
        thread::scope(|scope| {
            scope.spawn(|| leases.add());
        });
        assert_eq!(counts(&leases), [2, 1, 0]);
        leases.remove();
        assert_eq!(counts(&leases), [1, 1, 0]);
        assert_eq!((total(&leases), leases.borrowed()), (2, 2));
    }

    #[test]
    fn a_lease_that_another_thread_ends_is_counted_no_more() {
        let leases = LeaseCount::new(1);
        leases.add();
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(leases.remove());
                leases.add();
                leases.add();
            });
        });
        assert_eq!(counts(&leases), [1, 1, 0]);
        leases.remove();
        leases.remove();
        assert_eq!(counts(&leases), [-1, 1, 0]);
        assert!(leases.has_room() && total(&leases) == 0);
    }

    #[test]
    fn an_owned_lease_counts_towards_the_limit_and_borrows_nothing() {
        let leases = LeaseCount::new(2);
        leases.add();
        leases.make_owned();
        assert_eq!((total(&leases), leases.borrowed()), (1, 0));
        assert!(leases.has_room());
        leases.add();
        assert!(!leases.has_room());
        leases.remove();
        assert!(!leases.remove_owned(), "it was the only one");
        assert_eq!(counts(&leases), [0, 0, 0]);
    }

    /// What another thread has ended does not lower the count of the home thread, and what it has taken does not raise it.
    #[test]
    fn leases_of_other_threads_count_towards_the_limit() {
        let leases = LeaseCount::new(2);
        leases.add();
        assert!(leases.has_room());
        thread::scope(|scope| {
            scope.spawn(|| leases.add());
        });
        assert!(!leases.has_room());
        leases.remove();
        leases.remove();
        assert_eq!(counts(&leases), [-1, 1, 0]);
        for _ in 0..2 {
            assert!(leases.has_room());
            thread::scope(|scope| {
                scope.spawn(|| leases.add());
            });
        }
        assert!(!leases.has_room());
    }

    #[test]
    fn each_change_of_a_count_makes_a_value_that_the_word_never_had() {
        let leases = LeaseCount::new(MANY);
        let mut seen = vec![leases.home.load()];
        let changes = [ONE_MORE, ONE_LESS, ONE_LESS, ONE_LESS, ONE_MORE, ONE_MORE];
        for (change, expected) in changes.into_iter().zip([1, 0, -1, -2, -1, 0]) {
            leases.home.write(change);
            let now = leases.home.load();
            assert_eq!(count(now), expected);
            assert!(!seen.contains(&now));
            seen.push(now);
        }
    }

    /// Another thread takes leases and the home thread ends each of them. A thread that reads `home` before and `away`
    /// after that sees all of them.
    #[test]
    fn a_lease_is_not_refused_for_leases_that_were_never_there_at_the_same_time() {
        let leases = LeaseCount::new(MANY);
        leases.add();
        leases.remove();
        let before = leases.read();
        for _ in 0..5 {
            leases.away.add(ONE_MORE);
            leases.remove();
        }
        let after = leases.read();
        let mixed = [before[0], after[1], after[2]];
        assert_eq!((sum(before), sum(after), sum(mixed)), (0, 0, 5));
        let mut readings = [mixed, after].into_iter();
        assert!(!is_full(3, || readings.next().expect("two readings do")));
        let mut readings = [mixed, mixed].into_iter();
        assert!(is_full(3, || readings.next().expect("two readings do")));
    }

    /// The state of LEASE-3: the same counts, but not the same words.
    #[test]
    fn counts_that_have_changed_and_come_back_are_not_the_same_reading() {
        let leases = LeaseCount::new(MANY);
        leases.add();
        let one = leases.read();
        leases.add();
        leases.remove();
        let again = leases.read();
        let mut readings = [one, again, again].into_iter();
        assert!(is_full(1, || readings.next().expect("three readings do")));
        assert!(readings.next().is_none());
    }
}
