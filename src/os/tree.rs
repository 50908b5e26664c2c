//! Kills a process with its descendants, also those that have left its process group or session.
//!
//! 1. The process is stopped, so that it starts nothing more.
//! 2. Its children are listed and stopped, then theirs, until a listing that begins when all are stopped finds no more.
//! 3. All are killed, those found last first, each with the process group that it leads.
//!
//! TREE-1. Each descendant found is held by a pidfd. After that pidfd was opened, the process was seen to be the child
//!     of another held process. So its id was not reused in between, and no signal reaches an unrelated process.
//! TREE-2. The search takes at most [`SEARCH_LIMIT`], however fast the processes fork. What it has not found lives on.
//! TREE-3. The search does not find an *orphan*, a process whose parent ended before, unless the leader of its group is
//!     found or the root adopts orphans ([`subreaper`](super::subreaper)). It finds nothing if `/proc` belongs to
//!     another namespace of process ids.
//!
//! System calls: `pidfd_open(2)`, `pidfd_send_signal(2)`, `kill(2)`, and reads of `/proc`. This module owns no state.

use super::{group, pidfd, procfs};
use core::time::Duration;
use rustix::process::{Signal, getpid, kill_process_group, pidfd_send_signal};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Instant;

/// How long a search for descendants may take (TREE-2).
const SEARCH_LIMIT: Duration = Duration::from_millis(500);

/// A descendant that was found, held by its pidfd (TREE-1).
#[derive(Debug)]
pub(super) struct Descendant {
    id: u32,
    pidfd: OwnedFd,
}

impl Descendant {
    fn open(id: u32) -> Option<Self> {
        let pidfd = pidfd::open(pidfd::to_pid(id)?).ok()?;
        Some(Self { id, pidfd })
    }

    fn signal(&self, signal: Signal) {
        // An error: it has ended, or now runs as another user and may not be signalled.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    fn has_ended(&self) -> bool {
        has_ended(&self.pidfd)
    }
}

fn has_ended(process: impl AsFd) -> bool {
    pidfd::has_ended(process).unwrap_or(false)
}

/// Returns whether `/proc` shows the ids that this process uses, without which there is no search.
fn can_search() -> bool {
    procfs::is_own_namespace().unwrap_or(false)
}

/// Kills a process and its descendants. Returns the pidfds of the descendants.
pub(super) fn kill(process: impl AsFd, id: u32) -> Vec<OwnedFd> {
    let mut descendants = Vec::new();
    if !has_ended(&process) && can_search() {
        // A process of another user cannot be stopped, and no search waits for it.
        if pidfd_send_signal(&process, Signal::STOP).is_ok() {
            descendants = search(id, || !has_ended(&process), Search::Stops);
        }
    }
    let killed = kill_all(descendants);
    // An error: it has ended.
    let _ = pidfd_send_signal(&process, Signal::KILL);
    killed
}

/// Records the descendants that a process has now, for [`kill_recorded`]. All of them go on running.
pub(super) fn record(process: impl AsFd, id: u32) -> Vec<Descendant> {
    if has_ended(&process) || !can_search() {
        return Vec::new();
    }
    search(id, || !has_ended(&process), Search::OnlyLooks)
}

/// Kills recorded processes and their descendants. Returns the pidfds of all of them.
pub(super) fn kill_recorded(recorded: Vec<Descendant>) -> Vec<OwnedFd> {
    let mut killed = Vec::new();
    for descendant in recorded {
        killed.append(&mut kill(&descendant.pidfd, descendant.id));
        killed.append(&mut kill_all(vec![descendant]));
    }
    killed
}

/// Kills the descendants of this process, which keeps running: processes that it starts during the call may be missed.
pub(super) fn kill_own_descendants() {
    if can_search() {
        kill_all(search(pidfd::to_id(getpid()), || true, Search::Stops));
    }
}

/// Whether a search stops the processes that it finds (step 2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Search {
    Stops,
    OnlyLooks,
}

/// Finds the descendants of the process `root`, for as long as `root_lives`.
fn search(root: u32, root_lives: impl Fn() -> bool, search: Search) -> Vec<Descendant> {
    let deadline = Instant::now() + SEARCH_LIMIT;
    let is_own = root == pidfd::to_id(getpid());
    let mut found: Vec<Descendant> = Vec::new();
    loop {
        let is_stopped = |id| search == Search::OnlyLooks || procfs::is_stopped(id);
        let all_stopped = (is_own || is_stopped(root))
            && found.iter().all(|descendant| is_stopped(descendant.id));
        let mut new = new_children(root, &root_lives, &found, search);
        let found_none = new.is_empty();
        found.append(&mut new);
        if (found_none && all_stopped) || Instant::now() >= deadline {
            return found;
        }
        if found_none {
            // Some process has not stopped yet.
            thread::yield_now();
        }
    }
}

/// Finds children of the root and of known descendants that are not known yet, and stops them if asked to.
fn new_children(
    root: u32,
    root_lives: impl Fn() -> bool,
    known: &[Descendant],
    search: Search,
) -> Vec<Descendant> {
    let holds = |held: &[Descendant], id| {
        held.iter()
            .any(|descendant| descendant.id == id && !descendant.has_ended())
    };
    let parents = core::iter::once(root).chain(known.iter().map(|descendant| descendant.id));
    let mut new: Vec<Descendant> = Vec::new();
    for parent in parents {
        let parent_lives = || {
            if parent == root {
                root_lives()
            } else {
                holds(known, parent)
            }
        };
        for child in procfs::children(parent) {
            if holds(known, child) || holds(&new, child) {
                continue;
            }
            let Some(descendant) = Descendant::open(child) else {
                continue;
            };
            // TREE-1.
            let is_child = procfs::parent(child) == Some(parent) && parent_lives();
            if is_child && !descendant.has_ended() {
                if search == Search::Stops {
                    descendant.signal(Signal::STOP);
                }
                new.push(descendant);
            }
        }
    }
    new
}

/// Kills processes, each with the group that it leads (step 3). Returns their pidfds.
fn kill_all(descendants: Vec<Descendant>) -> Vec<OwnedFd> {
    for descendant in descendants.iter().rev() {
        let led = pidfd::to_pid(descendant.id)
            .filter(|&pid| group::is_led_by(pid) && !descendant.has_ended());
        if let Some(led) = led {
            let _ = kill_process_group(led, Signal::KILL);
        }
        descendant.signal(Signal::KILL);
    }
    descendants
        .into_iter()
        .map(|descendant| descendant.pidfd)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    /// Runs a script and returns the process ids that it prints, one per line.
    fn spawn_family(script: &str, count: usize) -> (Child, BTreeSet<u32>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let lines = output.lines().map(|line| line.expect("a line"));
        let ids = lines.take(count).map(|line| line.parse().expect("an id"));
        let ids = ids.collect();
        (child, ids)
    }

    fn await_end(ids: &BTreeSet<u32>) {
        let deadline = Instant::now() + Duration::from_secs(60);
        for id in ids {
            let has_ended = || {
                let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
                stat.rsplit_once(") ")
                    .is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
            };
            while !has_ended() {
                assert!(Instant::now() < deadline, "{id} lives on");
                thread::yield_now();
            }
        }
    }

    fn pidfd_of(child: &Child) -> OwnedFd {
        pidfd::open(pidfd::to_pid(child.id()).expect("an id")).expect("a pidfd")
    }

    const FAMILY: &str = "setsid sh -c 'echo $$; sleep 1000 & echo $!; wait' &
        sh -c 'echo $$; timeout 1000 sh -c \"echo \\$\\$; exec sleep 1000\"' & wait";

    #[test]
    fn descendants_in_other_groups_and_sessions_are_killed() {
        let (mut child, ids) = spawn_family(FAMILY, 4);
        assert_eq!(ids.len(), 4, "{ids:?}");
        let killed = kill(pidfd_of(&child), child.id());
        assert!(killed.len() >= 4, "{killed:?}");
        child.wait().expect("reaped");
        await_end(&ids);
    }

    #[test]
    fn a_process_that_has_ended_has_no_descendants_to_kill() {
        let mut child = Command::new("true").spawn().expect("a child");
        let pidfd = pidfd_of(&child);
        child.wait().expect("reaped");
        assert!(kill(pidfd, child.id()).is_empty());
    }
}
