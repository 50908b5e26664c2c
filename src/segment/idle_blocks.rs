//! What a process remembers about idle huge blocks ([`super::huge`]). Private to the process.
//!
//! | `next_look` | `words`         | meaning                                                        |
//! |-------------|-----------------|----------------------------------------------------------------|
//! | 0           | empty           | no look yet                                                    |
//! | to come     | of all blocks   | there is nothing to do                                         |
//! | passed      | of all blocks   | blocks that still have these words were not used since         |

use crate::protocol::blocks::BlockState;
use core::time::Duration;
use parking_lot::Mutex;

/// How long an idle block keeps its memory, at least, while no message uses it.
pub(super) const UNUSED: Duration = Duration::from_secs(10);

/// The memory of one process about idle blocks. See the module.
pub(super) type IdleBlocks = Mutex<LastLook>;

/// What the last look at all huge blocks has found.
#[derive(Debug, Default)]
pub(super) struct LastLook {
    /// When the next look is due, in nanoseconds of the monotonic clock.
    next_look: u64,
    /// The word of each huge block.
    pub(super) words: Vec<BlockState>,
}

impl LastLook {
    pub(super) fn is_next_due(&self, now: u64) -> bool {
        self.next_look <= now
    }

    /// Records a look. The next one is due when [`UNUSED`] has passed.
    pub(super) fn record(&mut self, now: u64, words: impl Iterator<Item = BlockState>) {
        self.words.clear();
        self.words.extend(words);
        let unused = u64::try_from(UNUSED.as_nanos()).unwrap_or(u64::MAX);
        self.next_look = now.saturating_add(unused);
    }
}
