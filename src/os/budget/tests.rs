//! Budgets of imitated machines: folders with the files that the kernel would show.

use super::*;
use crate::sync::{AtomicU32, Ordering};
use std::fs::{create_dir_all, remove_dir_all, write};

/// A folder that imitates the file system of a machine. Removed on drop.
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

fn out_of_memory(limit: MemoryLimit, wanted: u64, available: u64) -> Result<(), OutOfMemory> {
    Err(OutOfMemory {
        limit,
        wanted,
        available,
    })
}

const MEMINFO: &str = "MemTotal:  100 kB\nMemFree: 3 kB\nMemAvailable:      64 kB\nBuffers: 0 kB\n";

#[test]
fn at_most_the_available_memory_of_the_machine_can_be_allocated() {
    let machine = Machine::new(&[("proc/meminfo", MEMINFO)]);
    let budget = MemoryBudget::at(&machine.0);
    assert_eq!(budget.check(64 << 10), Ok(()));
    let error = budget.check((64 << 10) + 1);
    assert_eq!(
        error,
        out_of_memory(MemoryLimit::Machine, (64 << 10) + 1, 64 << 10)
    );
}

#[test]
fn a_machine_whose_files_can_not_be_read_has_no_limit() {
    let machine = Machine::new(&[("proc/meminfo", "MemAvailable: plenty\n")]);
    assert_eq!(MemoryBudget::at(&machine.0).check(u64::MAX), Ok(()));
    assert_eq!(
        MemoryBudget::at(&machine.0.join("none")).check(u64::MAX),
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
    let budget = MemoryBudget::at(&machine.0);
    assert_eq!(budget.check(100), Ok(()));
    assert_eq!(
        budget.check(101),
        out_of_memory(MemoryLimit::Cgroup, 101, 100),
        "the outer group's limit"
    );
    machine.set("sys/fs/cgroup/outer/inner/memory.max", "830");
    assert_eq!(budget.check(31), out_of_memory(MemoryLimit::Cgroup, 31, 30));
    let cache = "anon 7\ninactive_file 20\nactive_file 5\ninactive_anon 9\n";
    machine.set("sys/fs/cgroup/outer/inner/memory.stat", cache);
    assert_eq!(budget.check(55), Ok(()), "file cache counts as available");
    assert_eq!(budget.check(56), out_of_memory(MemoryLimit::Cgroup, 56, 55));
    machine.set("sys/fs/cgroup/outer/inner/memory.max", "10");
    assert_eq!(budget.check(1), out_of_memory(MemoryLimit::Cgroup, 1, 0));
}

#[test]
fn groups_of_version_1_count_too() {
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
    let budget = MemoryBudget::at(&machine.0);
    assert_eq!(budget.check(1500), Ok(()));
    assert_eq!(
        budget.check(1501),
        out_of_memory(MemoryLimit::Cgroup, 1501, 1500)
    );
}

#[test]
fn in_a_container_the_root_of_the_mount_is_the_own_group() {
    let machine = Machine::new(&[
        ("proc/self/cgroup", "0::/box/42\n"),
        (
            "proc/self/mountinfo",
            "30 22 0:26 /box/42 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        ),
        ("sys/fs/cgroup/memory.max", "100"),
        ("sys/fs/cgroup/memory.current", "60"),
    ]);
    let error = MemoryBudget::at(&machine.0).check(41);
    assert_eq!(error, out_of_memory(MemoryLimit::Cgroup, 41, 40));
}

#[test]
fn the_budget_of_this_system_can_be_read() {
    let budget = MemoryBudget::system();
    assert!(
        budget
            .machine_available()
            .is_some_and(|available| available > 0)
    );
    assert_eq!(budget.check(0), Ok(()));
    assert!(budget.check(u64::MAX).is_err());
}
