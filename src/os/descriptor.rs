//! File descriptors: numbers, flags, and taking over those that this program inherited. `fcntl(2)`, `fstat(2)`.
//!
//! DESCRIPTOR-1. No descriptor that this crate keeps, or gives to a child, has the number 0, 1 or 2. A program that
//!     runs with a standard stream closed gets that number for the next file it opens. A queue's memory there would be
//!     overwritten by `println!`, replaced by a daemon's `dup2`, and passed to children as their standard input. So
//!     each descriptor is moved to 3 or above when it is opened, unless it is closed again before the opening call
//!     returns.
//!
//! This module owns no state.

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::fstat;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The lowest number above those of the standard streams.
const FIRST: RawFd = 3;

/// Moves a descriptor above the numbers of the standard streams, if it is not there yet (DESCRIPTOR-1). Sets
/// close-on-exec on a moved one.
pub(crate) fn beyond_stdio(file: OwnedFd) -> io::Result<OwnedFd> {
    if file.as_raw_fd() >= FIRST {
        return Ok(file);
    }
    let moved = fcntl(&file, FcntlArg::F_DUPFD_CLOEXEC(FIRST))?;
    // SAFETY: `fcntl` has just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(moved) })
}

/// Returns the descriptor's number, which is also its number in a child that inherits it.
pub(crate) fn number(file: impl AsFd) -> RawFd {
    file.as_fd().as_raw_fd()
}

/// Returns the inode of the file, by which another process can check that a descriptor number still means this file.
pub(crate) fn inode(file: impl AsFd) -> io::Result<u64> {
    Ok(fstat(file)?.st_ino)
}

/// Takes over a descriptor that this program was started with, and sets close-on-exec on it. The caller must take each
/// number only once.
///
/// # Errors
///
/// The number is that of a standard stream, is not open, or is open for another file than that of `inode`.
pub(crate) fn take_inherited(file: RawFd, inode: u64) -> io::Result<OwnedFd> {
    if file < FIRST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    {
        // SAFETY: the borrow only serves calls that fail if the descriptor is not open.
        let file = unsafe { BorrowedFd::borrow_raw(file) };
        if self::inode(file)? != inode {
            return Err(io::ErrorKind::NotFound.into());
        }
        fcntl(file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    // SAFETY: the descriptor is open for the file that the parent gave to this program to own, and the caller takes it
    // only once.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}

/// Duplicates a descriptor that this program was started with.
///
/// # Errors
///
/// The number is not open, or is open for another file than that of `inode`.
pub(crate) fn duplicate_inherited(file: RawFd, inode: u64) -> io::Result<OwnedFd> {
    if file < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the borrow only serves calls that fail if the descriptor is not open.
    let file = unsafe { BorrowedFd::borrow_raw(file) };
    if self::inode(file)? != inode {
        return Err(io::ErrorKind::NotFound.into());
    }
    file.try_clone_to_owned()
}

/// Returns whether the condition holds within 30 s. For what the last copy of a descriptor ends: while another test
/// starts a child, that child has copies of all descriptors until it runs its own program.
#[cfg(test)]
pub(crate) fn comes_true(mut condition: impl FnMut() -> bool) -> bool {
    let end = std::time::Instant::now() + core::time::Duration::from_secs(30);
    while std::time::Instant::now() < end {
        if condition() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_descriptor_above_the_standard_streams_keeps_its_number() {
        let file = OwnedFd::from(File::open("/dev/null").expect("/dev/null"));
        let number = file.as_raw_fd();
        assert!(number >= FIRST, "the standard streams of a test are open");
        assert_eq!(beyond_stdio(file).expect("the same").as_raw_fd(), number);
    }
}
