//! What a child inherits: descriptors, under the numbers they have, and the locks of handoff tickets. `fcntl(2)`,
//! `dup2(2)`.
//!
//! A *ticket* hands one end of a queue to a child. It is valid while a byte of the queue's file is locked, and the lock
//! lasts until the last descriptor of the open file description that holds it is closed ([`locks`]). If another thread
//! of the parent forks before the child is started, the forked process has a copy of each descriptor. A child that
//! inherited the parent's description would share it with such a copy, which would keep the ticket locked after the
//! child's death. So the child opens a description of its own, where no other process can get a copy:
//!
//! | the child                                              | the ticket's byte is locked by            |
//! |--------------------------------------------------------|-------------------------------------------|
//! | is made                                                | the parent's description (and its copies) |
//! | makes that lock a shared one                           | the same                                  |
//! | opens the file again, and locks the byte shared by it  | both                                      |
//! | unlocks the parent's description                       | the child's                               |
//! | moves its own description to the descriptor's number   | the child's                               |
//!
//! INHERIT-1. At every step a description that the child has open holds the lock, so no process finds it free while the
//!            child lives. Unlocking through one copy of a description unlocks it for all copies.
//! INHERIT-2. If the file cannot be opened again (it belongs to another user, `/proc` is not mounted, no descriptor is
//!            left), the child keeps the parent's description. Then a fork of the parent that lives on keeps the ticket
//!            locked until it ends.
//!
//! A process that was sent the description through a socket does the same, after it has received it: `take_over`.
//!
//! [`InheritedFiles::apply`] runs between fork and exec, so it only makes async-signal-safe calls. This module owns no
//! state.

use super::descriptor::number;
use super::locks;
#[cfg(feature = "rendezvous")]
use super::memory;
use crate::sync::{AtomicBool, Ordering};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::unistd::dup2_raw;
use std::ffi::CString;
use std::io;
#[cfg(feature = "rendezvous")]
use std::os::fd::OwnedFd;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

/// The descriptors that a child inherits. They must stay open until it was started.
#[derive(Debug, Default)]
pub(crate) struct InheritedFiles {
    files: Vec<RawFd>,
    tickets: Vec<Ticket>,
}

#[derive(Debug)]
struct Ticket {
    number: RawFd,
    /// The path by which to open the file again.
    path: CString,
    /// The offset of the locked byte.
    byte: u64,
}

impl InheritedFiles {
    /// Adds a descriptor.
    pub(crate) fn add_file(&mut self, file: impl AsFd) {
        self.files.push(number(file));
    }

    /// Adds a descriptor whose description has `byte` locked. The child takes over the lock for itself.
    pub(crate) fn add_ticket(&mut self, file: impl AsFd, byte: u64) -> io::Result<()> {
        let number = number(file);
        let path = CString::new(format!("/proc/self/fd/{number}"))?;
        self.tickets.push(Ticket { number, path, byte });
        Ok(())
    }

    /// Makes the next program that this process executes inherit everything. Call it in the child.
    pub(crate) fn apply(&self) -> io::Result<()> {
        for ticket in &self.tickets {
            if !ticket.take_over()? {
                keep_open(ticket.number)?;
            }
        }
        self.files.iter().try_for_each(|&file| keep_open(file))
    }

    /// Makes programs that `command` starts inherit everything, until the returned guard is dropped.
    pub(crate) fn bind(self, command: &mut Command) -> InheritGuard {
        let guard = InheritGuard(Arc::new(AtomicBool::new(true)));
        let is_valid = Arc::clone(&guard.0);
        let apply = move || {
            // A command may be started again later, when the numbers may mean other files.
            if is_valid.load(Ordering::Relaxed) {
                self.apply()?;
            }
            Ok(())
        };
        // SAFETY: the closure is async-signal-safe, as it must be between fork and exec: it only makes system calls,
        // allocates nothing and takes no lock.
        unsafe { command.pre_exec(apply) };
        guard
    }
}

impl Ticket {
    /// Moves the lock to a description of the child's own (see the table). If the file cannot be opened again, leaves
    /// the lock where it is and returns false (INHERIT-2).
    fn take_over(&self) -> io::Result<bool> {
        let inherited = borrow(self.number);
        // No other description has the byte locked, so this succeeds.
        if !locks::try_lock_shared(inherited, self.byte)? {
            return Ok(false);
        }
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
        let Ok(own) = open(self.path.as_c_str(), flags, Mode::empty()) else {
            return Ok(false);
        };
        if !locks::try_lock_shared(&own, self.byte)? {
            return Ok(false);
        }
        locks::unlock(inherited, self.byte)?;
        // SAFETY: the number is that of the child's copy of a descriptor. Values of the parent own the original;
        // nothing in the child owns the copy.
        let moved = unsafe { dup2_raw(&own, self.number) }?;
        // The program that is executed next owns it.
        let _ = moved.into_raw_fd();
        Ok(true)
    }
}

/// Moves the lock of a ticket that another process has sent to a description of this process's own, as in the table.
/// Returns that description or, if the file cannot be opened again, the given one (INHERIT-2). Returns `None` if another
/// process has the byte locked.
#[cfg(feature = "rendezvous")]
pub(crate) fn take_over(given: OwnedFd, byte: u64) -> io::Result<Option<OwnedFd>> {
    if !locks::try_lock_shared(&given, byte)? {
        return Ok(None);
    }
    let Ok(own) = memory::reopen(&given) else {
        return Ok(Some(given));
    };
    if !locks::try_lock_shared(&own, byte)? {
        return Ok(Some(given));
    }
    locks::unlock(&given, byte)?;
    Ok(Some(own))
}

/// Clears close-on-exec.
fn keep_open(file: RawFd) -> io::Result<()> {
    fcntl(borrow(file), FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

fn borrow<'a>(file: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the child has a copy of every descriptor that the parent has open, and the parent keeps the ones added
    // open until the child was started.
    unsafe { BorrowedFd::borrow_raw(file) }
}

/// Lets the programs that a command starts inherit descriptors, which must stay open until this is dropped.
#[derive(Debug)]
pub(crate) struct InheritGuard(Arc<AtomicBool>);

impl Drop for InheritGuard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
