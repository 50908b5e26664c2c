//! Real child processes: how they end, what is killed with them, what they inherit of their parent's signals.

use super::*;
use crate::os::descriptor::number;
use crate::os::parent::kill_own_group;
use crate::os::spawn::{PreExec, Program};
use nix::sys::signal::{SIGTERM, SigHandler, SigSet, SigmaskHow, signal, sigprocmask};
use rustix::process::set_parent_process_death_signal;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;

/// Limit of each wait, so that a test fails rather than hangs.
const LIMIT: Duration = Duration::from_secs(60);

fn run_script(script: &str) -> SpawnRequest {
    let mut request = SpawnRequest::new(Program::File("sh".into()));
    request.arguments = ["-c", script].map(Into::into).into();
    request
}

/// Starts a shell. Returns it and the first line that it prints.
fn shell(script: &str) -> (ChildProcess, String) {
    let (output, its_output) = io::pipe().expect("a pipe");
    let mut inherited = InheritedFiles::default();
    inherited.add_file(&its_output);
    let request = run_script(&format!(
        "exec >/proc/self/fd/{} 2>/dev/null\n{script}",
        number(&its_output)
    ));
    let child = ChildProcess::spawn(&request, &inherited).expect("a shell");
    drop(its_output);
    let mut line = String::new();
    let mut output = BufReader::new(output);
    output.read_line(&mut line).expect("a line");
    (child, line.trim_end().to_owned())
}

fn await_end(child: &ChildProcess) {
    let mut poll = Poll::new();
    poll.readable(child.as_fd());
    let deadline = Instant::now() + LIMIT;
    assert!(poll.wait(Some(deadline)).expect("poll"), "it lives on");
    assert!(child.has_ended().expect("poll"));
}

fn reap(mut child: ChildProcess) -> ExitStatus {
    child
        .reap()
        .expect("it can be reaped")
        .expect("not reaped elsewhere")
}

/// Returns whether a process has ended, reaped or not.
fn is_gone(id: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().next());
    matches!(state, None | Some("Z" | "X"))
}

/// Does the same as [`await_end`] for a process that is not a child of this one.
fn await_gone(id: &str) {
    let deadline = Instant::now() + LIMIT;
    while !is_gone(id) {
        assert!(Instant::now() < deadline, "it lives on");
        thread::yield_now();
    }
}

/// Returns a set of signals of a process, as bits, from `/proc/ID/status`.
fn signals(id: u32, set: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix(set));
    u64::from_str_radix(line.expect("a set").trim(), 16).expect("a number")
}

#[test]
fn the_exit_status_of_a_child_is_known() {
    let status_of = |script: &str| {
        let (child, _) = shell(script);
        await_end(&child);
        reap(child)
    };
    assert!(status_of("exit 0").success());
    assert_eq!(status_of("exit 255").code(), Some(255));
    assert_eq!(status_of("ulimit -c 0; kill -SEGV $$").signal(), Some(11));
    assert_eq!(status_of("kill -KILL $$").signal(), Some(9));
}

#[test]
fn killing_the_group_kills_what_the_child_has_started() {
    let (child, grandchild) = shell("sleep 1000 & echo $!; wait");
    assert!(!child.has_ended().expect("poll") && !is_gone(&grandchild));
    child.kill_group().expect("a signal");
    await_end(&child);
    assert_eq!(reap(child).signal(), Some(9));
    await_gone(&grandchild);
}

#[test]
fn reaping_a_child_kills_what_it_has_left_behind() {
    let (child, grandchild) = shell("sleep 1000 >/dev/null 2>&1 & echo $!; exit 3");
    await_end(&child);
    assert!(!is_gone(&grandchild));
    assert_eq!(reap(child).code(), Some(3));
    await_gone(&grandchild);
}

#[test]
fn a_child_can_be_asked_to_end() {
    let (mut child, _) = shell("trap 'exit 4' TERM; echo ready; while :; do sleep 0.01; done");
    child.terminate_group().expect("a signal");
    await_end(&child);
    assert_eq!(reap(child).code(), Some(4));
}

#[test]
fn a_child_does_not_inherit_blocked_or_ignored_signals() {
    let (mut blocked, mut before) = (SigSet::empty(), SigSet::empty());
    blocked.add(SIGTERM);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), Some(&mut before)).expect("a mask");
    // SAFETY: `SIG_IGN` runs no code of this program.
    let handler = unsafe { signal(SIGTERM, SigHandler::SigIgn) }.expect("a disposition");
    let (mut child, _) = shell("echo ready; exec sleep 1000");
    // SAFETY: restores the disposition of before.
    unsafe { signal(SIGTERM, handler) }.expect("a disposition");
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None).expect("a mask");
    assert_eq!(signals(child.id(), "SigBlk:"), 0);
    let ignored = signals(child.id(), "SigIgn:");
    assert_eq!(ignored & 1 << (SIGTERM as u64 - 1), 0);
    child.terminate_group().expect("a signal");
    await_end(&child);
    assert_eq!(reap(child).signal(), Some(15));
}

#[test]
fn a_child_ends_with_the_thread_that_has_started_it() {
    let starter = thread::spawn(|| shell("echo ready; exec sleep 1000"));
    let (child, _) = starter.join().expect("join");
    await_end(&child);
    assert_eq!(reap(child).signal(), Some(9));
}

/// A change of the user takes the request for the signal back, as this code does.
#[test]
fn a_child_that_runs_code_of_its_caller_ends_with_the_thread_that_has_started_it() {
    let code = || Ok(set_parent_process_death_signal(None)?);
    // SAFETY: the closure makes one system call.
    let code = unsafe { PreExec::new(code) };
    let starter = thread::spawn(|| {
        let mut request = run_script("exec sleep 1000");
        request.pre_exec.push(code);
        ChildProcess::spawn(&request, &InheritedFiles::default()).expect("a shell")
    });
    let child = starter.join().expect("join");
    await_end(&child);
    assert_eq!(reap(child).signal(), Some(9));
}

/// CHILD-2: the parent ends, or seems to have ended, before the child can ask for the parent-death signal.
#[test]
fn a_child_that_has_lost_its_parent_does_not_run_its_program() {
    let mut request = run_script("exit 0");
    request.parent = Pid::INIT;
    let error = ChildProcess::spawn(&request, &InheritedFiles::default());
    let error = error.expect_err("another parent");
    assert_eq!(error.raw_os_error(), Some(Errno::SRCH.raw_os_error()));
}

#[test]
fn a_dropped_child_leaves_no_zombie() {
    let (child, grandchild) = shell("sleep 1000 & echo $!; wait");
    let id = child.id();
    drop(child);
    assert!(!fs::exists(format!("/proc/{id}")).expect("/proc"));
    await_gone(&grandchild);
}

#[test]
fn the_resident_memory_of_a_process_is_known() {
    let (child, _) = shell("echo ready; exec sleep 1000");
    assert!(child.resident().expect("statm") > 0);
    child.kill_group().expect("a signal");
    await_end(&child);
    assert_eq!(child.resident().expect("statm"), 0, "a zombie has none");
    let before = memory_use::of_id(std::process::id()).expect("statm");
    // `black_box` keeps an optimised build from leaving out the vector.
    let allocated = core::hint::black_box(vec![1_u8; 64 << 20]);
    let after = memory_use::of_id(std::process::id()).expect("statm");
    assert!(
        after >= before + (32 << 20),
        "{before}, {after}, {}",
        allocated.len()
    );
}

/// Runs itself in a child process, which leads a group and kills it.
#[test]
fn a_group_leader_can_kill_its_own_group() {
    const CHILD: &str = "WORKRING_TEST_KILL_OWN_GROUP";
    if std::env::var_os(CHILD).is_some() {
        kill_own_group();
    }
    let mut request = SpawnRequest::new(Program::own().expect("this program"));
    let test = "os::child::tests::a_group_leader_can_kill_its_own_group";
    request.arguments = ["--exact", test].map(Into::into).into();
    request.environment = vec![(CHILD.into(), Some("1".into()))];
    let child = ChildProcess::spawn(&request, &InheritedFiles::default()).expect("this program");
    await_end(&child);
    assert_eq!(reap(child).signal(), Some(9));
}
