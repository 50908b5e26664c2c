//! What the event of a worker's death says. See [`reporting`](super::reporting).

use super::slot::DeadWorker;
use crate::pool::outcome::TaskId;
use crate::pool::parent::results::TaskSpan;
use std::time::Instant;

/// What the event of a death says.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "tracing"),
    expect(dead_code, reason = "only the event reports it")
)]
pub(super) struct DeathReport {
    pub(super) severity: Severity,
    pub(super) worker: u32,
    pub(super) pid: u32,
    pub(super) reason: &'static str,
    pub(super) status: String,
    pub(super) signal: Option<i32>,
    pub(super) exit_code: Option<i32>,
    /// What the worker has reported, or why it was refused.
    pub(super) error: Option<String>,
    pub(super) task: Option<TaskId>,
    pub(super) task_name: Option<String>,
    /// The span of the task.
    pub(super) span: Option<TaskSpan>,
    pub(super) attempt: Option<u16>,
    pub(super) fate: Option<Fate>,
    pub(super) replacement: &'static str,
    pub(super) replaced_in_ms: Option<u64>,
}

/// How much a death matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// The pool has planned it, such as a recycled worker.
    Planned,
    /// The pool has killed the worker at a caller's request, or at its end.
    Requested,
    /// The worker has died by itself, or was killed for a limit.
    Unexpected,
}

/// What becomes of the task that a dead worker was running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its result had arrived.
    HadEnded,
    /// Its outcome is of this kind.
    Ended(&'static str),
    /// It is tried again at this time. The attempt counts.
    TriedAgain(Instant),
    /// It is sent again, and the attempt does not count.
    SentAgain,
}

#[cfg_attr(
    not(feature = "tracing"),
    expect(dead_code, reason = "only the event reports it")
)]
impl Fate {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::HadEnded => "had_ended",
            Self::Ended(_) => "ended",
            Self::TriedAgain(_) => "tried_again",
            Self::SentAgain => "sent_again",
        }
    }

    pub(super) const fn outcome(self) -> Option<&'static str> {
        match self {
            Self::Ended(kind) => Some(kind),
            _ => None,
        }
    }

    /// Returns in how many milliseconds the task is tried again.
    pub(super) fn tried_again_in_ms(self) -> Option<u64> {
        match self {
            Self::TriedAgain(due) => Some(milliseconds_until(due)),
            _ => None,
        }
    }
}

/// Returns the time until `due` in milliseconds.
pub(super) fn milliseconds_until(due: Instant) -> u64 {
    let left = due.saturating_duration_since(Instant::now());
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}

impl DeathReport {
    /// Returns whether it is about this death.
    pub(super) fn is_of(&self, death: &DeadWorker) -> bool {
        (self.worker, self.pid) == (death.worker, death.pid_here)
    }
}
