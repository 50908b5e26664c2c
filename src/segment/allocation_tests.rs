//! In which order a sender tries the blocks of the smallest class, on the words of a real segment.

use super::recovery_tests::{LIMITS, segment};
use crate::protocol::ids::{PeerIndex, Position};
use crate::protocol::steps::{OwnedBlock, send};
use crate::protocol::{SharedState, Words};
use crate::sync::{AtomicU32, Ordering};
use std::collections::HashSet;

#[test]
fn a_sender_takes_the_block_beside_the_next_slot_after_all_that_disturb_no_one() {
    let queue = segment(LIMITS);
    let (ring, cells) = (queue.words().ring_size(), queue.small_blocks().end);
    let slots = u32::try_from(ring.slots()).expect("few");
    let (sender, cursor) = (PeerIndex::from_low_bits(0), AtomicU32::new(0));
    let allocate = || send::allocate_cell(&queue, queue.words(), sender, &cursor);
    let number = |block: &OwnedBlock| block.index().get();
    let beside = |position: u32| ring.index_beside(Position(position.into())).get();

    let mut blocks = Vec::new();
    let mut take = |expected: u32| {
        let block = allocate().expect("a free block");
        assert_eq!(number(&block), expected);
        blocks.push(block);
    };
    take(beside(0));
    for spare in slots..cells {
        take(spare);
    }
    for ahead in 0..4 {
        take(beside(LIMITS.capacity + ahead));
    }
    // A spare one that becomes free comes before the others.
    let freed = blocks.remove(10);
    let freed_number = number(&freed);
    send::withdraw(&queue, freed).expect("sound words");
    let again = allocate().expect("a free block");
    assert_eq!(number(&again), freed_number);
    blocks.push(again);

    let others = (LIMITS.capacity + 4..slots).chain(1..LIMITS.capacity);
    for ahead in others {
        let block = allocate().expect("a free block");
        assert_eq!(number(&block), beside(ahead));
        blocks.push(block);
    }
    assert!(allocate().is_none(), "no block is left");
    let numbers: HashSet<u32> = blocks.iter().map(number).collect();
    assert_eq!(numbers, (0..cells).collect(), "each block once");
    for block in blocks {
        send::withdraw(&queue, block).expect("sound words");
    }
}

#[test]
fn blocks_that_are_held_for_long_do_not_stay_in_the_way() {
    let queue = segment(LIMITS);
    let (sender, cursor) = (PeerIndex::from_low_bits(0), AtomicU32::new(0));
    let slots = u32::try_from(queue.words().ring_size().slots()).expect("few");
    let allocate = || send::allocate_cell(&queue, queue.words(), sender, &cursor).expect("free");
    let mut held: Vec<OwnedBlock> = (0..9).map(|_| allocate()).collect();
    // The sender comes to the first spare blocks again.
    cursor.store(slots, Ordering::Relaxed);
    held.extend((0..3).map(|_| allocate()));
    let last = held.last().expect("twelve").index().get();
    assert!(last >= slots, "a spare block again, not {last}");
    for block in held {
        send::withdraw(&queue, block).expect("sound words");
    }
}
