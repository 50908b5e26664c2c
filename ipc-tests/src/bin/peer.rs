//! The second process of the tests.
//!
//! ```text
//! peer ROLE ARGUMENT...
//! ```
//!
//! Runs the function of the role that the first argument names. A role reads lines from standard input, and prints
//! lines to standard output; its comment says which. Roles that use a queue inherit it from the test.
//!
//! | exit code | meaning                                                    |
//! | --------- | ---------------------------------------------------------- |
//! | 0         | the role has returned                                      |
//! | 2         | there is no such role; standard error lists all            |
//! | 3         | the test has ended, and the role had more to read or print |
//! | 101       | the role has panicked: the test fails                      |

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
#[path = "peer/futures.rs"]
mod futures;
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
#[path = "peer/rendezvous.rs"]
mod rendezvous;
#[path = "peer/requests.rs"]
mod requests;
#[path = "peer/scribble.rs"]
mod scribble;
#[path = "peer/selecting.rs"]
mod selecting;
#[path = "peer/standstill.rs"]
mod standstill;
#[path = "peer/verdicts.rs"]
mod verdicts;
#[path = "peer/waiting.rs"]
mod waiting;
#[path = "peer/watching.rs"]
mod watching;

const HARNESS_ROLES: &[(&str, Role)] = &[
    ("echo", echo),
    ("unresponsive", unresponsive),
    ("hang-under-watchdog", hang_under_watchdog),
    ("ledger-writer", ledger_writer),
    ("count", count),
];

fn main() -> ExitCode {
    let roles = [
        HARNESS_ROLES,
        batches::ROLES,
        close::ROLES,
        death::ROLES,
        futures::ROLES,
        handoff::ROLES,
        history::ROLES,
        hygiene::ROLES,
        large::ROLES,
        named::ROLES,
        pool::ROLES,
        requests::ROLES,
        scribble::ROLES,
        selecting::ROLES,
        membership::ROLES,
        rendezvous::ROLES,
        standstill::ROLES,
        verdicts::ROLES,
        waiting::ROLES,
        watching::ROLES,
    ];
    role::run(&roles.concat())
}

/// Prints each line that it reads, as often as its argument says.
fn echo(io: &mut Io) {
    let times: u32 = io.argument();
    while let Some(line) = io.try_next_line() {
        (0..times).for_each(|_| io.say(&line));
    }
}

/// Never ends by itself, and reads nothing.
fn unresponsive(io: &mut Io) {
    io.say("here");
    loop {
        thread::park();
    }
}

/// Hangs under a watchdog, with a child that hangs too.
fn hang_under_watchdog(_: &mut Io) {
    let program = env::current_exe().expect("this program");
    let mut child = Peer::spawn(program, "unresponsive", &[], Command::spawn).expect("spawn");
    assert_eq!(child.answer(), "here");
    remark(format!("the unresponsive child is {}", child.pid()));
    let _watchdog = Watchdog::start(Duration::from_millis(1));
    child.wait();
}

/// Appends numbers to a ledger until it is killed.
fn ledger_writer(io: &mut Io) {
    let ledger = Ledger::create(io.argument::<String>(), "numbers").expect("create");
    for number in 0.. {
        ledger.note(1, number);
        if number == 0 {
            io.say("begun");
        }
    }
}

/// Prints numbers, without end.
fn count(io: &mut Io) {
    for number in 0_u64.. {
        io.say(number);
    }
}
