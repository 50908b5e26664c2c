//! Who is dead. Decided by facts of the kernel, never by how long somebody has been silent.
//!
//! A peer says who it is by process id, start time and namespaces ([`Identity`]), and has a byte of the segment
//! file locked ([`super::locks`]) for as long as it is attached.
//!
//! | identity | process id (pidfd) | start time | lock | maps the segment | verdict |
//! |---|---|---|---|---|---|
//! | not written yet, of another namespace, or `/proc` is not ours | - | - | held | - | alive |
//! | likewise | - | - | free | - | dead |
//! | visible, and the judge's own, but of an earlier life | - | - | - | - | dead |
//! | visible | nobody, or not a process but a thread of one | - | - | - | dead |
//! | visible | all its threads have ended, reaped or not | - | - | - | dead |
//! | visible | lives | differs: the id was used again | - | - | dead |
//! | visible | lives | same | - | no task does: it runs another program | dead |
//! | visible | lives | same | held | some task does | alive |
//! | visible | lives | same | free | some task does | unlocked: alive, but an alarm |
//! | visible | lives | can't be read | - | can't be read | no verdict |
//!
//! So, in particular:
//!
//! - stopped, frozen, swapped out, traced or slow: alive, for its pidfd is silent and its lock held;
//! - a group leader that has exited before its threads: alive. It looks like a zombie, and its own `maps` are
//!   empty, but its pidfd is silent and another task maps the segment;
//! - a zombie that nobody reaps: dead, for the pidfd of one without threads polls readable;
//! - dead, and a forked child of it lives on with a copy of its descriptor: dead. Its lock is held, but in the same
//!   namespaces the lock decides nothing;
//! - `closefrom()`: alive, for the mapping keeps the description, and with it the lock, as long as the segment can be
//!   written to. Where the lock is free nevertheless (it was mapped through another description): unlocked. Nothing
//!   is repaired until it is dead by the other rules;
//! - it has executed another program: dead, also if a forked child keeps the lock;
//! - it has executed a program, its own again perhaps, that has attached to the same queue: process id, start time and
//!   mapping agree again. But the process itself knows: the number that the kernel gives each program that is executed
//!   ([`process::Identity::image`]) is another. So whoever attaches judges the rows of its own earlier lives, and later
//!   sweeps of it do so, too. A forked child has another process id, and another copy of this library the same number.
//!
//! # Errors of the kernel
//!
//! LIVENESS-OS-1 (LIVENESS-3). What can't be found out is no death. No error is a verdict, but for those that are the kernel's
//! answer that there is no such process:
//!
//! | call | error | consequence |
//! |------|-------|-------------|
//! | `pidfd_open` | ESRCH | dead: there is no such process |
//! | `pidfd_open` | EINVAL, ENOENT | dead if `Tgid` in `/proc/ID/status` says that the id is a thread's; otherwise as below |
//! | `pidfd_open` | EPERM, EACCES, ENOSYS (refused by a filter, or unknown), EMFILE, ENFILE, ENOMEM, others | judged without: see below |
//! | `poll` of the pidfd | any | no verdict now |
//! | `kill(ID, 0)` | ESRCH | dead: there is no such process |
//! | `kill(ID, 0)` | EPERM, others | nothing; `/proc` decides |
//! | open or read `/proc/ID/stat`, `status`, `task` | ENOENT (`hidepid`, or just ended), EACCES, EMFILE, others | no verdict now |
//! | open or read `/proc/ID/maps` | ESRCH | this task has no memory |
//! | open or read `/proc/ID/maps` | EACCES (another user, not dumpable), EMFILE, others | no verdict now |
//! | `readlink /proc/self` | ENOENT: no `/proc` | judged by its lock alone, as of another namespace |
//! | `readlink /proc/self` | others | no verdict now |
//! | `fcntl(F_OFD_GETLK)`, `fstat` | any | no verdict now |
//!
//! Without a pidfd, one read of `/proc/ID/stat` takes its place: it shows the start time, and whether all threads have
//! ended, of one and the same process.
//!
//! LIVENESS-1. The start time is read between the opening of the pidfd and the poll: if the poll says that the process
//!     lives, the id was its own all the time, so the start time is its own, too.
//! LIVENESS-2. Every answer of the lock counts only if the descriptor asked is the segment's before and after: it
//!     might have been closed, and its number used for another file.
//! LIVENESS-3. What can't be found out is no death: LIVENESS-OS-1.
//!
//! The start time and the mappings of a peer whose lock is held and whose process lives are looked at only if the
//! caller asks for a `thorough` verdict: they matter only where a forked child has kept the lock *and* the process
//! has run another program, or its id is used again.

use super::locks;
use super::memory::FileId;
use super::process::{self, Identity, Stat};
use nix::errno::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::fd::OwnedFd;

/// See the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It lives, or may do so.
    Alive,
    /// It will never execute another instruction of its program.
    Dead,
    /// It lives and uses the segment, but has lost its lock.
    Unlocked,
}

/// Judges the peers of one segment, from one process.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    /// A description of the segment, not shared with any of those to be judged.
    file: &'a OwnedFd,
    id: FileId,
    /// The judge itself.
    me: Identity,
    /// Whether `/proc` shows processes by the ids that the judge knows them by.
    proc_is_ours: io::Result<bool>,
}

/// What there is to judge a process by.
#[derive(Debug)]
enum Evidence {
    Pidfd(OwnedFd),
    /// There is no pidfd to be had, for whatever reason.
    NoPidfd,
    /// The kernel says that there is no such process.
    Gone,
}

impl<'a> Judge<'a> {
    /// `None`: `file` is not the segment any more, for somebody has closed all descriptors of this process.
    pub(crate) fn new(file: &'a OwnedFd, id: FileId, me: &Identity) -> Option<Self> {
        (FileId::of(file).ok()? == id).then(|| Self {
            file,
            id,
            me: *me,
            proc_is_ours: process::proc_is_ours(),
        })
    }

    /// Judge the peer that has `byte` locked while it is attached. `identity`: who it says it is, if it has
    /// said so yet.
    pub(crate) fn verdict(
        &self,
        byte: u64,
        identity: Option<Identity>,
        thorough: bool,
    ) -> io::Result<Verdict> {
        let locked = self.is_locked(byte)?;
        let here = |identity: &Identity| {
            identity.pid_namespace == self.me.pid_namespace
                && identity.time_namespace == self.me.time_namespace
        };
        let Some(identity) = identity.filter(here) else {
            return Ok(by_lock(locked));
        };
        if identity.is_earlier_life_of(&self.me) {
            return Ok(Verdict::Dead);
        }
        match self.proc_is_ours {
            Ok(true) => self.of_process(identity, locked, thorough),
            Ok(false) => Ok(by_lock(locked)),
            Err(ref error) => Err(error.kind().into()),
        }
    }

    /// Whether anybody else has `byte` locked (LIVENESS-2).
    pub(crate) fn is_locked(&self, byte: u64) -> io::Result<bool> {
        let locked = locks::is_locked(self.file, byte)?;
        if FileId::of(self.file)? == self.id {
            Ok(locked)
        } else {
            Err(ErrorKind::NotFound.into())
        }
    }

    fn of_process(&self, identity: Identity, locked: bool, thorough: bool) -> io::Result<Verdict> {
        match evidence(identity.process_id())? {
            Evidence::Pidfd(process) => self.with_pidfd(&process, identity, locked, thorough),
            Evidence::NoPidfd => self.without_pidfd(identity, locked, thorough),
            Evidence::Gone => Ok(Verdict::Dead),
        }
    }

    fn with_pidfd(
        &self,
        process: &OwnedFd,
        identity: Identity,
        locked: bool,
        thorough: bool,
    ) -> io::Result<Verdict> {
        let id = identity.process_id();
        let thorough = thorough || !locked;
        let stat = thorough.then(|| Stat::of(id));
        if has_ended(process)? {
            return Ok(Verdict::Dead);
        }
        let Some(stat) = stat else {
            return Ok(Verdict::Alive);
        };
        // LIVENESS-1.
        if stat?.started != identity.started() && !mutant!(StartTimeIgnored) {
            return Ok(Verdict::Dead);
        }
        if !maps(id, self.id)? && !mutant!(MappingIgnored) {
            return Ok(Verdict::Dead);
        }
        if locked {
            Ok(Verdict::Alive)
        } else if has_ended(process)? {
            // It was dying, and let go of its lock first.
            Ok(Verdict::Dead)
        } else {
            Ok(Verdict::Unlocked)
        }
    }

    /// As [`with_pidfd`](Self::with_pidfd), by what `/proc` says.
    fn without_pidfd(
        &self,
        identity: Identity,
        locked: bool,
        thorough: bool,
    ) -> io::Result<Verdict> {
        let id = identity.process_id();
        if process::is_gone(id) {
            return Ok(Verdict::Dead);
        }
        let has_ended = || {
            let stat = Stat::of(id)?;
            io::Result::Ok(stat.started != identity.started() || stat.has_ended)
        };
        if has_ended()? {
            return Ok(Verdict::Dead);
        }
        if locked && !thorough {
            return Ok(Verdict::Alive);
        }
        // If the id was used again meanwhile, the process is dead as well.
        if !maps(id, self.id)? {
            return Ok(Verdict::Dead);
        }
        if locked {
            Ok(Verdict::Alive)
        } else if process::is_gone(id) || has_ended()? {
            Ok(Verdict::Dead)
        } else {
            Ok(Verdict::Unlocked)
        }
    }
}

/// The verdict where nothing but the lock is known.
fn by_lock(locked: bool) -> Verdict {
    if locked {
        Verdict::Alive
    } else {
        Verdict::Dead
    }
}

/// See the table of errors.
fn evidence(id: u32) -> io::Result<Evidence> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    match pidfd_open(pid.ok_or(ErrorKind::InvalidData)?, PidfdFlags::empty()) {
        Ok(process) => Ok(Evidence::Pidfd(process)),
        Err(rustix::io::Errno::SRCH) => Ok(Evidence::Gone),
        // The id is that of a thread now, which it can be only after the process has gone.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT)
            if process::is_a_thread(id).unwrap_or(false) =>
        {
            Ok(Evidence::Gone)
        }
        Err(_) if mutant!(EveryPidfdErrorIsDeath) => Ok(Evidence::Gone),
        Err(_) => Ok(Evidence::NoPidfd),
    }
}

/// Whether all threads of the process have ended.
fn has_ended(process: &OwnedFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    Ok(poll(&mut polled, Some(&at_once))? > 0)
}

/// Whether any task of the process maps the file. Its threads normally share one memory, but a group leader
/// that has exited shows none.
fn maps(id: u32, file: FileId) -> io::Result<bool> {
    if task_maps(&format!("/proc/{id}/maps"), file)? {
        return Ok(true);
    }
    let mut before = Vec::new();
    // The kernel may skip a living task in a listing while another ends, so only two equal ones count.
    for _ in 0..MOST_LISTINGS {
        let tasks = tasks(id)?;
        for task in &tasks {
            if task_maps(&format!("/proc/{id}/task/{task}/maps"), file)? {
                return Ok(true);
            }
        }
        if tasks == before {
            return Ok(false);
        }
        before = tasks;
    }
    Err(ErrorKind::WouldBlock.into())
}

/// A process that starts and ends threads faster than this is judged another time.
const MOST_LISTINGS: u32 = 16;

fn tasks(id: u32) -> io::Result<Vec<String>> {
    let mut tasks = Vec::new();
    for entry in fs::read_dir(format!("/proc/{id}/task"))? {
        tasks.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(tasks)
}

fn task_maps(path: &str, file: FileId) -> io::Result<bool> {
    let has_no_memory = |error: &io::Error| error.raw_os_error() == Some(Errno::ESRCH as i32);
    let lines = match File::open(path) {
        Ok(maps) => BufReader::with_capacity(1 << 14, maps).lines(),
        Err(error) if has_no_memory(&error) => return Ok(false),
        // A task that has just ended; the next listing will lack it.
        Err(error) if error.kind() == ErrorKind::NotFound && path.contains("/task/") => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    for line in lines {
        match line {
            Ok(line) if file.is_mapped_by(&line) => return Ok(true),
            Ok(_) => {}
            Err(error) if has_no_memory(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
