//! Atomics that an observer can intercept, for the crate's own tests. The explorer runs the real functions of the
//! protocol with them, on words that exist only in its own state.
//!
//! Without an observer they behave as the real atomics, and have the same size. While a thread is in [`watch`], its
//! observer is called before each access, with the address of the word and the kind of access. It may perform the
//! access on a state of its own instead, or unwind to leave the function for good, which is how a process stops or
//! dies.

use core::cell::RefCell;
use core::ops::Deref;
use core::sync::atomic::{self, Ordering};
use std::rc::Rc;

/// A kind of access to a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Load,
    Store(u64),
    /// A compare-exchange: expected value, new value.
    Exchange(u64, u64),
    Swap(u64),
    Add(u64),
    Or(u64),
    And(u64),
}

/// Intercepts accesses to atomics.
pub(crate) trait Observer {
    /// Performs an access and returns the value that the word had before. `None`: this word is not observed.
    fn access(&self, address: usize, access: Access) -> Option<u64>;
}

thread_local! {
    static OBSERVER: RefCell<Option<Rc<dyn Observer>>> = const { RefCell::new(None) };
}

/// Runs `program`, with `observer` in place of the words that it knows.
pub(crate) fn watch<R>(observer: Rc<dyn Observer>, program: impl FnOnce() -> R) -> R {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            OBSERVER.set(None);
        }
    }
    OBSERVER.set(Some(observer));
    let _reset = Reset;
    program()
}

/// Calls the observer of this thread, if it has one.
fn ask(address: usize, access: Access) -> Option<u64> {
    // The borrow ends before the call, because the observer may unwind. A thread that is ending has no observer.
    let observer = OBSERVER.try_with(|observer| observer.borrow().clone());
    observer.ok().flatten()?.access(address, access)
}

macro_rules! observed {
    ($($name:ident($value:ty): $($operation:ident as $access:ident),*;)*) => {$(
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub(crate) struct $name(atomic::$name);

        #[allow(dead_code, reason = "bytes are never exchanged")]
        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            fn ask(&self, access: Access) -> Option<$value> {
                let seen = ask(core::ptr::from_ref(self).addr(), access)?;
                Some(<$value>::try_from(seen).expect("a value of the word's size"))
            }

            pub(crate) fn load(&self, ordering: Ordering) -> $value {
                self.ask(Access::Load)
                    .unwrap_or_else(|| self.0.load(ordering))
            }

            pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                if self.ask(Access::Store(value.into())).is_none() {
                    self.0.store(value, ordering);
                }
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                match self.ask(Access::Exchange(current.into(), new.into())) {
                    Some(seen) if seen == current => Ok(seen),
                    Some(seen) => Err(seen),
                    None => self.0.compare_exchange(current, new, success, failure),
                }
            }

            /// An observed word never fails spuriously.
            pub(crate) fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                match self.ask(Access::Exchange(current.into(), new.into())) {
                    Some(seen) if seen == current => Ok(seen),
                    Some(seen) => Err(seen),
                    None => self.0.compare_exchange_weak(current, new, success, failure),
                }
            }

            $(
                pub(crate) fn $operation(&self, operand: $value, ordering: Ordering) -> $value {
                    self.ask(Access::$access(operand.into()))
                        .unwrap_or_else(|| self.0.$operation(operand, ordering))
                }
            )*
        }
    )*};
}

/// For the futex calls, which need the real atomic. The other types give no access that bypasses the observer.
impl Deref for AtomicU32 {
    type Target = atomic::AtomicU32;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

observed! {
    AtomicU8(u8):;
    AtomicU32(u32): fetch_add as Add;
    AtomicU64(u64): swap as Swap, fetch_add as Add, fetch_or as Or, fetch_and as And;
}
