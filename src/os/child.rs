//! Children that do not outlive their parent, and leave nobody behind.
//!
//! CHILD-1. A child leads a process group of its own. Signals of the terminal do not reach it, and whatever it starts itself
//!     is ended with it.
//! CHILD-2. It is killed when the thread that has started it ends, by whatever death. If that happens before it could
//!     ask for this, it finds another parent in place of its own, and never runs its program. What it starts itself is
//!     not: so it may choose to be told instead, with [`watch_parent`], and end its group itself.
//! CHILD-3. It has no signal blocked and the default dispositions, whatever its parent does about signals; see
//!     [`spawn`](super::spawn).
//! CHILD-4. The id of a group is that of its leader, and not used again before the leader is reaped. So the group is
//!     signalled only before, and the leader reaped only after what is left of its group was killed. A [`Process`] is
//!     not reaped yet: whoever has one may signal it.
//! CHILD-5. It has the [mark](super::evidence), which tells it, and whatever runs in its place, that it was started so.
//! CHILD-6. A process that has left its group is signalled itself, by its pidfd. One that is killed is killed with its
//!     [descendants](tree), whatever groups and sessions these have.
//! CHILD-7. The child may be a *wrapper*, a script for instance, that starts the worker and waits for it. Then the worker is
//!     judged, once it has said who it is: its end is the end, and its memory counts. A wrapper that outlives it has some time
//!     to end by itself, and its status tells of the worker's.
//!
//! Where `SIGCHLD` is ignored in this process, or other code of it waits for any child, the kernel has forgotten how a
//! child ended before it is asked: then that is unknown, and reported as such.

use super::descriptor::beyond_stdio;
use super::inherit::Inheritance;
use super::poll::{self, Poll};
use super::spawn::{self, Order, Started};
use super::{budget, process, tree};
use core::time::Duration;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, child_subreaper, getpid,
    getppid, getrlimit, kill_process, kill_process_group, pidfd_open, pidfd_send_signal,
    set_child_subreaper, set_parent_process_death_signal, setrlimit, test_kill_process, waitid,
};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread;
use std::time::Instant;

/// The parent of this process, to be told of its end: readable, in the sense of `poll(2)`, once it has ended. From now on
/// this process is not killed then (CHILD-2), for that would leave its group alive, but only woken, should it be stopped: to end
/// the group is its own business. To be called on the thread that runs `main`.
pub(crate) fn watch_parent() -> io::Result<OwnedFd> {
    // A parent in another namespace of process ids has no id here.
    let parent = getppid().ok_or(ErrorKind::Unsupported)?;
    let watched = beyond_stdio(pidfd_open(parent, PidfdFlags::empty())?)?;
    set_parent_process_death_signal(Some(Signal::CONT))?;
    // It may have ended before that, and its id be somebody else's.
    if getppid() != Some(parent) {
        end_own_group();
    }
    Ok(watched)
}

/// As [`watch_parent`], for a process that has started this one, perhaps by a wrapper: the process of this id and
/// [start time](process::started).
pub(crate) fn watch_starter(id: u32, started: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    let watched = pidfd_open(pid.ok_or(ErrorKind::InvalidData)?, PidfdFlags::empty());
    set_parent_process_death_signal(Some(Signal::CONT))?;
    // The id may have been used again.
    if matches!(watched, Err(Errno::SRCH)) || process::started(id).is_ok_and(|its| its != started) {
        end_own_group();
    }
    beyond_stdio(watched?)
}

/// Ends this process with its descendants, and with the process group that it was started as the leader of, whether or
/// not it is still in it.
pub(crate) fn end_own_group() -> ! {
    end_own_descendants();
    // No other group can have this number while this process lives. An error: there is none.
    let _ = kill_process_group(getpid(), Signal::KILL);
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}

/// Ends what this process has started: its descendants, also those in groups and sessions of their own. What its other
/// threads start meanwhile may be missed.
pub(crate) fn end_own_descendants() {
    tree::end_own_descendants();
}

/// Whether orphans become children of this process: it is the first one of its namespace, or has asked for it.
pub(crate) fn is_reaper() -> bool {
    getpid() == Pid::INIT || child_subreaper().is_ok_and(|reaper| reaper.is_some())
}

/// Reaps a process that has ended, if it is a child of this one. Returns whether it need not be tried again: it is reaped, or
/// has ended and was reaped elsewhere.
pub(crate) fn reap_stray(pidfd: &OwnedFd) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::PidFd(pidfd.as_fd()), options), Ok(Some(_)))
        || pidfd_send_signal(pidfd, Signal::KILL) == Err(Errno::SRCH)
}

/// A child that is not reaped yet. It is readable, in the sense of `poll(2)`, once it has
/// ended. If it is dropped, it is killed with its group and reaped.
#[derive(Debug)]
pub(crate) struct Process {
    id: Pid,
    pidfd: OwnedFd,
    /// The worker, where the child is a wrapper that has started it.
    worker: Option<Wrapped>,
    /// Descendants that it had when it was asked to end.
    held: Vec<tree::Member>,
    /// Whether the child was seen to have ended.
    has_ended: bool,
    /// Whether the worker was seen to have ended while its wrapper, the child, goes on.
    is_only_wrapper: bool,
    reaped: bool,
}

/// A worker that is not a child of this process, but was started by one: by a script, `timeout`, `strace` or `setsid`. How it
/// ended is what the wrapper ends with, if that outlives it.
#[derive(Debug)]
struct Wrapped {
    id: Pid,
    pidfd: OwnedFd,
    has_ended: bool,
    /// Whether the wrapper was seen to have ended while the worker lived.
    is_left_alone: bool,
}

/// How long dropping a process waits for its end. One that was killed has no say in it, but the kernel may take its
/// time, for instance over a file system that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

impl Process {
    /// Starts a child as the module describes, and waits until it runs its program.
    pub(crate) fn start(order: &Order, inheritance: &Inheritance) -> io::Result<Self> {
        let Started { id, pidfd } = spawn::start(order, inheritance)?;
        Ok(Self {
            id,
            pidfd,
            worker: None,
            held: Vec::new(),
            has_ended: false,
            is_only_wrapper: false,
            reaped: false,
        })
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.id.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether all its threads have ended. Others of its group may live on.
    pub(crate) fn has_ended(&self) -> io::Result<bool> {
        super::poll::is_readable(&self.pidfd)
    }

    /// Records that the worker is the process `id`, as the kernel says, and not the child itself. `is_it` confirms it once its
    /// pidfd is open: the id might have been used again.
    pub(crate) fn set_worker(&mut self, id: u32, is_it: impl FnOnce() -> bool) {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        let Some(pid) = pid.filter(|&pid| pid != self.id) else {
            return;
        };
        // An error: it has ended already, and so will its link.
        if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
            && let Ok(pidfd) = beyond_stdio(pidfd)
            && is_it()
        {
            self.worker = Some(Wrapped {
                id: pid,
                pidfd,
                has_ended: false,
                is_left_alone: false,
            });
        }
    }

    /// What to wait for next: readable, in the sense of `poll(2)`, when [`is_over`](Self::is_over) is to be asked. Nothing: the
    /// child has ended, and who the worker is, is not known.
    pub(crate) fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let worker = self.worker.iter().filter(|worker| !worker.has_ended);
        let worker = worker.map(|worker| worker.pidfd.as_fd());
        let child = (!self.has_ended).then(|| self.pidfd.as_fd());
        worker.chain(child)
    }

    /// Those of child and worker that were seen to have ended.
    pub(crate) fn ended(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let worker = self.worker.iter().filter(|worker| worker.has_ended);
        let worker = worker.map(|worker| worker.pidfd.as_fd());
        let child = self.has_ended.then(|| self.pidfd.as_fd());
        worker.chain(child)
    }

    /// The worker, if a wrapper has started it.
    pub(crate) fn wrapped(&self) -> Option<BorrowedFd<'_>> {
        self.worker.as_ref().map(|worker| worker.pidfd.as_fd())
    }

    /// Whether there is something to wait for.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched().next().is_some()
    }

    /// Looks whether the worker has ended, and its wrapper, if there is one. `may_be_elsewhere`: the child is perhaps only a
    /// wrapper whose worker is still to say who it is.
    pub(crate) fn is_over(&mut self, may_be_elsewhere: bool) -> bool {
        self.has_ended |= has_ended(&self.pidfd, self.id);
        let Some(worker) = &mut self.worker else {
            return self.has_ended && !may_be_elsewhere;
        };
        worker.has_ended |= has_ended(&worker.pidfd, worker.id);
        worker.is_left_alone |= self.has_ended && !worker.has_ended;
        self.is_only_wrapper = worker.has_ended && !self.has_ended;
        worker.has_ended && self.has_ended
    }

    /// Whether the worker was seen to have ended while its wrapper goes on.
    pub(crate) fn is_only_wrapper(&self) -> bool {
        self.is_only_wrapper
    }

    /// Ends the child and the worker, with all their descendants and their process groups. Returns the pidfds of the
    /// descendants.
    pub(crate) fn kill_tree(&mut self) -> Vec<OwnedFd> {
        let mut descendants = tree::end(&self.pidfd, self.id());
        descendants.append(&mut tree::end_held(core::mem::take(&mut self.held)));
        if let Some(worker) = &self.worker {
            let id = worker.id.as_raw_nonzero().get().unsigned_abs();
            descendants.append(&mut tree::end(&worker.pidfd, id));
        }
        // It fails only for a group that may not be signalled, which is none of ours.
        let _ = self.kill_group();
        descendants
    }

    /// Ends a wrapper whose worker has ended. How that ended is not known then.
    pub(crate) fn kill_wrapper(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.is_left_alone = true;
        }
        drop(self.kill_tree());
    }

    /// Kills what the child had started when it was asked to end. Returns the pidfds.
    pub(crate) fn kill_held(&mut self) -> Vec<OwnedFd> {
        tree::end_held(core::mem::take(&mut self.held))
    }

    /// Kills the child's group. Returns its members but for the child: if this process is a [reaper](is_reaper), each becomes
    /// its child at the latest when its own parent has ended.
    pub(crate) fn kill_members(&self) -> Vec<OwnedFd> {
        // First, so that no member starts another one meanwhile.
        let _ = self.kill_group();
        tree::members_of(self.id)
    }

    /// Ask the whole group to end. A process that is stopped hears of it later. The descendants that are there now are killed
    /// when it is reaped.
    pub(crate) fn terminate_group(&mut self) -> io::Result<()> {
        self.held = tree::hold_descendants(&self.pidfd, self.id());
        if let Some(worker) = &self.worker {
            let id = worker.id.as_raw_nonzero().get().unsigned_abs();
            self.held
                .append(&mut tree::hold_descendants(&worker.pidfd, id));
        }
        self.signal_group(Signal::TERM)
    }

    /// End the whole group.
    pub(crate) fn kill_group(&self) -> io::Result<()> {
        self.signal_group(Signal::KILL)
    }

    /// Signals the group, and child and worker themselves: they may have left it.
    fn signal_group(&self, signal: Signal) -> io::Result<()> {
        if self.reaped {
            // The id may be that of another group by now (CHILD-4).
            return Ok(());
        }
        if mutant!(LeaderSignalledAlone) {
            let _ = rustix::process::kill_process(self.id, signal);
            return Ok(());
        }
        if !tree::leads_group(self.id) {
            let _ = pidfd_send_signal(&self.pidfd, signal);
        }
        if let Some(worker) = &self.worker {
            let leads = tree::leads_group(worker.id);
            if leads && !poll::is_readable(&worker.pidfd).unwrap_or(true) {
                let _ = kill_process_group(worker.id, signal);
            } else {
                let _ = pidfd_send_signal(&worker.pidfd, signal);
            }
        }
        match kill_process_group(self.id, signal) {
            // Another process has reaped the leader, or it has left the group, and the group is empty.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Kills what is left of the group, waits for the end of the child, which is at once if it has ended before, and reaps
    /// it. Returns how it ended; `None` if another thread of this process has reaped it, or it was left alone by a wrapper.
    ///
    /// A group of another user can't be killed, which a process that has given up its privileges finds: that keeps nothing
    /// from being reaped.
    pub(crate) fn reap_in_place(&mut self) -> io::Result<Option<ExitStatus>> {
        drop(self.kill_held());
        let _ = self.kill_group();
        let status = self.wait(WaitIdOptions::EXITED)?;
        let Some(worker) = &self.worker else {
            return Ok(status);
        };
        // A child of this process, if that is a reaper.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match wait_for(&worker.pidfd, options) {
            Ok(Some(status)) => Ok(Some(status)),
            _ if worker.is_left_alone => Ok(None),
            _ => Ok(status),
        }
    }

    /// As [`reap_in_place`](Process::reap_in_place), for tests.
    #[cfg(test)]
    pub(crate) fn reap(mut self) -> io::Result<Option<ExitStatus>> {
        self.reap_in_place()
    }

    /// Gives the process up: it is neither killed nor waited for from now on.
    pub(crate) fn abandon(mut self) {
        self.reaped = true;
    }

    fn wait(&mut self, options: WaitIdOptions) -> io::Result<Option<ExitStatus>> {
        let status = wait_for(&self.pidfd, options)?;
        self.reaped = true;
        Ok(status)
    }

    /// How much memory the worker has in use, in bytes, shared memory included; 0 once it has ended.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        let worker = self.worker.as_ref().map(|worker| &worker.pidfd);
        resident(id_in_proc(worker.unwrap_or(&self.pidfd))?)
    }
}

impl AsFd for Process {
    /// Readable once it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        drop(self.kill_tree());
        let mut poll = Poll::new();
        poll.readable(self.pidfd.as_fd());
        let deadline = Instant::now() + PATIENCE;
        if poll.wait(Some(deadline)).is_err() {
            while !has_ended(&self.pidfd, self.id) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
        }
        let _ = self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// Whether a process has ended. `poll(2)` takes no descriptor at all where the limit on them was lowered to none: then a
/// child is waited for without reaping it, and any other has ended once it is reaped.
fn has_ended(pidfd: &OwnedFd, id: Pid) -> bool {
    poll::is_readable(pidfd).unwrap_or_else(|_| {
        let looked = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::PidFd(pidfd.as_fd()), looked) {
            Ok(status) => status.is_some(),
            Err(_) => test_kill_process(id) == Err(Errno::SRCH),
        }
    })
}

/// How a child ended; `None` if it has not, or was reaped elsewhere.
fn wait_for(pidfd: &OwnedFd, options: WaitIdOptions) -> io::Result<Option<ExitStatus>> {
    let waited = loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
            Err(Errno::INTR) => {}
            waited => break waited,
        }
    };
    let status = match waited {
        Ok(status) => status,
        Err(Errno::CHILD) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(status.map(|status| {
        // As wait(2) puts it.
        let (code, signal) = (status.exit_status(), status.terminating_signal());
        let dumped = if status.dumped() { 0x80 } else { 0 };
        ExitStatus::from_raw(signal.map_or(code.unwrap_or(0) << 8, |signal| signal | dumped))
    }))
}

/// Returns the id of a process as `/proc` shows it, which may be that of another namespace than this process's.
fn id_in_proc(pidfd: &OwnedFd) -> io::Result<u32> {
    let path = format!("/proc/self/fdinfo/{}", process::number(pidfd));
    let info = std::fs::read_to_string(path)?;
    let id = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    let id = id.and_then(|id| id.trim().parse::<u32>().ok());
    // 0: it has no id there.
    id.filter(|&id| id > 0).ok_or(ErrorKind::NotFound.into())
}

/// Whether the memory of other processes can be looked at: an error says why not.
pub(crate) fn check_memory_can_be_seen() -> io::Result<()> {
    let me = pidfd_open(getpid(), PidfdFlags::empty())?;
    resident(id_in_proc(&me)?).map(drop)
}

/// See [`Process::resident`]; of this process, also where `/proc` is that of another namespace of process ids.
pub(crate) fn own_resident() -> io::Result<u64> {
    resident_in("/proc/self/statm")
}

/// See [`Process::resident`]; of any process.
pub(crate) fn resident(id: u32) -> io::Result<u64> {
    resident_in(&format!("/proc/{id}/statm"))
}

fn resident_in(path: &str) -> io::Result<u64> {
    let statistics = std::fs::read_to_string(path)?;
    let pages = statistics.split(' ').nth(1).map(str::parse::<u64>);
    let Some(Ok(pages)) = pages else {
        return Err(ErrorKind::InvalidData.into());
    };
    Ok(pages.saturating_mul(budget::page_size()))
}

/// Makes this process the parent of each of its descendants whose parent ends.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    // Any process id turns it on.
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Let this process have so many bytes of addresses from now on, and no more again.
pub(crate) fn limit_own_addresses(bytes: u64) -> io::Result<()> {
    let allowed = getrlimit(Resource::As).maximum.unwrap_or(u64::MAX);
    let bytes = Some(bytes.min(allowed));
    let limit = Rlimit {
        current: bytes,
        maximum: bytes,
    };
    Ok(setrlimit(Resource::As, limit)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::process::number;
    use crate::os::spawn::Program;
    use nix::sys::signal::{SIGTERM, SigHandler, SigSet, SigmaskHow, signal, sigprocmask};
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::thread;

    /// Nothing takes longer.
    const LIMIT: Duration = Duration::from_mins(1);

    fn order(script: &str) -> Order {
        let mut order = Order::new(Program::File("sh".into()));
        order.arguments = ["-c", script].map(Into::into).into();
        order
    }

    /// A shell, and its first line once it has said one.
    fn shell(script: &str) -> (Process, String) {
        let (output, its) = io::pipe().expect("a pipe");
        let mut inheritance = Inheritance::default();
        inheritance.add_file(&its);
        let order = order(&format!("exec >/proc/self/fd/{}\n{script}", number(&its)));
        let process = Process::start(&order, &inheritance).expect("a shell");
        drop(its);
        let mut line = String::new();
        let mut output = BufReader::new(output);
        output.read_line(&mut line).expect("a line");
        (process, line.trim_end().to_owned())
    }

    /// Fails rather than hangs if it does not end.
    fn await_end(process: &Process) {
        let mut poll = Poll::new();
        poll.readable(process.as_fd());
        let deadline = Instant::now() + LIMIT;
        assert!(poll.wait(Some(deadline)).expect("poll"), "it lives on");
        assert!(process.has_ended().expect("poll"));
    }

    fn status(process: Process) -> ExitStatus {
        process.reap().expect("it can be reaped").expect("by us")
    }

    /// Whether a process has ended, whether or not anybody has reaped it.
    fn is_gone(id: &str) -> bool {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let state = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().next());
        matches!(state, None | Some("Z" | "X"))
    }

    /// As [`await_end`], for one that is not our child.
    fn await_gone(id: &str) {
        let deadline = Instant::now() + LIMIT;
        while !is_gone(id) {
            assert!(Instant::now() < deadline, "it lives on");
            thread::yield_now();
        }
    }

    /// Bits of a set of signals, as `/proc` shows it.
    fn signals(id: u32, set: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(set));
        u64::from_str_radix(line.expect("a set").trim(), 16).expect("a number")
    }

    #[test]
    fn how_a_child_ended_is_told() {
        let ended = |script: &str| {
            let (process, _) = shell(script);
            await_end(&process);
            status(process)
        };
        assert!(ended("exit 0").success());
        assert_eq!(ended("exit 255").code(), Some(255));
        assert_eq!(ended("ulimit -c 0; kill -SEGV $$").signal(), Some(11));
        assert_eq!(ended("kill -KILL $$").signal(), Some(9));
    }

    #[test]
    fn a_child_is_ended_with_all_that_it_has_started() {
        let (process, grandchild) = shell("sleep 1000 & echo $!; wait");
        assert!(!process.has_ended().expect("poll") && !is_gone(&grandchild));
        process.kill_group().expect("a signal");
        await_end(&process);
        assert_eq!(status(process).signal(), Some(9));
        await_gone(&grandchild);
    }

    #[test]
    fn what_a_child_leaves_behind_is_ended_when_it_is_reaped() {
        let (process, grandchild) = shell("sleep 1000 >/dev/null 2>&1 & echo $!; exit 3");
        await_end(&process);
        assert!(!is_gone(&grandchild));
        assert_eq!(status(process).code(), Some(3));
        await_gone(&grandchild);
    }

    #[test]
    fn a_child_can_be_asked_to_end() {
        let (mut process, _) =
            shell("trap 'exit 4' TERM; echo ready; while :; do sleep 0.01; done");
        process.terminate_group().expect("a signal");
        await_end(&process);
        assert_eq!(status(process).code(), Some(4));
    }

    #[test]
    fn a_child_has_nothing_of_its_parents_ways_with_signals() {
        let (mut blocked, mut before) = (SigSet::empty(), SigSet::empty());
        blocked.add(SIGTERM);
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), Some(&mut before)).expect("a mask");
        // SAFETY: no handler of this program.
        let handler = unsafe { signal(SIGTERM, SigHandler::SigIgn) }.expect("a disposition");
        let (mut process, _) = shell("echo ready; exec sleep 1000");
        // SAFETY: it was so before.
        unsafe { signal(SIGTERM, handler) }.expect("a disposition");
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None).expect("a mask");
        assert_eq!(signals(process.id(), "SigBlk:"), 0);
        assert_eq!(
            signals(process.id(), "SigIgn:") & 1 << (SIGTERM as u64 - 1),
            0
        );
        process.terminate_group().expect("a signal");
        await_end(&process);
        assert_eq!(status(process).signal(), Some(15));
    }

    #[test]
    fn a_child_ends_with_the_thread_that_has_started_it() {
        let starter = thread::spawn(|| shell("echo ready; exec sleep 1000"));
        let (process, _) = starter.join().expect("join");
        await_end(&process);
        assert_eq!(status(process).signal(), Some(9));
    }

    /// CHILD-2: the parent died, or seems to have, before the child could ask to be killed then.
    #[test]
    fn a_child_that_has_lost_its_parent_does_not_run() {
        let mut order = order("exit 0");
        order.parent = Pid::INIT;
        let refused = Process::start(&order, &Inheritance::default()).expect_err("another parent");
        assert_eq!(refused.raw_os_error(), Some(Errno::SRCH.raw_os_error()));
    }

    #[test]
    fn a_child_that_is_dropped_leaves_no_zombie() {
        let (process, grandchild) = shell("sleep 1000 & echo $!; wait");
        let id = process.id();
        drop(process);
        assert!(!fs::exists(format!("/proc/{id}")).expect("/proc"));
        await_gone(&grandchild);
    }

    #[test]
    fn the_memory_of_a_process_is_known() {
        let (process, _) = shell("echo ready; exec sleep 1000");
        assert!(process.resident().expect("statm") > 0);
        process.kill_group().expect("a signal");
        await_end(&process);
        assert_eq!(process.resident().expect("statm"), 0, "a zombie has none");
        let before = resident(std::process::id()).expect("statm");
        // Without `black_box` an optimised build makes no such vector.
        let taken = core::hint::black_box(vec![1_u8; 64 << 20]);
        let after = resident(std::process::id()).expect("statm");
        assert!(
            after >= before + (32 << 20),
            "{before}, {after}, {}",
            taken.len()
        );
    }

    #[test]
    fn who_leads_a_group_can_end_it() {
        const CHILD: &str = "WORKRING_TEST_END_OWN_GROUP";
        if std::env::var_os(CHILD).is_some() {
            end_own_group();
        }
        let mut order = Order::new(Program::own().expect("this program"));
        let test = "os::child::tests::who_leads_a_group_can_end_it";
        order.arguments = ["--exact", test].map(Into::into).into();
        order.environment = vec![(CHILD.into(), Some("1".into()))];
        let process = Process::start(&order, &Inheritance::default()).expect("this program");
        await_end(&process);
        assert_eq!(status(process).signal(), Some(9));
    }
}
