//! The futures that wait for a listener, and their wakers.
//!
//! A future that finds no process puts its waker among the others of its listener, and arms the registration of the
//! listener's set of descriptors: see [`readiness`](crate::os::readiness). When the set is ready, all are woken.
//!
//! | the waker of a future | becomes                                                        |
//! |-----------------------|----------------------------------------------------------------|
//! | not in `wakers`       | in it, by a poll that finds no process                         |
//! | in `wakers`           | out of it, called when the set is ready, or when the future ends |
//!
//! ACCEPT-1. A future puts its waker there before it arms the registration. So what it has missed makes the set ready at
//!     that moment, and calls it.
//! ACCEPT-2. All futures are woken, since the set does not tell for how many there is something. So one that is dropped takes
//!     no wake-up away from another.
//! ACCEPT-3. No waker is called, cloned or dropped under a lock: it is user code.
//!
//! Fork: a forked child does not touch the lock, which another thread of its parent may have held.

use crate::os::readiness::Registration;
use core::mem;
use core::task::Waker;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};

/// The futures that wait for one listener.
#[derive(Default)]
pub(super) struct Accepting {
    wakers: Arc<Mutex<BTreeMap<u64, Waker>>>,
    /// Made by the first future that waits.
    registration: OnceLock<Registration>,
    /// Held while it is made. The number of the next future.
    next: Mutex<u64>,
}

impl Accepting {
    /// Has the waker called when a process may be there. A future keeps its number from one poll to the next.
    pub(super) fn enter(
        &self,
        set: impl AsFd,
        number: &mut Option<u64>,
        waker: Waker,
    ) -> io::Result<()> {
        let number = *number.get_or_insert_with(|| {
            let mut next = self.next.lock();
            *next += 1;
            *next
        });
        let old = self.wakers.lock().insert(number, waker);
        drop(old);
        if let Some(registration) = self.registration.get() {
            registration.arm();
            return Ok(());
        }
        let making = self.next.lock();
        if let Some(registration) = self.registration.get() {
            drop(making);
            registration.arm();
            return Ok(());
        }
        let wakers = Arc::clone(&self.wakers);
        let set = set.as_fd().try_clone_to_owned()?;
        let registration = Registration::new(set, move || {
            mem::take(&mut *wakers.lock()).into_values().collect()
        })?;
        // No other thread sets it without the lock.
        let _ = self.registration.set(registration);
        Ok(())
    }

    /// Takes the waker of a future out.
    pub(super) fn leave(&self, number: u64) {
        let waker = self.wakers.lock().remove(&number);
        drop(waker);
    }
}
