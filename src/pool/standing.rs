//! Whether this process may start pools: not if it was started as a worker and has not become one.
//!
//! Otherwise a program that does not become a worker runs itself again for ever: its workers start workers.
//!
//! | this process                                   | evidence                                          | may start pools |
//! |------------------------------------------------|---------------------------------------------------|-----------------|
//! | is no worker                                   | none                                              | yes             |
//! | was started as a worker, and has not become one| the mark; or the variable, as it was at the start | no              |
//! | has become a worker                            | [`claim`] was called                              | yes             |
//! | was started by a task of a worker              | none: the worker has removed mark and variable    | yes             |
//!
//! STANDING-1. The evidence is read once, from what the kernel keeps (see `os::evidence`), and is not used up: every call
//!     in every thread gets the same answer, until [`claim`].
//! STANDING-2. A worker that had several threads when it became one keeps the variable, for to remove it would be unsound.
//!     What it starts then has the variable, too: so a variable counts for nothing if an ancestor is a worker with the same
//!     one, or if the process that has set it has ended. A value that can't be judged counts.

use crate::os::evidence;
use crate::os::process;
use std::sync::OnceLock;

/// Tells a process that it is a worker: the number of its slot, who has started it, and the type of its tasks.
pub(super) const VARIABLE: &str = "WORKRING_WORKER";
/// The name of the thread that every worker has.
pub(super) const WATCHER: &str = "workring-watcher";
/// As the kernel shows it: it keeps 15 bytes.
const WATCHER_SHOWN: &str = "workring-watche";
/// Ancestors that are looked at, at most.
const GENERATIONS: u32 = 64;

/// Set once this process has become a worker.
static CLAIMED: OnceLock<()> = OnceLock::new();

/// What a worker is started for, as the variable says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) slot: u32,
    pub(super) starter: Starter,
    /// The type of the tasks.
    pub(super) wanted: String,
}

/// The process that has started a worker. It is not the worker's parent if there is a wrapper in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Starter {
    pub(super) process: u32,
    /// In clock ticks since boot, modulo 2^32.
    pub(super) started: u32,
    /// Inode of its namespace of process ids.
    pub(super) namespace: u64,
}

impl Starter {
    /// This process.
    pub(super) fn here() -> std::io::Result<Self> {
        let identity = process::identity()?;
        Ok(Self {
            process: identity.process_id(),
            started: identity.started(),
            namespace: identity.pid_namespace,
        })
    }

    /// Whether it has ended. False if this process can't know.
    fn has_ended(self) -> bool {
        self.is_visible()
            && (!evidence::exists(self.process)
                || process::started(self.process).is_ok_and(|started| started != self.started))
    }

    /// Whether its id means the same process here.
    pub(super) fn is_visible(self) -> bool {
        process::proc_is_ours().unwrap_or(false)
            && process::identity().is_ok_and(|me| me.pid_namespace == self.namespace)
    }
}

impl Assignment {
    pub(super) fn to_text(&self) -> String {
        let Starter {
            process,
            started,
            namespace,
        } = self.starter;
        format!(
            "{} {process}.{started}.{namespace} {}",
            self.slot, self.wanted
        )
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (slot, rest) = text.split_once(' ')?;
        let (starter, wanted) = rest.split_once(' ')?;
        let mut numbers = starter.split('.');
        let starter = Starter {
            process: numbers.next()?.parse().ok()?,
            started: numbers.next()?.parse().ok()?,
            namespace: numbers.next()?.parse().ok()?,
        };
        Some(Self {
            slot: slot.parse().ok()?,
            starter,
            wanted: wanted.to_owned(),
        })
    }
}

/// Records that this process has become a worker. What it starts from now on is no worker.
pub(super) fn claim() {
    // Before the evidence goes, which is read only once.
    was_started_as_worker();
    evidence::clear_mark();
    evidence::remove_variable(VARIABLE);
    // Last: what a thread starts that finds it set has none of the evidence.
    let _ = CLAIMED.set(());
}

/// Whether this process was started as a worker, and has not become one.
pub(super) fn is_unclaimed_worker() -> bool {
    was_started_as_worker() && CLAIMED.get().is_none()
}

/// STANDING-1.
fn was_started_as_worker() -> bool {
    static EVIDENCE: OnceLock<bool> = OnceLock::new();
    *EVIDENCE.get_or_init(|| evidence::is_marked() || has_variable())
}

fn has_variable() -> bool {
    let me = std::process::id();
    // Without `/proc` it is as good as what the program has made of it.
    let initial = evidence::initial_variable(me, VARIABLE);
    let Some(value) = initial.or_else(|| std::env::var(VARIABLE).ok()) else {
        return false;
    };
    // STANDING-2.
    let is_over = Assignment::parse(&value).is_some_and(|order| order.starter.has_ended());
    !is_over && !is_an_ancestors(&value, me)
}

/// Whether an ancestor of this process has become a worker by this value of the variable.
fn is_an_ancestors(value: &str, me: u32) -> bool {
    if !process::proc_is_ours().unwrap_or(false) {
        return false;
    }
    let mut ancestor = evidence::parent(me);
    for _ in 0..GENERATIONS {
        let Some(process) = ancestor.filter(|&process| process > 1) else {
            return false;
        };
        if evidence::has_thread(process, WATCHER_SHOWN)
            && evidence::initial_variable(process, VARIABLE).as_deref() == Some(value)
        {
            return true;
        }
        ancestor = evidence::parent(process);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_as_it_was_written() {
        let order = Assignment {
            slot: 7,
            starter: Starter::here().expect("/proc"),
            wanted: "a::Task<b::C, (d, e)>".to_owned(),
        };
        assert_eq!(Assignment::parse(&order.to_text()), Some(order));
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
        assert!(!foreign.has_ended(), "it can't be known");
    }
}
