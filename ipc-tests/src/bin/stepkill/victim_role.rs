//! The role of a victim: runs one operation between two marks, and prints what it returned.

use crate::{
    operations::{Operation, find},
    tracer::{MARK, READY},
    victim::Victim,
};
use ipc_tests::role::{Io, Role};
use nix::sys::{ptrace, signal::raise};

pub(crate) const VICTIM_ROLE: (&str, Role) = ("victim", run_victim);

/// Runs an operation: `victim OPERATION PREDECESSOR QUEUE_NAME`.
fn run_victim(io: &mut Io) {
    let name: String = io.argument();
    let operation = find(&name).expect("an operation");
    let mut victim = Victim::new(io.argument(), io.argument());
    ptrace::traceme().expect("be traced");
    let Operation {
        prepare_victim,
        act,
        ..
    } = operation;
    prepare_victim(&mut victim);
    victim.print_reports(io);
    io.say(READY);
    mark();
    act(&mut victim);
    mark();
    victim.print_reports(io);
    mark();
}

/// Stops this thread, which notifies the tracer. Not the process: another thread might get the signal then.
fn mark() {
    raise(MARK).expect("stop");
}
