//! Roles that are killed while they hold something, or that seem to be dead.
#![allow(
    unsafe_code,
    reason = "fork without exec, the end of a single thread and the closing of all descriptors are what is tested"
)]

use ipc_tests::role::{Io, Role};
use nix::{
    libc,
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, fork, pause},
};
use std::{
    mem::forget,
    os::unix::process::CommandExt,
    process::{self, Command},
    thread,
};
use workring::{
    Handoff, Lease, Options, Receiver, RecvError, SendError, Sender,
    error::{HandoffError, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError},
    queue::{Bytemuck, Raw},
};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("victim", victim),
    ("bytes-lessee", bytes_lessee),
    ("reserver", reserver),
    ("lessee", lessee),
    ("liveness-checker", liveness_checker),
    ("forker", forker),
];

/// The ends and leases of a process that is going to be killed.
struct Victim {
    tasks: Option<Receiver<u32>>,
    results: Option<Sender<u32>>,
    leases: Vec<Lease<'static, u32>>,
}

/// Runs commands, one a line, until it is killed or its test ends.
fn victim(io: &mut Io) {
    let mut victim = Victim {
        tasks: workring::inherit("tasks").ok(),
        results: workring::inherit("results").ok(),
        leases: Vec::new(),
    };
    io.say("ready");
    victim.run_commands(io);
}

impl Victim {
    fn run_commands(&mut self, io: &mut Io) {
        while let Some(line) = io.try_next_line() {
            let (command, number) = line.split_once(' ').unwrap_or((&line, "1"));
            let number: u32 = number.parse().expect("a number");
            match command {
                "lease" => {
                    for _ in 0..number {
                        let tasks = self.tasks.as_ref().expect("tasks");
                        let lease = tasks.lease().expect("a message");
                        self.leases.push(lease.into_owned());
                    }
                    io.say("leased");
                }
                "ack" => {
                    self.leases.drain(..).for_each(|lease| {
                        lease.ack();
                    });
                    io.say("acknowledged");
                }
                "send" => {
                    let results = self.results.as_ref().expect("results");
                    io.say(if results.send(number).is_ok() {
                        "sent"
                    } else {
                        "not sent"
                    });
                }
                "send-many" => {
                    let results = self.results.as_ref().expect("results");
                    io.say("sending");
                    let sent = results.send_many(0..number);
                    io.say(if sent.is_ok() { "sent" } else { "not sent" });
                }
                "fork" => io.say(fork_and_stay()),
                "close-all" => {
                    close_all();
                    io.say("closed");
                }
                "leader-ends" => return self.go_on_without_leader(io),
                "exec" => {
                    let error = Command::new("sh").args(["-c", "echo another; cat"]).exec();
                    panic!("{error}");
                }
                "exit" => process::exit(0),
                other => panic!("no such command: {other}"),
            }
        }
    }

    /// Runs the commands in another thread from now on, and ends the first thread of the process.
    fn go_on_without_leader(&mut self, io: &mut Io) {
        thread::scope(|scope| {
            scope.spawn(move || {
                io.say("going on");
                self.run_commands(io);
                process::exit(0);
            });
            // SAFETY: this thread does nothing any more. What the other thread borrows from it stays valid, because its
            // stack is never freed.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        });
    }
}

/// Forks a child that does nothing, and has a copy of every descriptor. Returns its process id.
pub(crate) fn fork_and_stay() -> Pid {
    // SAFETY: this process has one thread, and the child only pauses.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => loop {
            pause();
        },
    }
}

fn close_all() {
    // SAFETY: the owners of the descriptors get errors from then on, which is what is tested. They are never dropped,
    // because this process is killed.
    let closed = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    assert_eq!(closed, 0);
}

/// Leases one message as bytes, and holds it until it is killed.
fn bytes_lessee(io: &mut Io) {
    let tasks: Receiver<Vec<u8>, Raw> = workring::inherit("tasks").expect("tasks");
    let _lease = tasks.lease().expect("a message");
    io.say("leased");
    assert_eq!(io.try_next_line(), None);
}

/// Reserves room for a message, and holds it until it is killed.
fn reserver(io: &mut Io) {
    let queue: Sender<Vec<u8>, Raw> = workring::inherit("queue").expect("inherit");
    let mut room = queue.reserve(8).expect("room");
    room.copy_from_slice(b"not sent");
    io.say("reserved");
    assert_eq!(io.try_next_line(), None);
}

/// Leases tasks one by one, sends each on and acknowledges it, until there are no more.
fn lessee(io: &mut Io) {
    let tasks: Receiver<u32> = workring::inherit("tasks").expect("tasks");
    let results: Sender<u32> = workring::inherit("results").expect("results");
    io.say("ready");
    while let Ok(task) = tasks.lease() {
        results.send(*task).expect("open");
        task.ack();
    }
}

/// Waits for tasks, and so checks whether other processes are alive. It returns each task to the queue.
fn liveness_checker(io: &mut Io) {
    let tasks: Receiver<u32> = workring::inherit("tasks").expect("tasks");
    io.say("ready");
    loop {
        drop(tasks.lease());
    }
}

/// Forks while it holds a lease and reservations. In the child every operation fails, and all handles are dropped; the
/// parent goes on.
fn forker(io: &mut Io) {
    let (tx, rx) = workring::channel::<u32>(4).expect("a queue");
    let (bytes, raw) = Options::new(4)
        .channel_with::<Vec<u8>, Raw>()
        .expect("a queue");
    tx.send(1).expect("room");
    tx.send(2).expect("room");
    let lease = rx.lease().expect("a message");
    let mut room = bytes.reserve(4).expect("room");
    room.copy_from_slice(b"room");
    forget(bytes.reserve(4).expect("room"));
    let (values, received) = Options::new(4)
        .channel_with::<u64, Bytemuck>()
        .expect("a queue");
    values.send(7).expect("room");
    let value = received.lease_value().expect("a message");
    let mut reserved = values.reserve_value().expect("room");
    *reserved = 8;
    // SAFETY: this process has one thread.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            assert_nothing_works(&tx, &rx);
            assert_eq!(room.try_commit(), Err(TrySendError::Forked(())));
            assert!(room.is_empty());
            drop(room);
            *reserved = 9;
            assert_eq!((*value, *reserved), (0, 0));
            assert_eq!(reserved.try_commit(), Err(TrySendError::Forked(())));
            value.ack();
            drop(reserved);
            assert_eq!(*lease, 1, "a copy in its own memory");
            drop(lease);
            drop((tx, rx, bytes, raw));
            assert_own_queue_works();
            io.say("the child is done");
            process::exit(0);
        }
        ForkResult::Parent { child } => {
            let status = waitpid(child, None).expect("wait");
            assert_eq!(status, WaitStatus::Exited(child, 0));
            assert_eq!((*value, *reserved), (7, 8));
            value.ack();
            reserved.commit().expect("room");
            assert_eq!(received.recv().expect("a message"), 8);
            room.commit().expect("room");
            drop(room);
            assert_eq!(raw.recv().expect("a message"), b"room");
            // The reservation that was not dropped is withdrawn with this process's last sender, not with the child's.
            assert_eq!(in_use(&raw), 1);
            drop(bytes);
            assert_eq!(in_use(&raw), 0);
            assert!(!rx.is_closed());
            assert_eq!(rx.stats().held, 1);
            assert_eq!(lease.ack(), 1);
            assert_eq!(rx.recv().expect("a message"), 2);
            tx.send(3).expect("room");
            drop(tx);
            assert_eq!(rx.recv().expect("a message"), 3);
            assert!(matches!(rx.recv(), Err(RecvError::Closed)));
            io.say("the parent is done");
        }
    }
}

/// Returns how many blocks are in use.
fn in_use(rx: &Receiver<Vec<u8>, Raw>) -> u64 {
    let blocks = rx.stats().blocks.into_iter();
    blocks.map(|class| class.total - class.free).sum()
}

fn assert_nothing_works(tx: &Sender<u32>, rx: &Receiver<u32>) {
    let short = std::time::Duration::from_millis(1);
    assert!(matches!(tx.send(5), Err(SendError::Forked(5))));
    assert!(matches!(tx.try_send(5), Err(TrySendError::Forked(5))));
    assert!(matches!(
        tx.send_timeout(5, short),
        Err(SendTimeoutError::Forked(5))
    ));
    let refused = tx.send_many([5, 6]).expect_err("not its own");
    assert_eq!(refused.error, SendError::Forked(5));
    let many = rx.recv_many(&mut Vec::new(), 2);
    assert_eq!(many, Err(RecvError::Forked));
    assert!(matches!(rx.recv(), Err(RecvError::Forked)));
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Forked)));
    assert!(matches!(
        rx.recv_timeout(short),
        Err(RecvTimeoutError::Forked)
    ));
    assert!(matches!(rx.lease(), Err(RecvError::Forked)));
    assert!(matches!(rx.try_lease(), Err(TryRecvError::Forked)));
    assert!(matches!(
        rx.iter().collect::<Vec<_>>()[..],
        [Err(RecvError::Forked)]
    ));
    assert!(matches!(
        rx.try_iter().collect::<Vec<_>>()[..],
        [Err(TryRecvError::Forked)]
    ));
    assert!(matches!(
        Handoff::new().give("rx", rx),
        Err(HandoffError::Forked)
    ));
    assert_eq!((tx.len(), rx.is_full(), rx.stats().held), (0, false, 0));
    assert!(rx.dead_letters().next().is_none());
    assert!(!rx.close() && rx.cancel() == 0 && rx.is_closed());
    rx.interrupter().interrupt();
    rx.report_exit(1);
    drop((tx.clone(), rx.clone()));
}

/// Checks that a queue that the child makes itself works.
fn assert_own_queue_works() {
    let (tx, rx) = workring::channel::<u32>(4).expect("a queue");
    tx.send(7).expect("room");
    assert_eq!(rx.recv().expect("a message"), 7);
}
