//! How much memory idle huge blocks keep, and for how long.
//!
//! IDLE-1. A block that is freed while idle blocks have more memory than `max_idle_memory` gives its own back. If
//!         several processes free blocks at once, each of them may find this, and all of their blocks give it back.
//! IDLE-2. A block whose word has not changed since an earlier look was not used in between: each use raises its
//!         generation. Looks are part of sweeps, and the memory of a process, so a process that never waits, sends or
//!         receives gives nothing back; its peers do.
//!
//! Crash: as for all changes of a block's memory, see the table of the parent module.

use super::is_free;
use crate::protocol::SharedState;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::BlockKind;
use crate::protocol::ids::{BlockIndex, PeerIndex};
use crate::segment::mapped::Segment;

/// The most memory that a sweep gives back, or one block if that is larger. Freeing it takes the kernel some
/// milliseconds, during which the sweeping process does nothing else.
const STEP: usize = 64 << 20;

impl Segment {
    /// Gives back the memory of a block that was just freed, if idle blocks have too much (IDLE-1).
    pub(crate) fn trim(&self, me: PeerIndex, index: BlockIndex) {
        if mutant!(IdleMemoryKept) || !self.geometry().huge_blocks().contains(&index.get()) {
            return;
        }
        if self.excess_idle_memory() > 0 {
            // The next operation meets a corrupt word too. Memory that was not given back is reclaimed when it is
            // needed.
            let _ = self.decommit_idle(me, index);
        }
    }

    /// Gives back memory of idle blocks, of the largest first, until they have no more than they may keep.
    pub(crate) fn trim_all(&self, me: PeerIndex) {
        let excess = self.excess_idle_memory();
        if excess > 0 {
            // As in `trim`.
            let _ = self.decommit_largest_idle(me, excess);
        }
    }

    /// Returns by how many bytes the memory of idle blocks exceeds `max_idle_memory`.
    fn excess_idle_memory(&self) -> u64 {
        let max = self.settings().max_idle_memory;
        let all = |payload: usize, count: usize| (payload as u64).saturating_mul(count as u64);
        let classes = self.geometry().huge_classes().iter();
        let possible = classes
            .clone()
            .map(|class| all(class.payload, class.blocks.len()));
        if possible.sum::<u64>() <= max {
            return 0;
        }
        let idle = classes.map(|class| {
            let headers = self.headers_of(class.blocks.clone());
            let idle = headers.filter(|header| header.is_committed() && is_free(header));
            all(class.payload, idle.count())
        });
        idle.sum::<u64>().saturating_sub(max)
    }

    /// Gives back the memory of blocks that no message has used for a while (IDLE-2). `now` is the time of the monotonic
    /// clock in nanoseconds.
    pub(in crate::segment) fn trim_unused(&self, me: PeerIndex, now: u64) {
        let blocks = self.geometry().huge_blocks();
        if blocks.is_empty() {
            return;
        }
        let Some(mut last) = self.idle_blocks.try_lock() else {
            return; // another thread looks
        };
        if !last.is_next_due(now) {
            return;
        }
        let mut given_back = 0;
        for (index, &earlier) in blocks.clone().filter_map(BlockIndex::new).zip(&last.words) {
            if given_back >= STEP {
                return; // the next sweep goes on
            }
            let unused = |header: &BlockHeader| {
                earlier.is(BlockKind::Free)
                    && header.is_committed()
                    && header.word.load() == earlier
            };
            // As in `trim`.
            if self.block(index).is_some_and(unused) && self.decommit_idle(me, index) == Ok(true) {
                given_back += self
                    .geometry()
                    .payload(index)
                    .map_or(0, |payload| payload.len());
            }
        }
        last.record(
            now,
            self.headers_of(blocks).map(|header| header.word.load()),
        );
    }
}
