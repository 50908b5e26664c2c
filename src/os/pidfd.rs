//! Processes by id and by pidfd: `pidfd_open(2)`, `poll(2)`, `waitid(2)`, `kill(2)` with signal 0.
//!
//! A process id may be reused once its process has been reaped. A pidfd always refers to the process that it was opened
//! for. This module owns no state.

use super::descriptor;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal,
    test_kill_process, waitid,
};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Returns `id` as the system calls take it; `None` if no process can have this id.
pub(super) fn to_pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

/// Returns the number of a process id.
pub(super) fn to_id(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// Opens a pidfd of the process that has this id now. The descriptor may have the number of a standard stream.
pub(super) fn open(pid: Pid) -> Result<OwnedFd, Errno> {
    pidfd_open(pid, PidfdFlags::empty())
}

/// Returns whether a process or thread has this id now. A zombie counts: it has its id until it is reaped.
pub(crate) fn exists(id: u32) -> bool {
    to_pid(id).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Returns whether all threads of the process have ended, reaped or not.
pub(super) fn has_ended(pidfd: impl AsFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
    let at_once = Timespec::default();
    loop {
        match poll(&mut polled, Some(&at_once)) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(ready) => return Ok(ready > 0),
        }
    }
}

/// Returns whether a process has ended, even if `RLIMIT_NOFILE` was lowered to 0 and `poll(2)` accepts no descriptor.
/// Without `poll(2)`, a child has ended if `waitid(2)` reports it, and any other process once it is reaped.
pub(super) fn has_ended_without_poll(pidfd: &OwnedFd, pid: Pid) -> bool {
    has_ended(pidfd).unwrap_or_else(|_| {
        let only_ask = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::PidFd(pidfd.as_fd()), only_ask) {
            Ok(status) => status.is_some(),
            Err(_) => test_kill_process(pid) == Err(Errno::SRCH),
        }
    })
}

/// Waits for a child with `options`, reaps it, and returns its exit status. Returns `None` if it still runs, or if it
/// was reaped elsewhere.
pub(super) fn wait(pidfd: &OwnedFd, options: WaitIdOptions) -> io::Result<Option<ExitStatus>> {
    let waited = loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
            Err(Errno::INTR) => {}
            waited => break waited,
        }
    };
    let status = match waited {
        Ok(status) => status,
        Err(Errno::CHILD) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(status.map(|status| {
        // The encoding of wait(2).
        let (code, signal) = (status.exit_status(), status.terminating_signal());
        let core_dumped = if status.dumped() { 0x80 } else { 0 };
        ExitStatus::from_raw(signal.map_or(code.unwrap_or(0) << 8, |signal| signal | core_dumped))
    }))
}

/// Reaps the process if it has ended and is a child of this process. Returns whether the caller is done with it: it was
/// reaped, now or before, by this process or another.
pub(crate) fn reap_if_ended(pidfd: &OwnedFd) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::PidFd(pidfd.as_fd()), options), Ok(Some(_)))
        || pidfd_send_signal(pidfd, Signal::KILL) == Err(Errno::SRCH)
}

/// Returns the id of the process in the namespace of the mounted `/proc`, which may differ from this process's.
pub(super) fn id_in_proc(pidfd: &OwnedFd) -> io::Result<u32> {
    let path = format!("/proc/self/fdinfo/{}", descriptor::number(pidfd));
    let info = std::fs::read_to_string(path)?;
    let id = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    let id = id.and_then(|id| id.trim().parse::<u32>().ok());
    // 0: the process has no id in that namespace.
    id.filter(|&id| id > 0).ok_or(ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_exists_until_it_is_reaped() {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("a child");
        assert!(exists(child.id()));
        let pidfd = open(to_pid(child.id()).expect("an id")).expect("a pidfd");
        assert!(!has_ended(&pidfd).expect("poll"));
        child.kill().expect("kill");
        child.wait().expect("reaped");
        assert!(has_ended(&pidfd).expect("poll"));
        assert!(!exists(child.id()));
        assert!(!exists(0) && !exists(u32::MAX));
    }
}
