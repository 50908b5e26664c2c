//! What a process remembers about its sweeps ([`super::sweep`]). Private to the process.
//!
//! | field                  | meaning                                                                      |
//! |------------------------|------------------------------------------------------------------------------|
//! | `own`                  | unset until this process is attached: it cannot check on others              |
//! | `unlocked`             | peers that were reported as alive without their lock, each reported once     |
//! | `is_descriptor_lost`   | set once this process has reported that it lost its own descriptor           |
//! | `not_before`           | this process does not sweep before that time (SWEEP-2)                       |
//! | `is_silent`            | set if the owner of the queue reports deaths itself, as a pool does          |

use crate::os::identity::Identity;
use crate::protocol::ids::PeerIndex;
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// The memory of one process about its sweeps. See the module.
#[derive(Debug, Default)]
pub(super) struct LivenessSweeper {
    own: OnceLock<(PeerIndex, Identity)>,
    /// Peer index and incarnation.
    unlocked: Mutex<BTreeSet<(u16, u64)>>,
    is_descriptor_lost: AtomicBool,
    not_before: AtomicU64,
    is_silent: AtomicBool,
}

impl LivenessSweeper {
    /// Records the peer entry of this process, which is never checked. Only the first call counts.
    pub(super) fn set_own(&self, peer: PeerIndex, identity: Identity) {
        let _ = self.own.set((peer, identity));
    }

    /// Returns the peer entry of this process, once it has one.
    pub(super) fn own(&self) -> Option<(PeerIndex, &Identity)> {
        self.own.get().map(|(peer, identity)| (*peer, identity))
    }

    /// Records that a peer lives without its lock. Returns whether that is news.
    pub(super) fn note_unlocked(&self, peer: PeerIndex, incarnation: u64) -> bool {
        self.unlocked.lock().insert((peer.get(), incarnation))
    }

    /// Records that this process has lost its own descriptor. Returns whether that is news.
    pub(super) fn note_descriptor_lost(&self) -> bool {
        !self.is_descriptor_lost.swap(true, Ordering::Relaxed)
    }

    /// Returns the earliest time of this process's next sweep, in nanoseconds of the monotonic clock.
    pub(super) fn not_before(&self) -> u64 {
        self.not_before.load(Ordering::Relaxed)
    }

    /// Returns whether events of deaths are left to the owner of the queue.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
    }

    pub(super) fn set_silent(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_not_before(&self, time: u64) {
        self.not_before.store(time, Ordering::Relaxed);
    }
}
