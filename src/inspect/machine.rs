//! What a queue or a pool on this machine could be refused for.

use super::find;
use crate::os::facilities::{self, Limit};
use std::io;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing is refused for this.
    Good,
    /// Something can be refused for this, or is slower.
    Warning,
    /// Queues, or a kind of them, are refused for this.
    Failure,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// What was checked, in a word or two.
    pub what: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it; empty if nothing is to be done.
    pub remedy: String,
}

const MIB: u64 = 1 << 20;

/// Checks what a queue or a pool on this machine, and in this process's limits, could be refused for.
#[must_use]
pub fn checks() -> Vec<Check> {
    let mut checks = kernel();
    checks.extend(files());
    checks.extend(memory());
    checks.extend(limits());
    checks.extend(processes());
    checks
}

fn good(what: &'static str, found: impl Into<String>) -> Check {
    Check {
        what,
        verdict: Verdict::Good,
        found: found.into(),
        remedy: String::new(),
    }
}

fn bad(
    what: &'static str,
    verdict: Verdict,
    found: impl Into<String>,
    remedy: impl Into<String>,
) -> Check {
    Check {
        what,
        verdict,
        found: found.into(),
        remedy: remedy.into(),
    }
}

/// Returns the check of something that was tried.
fn tried(
    what: &'static str,
    result: io::Result<()>,
    found: &str,
    verdict: Verdict,
    remedy: &str,
) -> Check {
    match result {
        Ok(()) => good(what, found),
        Err(error) => bad(what, verdict, error.to_string(), remedy),
    }
}

fn kernel() -> Vec<Check> {
    let release = facilities::kernel();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let kernel = if version >= (5, 6) {
        good("kernel", format!("Linux {release}"))
    } else {
        bad(
            "kernel",
            Verdict::Warning,
            format!("Linux {release}"),
            "use Linux 5.6 or later: this one lacks calls by which deaths are noticed at once",
        )
    };
    vec![
        kernel,
        tried(
            "memory files",
            facilities::try_memory_file(),
            "sealed memfds can be made",
            Verdict::Failure,
            "queues without a name need `memfd_create`: permit it in the seccomp filter, or free memory",
        ),
        tried(
            "locks",
            facilities::try_locks(),
            "open-file-description locks work",
            Verdict::Failure,
            "every queue needs `fcntl(F_OFD_SETLK)`: permit it in the seccomp filter",
        ),
        tried(
            "pidfds",
            facilities::try_pidfd(),
            "a process can be watched without a race",
            Verdict::Warning,
            "permit `pidfd_open` in the seccomp filter; pools need it, queues fall back to /proc",
        ),
        tried(
            "futex_waitv",
            facilities::try_waitv(),
            "a thread can wait for several queues",
            Verdict::Warning,
            "use Linux 5.16 or later, or permit the call: waits for several queues need it",
        ),
        if facilities::has_membarrier() {
            good("membarrier", "receives need no fence of their own")
        } else {
            bad(
                "membarrier",
                Verdict::Warning,
                "expedited barriers are refused",
                "permit `membarrier` in the seccomp filter: queues work without it, and are slower",
            )
        },
    ]
}

fn files() -> Vec<Check> {
    let mut checks = vec![tried(
        "/dev/shm",
        facilities::try_named_file(),
        "named queues can be made",
        Verdict::Failure,
        "mount a tmpfs on /dev/shm that this user may write to",
    )];
    match facilities::shared_memory() {
        Ok(found) => {
            let text = format!(
                "{} MiB of {} MiB are free",
                found.free / MIB,
                found.total / MIB
            );
            checks.push(if found.total > 0 && found.free < 16 * MIB {
                bad(
                    "/dev/shm size",
                    Verdict::Warning,
                    text,
                    "remove unused queues (`workring gc`), or `mount -o remount,size=SIZE /dev/shm`",
                )
            } else {
                good("/dev/shm size", text)
            });
            if !found.is_tmpfs {
                checks.push(bad(
                    "/dev/shm type",
                    Verdict::Warning,
                    "it is not a tmpfs",
                    "mount a tmpfs on it: the queues of another file system are written to a disk",
                ));
            }
        }
        Err(error) => checks.push(bad(
            "/dev/shm size",
            Verdict::Failure,
            error.to_string(),
            "mount a tmpfs on /dev/shm",
        )),
    }
    if let Ok(names) = find::named() {
        checks.push(good(
            "named queues",
            format!("{} of this user", names.len()),
        ));
    }
    checks
}

fn memory() -> Vec<Check> {
    let (machine, group) = facilities::memory();
    let check = |what, available: Option<u64>, remedy: &str| match available {
        None => good(what, "no limit"),
        Some(bytes) if bytes < 64 * MIB => bad(
            what,
            Verdict::Warning,
            format!("{} MiB are left", bytes / MIB),
            remedy,
        ),
        Some(bytes) => good(what, format!("{} MiB are left", bytes / MIB)),
    };
    let mut checks = vec![
        check(
            "machine's memory",
            machine,
            "free memory, or use a larger machine",
        ),
        check(
            "control group",
            group,
            "raise `memory.max` of this process's control group",
        ),
    ];
    if facilities::is_commit_strict() {
        checks.push(bad(
            "overcommit",
            Verdict::Warning,
            "vm.overcommit_memory is 2",
            "set it to 0 or 1: looking at a queue needs addresses for all of it, not memory",
        ));
    }
    checks
}

/// Below this many descriptors, a program with a few queues and a pool meets the limit.
const FEW_DESCRIPTORS: u64 = 256;

fn limits() -> Vec<Check> {
    let show = |value: Option<u64>, unit: u64, name: &str| match value {
        None => "unlimited".to_owned(),
        Some(value) => format!("{}{name}", value / unit),
    };
    let check = |what, limit, least: u64, unit, name, remedy: &str| {
        let value = facilities::limit(limit);
        let text = show(value, unit, name);
        if value.is_some_and(|value| value < least) {
            bad(what, Verdict::Warning, text, remedy)
        } else {
            good(what, text)
        }
    };
    vec![
        check(
            "NOFILE",
            Limit::Descriptors,
            FEW_DESCRIPTORS,
            1,
            " descriptors",
            "raise `ulimit -n`: each queue takes one descriptor, each worker a few",
        ),
        check(
            "FSIZE",
            Limit::FileSize,
            4096 * MIB,
            MIB,
            " MiB",
            "raise `ulimit -f`: the file of a queue is sparse, and longer than its memory",
        ),
        check(
            "AS",
            Limit::AddressSpace,
            8192 * MIB,
            MIB,
            " MiB",
            "raise `ulimit -v`: each queue is mapped with room for its largest messages",
        ),
        check(
            "NPROC",
            Limit::Processes,
            64,
            1,
            " processes",
            "raise `ulimit -u`: a pool starts one process for each worker",
        ),
        good(
            "MEMLOCK",
            format!(
                "{}; nothing here locks memory",
                show(facilities::limit(Limit::LockedMemory), 1024, " KiB")
            ),
        ),
    ]
}

fn processes() -> Vec<Check> {
    let proc = match facilities::is_proc_own() {
        Ok(true) => good("/proc", "it shows the processes of this namespace"),
        Ok(false) => bad(
            "/proc",
            Verdict::Failure,
            "it is not mounted, or belongs to another namespace of process ids",
            "mount it: `mount -t proc proc /proc`",
        ),
        Err(error) => bad(
            "/proc",
            Verdict::Failure,
            error.to_string(),
            "mount it: `mount -t proc proc /proc`",
        ),
    };
    let hidden = match facilities::hidden_processes() {
        None => good("hidepid", "processes are not hidden"),
        Some(value) => bad(
            "hidepid",
            Verdict::Warning,
            format!("/proc is mounted with hidepid={value}"),
            "only matters if processes of several users share a queue: deaths are then noticed by locks alone",
        ),
    };
    let namespace = match facilities::is_in_namespace() {
        Some(true) => good(
            "namespace",
            "own process ids: the pids of queues shared with other containers differ",
        ),
        Some(false) => good("namespace", "the first one of process ids"),
        None => bad(
            "namespace",
            Verdict::Warning,
            "it cannot be read",
            "permit reading /proc/self/ns",
        ),
    };
    vec![proc, hidden, namespace]
}
