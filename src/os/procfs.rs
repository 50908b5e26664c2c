//! What `/proc` shows of processes: `proc_pid_stat(5)`, `proc_pid_status(5)`, `proc_pid_task(5)`. Owns no state.
//!
//! Each answer is that of one moment: the process may have ended, and its id been reused, before the caller acts on it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Describes an error about a file in `/proc`: the error keeps its kind, and its text asks to mount `/proc`.
pub(super) fn unreadable(error: &io::Error) -> io::Error {
    let text = format!(
        "`/proc`, which shows a process its own identity and open files, can't be read ({error}): mount it"
    );
    io::Error::new(error.kind(), text)
}

/// Reads a short file of a file system like `/proc`, whose files have no sizes. Without one, [`fs::read_to_string`] begins
/// with many small reads.
pub(super) fn read(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = String::with_capacity(8 << 10);
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Returns whether `/proc` numbers processes as this process's own namespace of process ids does. An error means that
/// this cannot be found out now.
pub(crate) fn is_own_namespace() -> io::Result<bool> {
    match fs::read_link("/proc/self") {
        Ok(link) => Ok(link.to_str() == Some(std::process::id().to_string().as_str())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Some fields of `/proc/ID/stat`, from one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) parent: u32,
    /// Start time in clock ticks since boot, modulo 2^32.
    pub(super) start_time: u32,
    /// Whether all threads have ended. A group leader that exits before its other threads is shown as a zombie, too.
    pub(super) has_ended: bool,
}

impl Stat {
    /// Reads the fields of the process, or thread, of this id.
    pub(super) fn of(id: u32) -> io::Result<Self> {
        Self::read(&format!("/proc/{id}/stat"))
    }

    /// Reads the fields of this process.
    pub(super) fn own() -> io::Result<Self> {
        Self::read("/proc/self/stat")
    }

    fn read(path: &str) -> io::Result<Self> {
        let stat = Self::parse(&read(path)?);
        stat.ok_or(io::Error::other(
            "a process without a start time in `/proc`",
        ))
    }

    /// Parses fields 3, 4, 20 and 22 of `proc_pid_stat(5)`. The name, field 2, may contain anything, so fields are
    /// counted from its closing parenthesis.
    fn parse(stat: &str) -> Option<Self> {
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let threads: u32 = fields.nth(15)?.parse().ok()?;
        let start_time: u64 = fields.nth(1)?.parse().ok()?;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "modulo 2^32, as documented"
        )]
        let start_time = start_time as u32;
        Some(Self {
            parent,
            start_time,
            has_ended: matches!(state, "Z" | "X" | "x") && threads <= 1,
        })
    }
}

/// Returns the start time of a process in clock ticks since boot, modulo 2^32.
pub(crate) fn start_time(id: u32) -> io::Result<u32> {
    Stat::of(id).map(|stat| stat.start_time)
}

/// Returns the parent of a process; `None` if the process is gone or cannot be seen.
pub(crate) fn parent(id: u32) -> Option<u32> {
    Stat::of(id).ok().map(|stat| stat.parent)
}

/// Returns whether the id is that of a thread which is not its process's group leader.
pub(super) fn is_secondary_thread(id: u32) -> io::Result<bool> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    let group: Option<u32> = group.and_then(|group| group.trim().parse().ok());
    let group = group.ok_or(io::Error::other(
        "a process without a thread group in `/proc`",
    ))?;
    Ok(group != id)
}

/// Returns whether a process has a thread of this name, which has at most 15 bytes.
pub(crate) fn has_thread(id: u32, name: &str) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else {
        return false;
    };
    threads.flatten().any(|thread| {
        let shown = fs::read_to_string(thread.path().join("comm"));
        shown.is_ok_and(|shown| shown.trim_end_matches('\n') == name)
    })
}

/// Returns the ids of a process's threads.
pub(super) fn threads(id: u32) -> io::Result<Vec<String>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{id}/task"))? {
        threads.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(threads)
}

/// Returns whether no thread of the process runs: each is stopped, has ended, or is in uninterruptible sleep.
pub(super) fn is_stopped(id: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else {
        return true;
    };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("X", |(_, rest)| rest);
        state.starts_with(['T', 't', 'D', 'Z', 'X'])
    })
}

/// Returns the ids of all processes that `/proc` shows.
pub(super) fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
}

/// Returns the children of a process; none if it has ended.
pub(crate) fn children(id: u32) -> Vec<u32> {
    let mut all = Vec::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else {
        return all;
    };
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(children) => {
                all.extend(
                    children
                        .split_ascii_whitespace()
                        .filter_map(|child| child.parse::<u32>().ok()),
                );
            }
            // The kernel was built without this file.
            Err(_) if thread.path().exists() => return children_by_parent(id),
            // The thread has just ended.
            Err(_) => {}
        }
    }
    all
}

/// Returns the same as [`children`], by reading the parent of every process.
fn children_by_parent(id: u32) -> Vec<u32> {
    processes()
        .filter(|&process| parent(process) == Some(id))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    const STAT: &str = "42 (a) b (c) S 17 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";

    #[test]
    fn fields_are_found_whatever_the_name_of_the_program() {
        let stat = Stat::parse(STAT).expect("a whole line");
        let expected = Stat {
            parent: 17,
            start_time: 4711,
            has_ended: false,
        };
        assert_eq!(stat, expected);
    }

    #[test]
    fn a_zombie_has_ended_only_if_no_other_thread_runs() {
        let with = |state: &str, threads: &str| {
            let stat = STAT.replace(") S", &format!(") {state}"));
            let stat = stat.replace("20 0 1 0", &format!("20 0 {threads} 0"));
            Stat::parse(&stat).expect("a whole line")
        };
        assert!(with("Z", "1").has_ended && with("X", "0").has_ended);
        assert!(!with("Z", "2").has_ended && !with("D", "1").has_ended);
        assert!(!with("T", "1").has_ended);
    }

    #[test]
    fn an_incomplete_line_is_rejected() {
        assert_eq!(Stat::parse("42 (cat) S 1 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn the_parent_and_the_threads_of_a_process_are_found() {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("a child");
        assert_eq!(parent(child.id()), Some(std::process::id()));
        child.kill().expect("kill");
        child.wait().expect("reaped");
        let named = std::thread::Builder::new().name("fifteen-letters".to_owned());
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel::<()>();
        let thread = named.spawn(move || {
            ready.send(()).expect("the test waits");
            receiver.recv()
        });
        is_ready.recv().expect("the thread runs");
        assert!(has_thread(std::process::id(), "fifteen-letters"));
        assert!(!has_thread(std::process::id(), "fifteen"));
        drop(sender);
        let _ = thread.expect("a thread").join();
    }

    #[test]
    fn both_ways_to_list_children_agree() {
        let script = "sleep 1000 & echo $!; sleep 1000 & echo $!; wait";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut shell = command.spawn().expect("a shell");
        let output = BufReader::new(shell.stdout.take().expect("a pipe"));
        let lines = output.lines().take(2).map(|line| line.expect("a line"));
        let mut expected: Vec<u32> = lines.map(|line| line.parse().expect("an id")).collect();
        expected.sort_unstable();
        for mut listed in [children(shell.id()), children_by_parent(shell.id())] {
            listed.sort_unstable();
            assert_eq!(listed, expected);
        }
        for id in expected {
            let id = super::super::pidfd::to_pid(id).expect("an id");
            rustix::process::kill_process(id, rustix::process::Signal::KILL).expect("killed");
        }
        shell.kill().expect("killed");
        shell.wait().expect("reaped");
    }
}
