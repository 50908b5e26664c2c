//! The role of a victim: runs one operation between two marks, and prints what it returned.

use crate::{
    operations::{Operation, find},
    tracer::{MARK, READY},
    victim::Victim,
};
use ipc_tests::{
    Pid,
    role::{Io, Role},
};
use nix::sys::{ptrace, signal::kill};

pub(crate) const VICTIM_ROLE: (&str, Role) = ("victim", run_victim);

/// Runs an operation: `victim OPERATION PREDECESSOR QUEUE_NAME`.
fn run_victim(io: &mut Io) {
    let name: String = io.argument();
    let operation = find(&name).expect("an operation");
    let mut victim = Victim::new(io.argument(), io.argument());
    let me = Pid::this();
    ptrace::traceme().expect("be traced");
    let Operation {
        prepare_victim,
        act,
        ..
    } = operation;
    prepare_victim(&mut victim);
    victim.print_reports(io);
    io.say(READY);
    mark(me);
    act(&mut victim);
    mark(me);
    victim.print_reports(io);
    mark(me);
}

/// Stops this process, which notifies the tracer.
fn mark(me: Pid) {
    kill(me, MARK).expect("stop");
}
