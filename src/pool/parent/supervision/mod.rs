//! Supervision of worker processes: one thread starts them, waits for them, ends them, and replaces them.

mod deaths;
mod incoming;
mod launch;
mod limits;
mod log;
mod lost_tasks;
mod outage;
mod overdue;
mod reasons;
mod run;
mod slot;
mod staffing;
mod startup;
mod stopping;
mod strays;
mod supervisor;
mod watchlist;

pub(super) use launch::Launcher;
pub(super) use supervisor::Supervisor;
