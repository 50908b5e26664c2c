//! Roles of `tests/segment/large.rs`.

use ipc_tests::role::{Io, Role};
use nix::sys::resource::{Resource, setrlimit};
use workring::{Options, Receiver, Sender, queue::Raw};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("in-place", in_place),
    ("limited", limited),
    ("limited-heir", limited_heir),
    ("glutton", glutton),
];

/// Passes messages on without a copy of its own: from shared memory into shared memory.
fn in_place(_: &mut Io) {
    let input: Receiver<Vec<u8>, Raw> = workring::inherit("in").expect("inherit");
    let output: Sender<Vec<u8>, Raw> = workring::inherit("out").expect("inherit");
    while let Ok(message) = input.lease_bytes() {
        let mut room = output.reserve(message.len()).expect("a block");
        room.copy_from_slice(&message);
        room.commit().expect("it is open");
        message.ack();
    }
}

fn limit(io: &mut Io) {
    let (name, bytes): (String, u64) = (io.argument(), io.argument());
    let resource = match name.as_str() {
        "file size" => Resource::RLIMIT_FSIZE,
        "address space" => Resource::RLIMIT_AS,
        other => panic!("no limit called {other}"),
    };
    setrlimit(resource, bytes, bytes).expect("a lower limit");
}

/// Sets a limit on itself, and says what becomes of a queue for messages of 256 MiB, and of one that fits.
fn limited(io: &mut Io) {
    limit(io);
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

/// Sets a limit on itself, and says why it can't take over a queue.
fn limited_heir(io: &mut Io) {
    limit(io);
    match workring::inherit::<Sender<u32>>("queue") {
        Ok(_) => io.say("inherited"),
        Err(error) => io.say(format!("{error:?}")),
    }
}

/// Once it is told to, reserves more and more memory, and touches it, until it is refused; says how much it got and
/// why it got no more, then why it can't have 128 MiB at once.
fn glutton(io: &mut Io) {
    const BYTES: usize = 4 << 20;
    io.expect("eat");
    let options = Options::new(64).max_message_len(128 << 20);
    let (tx, _rx) = options.channel_with::<Vec<u8>, Raw>().expect("a queue");
    let mut eaten = Vec::new();
    let refused = loop {
        match tx.try_reserve(BYTES) {
            Ok(mut room) => {
                room.fill(7);
                eaten.push(room);
            }
            Err(error) => break error,
        }
    };
    io.say(eaten.len());
    io.say(format!("{refused:?}"));
    eaten.clear();
    let refused = tx.reserve(128 << 20).map(drop);
    io.say(format!("{:?}", refused.expect_err("more than there is")));
}
