//! How the figures of a pool are put together, by any thread: from the supervisor's last copy of its workers, the board, and the
//! table of tasks.

use super::report::WorkerStats;
use super::results::TableSnapshot;
use super::running_task::RunningTask;
use super::shared::Shared;
use super::staff::{Condition, Staff, StaffMember};
use super::stats::{
    PoolStats, PoolTask, PoolWorker, TaskCounts, Timings, WorkerCounts, WorkerStatus,
};
use crate::os::clock;
use crate::pool::outcome::TaskId;
use core::time::Duration;

impl Shared {
    /// See [`TypedPool::stats`](crate::pool::TypedPool::stats).
    pub(super) fn pool_stats(&self) -> PoolStats {
        if !self.owner.is_current() {
            return PoolStats::default();
        }
        // A task whose result has arrived no longer counts as queued.
        self.results.poll();
        let staff = self.staff.read();
        let workers: Vec<PoolWorker> = staff.members.iter().map(|it| self.worker(it)).collect();
        let running = workers.iter().filter_map(|worker| worker.task);
        let running: Vec<TaskId> = running.map(|task| task.id).collect();
        let table = self.results.with(|tasks| tasks.snapshot(&running));
        PoolStats {
            tasks: task_counts(&table, &staff),
            workers,
            totals: worker_counts(&staff.counts),
            timings: timings(table),
        }
    }

    fn worker(&self, member: &StaffMember) -> PoolWorker {
        let entry = self.board.entry(member.number);
        let entry = entry.filter(|_| member.pid.is_some());
        let running = entry.and_then(RunningTask::read);
        PoolWorker {
            number: member.number,
            pid: member.pid,
            status: match member.condition {
                Condition::Starting => WorkerStatus::Starting,
                Condition::Ready if running.is_some() => WorkerStatus::Busy,
                Condition::Ready => WorkerStatus::Idle,
                Condition::Leaving => WorkerStatus::Leaving,
                Condition::Ending => WorkerStatus::Ending,
                Condition::BackingOff => WorkerStatus::BackingOff,
            },
            task: running.map(|running| PoolTask {
                id: running.task,
                age: running.age,
            }),
        }
    }
}

fn task_counts(table: &TableSnapshot, staff: &Staff) -> TaskCounts {
    let stats = &table.stats;
    let in_flight = table.in_flight as u64;
    let running = (table.running as u64).min(in_flight);
    // The copy of the supervisor may be of another moment.
    let retrying = (staff.retrying as u64).min(in_flight - running);
    TaskCounts {
        submitted: stats.submitted,
        queued: in_flight - running - retrying,
        running,
        retrying,
        unclaimed: table.unclaimed as u64,
        completed: stats.completed,
        failed: stats.failed,
        panicked: stats.panicked,
        crashed: stats.crashed,
        timed_out: stats.timed_out,
        cancelled: stats.cancelled,
        too_much_memory: stats.too_much_memory,
        no_workers: stats.no_workers,
        transport: stats.transport,
        unknown: stats.unknown,
        retried: staff.counts.retried,
    }
}

const fn worker_counts(counts: &WorkerStats) -> WorkerCounts {
    WorkerCounts {
        started: counts.started,
        died: counts.died,
        killed: counts.killed,
        recycled: counts.recycled,
    }
}

fn timings(table: TableSnapshot) -> Option<Timings> {
    let timings = table.timings?;
    let since = |submitted| Duration::from_nanos(clock::now().saturating_sub(submitted));
    Some(Timings {
        waiting: timings.waiting,
        running: timings.running,
        oldest_queued: timings.oldest_queued.map(since),
    })
}
