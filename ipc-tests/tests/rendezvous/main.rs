//! Goal: processes that did not start each other connect by a name, and give each other ends of queues (W2, W6, W7, M5).
//! Whichever of them is killed, and whenever, no connection is reported that is none, and no end of a queue is lost.
//!
//! Method: other processes connect to this one, or listen, and print what they get. Raw sockets take the place of processes
//! that stop in the middle of the protocol.

mod accepting;
mod connecting;
mod deaths;
mod names;
mod transfer;
mod users;

use ipc_tests::{child::Peer, program};
use std::{
    fs,
    os::fd::AsFd,
    path::PathBuf,
    process::{self, Command},
    time::{Duration, Instant},
};
use workring::rendezvous::Listener;

/// A name that only this test uses.
fn name(test: &str) -> String {
    format!("test-{test}-{}", process::id())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_mins(2)
}

/// Starts a process in the role `meeting`.
fn meeting() -> Peer {
    Peer::spawn(program("peer"), "meeting", &[], Command::spawn).expect("spawn")
}

/// Gives an order to a process in the role `meeting`, and returns its answer.
fn ask(peer: &mut Peer, order: &str) -> String {
    peer.say(order);
    peer.answer()
}

/// Blocks until a process waits to be accepted.
fn await_client(listener: &Listener) {
    await_readable(listener);
}

/// Blocks until a descriptor is ready for reading.
fn await_readable(file: impl AsFd) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut polled = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::NONE).expect("poll");
}

/// A directory of this test for sockets. Removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("workring-{}", name(test)));
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the directory").flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().display().to_string())
            .collect();
        names.sort_unstable();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
