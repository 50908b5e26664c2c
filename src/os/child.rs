//! Handle of a child process that does not outlive its parent, and leaves no process behind.
//!
//! CHILD-1. A child leads a process group of its own. Signals from the terminal do not reach it, and killing the group
//!     also kills the processes that it started.
//! CHILD-2. A child is killed when the thread that started it ends, however it ends (`PR_SET_PDEATHSIG`). If its parent
//!     process ends before the child could ask the kernel for this, the child finds that it has another parent, and
//!     does not run its program. The kernel does not kill the child's own descendants then, so a child may call
//!     [`watch_parent`](super::parent::watch_parent) instead and kill its group itself.
//! CHILD-3. A child has no signal blocked and the default dispositions, whatever those of its parent are
//!     ([`spawn`]).
//! CHILD-4. The id of a group is its leader's process id, which is not reused before the leader is reaped. So the group
//!     is signalled only before that, and the leader is reaped only after the rest of its group was killed.
//! CHILD-5. A child, and any program that runs in its place, has the [mark](super::mark) of having been started so.
//! CHILD-6. A process that has left its group is signalled by its pidfd. A killed process is killed with its
//!     [descendants](tree), whatever their groups and sessions.
//! CHILD-7. The child may be a *wrapper*, for example a script, that starts the worker and waits for it. As soon as the
//!     worker's process id is known, the worker's end and the worker's memory count. A wrapper that outlives its worker
//!     is given some time to end, and its exit status is treated as the worker's.
//!
//! If this process ignores `SIGCHLD`, or other code in it waits for any child, the kernel may have discarded a child's
//! exit status before [`ChildProcess::reap`] asks for it. The status is then reported as unknown.
//!
//! System calls: `kill(2)`, `pidfd_send_signal(2)`, `waitid(2)`. State: one unreaped child for each handle.

use super::descriptor::beyond_stdio;
use super::inherit::InheritedFiles;
use super::poll::Poll;
use super::spawn::{self, SpawnRequest, Spawned};
use super::{group, memory_use, pidfd, tree};
use core::time::Duration;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitIdOptions, kill_process, kill_process_group, pidfd_send_signal,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::thread;
use std::time::Instant;

/// A child that is not reaped yet. Dropping it kills it with its group and descendants, and reaps it.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    pid: Pid,
    pidfd: OwnedFd,
    /// The worker, if the child is a wrapper that has started it (CHILD-7).
    worker: Option<WrappedWorker>,
    /// The descendants it had when it was asked to end.
    recorded_descendants: Vec<tree::Descendant>,
    /// Whether the child was seen to have ended.
    has_ended: bool,
    /// Whether the worker was seen to have ended while its wrapper, the child, goes on.
    only_wrapper_runs: bool,
    is_reaped: bool,
}

/// A worker that is not a child of this process but of a child: of a script, `timeout`, `strace` or `setsid`.
#[derive(Debug)]
struct WrappedWorker {
    pid: Pid,
    pidfd: OwnedFd,
    has_ended: bool,
    /// Whether the worker was seen to run after its wrapper had ended, so that the wrapper's exit status is not its
    /// own.
    outlived_wrapper: bool,
}

/// How long dropping a [`ChildProcess`] waits for the end of the killed child. The kernel may need time, for example
/// while the child waits for a file system that does not answer.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

impl ChildProcess {
    /// Starts a child and waits until it runs its program.
    pub(crate) fn spawn(request: &SpawnRequest, inherited: &InheritedFiles) -> io::Result<Self> {
        let Spawned { pid, pidfd } = spawn::spawn(request, inherited)?;
        Ok(Self {
            pid,
            pidfd,
            worker: None,
            recorded_descendants: Vec::new(),
            has_ended: false,
            only_wrapper_runs: false,
            is_reaped: false,
        })
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        pidfd::to_id(self.pid)
    }

    /// Returns whether all threads of the child have ended. Other processes of its group may live on.
    pub(crate) fn has_ended(&self) -> io::Result<bool> {
        pidfd::has_ended(&self.pidfd)
    }

    /// Records that the worker is the process `id` and not the child itself (CHILD-7). Since the id may have been
    /// reused, `is_it` is called to confirm the process once its pidfd is open.
    pub(crate) fn set_worker(&mut self, id: u32, is_it: impl FnOnce() -> bool) {
        let Some(pid) = pidfd::to_pid(id).filter(|&pid| pid != self.pid) else {
            return;
        };
        // If this fails the worker has ended already, which its link will report.
        if let Ok(pidfd) = pidfd::open(pid)
            && let Ok(pidfd) = beyond_stdio(pidfd)
            && is_it()
        {
            self.worker = Some(WrappedWorker {
                pid,
                pidfd,
                has_ended: false,
                outlived_wrapper: false,
            });
        }
    }

    /// Returns the pidfds of child and worker, without those that were seen to have ended. When one becomes readable,
    /// in the sense of `poll(2)`, call [`update_exits`](Self::update_exits). There is none if the child has ended and
    /// its worker is not known.
    pub(crate) fn running(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let worker = self.worker.iter().filter(|worker| !worker.has_ended);
        let worker = worker.map(|worker| worker.pidfd.as_fd());
        let child = (!self.has_ended).then(|| self.pidfd.as_fd());
        worker.chain(child)
    }

    /// Returns whether [`running`](Self::running) has any pidfd.
    pub(crate) fn has_running(&self) -> bool {
        self.running().next().is_some()
    }

    /// Returns the pidfds of those of child and worker that were seen to have ended.
    pub(crate) fn exited(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let worker = self.worker.iter().filter(|worker| worker.has_ended);
        let worker = worker.map(|worker| worker.pidfd.as_fd());
        let child = self.has_ended.then(|| self.pidfd.as_fd());
        worker.chain(child)
    }

    /// Returns the process id of the worker: of the child, or of the one that it has started (CHILD-7).
    pub(crate) fn worker_id(&self) -> u32 {
        let worker = self.worker.as_ref().map(|worker| pidfd::to_id(worker.pid));
        worker.unwrap_or(self.id())
    }

    /// Returns the pidfd of the worker, if the child is a wrapper.
    pub(crate) fn worker_pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.worker.as_ref().map(|worker| worker.pidfd.as_fd())
    }

    /// Checks which of child and worker have ended. Returns whether all have. `worker_may_follow` means that the child
    /// may be a wrapper whose worker has not reported its id yet; the end of the child alone does not count then.
    pub(crate) fn update_exits(&mut self, worker_may_follow: bool) -> bool {
        self.has_ended |= pidfd::has_ended_without_poll(&self.pidfd, self.pid);
        let Some(worker) = &mut self.worker else {
            return self.has_ended && !worker_may_follow;
        };
        worker.has_ended |= pidfd::has_ended_without_poll(&worker.pidfd, worker.pid);
        worker.outlived_wrapper |= self.has_ended && !worker.has_ended;
        self.only_wrapper_runs = worker.has_ended && !self.has_ended;
        worker.has_ended && self.has_ended
    }

    /// Returns whether the worker was seen to have ended while its wrapper goes on.
    pub(crate) fn only_wrapper_runs(&self) -> bool {
        self.only_wrapper_runs
    }

    /// Kills the child and the worker with their groups and all their descendants. Returns the descendants' pidfds.
    pub(crate) fn kill_tree(&mut self) -> Vec<OwnedFd> {
        let mut descendants = tree::kill(&self.pidfd, self.id());
        descendants.append(&mut self.kill_recorded_descendants());
        if let Some(worker) = &self.worker {
            descendants.append(&mut tree::kill(&worker.pidfd, pidfd::to_id(worker.pid)));
        }
        // It fails only for a group that may not be signalled, which is none of this process's own.
        let _ = self.kill_group();
        descendants
    }

    /// Kills a wrapper whose worker has ended. The worker's exit status stays unknown.
    pub(crate) fn kill_wrapper(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.outlived_wrapper = true;
        }
        drop(self.kill_tree());
    }

    /// Kills the descendants that the child had when it was asked to end. Returns their pidfds.
    pub(crate) fn kill_recorded_descendants(&mut self) -> Vec<OwnedFd> {
        tree::kill_recorded(core::mem::take(&mut self.recorded_descendants))
    }

    /// Kills the child's group. Returns the pidfds of its members without the child. If this process is a
    /// [reaper](super::subreaper), each member becomes its child when the member's own parent has ended.
    pub(crate) fn kill_group_members(&self) -> Vec<OwnedFd> {
        // Killed before they are listed, so that no member starts another one before the list is complete.
        let _ = self.kill_group();
        group::members(self.pid)
    }

    /// Asks the whole group to end, by `SIGTERM`. A stopped process receives the signal when it continues. Records the
    /// descendants that exist now; [`reap`](Self::reap) kills them.
    pub(crate) fn terminate_group(&mut self) -> io::Result<()> {
        self.recorded_descendants = tree::record(&self.pidfd, self.id());
        if let Some(worker) = &self.worker {
            let mut of_worker = tree::record(&worker.pidfd, pidfd::to_id(worker.pid));
            self.recorded_descendants.append(&mut of_worker);
        }
        self.signal_group(Signal::TERM)
    }

    /// Kills the whole group.
    pub(crate) fn kill_group(&self) -> io::Result<()> {
        self.signal_group(Signal::KILL)
    }

    /// Signals the group, and child and worker themselves if they have left it (CHILD-6).
    fn signal_group(&self, signal: Signal) -> io::Result<()> {
        if self.is_reaped {
            // The id may be that of another group by now (CHILD-4).
            return Ok(());
        }
        if mutant!(LeaderSignalledAlone) {
            let _ = kill_process(self.pid, signal);
            return Ok(());
        }
        if !group::is_led_by(self.pid) {
            let _ = pidfd_send_signal(&self.pidfd, signal);
        }
        if let Some(worker) = &self.worker {
            let is_leader = group::is_led_by(worker.pid);
            if is_leader && !pidfd::has_ended(&worker.pidfd).unwrap_or(true) {
                let _ = kill_process_group(worker.pid, signal);
            } else {
                let _ = pidfd_send_signal(&worker.pidfd, signal);
            }
        }
        match kill_process_group(self.pid, signal) {
            // No such group: other code has reaped the leader, or it has left the group, and no member remains.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Kills the rest of the group, waits until the child has ended, and reaps it. Returns its exit status; `None` if
    /// other code of this process has reaped it, or if the worker outlived its wrapper.
    ///
    /// A group of another user cannot be killed, for example that of a worker which changed its user id. Its leader is
    /// reaped all the same.
    pub(crate) fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
        drop(self.kill_recorded_descendants());
        let _ = self.kill_group();
        let status = self.wait(WaitIdOptions::EXITED)?;
        let Some(worker) = &self.worker else {
            return Ok(status);
        };
        // The worker is a child of this process by now if this process is a reaper: then its own status is known.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match pidfd::wait(&worker.pidfd, options) {
            Ok(Some(status)) => Ok(Some(status)),
            _ if worker.outlived_wrapper => Ok(None),
            _ => Ok(status),
        }
    }

    /// Gives up the handle: the child is neither killed nor reaped when it is dropped.
    pub(crate) fn detach(mut self) {
        self.is_reaped = true;
    }

    fn wait(&mut self, options: WaitIdOptions) -> io::Result<Option<ExitStatus>> {
        let status = pidfd::wait(&self.pidfd, options)?;
        self.is_reaped = true;
        Ok(status)
    }

    /// Returns the resident memory of the worker in bytes, shared memory included; 0 once it has ended.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        let worker = self.worker.as_ref().map(|worker| &worker.pidfd);
        memory_use::of(worker.unwrap_or(&self.pidfd))
    }
}

impl AsFd for ChildProcess {
    /// Returns the child's pidfd, which is readable, in the sense of `poll(2)`, once the child has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        if self.is_reaped {
            return;
        }
        drop(self.kill_tree());
        let mut poll = Poll::new();
        poll.readable(self.pidfd.as_fd());
        let deadline = Instant::now() + DROP_TIMEOUT;
        if poll.wait(Some(deadline)).is_err() {
            while !pidfd::has_ended_without_poll(&self.pidfd, self.pid) && Instant::now() < deadline
            {
                thread::sleep(Duration::from_millis(1));
            }
        }
        let _ = self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

#[cfg(test)]
mod tests;
