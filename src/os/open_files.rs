//! Memory files that other processes of this user have open, and how these processes are: `/proc/ID/fd`, `/proc/ID/stat`,
//! `/proc/ID/cmdline`. For looking only. Owns no state.

use super::descriptor::beyond_stdio;
use super::memory;
use super::procfs;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What `/proc` shows as the target of a memory file that [`memory::create`] has made.
const LINK: &str = "/memfd:workring (deleted)";

/// A descriptor of a memory file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenFile {
    pub(crate) process: u32,
    pub(crate) descriptor: u32,
    /// Device and inode, which tell files apart.
    pub(crate) file: (u64, u64),
}

/// Returns the descriptors of memory files that this crate has made, in all processes that this process may look into,
/// ordered by process and number.
pub(crate) fn memory_files() -> Vec<OpenFile> {
    let mut processes: Vec<u32> = procfs::processes().collect();
    processes.sort_unstable();
    processes.into_iter().flat_map(memory_files_of).collect()
}

/// Returns those of one process; none if it has ended or belongs to another user.
pub(crate) fn memory_files_of(process: u32) -> Vec<OpenFile> {
    let Ok(entries) = fs::read_dir(format!("/proc/{process}/fd")) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            if fs::read_link(&path).ok()?.to_str() != Some(LINK) {
                return None;
            }
            let meta = fs::metadata(&path).ok()?;
            Some(OpenFile {
                process,
                descriptor: entry.file_name().to_str()?.parse().ok()?,
                file: (meta.dev(), meta.ino()),
            })
        })
        .collect();
    found.sort_unstable_by_key(|file| file.descriptor);
    found
}

/// Opens a file that another process has open: only for reading, or also to take part in the queue in it. The new
/// description shares neither locks nor flags with that of the process.
///
/// # Errors
///
/// The process has ended, has closed the file, or may not be looked into.
pub(crate) fn open_again(process: u32, descriptor: u32, to_write: bool) -> io::Result<OwnedFd> {
    let path = format!("/proc/{process}/fd/{descriptor}");
    // The number may be that of another file by now, and opening a pipe or a device can block.
    if fs::read_link(&path)?.to_str() != Some(LINK) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let access = if to_write {
        OFlag::O_RDWR
    } else {
        OFlag::O_RDONLY
    };
    let flags = access | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    beyond_stdio(open(path.as_str(), flags, Mode::empty())?)
}

/// Returns the size of an open file.
pub(crate) fn size(file: &OwnedFd) -> io::Result<usize> {
    if let Some(size) = memory::sealed_size(file)? {
        return Ok(size);
    }
    let size = nix::sys::stat::fstat(file)?.st_size;
    Ok(usize::try_from(size).unwrap_or(0))
}

/// Returns whether any process that this process may look into has a file open by a descriptor.
pub(crate) fn is_open(path: &Path) -> bool {
    procfs::processes().any(|process| {
        let entries = fs::read_dir(format!("/proc/{process}/fd"));
        let mut entries = entries.into_iter().flatten().flatten();
        entries.any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == path))
    })
}

/// What `/proc` shows of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessView {
    /// Its command line; its name in brackets if it has none.
    pub(crate) command: String,
    /// Whether all of its threads are stopped or traced.
    pub(crate) is_stopped: bool,
    /// Whether it has ended.
    pub(crate) has_ended: bool,
}

/// Returns what `/proc` shows of a process; `None` if there is no such process, or it cannot be seen.
pub(crate) fn process(id: u32) -> Option<ProcessView> {
    let status = procfs::read(format!("/proc/{id}/stat")).ok()?;
    let (before, after) = status.rsplit_once(')')?;
    let state = after.trim_start().chars().next()?;
    let name = before.split_once('(')?.1;
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let line = line.trim_end();
    Some(ProcessView {
        command: if line.is_empty() {
            format!("[{name}]")
        } else {
            line.to_owned()
        },
        is_stopped: matches!(state, 'T' | 't'),
        has_ended: matches!(state, 'Z' | 'X'),
    })
}

/// Returns the value of a variable that a process was started with; `None` if it has none, or cannot be looked into.
pub(crate) fn variable(process: u32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{process}/environ")).ok()?;
    environment.split(|&byte| byte == 0).find_map(|pair| {
        let pair = core::str::from_utf8(pair).ok()?;
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_memory_file_of_this_process_is_found_and_opened_again() {
        let file = memory::create(8192, 4096).expect("a memfd");
        let number = u32::try_from(file.as_raw_fd()).expect("a number");
        let me = std::process::id();
        let found = memory_files();
        assert!(
            found
                .iter()
                .any(|open| (open.process, open.descriptor) == (me, number))
        );
        let again = open_again(me, number, false).expect("open");
        assert_eq!(size(&again).expect("fstat"), 8192);
    }

    #[test]
    fn this_process_runs_and_has_a_command() {
        let me = process(std::process::id()).expect("/proc");
        assert!(!me.is_stopped && !me.has_ended && !me.command.is_empty());
        assert_eq!(process(u32::MAX), None);
    }
}
