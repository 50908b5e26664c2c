//! Decides whether this process may start pools. A process that was started as a worker and has not become one may not.
//!
//! Otherwise a program that never becomes a worker would start itself forever: its workers would start workers.
//!
//! | this process                      | evidence                                          | may start pools |
//! |-----------------------------------|---------------------------------------------------|-----------------|
//! | is not a worker                   | none                                              | yes             |
//! | was started as a worker           | the mark; or the variable, as it was at the start | no              |
//! | has become a worker               | [`claim_role`] was called                         | yes             |
//! | was started by a task in a worker | none: the worker has removed mark and variable    | yes             |
//!
//! ROLE-1. The evidence is read once, from the kernel (see `os::mark`). Every call in every thread gets the same
//!     answer, until [`claim_role`].
//! ROLE-2. A worker that had several threads when it became one keeps the variable, since removing it would be
//!     unsound. Its children inherit the variable. So a variable is ignored if an ancestor is a worker with the same
//!     value, or if the process that has set it has ended. A value that cannot be judged counts as evidence.

use super::messages::FromWorker;
use super::startup::{Assignment, LINK, VARIABLE};
use crate::os::link::Link;
use crate::os::{environment, mark, procfs};
use crate::queue::borrow_fd;
use std::sync::OnceLock;

/// The name of the thread that every worker has.
pub(crate) const WATCHER: &str = "workring-watcher";

/// That name in `/proc`, where the kernel keeps 15 bytes of it.
const WATCHER_SHOWN: &str = "workring-watche";

/// The number of ancestors that are examined, at most.
const GENERATIONS: u32 = 64;

/// Whether this process has become a worker.
static CLAIMED: OnceLock<()> = OnceLock::new();

/// Whether this process has called `run_if_worker`.
static ASKED: OnceLock<()> = OnceLock::new();

/// Records that this process has become a worker. Processes that it starts from now on are not workers.
pub(crate) fn claim_role() {
    // Before the evidence is removed: it is read only once.
    was_started_as_worker();
    mark::clear();
    environment::remove_variable(VARIABLE);
    // Last: a thread that finds it set starts processes without the evidence.
    let _ = CLAIMED.set(());
}

/// Records that this program asks whether it is a worker: workers of this program become some.
pub(crate) fn note_question() {
    let _ = ASKED.set(());
}

/// Returns whether it does.
pub(crate) fn has_asked() -> bool {
    ASKED.get().is_some()
}

/// Returns whether this process was started as a worker and has not become one.
pub(crate) fn is_unclaimed_worker() -> bool {
    was_started_as_worker() && CLAIMED.get().is_none()
}

/// Reports to the parent, once, that this process starts a pool instead of becoming a worker. Never blocks.
pub(crate) fn report_pool_start() {
    static REPORTED: OnceLock<()> = OnceLock::new();
    if REPORTED.set(()).is_ok()
        && let Ok(link) = borrow_fd(LINK)
    {
        // On an error the parent finds out when this process ends.
        let _ = Link::from(link).try_send(&FromWorker::StartsPool.encode());
    }
}

/// Returns the evidence (ROLE-1).
fn was_started_as_worker() -> bool {
    static EVIDENCE: OnceLock<bool> = OnceLock::new();
    *EVIDENCE.get_or_init(|| mark::is_set() || has_variable())
}

fn has_variable() -> bool {
    let me = std::process::id();
    // Without `/proc`, the variable as the program may have changed it is the best evidence.
    let initial = environment::initial_variable(me, VARIABLE);
    let Some(value) = initial.or_else(|| std::env::var(VARIABLE).ok()) else {
        return false;
    };
    // ROLE-2.
    let is_over =
        Assignment::parse(&value).is_some_and(|assignment| assignment.starter.has_ended());
    !is_over && !is_an_ancestors(&value, me)
}

/// Returns whether an ancestor of this process has become a worker with this value of the variable.
fn is_an_ancestors(value: &str, me: u32) -> bool {
    if !procfs::is_own_namespace().unwrap_or(false) {
        return false;
    }
    let mut ancestor = procfs::parent(me);
    for _ in 0..GENERATIONS {
        let Some(process) = ancestor.filter(|&process| process > 1) else {
            return false;
        };
        if procfs::has_thread(process, WATCHER_SHOWN)
            && environment::initial_variable(process, VARIABLE).as_deref() == Some(value)
        {
            return true;
        }
        ancestor = procfs::parent(process);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::startup::Starter;
    use super::*;

    #[test]
    fn an_assignment_is_read_as_it_was_written() {
        let assignment = Assignment {
            slot: 7,
            starter: Starter::here().expect("/proc"),
            task_type: "a::Task<b::C, (d, e)>".to_owned(),
        };
        assert_eq!(Assignment::parse(&assignment.to_text()), Some(assignment));
        for text in ["", "1", "1 2 a::Task", "1 2.3 a::Task", "x 1.2.3 a::Task"] {
            assert_eq!(Assignment::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_name_of_the_watcher_is_found_as_the_kernel_cuts_it() {
        assert_eq!(WATCHER.get(..15), Some(WATCHER_SHOWN));
    }

    #[test]
    fn a_starter_that_has_ended_is_told_from_one_that_lives() {
        let here = Starter::here().expect("/proc");
        assert!(!here.has_ended());
        let reused = Starter {
            started: here.started ^ 1,
            ..here
        };
        assert!(reused.has_ended());
        let foreign = Starter {
            namespace: here.namespace ^ 1,
            ..reused
        };
        assert!(!foreign.has_ended(), "it cannot be known");
    }
}
