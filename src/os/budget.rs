//! How much memory is left under each limit of the kernel, and the error that names the limit.
//!
//! | limit                                              | read by                 | when                       |
//! |----------------------------------------------------|-------------------------|----------------------------|
//! | this process's memory cgroups, and `MemAvailable`  | [`MemoryBudget::check`] | before memory is allocated |
//! | `RLIMIT_FSIZE` (`getrlimit(2)`)                    | [`check_file_size`]     | before a file is created   |
//! | `RLIMIT_AS`                                        | [`no_address_space`]    | after `mmap(2)` has failed |
//!
//! The crate allocates memory with `fallocate(2)`. When a cgroup or the machine runs out, that call does not fail: the
//! kernel kills some process. So the limits are compared with the request first. The answer may be out of date at once,
//! because other processes allocate too; it only turns a shortage that already exists into an error.
//!
//! As in `MemAvailable` (`proc_meminfo(5)`), a cgroup's file cache does not count as used, because the kernel can
//! reclaim it. Swap space does not count as available. If a limit cannot be read, it is treated as absent.
//!
//! This module owns no state.

use super::procfs;
use crate::error::{MemoryLimit, OutOfMemory};
use nix::unistd::{SysconfVar, sysconf};
use rustix::process::{Resource, getrlimit};
use std::path::{Path, PathBuf};

/// Reads the memory limits of this system; in tests, of a folder that imitates `/proc` and `/sys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryBudget {
    /// The root of the file system, or a folder in which a test imitates it.
    root: PathBuf,
}

/// The version of cgroups: version 1 has one hierarchy for each controller, version 2 one for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CgroupVersion {
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
        if let Some(available) = self.cgroup_available()
            && !mutant!(GroupLimitIgnored)
        {
            OutOfMemory::check(MemoryLimit::Cgroup, wanted, available)?;
        }
        if let Some(available) = self.machine_available() {
            OutOfMemory::check(MemoryLimit::Machine, wanted, available)?;
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Option<String> {
        procfs::read(self.root.join(path)).ok()
    }

    /// Returns the machine's `MemAvailable`, in bytes.
    pub(super) fn machine_available(&self) -> Option<u64> {
        let text = self.read("proc/meminfo")?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
        Some(kibibytes.saturating_mul(1024))
    }

    /// Returns how many bytes this process's cgroup and its ancestors still allow: the smallest of these numbers.
    /// Returns
    /// `None` if none has a limit.
    pub(super) fn cgroup_available(&self) -> Option<u64> {
        let (groups, mounts) = (
            self.read("proc/self/cgroup")?,
            self.read("proc/self/mountinfo")?,
        );
        [CgroupVersion::One, CgroupVersion::Two]
            .into_iter()
            .filter_map(|version| {
                self.headroom_in(version, &own_cgroup(&groups, version)?, &mounts)
            })
            .min()
    }

    /// Returns the same for one version, of which `group` is the cgroup of this process.
    fn headroom_in(&self, version: CgroupVersion, group: &str, mounts: &str) -> Option<u64> {
        let (mount_point, below) = mount_of(mounts, version, group)?;
        let top = self.root.join(mount_point.trim_start_matches('/'));
        let own = top.join(below.trim_start_matches('/'));
        own.ancestors()
            .take_while(|folder| folder.starts_with(&top))
            .filter_map(|folder| headroom(folder, version))
            .min()
    }
}

/// Returns the path of this process's cgroup with the memory controller, from the text of `/proc/self/cgroup`. That has
/// a line `number:controllers:path` for each hierarchy; version 2 is number 0 without controllers. See `cgroups(7)`.
fn own_cgroup(groups: &str, version: CgroupVersion) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let matches = match version {
            CgroupVersion::One => controllers.split(',').any(|name| name == "memory"),
            CgroupVersion::Two => number == "0" && controllers.is_empty(),
        };
        matches.then(|| path.to_owned())
    })
}

/// Returns the mount point of the hierarchy, and the path of the cgroup below it, from the text of
/// `/proc/self/mountinfo`. Fields of a line: id, parent, device, root of the mount within its file system, mount point,
/// options, optional fields, a dash, type, source, options of the file system. See `proc_pid_mountinfo(5)`.
fn mount_of<'a>(
    mounts: &'a str,
    version: CgroupVersion,
    group: &'a str,
) -> Option<(&'a str, &'a str)> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, mount_point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let matches = match version {
            CgroupVersion::One => {
                kind == "cgroup" && options.split(',').any(|name| name == "memory")
            }
            CgroupVersion::Two => kind == "cgroup2",
        };
        // In a container, the mount's root may be this cgroup, or one that `/proc/self/cgroup` names differently. Then
        // `below` is empty, and only the mount's root is read.
        let below = group.strip_prefix(root.trim_end_matches('/'));
        let below = below.filter(|below| below.is_empty() || below.starts_with('/'));
        matches.then_some((mount_point, below.unwrap_or_default()))
    })
}

/// A cgroup whose limit is not below this has none: no machine has as much memory.
const NO_LIMIT: u64 = 1 << 60;

/// Returns how many bytes the cgroup at `folder` may still allocate; `None` if it has no limit.
fn headroom(folder: &Path, version: CgroupVersion) -> Option<u64> {
    let (limit, usage, cache) = match version {
        CgroupVersion::One => (
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            ["total_inactive_file ", "total_active_file "],
        ),
        CgroupVersion::Two => (
            "memory.max",
            "memory.current",
            ["inactive_file ", "active_file "],
        ),
    };
    let number =
        |name| -> Option<u64> { procfs::read(folder.join(name)).ok()?.trim().parse().ok() };
    // "max" is not a number, and means no limit. So does a number near the largest one in version 1.
    let limit = number(limit).filter(|&limit| limit < NO_LIMIT)?;
    let used = number(usage)?;
    let statistics = procfs::read(folder.join("memory.stat")).unwrap_or_default();
    let entries = statistics
        .lines()
        .filter_map(|line| cache.iter().find_map(|name| line.strip_prefix(name)));
    let cached: u64 = entries
        .filter_map(|value| value.trim().parse::<u64>().ok())
        .sum();
    Some(limit.saturating_sub(used.saturating_sub(cached)))
}

/// Checks that this process may create a file of `length` bytes. Call it before creating one: above `RLIMIT_FSIZE` the
/// kernel also sends `SIGXFSZ`, which kills the process by default.
pub(crate) fn check_file_size(length: u64) -> Result<(), OutOfMemory> {
    let limit = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    OutOfMemory::check(MemoryLimit::FileSize, length, limit)
}

/// Returns the size of a page in bytes.
pub(super) fn page_size() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096)
}

/// Returns the error to report after `mmap` of `length` bytes has failed with `ENOMEM`.
pub(super) fn no_address_space(length: u64) -> OutOfMemory {
    let statistics = procfs::read("/proc/self/statm").unwrap_or_default();
    let pages = statistics
        .split(' ')
        .next()
        .and_then(|pages| pages.parse::<u64>().ok());
    let used = pages.unwrap_or(0).saturating_mul(page_size());
    let most = getrlimit(Resource::As).current;
    OutOfMemory {
        limit: MemoryLimit::AddressSpace,
        wanted: length,
        // If `RLIMIT_AS` is not set, `mmap` failed for another reason: the address space of the processor, or
        // `vm.max_map_count`. Then 0 is reported.
        available: most.map_or(0, |most| most.saturating_sub(used)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
