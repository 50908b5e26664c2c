//! To tell a forked child from its parent.
//!
//! A child that is forked and goes on, without running another program, has copies of its parent's handles,
//! but it is not the process that attached: mappings of segments are not even there in the child
//! (`MADV_DONTFORK`). So whoever is about to touch one looks first at a word in a page that the kernel fills
//! with zeros for the child (`MADV_WIPEONFORK`, since Linux 4.14): one load of a line that is only read.
//!
//! | word | meaning                                                        |
//! |------|----------------------------------------------------------------|
//! | 1    | this is the process that the page was made in                  |
//! | 0    | this is a child of it, or of a child; here a new page is made  |
use crate::sync::{AtomicPtr, AtomicU32, Ordering};
use core::num::NonZeroUsize;
use core::ptr::{self, NonNull};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use std::io;

/// A page, whatever the machine has: the kernel rounds it up.
const LENGTH: NonZeroUsize = NonZeroUsize::MIN;

/// The process that something was made in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin(&'static AtomicU32);

/// The word of this process, or, right after a fork, of its parent. Not a lock, which the fork might leave
/// locked for ever.
static CURRENT: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());

impl Origin {
    /// This process.
    pub(crate) fn here() -> io::Result<Self> {
        loop {
            // Acquire: pairs with the exchange below; the word behind it is 1, unless it was wiped.
            let current = CURRENT.load(Ordering::Acquire);
            // SAFETY: null, or a page from `new_page` that was published, and those are never unmapped.
            let known = unsafe { current.as_ref() }.map(Self);
            if let Some(known) = known.filter(|known| known.is_here()) {
                return Ok(known);
            }
            let page = new_page()?;
            // SAFETY: a fresh mapping, aligned to a page, of zeros, which are a valid atomic integer.
            let word: &'static AtomicU32 = unsafe { page.as_ref() };
            word.store(1, Ordering::Relaxed);
            // AcqRel: publishes the 1.
            if CURRENT
                .compare_exchange(current, page.as_ptr(), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                return Ok(Self(word));
            }
            // Another thread was faster.
            // SAFETY: the page is ours, and nobody else has seen its address.
            let _ = unsafe { munmap(page.cast(), LENGTH.get()) };
        }
    }

    /// Whether this process is the one that [`Origin::here`] was called in, and not a forked child of it.
    #[inline(always)]
    pub(crate) fn is_here(self) -> bool {
        self.0.load(Ordering::Relaxed) != 0 || mutant!(ForkNotNoticed)
    }
}

fn new_page() -> io::Result<NonNull<AtomicU32>> {
    // SAFETY: the kernel chooses the address, so nothing that exists is replaced.
    let page = unsafe {
        mmap_anonymous(
            None,
            LENGTH,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_PRIVATE,
        )
    }?;
    // SAFETY: the mapping is ours, and nothing is in it yet.
    unsafe { madvise(page, LENGTH.get(), MmapAdvise::MADV_WIPEONFORK) }?;
    Ok(page.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_page() {
        let (first, second) = (Origin::here().expect("a page"), Origin::here().expect("it"));
        assert!(first.is_here() && ptr::eq(first.0, second.0));
    }
}
