//! Roles for tests of the liveness check: processes that execute their program again, and processes that check while
//! the kernel denies them what the check needs.
#![allow(
    unsafe_code,
    reason = "a filter of system calls and fork without exec are what is tested"
)]

use crate::death::fork_and_stay;
use ipc_tests::{
    filter::refuse,
    role::{Io, Role},
};
use nix::{
    errno::Errno,
    libc,
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::chroot,
};
use std::{env, fs, os::unix::process::CommandExt, process::Command};
use workring::{Lease, Receiver};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("before-exec", before_exec),
    ("after-exec", after_exec),
    ("prober", prober),
];

/// Leases a message, and executes its own program again at the next line. At the line `fork` it forks, and waits for
/// the line `exec`.
///
/// Arguments: the name of the queue, and whether the receiver is opened by `name` or was `given`.
fn before_exec(io: &mut Io) {
    let name: String = io.argument();
    let how: String = io.argument();
    let rx: Receiver<u32> = match how.as_str() {
        "given" => workring::inherit("tasks").expect("tasks"),
        _ => workring::open(&name).expect("it is there"),
    };
    let _lease = rx.lease().expect("a message");
    io.say("leased");
    if io.next_line() == "fork" {
        io.say(fork_and_stay());
        io.expect("exec");
    }
    let me = env::current_exe().expect("this program");
    let error = Command::new(me).args(["after-exec", &name]).exec();
    panic!("{error}");
}

/// The program after [`before_exec`]. It attaches to the queue again when a line says so, and not before.
///
/// Argument: the name of the queue.
fn after_exec(io: &mut Io) {
    let name: String = io.argument();
    io.say("again");
    let mut ends: Vec<Receiver<u32>> = Vec::new();
    let mut leases: Vec<Lease<'static, u32>> = Vec::new();
    while let Some(command) = io.try_next_line() {
        match command.as_str() {
            "open" => ends.push(workring::open(&name).expect("it is there")),
            "inherit" => ends.push(workring::inherit("tasks").expect("tasks")),
            "lease" => {
                let rx = ends.last().expect("an end");
                leases.push(rx.try_lease().expect("a message").into_owned());
            }
            other => panic!("no such command: {other}"),
        }
        io.say("done");
    }
}

/// Reports peers of a queue as dead, and prints what was recovered. Other lines take away what the check
/// needs, or give it back.
fn prober(io: &mut Io) {
    let rx: Receiver<u32> = workring::inherit("tasks").expect("tasks");
    io.say("ready");
    let files = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    while let Some(line) = io.try_next_line() {
        let (command, argument) = line.split_once(' ').unwrap_or((&line, ""));
        match command {
            "refuse" => {
                refuse(
                    libc::SYS_pidfd_open,
                    argument.parse().expect("an error number"),
                );
                io.say("refused");
            }
            "starve" => {
                setrlimit(Resource::RLIMIT_NOFILE, 0, files.1).expect("lower it");
                assert_eq!(
                    fs::File::open("/proc/self/stat")
                        .map(drop)
                        .map_err(|error| error.raw_os_error()),
                    Err(Some(Errno::EMFILE as i32))
                );
                io.say("starved");
            }
            "feed" => {
                setrlimit(Resource::RLIMIT_NOFILE, files.0, files.1).expect("raise it");
                io.say("fed");
            }
            "hide-proc" => {
                chroot("/var/empty")
                    .or_else(|_| chroot(&env::temp_dir()))
                    .expect("a directory without /proc");
                io.say("hidden");
            }
            "judge" => {
                rx.report_exit(argument.parse().expect("a process id"));
                let stats = rx.stats();
                io.say(format!(
                    "recovered {}, held {}",
                    stats.recovered, stats.held
                ));
            }
            "take" => {
                let lease = rx.lease().expect("a message");
                io.say(format!("{} after {}", *lease, lease.deliveries()));
                lease.ack();
            }
            other => panic!("no such command: {other}"),
        }
    }
}
