//! Who is dead. Decided by facts of the kernel, never by how long somebody has been silent.
//!
//! A peer says who it is by process id, start time and namespaces ([`Identity`]), and has a byte of the segment
//! file locked ([`super::locks`]) for as long as it is attached.
//!
//! | identity | process id (pidfd) | start time | lock | maps the segment | verdict |
//! |---|---|---|---|---|---|
//! | not written yet, of another namespace, or `/proc` is not ours | - | - | held | - | alive |
//! | likewise | - | - | free | - | dead |
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
//! - it has run another program: dead, also if a forked child keeps the lock.
//!
//! K1. The start time is read between the opening of the pidfd and the poll: if the poll says that the process
//!     lives, the id was its own all the time, so the start time is its own, too.
//! K2. Every answer of the lock counts only if the descriptor asked is the segment's before and after: it
//!     might have been closed, and its number used for another file.
//! K3. What can't be found out is no death.
//!
//! The start time and the mappings of a peer whose lock is held and whose process lives are looked at only if the
//! caller asks for a `thorough` verdict: they matter only where a forked child has kept the lock *and* the process
//! has run another program, or its id is used again.

use super::locks;
use super::memory::FileId;
use super::process::{self, Identity};
use crate::mutants::{Mutant, active};
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
    /// The judge's own namespaces; `None` if `/proc` is that of others.
    namespaces: Option<(u64, u64)>,
}

impl<'a> Judge<'a> {
    /// `None`: `file` is not the segment any more, for somebody has closed all descriptors of this process.
    pub(crate) fn new(file: &'a OwnedFd, id: FileId, me: &Identity) -> Option<Self> {
        let namespaces = process::proc_is_ours().then_some((me.pid_namespace, me.time_namespace));
        (FileId::of(file).ok()? == id).then_some(Self {
            file,
            id,
            namespaces,
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
        match identity.filter(|identity| self.can_see(identity)) {
            Some(identity) => self.of_process(identity, locked, thorough),
            None if locked => Ok(Verdict::Alive),
            None => Ok(Verdict::Dead),
        }
    }

    /// Whether anybody else has `byte` locked (K2).
    pub(crate) fn is_locked(&self, byte: u64) -> io::Result<bool> {
        let locked = locks::is_locked(self.file, byte)?;
        if FileId::of(self.file)? == self.id {
            Ok(locked)
        } else {
            Err(ErrorKind::NotFound.into())
        }
    }

    fn can_see(&self, identity: &Identity) -> bool {
        self.namespaces == Some((identity.pid_namespace, identity.time_namespace))
    }

    fn of_process(&self, identity: Identity, locked: bool, thorough: bool) -> io::Result<Verdict> {
        let id = identity.process_id();
        let Some(process) = open(id)? else {
            return Ok(Verdict::Dead);
        };
        let thorough = thorough || !locked;
        let started = thorough.then(|| process::started(id));
        if has_ended(&process)? {
            return Ok(Verdict::Dead);
        }
        let Some(started) = started else {
            return Ok(Verdict::Alive);
        };
        // K1.
        if started? != identity.started() && !active(Mutant::StartTimeIgnored) {
            return Ok(Verdict::Dead);
        }
        if !maps(id, self.id)? && !active(Mutant::MappingIgnored) {
            return Ok(Verdict::Dead);
        }
        if locked {
            Ok(Verdict::Alive)
        } else if has_ended(&process)? {
            // It was dying, and let go of its lock first.
            Ok(Verdict::Dead)
        } else {
            Ok(Verdict::Unlocked)
        }
    }
}

/// A descriptor of the process; `None` if there is none of that id.
fn open(id: u32) -> io::Result<Option<OwnedFd>> {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    match pidfd_open(id.ok_or(ErrorKind::InvalidData)?, PidfdFlags::empty()) {
        Ok(process) => Ok(Some(process)),
        // The last two: the id is that of a thread now, which it can be only after the process has gone.
        Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {
            Ok(None)
        }
        Err(_) if active(Mutant::EveryPidfdErrorIsDeath) => Ok(None),
        Err(error) => Err(error.into()),
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
