//! Processes: who we are, and what we have inherited.

use super::descriptor::FIRST;
use core::num::NonZeroUsize;
use core::ptr::NonNull;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::stat::fstat;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// Who a process is, as others can check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Process id, low half; start time in clock ticks since boot, high half (modulo 2^32).
    pub(crate) process: u64,
    /// Inode of the process-id namespace.
    pub(crate) pid_namespace: u64,
    /// Inode of the time namespace.
    pub(crate) time_namespace: u64,
    /// See [`image`]; 0 if it is not known.
    pub(crate) image: u64,
}

impl Identity {
    /// The process id.
    pub(crate) fn process_id(&self) -> u32 {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the low half is the process id"
        )]
        {
            self.process as u32
        }
    }

    /// Whether this is `other` in an earlier life: the same process, which has executed a program since.
    pub(crate) fn is_earlier_life_of(&self, other: &Self) -> bool {
        let same = Self {
            image: other.image,
            ..*self
        };
        same == *other && self.image != other.image && self.image != 0 && other.image != 0
    }

    /// The start time, as [`Stat`] has it.
    pub(crate) fn started(&self) -> u32 {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the high half is the start time"
        )]
        {
            (self.process >> 32) as u32
        }
    }
}

/// This process, as others can check it: its id with its start time, for ids are reused, and the namespaces
/// that both are relative to.
pub(crate) fn identity() -> io::Result<Identity> {
    let stat = Stat::read("/proc/self/stat").map_err(|error| proc_is_needed(&error))?;
    let started = stat.started;
    let namespace =
        std::fs::metadata("/proc/self/ns/pid").map_err(|error| proc_is_needed(&error))?;
    Ok(Identity {
        process: u64::from(started) << 32 | u64::from(std::process::id()),
        pid_namespace: namespace.ino(),
        // Kernels before 5.6 have no time namespaces, and then all processes share one.
        time_namespace: std::fs::metadata("/proc/self/ns/time").map_or(0, |meta| meta.ino()),
        image: image(),
    })
}

/// An error of the same kind that names `/proc`, for one about something that lies there.
pub(crate) fn proc_is_needed(error: &io::Error) -> io::Error {
    let said = format!(
        "`/proc`, which shows a process who it is and what it has open, can't be read ({error}): mount it"
    );
    io::Error::new(error.kind(), said)
}

/// A number that tells the program that this process executes now from those that it has executed before: process id
/// and start time stay when a process executes another program. All copies of this library in one process agree on it.
/// 0 if the kernel gives none.
fn image() -> u64 {
    static IMAGE: OnceLock<u64> = OnceLock::new();
    *IMAGE.get_or_init(|| {
        // SAFETY: it only looks into the vector that the kernel has put on the stack.
        let address = unsafe { libc::getauxval(libc::AT_RANDOM) };
        let Some(address) = usize::try_from(address).ok().and_then(NonZeroUsize::new) else {
            return 0;
        };
        let bytes = NonNull::<[u64; 2]>::with_exposed_provenance(address);
        // SAFETY: the kernel puts 16 random bytes there whenever a program is executed, and they stay.
        let [low, high] = unsafe { bytes.read_unaligned() };
        (low ^ high).max(1)
    })
}

/// What `/proc` says of a process in one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// When it was started, in clock ticks since boot, modulo 2^32.
    pub(crate) started: u32,
    /// Whether all its threads have ended. A leader that has exited before its threads looks like a zombie, too.
    pub(crate) has_ended: bool,
}

impl Stat {
    /// Of the process of this id, or of the thread.
    pub(crate) fn of(process_id: u32) -> io::Result<Self> {
        Self::read(&format!("/proc/{process_id}/stat"))
    }

    fn read(path: &str) -> io::Result<Self> {
        let stat = Self::parse(&std::fs::read_to_string(path)?);
        stat.ok_or(io::Error::other("a process without a start time"))
    }

    /// Fields 3, 20 and 22 of `proc_pid_stat(5)`. The name, field 2, may hold anything, so count from its closing
    /// parenthesis.
    fn parse(stat: &str) -> Option<Self> {
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let threads: u32 = fields.nth(16)?.parse().ok()?;
        let started: u64 = fields.nth(1)?.parse().ok()?;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "modulo 2^32, as documented"
        )]
        let started = started as u32;
        Some(Self {
            started,
            has_ended: matches!(state, "Z" | "X" | "x") && threads <= 1,
        })
    }
}

/// Returns when the process of this id was started, as [`Stat::started`].
pub(crate) fn started(process_id: u32) -> io::Result<u32> {
    Stat::of(process_id).map(|stat| stat.started)
}

/// Whether the kernel says that there is no process, and no thread, of this id. False if it does not say.
pub(crate) fn is_gone(process_id: u32) -> bool {
    let id = i32::try_from(process_id).ok().and_then(Pid::from_raw);
    id.is_some_and(|id| test_kill_process(id) == Err(Errno::SRCH))
}

/// Whether the id is that of a thread, and not of a process.
pub(crate) fn is_a_thread(id: u32) -> io::Result<bool> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    let group: Option<u32> = group.and_then(|group| group.trim().parse().ok());
    let group = group.ok_or(io::Error::other("a process without a group of threads"))?;
    Ok(group != id)
}

/// Whether `/proc` shows processes by the ids that they have for this one. An error: that can't be found out now.
pub(crate) fn proc_is_ours() -> io::Result<bool> {
    match std::fs::read_link("/proc/self") {
        Ok(link) => Ok(link.to_str() == Some(std::process::id().to_string().as_str())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Which file this is, whatever number it has: another process can check that it has got the very one.
pub(crate) fn inode(file: impl AsFd) -> io::Result<u64> {
    Ok(fstat(file)?.st_ino)
}

/// Take over a descriptor that this program was started with, and see to it that no other program inherits
/// it. An error if there is none of that number, or it is another file than that of `inode`.
///
/// The caller must make sure to take each number only once.
pub(crate) fn take_inherited(file: RawFd, inode: u64) -> io::Result<OwnedFd> {
    if file < FIRST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    {
        // SAFETY: only lent to these calls, which fail if it is not open.
        let file = unsafe { BorrowedFd::borrow_raw(file) };
        if self::inode(file)? != inode {
            return Err(io::ErrorKind::NotFound.into());
        }
        fcntl(file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    // SAFETY: it is open, it is the very file that this program was given by its parent to own, and it is
    // taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}

/// Another descriptor of one that this program was started with. An error if there is none of that number, or it is
/// another file than that of `inode`.
pub(crate) fn duplicate_inherited(file: RawFd, inode: u64) -> io::Result<OwnedFd> {
    if file < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: only lent to these calls, which fail if it is not open.
    let file = unsafe { BorrowedFd::borrow_raw(file) };
    if self::inode(file)? != inode {
        return Err(io::ErrorKind::NotFound.into());
    }
    file.try_clone_to_owned()
}

/// The number that a child will find this descriptor under.
pub(crate) fn number(file: impl AsFd) -> RawFd {
    file.as_fd().as_raw_fd()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) b (c) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";

    #[test]
    fn the_start_time_is_found_whatever_the_program_is_called() {
        let stat = Stat::parse(STAT).expect("whole");
        assert_eq!((stat.started, stat.has_ended), (4711, false));
    }

    #[test]
    fn a_zombie_has_ended_only_when_its_threads_have() {
        let of = |state: &str, threads: &str| {
            let stat = STAT.replace(") S", &format!(") {state}"));
            Stat::parse(&stat.replace("20 0 1 0", &format!("20 0 {threads} 0"))).expect("whole")
        };
        assert!(of("Z", "1").has_ended && of("X", "0").has_ended);
        assert!(!of("Z", "2").has_ended && !of("D", "1").has_ended && !of("T", "1").has_ended);
    }

    #[test]
    fn what_is_no_stat_line_has_no_start_time() {
        assert_eq!(Stat::parse("42 (cat) S 1 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn a_process_that_has_executed_another_program_is_an_earlier_life() {
        let me = identity().expect("/proc");
        assert!(me.image != 0, "the kernel gives a random number");
        assert!(!me.is_earlier_life_of(&me));
        let image = |image| Identity { image, ..me };
        assert!(image(me.image ^ 2).is_earlier_life_of(&me));
        assert!(!image(0).is_earlier_life_of(&me), "it is not known");
        let other = Identity {
            process: me.process ^ 1,
            ..image(me.image ^ 2)
        };
        assert!(!other.is_earlier_life_of(&me), "another process");
    }

    #[test]
    fn a_process_is_identical_with_itself() {
        assert_eq!(identity().expect("/proc"), identity().expect("/proc"));
    }
}
