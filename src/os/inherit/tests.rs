//! Tickets that a child takes over while a forked process has copies of all descriptors.

use super::*;
use crate::os::child::ChildProcess;
use crate::os::descriptor::comes_true;
use crate::os::memory;
use crate::os::spawn::{Program, SpawnRequest};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pause};
use std::os::fd::OwnedFd;

const BYTE: u64 = 1 << 40;

/// A process that has copies of all descriptors of this one. It sleeps until it is killed on drop.
struct Fork(Pid);

impl Fork {
    fn new() -> Self {
        // SAFETY: the child only makes system calls.
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

/// Returns an observer (a description by which to see whether the ticket is locked), the ticket, and what the child
/// inherits.
fn ticket() -> (OwnedFd, OwnedFd, InheritedFiles) {
    let observer = memory::create(4096, 4096).expect("a memfd");
    let ticket = memory::reopen(&observer).expect("a description of its own");
    assert!(locks::try_lock(&ticket, BYTE).expect("lock"));
    let mut inherited = InheritedFiles::default();
    inherited.add_ticket(&ticket, BYTE).expect("a path");
    (observer, ticket, inherited)
}

fn is_locked(observer: &OwnedFd) -> bool {
    locks::is_locked(observer, BYTE).expect("ask")
}

#[test]
fn a_ticket_is_unlocked_when_its_child_ends_although_a_fork_has_copies_of_its_descriptor() {
    let (observer, ticket, inherited) = ticket();
    let _fork = Fork::new();
    let mut request = SpawnRequest::new(Program::File("sleep".into()));
    request.arguments.push("1000".into());
    let mut child = ChildProcess::spawn(&request, &inherited).expect("a child");
    drop(ticket);
    assert!(is_locked(&observer), "the child lives");
    child.kill_group().expect("killed");
    child.reap().expect("reaped");
    assert!(
        comes_true(|| !is_locked(&observer)),
        "the fork keeps it locked"
    );
}

#[test]
fn a_ticket_is_unlocked_when_the_child_of_a_command_ends_although_a_fork_has_copies() {
    let (observer, ticket, inherited) = ticket();
    let _fork = Fork::new();
    let mut command = Command::new("sleep");
    let guard = inherited.bind(command.arg("1000"));
    let mut child = command.spawn().expect("a child");
    drop((guard, ticket));
    assert!(is_locked(&observer), "the child lives");
    child.kill().expect("killed");
    child.wait().expect("reaped");
    assert!(
        comes_true(|| !is_locked(&observer)),
        "the fork keeps it locked"
    );
}

/// INHERIT-2: the child keeps the parent's description.
#[test]
fn a_ticket_whose_file_can_not_be_opened_again_is_inherited_all_the_same() {
    let (observer, ticket, mut inherited) = ticket();
    for ticket in &mut inherited.tickets {
        ticket.path = c"/no/such/file".to_owned();
    }
    let mut request = SpawnRequest::new(Program::File("sleep".into()));
    request.arguments.push("1000".into());
    let mut child = ChildProcess::spawn(&request, &inherited).expect("a child");
    drop(ticket);
    assert!(is_locked(&observer), "the child lives");
    child.kill_group().expect("killed");
    child.reap().expect("reaped");
    assert!(comes_true(|| !is_locked(&observer)));
}
