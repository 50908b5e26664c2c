//! Shared memory: sealed memfds, and mappings of these and of [named](super::named) files. `memfd_create(2)`,
//! `fallocate(2)`, `fcntl(2)` (seals), `mmap(2)`, `madvise(2)`.
//!
//! State: each [`Mapping`] owns a range of this process's address space; each returned descriptor owns its file.

#[cfg(feature = "cli")]
mod copies;

use super::budget;
use super::descriptor::beyond_stdio;
use super::fork::OwnerProcess;
use super::procfs;
#[cfg(feature = "shared-memory")]
use super::shmem::SharedMapping;
use crate::error::{MemoryLimit, OutOfMemory};
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

#[cfg(feature = "cli")]
pub(crate) use copies::read_exactly;

/// Reason why memory could not be had: for a new file, for a range of one, or for a mapping.
#[derive(Debug)]
pub(crate) enum MemoryError {
    /// A known limit does not leave enough.
    OutOfMemory(OutOfMemory),
    Os(io::Error),
}

impl MemoryError {
    /// Returns the shortage that the kernel reports when it refuses `wanted` bytes for a range of a file.
    pub(crate) fn of_range(self, wanted: u64) -> OutOfMemory {
        match self {
            Self::OutOfMemory(shortage) => shortage,
            Self::Os(_) => OutOfMemory {
                limit: MemoryLimit::Machine,
                wanted,
                available: 0,
            },
        }
    }
}

impl From<io::Error> for MemoryError {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

impl From<nix::Error> for MemoryError {
    fn from(error: nix::Error) -> Self {
        Self::Os(error.into())
    }
}

impl From<OutOfMemory> for MemoryError {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

/// Creates an anonymous file of `length` bytes, of which the first `committed` have memory. Its size is sealed, since
/// shrinking it would kill its peers by `SIGBUS`. Its mode is 0600, and it is close-on-exec.
pub(crate) fn create(length: usize, committed: usize) -> Result<OwnedFd, MemoryError> {
    let size = i64::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    budget::check_file_size(length as u64)?;
    let file = memfd_create(
        "workring",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?;
    let file = beyond_stdio(file)?;
    fchmod(&file, Mode::S_IRUSR | Mode::S_IWUSR)?;
    ftruncate(&file, size)?;
    // Committed now, so that a lack of memory is an error here and not a signal later.
    commit(&file, 0..committed)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    if !mutant!(SizeNotSealed) {
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    }
    Ok(file)
}

/// The number of bytes that one call commits. A signal undoes all that a call has done, so a long one might never
/// finish.
const COMMIT_STEP: usize = 1 << 20;

/// Allocates memory for `range` of a file, where it has none yet. After an error, a part of the range may have memory.
pub(crate) fn commit(file: impl AsFd, range: Range<usize>) -> Result<(), MemoryError> {
    if mutant!(MemoryNotCommitted) {
        return Ok(());
    }
    for start in range.clone().step_by(COMMIT_STEP) {
        let length = COMMIT_STEP.min(range.end - start);
        loop {
            match change(&file, FallocateFlags::empty(), start, length) {
                Ok(()) => break,
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::ENOSPC | nix::Error::ENOMEM) => {
                    return Err(out_of_memory(&file, range.len() as u64).into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Frees the memory of `range` of a file. Its bytes read as zero from now on.
pub(crate) fn decommit(file: impl AsFd, range: Range<usize>) -> io::Result<()> {
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

/// Returns how many bytes are free in the file system of a file. `None`: it has no size of its own, as that of a memfd.
fn free_bytes(file: impl AsFd) -> Option<u64> {
    let system = fstatfs(file).ok().filter(|system| system.blocks() > 0)?;
    let size = u64::try_from(system.block_size()).unwrap_or(0);
    Some(system.blocks_available().saturating_mul(size))
}

/// Checks that the file system of a file has room for `wanted` more bytes.
pub(crate) fn check_file_system(file: impl AsFd, wanted: u64) -> Result<(), OutOfMemory> {
    let free = free_bytes(file).unwrap_or(u64::MAX);
    OutOfMemory::check(MemoryLimit::FileSystem, wanted, free)
}

/// Returns the error for a file that cannot get `wanted` more bytes. If its file system has no size, the limit is the
/// machine's.
fn out_of_memory(file: impl AsFd, wanted: u64) -> OutOfMemory {
    let free = free_bytes(file);
    OutOfMemory {
        limit: free.map_or(MemoryLimit::Machine, |_| MemoryLimit::FileSystem),
        wanted,
        available: free.unwrap_or(0),
    }
}

/// Returns the number of bytes for which a file has memory.
pub(crate) fn allocated(file: impl AsFd) -> io::Result<usize> {
    /// The unit of `st_blocks`, whatever the file system.
    const UNIT: usize = 512;
    let units = usize::try_from(fstat(file)?.st_blocks).unwrap_or(usize::MAX);
    Ok(units.saturating_mul(UNIT))
}

/// Returns the size of a file whose size is sealed; `None` if it can still change, or the file is of another kind.
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

/// Opens the same file again: the new description shares neither locks nor flags with that of `file`.
pub(crate) fn reopen(file: impl AsFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let file = open(path.as_str(), flags, Mode::empty());
    beyond_stdio(file.map_err(|error| match error {
        Errno::ENOENT => procfs::unreadable(&error.into()),
        other => other.into(),
    })?)
}

/// Identity of a file, whatever descriptor it is open under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Returns the identity of an open file.
    pub(crate) fn of(file: impl AsFd) -> io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }

    /// Returns whether this process has a mapping of this file at `address`. Reads `/proc/self/maps`.
    #[cfg(feature = "shared-memory")]
    pub(super) fn is_mapped_at(&self, address: usize) -> io::Result<bool> {
        let maps = procfs::read("/proc/self/maps").map_err(|error| procfs::unreadable(&error))?;
        let starts_there = |line: &&str| {
            let (start, _) = line.split_once('-').unwrap_or_default();
            usize::from_str_radix(start, 16) == Ok(address)
        };
        let line = maps.lines().find(starts_there);
        Ok(line.is_some_and(|line| self.is_mapped_by(line)))
    }

    /// Returns the device and the inode.
    #[cfg(feature = "cli")]
    pub(crate) fn numbers(self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Returns whether a line of `/proc/ID/maps` is a mapping of this file. Its fields: address, permissions, offset,
    /// device, inode, path.
    pub(super) fn is_mapped_by(&self, line: &str) -> bool {
        let mut fields = line.split_ascii_whitespace().skip(3);
        let device = fields.next().and_then(|device| device.split_once(':'));
        let part = |text| u64::from_str_radix(text, 16).ok();
        let inode = fields.next().and_then(|inode| inode.parse().ok());
        device.is_some_and(|(high, low)| {
            part(high) == Some(major(self.device)) && part(low) == Some(minor(self.device))
        }) && inode == Some(self.inode)
    }
}

/// A shared, writable mapping of a whole file. Unmapped on drop. It does not exist in forked children.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: NonZeroUsize,
    owner: OwnerProcess,
    backing: Backing,
}

/// What the memory of a mapping belongs to.
#[derive(Debug)]
enum Backing {
    /// The mapping itself, which unmaps it.
    Mapping,
    /// A mapping of the crate `shared_memory`, which unmaps it.
    #[cfg(feature = "shared-memory")]
    #[allow(dead_code, reason = "kept for its `Drop`")]
    Shared(SharedMapping),
    #[cfg(test)]
    Heap,
}

// SAFETY: a mapping is not bound to a thread, and this type hands out only addresses and its length.
unsafe impl Send for Mapping {}
// SAFETY: a mapping is not bound to a thread, and this type hands out only addresses and its length.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes of `file`. The file must have that size or more, and keep it: it is sealed, or
    /// private to this user (NAME-3 of [`named`](super::named)).
    pub(crate) fn new(file: impl AsFd, length: usize) -> Result<Self, MemoryError> {
        let length =
            NonZeroUsize::new(length).ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
        let owner = OwnerProcess::current()?;
        // SAFETY: the kernel chooses the address, so no existing mapping is replaced.
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
            owner,
            backing: Backing::Mapping,
        };
        mapping.keep_from_forked_children()?;
        Ok(mapping)
    }

    /// Takes over a mapping of the crate `shared_memory`, of a file that keeps its size as in [`Mapping::new`].
    #[cfg(feature = "shared-memory")]
    pub(crate) fn of_shared(shared: SharedMapping) -> Result<Self, MemoryError> {
        let no_memory = || io::Error::from(io::ErrorKind::InvalidInput);
        let mapping = Self {
            start: shared.start().ok_or_else(no_memory)?,
            length: NonZeroUsize::new(shared.length()).ok_or_else(no_memory)?,
            owner: shared.owner(),
            backing: Backing::Shared(shared),
        };
        mapping.keep_from_forked_children()?;
        Ok(mapping)
    }

    fn keep_from_forked_children(&self) -> nix::Result<()> {
        let (start, length) = (self.start.cast(), self.length.get());
        // SAFETY: the range is this mapping, and the flag has no effect in this process.
        unsafe { madvise(start, length, MmapAdvise::MADV_DONTFORK) }
    }

    /// Returns the process that the mapping exists in.
    pub(crate) fn owner(&self) -> OwnerProcess {
        self.owner
    }

    /// Allocates zeroed memory on the heap instead, where a sanitizer detects accesses beyond its ends.
    #[cfg(test)]
    pub(crate) fn on_heap(length: usize) -> Self {
        let length = NonZeroUsize::new(length).expect("some memory");
        // SAFETY: the size of the layout is not 0.
        let start = unsafe { std::alloc::alloc_zeroed(Self::heap_layout(length)) };
        Self {
            start: NonNull::new(start).expect("memory"),
            length,
            owner: OwnerProcess::current().expect("a page"),
            backing: Backing::Heap,
        }
    }

    #[cfg(test)]
    fn heap_layout(length: NonZeroUsize) -> std::alloc::Layout {
        std::alloc::Layout::from_size_align(length.get(), 4096).expect("a sound size")
    }

    /// Returns the address at `offset`, which has the alignment of `offset`, up to a page.
    ///
    /// # Panics
    ///
    /// `offset` lies beyond the end.
    #[inline]
    pub(crate) fn pointer_at(&self, offset: usize) -> NonNull<u8> {
        assert!(
            offset <= self.length.get(),
            "an offset lies beyond the end of its mapping"
        );
        // SAFETY: the assertion above: the result is inside the mapping, or one past its end.
        unsafe { self.start.add(offset) }
    }

    /// Returns the length in bytes.
    pub(crate) fn length(&self) -> usize {
        self.length.get()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        match self.backing {
            // A forked child may have another mapping at that address.
            Backing::Mapping if self.owner.is_current() => {
                // SAFETY: `self` owns the whole mapping, and every borrow of its memory is a borrow of `self`.
                let _ = unsafe { munmap(self.start.cast(), self.length.get()) };
            }
            Backing::Mapping => {}
            #[cfg(feature = "shared-memory")]
            Backing::Shared(_) => {}
            #[cfg(test)]
            Backing::Heap => {
                // SAFETY: `on_heap` has allocated it with this layout.
                unsafe { std::alloc::dealloc(self.start.as_ptr(), Self::heap_layout(self.length)) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_file_keeps_its_size_and_mode() {
        let file = create(8192, 8192).expect("a memfd");
        assert!(ftruncate(&file, 4096).is_err(), "the size is sealed");
        assert!(ftruncate(&file, 16384).is_err());
        assert_eq!(sealed_size(&file).expect("fstat"), Some(8192));
        assert_eq!(fstat(&file).expect("fstat").st_mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_has_memory_for_what_was_committed_and_not_decommitted() {
        const MIB: usize = 1 << 20;
        let file = create(64 * MIB, 8192).expect("a memfd");
        assert_eq!(allocated(&file).expect("fstat"), 8192);
        commit(&file, 4 * MIB..7 * MIB + 4096).expect("three megabytes");
        assert_eq!(allocated(&file).expect("fstat"), 3 * MIB + 4096 + 8192);
        commit(&file, 4 * MIB..5 * MIB).expect("it has memory already");
        decommit(&file, 4 * MIB..6 * MIB).expect("punch");
        assert_eq!(allocated(&file).expect("fstat"), MIB + 4096 + 8192);
        decommit(&file, 4 * MIB..64 * MIB).expect("punch");
        assert_eq!(allocated(&file).expect("fstat"), 8192);
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
