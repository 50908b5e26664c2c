//! Processes: who we are, and what we have inherited.

use super::descriptor::FIRST;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::fstat;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;

/// Who a process is, as others can check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Process id, low half; start time in clock ticks since boot, high half (modulo 2^32).
    pub(crate) process: u64,
    /// Inode of the process-id namespace.
    pub(crate) pid_namespace: u64,
    /// Inode of the time namespace.
    pub(crate) time_namespace: u64,
}

impl Identity {
    /// The process id.
    pub(crate) fn process_id(&self) -> u32 {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the low half is the process id"
        )]
        {
            self.process as u32
        }
    }

    /// The start time, as [`started`] gives it.
    pub(crate) fn started(&self) -> u32 {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the high half is the start time"
        )]
        {
            (self.process >> 32) as u32
        }
    }
}

/// This process, as others can check it: its id with its start time, for ids are reused, and the namespaces
/// that both are relative to.
pub(crate) fn identity() -> io::Result<Identity> {
    let started = start_time_in("/proc/self/stat").map_err(|error| proc_is_needed(&error))?;
    let namespace =
        std::fs::metadata("/proc/self/ns/pid").map_err(|error| proc_is_needed(&error))?;
    Ok(Identity {
        process: u64::from(started) << 32 | u64::from(std::process::id()),
        pid_namespace: namespace.ino(),
        // Kernels before 5.6 have no time namespaces, and then all processes share one.
        time_namespace: std::fs::metadata("/proc/self/ns/time").map_or(0, |meta| meta.ino()),
    })
}

/// An error of the same kind that names `/proc`, for one about something that lies there.
pub(crate) fn proc_is_needed(error: &io::Error) -> io::Error {
    let said = format!(
        "`/proc`, which shows a process who it is and what it has open, can't be read ({error}): mount it"
    );
    io::Error::new(error.kind(), said)
}

/// When the process of this id was started, in clock ticks since boot, modulo 2^32.
pub(crate) fn started(process_id: u32) -> io::Result<u32> {
    start_time_in(&format!("/proc/{process_id}/stat"))
}

/// Whether `/proc` shows processes by the ids that they have for this one.
pub(crate) fn proc_is_ours() -> bool {
    std::fs::read_link("/proc/self")
        .is_ok_and(|link| link.to_str() == Some(std::process::id().to_string().as_str()))
}

fn start_time_in(path: &str) -> io::Result<u32> {
    let started = start_time(&std::fs::read_to_string(path)?);
    let started = started.ok_or(io::Error::other("a process without a start time"))?;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "modulo 2^32, as documented"
    )]
    Ok(started as u32)
}

/// Field 22 of `proc_pid_stat(5)`, in clock ticks since boot. The name, field 2, may hold anything, so count
/// from its closing parenthesis.
fn start_time(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?
        .1
        .split_ascii_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

/// Which file this is, whatever number it has: another process can check that it has got the very one.
pub(crate) fn inode(file: impl AsFd) -> io::Result<u64> {
    Ok(fstat(file)?.st_ino)
}

/// Take over a descriptor that this program was started with, and see to it that no other program inherits
/// it. An error if there is none of that number, or it is another file than that of `inode`.
///
/// The caller must make sure to take each number only once.
pub(crate) fn take_inherited(file: RawFd, inode: u64) -> io::Result<OwnedFd> {
    if file < FIRST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    {
        // SAFETY: only lent to these calls, which fail if it is not open.
        let file = unsafe { BorrowedFd::borrow_raw(file) };
        if self::inode(file)? != inode {
            return Err(io::ErrorKind::NotFound.into());
        }
        fcntl(file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    // SAFETY: it is open, it is the very file that this program was given by its parent to own, and it is
    // taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}

/// Another descriptor of one that this program was started with. An error if there is none of that number, or it is
/// another file than that of `inode`.
pub(crate) fn duplicate_inherited(file: RawFd, inode: u64) -> io::Result<OwnedFd> {
    if file < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: only lent to these calls, which fail if it is not open.
    let file = unsafe { BorrowedFd::borrow_raw(file) };
    if self::inode(file)? != inode {
        return Err(io::ErrorKind::NotFound.into());
    }
    file.try_clone_to_owned()
}

/// The number that a child will find this descriptor under.
pub(crate) fn number(file: impl AsFd) -> RawFd {
    file.as_fd().as_raw_fd()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_whatever_the_program_is_called() {
        let stat = "42 (a) b (c) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(start_time(stat), Some(4711));
    }

    #[test]
    fn a_process_is_identical_with_itself() {
        assert_eq!(identity().expect("/proc"), identity().expect("/proc"));
    }
}
