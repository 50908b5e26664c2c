//! Roles that watch a descriptor while they wait for messages.
#![allow(unsafe_code, reason = "fork without exec is what is tested")]

use ipc_tests::{
    Pid,
    asleep::await_sleepers,
    cpu::Usage,
    role::{Io, Role},
};
use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};
use std::{io::Write, os::unix::net::UnixStream, process, time::Duration};
use workring::{
    Receiver, RecvError,
    error::{RecvTimeoutError, WatchError},
    queue::Watched,
};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("idle-watcher", idle_watcher),
    ("watch-forker", watch_forker),
];

/// Waits for messages of an empty queue, and prints how often its threads went to sleep during the wait.
///
/// Argument: the milliseconds to wait.
fn idle_watcher(io: &mut Io) {
    let wait = Duration::from_millis(io.argument());
    let queue: Receiver<u32> = workring::inherit("queue").expect("inherit");
    let (mut ours, watched) = UnixStream::pair().expect("a pair");
    let watch = queue.watch(&watched).expect("a watch");
    // Everything is used once before the measurement.
    ours.write_all(b"!").expect("written");
    assert!(matches!(watch.recv(), Ok(Watched::Ready)));
    drop(watch);
    let (_ours, watched) = UnixStream::pair().expect("a pair");
    let watch = queue.watch(&watched).expect("a watch");
    let usage = || Usage::of(Pid::this()).expect("self");
    let before = usage();
    let nothing = watch.recv_timeout(wait);
    assert!(matches!(nothing, Err(RecvTimeoutError::Timeout)));
    io.say((usage() - before).voluntary);
}

/// Forks while it has a watch. In the child every operation on it fails, but a watch of its own works, and all handles are
/// dropped; the parent goes on.
fn watch_forker(io: &mut Io) {
    let (tx, rx) = workring::channel::<u32>(4).expect("a queue");
    let (mut ours, watched) = UnixStream::pair().expect("a pair");
    let watch = rx.watch(&watched).expect("a watch");
    // SAFETY: the only other thread is the one that waits for descriptors, which holds no lock meanwhile.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            assert!(matches!(watch.recv(), Err(RecvError::Forked)));
            assert!(matches!(watch.lease(), Err(RecvError::Forked)));
            assert!(matches!(rx.watch(&watched), Err(WatchError::Forked)));
            own_watch();
            drop(watch);
            drop((tx, rx));
            io.say("the child is done");
            process::exit(0);
        }
        ForkResult::Parent { child } => {
            let status = waitpid(child, None).expect("wait");
            assert_eq!(status, WaitStatus::Exited(child, 0));
            tx.send(1).expect("room");
            assert!(matches!(watch.recv(), Ok(Watched::Message(1))));
            ours.write_all(b"!").expect("written");
            assert!(matches!(watch.recv(), Ok(Watched::Ready)));
            io.say("the parent is done");
        }
    }
}

/// Watches a descriptor with a queue that this process has made.
fn own_watch() {
    let (tx, rx) = workring::channel::<u32>(4).expect("a queue");
    let (mut ours, watched) = UnixStream::pair().expect("a pair");
    let watch = rx.watch(&watched).expect("a watch");
    tx.send(1).expect("room");
    assert!(matches!(watch.recv(), Ok(Watched::Message(1))));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| watch.recv());
        await_sleepers(Pid::this(), 1);
        ours.write_all(b"!").expect("written");
        let ready = waiting.join().expect("join");
        assert!(matches!(ready, Ok(Watched::Ready)));
    });
}
