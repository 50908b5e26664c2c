//! The fields of a token are private, so it cannot be written as a literal (OWNED-1).
#![allow(warnings)]
include!("../workring.rs");

use protocol::blocks::BlockState;
use protocol::ids::BlockIndex;
use protocol::steps::OwnedBlock;

fn write_a_literal(index: BlockIndex, word: BlockState) -> OwnedBlock {
    OwnedBlock { index, word } //~ E0451
}

fn main() {}
