//! The next outcome of a map without waiting, for its stream.

use super::super::results::{Awaited, FORKED, Registration};
use super::Map;
use crate::pool::task::{OutcomeOf, Task};
use crate::queue::futures::LinePlace;
use core::task::{Context, Poll, ready};

/// Where a map is registered that waits.
#[derive(Debug, Default)]
pub(in crate::pool::parent) struct MapWait {
    registration: Option<Registration>,
    /// Its place among those that wait for memory for a message.
    line: LinePlace,
}

impl<T: Task, I: Iterator<Item = T>> Map<'_, T, I> {
    /// Looks for the next outcome: see [`Iterator::next`].
    pub(in crate::pool::parent) fn poll_next(
        &mut self,
        wait: &mut MapWait,
        context: &Context<'_>,
    ) -> Poll<Option<OutcomeOf<T>>> {
        loop {
            self.send_available();
            if let Some(outcome) = self.take_outcome() {
                return Poll::Ready(Some(outcome));
            }
            if self.outstanding == 0 && self.pending.is_empty() {
                return Poll::Ready(None);
            }
            if !ready!(self.poll_wait(wait, context)) {
                return Poll::Ready(None);
            }
        }
    }

    /// Ends a wait, when the stream is dropped.
    pub(in crate::pool::parent) fn end_wait(&self, wait: &mut MapWait) {
        self.shared.tasks.normal.leave_line(&mut wait.line);
        self.shared.results.forget_future(&mut wait.registration);
    }

    /// Registers the map until it can go on (MAP-2). Returns `false` if no outcome will arrive.
    fn poll_wait(&mut self, wait: &mut MapWait, context: &Context<'_>) -> Poll<bool> {
        let results = &self.shared.results;
        if !results.is_in_owner() {
            self.fail_unknown(FORKED);
            return Poll::Ready(true);
        }
        if self.lacks_memory {
            let waker = context.waker().clone();
            let in_line = (self.shared.tasks.normal).enter_line_for_blocks(&mut wait.line, waker);
            if self.try_again() {
                return Poll::Ready(true);
            }
            if in_line.is_err() {
                // The system has no thread left for the reactor: try again until it has.
                context.waker().wake_by_ref();
            }
        } else {
            self.shared.tasks.normal.leave_line(&mut wait.line);
        }
        let stream = self.stream();
        let (limits, arrived) = (&self.limits, &mut self.arrived);
        // While there is no memory for the pending tasks, room for them does not help.
        let limits = if self.lacks_memory {
            &[]
        } else {
            limits.as_slice()
        };
        let step = results.poll_until(&mut wait.registration, Awaited::Change, context, |tasks| {
            results.map_step(tasks, stream, limits, arrived)
        });
        let step = ready!(step);
        Poll::Ready(self.take_step(step))
    }

    /// Tries once more to send the first pending task, for which there was no memory. Returns whether the map can go on.
    fn try_again(&mut self) -> bool {
        let stream = self.stream();
        match self.shared.results.reserve_range(stream, &self.limits) {
            Ok(Some(range)) => self.send(range, None),
            Ok(None) => {
                // It waits for room first.
                self.lacks_memory = false;
                false
            }
            Err(error) => {
                self.refuse(&error);
                true
            }
        }
    }
}
