//! The child's side of a pool: noticing that its parent ends, and killing itself with everything it started.
//!
//! A child starts with the parent-death signal `SIGKILL` (CHILD-2 of [`child`](super::child)), which leaves its
//! descendants alive. [`watch_parent`] and [`watch_starter`] replace that: they return a pidfd that becomes readable,
//! in the sense of `poll(2)`, when the parent has ended; the child then calls [`kill_own_group`]. The parent-death
//! signal becomes `SIGCONT`, which wakes the child if it is stopped at that moment.
//!
//! `pidfd_open(2)`, `prctl(2)`, `kill(2)`. State: the parent-death signal of the calling thread.

use super::descriptor::beyond_stdio;
use super::{pidfd, procfs, tree};
use rustix::io::Errno;
use rustix::process::{
    Signal, getpid, getppid, kill_process, kill_process_group, set_parent_process_death_signal,
};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

/// Starts watching the parent of this process. Call it on the thread that runs `main`.
pub(crate) fn watch_parent() -> io::Result<OwnedFd> {
    // A parent in another namespace of process ids has no id here.
    let parent = getppid().ok_or(ErrorKind::Unsupported)?;
    let watched = beyond_stdio(pidfd::open(parent)?)?;
    set_parent_process_death_signal(Some(Signal::CONT))?;
    // The parent may have ended before the pidfd was opened, and its id may have been reused.
    if getppid() != Some(parent) {
        kill_own_group();
    }
    Ok(watched)
}

/// Starts watching the process that started this one, perhaps through a wrapper. It is identified by its id and its
/// [start time](procfs::start_time). Call it on the thread that runs `main`.
pub(crate) fn watch_starter(id: u32, start_time: u32) -> io::Result<OwnedFd> {
    let watched = pidfd::open(pidfd::to_pid(id).ok_or(ErrorKind::InvalidData)?);
    set_parent_process_death_signal(Some(Signal::CONT))?;
    // The id may have been reused.
    let is_reused = procfs::start_time(id).is_ok_and(|found| found != start_time);
    if matches!(watched, Err(Errno::SRCH)) || is_reused {
        kill_own_group();
    }
    beyond_stdio(watched?)
}

/// Kills this process with its descendants, and with the process group that it was started as the leader of, whether or
/// not it is still a member.
pub(crate) fn kill_own_group() -> ! {
    kill_own_descendants();
    // No other group can have this number while this process lives. An error means that there is no such group.
    let _ = kill_process_group(getpid(), Signal::KILL);
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}

/// Kills the descendants of this process, including those in other groups and sessions. Processes that its other
/// threads start during the call may be missed.
pub(crate) fn kill_own_descendants() {
    tree::kill_own_descendants();
}
