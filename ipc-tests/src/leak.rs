//! Fails a test that leaves something behind: a thread, descriptor, shared mapping, child process, or file in
//! `/dev/shm`.
//!
//! The guard compares a snapshot of this process before the test with one after it. The process runs one test only
//! (see [`isolation`](crate::isolation)).
//!
//! LEAK-1. A difference counts only if it lasts for `PATIENCE`: the kernel still lists a thread for a moment after it
//!     was joined.
//! LEAK-2. Mappings are compared by their number for each file, since a new mapping may get an old one's address.

use crate::procfs::{Stat, children, threads};
use nix::unistd::Pid;
use std::{
    collections::BTreeMap,
    fs::{self, DirEntry},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(3);

/// The guard compares only files of `/dev/shm` whose name contains this and, as one of its numbers, the id of this
/// process. Other programs, and other tests at the same time, have files there, too.
pub const SHM_MARK: &str = "workring";

/// Compares this process at the end of its life with what it was at the start.
#[must_use = "a guard compares when it is dropped"]
#[derive(Debug)]
pub struct LeakGuard {
    before: Snapshot,
    patience: Duration,
}

impl LeakGuard {
    /// Takes the snapshot to compare with.
    pub fn new() -> Self {
        Self {
            before: Snapshot::take(),
            patience: PATIENCE,
        }
    }

    /// Panics with a list of all that was left behind. A drop does the same, unless the thread is panicking.
    pub fn check(self) {
        drop(self);
    }

    /// Returns the differences that last (LEAK-1).
    fn differences(&self) -> Vec<String> {
        let deadline = Instant::now() + self.patience;
        loop {
            let found = self.before.compare(&Snapshot::take());
            if found.is_empty() || Instant::now() >= deadline {
                return found;
            }
            thread::yield_now();
        }
    }
}

impl Default for LeakGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for LeakGuard {
    fn drop(&mut self) {
        let found = if thread::panicking() {
            Vec::new()
        } else {
            self.differences()
        };
        assert!(
            found.is_empty(),
            "the test left something behind:\n  {}",
            found.join("\n  ")
        );
    }
}

/// The name of a thing, by which snapshots compare it, and details for the message.
type Item = (String, String);

/// The number of things of each name, and their details.
#[derive(Debug)]
struct Snapshot(BTreeMap<String, (usize, String)>);

impl Snapshot {
    fn take() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let (shared, files) = (shared_maps(&maps), shm_files());
        let mut items = BTreeMap::new();
        for (item, detail) in [thread_list(), child_list(), descriptors(), shared, files].concat() {
            items.entry(item).or_insert((0, detail)).0 += 1;
        }
        Self(items)
    }

    /// Lists what is new, and the descriptors and mappings that are gone: a test must not close what it did not open.
    fn compare(&self, after: &Self) -> Vec<String> {
        let new = after.beyond(self).map(|line| format!("new: {line}"));
        let gone = self.beyond(after).map(|line| format!("gone: {line}"));
        let own = ["gone: fd", "gone: map"];
        new.chain(gone.filter(|line| own.iter().any(|kind| line.starts_with(kind))))
            .collect()
    }

    /// Lists what this snapshot has more of than the other.
    fn beyond(&self, other: &Self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|(item, (count, detail))| {
            let other = other.0.get(item).map_or(0, |(count, _)| *count);
            (*count > other).then(|| format!("{item}{detail} ({count}, not {other})"))
        })
    }
}

fn thread_list() -> Vec<Item> {
    let describe = |thread: Pid| {
        let stat = Stat::of_thread(Pid::this(), thread)?;
        Some((format!("thread {thread}"), format!(" ({})", stat.name)))
    };
    threads(Pid::this())
        .into_iter()
        .filter_map(describe)
        .collect()
}

fn child_list() -> Vec<Item> {
    let describe = |child: Pid| {
        let stat = Stat::of(child)?;
        let zombie = if stat.state == "Z" { ", zombie" } else { "" };
        Some((
            format!("child {child}"),
            format!(" ({}){zombie}", stat.name),
        ))
    };
    let found = children(Pid::this());
    found.into_iter().filter_map(describe).collect()
}

fn descriptors() -> Vec<Item> {
    let listing = PathBuf::from(format!("/proc/{}/fd", Pid::this()));
    let describe = |entry: DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        let item = format!("fd {} to {}", entry.file_name().display(), target.display());
        (target != listing).then(|| (item, String::new()))
    };
    entries("/proc/self/fd").filter_map(describe).collect()
}

/// Lists the mappings that other processes can see: shared ones, memfds, files of `/dev/shm`, and files without a name.
fn shared_maps(maps: &str) -> Vec<Item> {
    let describe = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, permissions, _, device, inode, path @ ..] = fields.as_slice() else {
            return None;
        };
        let path = path.join(" ");
        let visible = permissions.ends_with('s')
            || path.starts_with("/memfd:")
            || path.starts_with("/dev/shm/")
            || path.ends_with("(deleted)");
        visible.then(|| {
            (
                format!("map of {path}, device {device}, inode {inode}"),
                String::new(),
            )
        })
    };
    maps.lines().filter_map(describe).collect()
}

fn shm_files() -> Vec<Item> {
    let names = entries("/dev/shm").map(|entry| entry.file_name().display().to_string());
    let marked = names.filter(|name| name.contains(SHM_MARK));
    let me = Pid::this().to_string();
    let is_mine = |name: &String| name.split(|c: char| !c.is_ascii_digit()).any(|id| id == me);
    marked
        .filter(is_mine)
        .map(|name| (format!("file /dev/shm/{name}"), String::new()))
        .collect()
}

fn entries(directory: &str) -> impl Iterator<Item = DirEntry> {
    fs::read_dir(directory).into_iter().flatten().flatten()
}

#[cfg(test)]
mod tests {
    //! Each test leaves something behind on purpose, sees the guard fail, and cleans up. Every other test shows that
    //! the guard does not fail otherwise.

    use super::*;
    use crate::guarded;
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    use std::{
        fs::File,
        panic::{AssertUnwindSafe, catch_unwind},
        process::Command,
        sync::mpsc::channel,
    };

    const LIMIT: Duration = Duration::from_mins(1);

    /// Makes a leak, cleans it up, and returns what the comparison in between has found.
    fn differences<L>(make: impl FnOnce() -> L, clean_up: impl FnOnce(L)) -> String {
        let before = Snapshot::take();
        let leak = make();
        let found = before.compare(&Snapshot::take());
        clean_up(leak);
        found.join("\n")
    }

    #[test]
    fn a_guard_fails_the_test_that_leaves_a_thread() {
        guarded(LIMIT, || {
            let mut guard = LeakGuard::new();
            guard.patience = Duration::ZERO;
            let (hang_up, line) = channel::<()>();
            let left = thread::Builder::new()
                .name("left".into())
                .spawn(move || line.recv())
                .expect("spawn");
            while !guard.differences().join(" ").contains("(left)") {
                thread::yield_now(); // Until the new thread has given itself its name.
            }
            let panic =
                catch_unwind(AssertUnwindSafe(|| guard.check())).expect_err("no leak was found");
            drop(hang_up);
            left.join().expect("join").expect_err("hung up");
            let text = panic.downcast::<String>().expect("a formatted message");
            assert!(
                text.contains("new: thread") && text.contains("(left)"),
                "{text}"
            );
        });
    }

    #[test]
    fn a_descriptor_is_named_by_its_target() {
        guarded(LIMIT, || {
            let text = differences(|| File::open("/proc/self/status").expect("open"), drop);
            assert!(
                text.contains("new: fd") && text.contains("/status"),
                "{text}"
            );
        });
    }

    #[test]
    fn a_descriptor_that_is_gone_is_reported() {
        guarded(LIMIT, || {
            let file = File::open("/proc/self/status").expect("open");
            let before = Snapshot::take();
            drop(file);
            let text = before.compare(&Snapshot::take()).join("\n");
            assert!(
                text.contains("gone: fd") && text.contains("/status"),
                "{text}"
            );
        });
    }

    #[test]
    fn a_zombie_is_a_leak() {
        guarded(LIMIT, || {
            let make = || {
                let child = Command::new("true").spawn().expect("spawn");
                let pid = Pid::from_raw(child.id().try_into().expect("a pid"));
                waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("wait");
                child
            };
            let text = differences(make, |mut child| {
                assert!(child.wait().expect("reap").success());
            });
            assert!(
                text.contains("new: child") && text.contains("(true), zombie"),
                "{text}"
            );
        });
    }

    #[test]
    fn a_file_in_dev_shm_is_a_leak() {
        guarded(LIMIT, || {
            let path = format!("/dev/shm/{SHM_MARK}-leak-test-{}", Pid::this());
            let make = || drop(File::create(&path).expect("create"));
            let text = differences(make, |()| fs::remove_file(&path).expect("remove"));
            assert!(text.contains(&format!("new: file {path}")), "{text}");
        });
    }

    #[test]
    fn a_file_of_another_test_process_is_no_leak() {
        guarded(LIMIT, || {
            let path = format!("/dev/shm/{SHM_MARK}-leak-test-0{}", Pid::this());
            let make = || drop(File::create(&path).expect("create"));
            let text = differences(make, |()| fs::remove_file(&path).expect("remove"));
            assert_eq!(text, "");
        });
    }

    #[test]
    fn only_shared_mappings_count() {
        let maps = "\
            7f0-7f1 r-xp 00000000 fe:00 1043 /usr/lib/libc.so.6\n\
            7f1-7f2 rw-p 00000000 00:00 0\n\
            7f2-7f3 rw-s 00000000 00:01 2052 /memfd:work ring (deleted)\n\
            7f3-7f4 rw-s 00000000 00:01 2052 /memfd:work ring (deleted)\n\
            7f4-7f5 r--p 00000000 00:1c 9 /dev/shm/workring-x\n";
        let memfd = "map of /memfd:work ring (deleted), device 00:01, inode 2052";
        let named = "map of /dev/shm/workring-x, device 00:1c, inode 9";
        let found: Vec<String> = shared_maps(maps)
            .into_iter()
            .map(|(item, _)| item)
            .collect();
        assert_eq!(found, [memfd, memfd, named]);
    }
}
