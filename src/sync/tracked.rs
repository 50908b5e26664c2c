//! loom's atomics, with work-arounds for two faults of loom 0.7.2 that concern words as the protocol uses them.
//!
//! *Too few interleavings.* loom derives the interleavings to try from pairs of dependent accesses, and remembers
//! only the last access of each atomic for that. If one thread loads a word, and another then loads and exchanges it,
//! loom compares the exchange with the second load only, and never tries it before the first
//! (<https://github.com/tokio-rs/loom/issues/392>). Here every load is followed by an exchange of a word that belongs
//! to the loading thread, and every store by an exchange of the words of all threads. These exchanges synchronise
//! nothing, and loom does not switch threads at them.
//!
//! *Impossible values.* If one thread exchanges a word, and another then stores to it without having seen that, loom
//! leaves their order open. A thread may then load the value of the exchange even after it has replaced the stored
//! value by another one. Here a store comes after every store that was executed before it.
//!
//! What neither loom nor this file shows: the two orders of two fences are tried only if other accesses depend on
//! them, and `SeqCst` accesses count as `AcqRel`.

use loom::sync::atomic::Ordering;
use loom::thread::{ThreadId, current};
use std::sync::Mutex;

/// The largest number of threads of a model, including its first.
const THREADS: usize = 4;

/// One loom word for each thread that has loaded an atomic.
#[derive(Debug)]
struct Record {
    loads: [loom::sync::atomic::AtomicUsize; THREADS],
    /// The threads that the first of these words belong to.
    threads: Mutex<Vec<ThreadId>>,
}

impl Record {
    fn new() -> Self {
        Self {
            loads: core::array::from_fn(|_| loom::sync::atomic::AtomicUsize::new(0)),
            threads: Mutex::new(Vec::with_capacity(THREADS)),
        }
    }

    /// Called after this thread has loaded the atomic.
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

    /// Called after this thread has stored a value, or tried to.
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
                // This exchange sees the latest value and changes nothing, so the store comes after it.
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

            /// loom's version never fails spuriously either.
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
    fn an_exchange_is_also_tried_before_an_earlier_load() {
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
