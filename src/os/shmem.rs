//! Mappings that a program has made with the crate `shared_memory` (0.12.4), as a queue takes them over.
//!
//! | what                                          | done by                                                     |
//! |-----------------------------------------------|-------------------------------------------------------------|
//! | `shm_open(3)`, `ftruncate(2)`, `mmap(2)`       | the crate, when the program calls its `create` or `open`    |
//! | `munmap(2)` and `close(2)` at the end          | the crate, when the queue drops the mapping                 |
//! | everything else                               | this module, [`memory`](super::memory), [`named`](super::named) |
//!
//! What the crate leaves out, and why it stays here:
//!
//! SHMEM-1. The crate removes the name when the mapping of its *owner* ends, even if other processes use the file. A queue takes
//!     the owner flag away when it takes the mapping over. From then on only the rules of [`named`](super::named) remove a
//!     name.
//! SHMEM-2. The crate does not give its descriptor away, but locks, memory and the check of the file's owner need one. So
//!     the file is opened again by its name. It may have another file by then, so `/proc/self/maps` must show that the
//!     mapping is one of the file that was opened.
//! SHMEM-3. The crate's `create` gives the name first, the size later, and no memory at all. So a program creates the file
//!     under a name that no process opens ([`staging`](super::staging)), and the file gets its own name, by one
//!     `renameat2(2)`, when it is complete.
//! SHMEM-4. The crate unmaps in a forked child, too, where the mapping does not exist and the address may have another one.
//!     So the mapping is not dropped there.
//!
//! The lock by which other processes see that this one lives belongs to the descriptor that was opened here, and not to
//! the one of the mapping. So a program that closes all of its descriptors loses the lock. It still counts as alive, by its
//! process id and its mappings, unless it is in another process-id namespace.
//!
//! State: each [`SharedMapping`] owns a mapping and a descriptor of the crate's.

use super::fork::OwnerProcess;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use shared_memory::Shmem;
use std::fmt;
use std::io;

/// A mapping that the crate `shared_memory` has made, and that no longer removes its name.
pub(crate) struct SharedMapping {
    shmem: ManuallyDrop<Shmem>,
    owner: OwnerProcess,
}

// SAFETY: the crate's mapping consists of an address, a descriptor number and strings, none of which is bound to a thread.
// Only the pointer in it keeps it from being `Send` by itself. This type hands out no more than the address.
unsafe impl Send for SharedMapping {}
// SAFETY: as above, and nothing changes through a shared reference.
unsafe impl Sync for SharedMapping {}

impl fmt::Debug for SharedMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMapping")
            .field("os_id", &self.os_id())
            .field("length", &self.length())
            .finish()
    }
}

impl SharedMapping {
    /// Takes a mapping over (SHMEM-1). Returns it with whether it was the owner of its file.
    pub(crate) fn take(mut shmem: Shmem) -> io::Result<(Self, bool)> {
        let is_owner = if mutant!(OwnerFlagKept) {
            shmem.is_owner()
        } else {
            shmem.set_owner(false)
        };
        let taken = Self {
            shmem: ManuallyDrop::new(shmem),
            owner: OwnerProcess::current()?,
        };
        Ok((taken, is_owner))
    }

    /// Returns the address; `None` if there is none.
    pub(super) fn start(&self) -> Option<NonNull<u8>> {
        NonNull::new(self.shmem.as_ptr())
    }

    /// Returns the process that has the mapping.
    pub(super) fn owner(&self) -> OwnerProcess {
        self.owner
    }

    /// Returns the length in bytes.
    pub(crate) fn length(&self) -> usize {
        self.shmem.len()
    }

    /// Returns the name by which the crate has opened the file, without the slash that it may start with.
    pub(crate) fn os_id(&self) -> &str {
        self.shmem.get_os_id().trim_start_matches('/')
    }

    /// Returns whether the crate has written the name to a file of the program's choice.
    pub(crate) fn has_link(&self) -> bool {
        self.shmem.get_flink_path().is_some()
    }
}

impl Drop for SharedMapping {
    fn drop(&mut self) {
        if self.owner.is_current() {
            // SAFETY: this is the only place that drops it, and it is not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.shmem) };
        }
    }
}
