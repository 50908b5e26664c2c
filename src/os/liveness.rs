//! Decides whether a peer is dead, from facts that the kernel reports. How long a peer has not been active is no
//! evidence.
//!
//! A peer publishes its process id, start time and namespaces ([`Identity`]), and keeps a byte of the segment's file
//! locked ([`locks`]) while it is attached.
//!
//! | identity | process id (pidfd) | start time | lock | maps the segment | result |
//! |---|---|---|---|---|---|
//! | not published yet, of another namespace, or `/proc` is of another namespace | - | - | held | - | alive |
//! | likewise | - | - | free | - | dead |
//! | visible, and an earlier image of the probing process itself | - | - | - | - | dead |
//! | visible | no process has it, or only a secondary thread of one | - | - | - | dead |
//! | visible | all its threads have ended, reaped or not | - | - | - | dead |
//! | visible | lives | differs: the id was reused | - | - | dead |
//! | visible | lives | same | - | no thread does: it has executed another program | dead |
//! | visible | lives | same | held | some thread does | alive |
//! | visible | lives | same | free | some thread does | unlocked: alive, but reported as an alarm |
//! | visible | lives | can't be read | - | can't be read | unknown |
//!
//! In particular:
//!
//! - A process that is stopped, frozen, swapped out, traced or slow is alive: its pidfd is not readable, and its lock
//!   held.
//! - A group leader that has exited before its other threads is alive. It looks like a zombie, and its own `maps` are
//!   empty, but its pidfd is not readable and another thread maps the segment.
//! - A zombie that is not reaped is dead: the pidfd of a process without threads is readable.
//! - A dead process of which a forked child lives on with a copy of its descriptor is dead. Its lock is held, but
//!   within one namespace the lock alone decides nothing.
//! - A process that has called `closefrom()` is alive: the mapping keeps the open file description, and with it the
//!   lock, as long as the segment is mapped writable. If the lock is free nevertheless (the segment was mapped through
//!   another description), the peer is unlocked. Nothing is repaired until it is dead by the other rules.
//! - A process that has executed another program is dead, even if a forked child keeps the lock.
//! - A process may have executed a program, perhaps the same one again, that has attached to the same queue. Then
//!   process id, start time and mapping are those of before. But the process itself knows its image number
//!   ([`Identity::image`]), which `execve` changes. So a process that attaches finds the peer entries of its own
//!   earlier images dead, and so do its later sweeps. A forked child has another process id; another copy of this
//!   library in the same process has the same image number.
//!
//! # Errors of the kernel
//!
//! No error means death, except for those by which the kernel reports that there is no such process (PROBE-3):
//!
//! | call                                      | error           | consequence                                     |
//! | ----------------------------------------- | --------------- | ----------------------------------------------- |
//! | `pidfd_open`                              | ESRCH           | dead: there is no such process                  |
//! | `pidfd_open`                              | EINVAL, ENOENT  | dead if the id is a secondary thread's, see (1) |
//! | `pidfd_open`                              | others, see (2) | decided without a pidfd                         |
//! | `poll` of the pidfd                       | any             | unknown                                         |
//! | `kill(ID, 0)`                             | ESRCH           | dead: there is no such process                  |
//! | `kill(ID, 0)`                             | others          | none; `/proc` decides                           |
//! | read of `/proc/ID/stat`, `status`, `task` | any, see (3)    | unknown                                         |
//! | read of `/proc/ID/maps`                   | ESRCH           | this thread has no memory                       |
//! | read of `/proc/ID/maps`                   | others, see (4) | unknown                                         |
//! | `readlink /proc/self`                     | ENOENT          | `/proc` is not mounted: the lock decides        |
//! | `readlink /proc/self`                     | others          | unknown                                         |
//! | `fcntl(F_OFD_GETLK)`, `fstat`             | any             | unknown                                         |
//!
//! 1. `Tgid` in `/proc/ID/status` is another id then. Otherwise decided without a pidfd.
//! 2. For example EPERM, EACCES, ENOSYS (unknown, or refused by a filter), EMFILE, ENFILE, ENOMEM.
//! 3. For example ENOENT (`hidepid`, or just ended), EACCES, EMFILE.
//! 4. For example EACCES (another user's process, or one that is not dumpable), EMFILE.
//!
//! *Unknown* is returned as an error; a later sweep asks again. Without a pidfd, one read of `/proc/ID/stat` takes its
//! place: it shows the start time, and whether all threads have ended, of one and the same process.
//!
//! PROBE-1. The start time is read after the pidfd is opened and before it is polled. If the poll reports that the
//!     process lives, the id was its own all the time, so the start time is its own, too.
//! PROBE-2. An answer about a lock counts only if the descriptor is the segment's before and after the question: other
//!     code might have closed it, and its number might have been reused for another file.
//! PROBE-3. What cannot be found out is not death (see the table of errors).
//!
//! Start time and mappings are read only for a `thorough` check, or if the lock is free. They matter only where a
//! forked child has kept the lock *and* the process has executed another program, or its id was reused.
//!
//! This module owns no state: a [`LivenessProbe`] borrows the descriptor of the segment.

use super::identity::Identity;
use super::memory::FileId;
use super::procfs::Stat;
use super::{locks, pidfd, procfs};
use nix::errno::Errno;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::fd::OwnedFd;

/// Result of a check, as in the module's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// The peer lives, or may do so.
    Alive,
    /// The peer will never execute another instruction of its program.
    Dead,
    /// The peer lives and uses the segment, but has lost its lock.
    Unlocked,
}

/// Checks peers of one segment, from one process.
#[derive(Debug)]
pub(crate) struct LivenessProbe<'a> {
    /// A description of the segment's file that no checked peer shares.
    file: &'a OwnedFd,
    id: FileId,
    /// The probing process.
    me: Identity,
    /// Whether `/proc` shows the process ids of this namespace.
    proc_is_own: io::Result<bool>,
}

/// How a process can be observed.
#[derive(Debug)]
enum Observed {
    Pidfd(OwnedFd),
    /// No pidfd can be opened.
    NoPidfd,
    /// The kernel reports that there is no such process.
    Gone,
}

impl<'a> LivenessProbe<'a> {
    /// Returns a probe; `None` if `file` is no longer the segment, because other code has closed this process's
    /// descriptors.
    pub(crate) fn new(file: &'a OwnedFd, id: FileId, me: &Identity) -> Option<Self> {
        (FileId::of(file).ok()? == id).then(|| Self {
            file,
            id,
            me: *me,
            proc_is_own: procfs::is_own_namespace(),
        })
    }

    /// Checks the peer that keeps `byte` locked while it is attached. `identity` is the one it has published, if any.
    ///
    /// # Errors
    ///
    /// Whether the peer lives cannot be found out now (PROBE-3).
    pub(crate) fn check(
        &self,
        byte: u64,
        identity: Option<Identity>,
        thorough: bool,
    ) -> io::Result<Liveness> {
        let locked = self.is_locked(byte)?;
        let is_in_my_namespaces = |identity: &Identity| {
            identity.pid_namespace == self.me.pid_namespace
                && identity.time_namespace == self.me.time_namespace
        };
        let Some(identity) = identity.filter(is_in_my_namespaces) else {
            return Ok(by_lock(locked));
        };
        if identity.is_earlier_image_of(&self.me) {
            return Ok(Liveness::Dead);
        }
        match self.proc_is_own {
            Ok(true) => self.check_process(identity, locked, thorough),
            Ok(false) => Ok(by_lock(locked)),
            Err(ref error) => Err(error.kind().into()),
        }
    }

    /// Returns whether another description has `byte` locked (PROBE-2).
    pub(crate) fn is_locked(&self, byte: u64) -> io::Result<bool> {
        let locked = locks::is_locked(self.file, byte)?;
        if FileId::of(self.file)? == self.id {
            Ok(locked)
        } else {
            Err(ErrorKind::NotFound.into())
        }
    }

    fn check_process(
        &self,
        identity: Identity,
        locked: bool,
        thorough: bool,
    ) -> io::Result<Liveness> {
        match observe(identity.process_id())? {
            Observed::Pidfd(pidfd) => self.check_with_pidfd(&pidfd, identity, locked, thorough),
            Observed::NoPidfd => self.check_without_pidfd(identity, locked, thorough),
            Observed::Gone => Ok(Liveness::Dead),
        }
    }

    fn check_with_pidfd(
        &self,
        pidfd: &OwnedFd,
        identity: Identity,
        locked: bool,
        thorough: bool,
    ) -> io::Result<Liveness> {
        let id = identity.process_id();
        let thorough = thorough || !locked;
        let stat = thorough.then(|| Stat::of(id));
        if pidfd::has_ended(pidfd)? {
            return Ok(Liveness::Dead);
        }
        let Some(stat) = stat else {
            return Ok(Liveness::Alive);
        };
        // PROBE-1.
        if stat?.start_time != identity.start_time() && !mutant!(StartTimeIgnored) {
            return Ok(Liveness::Dead);
        }
        if !maps(id, self.id)? && !mutant!(MappingIgnored) {
            return Ok(Liveness::Dead);
        }
        if locked {
            Ok(Liveness::Alive)
        } else if pidfd::has_ended(pidfd)? {
            // It was ending, and the kernel had released its lock before its threads.
            Ok(Liveness::Dead)
        } else {
            Ok(Liveness::Unlocked)
        }
    }

    /// Does the same as [`check_with_pidfd`](Self::check_with_pidfd), from `/proc` alone.
    fn check_without_pidfd(
        &self,
        identity: Identity,
        locked: bool,
        thorough: bool,
    ) -> io::Result<Liveness> {
        let id = identity.process_id();
        if !pidfd::exists(id) {
            return Ok(Liveness::Dead);
        }
        let has_ended = || {
            let stat = Stat::of(id)?;
            io::Result::Ok(stat.start_time != identity.start_time() || stat.has_ended)
        };
        if has_ended()? {
            return Ok(Liveness::Dead);
        }
        if locked && !thorough {
            return Ok(Liveness::Alive);
        }
        // If the id was reused in the meantime, the peer is dead as well.
        if !maps(id, self.id)? {
            return Ok(Liveness::Dead);
        }
        if locked {
            Ok(Liveness::Alive)
        } else if !pidfd::exists(id) || has_ended()? {
            Ok(Liveness::Dead)
        } else {
            Ok(Liveness::Unlocked)
        }
    }
}

/// Returns the result where only the lock is known.
fn by_lock(locked: bool) -> Liveness {
    if locked {
        Liveness::Alive
    } else {
        Liveness::Dead
    }
}

/// Opens a pidfd, or finds out why there is none: see the table of errors.
fn observe(id: u32) -> io::Result<Observed> {
    match pidfd::open(pidfd::to_pid(id).ok_or(ErrorKind::InvalidData)?) {
        Ok(pidfd) => Ok(Observed::Pidfd(pidfd)),
        Err(rustix::io::Errno::SRCH) => Ok(Observed::Gone),
        // The id is that of a secondary thread now, which it can be only after the process has ended.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT)
            if procfs::is_secondary_thread(id).unwrap_or(false) =>
        {
            Ok(Observed::Gone)
        }
        Err(_) if mutant!(EveryPidfdErrorIsDeath) => Ok(Observed::Gone),
        Err(_) => Ok(Observed::NoPidfd),
    }
}

/// Returns whether any thread of the process maps the file. Threads normally share one memory, but a group leader that
/// has exited shows none.
fn maps(id: u32, file: FileId) -> io::Result<bool> {
    if is_in_maps(&format!("/proc/{id}/maps"), file)? {
        return Ok(true);
    }
    let mut before = Vec::new();
    // The kernel may leave a living thread out of a listing while another thread ends, so only two equal listings
    // count.
    for _ in 0..MAX_LISTINGS {
        let threads = procfs::threads(id)?;
        for thread in &threads {
            if is_in_maps(&format!("/proc/{id}/task/{thread}/maps"), file)? {
                return Ok(true);
            }
        }
        if threads == before {
            return Ok(false);
        }
        before = threads;
    }
    Err(ErrorKind::WouldBlock.into())
}

/// The number of listings of a process's threads before the result is unknown, because threads start and end too fast.
const MAX_LISTINGS: u32 = 16;

/// Returns whether a `maps` file in `/proc` has a mapping of `file`.
fn is_in_maps(path: &str, file: FileId) -> io::Result<bool> {
    let has_no_memory = |error: &io::Error| error.raw_os_error() == Some(Errno::ESRCH as i32);
    let lines = match File::open(path) {
        Ok(maps) => BufReader::with_capacity(1 << 14, maps).lines(),
        Err(error) if has_no_memory(&error) => return Ok(false),
        // The thread has just ended. The next listing will not have it.
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
