//! Shared memory: sealed memfds and mappings of them.

use core::num::NonZeroUsize;
use core::ptr::NonNull;
use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, SealFlag, fallocate, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::{Mode, fchmod, fstat};
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

/// A shared, writable mapping of a whole file. Unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: NonZeroUsize,
    #[cfg(test)]
    on_heap: bool,
}

// SAFETY: the mapping belongs to no thread, and this type hands out nothing but its address and length.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Map the first `length` bytes of `file`, which must be sealed at that size or more.
    pub(crate) fn new(file: impl AsFd, length: usize) -> io::Result<Self> {
        let length = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
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
        Ok(Self {
            start: start.cast(),
            length,
            #[cfg(test)]
            on_heap: false,
        })
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
