//! The event of a worker's death: one, with everything that the pool knows.
//!
//! | a death     | what the report says by then                | leaves it                                      |
//! |-------------|---------------------------------------------|------------------------------------------------|
//! | is noticed  | who died, how, why, and with which task     | its task is settled: see [`super::lost_tasks`] |
//! | is settled  | what becomes of the task                    | its slot is refilled, or left                  |
//! | is complete | whether the worker is replaced              | the event is emitted                           |
//!
//! REPORT-1. A death has one event, also if another process delays its settling (LOST-1). It is emitted when it is
//!     complete, and at the latest at the end of the pool.

use super::death_report::{DeathReport, Fate, Severity, milliseconds_until};
use super::log;
use super::reasons::{KillCause, LeaveReason};
use super::slot::{DeadWorker, SlotState, Stage, WorkerProcess};
use super::supervisor::Supervisor;
use crate::error::ending;
use crate::pool::wire::task_message::TaskKey;
use std::os::unix::process::ExitStatusExt;

impl Supervisor {
    /// Begins the report of a death.
    pub(super) fn note_death(&mut self, worker: &WorkerProcess, death: &DeadWorker) {
        let task = death.running;
        let (attempt, span) = self.results().with(|tasks| {
            let attempt = task.and_then(|id| tasks.get_mut(id).map(|task| task.attempt.number));
            (attempt, task.and_then(|id| tasks.spans.get(id)))
        });
        let status = death.status;
        let (reason, severity) = self.cause_of(worker, death);
        self.death_reports.push(DeathReport {
            severity,
            worker: death.worker,
            pid: death.pid_here,
            reason,
            status: ending(status),
            signal: status.and_then(|status| status.signal()),
            exit_code: status.and_then(|status| status.code()),
            error: worker.start_failure.clone(),
            task,
            task_name: None,
            span,
            attempt,
            fate: None,
            replacement: "none",
            replaced_in_ms: None,
        });
    }

    /// Returns why a worker has ended, and how much that matters.
    fn cause_of(&self, worker: &WorkerProcess, death: &DeadWorker) -> (&'static str, Severity) {
        if let Some(reason) = worker.kill_reason {
            return match reason.cause {
                KillCause::Cancelled if reason.task.is_none() => {
                    ("did_not_stop", Severity::Unexpected)
                }
                KillCause::Cancelled => ("cancelled", Severity::Requested),
                KillCause::TimedOut => ("time_limit", Severity::Unexpected),
                KillCause::TooMuchMemory { .. } => ("memory_limit", Severity::Unexpected),
            };
        }
        if worker.is_being_ended && worker.start_failure.is_some() {
            return ("refused", Severity::Unexpected);
        }
        if death.was_ended_by_shutdown {
            return ("shutdown", Severity::Requested);
        }
        if worker.is_being_ended {
            let reason = match worker.stage {
                Stage::Starting | Stage::Preparing => "not_ready_in_time",
                Stage::Ready | Stage::Stopping => "link_closed",
            };
            return (reason, Severity::Unexpected);
        }
        // During the end of the pool, nothing waits for a worker to become ready.
        if self.is_stopping() && (worker.stage == Stage::Stopping || worker.stage < Stage::Ready) {
            return ("shutdown", Severity::Planned);
        }
        if worker.stage == Stage::Stopping {
            return (reason_to_leave(worker.leave_reason), Severity::Planned);
        }
        let reason = match death.status {
            _ if worker.start_failure.is_some() => "not_prepared",
            Some(status) if status.signal().is_some() => "signal",
            Some(_) => "exit",
            None => "unknown",
        };
        (reason, Severity::Unexpected)
    }

    /// Notes what becomes of the task that a dead worker was running.
    pub(super) fn note_fate(&mut self, death: &DeadWorker, key: TaskKey, fate: Fate) {
        let name = self.task_name(key);
        let mut reports = self.death_reports.iter_mut();
        if let Some(report) = reports.find(|report| report.is_of(death)) {
            report.fate = Some(fate);
            report.task_name = name;
        }
    }

    /// Notes whether another worker takes the place of one that has died.
    pub(super) fn note_replacement(&mut self, index: usize, death: &DeadWorker) {
        let (replacement, due) = match self.slots.get(index).map(|slot| &slot.state) {
            Some(SlotState::Occupied(_)) => ("at_once", None),
            Some(SlotState::BackingOff { until }) => ("later", Some(*until)),
            Some(SlotState::Empty) | None => ("none", None),
        };
        let mut reports = self.death_reports.iter_mut();
        if let Some(report) = reports.find(|report| report.is_of(death)) {
            report.replacement = replacement;
            report.replaced_in_ms = due.map(milliseconds_until);
        }
    }

    /// Emits the events of all deaths that are settled.
    pub(super) fn report_deaths(&mut self) {
        let dead = &self.dead_workers;
        let is_settled = |report: &mut DeathReport| !dead.iter().any(|it| report.is_of(it));
        for report in self.death_reports.extract_if(.., is_settled) {
            log::died(report);
        }
    }

    /// Returns the name of a task: that of the registered one with this key, or the type of all tasks of the pool.
    fn task_name(&self, key: TaskKey) -> Option<String> {
        self.launcher.shared.task_name(key)
    }
}

const fn reason_to_leave(reason: Option<LeaveReason>) -> &'static str {
    match reason {
        Some(LeaveReason::TooOld) => "age",
        Some(LeaveReason::Recycled) => "recycled",
        Some(LeaveReason::Idle) => "idle",
        Some(LeaveReason::Surplus) => "surplus",
        // It has decided that itself.
        None => "tasks_or_memory",
    }
}
