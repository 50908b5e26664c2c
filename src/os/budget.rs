//! How much memory may still be taken: what the machine has available, and the head-room of the memory control
//! groups that this process is in.
//!
//! Memory is taken by `fallocate(2)`, which the kernel does not refuse where a group or the machine has no more: it
//! kills somebody instead. So these are asked beforehand. The answer is of that moment, for others take memory too;
//! it makes a typed error of a lack that there is already.
//!
//! What a group could give up at once, its file cache, does not count as used, as it does not in the `MemAvailable`
//! of `proc_meminfo(5)` either. Swap is not counted on. A limit that can't be read is none.

use crate::error::MemoryLimit;
use nix::unistd::{SysconfVar, sysconf};
use rustix::process::{Resource, getrlimit};
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// A limit does not leave what is wanted. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory {
    pub(crate) limit: MemoryLimit,
    pub(crate) wanted: u64,
    pub(crate) available: u64,
}

impl OutOfMemory {
    /// `Ok` if `limit` leaves as much as is wanted.
    pub(crate) fn unless(limit: MemoryLimit, wanted: u64, available: u64) -> Result<(), Self> {
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

/// Where to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryBudget {
    /// The root of the file system, or of a test's stand-in for it.
    root: PathBuf,
}

/// Version 1 of control groups has one hierarchy for each controller, version 2 one for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl MemoryBudget {
    /// Of this system.
    pub(crate) fn of_this_system() -> Self {
        Self { root: "/".into() }
    }

    /// Of a system whose `proc` and `sys` are below `root`.
    #[cfg(test)]
    pub(crate) fn of(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// Whether `wanted` bytes may be taken just now.
    pub(crate) fn check(&self, wanted: u64) -> Result<(), OutOfMemory> {
        if let Some(available) = self.group()
            && !mutant!(GroupLimitIgnored)
        {
            OutOfMemory::unless(MemoryLimit::Cgroup, wanted, available)?;
        }
        if let Some(available) = self.machine() {
            OutOfMemory::unless(MemoryLimit::Machine, wanted, available)?;
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Option<String> {
        read_to_string(self.root.join(path)).ok()
    }

    /// `MemAvailable`.
    fn machine(&self) -> Option<u64> {
        let text = self.read("proc/meminfo")?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
        Some(kibibytes.saturating_mul(1024))
    }

    /// The least head-room of the groups that this process is in, from its own up to the top.
    fn group(&self) -> Option<u64> {
        let (groups, mounts) = (
            self.read("proc/self/cgroup")?,
            self.read("proc/self/mountinfo")?,
        );
        [Version::One, Version::Two]
            .into_iter()
            .filter_map(|version| self.least(version, &own_group(&groups, version)?, &mounts))
            .min()
    }

    fn least(&self, version: Version, group: &str, mounts: &str) -> Option<u64> {
        let (point, below) = place(mounts, version, group)?;
        let top = self.root.join(point.trim_start_matches('/'));
        let own = top.join(below.trim_start_matches('/'));
        own.ancestors()
            .take_while(|folder| folder.starts_with(&top))
            .filter_map(|folder| head_room(folder, version))
            .min()
    }
}

/// The path of this process's group with the memory controller, from the text of `/proc/self/cgroup`, which has a
/// line `number:controllers:path` for each hierarchy, version 2 being number 0 without names; see `cgroups(7)`.
fn own_group(groups: &str, version: Version) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let fits = match version {
            Version::One => controllers.split(',').any(|name| name == "memory"),
            Version::Two => number == "0" && controllers.is_empty(),
        };
        fits.then(|| path.to_owned())
    })
}

/// Where the hierarchy is mounted, and where below that the group is, from the text of `/proc/self/mountinfo`: id,
/// parent, device, root of the mount within its file system, mount point, options, optional fields, a dash, type,
/// source, options of the file system; see `proc_pid_mountinfo(5)`.
fn place<'a>(mounts: &'a str, version: Version, group: &'a str) -> Option<(&'a str, &'a str)> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let fits = match version {
            Version::One => kind == "cgroup" && options.split(',').any(|name| name == "memory"),
            Version::Two => kind == "cgroup2",
        };
        // In a container the mount may show the group itself as its root: then only that one can be seen.
        let below = group.strip_prefix(root.trim_end_matches('/'));
        let below = below.filter(|below| below.is_empty() || below.starts_with('/'));
        fits.then_some((point, below.unwrap_or_default()))
    })
}

/// What the group of `folder` itself may still use. `None`: it has no limit.
fn head_room(folder: &Path, version: Version) -> Option<u64> {
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
    // "max" is no number, and no limit.
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

/// Whether this process may make a file of `length` bytes. To be asked before one is made: beyond `RLIMIT_FSIZE`
/// the kernel does not only refuse, it sends `SIGXFSZ`.
pub(crate) fn check_file_size(length: u64) -> Result<(), OutOfMemory> {
    let most = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    OutOfMemory::unless(MemoryLimit::FileSize, length, most)
}

/// In bytes.
pub(super) fn page_size() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096)
}

/// What to say when `length` bytes could not be mapped for want of room.
pub(crate) fn no_address_space(length: u64) -> OutOfMemory {
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
        // Without a limit it is the processor's own that was met, or that on the number of mappings.
        available: most.map_or(0, |most| most.saturating_sub(used)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::sync::{AtomicU32, Ordering};
    use std::fs::{create_dir_all, remove_dir_all, write};

    /// A stand-in for the file system of a machine, removed on drop.
    pub(crate) struct Machine(pub(crate) PathBuf);

    impl Machine {
        pub(crate) fn new(files: &[(&str, &str)]) -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("workring-machine-{}-{number}", std::process::id());
            let machine = Self(std::env::temp_dir().join(name));
            for (path, text) in files {
                machine.set(path, text);
            }
            machine
        }

        pub(crate) fn set(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            create_dir_all(path.parent().expect("a folder")).expect("a folder");
            write(path, text).expect("a file");
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = remove_dir_all(&self.0);
        }
    }

    fn short(limit: MemoryLimit, wanted: u64, available: u64) -> Result<(), OutOfMemory> {
        Err(OutOfMemory {
            limit,
            wanted,
            available,
        })
    }

    const MEMINFO: &str =
        "MemTotal:  100 kB\nMemFree: 3 kB\nMemAvailable:      64 kB\nBuffers: 0 kB\n";

    #[test]
    fn no_more_than_the_machine_has_available_may_be_taken() {
        let machine = Machine::new(&[("proc/meminfo", MEMINFO)]);
        let supply = MemoryBudget::of(&machine.0);
        assert_eq!(supply.check(64 << 10), Ok(()));
        let refused = supply.check((64 << 10) + 1);
        assert_eq!(
            refused,
            short(MemoryLimit::Machine, (64 << 10) + 1, 64 << 10)
        );
    }

    #[test]
    fn a_machine_that_says_nothing_has_no_limit() {
        let machine = Machine::new(&[("proc/meminfo", "MemAvailable: plenty\n")]);
        assert_eq!(MemoryBudget::of(&machine.0).check(u64::MAX), Ok(()));
        assert_eq!(
            MemoryBudget::of(&machine.0.join("none")).check(u64::MAX),
            Ok(())
        );
    }

    const MOUNTS_2: &str = "22 1 0:20 / /proc rw - proc proc rw\n\
        30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_tightest_group_of_the_hierarchy_counts() {
        let machine = Machine::new(&[
            ("proc/self/cgroup", "0::/outer/inner\n"),
            ("proc/self/mountinfo", MOUNTS_2),
            ("sys/fs/cgroup/outer/memory.max", "1000\n"),
            ("sys/fs/cgroup/outer/memory.current", "900\n"),
            ("sys/fs/cgroup/outer/inner/memory.max", "max\n"),
            ("sys/fs/cgroup/outer/inner/memory.current", "800\n"),
        ]);
        let supply = MemoryBudget::of(&machine.0);
        assert_eq!(supply.check(100), Ok(()));
        assert_eq!(
            supply.check(101),
            short(MemoryLimit::Cgroup, 101, 100),
            "the outer group's limit"
        );
        machine.set("sys/fs/cgroup/outer/inner/memory.max", "830");
        assert_eq!(supply.check(31), short(MemoryLimit::Cgroup, 31, 30));
        let cache = "anon 7\ninactive_file 20\nactive_file 5\ninactive_anon 9\n";
        machine.set("sys/fs/cgroup/outer/inner/memory.stat", cache);
        assert_eq!(supply.check(55), Ok(()), "file cache can go");
        assert_eq!(supply.check(56), short(MemoryLimit::Cgroup, 56, 55));
        machine.set("sys/fs/cgroup/outer/inner/memory.max", "10");
        assert_eq!(supply.check(1), short(MemoryLimit::Cgroup, 1, 0));
    }

    #[test]
    fn groups_of_the_first_version_count_too() {
        let machine = Machine::new(&[
            (
                "proc/self/cgroup",
                "4:cpu,memory:/job\n1:name=systemd:/\n0::/\n",
            ),
            (
                "proc/self/mountinfo",
                "35 31 0:32 / /cg/cpu rw - cgroup cgroup rw,cpu\n\
                 36 31 0:33 / /cg/memory rw,relatime - cgroup cgroup rw,cpu,memory\n",
            ),
            ("cg/memory/job/memory.limit_in_bytes", "5000"),
            ("cg/memory/job/memory.usage_in_bytes", "4000"),
            (
                "cg/memory/job/memory.stat",
                "inactive_file 9\ntotal_inactive_file 500\n",
            ),
            ("cg/memory/memory.limit_in_bytes", "9223372036854771712"),
            ("cg/memory/memory.usage_in_bytes", "7000"),
        ]);
        let supply = MemoryBudget::of(&machine.0);
        assert_eq!(supply.check(1500), Ok(()));
        assert_eq!(supply.check(1501), short(MemoryLimit::Cgroup, 1501, 1500));
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_root() {
        let machine = Machine::new(&[
            ("proc/self/cgroup", "0::/box/42\n"),
            (
                "proc/self/mountinfo",
                "30 22 0:26 /box/42 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
            ),
            ("sys/fs/cgroup/memory.max", "100"),
            ("sys/fs/cgroup/memory.current", "60"),
        ]);
        let refused = MemoryBudget::of(&machine.0).check(41);
        assert_eq!(refused, short(MemoryLimit::Cgroup, 41, 40));
    }

    #[test]
    fn this_system_can_be_asked() {
        let supply = MemoryBudget::of_this_system();
        assert!(supply.machine().is_some_and(|available| available > 0));
        assert_eq!(supply.check(0), Ok(()));
        assert!(supply.check(u64::MAX).is_err());
    }
}
