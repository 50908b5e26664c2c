//! loom's atomics, put right in two places where loom 0.7.2 goes wrong on words as the protocol has them.
//!
//! *Too few interleavings.* loom finds those to try from pairs of accesses that depend on each other, and
//! for that it remembers one access of each atomic, the last. So where one thread loads a word, and another
//! then loads and exchanges it, the exchange is compared with the second load only, and is never tried
//! before the first one (<https://github.com/tokio-rs/loom/issues/392>). Here a load is followed by an
//! exchange of a word that belongs to the loading thread, and a store by an exchange of each of these. They
//! synchronise nothing, and threads are not switched at them.
//!
//! *Impossible values.* When one thread exchanges a word and another then stores to it without having seen
//! that, loom leaves open which came first; so a thread may load the exchanged value even after it has
//! exchanged its own for a third. Here a store comes after every store that was executed before it.
//!
//! What neither loom nor this shows: which of two fences comes first is tried only as far as other accesses
//! make a difference of it, and `SeqCst` accesses count as `AcqRel`.

use loom::sync::atomic::Ordering;
use loom::thread::{ThreadId, current};
use std::sync::Mutex;

/// How many threads a model may have, its first one included.
const THREADS: usize = 4;

#[derive(Debug)]
struct Record {
    loads: [loom::sync::atomic::AtomicUsize; THREADS],
    /// Whose the first of these are.
    threads: Mutex<Vec<ThreadId>>,
}

impl Record {
    fn new() -> Self {
        Self {
            loads: core::array::from_fn(|_| loom::sync::atomic::AtomicUsize::new(0)),
            threads: Mutex::new(Vec::with_capacity(THREADS)),
        }
    }

    /// This thread has just loaded the word.
    fn load(&self) {
        let me = current().id();
        let mine = {
            let mut threads = self.threads.lock().expect("no panic in here");
            threads
                .iter()
                .position(|&thread| thread == me)
                .unwrap_or_else(|| {
                    threads.push(me);
                    threads.len() - 1
                })
        };
        self.touch(mine..=mine);
    }

    /// This thread has just stored something, or tried to.
    fn store(&self) {
        let known = self.threads.lock().expect("no panic in here").len();
        if let Some(last) = known.checked_sub(1) {
            self.touch(0..=last);
        }
    }

    fn touch(&self, which: core::ops::RangeInclusive<usize>) {
        loom::stop_exploring();
        for loads in self.loads.get(which).expect("few threads") {
            loads.fetch_add(0, Ordering::Relaxed);
        }
        loom::explore();
    }
}

macro_rules! tracked {
    ($($name:ident($value:ty, $any:expr): $($operation:ident),*;)*) => {$(
        #[derive(Debug)]
        pub(crate) struct $name {
            word: loom::sync::atomic::$name,
            record: Record,
        }

        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                Self {
                    word: loom::sync::atomic::$name::new(value),
                    record: Record::new(),
                }
            }

            pub(crate) fn load(&self, ordering: Ordering) -> $value {
                let value = self.word.load(ordering);
                self.record.load();
                value
            }

            pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                // A step that sees what is there, whatever it is, and changes nothing.
                let _ = self.word.compare_exchange(
                    $any,
                    $any,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                loom::stop_exploring();
                self.word.store(value, ordering);
                loom::explore();
                self.record.store();
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let result = self.word.compare_exchange(current, new, success, failure);
                self.record.store();
                result
            }

            /// loom's never fails without a reason either.
            pub(crate) fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(current, new, success, failure)
            }

            $(
                pub(crate) fn $operation(&self, operand: $value, ordering: Ordering) -> $value {
                    let before = self.word.$operation(operand, ordering);
                    self.record.store();
                    before
                }
            )*
        }
    )*};
}

tracked! {
    AtomicBool(bool, true): swap;
    AtomicU8(u8, u8::MAX):;
    AtomicU32(u32, u32::MAX): swap, fetch_add, fetch_sub, fetch_or;
    AtomicU64(u64, u64::MAX): swap, fetch_add, fetch_sub, fetch_or, fetch_and;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn a_load_before_an_exchange_is_reordered() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let values = Arc::clone(&seen);
        loom::model::Builder::new().check(move || {
            let word = Arc::new(AtomicU64::new(0));
            let theirs = Arc::clone(&word);
            let other = loom::thread::spawn(move || {
                let seen = theirs.load(Ordering::Acquire);
                let _ = theirs.compare_exchange(seen, 1, Ordering::AcqRel, Ordering::Relaxed);
            });
            let value = word.load(Ordering::Acquire);
            values.lock().expect("no panic in here").push(value);
            other.join().expect("no panic");
        });
        let seen = seen.lock().expect("no panic in here");
        assert!(seen.contains(&0) && seen.contains(&1), "{seen:?}");
    }

    #[test]
    fn a_store_after_an_exchange_comes_after_it() {
        loom::model::Builder::new().check(|| {
            let word = Arc::new(AtomicU64::new(0));
            let theirs = Arc::clone(&word);
            let other = loom::thread::spawn(move || {
                let _ = theirs.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed);
            });
            word.load(Ordering::Acquire);
            word.store(1, Ordering::Release);
            assert_eq!(word.swap(2, Ordering::AcqRel), 1);
            assert_eq!(word.load(Ordering::Acquire), 2);
            other.join().expect("no panic");
        });
    }
}
