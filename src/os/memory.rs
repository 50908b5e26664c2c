//! Shared memory: sealed memfds, and mappings of them and of files with a name.

use super::budget::{self, OutOfMemory};
use super::descriptor::beyond_stdio;
use super::fork::Origin;
use super::process;
use crate::error::MemoryLimit;
use core::num::NonZeroUsize;
use core::ops::Range;
use core::ptr::NonNull;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, SealFlag, fallocate, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::sys::stat::{Mode, fchmod, fstat, major, minor};
use nix::sys::statfs::fstatfs;
use nix::unistd::ftruncate;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Why there is no memory.
#[derive(Debug)]
pub(crate) enum Refused {
    /// A limit that has a name does not leave enough.
    Short(OutOfMemory),
    Os(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

impl From<nix::Error> for Refused {
    fn from(error: nix::Error) -> Self {
        Self::Os(error.into())
    }
}

impl From<OutOfMemory> for Refused {
    fn from(shortage: OutOfMemory) -> Self {
        Self::Short(shortage)
    }
}

/// An anonymous file of `length` bytes, of which the first `committed` have memory. Its size is sealed (nobody can
/// shrink it under a peer, which would be a SIGBUS), its mode is 0600, and it is not inherited by other programs.
pub(crate) fn create(length: usize, committed: usize) -> Result<OwnedFd, Refused> {
    let size = i64::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    budget::check_file_size(length as u64)?;
    let file = memfd_create(
        "workring",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?;
    let file = beyond_stdio(file)?;
    fchmod(&file, Mode::S_IRUSR | Mode::S_IWUSR)?;
    ftruncate(&file, size)?;
    // Committed now, so that lack of memory is an error here and not a signal later.
    commit(&file, 0..committed)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    if !mutant!(SizeNotSealed) {
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    }
    Ok(file)
}

/// So much is committed in one call: a signal undoes all that a call has done, so a long one might never end.
const COMMIT_AT_ONCE: usize = 1 << 20;

/// Give `range` of a file memory, where it has none yet. If that fails, a part of it may have some.
pub(crate) fn commit(file: impl AsFd, range: Range<usize>) -> Result<(), Refused> {
    if mutant!(MemoryNotCommitted) {
        return Ok(());
    }
    for start in range.clone().step_by(COMMIT_AT_ONCE) {
        let length = COMMIT_AT_ONCE.min(range.end - start);
        loop {
            match change(&file, FallocateFlags::empty(), start, length) {
                Ok(()) => break,
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::ENOSPC | nix::Error::ENOMEM) => {
                    return Err(none_left(&file, range.len() as u64).into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Take the memory of `range` away from a file; its bytes are zero from now on.
pub(crate) fn give_back(file: impl AsFd, range: Range<usize>) -> io::Result<()> {
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    loop {
        match change(&file, punch, range.start, range.len()) {
            Err(nix::Error::EINTR) => {}
            done => return Ok(done?),
        }
    }
}

fn change(file: impl AsFd, how: FallocateFlags, start: usize, length: usize) -> nix::Result<()> {
    let number = |value| i64::try_from(value).map_err(|_| nix::Error::EFBIG);
    fallocate(file, how, number(start)?, number(length)?)
}

/// What to say of a file that can't get `wanted` bytes more. A memfd lies in a file system without a size of its
/// own: then it is the machine that has no more.
fn none_left(file: impl AsFd, wanted: u64) -> OutOfMemory {
    let system = fstatfs(file).ok().filter(|system| system.blocks() > 0);
    let free = system.map(|system| {
        let size = u64::try_from(system.block_size()).unwrap_or(0);
        system.blocks_available().saturating_mul(size)
    });
    OutOfMemory {
        limit: free.map_or(MemoryLimit::Machine, |_| MemoryLimit::FileSystem),
        wanted,
        available: free.unwrap_or(0),
    }
}

/// How many bytes of memory a file really has.
pub(crate) fn held(file: impl AsFd) -> io::Result<usize> {
    /// The unit of `st_blocks`, whatever the file system.
    const UNIT: usize = 512;
    let units = usize::try_from(fstat(file)?.st_blocks).unwrap_or(usize::MAX);
    Ok(units.saturating_mul(UNIT))
}

/// The size of a file that can't change its size any more; `None` if it still can, or is no such file.
pub(crate) fn sealed_size(file: impl AsFd) -> io::Result<Option<usize>> {
    let Ok(seals) = fcntl(&file, FcntlArg::F_GET_SEALS) else {
        return Ok(None);
    };
    if !SealFlag::from_bits_truncate(seals)
        .contains(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW)
    {
        return Ok(None);
    }
    Ok(usize::try_from(fstat(file)?.st_size).ok())
}

/// A description of the same file that shares neither its locks nor its flags with `file`'s.
pub(crate) fn reopen(file: impl AsFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let file = open(path.as_str(), flags, Mode::empty());
    beyond_stdio(file.map_err(|error| match error {
        Errno::ENOENT => process::proc_is_needed(&error.into()),
        other => other.into(),
    })?)
}

/// Which file this is, whatever descriptor it is open under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(crate) fn of(file: impl AsFd) -> io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }

    /// Whether a line of `/proc/PID/maps` is of this file: address, permissions, offset, device, inode, path.
    pub(crate) fn is_mapped_by(&self, line: &str) -> bool {
        let mut fields = line.split_ascii_whitespace().skip(3);
        let device = fields.next().and_then(|device| device.split_once(':'));
        let part = |text| u64::from_str_radix(text, 16).ok();
        let inode = fields.next().and_then(|inode| inode.parse().ok());
        device.is_some_and(|(high, low)| {
            part(high) == Some(major(self.device)) && part(low) == Some(minor(self.device))
        }) && inode == Some(self.inode)
    }
}

/// A shared, writable mapping of a whole file. Unmapped on drop. Forked children do not get it.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: NonZeroUsize,
    origin: Origin,
    #[cfg(test)]
    on_heap: bool,
}

// SAFETY: the mapping belongs to no thread, and this type hands out nothing but its address and length.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Map the first `length` bytes of `file`, which must be sealed at that size or more, or be private
    /// ([`super::named`]).
    pub(crate) fn new(file: impl AsFd, length: usize) -> Result<Self, Refused> {
        let length =
            NonZeroUsize::new(length).ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
        let origin = Origin::here()?;
        // SAFETY: the kernel chooses the address, so nothing that exists is replaced.
        let mapped = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                file,
                0,
            )
        };
        let start = match mapped {
            Ok(start) => start,
            Err(nix::Error::ENOMEM) => {
                return Err(budget::no_address_space(length.get() as u64).into());
            }
            Err(error) => return Err(error.into()),
        };
        let mapping = Self {
            start: start.cast(),
            length,
            origin,
            #[cfg(test)]
            on_heap: false,
        };
        // SAFETY: the mapping is ours, and this changes nothing for this process.
        unsafe { madvise(start, length.get(), MmapAdvise::MADV_DONTFORK) }?;
        Ok(mapping)
    }

    /// The process that it is there in.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// As much memory on the heap, all zeros, where a sanitizer sees what goes beyond its ends.
    #[cfg(test)]
    pub(crate) fn on_heap(length: usize) -> Self {
        let length = NonZeroUsize::new(length).expect("some memory");
        // SAFETY: the layout is not of size 0.
        let start = unsafe { std::alloc::alloc_zeroed(Self::heap_layout(length)) };
        Self {
            start: NonNull::new(start).expect("memory"),
            length,
            origin: Origin::here().expect("a page"),
            on_heap: true,
        }
    }

    #[cfg(test)]
    fn heap_layout(length: NonZeroUsize) -> std::alloc::Layout {
        std::alloc::Layout::from_size_align(length.get(), 4096).expect("a sound size")
    }

    /// The byte at `offset`, which must not be beyond the end; aligned as `offset` is, up to a page.
    pub(crate) fn part(&self, offset: usize) -> NonNull<u8> {
        assert!(
            offset <= self.length.get(),
            "a part of a mapping lies beyond its end"
        );
        // SAFETY: just checked to be inside the mapping, or one past it.
        unsafe { self.start.add(offset) }
    }

    pub(crate) fn length(&self) -> usize {
        self.length.get()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        #[cfg(test)]
        if self.on_heap {
            // SAFETY: allocated by `on_heap`, with this layout.
            unsafe { std::alloc::dealloc(self.start.as_ptr(), Self::heap_layout(self.length)) };
            return;
        }
        if !self.origin.is_here() {
            // A forked child, which may have something else at that address.
            return;
        }
        // SAFETY: the mapping is ours, whole, and whoever borrowed from it has borrowed from `self`.
        let _ = unsafe { munmap(self.start.cast(), self.length.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_file_keeps_its_size_and_mode() {
        let file = create(8192, 8192).expect("a memfd");
        assert!(ftruncate(&file, 4096).is_err(), "shrunk under a peer");
        assert!(ftruncate(&file, 16384).is_err());
        assert_eq!(sealed_size(&file).expect("fstat"), Some(8192));
        assert_eq!(fstat(&file).expect("fstat").st_mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_holds_what_was_committed_and_not_given_back() {
        const MIB: usize = 1 << 20;
        let file = create(64 * MIB, 8192).expect("a memfd");
        assert_eq!(held(&file).expect("fstat"), 8192);
        commit(&file, 4 * MIB..7 * MIB + 4096).expect("three megabytes");
        assert_eq!(held(&file).expect("fstat"), 3 * MIB + 4096 + 8192);
        commit(&file, 4 * MIB..5 * MIB).expect("it is there already");
        give_back(&file, 4 * MIB..6 * MIB).expect("punch");
        assert_eq!(held(&file).expect("fstat"), MIB + 4096 + 8192);
        give_back(&file, 4 * MIB..64 * MIB).expect("punch");
        assert_eq!(held(&file).expect("fstat"), 8192);
    }

    #[test]
    fn a_mapped_file_is_found_in_the_maps_of_its_process() {
        let (file, other) = (
            create(4096, 4096).expect("a memfd"),
            create(4096, 4096).expect("a memfd"),
        );
        let mapping = Mapping::new(&file, 4096).expect("a mapping");
        let is_mapped = |file: &OwnedFd| {
            let id = FileId::of(file).expect("fstat");
            let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
            maps.lines().any(|line| id.is_mapped_by(line))
        };
        assert!(is_mapped(&file) && !is_mapped(&other));
        drop(mapping);
        assert!(!is_mapped(&file));
    }

    #[test]
    fn a_file_that_can_shrink_has_no_sealed_size() {
        let file = memfd_create(
            "unsealed",
            MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
        )
        .expect("a memfd");
        assert_eq!(sealed_size(&file).expect("fcntl"), None);
        let directory = std::fs::File::open("/").expect("the root directory");
        assert_eq!(sealed_size(&directory).expect("fcntl"), None);
    }
}
