//! Process groups: `getpgid(2)`, and their members as `/proc` lists them. This module owns no state.

use super::{pidfd, procfs};
use rustix::process::Pid;
use std::os::fd::OwnedFd;

/// Returns the process group of a process; `None` if the process is gone, or its group has no id in this namespace.
fn of(pid: Pid) -> Option<Pid> {
    let raw = nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get());
    let group = nix::unistd::getpgid(Some(raw)).ok()?;
    Pid::from_raw(group.as_raw())
}

/// Returns whether a process leads its process group.
pub(super) fn is_led_by(pid: Pid) -> bool {
    of(pid) == Some(pid)
}

/// Returns pidfds of all processes of `group` but its leader.
pub(super) fn members(group: Pid) -> Vec<OwnedFd> {
    let pids = procfs::processes().filter_map(pidfd::to_pid);
    let members = pids.filter(|&pid| pid != group).filter_map(|pid| {
        let is_member = || of(pid) == Some(group);
        // Checked before, so that few descriptors are opened, and after, since the id may have been reused.
        let pidfd = is_member().then(|| pidfd::open(pid).ok());
        pidfd.flatten().filter(|_| is_member())
    });
    members.collect()
}
