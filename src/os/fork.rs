//! Tells a forked child from its parent: a page with `MADV_WIPEONFORK` (`madvise(2)`, Linux 4.14).
//!
//! A forked child that does not call `execve(2)` has copies of its parent's handles, but it is not the process that is
//! attached, and the mappings of segments do not exist in it (`MADV_DONTFORK`). So each access to a segment first
//! checks a word in a page that the kernel fills with zeros for a child. The check is one load from a line that is
//! never written.
//!
//! | word | meaning                                                             |
//! |------|---------------------------------------------------------------------|
//! | 1    | this is the process that made the page                              |
//! | 0    | this is a forked child, direct or not; it makes a new page on demand |
//!
//! State: one page for each process, never unmapped.

use crate::sync::{AtomicPtr, AtomicU32, Ordering};
use core::num::NonZeroUsize;
use core::ptr::{self, NonNull};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use std::io;

/// The length of the mapping. The kernel rounds it up to a page.
const LENGTH: NonZeroUsize = NonZeroUsize::MIN;

/// The process that owns something, for example a mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnerProcess(&'static AtomicU32);

/// The word of this process or, right after a fork, of its parent. An atomic rather than a mutex, since a fork could
/// leave a mutex locked forever in the child.
static CURRENT: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());

impl OwnerProcess {
    /// Returns this process as owner.
    ///
    /// # Errors
    ///
    /// There is no memory for a page, or the kernel does not support `MADV_WIPEONFORK`.
    pub(crate) fn current() -> io::Result<Self> {
        loop {
            // Acquire pairs with the exchange below: unless the page was wiped, its word reads as 1.
            let current = CURRENT.load(Ordering::Acquire);
            // SAFETY: the pointer is null, or was published from `new_page`; published pages are never unmapped.
            let known = unsafe { current.as_ref() }.map(Self);
            if let Some(known) = known.filter(|known| known.is_current()) {
                return Ok(known);
            }
            let page = new_page()?;
            // SAFETY: a new mapping is aligned to a page and zeroed, and zero is a valid atomic integer.
            let word: &'static AtomicU32 = unsafe { page.as_ref() };
            word.store(1, Ordering::Relaxed);
            // AcqRel publishes the 1.
            if CURRENT
                .compare_exchange(current, page.as_ptr(), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                return Ok(Self(word));
            }
            // Another thread has published its page first.
            // SAFETY: this page was not published, so nothing refers to it once `word` is no longer used.
            let _ = unsafe { munmap(page.cast(), LENGTH.get()) };
        }
    }

    /// Returns whether this process is the owner, and not a forked child of it.
    #[inline(always)]
    pub(crate) fn is_current(self) -> bool {
        self.0.load(Ordering::Relaxed) != 0 || mutant!(ForkNotNoticed)
    }
}

fn new_page() -> io::Result<NonNull<AtomicU32>> {
    // SAFETY: the kernel chooses the address, so no existing mapping is replaced.
    let page = unsafe {
        mmap_anonymous(
            None,
            LENGTH,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_PRIVATE,
        )
    }?;
    // SAFETY: the range is the mapping just made, which holds no data yet.
    unsafe { madvise(page, LENGTH.get(), MmapAdvise::MADV_WIPEONFORK) }?;
    Ok(page.cast())
}

/// A value of which each process has its own. A forked child makes a new one, in whatever state the fork has found that of
/// its parent: a lock may be held forever by a thread that the child does not have.
#[cfg(feature = "async")]
pub(crate) struct PerProcess<T: 'static> {
    /// The value of this process or, right after a fork, of its parent. Never freed.
    current: AtomicPtr<Owned<T>>,
}

#[cfg(feature = "async")]
struct Owned<T> {
    owner: OwnerProcess,
    value: T,
}

#[cfg(feature = "async")]
impl<T: Default + Send + Sync> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self {
            current: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Returns the value of this process.
    ///
    /// # Errors
    ///
    /// As for [`OwnerProcess::current`].
    pub(crate) fn get(&'static self) -> io::Result<&'static T> {
        let owner = OwnerProcess::current()?;
        // Acquire pairs with the exchange below.
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: the pointer is null, or comes from the exchange below; what it points to is never freed.
        let known = unsafe { current.as_ref() };
        if let Some(known) = known.filter(|known| known.owner.is_current()) {
            return Ok(&known.value);
        }
        let value = T::default();
        let new: &'static mut Owned<T> = Box::leak(Box::new(Owned { owner, value }));
        let new = ptr::from_mut(new);
        match (self.current).compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: `new` was leaked a moment ago, and nothing has changed it.
            Ok(_) => Ok(unsafe { &(*new).value }),
            // Another thread was first. The little that this one has made is leaked.
            // SAFETY: an exchange has published this pointer, as above.
            Err(first) => Ok(unsafe { &(*first).value }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "async")]
    #[test]
    fn a_process_has_one_value() {
        static VALUE: PerProcess<AtomicU32> = PerProcess::new();
        let threads = [(); 4].map(|()| {
            std::thread::spawn(|| {
                let value = VALUE.get().expect("a value");
                value.fetch_add(1, Ordering::Relaxed);
                ptr::from_ref(value).addr()
            })
        });
        let addresses = threads.map(|thread| thread.join().expect("no panic"));
        let value = VALUE.get().expect("a value");
        assert!(
            addresses
                .iter()
                .all(|address| *address == ptr::from_ref(value).addr())
        );
        assert_eq!(value.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_process_has_one_page() {
        let first = OwnerProcess::current().expect("a page");
        let second = OwnerProcess::current().expect("the same page");
        assert!(first.is_current() && ptr::eq(first.0, second.0));
    }
}
