//! A role that leaks a queue.

use ipc_tests::{
    guarded_here,
    role::{Io, Role},
};
use std::{mem, time::Duration};

pub(crate) const ROLES: &[(&str, Role)] = &[("leak-queue", leak_queue)];

/// Runs a guarded test that leaks what its argument names. Panics if the guard works.
fn leak_queue(io: &mut Io) {
    let what: String = io.argument();
    guarded_here(Duration::from_mins(3), |_| {
        let (tx, rx) = workring::channel::<u32>(4).expect("a queue");
        match what.as_str() {
            "sender" => mem::forget(tx),
            "lease" => {
                tx.send(1).expect("room");
                mem::forget(rx.lease().expect("a message"));
            }
            "hand-off" => mem::forget(workring::Handoff::new().give("rx", &rx).expect("give")),
            _ => {}
        }
    });
}
