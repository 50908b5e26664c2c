//! Starts a program at a cost that does not depend on how much memory this process uses.
//!
//! `fork(2)` copies the parent's page tables: with 6 GiB in use that takes most of a second. A child made by `clone(2)`
//! with `CLONE_VM | CLONE_VFORK` copies nothing. It runs in its parent's memory, on a stack of its own, and the thread
//! that started it waits until the child has run its program or ended. So everything that the child does is prepared
//! before: a [`SpawnRequest`] is what the caller wants, an `ExecPlan` the same as C strings and numbers, which the
//! child only reads.
//!
//! | step of the child                      | reason                                                                |
//! |----------------------------------------|-----------------------------------------------------------------------|
//! | sets default signal dispositions       | `SIGCHLD` might be ignored; a handler would run in the parent's memory |
//! | ignores `SIGTTIN`, `SIGTTOU`           | access to the terminal must fail, not stop a background process       |
//! | sets the [mark](super::mark)           | it can find out later that it was started so                          |
//! | makes its own process group            | no signals from the terminal; killed with what it starts              |
//! | asks to be killed with its parent      | CHILD-2 of [`child`](super::child)                                    |
//! | opens `/dev/null` as standard input    | and as output and error where the parent has them closed              |
//! | or a file or `/dev/null` as those      | if the request says so                                                |
//! | keeps inherited descriptors open       | [`inherit`](super::inherit)                                           |
//! | changes the working directory          | if the request has one                                                |
//! | sets niceness, processors, limits      | those of the request; late, since they might hinder the other steps   |
//! | unblocks all signals                   | SPAWN-2                                                               |
//! | runs code of the caller                | if the request has any: SPAWN-5                                       |
//! | calls `execve(2)`                      |                                                                       |
//!
//! SPAWN-1. The child allocates nothing, takes no lock, does not panic, and only makes async-signal-safe calls.
//! SPAWN-2. All signals are blocked from before the child is made until it has reset all dispositions, so that no
//!          handler of the parent runs in the child. The parent's thread gets its own mask back afterwards.
//! SPAWN-3. A failed step is reported through a cell at the end of the child's stack, which parent and child share. The
//!          child writes it before it ends, and the parent reads it after the kernel has resumed the parent's thread, which
//!          orders the two. Where an emulator turns the call into a plain fork, a failure shows as a child that ends with status
//!          127.
//! SPAWN-4. `SIGHUP` stays ignored if it was: `nohup` is meant for everything that a program starts.
//!
//! SPAWN-5. A child that runs code of the caller is made without `CLONE_VM`: it has a copy of its parent's memory, as after
//!          `fork(2)`, so that the code changes nothing of the parent. The caller has promised that it keeps to SPAWN-1
//!          ([`PreExec`]). The parent still waits until the child has run its program or ended.
//!
//! A new property of children is another field that the child reads, like those of
//! [`ProcessLimits`](super::process_limits::ProcessLimits). [`PreExec`] is for what has no such field, at the cost of a fork.
//!
//! System calls: those of the table, `clone(2)`, `waitid(2)`. This module owns no state.

mod c_strings;
mod clone;
mod plan;
mod pre_exec;
mod request;
mod signals;

pub use pre_exec::PreExec;
pub(crate) use request::{Program, SpawnRequest, StreamTarget};

use super::descriptor::beyond_stdio;
use super::inherit::InheritedFiles;
use super::pidfd;
use clone::{Stack, clone_vfork};
use nix::sys::prctl;
use plan::ExecPlan;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use signals::BlockedSignals;
use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A child that runs its program.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
}

/// Starts a child and waits until it runs its program. The child is killed when the calling thread ends.
///
/// # Errors
///
/// An error of `execve(2)` is returned unchanged. An error of another step names that step.
pub(crate) fn spawn(request: &SpawnRequest, inherited: &InheritedFiles) -> io::Result<Spawned> {
    let stack = Stack::new()?;
    let plan = ExecPlan::new(request, inherited, stack.report())?;
    let (pid, pidfd) = {
        let _blocked = BlockedSignals::all()?;
        clone_vfork(&plan, &stack)?
    };
    if let Some(error) = plan.failure() {
        reap(pid);
        return Err(error.into_io_error(request));
    }
    let pidfd = match pidfd {
        Some(pidfd) => pidfd,
        // Linux before 5.2 has no `CLONE_PIDFD`.
        None => pidfd::open(pid).inspect_err(|_| kill_and_reap(pid))?,
    };
    let pidfd = beyond_stdio(pidfd).inspect_err(|_| kill_and_reap(pid))?;
    Ok(Spawned { pid, pidfd })
}

/// Restores the name of this process to that of its program if it was started through `/proc/self/exe`: tools would
/// show it as "exe".
pub(crate) fn restore_process_name() {
    let is_exe = prctl::get_name().is_ok_and(|name| name.as_bytes() == request::NAME_OF_SELF);
    // Not from `std::env::args`, which is empty before `main` with some C libraries.
    let arguments = fs::read("/proc/self/cmdline").unwrap_or_default();
    let path = arguments.split(|&byte| byte == 0).next();
    let path = path.map(|path| Path::new(OsStr::from_bytes(path)));
    let name = path.and_then(Path::file_name);
    let name = name.and_then(|name| CString::new(name.as_bytes()).ok());
    if let (true, Some(name)) = (is_exe, name) {
        // The kernel uses the first 15 bytes. An error leaves the name as it is.
        let _ = prctl::set_name(&name);
    }
}

/// Waits for the end of a child that has failed or was killed, and reaps it.
fn reap(pid: Pid) {
    while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED) {}
}

fn kill_and_reap(pid: Pid) {
    let _ = kill_process_group(pid, Signal::KILL);
    reap(pid);
}

#[cfg(test)]
mod tests;
