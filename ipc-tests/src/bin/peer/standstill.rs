//! Roles of `tests/death/standstill.rs`.

use ipc_tests::role::{Io, Role};
use workring::{Receiver, Sender, inherit};

pub(crate) const ROLES: &[(&str, Role)] = &[("forwarder", forwarder)];

/// Sends numbers on until the queue is closed.
fn forwarder(io: &mut Io) {
    let incoming: Receiver<u64> = inherit("in").expect("in");
    let outgoing: Sender<u64> = inherit("out").expect("out");
    io.say("ready");
    for number in incoming {
        outgoing.send(number.expect("a number")).expect("open");
    }
}
