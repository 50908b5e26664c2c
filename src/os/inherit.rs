//! What a child inherits: descriptors under their numbers, and the locks of tickets.
//!
//! A ticket for a queue is locked through an open file description, and lasts until the last descriptor of that
//! description is closed. A process that another thread forks before the child is started has a copy of each descriptor.
//! If the child got the same description, such a copy would keep the ticket locked after the child has died. So the child
//! makes a description of its own, where no other process can get a copy of it:
//!
//! | the child                                      | the ticket's byte is locked by          |
//! |------------------------------------------------|-----------------------------------------|
//! | is made                                        | the parent's description (and its copies) |
//! | shares that lock                               | the same                                |
//! | opens the file again, and shares the lock by it | both                                    |
//! | unlocks the parent's description               | the child's                             |
//! | has its own description under the number       | the child's                             |
//!
//! INHERIT-1. At every step a description that the child has open holds the lock, so it is never found free while the
//!            child lives. An unlock through one copy of a description unlocks it for all of them.
//! INHERIT-2. Where the file can't be opened again (another user, no `/proc`, no descriptor left), the child keeps the
//!            parent's description. Then a fork of the parent that lives on keeps the ticket until it ends.
//!
//! Everything that [`Inheritance::apply`] does is async-signal-safe: it runs between fork and exec.

use super::locks;
use super::process::number;
use crate::sync::{AtomicBool, Ordering};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::unistd::dup2_raw;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

/// What one child is to inherit. The descriptors must stay open until it was started.
#[derive(Debug, Default)]
pub(crate) struct Inheritance {
    files: Vec<RawFd>,
    tickets: Vec<Ticket>,
}

#[derive(Debug)]
struct Ticket {
    number: RawFd,
    path: CString,
    byte: u64,
}

impl Inheritance {
    /// Adds a descriptor.
    pub(crate) fn add_file(&mut self, file: impl AsFd) {
        self.files.push(number(file));
    }

    /// Adds a descriptor whose description has `byte` locked, which the child is to take over alone.
    pub(crate) fn add_ticket(&mut self, file: impl AsFd, byte: u64) -> io::Result<()> {
        let number = number(file);
        let path = CString::new(format!("/proc/self/fd/{number}"))?;
        self.tickets.push(Ticket { number, path, byte });
        Ok(())
    }

    /// Lets the program that this process runs next inherit everything. To be called in the child.
    pub(crate) fn apply(&self) -> io::Result<()> {
        for ticket in &self.tickets {
            if !ticket.take_over()? {
                keep_open(ticket.number)?;
            }
        }
        self.files.iter().try_for_each(|&file| keep_open(file))
    }

    /// Lets the program that `command` starts inherit everything, for as long as the returned permission is not revoked.
    pub(crate) fn bind(self, command: &mut Command) -> Permission {
        let permission = Permission(Arc::new(AtomicBool::new(true)));
        let valid = Arc::clone(&permission.0);
        let apply = move || {
            // A command can be started again, when these numbers mean other files.
            if valid.load(Ordering::Relaxed) {
                self.apply()?;
            }
            Ok(())
        };
        // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are allowed: it
        // makes system calls, allocates nothing and takes no lock.
        unsafe { command.pre_exec(apply) };
        permission
    }
}

impl Ticket {
    /// Returns false, and leaves the lock where it is, if the file can't be opened again (INHERIT-2).
    fn take_over(&self) -> io::Result<bool> {
        let given = borrow(self.number);
        // No other description has it locked: to share it always succeeds.
        if !locks::try_share(given, self.byte)? {
            return Ok(false);
        }
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
        let Ok(own) = open(self.path.as_c_str(), flags, Mode::empty()) else {
            return Ok(false);
        };
        if !locks::try_share(&own, self.byte)? {
            return Ok(false);
        }
        locks::unlock(given, self.byte)?;
        // SAFETY: the child's copy of a descriptor that the parent owns; no value of the child owns it.
        let moved = unsafe { dup2_raw(&own, self.number) }?;
        // The program that is run next is its owner.
        let _ = moved.into_raw_fd();
        Ok(true)
    }
}

/// Not closed on exec.
fn keep_open(file: RawFd) -> io::Result<()> {
    fcntl(borrow(file), FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

fn borrow<'a>(file: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the child has a copy of every descriptor that the parent has open, and the parent keeps these open until
    // the child was started.
    unsafe { BorrowedFd::borrow_raw(file) }
}

/// Lets children inherit descriptors until it is dropped; they must stay open as long.
#[derive(Debug)]
pub(crate) struct Permission(Arc<AtomicBool>);

impl Drop for Permission {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::child::Process;
    use crate::os::memory;
    use crate::os::spawn::{Order, Program};
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, Pid, fork, pause};
    use std::os::fd::OwnedFd;

    const BYTE: u64 = 1 << 40;

    /// A process that has copies of all descriptors of this one, and never ends by itself.
    struct Fork(Pid);

    impl Fork {
        fn new() -> Self {
            // SAFETY: the child makes one system call after the other.
            match unsafe { fork() }.expect("a fork") {
                ForkResult::Parent { child } => Self(child),
                ForkResult::Child => loop {
                    pause();
                },
            }
        }
    }

    impl Drop for Fork {
        fn drop(&mut self) {
            let _ = kill(self.0, Signal::SIGKILL);
            let _ = waitpid(self.0, None);
        }
    }

    /// A ticket, and a description to judge it by.
    fn ticket() -> (OwnedFd, OwnedFd, Inheritance) {
        let judge = memory::create(4096, 4096).expect("a memfd");
        let ticket = memory::reopen(&judge).expect("a description of its own");
        assert!(locks::try_lock(&ticket, BYTE).expect("lock"));
        let mut inheritance = Inheritance::default();
        inheritance.add_ticket(&ticket, BYTE).expect("a path");
        (judge, ticket, inheritance)
    }

    fn is_locked(judge: &OwnedFd) -> bool {
        locks::is_locked(judge, BYTE).expect("ask")
    }

    #[test]
    fn a_ticket_goes_with_the_child_although_a_fork_has_copies_of_its_descriptor() {
        let (judge, ticket, inheritance) = ticket();
        let _fork = Fork::new();
        let mut order = Order::new(Program::File("sleep".into()));
        order.arguments.push("1000".into());
        let child = Process::start(&order, &inheritance).expect("a child");
        drop(ticket);
        assert!(is_locked(&judge), "the child lives");
        child.kill_group().expect("killed");
        child.reap().expect("reaped");
        assert!(!is_locked(&judge), "the fork keeps it");
    }

    #[test]
    fn a_ticket_goes_with_the_child_of_a_command_although_a_fork_has_copies_of_its_descriptor() {
        let (judge, ticket, inheritance) = ticket();
        let _fork = Fork::new();
        let mut command = Command::new("sleep");
        let permission = inheritance.bind(command.arg("1000"));
        let mut child = command.spawn().expect("a child");
        drop((permission, ticket));
        assert!(is_locked(&judge), "the child lives");
        child.kill().expect("killed");
        child.wait().expect("reaped");
        assert!(!is_locked(&judge), "the fork keeps it");
    }

    /// INHERIT-2: what can't be opened again is inherited as it is.
    #[test]
    fn a_ticket_that_can_not_be_opened_again_is_inherited_nevertheless() {
        let (judge, ticket, mut inheritance) = ticket();
        for ticket in &mut inheritance.tickets {
            ticket.path = c"/no/such/file".to_owned();
        }
        let mut order = Order::new(Program::File("sleep".into()));
        order.arguments.push("1000".into());
        let child = Process::start(&order, &inheritance).expect("a child");
        drop(ticket);
        assert!(is_locked(&judge), "the child lives");
        child.kill_group().expect("killed");
        child.reap().expect("reaped");
        assert!(!is_locked(&judge));
    }
}
