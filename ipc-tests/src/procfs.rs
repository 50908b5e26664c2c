//! Processes and threads, as `/proc` lists them. A process that ends during the read is left out; that is no error.

use nix::unistd::Pid;
use std::{fs, path::Path};

/// One line of `/proc/PID/stat` or `/proc/PID/task/TID/stat`.
pub(crate) struct Stat {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) parent: Pid,
    /// Time in user mode and in the kernel, in clock ticks.
    pub(crate) ticks: u64,
}

impl Stat {
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        Self::read(&format!("/proc/{pid}/stat"))
    }

    pub(crate) fn of_thread(pid: Pid, thread: Pid) -> Option<Self> {
        Self::read(&format!("/proc/{pid}/task/{thread}/stat"))
    }

    fn read(path: &str) -> Option<Self> {
        Self::parse(&fs::read_to_string(path).ok()?)
    }

    fn parse(line: &str) -> Option<Self> {
        // The name may contain blanks and parentheses: it ends at the last one.
        let (head, tail) = line.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
        Some(Self {
            name: name.to_owned(),
            state: (*fields.first()?).to_owned(),
            parent: Pid::from_raw(fields.get(1)?.parse().ok()?),
            ticks: number(11)? + number(12)?,
        })
    }
}

/// The threads of a process.
///
/// The kernel finds its place in this directory by counting, so a listing skips a living thread when one before it
/// ends during the listing. Another listing then lacks the ended one: two equal listings in a row have skipped no
/// thread.
pub(crate) fn threads(pid: Pid) -> Vec<Pid> {
    let directory = format!("/proc/{pid}/task");
    let mut seen = numbered(Path::new(&directory));
    loop {
        let again = numbered(Path::new(&directory));
        if again == seen {
            return seen;
        }
        seen = again;
    }
}

/// The children of a process, zombies included.
///
/// By a scan for the parent: `/proc/PID/task/TID/children` needs a kernel option, and skips some while others end.
pub(crate) fn children(parent: Pid) -> Vec<Pid> {
    let mut all = numbered(Path::new("/proc"));
    all.retain(|&pid| Stat::of(pid).is_some_and(|stat| stat.parent == parent));
    all
}

/// Children, their children, and so on; a parent precedes its children.
pub(crate) fn descendants(ancestor: Pid) -> Vec<Pid> {
    let mut found = children(ancestor);
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(children(pid));
        next += 1;
    }
    found
}

fn numbered(directory: &Path) -> Vec<Pid> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_is_read_whole() {
        let line = "7 (a) S (b c)) R 3 7 7 0 -1 0 0 0 0 0 40 2 0 0 20";
        let stat = Stat::parse(line).expect("a whole line");
        assert_eq!(
            (stat.name.as_str(), stat.state.as_str()),
            ("a) S (b c)", "R")
        );
        assert_eq!((stat.parent, stat.ticks), (Pid::from_raw(3), 42));
    }

    #[test]
    fn this_process_is_found() {
        let me = Pid::this();
        assert_eq!(Stat::of(me).expect("self").parent, Pid::parent());
        assert!(threads(me).contains(&nix::unistd::gettid()));
    }
}
