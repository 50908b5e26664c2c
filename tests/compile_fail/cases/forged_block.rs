//! Only the transitions of the protocol make the token of a block (OWNED-1).
#![allow(warnings)]
include!("../workring.rs");

use protocol::SharedState;
use protocol::blocks::BlockState;
use protocol::ids::BlockIndex;
use protocol::steps::OwnedBlock;
use segment::Segment;

fn call_the_constructor(index: BlockIndex, word: BlockState) -> OwnedBlock {
    OwnedBlock::new(index, word) //~ E0624
}

fn take_it_apart(block: OwnedBlock) -> (BlockIndex, BlockState) {
    (block.index, block.word) //~ E0616
}

fn change_the_word(block: &mut OwnedBlock, word: BlockState) {
    block.set_word(word); //~ E0624
}

fn copy(block: &OwnedBlock) -> OwnedBlock {
    OwnedBlock::clone(block) //~ E0277
}

// While another thread of this process has the token, this would free the block.
fn exchange_the_word(segment: &Segment, index: BlockIndex, seen: BlockState) {
    let header = segment.block(index).unwrap();
    header.word.exchange(seen, seen.free()); //~ E0624
}

fn main() {}
