//! The cost of a process: CPU time, context switches, resident memory; and the processors on which a thread may run.
//!
//! CPU-1. CPU time comes in clock ticks, usually of 10 ms, and includes threads that have ended.
//! CPU-2. Context switches are those of the threads that live: a thread that ends takes its count along.

use crate::procfs::{Stat, threads};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::{Pid, SysconfVar, sysconf},
};
use std::{fs, ops::Sub, time::Duration};

/// What a process has used since it began, or between two looks: `later - earlier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Time on a CPU, in user mode and in the kernel (CPU-1).
    pub time: Duration,
    /// How often a thread went to sleep (CPU-2).
    pub voluntary: u64,
    /// How often a thread was pre-empted (CPU-2).
    pub involuntary: u64,
}

impl Usage {
    /// What the process has used so far; `None` if there is no such process.
    #[must_use]
    pub fn of(pid: Pid) -> Option<Self> {
        let ticks = Stat::of(pid)?.ticks;
        let frequency = sysconf(SysconfVar::CLK_TCK).ok()??;
        let milliseconds = ticks * 1000 / u64::try_from(frequency).ok()?;
        let switches = |key| {
            let counts = threads(pid)
                .into_iter()
                .filter_map(|thread| status(pid, thread, key));
            counts.sum()
        };
        Some(Self {
            time: Duration::from_millis(milliseconds),
            voluntary: switches("voluntary_ctxt_switches"),
            involuntary: switches("nonvoluntary_ctxt_switches"),
        })
    }
}

impl Sub for Usage {
    type Output = Self;

    /// A count that went down, see CPU-2, gives 0.
    fn sub(self, earlier: Self) -> Self {
        Self {
            time: self.time.saturating_sub(earlier.time),
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
        }
    }
}

/// Resident memory in bytes (`VmRSS`); `None` if there is no such process, or it is a zombie.
#[must_use]
pub fn resident(pid: Pid) -> Option<u64> {
    Some(status(pid, pid, "VmRSS")? * 1024)
}

fn status(pid: Pid, thread: Pid, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).ok()?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

/// The CPUs on which the current thread may run.
#[must_use]
pub fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("the CPUs of this thread");
    (0..CpuSet::count())
        .filter(|&cpu| set.is_set(cpu) == Ok(true))
        .collect()
}

/// Lets the current thread, and those that it starts from now on, run on these CPUs only.
pub fn pin(cpus: &[usize]) {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu).expect("a CPU number");
    }
    sched_setaffinity(Pid::from_raw(0), &set).expect("pin the thread to CPUs of this machine");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guarded;
    use std::{hint, sync::mpsc::channel, thread};

    const LIMIT: Duration = Duration::from_mins(1);

    #[test]
    fn work_costs_time_and_waiting_costs_switches() {
        guarded(LIMIT, || {
            let me = Pid::this();
            let start = Usage::of(me).expect("self");
            while (Usage::of(me).expect("self") - start).time < Duration::from_millis(50) {
                hint::spin_loop();
            }
            let (question, asked) = channel();
            let (answer, told) = channel();
            thread::scope(|scope| {
                scope.spawn(move || {
                    while let Ok(()) = asked.recv() {
                        answer.send(()).expect("tell");
                    }
                });
                let before = Usage::of(me).expect("self");
                while (Usage::of(me).expect("self") - before).voluntary < 100 {
                    question.send(()).expect("ask");
                    told.recv().expect("an answer");
                }
                drop(question);
            });
        });
    }

    #[test]
    fn a_pinned_thread_stays_where_it_is_put() {
        guarded(LIMIT, || {
            let last = *allowed().last().expect("a CPU");
            let pinned = thread::spawn(move || {
                pin(&[last]);
                allowed()
            });
            assert_eq!(pinned.join().expect("join"), [last]);
            assert!(allowed().contains(&last));
        });
    }

    #[test]
    fn memory_that_is_touched_becomes_resident() {
        guarded(LIMIT, || {
            const SIZE: u64 = 64 << 20;
            let before = resident(Pid::this()).expect("self");
            let length = SIZE.try_into().expect("a length");
            // Without `black_box` an optimised build makes the vector after the second look, or not at all.
            let memory = hint::black_box(vec![1_u8; length]);
            let after = resident(Pid::this()).expect("self");
            assert!(after - before > SIZE / 2, "{before} then {after}");
            drop(hint::black_box(memory));
        });
    }

    #[test]
    fn nobody_has_no_usage() {
        let nobody = Pid::from_raw(i32::MAX);
        assert_eq!(Usage::of(nobody), None);
        assert_eq!(resident(nobody), None);
    }
}
