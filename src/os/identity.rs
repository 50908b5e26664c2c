//! Identifies this process so that other processes can check whether it still exists: `/proc/self`, `getauxval(3)`.
//!
//! Process ids are reused and are relative to a namespace, so an [`Identity`] also has the start time and the
//! namespaces, and a number for the program image, which changes with every `execve(2)`. State: that number, read once
//! and kept.

use super::procfs;
use core::ptr::with_exposed_provenance;
use nix::libc;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// Identity of a process, as it writes it down for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Process id, low half; start time in clock ticks since boot, high half (modulo 2^32).
    pub(crate) process: u64,
    /// Inode of the process-id namespace.
    pub(crate) pid_namespace: u64,
    /// Inode of the time namespace.
    pub(crate) time_namespace: u64,
    /// Random number of the program image (see `image`); 0 if it is not known.
    pub(crate) image: u64,
}

impl Identity {
    /// Returns the process id.
    pub(crate) fn process_id(&self) -> u32 {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the low half is the process id"
        )]
        {
            self.process as u32
        }
    }

    /// Returns the start time in clock ticks since boot, modulo 2^32.
    pub(crate) fn start_time(&self) -> u32 {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the high half is the start time"
        )]
        {
            (self.process >> 32) as u32
        }
    }

    /// Returns whether this is the same process as `other` with an earlier program image: it has called `execve(2)`
    /// since.
    pub(super) fn is_earlier_image_of(&self, other: &Self) -> bool {
        let same_process = Self {
            image: other.image,
            ..*self
        } == *other;
        same_process && self.image != other.image && self.image != 0 && other.image != 0
    }
}

/// Returns the identity of this process.
///
/// # Errors
///
/// `/proc` cannot be read.
pub(crate) fn current() -> io::Result<Identity> {
    let stat = procfs::Stat::own().map_err(|error| procfs::unreadable(&error))?;
    let namespace =
        fs::metadata("/proc/self/ns/pid").map_err(|error| procfs::unreadable(&error))?;
    Ok(Identity {
        process: u64::from(stat.start_time) << 32 | u64::from(std::process::id()),
        pid_namespace: namespace.ino(),
        // Kernels before 5.6 have no time namespaces: all processes share one.
        time_namespace: fs::metadata("/proc/self/ns/time").map_or(0, |meta| meta.ino()),
        image: image(),
    })
}

/// Returns a number that differs between the program images that one process executes in turn: process id and start
/// time stay the same across `execve(2)`. All copies of this library in one process return the same number. Returns 0
/// if the kernel provides none.
fn image() -> u64 {
    static IMAGE: OnceLock<u64> = OnceLock::new();
    *IMAGE.get_or_init(|| {
        // SAFETY: `getauxval` only reads the auxiliary vector, which the kernel has put on the initial stack.
        let address = unsafe { libc::getauxval(libc::AT_RANDOM) };
        let address = usize::try_from(address).unwrap_or_default();
        if address == 0 {
            return 0;
        }
        let bytes = with_exposed_provenance::<[u64; 2]>(address);
        // SAFETY: `AT_RANDOM` is the address of 16 random bytes, written by `execve` and valid for the process's life.
        let [low, high] = unsafe { bytes.read_unaligned() };
        (low ^ high).max(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_of_a_process_does_not_change() {
        assert_eq!(current().expect("/proc"), current().expect("/proc"));
    }

    #[test]
    fn another_image_of_the_same_process_is_an_earlier_one() {
        let me = current().expect("/proc");
        assert!(me.image != 0, "the kernel provides a random number");
        assert!(!me.is_earlier_image_of(&me));
        let with_image = |image| Identity { image, ..me };
        assert!(with_image(me.image ^ 2).is_earlier_image_of(&me));
        assert!(!with_image(0).is_earlier_image_of(&me), "not known");
        let other = Identity {
            process: me.process ^ 1,
            ..with_image(me.image ^ 2)
        };
        assert!(!other.is_earlier_image_of(&me), "another process");
    }
}
