//! Roles of `tests/segment/large.rs`.

use ipc_tests::role::{Io, Role};
use nix::sys::resource::{Resource, setrlimit};
use workring::{Options, Receiver, Sender, queue::Raw};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("in-place", in_place),
    ("limited", limited),
    ("limited-inheritor", limited_inheritor),
    ("reserve-until-error", reserve_until_error),
];

/// Sends messages on without a copy of its own, from shared memory to shared memory.
fn in_place(_: &mut Io) {
    let input: Receiver<Vec<u8>, Raw> = workring::inherit("in").expect("inherit");
    let output: Sender<Vec<u8>, Raw> = workring::inherit("out").expect("inherit");
    while let Ok(message) = input.lease_bytes() {
        let mut room = output.reserve(message.len()).expect("a block");
        room.copy_from_slice(&message);
        room.commit().expect("the queue is open");
        message.ack();
    }
}

/// Sets a limit on this process.
///
/// Arguments: the name of the limit, and bytes.
fn set_limit(io: &mut Io) {
    let (name, bytes): (String, u64) = (io.argument(), io.argument());
    let resource = match name.as_str() {
        "file size" => Resource::RLIMIT_FSIZE,
        "address space" => Resource::RLIMIT_AS,
        other => panic!("no limit called {other}"),
    };
    setrlimit(resource, bytes, bytes).expect("a lower limit");
}

/// Sets a limit (see [`set_limit`]). Prints the outcome of making a queue for messages of 256 MiB, which exceeds it;
/// then a small queue must work.
fn limited(io: &mut Io) {
    set_limit(io);
    let options = Options::new(4).max_message_len(256 << 20);
    match options.channel::<u32>() {
        Ok(_) => io.say("made"),
        Err(error) => io.say(format!("{error:?}")),
    }
    let (tx, rx) = Options::new(4)
        .max_message_len(64 << 10)
        .channel::<u32>()
        .expect("a small queue");
    tx.send(1).expect("room");
    assert_eq!(rx.recv().expect("a message"), 1);
    io.say("done");
}

/// Sets a limit (see [`set_limit`]), and prints the outcome of inheriting a queue, which exceeds it.
fn limited_inheritor(io: &mut Io) {
    set_limit(io);
    match workring::inherit::<Sender<u32>>("queue") {
        Ok(_) => io.say("inherited"),
        Err(error) => io.say(format!("{error:?}")),
    }
}

/// Waits for the line `start`, then reserves more and more memory and writes to it, until that fails. Prints the number
/// of reservations and the error, and then the error of reserving 128 MiB at once.
fn reserve_until_error(io: &mut Io) {
    const BYTES: usize = 4 << 20;
    io.expect("start");
    let options = Options::new(64).max_message_len(128 << 20);
    let (tx, _rx) = options.channel_with::<Vec<u8>, Raw>().expect("a queue");
    let mut reserved = Vec::new();
    let error = loop {
        match tx.try_reserve(BYTES) {
            Ok(mut room) => {
                room.fill(7);
                reserved.push(room);
            }
            Err(error) => break error,
        }
    };
    io.say(reserved.len());
    io.say(format!("{error:?}"));
    reserved.clear();
    let refused = tx.reserve(128 << 20).map(drop);
    io.say(format!("{:?}", refused.expect_err("more than there is")));
}
