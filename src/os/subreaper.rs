//! Whether orphaned descendants become children of this process: `PR_SET_CHILD_SUBREAPER` of `prctl(2)`.
//!
//! State: that flag of this process.

use rustix::process::{Pid, child_subreaper, getpid, set_child_subreaper};
use std::io;

/// Makes this process the parent of each of its descendants whose own parent ends.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    // Any process id sets the flag.
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Returns whether orphans become children of this process: it is its namespace's first process, or has asked for it.
pub(crate) fn is_reaper() -> bool {
    getpid() == Pid::INIT || child_subreaper().is_ok_and(|reaper| reaper.is_some())
}
