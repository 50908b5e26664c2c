//! The futures that wait for a change of the table.
//!
//! FUTURES-1. A future is registered under the lock of the table, after it has looked at the table. So each later change
//!     finds its waker.
//! FUTURES-2. A change takes the wakers that it concerns out of here. A future that was woken, and has to go on waiting,
//!     registers again.
//! FUTURES-3. Wakers are user code: they are called, cloned and dropped without the lock, and never by the supervisor's
//!     thread. See [`crate::announce`].

use crate::announce::{Importance, announce};
use crate::pool::outcome::TaskId;
use core::task::Waker;
use std::collections::{BTreeMap, HashMap};

/// The wakers of the futures that wait.
#[derive(Default)]
pub(super) struct Futures {
    /// Of those that wait for one task.
    for_tasks: HashMap<TaskId, TaskWakers>,
    /// Of all others, first come first.
    others: BTreeMap<u64, Waker>,
    #[cfg(feature = "async")]
    next: u64,
}

/// The wakers of those that wait for one task.
#[derive(Default)]
struct TaskWakers {
    /// Of the one that waits for its outcome.
    outcome: Option<Waker>,
    /// Of those that wait for what it emits.
    progress: BTreeMap<u64, Waker>,
}

impl TaskWakers {
    fn into_all(self) -> impl Iterator<Item = Waker> {
        self.outcome.into_iter().chain(self.progress.into_values())
    }
}

/// What a future waits for.
#[cfg(feature = "async")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The outcome of this task. No other future waits for it.
    Outcome(TaskId),
    /// What this task emits, and its outcome.
    Progress(TaskId),
    /// Any change.
    Change,
}

/// Where a future is registered.
#[cfg(feature = "async")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registration {
    Task(TaskId),
    Progress(TaskId, u64),
    Other(u64),
}

#[cfg(feature = "async")]
impl Futures {
    pub(super) fn is_empty(&self) -> bool {
        self.for_tasks.is_empty() && self.others.is_empty()
    }

    /// Registers a future, or replaces its waker. Returns the old waker, to be dropped without the lock.
    pub(super) fn register(
        &mut self,
        registration: &mut Option<Registration>,
        awaited: Awaited,
        waker: Waker,
    ) -> Option<Waker> {
        let place = *registration.get_or_insert_with(|| match awaited {
            Awaited::Outcome(id) => Registration::Task(id),
            Awaited::Progress(id) => {
                self.next += 1;
                Registration::Progress(id, self.next)
            }
            Awaited::Change => {
                self.next += 1;
                Registration::Other(self.next)
            }
        });
        match place {
            Registration::Task(id) => self.for_tasks.entry(id).or_default().outcome.replace(waker),
            Registration::Progress(id, number) => {
                let wakers = self.for_tasks.entry(id).or_default();
                wakers.progress.insert(number, waker)
            }
            Registration::Other(number) => self.others.insert(number, waker),
        }
    }

    /// Removes a future. Returns its waker if it was not woken, to be dropped without the lock.
    pub(super) fn remove(&mut self, registration: Registration) -> Option<Waker> {
        let (id, number) = match registration {
            Registration::Task(id) => (id, None),
            Registration::Progress(id, number) => (id, Some(number)),
            Registration::Other(number) => return self.others.remove(&number),
        };
        let wakers = self.for_tasks.get_mut(&id)?;
        let waker = match number {
            None => wakers.outcome.take(),
            Some(number) => wakers.progress.remove(&number),
        };
        if wakers.outcome.is_none() && wakers.progress.is_empty() {
            self.for_tasks.remove(&id);
        }
        waker
    }
}

impl Futures {
    /// Moves the wakers of the futures that wait for this task to `woken`.
    #[inline]
    pub(super) fn take_for_task(&mut self, id: TaskId, woken: &mut Vec<Waker>) {
        if !self.for_tasks.is_empty()
            && let Some(wakers) = self.for_tasks.remove(&id)
        {
            woken.extend(wakers.into_all());
        }
    }

    /// Takes the wakers of those that wait for any change.
    pub(super) fn take_others(&mut self) -> impl Iterator<Item = Waker> + use<> {
        core::mem::take(&mut self.others).into_values()
    }

    /// Takes all wakers.
    pub(super) fn take_all(&mut self) -> Vec<Waker> {
        let for_tasks = core::mem::take(&mut self.for_tasks);
        let for_tasks = for_tasks.into_values().flat_map(TaskWakers::into_all);
        self.take_others().chain(for_tasks).collect()
    }
}

/// Wakes futures, as soon as this thread has released what it holds (FUTURES-3).
pub(super) fn wake(wakers: Vec<Waker>) {
    if wakers.is_empty() || mutant!(FutureNotWoken) {
        return;
    }
    // One notice each, so that a panic of one keeps no other from being called.
    for waker in wakers {
        announce(Importance::Lifecycle, Box::new(move || waker.wake()));
    }
}
