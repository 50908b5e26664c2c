//! When the memory of idle huge blocks is given back ([`crate::protocol::steps::idle`]).

use crate::protocol::huge_memory::HugeMemory;
use crate::protocol::ids::{BlockIndex, PeerIndex};
use crate::protocol::steps::idle;
use crate::segment::mapped::Segment;

impl Segment {
    /// Gives back the memory of a block that was just freed, if idle blocks have too much (IDLE-1).
    pub(crate) fn trim(&self, me: PeerIndex, index: BlockIndex) {
        idle::trim(self, me, index);
    }

    /// Gives back memory of idle blocks, of the largest first, until they have no more than they may keep.
    pub(crate) fn trim_all(&self, me: PeerIndex) {
        idle::trim_all(self, me);
    }

    /// Gives back the memory of blocks that no message has used for a while (IDLE-2). `now` is the time of the monotonic
    /// clock in nanoseconds.
    pub(in crate::segment) fn trim_unused(&self, me: PeerIndex, now: u64) {
        if self.huge_classes().next().is_none() {
            return;
        }
        let Some(mut last) = self.idle_blocks.try_lock() else {
            return; // another thread looks
        };
        if last.is_next_due(now) && idle::trim_unused(self, me, &last.words) {
            last.record(now, idle::words(self));
        }
    }
}
