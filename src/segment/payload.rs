//! The bytes of messages, as slices into shared memory.
//!
//! A slice is handed out for a borrow of an [`OwnedBlock`], the token of a block that this process owns. The protocol
//! gives a block to one process at a time: its payload is written in Owned only, which is one sender's, and read in
//! Held and Read only, which are one receiver's (BLOCK-1, BLOCK-4). The token cannot be copied, and giving the block up
//! takes it away (OWNED-1, OWNED-2). So no safe code of this process can write a payload that is borrowed, and no
//! process that runs this crate writes the payload of a block that another process owns.
//!
//! # Trust
//!
//! The compiler's guarantees end here. The memory is shared with processes that this one trusts to run this crate. A
//! peer with a bug or with bad intent can write any byte at any time:
//!
//! - A stray write to a word of the protocol loses, repeats or mixes up messages, makes operations fail as `Corrupt`,
//!   or makes waits last until their time limit. Each word is checked before it is used, so no access leaves the
//!   mapping, and nothing panics.
//! - A stray write to a length makes the message shorter, or longer within its block, or `Corrupt`.
//! - The file of an anonymous queue is sealed, so no peer can shrink it. That of a named queue can be shrunk by a
//!   process of the same user (NAME-3); the processes that use it then die of SIGBUS.
//! - A stray write to a payload changes the message. A codec treats all bytes as untrusted, so the worst is another
//!   message, or an error of decoding.
//! - A stray write to a payload *while it is borrowed* changes the bytes of a `&[u8]`, which Rust calls undefined
//!   behaviour. In practice a byte that is read twice may differ, so that code which checks a byte and then reads it
//!   again acts on an unchecked one. A stray write to the word of a block that a process owns can do the same: a second
//!   thread or process is then given the block.
//!
//! The crate's own codecs copy bytes out of a payload before they check them, so they are not affected. A program that
//! works on a slice in place should copy what it checks and then relies on, unless it trusts all of its peers. A
//! process that is not trusted at all must not be given a queue: mode 0600 keeps out other users, and nothing keeps out
//! another process of the same user.
#![allow(
    unsafe_code,
    reason = "makes slices of payloads; each block states its reason"
)]

use super::view::View;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::BlockKind;
use crate::protocol::steps::OwnedBlock;
use crate::protocol::{Corrupt, Words};

impl<'a> View<'a> {
    /// Returns the payload of a block that this process is about to fill.
    #[inline(always)]
    pub(crate) fn payload_mut<'b>(self, owned: &'b mut OwnedBlock) -> Result<&'b mut [u8], Corrupt>
    where
        'a: 'b,
    {
        if !owned.word().is(BlockKind::Owned) {
            return Err(Corrupt::NotOwned);
        }
        let (address, length) = self.payload_address(owned.index())?;
        // SAFETY: the bytes are inside the mapping, which lives as long as the segment that the view borrows. This process owns the
        // block (OWNED-1, OWNED-3), and its only token is borrowed mutably as long as the slice lives.
        Ok(unsafe { core::slice::from_raw_parts_mut(address.as_ptr(), length) })
    }

    /// Returns the payload of a block that this process is filling, with what has been written so far.
    #[inline(always)]
    pub(crate) fn unfinished_payload<'b>(self, owned: &'b OwnedBlock) -> Result<&'b [u8], Corrupt>
    where
        'a: 'b,
    {
        if !owned.word().is(BlockKind::Owned) {
            return Err(Corrupt::NotOwned);
        }
        let (address, length) = self.payload_address(owned.index())?;
        // SAFETY: as in `payload_mut`, but shared: while `owned` is borrowed, no slice of `payload_mut` exists.
        Ok(unsafe { core::slice::from_raw_parts(address.as_ptr(), length) })
    }

    /// Returns the message in a block that this process holds or reads.
    #[inline(always)]
    pub(crate) fn payload<'b>(self, held: &'b OwnedBlock) -> Result<&'b [u8], Corrupt>
    where
        'a: 'b,
    {
        self.received_payload(held, BlockHeader::length)
    }

    /// Returns the payload of a batch that this process holds or reads: the messages and their lengths.
    #[inline(always)]
    pub(crate) fn batch_payload<'b>(self, held: &'b OwnedBlock) -> Result<&'b [u8], Corrupt>
    where
        'a: 'b,
    {
        self.received_payload(held, BlockHeader::length_of_batch)
    }

    #[inline(always)]
    fn received_payload<'b>(
        self,
        held: &'b OwnedBlock,
        length: impl FnOnce(&BlockHeader) -> u32,
    ) -> Result<&'b [u8], Corrupt>
    where
        'a: 'b,
    {
        if !held.word().is(BlockKind::Held) && !held.word().is(BlockKind::Read) {
            return Err(Corrupt::NotOwned);
        }
        let (address, room) = self.payload_address(held.index())?;
        let length = self.block(held.index()).map_or(u32::MAX, length) as usize;
        if length > room {
            return Err(Corrupt::TooLong);
        }
        // SAFETY: the bytes are inside the mapping, which lives as long as the segment that the view borrows. This process holds or
        // reads the block (OWNED-1, OWNED-3), in which states no process writes its payload (BLOCK-4), and it cannot
        // give the block up while the token is borrowed.
        Ok(unsafe { core::slice::from_raw_parts(address.as_ptr(), length) })
    }
}
