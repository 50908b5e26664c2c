//! When a task is run: before which others, and not before which time.

use crate::pool::priority::Priority;
use std::time::Instant;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct When {
    pub(super) priority: Priority,
    pub(super) not_before: Option<Instant>,
}

impl When {
    /// Returns when the task is due, if that is in the future.
    pub(super) fn due(self) -> Option<Instant> {
        self.not_before.filter(|&time| time > Instant::now())
    }
}
