//! Roles that wait for several queues at once.
//!
//! The first argument of each is `kernel`, or `threads` for a process that the kernel refuses the wait for several words.

use ipc_tests::{
    Pid,
    cpu::Usage,
    filter::refuse,
    role::{Io, Role},
};
use nix::libc;
use std::{collections::VecDeque, thread, time::Duration};
use workring::{Receiver, RecvError, Sender, error::SelectTimeoutError, queue::Select};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("selecting-forwarder", forwarder),
    ("idle-select", idle_select),
    ("one-of-three", one_of_three),
    ("all-three", all_three),
    ("select-and-hold", select_and_hold),
    ("sole-sender", sole_sender),
];

/// The queues of the roles that have three.
const NAMES: [&str; 3] = ["a", "b", "c"];

fn choose_wait(io: &mut Io) {
    match io.argument::<String>().as_str() {
        "kernel" => {}
        "threads" => refuse(libc::SYS_futex_waitv, libc::ENOSYS.unsigned_abs()),
        other => panic!("no such wait: {other}"),
    }
}

fn three() -> [Receiver<u32>; 3] {
    NAMES.map(|name| workring::inherit(name).expect("inherit"))
}

/// Receives numbers, leases texts, and sends both on, until both queues are closed. All three in one select, as long as
/// not too much waits to be sent.
fn forwarder(io: &mut Io) {
    const PENDING: usize = 3;
    choose_wait(io);
    let numbers: Receiver<u64> = workring::inherit("numbers").expect("inherit");
    let texts: Receiver<String> = workring::inherit("texts").expect("inherit");
    let out: Sender<(u64, Vec<u8>)> = workring::inherit("out").expect("inherit");
    let mut pending = VecDeque::new();
    let (mut more_numbers, mut more_texts) = (true, true);
    while more_numbers || more_texts || !pending.is_empty() {
        let has_room = pending.len() < PENDING;
        let next = pending.pop_front();
        let mut select = Select::new();
        let number = (more_numbers && has_room).then(|| select.recv(&numbers));
        let text = (more_texts && has_room).then(|| select.lease(&texts));
        let sending = next.as_ref().map(|next| select.send(&out, next));
        let selected = select.select().expect("no interrupt");
        let index = Some(selected.index());
        if index == sending {
            selected.send(&out).expect("the queue is open");
            continue;
        }
        let received = if index == number {
            selected.recv(&numbers)
        } else {
            assert_eq!(index, text);
            let leased = selected.lease(&texts);
            leased.map(|lease| lease.ack().parse().expect("a number"))
        };
        match received {
            Ok(id) => pending.push_back((id, vec![7; usize::try_from(id % 300).expect("small")])),
            Err(RecvError::Closed) if index == number => more_numbers = false,
            Err(RecvError::Closed) => more_texts = false,
            Err(error) => panic!("{error}"),
        }
        drop(select);
        pending.extend(next);
    }
}

/// Waits for two empty queues and a full one. Prints how often its threads went to sleep during the wait, and the
/// milliseconds of processor time.
///
/// Argument: the milliseconds to wait.
fn idle_select(io: &mut Io) {
    choose_wait(io);
    let wait = Duration::from_millis(io.argument());
    let numbers: Receiver<u64> = workring::inherit("numbers").expect("inherit");
    let texts: Receiver<String> = workring::inherit("texts").expect("inherit");
    let full: Sender<u32> = workring::inherit("full").expect("inherit");
    let mut select = Select::new();
    select.recv(&numbers);
    select.lease(&texts);
    select.send(&full, &7);
    // Everything is used once before the measurement.
    let mut wait_for = |time| {
        let late = select.select_timeout(time).expect_err("nothing is ready");
        assert_eq!(late, SelectTimeoutError::Timeout);
    };
    wait_for(Duration::from_millis(20));
    let usage = || Usage::of(Pid::this()).expect("self");
    let before = usage();
    wait_for(wait);
    let used = usage() - before;
    io.say(used.voluntary);
    io.say(used.time.as_millis());
}

/// Waits for three queues, prints which one it has received from, and does so again for each line that it reads.
fn one_of_three(io: &mut Io) {
    choose_wait(io);
    let queues = three();
    let mut select = Select::new();
    for queue in &queues {
        select.recv(queue);
    }
    loop {
        let selected = select.select().expect("no interrupt");
        let index = selected.index();
        let queue = queues.get(index).expect("one of them");
        let _: u32 = selected.recv(queue).expect("a message");
        io.say(index);
        if io.try_next_line().is_none() {
            return;
        }
    }
}

/// For each line that it reads, receives a message of each of three queues, each with a thread of its own, and prints
/// which.
fn all_three(io: &mut Io) {
    let queues = three();
    while io.try_next_line().is_some() {
        thread::scope(|scope| {
            for (index, queue) in queues.iter().enumerate() {
                scope.spawn(move || {
                    let _: u32 = queue.recv().expect("a message");
                    println!("{index}");
                });
            }
        });
    }
}

/// Leases a message of one of three queues, and keeps it until the process is killed.
fn select_and_hold(io: &mut Io) {
    choose_wait(io);
    let queues = three();
    let mut select = Select::new();
    for queue in &queues {
        select.lease(queue);
    }
    let selected = select.select().expect("no interrupt");
    let queue = queues.get(selected.index()).expect("one of them");
    let _held = selected.lease(queue).expect("a message");
    io.next_line();
}

/// Has a sender until it is killed.
fn sole_sender(io: &mut Io) {
    let _queue: Sender<u32> = workring::inherit("queue").expect("inherit");
    io.next_line();
}
