//! What the supervisor lets other threads know of its workers: a copy that it renews at the end of each turn.

use super::report::WorkerStats;
use parking_lot::Mutex;

/// What a worker does, apart from its task, as the supervisor knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Its process has not become ready yet.
    Starting,
    /// It takes tasks.
    Ready,
    /// It was asked to stop, or stops by itself, and may still run a task.
    Leaving,
    /// It got a signal to end.
    Ending,
    /// There is no process: the last one ended too soon.
    BackingOff,
}

/// A slot that has a worker, or waits for one.
#[derive(Clone, Copy, Debug)]
pub(super) struct StaffMember {
    pub(super) number: u32,
    pub(super) pid: Option<u32>,
    pub(super) condition: Condition,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Staff {
    pub(super) members: Vec<StaffMember>,
    pub(super) counts: WorkerStats,
    /// Tasks that wait for their back-off before they are tried again.
    pub(super) retrying: usize,
}

/// The last copy. Both sides hold the lock only while they copy.
#[derive(Debug, Default)]
pub(super) struct PublishedStaff(Mutex<Staff>);

impl PublishedStaff {
    pub(super) fn read(&self) -> Staff {
        self.0.lock().clone()
    }

    /// Replaces the counts. The members stay as they were for a moment.
    pub(super) fn publish_counts(&self, counts: WorkerStats) {
        self.0.lock().counts = counts;
    }

    /// Replaces the copy. `members` has the new ones, and gets the old ones, for its memory.
    pub(super) fn publish(
        &self,
        members: &mut Vec<StaffMember>,
        counts: WorkerStats,
        retrying: usize,
    ) {
        let mut staff = self.0.lock();
        core::mem::swap(&mut staff.members, members);
        staff.counts = counts;
        staff.retrying = retrying;
    }
}
