//! Receiving results while only futures wait for them: there is no thread that could be the leader (RESULTS-4).
//!
//! | armed | meaning                                                                                     |
//! |-------|---------------------------------------------------------------------------------------------|
//! | no    | no future waits; or a thread is the leader, and will arm this when it leaves futures behind |
//! | yes   | the reactor calls [`Arrived`] when there is a result                                        |
//!
//! ARRIVAL-1. A thread that has changed the table, or has waited for a change, [attends](Results::attend) to the futures when
//!     it has released the lock: if some wait and no thread is the leader, this is armed. So results are received as long as
//!     anything waits for them.
//! ARRIVAL-2. After it is armed, the queue is looked at once more. A result that was sent before is found by that; one that is
//!     sent later makes the reactor call.
//! ARRIVAL-3. When the reactor calls, this is no longer armed. The call records one batch of results, and attends again. If
//!     there is a leader then, the reactor may have taken its wake: it is interrupted, and looks.
//! ARRIVAL-4. The call is announced (see [`crate::announce`]), so that it comes when its thread holds no lock: an interrupt of
//!     the leader, for instance, is made under the lock of the table, and calls the wakers of this process.
//! ARRIVAL-5. The lock of the place is taken before that of the table, so that this is armed, and disarmed, in one step.

use super::futures::{self, Awaited, Registration};
use super::receive::{FORKED, Results, WaitError};
use super::table::TaskTable;
use crate::announce::{Importance, announce, defer};
use crate::sync::Ordering;
use core::task::{Context, Poll};
use std::sync::{Arc, Weak};
use std::task::Wake;

/// What the reactor calls.
struct Arrived(Weak<Results>);

impl Wake for Arrived {
    fn wake(self: Arc<Self>) {
        let results = Weak::clone(&self.0);
        let note = move || {
            if let Some(results) = results.upgrade() {
                results.note_arrival();
            }
        };
        announce(Importance::Lifecycle, Box::new(note));
    }
}

/// What attending to the futures takes.
enum Step {
    Nothing,
    Arm,
    Disarm,
}

impl Results {
    /// Looks at the table for a future, which never waits: `Pending` registers its waker, which is called after the next
    /// change that concerns it.
    pub(crate) fn poll_until<R>(
        &self,
        registration: &mut Option<Registration>,
        awaited: Awaited,
        context: &Context<'_>,
        mut look: impl FnMut(&mut TaskTable) -> Option<R>,
    ) -> Poll<Result<R, WaitError>> {
        if !self.is_in_owner() {
            return Poll::Ready(Err(WaitError::Unknown(FORKED)));
        }
        self.poll();
        // Before the lock: it is user code, as dropping the old one is.
        let waker = context.waker().clone();
        let _old;
        let _deferred = defer();
        let _attending = self.attend_afterwards();
        let mut state = self.state.lock();
        let found = match look(&mut state.tasks) {
            Some(found) => Ok(found),
            None => match state.tasks.unknown() {
                Some(what) => Err(WaitError::Unknown(what)),
                None if state.tasks.has_ended() => Err(WaitError::Ended),
                None => {
                    _old = state.futures.register(registration, awaited, waker);
                    self.has_futures.store(true, Ordering::Relaxed);
                    return Poll::Pending;
                }
            },
        };
        _old = registration
            .take()
            .and_then(|registration| state.futures.remove(registration));
        Poll::Ready(found)
    }

    /// Removes a future that was dropped.
    pub(crate) fn forget_future(&self, registration: &mut Option<Registration>) {
        if let Some(registration) = registration.take()
            && self.is_in_owner()
        {
            // Dropped last, without the lock.
            let _old;
            let _attending = self.attend_afterwards();
            _old = self.state.lock().futures.remove(registration);
        }
    }

    /// Makes sure that results are received if futures wait for them (ARRIVAL-1). The caller holds no lock.
    #[cold]
    pub(super) fn attend(&self) {
        if !self.is_in_owner() {
            return;
        }
        let _deferred = defer();
        while self.attend_once() {
            self.record_arrived();
        }
    }

    /// Arms or disarms the arrival, if that is needed. Returns whether it is armed now, so that the queue must be looked at
    /// once more. While this thread did that it was the leader, and a call of the reactor may have disarmed it (ARRIVAL-3):
    /// then this has to be done again.
    fn attend_once(&self) -> bool {
        let mut place = self.place.lock();
        match self.next_step() {
            Step::Nothing => return false,
            Step::Disarm => {
                self.queue().leave_line(&mut place);
                return false;
            }
            Step::Arm => {}
        }
        let waker = Arc::new(Arrived(Weak::clone(&self.this))).into();
        if self.queue().enter_line(&mut place, waker).is_err() {
            // The system has no thread left for the reactor. They try again until it has.
            let mut state = self.state.lock();
            state.is_armed = false;
            futures::wake(state.futures.take_all());
            return false;
        }
        true
    }

    /// Decides what attending takes, and notes that it is done (ARRIVAL-5).
    fn next_step(&self) -> Step {
        let mut state = self.state.lock();
        if state.futures.is_empty() {
            self.has_futures.store(false, Ordering::Relaxed);
            return if core::mem::take(&mut state.is_armed) {
                Step::Disarm
            } else {
                Step::Nothing
            };
        }
        let is_over = state.tasks.has_ended() || state.tasks.unknown().is_some();
        if state.is_armed || state.has_leader || state.collectors > 0 || is_over {
            return Step::Nothing;
        }
        state.is_armed = true;
        Step::Arm
    }

    /// Records what has arrived (ARRIVAL-3).
    fn note_arrival(&self) {
        if !self.is_in_owner() {
            return;
        }
        let _deferred = defer();
        {
            let mut state = self.state.lock();
            state.is_armed = false;
            if state.has_leader {
                self.interrupter.interrupt();
            }
        }
        self.record_arrived();
        self.attend();
    }
}
