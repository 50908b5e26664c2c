//! Pipes to which a child writes, and which this process reads without ever waiting: `pipe2(2)`, `read(2)`.
//!
//! State: each [`OutputPipe`] owns the reading end of one pipe.

use super::descriptor::beyond_stdio;
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread, read};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The end of a pipe from which this process reads.
#[derive(Debug)]
pub(crate) struct OutputPipe(OwnedFd);

/// What a read has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PipeRead {
    /// This many bytes.
    Bytes(usize),
    /// Nothing now.
    WouldBlock,
    /// No process has the other end any more, and everything was read.
    Closed,
}

impl OutputPipe {
    /// Returns a new pipe, and the end for the child.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = io::pipe()?;
        let reader = beyond_stdio(reader.into())?;
        ioctl_fionbio(&reader, true)?;
        Ok((Self(reader), beyond_stdio(writer.into())?))
    }

    /// Reads what the pipe has, as far as the buffer has room. Never waits.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> PipeRead {
        loop {
            return match read(&self.0, &mut *buffer) {
                Ok(0) => PipeRead::Closed,
                Ok(count) => PipeRead::Bytes(count),
                Err(Errno::AGAIN) => PipeRead::WouldBlock,
                Err(Errno::INTR) => continue,
                // Reading a pipe does not fail otherwise.
                Err(_) => PipeRead::Closed,
            };
        }
    }

    /// Returns how many bytes wait to be read.
    pub(crate) fn pending_bytes(&self) -> io::Result<u64> {
        Ok(ioctl_fionread(&self.0)?)
    }
}

impl AsFd for OutputPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;

    #[test]
    fn a_read_never_waits_and_the_end_comes_after_the_last_byte() {
        let (pipe, writer) = OutputPipe::new().expect("a pipe");
        let mut buffer = [0; 4];
        assert_eq!(pipe.try_read(&mut buffer), PipeRead::WouldBlock);
        let mut writer = File::from(writer);
        writer.write_all(b"hello").expect("room");
        assert_eq!(pipe.pending_bytes().expect("a pipe"), 5);
        assert_eq!(pipe.try_read(&mut buffer), PipeRead::Bytes(4));
        drop(writer);
        assert_eq!(pipe.try_read(&mut buffer), PipeRead::Bytes(1));
        assert_eq!(pipe.try_read(&mut buffer), PipeRead::Closed);
    }
}
