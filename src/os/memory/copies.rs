//! Copies of files in memory of this process, made with `pread(2)`: for looking at shared memory without mapping it.
//!
//! State: the pages of a [`Mapping`] that no other process has.

use super::{Backing, Mapping, MemoryError};
use crate::os::budget;
use crate::os::fork::OwnerProcess;
use core::num::NonZeroUsize;
use core::ops::Range;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};
use std::io;
use std::os::fd::AsFd;

impl Mapping {
    /// The most bytes that [`holds`](Self::holds) reads at a time.
    const PIECE: usize = 64 << 10;

    /// Returns `length` bytes of addresses that no other process shares, all zero. Each page gets memory when it is
    /// written.
    pub(crate) fn of_zeros(length: usize) -> Result<Self, MemoryError> {
        let length =
            NonZeroUsize::new(length).ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
        let owner = OwnerProcess::current()?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: the kernel chooses the address, so no existing mapping is replaced.
        let mapped = unsafe {
            mmap_anonymous(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                flags,
            )
        };
        let start = match mapped {
            Ok(start) => start,
            Err(nix::Error::ENOMEM) => {
                return Err(budget::no_address_space(length.get() as u64).into());
            }
            Err(error) => return Err(error.into()),
        };
        // A huge page would be zeroed as a whole for the few bytes that are copied to it. Kernels without huge pages
        // refuse the flag, and need it not.
        // SAFETY: the range is the mapping just made, and the flag does not change what is in it.
        let _ = unsafe { madvise(start, length.get(), MmapAdvise::MADV_NOHUGEPAGE) };
        Ok(Self {
            start: start.cast(),
            length,
            owner,
            backing: Backing::Mapping,
        })
    }

    /// Copies `range` of a file to the same place of this mapping, which must come from [`of_zeros`](Self::of_zeros).
    /// Reads the file with `pread(2)`: unlike an access to a mapping of it, that neither takes memory for it nor faults
    /// where it was cut.
    ///
    /// # Errors
    ///
    /// The file ends before `range` does, or cannot be read.
    pub(crate) fn copy_from(&mut self, file: impl AsFd, range: Range<usize>) -> io::Result<()> {
        let start = self.pointer_at(range.start);
        let _ = self.pointer_at(range.end);
        // SAFETY: both ends are inside the mapping (just checked), which only this process has, and which `self` borrows
        // mutably. So nothing else refers to these bytes.
        let bytes = unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), range.len()) };
        read_exactly(file, bytes, range.start)
    }

    /// Returns whether `range` of a file has the same bytes as this mapping, which must come from
    /// [`of_zeros`](Self::of_zeros).
    ///
    /// # Errors
    ///
    /// As for [`copy_from`](Self::copy_from).
    pub(crate) fn holds(&self, file: impl AsFd, range: Range<usize>) -> io::Result<bool> {
        let _ = self.pointer_at(range.end);
        let mut now = vec![0; range.len().min(Self::PIECE)];
        for start in range.clone().step_by(Self::PIECE) {
            let length = Self::PIECE.min(range.end - start);
            let now = now.get_mut(..length).unwrap_or_default();
            read_exactly(&file, now, start)?;
            let address = self.pointer_at(start).as_ptr();
            // SAFETY: the piece is inside the mapping, whose end was checked above. Only this process has the mapping,
            // and it is written only while `self` is borrowed mutably.
            let before = unsafe { core::slice::from_raw_parts(address, length) };
            if now != before {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Fills `into` with the bytes of a file from `offset` on.
pub(crate) fn read_exactly(file: impl AsFd, into: &mut [u8], offset: usize) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(&file, rest, (offset + done) as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => done += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::memory;

    #[test]
    fn a_copy_takes_no_memory_and_sees_changes() {
        let file = memory::create(1 << 20, 8192).expect("a memfd");
        let mut copy = Mapping::of_zeros(1 << 20).expect("addresses");
        copy.copy_from(&file, 0..1 << 20).expect("read");
        assert!(copy.holds(&file, 0..1 << 20).expect("read"));
        assert_eq!(memory::allocated(&file).expect("fstat"), 8192);
        rustix::io::pwrite(&file, b"changed", 4096).expect("write");
        assert!(!copy.holds(&file, 0..1 << 20).expect("read"));
        assert!(copy.holds(&file, 8192..1 << 20).expect("read"));
    }

    #[test]
    fn a_file_that_is_too_short_is_an_error() {
        let file = memory::create(4096, 4096).expect("a memfd");
        let mut copy = Mapping::of_zeros(8192).expect("addresses");
        let error = copy.copy_from(&file, 0..8192).expect_err("it ends before");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
