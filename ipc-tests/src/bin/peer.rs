//! The second process of the tests: plays the role that its first argument names.

use ipc_tests::{
    child::Peer,
    ledger::Ledger,
    role::{self, Io, Role},
    watchdog::{Watchdog, remark},
};
use std::{
    env,
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

#[path = "peer/batches.rs"]
mod batches;
#[path = "peer/close.rs"]
mod close;
#[path = "peer/death.rs"]
mod death;
#[path = "peer/handoff.rs"]
mod handoff;
#[path = "peer/history.rs"]
mod history;
#[path = "peer/hygiene.rs"]
mod hygiene;
#[path = "peer/large.rs"]
mod large;
#[path = "peer/membership.rs"]
mod membership;
#[path = "peer/named.rs"]
mod named;
#[path = "peer/pool.rs"]
mod pool;
#[path = "peer/scribble.rs"]
mod scribble;
#[path = "peer/standstill.rs"]
mod standstill;
#[path = "peer/verdicts.rs"]
mod verdicts;
#[path = "peer/waiting.rs"]
mod waiting;
#[path = "peer/watching.rs"]
mod watching;

const HARNESS: &[(&str, Role)] = &[
    ("echo", echo),
    ("deaf", deaf),
    ("overdue", overdue),
    ("scribe", scribe),
    ("count", count),
];

fn main() -> ExitCode {
    let roles = [
        HARNESS,
        batches::ROLES,
        close::ROLES,
        death::ROLES,
        handoff::ROLES,
        history::ROLES,
        hygiene::ROLES,
        large::ROLES,
        named::ROLES,
        pool::ROLES,
        scribble::ROLES,
        membership::ROLES,
        standstill::ROLES,
        verdicts::ROLES,
        waiting::ROLES,
        watching::ROLES,
    ];
    role::run(&roles.concat())
}

/// Says every line that it hears, as often as its argument says.
fn echo(io: &mut Io) {
    let times: u32 = io.argument();
    while let Some(line) = io.try_answer() {
        (0..times).for_each(|_| io.say(&line));
    }
}

/// Never ends by itself, and listens to nobody.
fn deaf(io: &mut Io) {
    io.say("here");
    loop {
        thread::park();
    }
}

/// Hangs under a watchdog, with a child that would hang for ever.
fn overdue(_: &mut Io) {
    let program = env::current_exe().expect("this program");
    let mut child = Peer::spawn(program, "deaf", &[], Command::spawn).expect("spawn");
    assert_eq!(child.answer(), "here");
    remark(format!("the deaf one is {}", child.pid()));
    let _watchdog = Watchdog::start(Duration::from_millis(1));
    child.wait();
}

/// Notes numbers in a ledger until it is killed.
fn scribe(io: &mut Io) {
    let ledger = Ledger::create(io.argument::<String>(), "scribe").expect("create");
    for number in 0.. {
        ledger.note(1, number);
        if number == 0 {
            io.say("begun");
        }
    }
}

/// Says numbers, without end.
fn count(io: &mut Io) {
    for number in 0_u64.. {
        io.say(number);
    }
}
