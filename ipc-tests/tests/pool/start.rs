//! Starts of workers and other children in unusual circumstances: the program's file is gone, signals are ignored,
//! standard streams are closed, there is a controlling terminal, or the process was forked meanwhile.
//!
//! Each case runs in `src/bin/starter.rs`, which checks it and succeeds, or writes an error to a file.
#![allow(
    unsafe_code,
    reason = "what a program is started with is prepared between fork and exec"
)]

use ipc_tests::{guarded, ledger::Scratch};
use nix::{libc, pty::openpty};
use std::{
    fs,
    os::{
        fd::AsRawFd,
        unix::{fs::MetadataExt, process::CommandExt},
    },
    path::Path,
    process::Command,
    time::Duration,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_starter");
/// Generous: the machine may be busy.
const LIMIT: Duration = Duration::from_mins(5);

/// Runs a role, which has to succeed.
fn play(role: &str, arguments: &[&str]) {
    play_as(PROGRAM, role, arguments, |_| ());
}

fn play_as(
    program: impl AsRef<Path>,
    role: &str,
    arguments: &[&str],
    prepare: impl Fn(&mut Command),
) {
    let scratch = Scratch::new().expect("a directory");
    let report = scratch.path().join("report");
    let mut command = Command::new(program.as_ref());
    command.arg(role).arg(&report).args(arguments);
    prepare(&mut command);
    let status = command.status().expect("the program");
    let report = fs::read_to_string(report).unwrap_or_default();
    assert!(status.success(), "{role} {arguments:?}: {status}: {report}");
}

/// Runs a role in a file of its own, which it may remove. The file is a hard link: a copy was open for writing, perhaps
/// also in a child forked by another thread, and such a file cannot be executed.
fn play_removable(arguments: &[&str]) {
    let folder = Scratch::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let program = folder.path().join("a-program-with-a-long-name");
    fs::hard_link(PROGRAM, &program).expect("the same file system");
    play_as(program, "replaced", arguments, |_| ());
}

#[test]
fn workers_are_replaced_by_the_same_program_after_its_file_was_replaced() {
    guarded(LIMIT, || play_removable(&["true"]));
}

#[test]
fn workers_are_replaced_by_the_same_program_after_its_file_was_removed() {
    guarded(LIMIT, || play_removable(&["false"]));
}

#[test]
fn a_lost_exit_status_is_unknown_and_a_task_can_run_commands() {
    guarded(LIMIT, || {
        play("unreaped", &["ignored"]);
        play("unreaped", &["not kept"]);
    });
}

#[test]
fn an_exit_status_that_another_thread_has_taken_is_unknown() {
    guarded(LIMIT, || play("reaped", &[]));
}

#[test]
fn a_worker_has_default_signal_handling_whatever_its_parent_has() {
    guarded(LIMIT, || play("signals", &["false"]));
}

#[test]
fn a_worker_of_a_parent_under_nohup_ignores_sighup() {
    guarded(LIMIT, || play("signals", &["true"]));
}

#[test]
fn closed_standard_streams_disturb_neither_children_nor_workers() {
    guarded(LIMIT, || {
        for closed in ["0", "1", "2", "0,1,2"] {
            play("closed", &[closed]);
        }
    });
}

#[test]
fn a_program_that_was_started_without_standard_streams_has_children_and_workers() {
    guarded(LIMIT, || {
        play_as(PROGRAM, "closed", &["0,1,2"], |command| {
            let close = || {
                for number in 0..3 {
                    // SAFETY: nothing runs between here and the exec that uses it.
                    unsafe { libc::close(number) };
                }
                Ok(())
            };
            // SAFETY: the closure makes system calls only.
            unsafe { command.pre_exec(close) };
        });
    });
}

#[test]
fn a_worker_that_touches_the_terminal_is_not_stopped() {
    guarded(LIMIT, || {
        let terminal = openpty(None, None).expect("a terminal");
        let slave = terminal.slave.as_raw_fd();
        play_as(PROGRAM, "terminal", &[], |command| {
            let lead = move || {
                nix::unistd::setsid()?;
                // SAFETY: the descriptor is open, for this process has a copy of it.
                match unsafe { libc::ioctl(slave, libc::TIOCSCTTY, 0) } {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            };
            // SAFETY: the closure makes system calls only.
            unsafe { command.pre_exec(lead) };
        });
    });
}

/// Otherwise a copy of the ticket's descriptor would keep the ticket for as long as that other child lives.
#[test]
fn a_ticket_ends_with_its_child_although_another_child_was_forked_meanwhile() {
    guarded(LIMIT, || {
        for then in ["dropped", "ended", "killed", "taken", "not started"] {
            play("forked", &[then]);
        }
    });
}

#[test]
fn a_child_of_another_user_inherits_its_queue() {
    if fs::metadata("/proc/self").expect("/proc").uid() != 0 {
        eprintln!("SKIPPED: only root can start a program as another user");
        return;
    }
    guarded(LIMIT, || play("another-user", &[]));
}
