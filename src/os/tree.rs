//! Ends a process with its descendants, also those that have left its process group or session.
//!
//! 1. The process is stopped, so that it starts nothing more.
//! 2. Its children are listed and stopped, and theirs, until a listing that begins when all are stopped finds no other.
//! 3. All are killed, those last found first, each with the process group that it leads.
//!
//! TREE-1. A descendant is held by a pidfd, and was the child of a process that is held, too, after that pidfd was opened.
//!         So its id was not used again meanwhile, and a signal reaches no stranger.
//! TREE-2. The walk takes at most [`LONGEST_WALK`], however fast the processes fork. What was not found by then lives on.
//! TREE-3. Not found: a process whose parent had ended before (an *orphan*), unless its group is led by a process that is
//!         found, or the root adopts orphans ([`adopt_orphans`](super::child::adopt_orphans)); anything, if `/proc` does
//!         not show processes by the ids that they have for this one.

use super::evidence::parent;
use super::process::proc_is_ours;
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, kill_process_group, pidfd_open, pidfd_send_signal,
};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Instant;

/// How long to look for descendants.
const LONGEST_WALK: Duration = Duration::from_millis(500);

/// A process that is held (TREE-1).
#[derive(Debug)]
pub(super) struct Member {
    id: u32,
    pidfd: OwnedFd,
}

impl Member {
    fn open(id: u32) -> Option<Self> {
        let pidfd = pidfd_open(pid(id)?, PidfdFlags::empty()).ok()?;
        Some(Self { id, pidfd })
    }

    fn signal(&self, signal: Signal) {
        // It has ended, or may not be signalled: then it is not ours any more.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    fn has_ended(&self) -> bool {
        has_ended(&self.pidfd)
    }
}

fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

/// The process group of a process; `None` if it has none that is visible from this namespace of process ids.
pub(super) fn group_of(id: Pid) -> Option<Pid> {
    let raw = nix::unistd::Pid::from_raw(id.as_raw_nonzero().get());
    let group = nix::unistd::getpgid(Some(raw)).ok()?;
    Pid::from_raw(group.as_raw())
}

/// Whether a process leads a group.
pub(super) fn leads_group(id: Pid) -> bool {
    group_of(id) == Some(id)
}

fn has_ended(pidfd: impl AsFd) -> bool {
    let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
    let at_once = Timespec::default();
    poll(&mut polled, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// Kills the process of this pidfd and id, and its descendants. Returns the pidfds of the descendants.
pub(super) fn end(process: impl AsFd, id: u32) -> Vec<OwnedFd> {
    let mut members = Vec::new();
    if !has_ended(&process) && proc_is_ours().unwrap_or(false) {
        let is_still_it = || !has_ended(&process);
        // One of another user can't be stopped, and is not waited for.
        if pidfd_send_signal(&process, Signal::STOP).is_ok() {
            members = descendants(id, is_still_it, true);
        }
    }
    let ended = kill_all(members);
    // An error: it has ended.
    let _ = pidfd_send_signal(&process, Signal::KILL);
    ended
}

/// Returns the descendants that a process has now. They and the process go on.
pub(super) fn hold_descendants(process: impl AsFd, id: u32) -> Vec<Member> {
    if has_ended(&process) || !proc_is_ours().unwrap_or(false) {
        return Vec::new();
    }
    descendants(id, || !has_ended(&process), false)
}

/// Kills processes that were held, and their descendants. Returns pidfds of all of them.
pub(super) fn end_held(members: Vec<Member>) -> Vec<OwnedFd> {
    let mut ended = Vec::new();
    for member in members {
        ended.append(&mut end(&member.pidfd, member.id));
        ended.append(&mut kill_all(vec![member]));
    }
    ended
}

/// Kills the descendants of this process, which goes on meanwhile: what it starts in the last moment may be missed.
pub(super) fn end_own_descendants() {
    if proc_is_ours().unwrap_or(false) {
        let me = getpid().as_raw_nonzero().get().unsigned_abs();
        kill_all(descendants(me, || true, true));
    }
}

/// Step 2 of the module, from the process `root`, for as long as its id is its own; or the same without stopping any.
fn descendants(root: u32, is_still_root: impl Fn() -> bool, stops: bool) -> Vec<Member> {
    let deadline = Instant::now() + LONGEST_WALK;
    let me = getpid().as_raw_nonzero().get().unsigned_abs();
    let mut members: Vec<Member> = Vec::new();
    loop {
        let is_still = |id| !stops || is_stopped(id);
        let all_stopped =
            (root == me || is_still(root)) && members.iter().all(|member| is_still(member.id));
        let parents = core::iter::once(root).chain(members.iter().map(|member| member.id));
        let mut found = Vec::new();
        for parent_id in parents.collect::<Vec<_>>() {
            for child in children(parent_id) {
                if members
                    .iter()
                    .chain(&found)
                    .any(|member: &Member| member.id == child && !member.has_ended())
                {
                    continue;
                }
                let Some(member) = Member::open(child) else {
                    continue;
                };
                // TREE-1.
                let is_held = |id| {
                    if id == root {
                        is_still_root()
                    } else {
                        members
                            .iter()
                            .any(|member| member.id == id && !member.has_ended())
                    }
                };
                if parent(child) == Some(parent_id) && is_held(parent_id) && !member.has_ended() {
                    if stops {
                        member.signal(Signal::STOP);
                    }
                    found.push(member);
                }
            }
        }
        let is_done = found.is_empty() && all_stopped;
        let found_none = found.is_empty();
        members.append(&mut found);
        if is_done || Instant::now() >= deadline {
            return members;
        }
        if found_none {
            // A process is not stopped yet.
            thread::yield_now();
        }
    }
}

/// Step 3.
fn kill_all(members: Vec<Member>) -> Vec<OwnedFd> {
    for member in members.iter().rev() {
        let group = pid(member.id);
        if let Some(group) = group.filter(|&id| leads_group(id) && !member.has_ended()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        member.signal(Signal::KILL);
    }
    members.into_iter().map(|member| member.pidfd).collect()
}

/// The children of a process; none if it has ended.
fn children(id: u32) -> Vec<u32> {
    let mut all = Vec::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else {
        return all;
    };
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(children) => {
                all.extend(
                    children
                        .split_ascii_whitespace()
                        .filter_map(|child| child.parse::<u32>().ok()),
                );
            }
            // A thread that has ended; or a kernel without this file.
            Err(_) if thread.path().exists() => return children_by_parent(id),
            Err(_) => {}
        }
    }
    all
}

/// The same, found by looking at all processes.
fn children_by_parent(id: u32) -> Vec<u32> {
    all_processes()
        .filter(|&process| parent(process) == Some(id))
        .collect()
}

fn all_processes() -> impl Iterator<Item = u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
}

/// Whether no thread of a process runs: each is stopped, has ended, or waits in the kernel where it can't be interrupted.
fn is_stopped(id: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else {
        return true;
    };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("X", |(_, rest)| rest);
        state.starts_with(['T', 't', 'D', 'Z', 'X'])
    })
}

/// Returns pidfds of the processes of a group, but for its leader, whoever is their parent.
pub(super) fn members_of(group: Pid) -> Vec<OwnedFd> {
    let ids = all_processes().filter_map(pid).filter(|&id| id != group);
    let members = ids.filter_map(|id| {
        let is_member = || group_of(id) == Some(group);
        // Before, so that few descriptors are opened; and after, for the id may have been used again.
        let pidfd = is_member().then(|| pidfd_open(id, PidfdFlags::empty()).ok());
        pidfd.flatten().filter(|_| is_member())
    });
    members.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    /// Runs a script, and returns the process ids that it says, one a line.
    fn family(script: &str, count: usize) -> (Child, BTreeSet<u32>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let lines = output.lines().map(|line| line.expect("a line"));
        let ids = lines.take(count).map(|line| line.parse().expect("an id"));
        let ids = ids.collect();
        (child, ids)
    }

    fn await_gone(ids: &BTreeSet<u32>) {
        let deadline = Instant::now() + Duration::from_mins(1);
        for id in ids {
            let is_gone = || {
                let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
                stat.rsplit_once(") ")
                    .is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
            };
            while !is_gone() {
                assert!(Instant::now() < deadline, "{id} lives on");
                thread::yield_now();
            }
        }
    }

    const FAMILY: &str = "setsid sh -c 'echo $$; sleep 1000 & echo $!; wait' &
        sh -c 'echo $$; timeout 1000 sh -c \"echo \\$\\$; exec sleep 1000\"' & wait";

    #[test]
    fn descendants_in_other_groups_and_sessions_are_ended() {
        let (mut child, ids) = family(FAMILY, 4);
        assert_eq!(ids.len(), 4, "{ids:?}");
        let pidfd = pidfd_open(pid(child.id()).expect("an id"), PidfdFlags::empty());
        let ended = end(pidfd.expect("a pidfd"), child.id());
        assert!(ended.len() >= 4, "{ended:?}");
        child.wait().expect("reaped");
        await_gone(&ids);
    }

    #[test]
    fn both_ways_to_list_children_agree() {
        let (mut child, ids) = family("sleep 1000 & echo $!; sleep 1000 & echo $!; wait", 2);
        let listed = |listed: Vec<u32>| listed.into_iter().collect::<BTreeSet<_>>();
        assert_eq!(listed(children(child.id())), ids);
        assert_eq!(listed(children_by_parent(child.id())), ids);
        let pidfd = pidfd_open(pid(child.id()).expect("an id"), PidfdFlags::empty());
        end(pidfd.expect("a pidfd"), child.id());
        child.wait().expect("reaped");
        await_gone(&ids);
    }

    #[test]
    fn a_process_that_has_ended_has_no_descendants_to_end() {
        let mut child = Command::new("true").spawn().expect("a child");
        let pidfd = pidfd_open(pid(child.id()).expect("an id"), PidfdFlags::empty());
        child.wait().expect("reaped");
        assert!(end(pidfd.expect("a pidfd"), child.id()).is_empty());
    }
}
