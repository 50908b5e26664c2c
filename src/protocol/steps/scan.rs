//! A scan of all blocks.

use crate::protocol::SharedState;
use crate::protocol::blocks::BlockState;
use crate::protocol::ids::{BlockIndex, Position};

/// A block that a scan found.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundBlock {
    pub(super) position: Position,
    pub(super) index: BlockIndex,
    pub(super) state: BlockState,
}

/// Returns all blocks in a state that is `wanted`, in order of acceptance.
pub(super) fn find_blocks<S: SharedState>(
    shared: &S,
    wanted: impl Fn(BlockState) -> bool,
) -> Vec<FoundBlock> {
    let mut found: Vec<_> = (0..shared.block_count())
        .filter_map(|index| {
            let index = BlockIndex::new(index)?;
            let header = shared.block(index)?;
            let state = header.word.load();
            wanted(state).then(|| FoundBlock {
                position: header.position(),
                index,
                state,
            })
        })
        .collect();
    found.sort_unstable_by_key(|block| block.position);
    found
}
