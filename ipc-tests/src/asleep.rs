//! Which threads sleep in shared memory: proof that another process waits, where a pause would only make it likely.
//!
//! A thread counts if the kernel says that it is in `futex(2)`, off every processor, on an address inside a shared
//! mapping of a file, or in `futex_waitv(2)`, which waits for several queues and the reactor of futures use. Locks and joins inside one process
//! sleep on private memory and do not count; a thread that was woken, or that a signal has stopped, is not in a system
//! call any more.

use crate::procfs::threads;
use nix::{libc, unistd::Pid};
use std::{fs, ops::Range, thread};

/// Returns how many threads of the process sleep on a futex in shared memory.
#[must_use]
pub fn sleepers(pid: Pid) -> usize {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let shared: Vec<Range<u64>> = maps.lines().filter_map(shared_range).collect();
    let is_shared = |address| shared.iter().any(|range| range.contains(&address));
    threads(pid)
        .into_iter()
        .filter_map(|thread| fs::read_to_string(format!("/proc/{pid}/task/{thread}/syscall")).ok())
        .filter(|line| {
            call_number(line) == Some(libc::SYS_futex_waitv)
                || futex_address(line).is_some_and(is_shared)
        })
        .count()
}

/// Returns once exactly `count` threads of the process sleep on futexes in shared memory. A watchdog is the limit.
pub fn await_sleepers(pid: Pid, count: usize) {
    while sleepers(pid) != count {
        thread::yield_now();
    }
}

/// The addresses of one line of `/proc/PID/maps`, if others can see what is written there.
fn shared_range(line: &str) -> Option<Range<u64>> {
    let (range, rest) = line.split_once(' ')?;
    let (permissions, _) = rest.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    permissions
        .ends_with('s')
        .then_some(number(start)?..number(end)?)
}

/// The system call in a line of `/proc/PID/task/TID/syscall`.
fn call_number(line: &str) -> Option<libc::c_long> {
    line.split_whitespace().next()?.parse().ok()
}

/// The first argument, if the line of `/proc/PID/task/TID/syscall` is one of a thread asleep in `futex(2)`.
fn futex_address(line: &str) -> Option<u64> {
    let mut words = line.split_whitespace();
    let call: libc::c_long = words.next()?.parse().ok()?;
    let address = words.next()?.strip_prefix("0x")?;
    (call == libc::SYS_futex).then(|| u64::from_str_radix(address, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guarded;
    use std::{sync::mpsc::channel, time::Duration};

    #[test]
    fn lines_of_proc_are_read() {
        let line = "7f2b-7f3c rw-s 00000000 00:01 2052 /memfd:x (deleted)";
        assert_eq!(shared_range(line), Some(0x7f2b..0x7f3c));
        assert_eq!(shared_range("7f2b-7f3c rw-p 00000000 00:00 0"), None);
        let line = format!(
            "{} 0x7f2c 0x0 0x2 0x0 0x0 0x0 0x7ffc 0x7f2d",
            libc::SYS_futex
        );
        assert_eq!(futex_address(&line), Some(0x7f2c));
        assert_eq!(futex_address("running"), None);
        assert_eq!(futex_address("-1 0x7ffc 0x7f2d"), None);
    }

    #[test]
    fn a_thread_that_waits_for_another_thread_of_its_process_does_not_count() {
        guarded(Duration::from_mins(3), || {
            let (hang_up, line) = channel::<()>();
            let waiting = thread::spawn(move || line.recv());
            let sleeps = |thread| {
                fs::read_to_string(format!("/proc/self/task/{thread}/syscall"))
                    .is_ok_and(|line| futex_address(&line).is_some())
            };
            while !threads(Pid::this()).into_iter().any(sleeps) {
                thread::yield_now();
            }
            assert_eq!(sleepers(Pid::this()), 0);
            drop(hang_up);
            waiting.join().expect("join").expect_err("hung up");
        });
    }
}
