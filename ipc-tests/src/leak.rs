//! Fails a test that leaves something behind: threads, descriptors, shared mappings, children, files in `/dev/shm`.
//!
//! A snapshot before is compared with one after. Both are of the whole process, in which `cargo test` runs other
//! tests at the same time, hence the rules:
//!
//! LEAK-1. A guard holds one lock of the whole process: guarded tests run one at a time.
//! LEAK-2. A thread enters itself in `TEST_THREADS` before it waits for that lock: who waits there was started by the
//!     test harness and is not a leak. It is struck out just before it releases the lock, hence before the next
//!     guard takes its first snapshot, which then either shows that thread or never will.
//! LEAK-3. What is there for a moment only is no leak: a thread of the test harness that has yet to reach LEAK-2, or a
//!     thread that was joined while the kernel still clears it away. So differences count only once they have
//!     lasted for `PATIENCE`. A test without a guard, in a binary where others have one, must be shorter than
//!     that, open no descriptor and start no process.
//! LEAK-4. The address of a mapping means nothing, so mappings are compared by count for each file.

use crate::{
    procfs::{Stat, children, threads},
    watchdog::Watchdog,
};
use nix::unistd::{Pid, gettid};
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirEntry},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
static TEST_THREADS: Mutex<BTreeSet<Pid>> = Mutex::new(BTreeSet::new());
const PATIENCE: Duration = Duration::from_secs(3);

/// Only files in `/dev/shm` whose name contains this, and the process id of the test among its numbers, are compared:
/// other programs use the directory, too, and other tests at the same time.
pub const SHM_MARK: &str = "workring";

/// Runs the body of a test alone among the guarded tests of this process, under a watchdog, and fails if the body
/// leaves something behind. The limit does not include the time spent waiting for other tests.
pub fn guarded(limit: Duration, body: impl FnOnce()) {
    guarded_steps(limit, |_| body());
}

/// As [`guarded`], for a body that takes many steps and tells the watchdog of each: the limit is for one of them.
pub fn guarded_steps(limit: Duration, body: impl FnOnce(&Watchdog)) {
    let guard = LeakGuard::new();
    let watchdog = Watchdog::start(limit);
    body(&watchdog);
    drop(watchdog);
    guard.check();
}

/// While this lives no other guarded test of this process runs; afterwards all must be as it was.
#[must_use = "a guard compares when it is dropped"]
#[derive(Debug)]
pub struct LeakGuard {
    before: Snapshot,
    patience: Duration,
    _turn: Turn,
}

impl LeakGuard {
    /// Waits until no other guard lives, then takes the snapshot to compare with.
    pub fn new() -> Self {
        let turn = Turn::wait();
        Self {
            before: Snapshot::take(),
            patience: PATIENCE,
            _turn: turn,
        }
    }

    /// Panics with a list of all that was left behind. A drop does the same, unless the thread is panicking.
    pub fn check(self) {
        drop(self);
    }

    /// The differences that last, see LEAK-3.
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

/// The lock of LEAK-1, and the entry of LEAK-2.
#[derive(Debug)]
struct Turn {
    _alone: MutexGuard<'static, ()>,
}

impl Turn {
    fn wait() -> Self {
        TEST_THREADS.lock().insert(gettid());
        Self {
            _alone: ONE_AT_A_TIME.lock(),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // The field, and with it the lock, goes after this.
        TEST_THREADS.lock().remove(&gettid());
    }
}

/// Something that there is: what makes it the same one at another time, and what else is worth telling.
type Item = (String, String);

/// What there is: how often, and what else is worth telling.
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

    /// What is new, and which descriptors and mappings are gone: the test had no right to close those.
    fn compare(&self, after: &Self) -> Vec<String> {
        let new = after.beyond(self).map(|line| format!("new: {line}"));
        let gone = self.beyond(after).map(|line| format!("gone: {line}"));
        let own = ["gone: fd", "gone: map"];
        new.chain(gone.filter(|line| own.iter().any(|kind| line.starts_with(kind))))
            .collect()
    }

    /// What there is more of here than there.
    fn beyond(&self, there: &Self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|(item, (count, detail))| {
            let other = there.0.get(item).map_or(0, |(count, _)| *count);
            (*count > other).then(|| format!("{item}{detail} ({count}, not {other})"))
        })
    }
}

fn thread_list() -> Vec<Item> {
    let mut found = threads(Pid::this());
    // Listed first and filtered second: a thread that is not entered yet is seen again by the next look (LEAK-3).
    let known = TEST_THREADS.lock();
    found.retain(|thread| !known.contains(thread));
    let describe = |thread: Pid| {
        let stat = Stat::of_thread(Pid::this(), thread)?;
        Some((format!("thread {thread}"), format!(" ({})", stat.name)))
    };
    found.into_iter().filter_map(describe).collect()
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

/// The mappings that other processes can see: shared ones, memfds, `/dev/shm`, and files that have no name any more.
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
    //! Each test leaves something behind on purpose, sees the guard fail, and clears up. That the guard does not
    //! fail otherwise is shown by every other test.

    use super::*;
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    use std::{
        fs::File,
        panic::{AssertUnwindSafe, catch_unwind},
        process::Command,
        sync::mpsc::channel,
    };

    const LIMIT: Duration = Duration::from_mins(1);

    /// Makes a leak inside a guarded test and returns what the comparison says of it.
    fn complaint<L>(make: impl FnOnce() -> L, clear: impl FnOnce(L)) -> String {
        let mut found = Vec::new();
        guarded(LIMIT, || {
            let before = Snapshot::take();
            let leak = make();
            found = before.compare(&Snapshot::take());
            clear(leak);
        });
        found.join("\n")
    }

    #[test]
    fn a_guard_fails_the_test_that_leaves_a_thread() {
        let mut guard = LeakGuard::new();
        guard.patience = Duration::ZERO;
        let watchdog = Watchdog::start(LIMIT);
        let (hang_up, line) = channel::<()>();
        let left = thread::Builder::new()
            .name("left".into())
            .spawn(move || line.recv())
            .expect("spawn");
        while !guard.differences().join(" ").contains("(left)") {
            thread::yield_now(); // Until the new thread has given itself its name.
        }
        drop(watchdog);
        let panic = catch_unwind(AssertUnwindSafe(|| guard.check())).expect_err("no leak was seen");
        drop(hang_up);
        left.join().expect("join").expect_err("hung up");
        let text = panic.downcast::<String>().expect("a formatted message");
        assert!(
            text.contains("new: thread") && text.contains("(left)"),
            "{text}"
        );
    }

    #[test]
    fn a_descriptor_is_named_by_its_target() {
        let text = complaint(|| File::open("/proc/self/status").expect("open"), drop);
        assert!(
            text.contains("new: fd") && text.contains("/status"),
            "{text}"
        );
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
        let make = || {
            let child = Command::new("true").spawn().expect("spawn");
            let pid = Pid::from_raw(child.id().try_into().expect("a pid"));
            waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("wait");
            child
        };
        let text = complaint(make, |mut child| {
            assert!(child.wait().expect("reap").success());
        });
        assert!(
            text.contains("new: child") && text.contains("(true), zombie"),
            "{text}"
        );
    }

    #[test]
    fn a_file_in_dev_shm_is_a_leak() {
        let path = format!("/dev/shm/{SHM_MARK}-leak-test-{}", Pid::this());
        let make = || drop(File::create(&path).expect("create"));
        let text = complaint(make, |()| fs::remove_file(&path).expect("remove"));
        assert!(text.contains(&format!("new: file {path}")), "{text}");
    }

    #[test]
    fn a_file_of_another_test_process_is_no_leak() {
        let path = format!("/dev/shm/{SHM_MARK}-leak-test-0{}", Pid::this());
        let make = || drop(File::create(&path).expect("create"));
        let text = complaint(make, |()| fs::remove_file(&path).expect("remove"));
        assert_eq!(text, "");
    }

    #[test]
    fn shared_mappings_are_told_from_private_ones() {
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
