//! The bytes of messages, as slices into shared memory.
//!
//! A slice is handed out for a borrow of an [`OwnedBlock`], the token of a block that this process has in hand. The
//! protocol gives a block to one process at a time: its payload is written in Owned only, which is one sender's, and read
//! in Held and Read only, which are one receiver's (BLOCK-1, BLOCK-4). The token cannot be copied, and giving the block up
//! takes it away (OWNED-1, OWNED-2). So no safe code of this process can write a payload that is borrowed, and no
//! process that runs this crate writes one that another process has in hand.
//!
//! # Trust
//!
//! That is as far as the compiler reaches. The memory is shared with processes that this one trusts to run this crate, and
//! a peer with a bug, or with bad intent, can write any byte of it at any time:
//!
//! | a peer's stray write                  | what it can do                                                        |
//! |---------------------------------------|-----------------------------------------------------------------------|
//! | to a word of the protocol             | Messages are lost, repeated, or mixed up; operations fail as `Corrupt`, or wait until their limit. Each word is checked before it is used, so no access leaves the mapping, and nothing panics. |
//! | to a length                           | The message is shorter, or longer within its block, or `Corrupt`.     |
//! | to the word of a block in hand        | Two processes, or two threads, have the same payload in hand: see the last line. |
//! | to the file's size                    | Nothing: it is sealed, or the file is private to its user (SEGMENT-1). |
//! | to a payload, before it is borrowed   | The message has other bytes. A codec treats all bytes as untrusted, so a decoding error is the worst. |
//! | to a payload, while it is borrowed    | The bytes change under a `&[u8]`. Rust calls this undefined behaviour. What happens in practice: a value that is read twice may differ, so that code which checks a byte and then reads it again may act on an unchecked one. |
//!
//! The crate's own codecs copy bytes out of a payload before they check them, so they are not affected. A program that
//! works on a slice in place should copy what it checks and then relies on, unless it trusts all of its peers. A process
//! that is not to be trusted at all must not be given a queue: its mode 0600 keeps out other users, and nothing keeps out
//! another process of the same user.
#![allow(
    unsafe_code,
    reason = "makes slices of payloads; each block states its reason"
)]

use super::mapped::Segment;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::BlockKind;
use crate::protocol::steps::OwnedBlock;
use crate::protocol::{Corrupt, SharedState};

impl Segment {
    /// Returns the payload of a block that this process is about to fill.
    #[inline(always)]
    pub(crate) fn payload_mut<'a>(
        &'a self,
        owned: &'a mut OwnedBlock,
    ) -> Result<&'a mut [u8], Corrupt> {
        if !owned.word().is(BlockKind::Owned) {
            return Err(Corrupt::NotOwned);
        }
        let (address, length) = self.payload_address(owned.index())?;
        // SAFETY: the bytes are inside the mapping, which lives as long as the borrow of `self`. This process owns the
        // block (OWNED-1, OWNED-3), and its only token is borrowed mutably as long as the slice lives.
        Ok(unsafe { core::slice::from_raw_parts_mut(address.as_ptr(), length) })
    }

    /// Returns the payload of a block that this process is filling, with what has been written so far.
    pub(crate) fn unfinished_payload<'a>(
        &'a self,
        owned: &'a OwnedBlock,
    ) -> Result<&'a [u8], Corrupt> {
        if !owned.word().is(BlockKind::Owned) {
            return Err(Corrupt::NotOwned);
        }
        let (address, length) = self.payload_address(owned.index())?;
        // SAFETY: as in `payload_mut`, but shared: while `owned` is borrowed, no slice of `payload_mut` exists.
        Ok(unsafe { core::slice::from_raw_parts(address.as_ptr(), length) })
    }

    /// Returns the message in a block that this process holds or reads.
    #[inline(always)]
    pub(crate) fn payload<'a>(&'a self, held: &'a OwnedBlock) -> Result<&'a [u8], Corrupt> {
        self.received_payload(held, BlockHeader::length)
    }

    /// Returns the payload of a batch that this process holds or reads: the messages and their lengths.
    #[inline(always)]
    pub(crate) fn batch_payload<'a>(&'a self, held: &'a OwnedBlock) -> Result<&'a [u8], Corrupt> {
        self.received_payload(held, BlockHeader::length_of_batch)
    }

    #[inline(always)]
    fn received_payload<'a>(
        &'a self,
        held: &'a OwnedBlock,
        length: impl FnOnce(&BlockHeader) -> u32,
    ) -> Result<&'a [u8], Corrupt> {
        if !held.word().is(BlockKind::Held) && !held.word().is(BlockKind::Read) {
            return Err(Corrupt::NotOwned);
        }
        let (address, room) = self.payload_address(held.index())?;
        let length = self.block(held.index()).map_or(u32::MAX, length) as usize;
        if length > room {
            return Err(Corrupt::TooLong);
        }
        // SAFETY: the bytes are inside the mapping, which lives as long as the borrow of `self`. This process holds or
        // reads the block (OWNED-1, OWNED-3), in which states no process writes its payload (BLOCK-4), and it cannot give
        // the block up while the token is borrowed.
        Ok(unsafe { core::slice::from_raw_parts(address.as_ptr(), length) })
    }
}
