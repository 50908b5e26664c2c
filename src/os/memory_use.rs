//! Memory of processes: resident size from `/proc/ID/statm`, and the limit `RLIMIT_AS` of this process's address space.
//!
//! This module owns no state.

use super::{budget, pidfd};
use rustix::process::{Resource, Rlimit, getpid, getrlimit, setrlimit};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

/// Returns the resident memory of a process in bytes, shared memory included; 0 once it has ended.
pub(super) fn of(process: &OwnedFd) -> io::Result<u64> {
    of_id(pidfd::id_in_proc(process)?)
}

/// Returns the same as [`of`], by the id that `/proc` shows.
pub(super) fn of_id(id: u32) -> io::Result<u64> {
    read(&format!("/proc/{id}/statm"))
}

/// Returns the same as [`of`] for this process, even where the mounted `/proc` is that of another namespace of process
/// ids.
pub(crate) fn own() -> io::Result<u64> {
    read("/proc/self/statm")
}

fn read(path: &str) -> io::Result<u64> {
    let statistics = std::fs::read_to_string(path)?;
    let pages = statistics.split(' ').nth(1).map(str::parse::<u64>);
    let Some(Ok(pages)) = pages else {
        return Err(ErrorKind::InvalidData.into());
    };
    Ok(pages.saturating_mul(budget::page_size()))
}

/// Checks that this process can read the resident memory of other processes.
pub(crate) fn check_readable() -> io::Result<()> {
    of(&pidfd::open(getpid())?).map(drop)
}

/// Limits the address space of this process to `bytes`, or to its hard limit if that is less. The limit cannot be
/// raised again.
pub(crate) fn limit_address_space(bytes: u64) -> io::Result<()> {
    let allowed = getrlimit(Resource::As).maximum.unwrap_or(u64::MAX);
    let bytes = Some(bytes.min(allowed));
    let limit = Rlimit {
        current: bytes,
        maximum: bytes,
    };
    Ok(setrlimit(Resource::As, limit)?)
}
