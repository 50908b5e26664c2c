//! Descriptors that this crate owns, or gives to a child: never 0, 1 or 2.
//!
//! A program that was started with one of the standard streams closed, or that closed one, gets that number for the next
//! file that it opens. A queue's memory there would be written to by `println!`, replaced by a daemon's `dup2`, and taken
//! for the standard input of a child. So each descriptor that lives on is moved to 3 or above as soon as it is made. One
//! that is closed again before the call that opened it returns may have any number.

use nix::fcntl::{FcntlArg, fcntl};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The lowest number that is not a standard stream's.
pub(crate) const FIRST: RawFd = 3;

/// Returns the same file under a number that is no standard stream's, closed on exec.
pub(crate) fn beyond_stdio(file: OwnedFd) -> io::Result<OwnedFd> {
    if file.as_raw_fd() >= FIRST {
        return Ok(file);
    }
    let moved = fcntl(&file, FcntlArg::F_DUPFD_CLOEXEC(FIRST))?;
    // SAFETY: the call has just made it, for this owner.
    Ok(unsafe { OwnedFd::from_raw_fd(moved) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_descriptor_beyond_the_standard_streams_keeps_its_number() {
        let file = OwnedFd::from(File::open("/dev/null").expect("/dev/null"));
        let number = file.as_raw_fd();
        assert!(number >= FIRST, "the standard streams of a test are open");
        assert_eq!(beyond_stdio(file).expect("it").as_raw_fd(), number);
    }
}
