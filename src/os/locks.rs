//! Locks on single bytes beyond the end of a segment's file: open-file-description locks of `fcntl(2)`.
//!
//! Such a lock belongs to an open file description. It lasts as long as any process has a descriptor of that
//! description open, and ends when the last one is closed, also by the death of its process. (A POSIX record lock would
//! end as soon as the process closed *any* descriptor of the file.) State: the locks, which the kernel keeps.

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::io;
use std::os::fd::AsFd;

fn byte(offset: u64, kind: libc::c_int) -> io::Result<libc::flock> {
    let start =
        libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "small constants of the system's headers"
    )]
    Ok(libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: 1,
        l_pid: 0,
    })
}

/// Locks one byte exclusively for this description. Returns false if another description has it locked.
pub(crate) fn try_lock(file: impl AsFd, offset: u64) -> io::Result<bool> {
    if mutant!(LocksAreShared) {
        return try_lock_shared(file, offset);
    }
    set(file, byte(offset, libc::F_WRLCK)?)
}

/// Locks one byte, shared with other descriptions. Returns false if another description has it locked exclusively.
pub(crate) fn try_lock_shared(file: impl AsFd, offset: u64) -> io::Result<bool> {
    set(file, byte(offset, libc::F_RDLCK)?)
}

fn set(file: impl AsFd, lock: libc::flock) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(true),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns whether another description has the byte locked. It only asks: taking the lock would keep its owner from it.
pub(super) fn is_locked(file: impl AsFd, offset: u64) -> io::Result<bool> {
    let mut lock = byte(offset, libc::F_WRLCK)?;
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

/// Returns whether another description has the byte locked exclusively. It only asks.
#[cfg(feature = "rendezvous")]
pub(crate) fn is_locked_exclusively(file: impl AsFd, offset: u64) -> io::Result<bool> {
    let mut lock = byte(offset, libc::F_RDLCK)?;
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

/// Unlocks one byte of this description.
pub(crate) fn unlock(file: impl AsFd, offset: u64) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&byte(offset, libc::F_UNLCK)?))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::descriptor::comes_true;
    use crate::os::memory;

    #[test]
    fn a_byte_beyond_the_end_is_locked_by_one_description_until_it_is_closed() {
        let first = memory::create(4096, 4096).expect("a memfd");
        let second = memory::reopen(&first).expect("a description of its own");
        let beyond = 1 << 40;
        assert!(try_lock(&first, beyond).expect("lock"));
        assert!(!try_lock(&second, beyond).expect("lock"));
        assert!(try_lock(&second, beyond + 1).expect("lock"));
        assert!(is_locked(&second, beyond).expect("ask"));
        assert!(!is_locked(&first, beyond).expect("ask"), "its own lock");
        drop(first);
        assert!(comes_true(|| !is_locked(&second, beyond).expect("ask")));
        assert!(try_lock(&second, beyond).expect("lock"));
    }
}
