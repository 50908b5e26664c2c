//! Ends a test that hangs, and reports where.
//!
//! One thread waits on a channel. Dropping the [`Watchdog`] hangs up and so ends the thread; if the limit passes
//! without [progress](Watchdog::progress) first, the thread reports every thread of this process and of its
//! descendants, kills the descendants and aborts.
//!
//! WATCHDOG-1. The report is written by `write(2)` without a lock: a hanging thread may hold the lock of `stderr`, and
//!     the test runner captures `eprintln!` in a buffer that an abort discards.
//! WATCHDOG-2. All descendants are stopped before the first is killed. If a parent were killed first, its children would
//!     become children of init, and could not be found any more.

use crate::procfs::{Stat, descendants, threads};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, write},
};
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs, io, process,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Names of tests, each with a line to print when that test hangs.
static REMARKS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Prints a line, and prints it again if a watchdog of this test fires: the captured output is lost then.
pub fn remark(line: String) {
    println!("{line}");
    REMARKS.lock().push((test_name(), line));
}

/// While this lives, the test has to end, or to get on, within the limit.
#[must_use = "a watchdog watches until it is dropped"]
#[derive(Debug)]
pub struct Watchdog {
    line: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts watching. After `limit` the whole process is aborted, and its descendants are killed.
    pub fn start(limit: Duration) -> Self {
        let (ours, line) = channel();
        let test = test_name();
        let watch = move || {
            if falls_silent(&line, limit) {
                tell(&report(&test, limit));
                kill_descendants();
                process::abort();
            }
        };
        let thread = thread::Builder::new().name("watchdog".into()).spawn(watch);
        Self {
            line: Some(ours),
            thread: Some(thread.expect("start the watchdog")),
        }
    }

    /// Reports progress: the limit counts from now.
    pub fn progress(&self) {
        let line = self.line.as_ref().expect("it is not being dropped");
        line.send(()).expect("the watchdog listens");
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.line.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the watchdog never panics");
        }
    }
}

/// Waits until the channel is closed, or until no progress was reported for the limit: then returns true.
fn falls_silent(line: &Receiver<()>, limit: Duration) -> bool {
    loop {
        match line.recv_timeout(limit) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

fn test_name() -> String {
    thread::current().name().unwrap_or("unnamed").to_owned()
}

fn report(test: &str, limit: Duration) -> String {
    let mut report = format!("\nWATCHDOG: {test} did not end or get on within {limit:?}\n");
    for (_, line) in REMARKS.lock().iter().filter(|(name, _)| name == test) {
        let _ = writeln!(report, "  {line}");
    }
    for pid in [vec![Pid::this()], descendants(Pid::this())].concat() {
        let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let parent = Stat::of(pid).map_or(Pid::from_raw(0), |stat| stat.parent);
        let _ = writeln!(
            report,
            "process {pid}, child of {parent}: {}",
            arguments.replace('\0', " ")
        );
        for thread in threads(pid) {
            let _ = writeln!(report, "  {}", describe(pid, thread));
        }
    }
    report
}

fn describe(pid: Pid, thread: Pid) -> String {
    let Some(stat) = Stat::of_thread(pid, thread) else {
        return format!("thread {thread}: has just ended");
    };
    let read =
        |file| fs::read_to_string(format!("/proc/{pid}/task/{thread}/{file}")).unwrap_or_default();
    let (channel, call) = (read("wchan"), read("syscall"));
    let call = call.split_whitespace().next().unwrap_or("unknown");
    format!(
        "thread {thread} ({}): state {}, waits in {channel}, system call {call}",
        stat.name, stat.state
    )
}

/// Writes without a lock (WATCHDOG-1).
fn tell(text: &str) {
    let mut rest = text.as_bytes();
    while let Ok(written @ 1..) = write(io::stderr(), rest) {
        rest = rest.get(written..).unwrap_or_default();
    }
}

/// Stops all descendants, then kills them (WATCHDOG-2).
fn kill_descendants() {
    let mut stopped = BTreeSet::new();
    loop {
        let mut found = descendants(Pid::this());
        found.retain(|&pid| stopped.insert(pid));
        if found.is_empty() {
            break;
        }
        for pid in found {
            let _ = kill(pid, Signal::SIGSTOP);
        }
    }
    for pid in stopped {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_from_the_last_word() {
        let (ours, line) = channel();
        let limit = Duration::from_millis(20);
        for _ in 0..3 {
            ours.send(()).expect("somebody listens");
        }
        assert!(falls_silent(&line, limit));
        assert!(line.try_recv().is_err(), "a word was not heard");
        ours.send(()).expect("somebody listens");
        drop(ours);
        assert!(!falls_silent(&line, Duration::MAX));
    }
}
