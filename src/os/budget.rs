//! How much memory is left: `MemAvailable` of the machine, the memory control groups of this process, and the limits
//! `RLIMIT_FSIZE` and `RLIMIT_AS` (`getrlimit(2)`).
//!
//! Memory is allocated by `fallocate(2)`. If a group or the machine has no more, the kernel does not refuse: it kills
//! some process. So [`MemoryBudget::check`] reads the limits before. Its answer is that of one moment, since other
//! processes allocate memory too; it turns a lack that exists already into a typed error.
//!
//! A group's file cache, which the kernel can free at once, does not count as used, the same as in `MemAvailable`
//! (`proc_meminfo(5)`). Swap space does not count as available. A limit that can't be read is taken for none.
//!
//! This module owns no state.

use crate::error::MemoryLimit;
use nix::unistd::{SysconfVar, sysconf};
use rustix::process::{Resource, getrlimit};
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Error: a limit leaves less than is wanted. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory {
    pub(crate) limit: MemoryLimit,
    pub(crate) wanted: u64,
    pub(crate) available: u64,
}

impl OutOfMemory {
    /// Returns an error if less is available than wanted.
    pub(crate) fn check(limit: MemoryLimit, wanted: u64, available: u64) -> Result<(), Self> {
        if wanted <= available {
            return Ok(());
        }
        Err(Self {
            limit,
            wanted,
            available,
        })
    }
}

/// Where to read limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryBudget {
    /// The root of the file system, or a folder in which a test imitates it.
    root: PathBuf,
}

/// Version of control groups: version 1 has one hierarchy for each controller, version 2 one for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl MemoryBudget {
    /// Returns the budget of this system.
    pub(crate) fn system() -> Self {
        Self { root: "/".into() }
    }

    /// Returns the budget of a system whose `proc` and `sys` lie below `root`.
    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// Checks that `wanted` bytes can be allocated now.
    pub(crate) fn check(&self, wanted: u64) -> Result<(), OutOfMemory> {
        if let Some(available) = self.group()
            && !mutant!(GroupLimitIgnored)
        {
            OutOfMemory::check(MemoryLimit::Cgroup, wanted, available)?;
        }
        if let Some(available) = self.machine() {
            OutOfMemory::check(MemoryLimit::Machine, wanted, available)?;
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Option<String> {
        read_to_string(self.root.join(path)).ok()
    }

    /// Returns `MemAvailable`.
    fn machine(&self) -> Option<u64> {
        let text = self.read("proc/meminfo")?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
        Some(kibibytes.saturating_mul(1024))
    }

    /// Returns the smallest headroom of the groups that this process is in, from its own up to the root of the
    /// hierarchy.
    fn group(&self) -> Option<u64> {
        let (groups, mounts) = (
            self.read("proc/self/cgroup")?,
            self.read("proc/self/mountinfo")?,
        );
        [Version::One, Version::Two]
            .into_iter()
            .filter_map(|version| self.headroom_in(version, &own_group(&groups, version)?, &mounts))
            .min()
    }

    fn headroom_in(&self, version: Version, group: &str, mounts: &str) -> Option<u64> {
        let (point, below) = mount_of(mounts, version, group)?;
        let top = self.root.join(point.trim_start_matches('/'));
        let own = top.join(below.trim_start_matches('/'));
        own.ancestors()
            .take_while(|folder| folder.starts_with(&top))
            .filter_map(|folder| headroom(folder, version))
            .min()
    }
}

/// Returns the path of this process's group with the memory controller, from the text of `/proc/self/cgroup`. That has
/// a line `number:controllers:path` for each hierarchy; version 2 is number 0 without controllers. See `cgroups(7)`.
fn own_group(groups: &str, version: Version) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let matches = match version {
            Version::One => controllers.split(',').any(|name| name == "memory"),
            Version::Two => number == "0" && controllers.is_empty(),
        };
        matches.then(|| path.to_owned())
    })
}

/// Returns the mount point of the hierarchy, and the path of the group below it, from the text of
/// `/proc/self/mountinfo`. Fields of a line: id, parent, device, root of the mount within its file system, mount point,
/// options, optional fields, a dash, type, source, options of the file system. See `proc_pid_mountinfo(5)`.
fn mount_of<'a>(mounts: &'a str, version: Version, group: &'a str) -> Option<(&'a str, &'a str)> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let matches = match version {
            Version::One => kind == "cgroup" && options.split(',').any(|name| name == "memory"),
            Version::Two => kind == "cgroup2",
        };
        // In a container the group itself may be the root of the mount. Then only this group can be seen.
        let below = group.strip_prefix(root.trim_end_matches('/'));
        let below = below.filter(|below| below.is_empty() || below.starts_with('/'));
        matches.then_some((point, below.unwrap_or_default()))
    })
}

/// Returns how much memory the group of `folder` may still allocate; `None` if it has no limit.
fn headroom(folder: &Path, version: Version) -> Option<u64> {
    let (limit, usage, cache) = match version {
        Version::One => (
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            ["total_inactive_file ", "total_active_file "],
        ),
        Version::Two => (
            "memory.max",
            "memory.current",
            ["inactive_file ", "active_file "],
        ),
    };
    let number =
        |name| -> Option<u64> { read_to_string(folder.join(name)).ok()?.trim().parse().ok() };
    // "max" is not a number, and means no limit.
    let (limit, used) = (number(limit)?, number(usage)?);
    let statistics = read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let entries = statistics
        .lines()
        .filter_map(|line| cache.iter().find_map(|name| line.strip_prefix(name)));
    let cached: u64 = entries
        .filter_map(|value| value.trim().parse::<u64>().ok())
        .sum();
    Some(limit.saturating_sub(used.saturating_sub(cached)))
}

/// Checks that this process may create a file of `length` bytes. Call it before creating one: beyond `RLIMIT_FSIZE` the
/// kernel does not only refuse, it also sends `SIGXFSZ`.
pub(super) fn check_file_size(length: u64) -> Result<(), OutOfMemory> {
    let most = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    OutOfMemory::check(MemoryLimit::FileSize, length, most)
}

/// Returns the size of a page in bytes.
pub(super) fn page_size() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096)
}

/// Returns the error for a mapping of `length` bytes for which there is no address space left.
pub(super) fn no_address_space(length: u64) -> OutOfMemory {
    let statistics = read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statistics
        .split(' ')
        .next()
        .and_then(|pages| pages.parse::<u64>().ok());
    let used = pages.unwrap_or(0).saturating_mul(page_size());
    let most = getrlimit(Resource::As).current;
    OutOfMemory {
        limit: MemoryLimit::AddressSpace,
        wanted: length,
        // Without `RLIMIT_AS` it was the processor's limit, or that of the number of mappings.
        available: most.map_or(0, |most| most.saturating_sub(used)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
