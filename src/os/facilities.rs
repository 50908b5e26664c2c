//! What this machine and this process's limits permit, each found out by trying it or by reading what the kernel
//! reports: `memfd_create(2)`, `fcntl(2)`, `pidfd_open(2)`, `futex_waitv(2)`, `statfs(2)`, `getrlimit(2)`, `/proc`.
//!
//! Whatever is made for a trial is gone when the function returns. Owns no state.

use super::budget::MemoryBudget;
use super::memory::{self, MemoryError};
use super::{locks, membarrier, named, pidfd, procfs};
use nix::errno::Errno;
use nix::libc;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::io;

fn as_io(error: MemoryError) -> io::Error {
    match error {
        MemoryError::Os(error) => error,
        MemoryError::OutOfMemory(shortage) => io::Error::other(format!(
            "{} bytes are wanted, and {} are left",
            shortage.wanted, shortage.available
        )),
    }
}

/// Makes a sealed memory file, as an anonymous queue is.
pub(crate) fn try_memory_file() -> io::Result<()> {
    memory::create(4096, 4096).map(drop).map_err(as_io)
}

/// Makes a file in `/dev/shm`, as a named queue is.
pub(crate) fn try_named_file() -> io::Result<()> {
    named::create_unnamed(4096, 4096).map(drop).map_err(as_io)
}

/// Locks a byte with an open-file-description lock, and finds it locked through another description.
pub(crate) fn try_locks() -> io::Result<()> {
    let file = memory::create(4096, 4096).map_err(as_io)?;
    let other = memory::reopen(&file)?;
    if locks::try_lock(&file, 1 << 40)? && locks::is_locked(&other, 1 << 40)? {
        Ok(())
    } else {
        Err(io::Error::other(
            "a lock is not seen by another description",
        ))
    }
}

/// Opens a pidfd of this process.
pub(crate) fn try_pidfd() -> io::Result<()> {
    let me = pidfd::to_pid(std::process::id()).ok_or(io::ErrorKind::InvalidData)?;
    pidfd::open(me).map(drop).map_err(io::Error::from)
}

/// Asks for a wait on several futexes. With none of them, a kernel that has the call refuses the number.
pub(crate) fn try_waitv() -> io::Result<()> {
    let none = core::ptr::null::<libc::c_void>();
    // SAFETY: with no futexes, the kernel reads nothing through the pointers.
    let _ = unsafe { libc::syscall(libc::SYS_futex_waitv, none, 0, 0, none, 0) };
    match Errno::last() {
        Errno::EINVAL => Ok(()),
        error => Err(error.into()),
    }
}

/// Registers for expedited memory barriers. Without them a queue works, and is slower.
pub(crate) fn has_membarrier() -> bool {
    membarrier::register()
}

/// Returns the release of the kernel.
pub(crate) fn kernel() -> String {
    let release = procfs::read("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

/// The file system of named queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SharedMemory {
    pub(crate) total: u64,
    pub(crate) free: u64,
    pub(crate) is_tmpfs: bool,
}

/// Returns the size of `/dev/shm`.
pub(crate) fn shared_memory() -> io::Result<SharedMemory> {
    let found = statfs("/dev/shm")?;
    let unit = u64::try_from(found.block_size()).unwrap_or(0);
    Ok(SharedMemory {
        total: found.blocks().saturating_mul(unit),
        free: found.blocks_available().saturating_mul(unit),
        is_tmpfs: found.filesystem_type() == TMPFS_MAGIC,
    })
}

/// A limit of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Descriptors,
    FileSize,
    AddressSpace,
    LockedMemory,
    Processes,
}

/// Returns a limit of this process that applies now; `None`: unlimited.
pub(crate) fn limit(limit: Limit) -> Option<u64> {
    getrlimit(match limit {
        Limit::Descriptors => Resource::Nofile,
        Limit::FileSize => Resource::Fsize,
        Limit::AddressSpace => Resource::As,
        Limit::LockedMemory => Resource::Memlock,
        Limit::Processes => Resource::Nproc,
    })
    .current
}

/// Returns how many bytes of memory the machine has available, and how many this process's control groups allow;
/// `None`: not known, or unlimited.
pub(crate) fn memory() -> (Option<u64>, Option<u64>) {
    let budget = MemoryBudget::system();
    (budget.machine_available(), budget.cgroup_available())
}

/// Returns whether the kernel gives out no more addresses than it has memory for (`vm.overcommit_memory` is 2).
pub(crate) fn is_commit_strict() -> bool {
    procfs::read("/proc/sys/vm/overcommit_memory").is_ok_and(|text| text.trim() == "2")
}

/// Returns whether `/proc` shows the process ids of this process's namespace.
pub(crate) fn is_proc_own() -> io::Result<bool> {
    procfs::is_own_namespace()
}

/// Returns the `hidepid` option that `/proc` is mounted with, unless it hides nothing.
pub(crate) fn hidden_processes() -> Option<String> {
    let mounts = procfs::read("/proc/self/mountinfo").ok()?;
    let mount = mounts
        .lines()
        .rfind(|line| line.split_ascii_whitespace().nth(4) == Some("/proc"))?;
    let options = mount.rsplit(' ').next()?.split(',');
    let mut hidden = options.filter_map(|option| option.strip_prefix("hidepid="));
    hidden
        .next()
        .filter(|value| !matches!(*value, "0" | "off"))
        .map(str::to_owned)
}

/// Returns whether this process is in a namespace of process ids other than that of process 1; `None`: not known.
pub(crate) fn is_in_namespace() -> Option<bool> {
    let own = fs::read_link("/proc/self/ns/pid").ok()?;
    // The inode of the first namespace is fixed in the kernel (PROC_PID_INIT_INO).
    Some(own.to_str()? != "pid:[4026531836]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_crate_needs_is_here() {
        try_memory_file().expect("memfd");
        try_named_file().expect("/dev/shm");
        try_locks().expect("locks");
        try_pidfd().expect("pidfd");
        assert!(shared_memory().expect("statfs").total > 0);
        assert!(!kernel().is_empty());
        assert!(is_proc_own().expect("/proc"));
    }
}
