//! Shared memory: sealed memfds and mappings of them.

use super::fork::Origin;
use core::num::NonZeroUsize;
use core::ptr::NonNull;
use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, SealFlag, fallocate, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::sys::stat::{Mode, fchmod, fstat, major, minor};
use nix::unistd::ftruncate;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// An anonymous file of `length` bytes: its memory is committed, its size is sealed (nobody can shrink it
/// under a peer, which would be a SIGBUS), its mode is 0600, and it is not inherited by other programs.
pub(crate) fn create(length: usize) -> io::Result<OwnedFd> {
    let size = i64::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let file = memfd_create(
        "workring",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?;
    fchmod(&file, Mode::S_IRUSR | Mode::S_IWUSR)?;
    ftruncate(&file, size)?;
    // Committed now, so that lack of memory is an error here and not a signal later.
    fallocate(&file, FallocateFlags::empty(), 0, size)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
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
    Ok(open(
        path.as_str(),
        OFlag::O_RDWR | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?)
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
}

// SAFETY: the mapping belongs to no thread, and this type hands out nothing but its address and length.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Map the first `length` bytes of `file`, which must be sealed at that size or more.
    pub(crate) fn new(file: impl AsFd, length: usize) -> io::Result<Self> {
        let length = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
        let origin = Origin::here()?;
        // SAFETY: the kernel chooses the address, so nothing that exists is replaced.
        let start = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                file,
                0,
            )
        }?;
        let mapping = Self {
            start: start.cast(),
            length,
            origin,
        };
        // SAFETY: the mapping is ours, and this changes nothing for this process.
        unsafe { madvise(start, length.get(), MmapAdvise::MADV_DONTFORK) }?;
        Ok(mapping)
    }

    /// The process that it is there in.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
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
        let file = create(8192).expect("a memfd");
        assert!(ftruncate(&file, 4096).is_err(), "shrunk under a peer");
        assert!(ftruncate(&file, 16384).is_err());
        assert_eq!(sealed_size(&file).expect("fstat"), Some(8192));
        assert_eq!(fstat(&file).expect("fstat").st_mode & 0o777, 0o600);
    }

    #[test]
    fn a_mapped_file_is_found_in_the_maps_of_its_process() {
        let (file, other) = (
            create(4096).expect("a memfd"),
            create(4096).expect("a memfd"),
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
