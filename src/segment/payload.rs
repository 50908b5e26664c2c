//! The bytes of messages, as slices into shared memory.
//!
//! A slice is handed out for a borrow of an [`OwnedBlock`], the token of a block that this process owns. The protocol
//! gives a block to one process at a time: its payload is written in Owned only, which is one sender's, and read in
//! Held and Read only, which are one receiver's (BLOCK-1, BLOCK-4). That receiver may also write there what is there
//! already ([`super::rewrite`]). The token cannot be copied, and giving the block up takes it away (OWNED-1, OWNED-2). So
//! no safe code of this process can write a payload that is borrowed, and no process that runs this crate writes the
//! payload of a block that another process owns.
//!
//! Looking up a payload takes some twenty instructions, so a reservation and a lease do it once, and keep the place:
//!
//! PAYLOAD-1. A place is kept together with the token. It is that of the block's payload in the mapping that it was
//!     looked up in, or empty. Only its constructor sets it, and it is emptied when the token is taken out. The place of
//!     the block's header is kept in the same way, and given out with the token, or before: once the token is gone, the
//!     header may be another owner's.
//!
//! # Trust
//!
//! The compiler's guarantees end here. The memory is shared with processes that this one trusts to run this crate. A
//! peer with a bug or with bad intent can write any byte at any time:
//!
//! - A stray write to a word of the protocol loses, repeats or mixes up messages, makes operations fail as `Corrupt`,
//!   or makes waits last until their time limit. Each word is checked before it is used, so no access leaves the
//!   mapping, and nothing panics.
//! - A stray write to a length before it is looked up makes the message shorter, or longer within its block, or
//!   `Corrupt`.
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

use super::geometry::FIRST_LINE_PAYLOAD;
use super::rewrite::{self, HasRead, rewrite_lines};
use super::view::View;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::BlockKind;
use crate::protocol::ids::Position;
use crate::protocol::ring::SlotState;
use crate::protocol::steps::OwnedBlock;
use crate::protocol::{Corrupt, Words};
use core::ptr::NonNull;

impl<'a> View<'a> {
    /// Returns the payload of a block that this process is about to fill.
    #[inline(always)]
    pub(crate) fn payload_mut<'b>(self, owned: &'b mut OwnedBlock) -> Result<&'b mut [u8], Corrupt>
    where
        'a: 'b,
    {
        let place = self.payload_address(owned.index())?;
        self.writable(owned, place)
    }

    /// Returns the same for a block that probably lies beside the slot of a position.
    #[inline(always)]
    pub(crate) fn payload_mut_near<'b>(
        self,
        position: Position,
        owned: &'b mut OwnedBlock,
    ) -> Result<&'b mut [u8], Corrupt>
    where
        'a: 'b,
    {
        let place = self.payload_address_near(position, owned.index())?;
        self.writable(owned, place)
    }

    /// Returns the payload at this place, which must be that of the block.
    #[inline(always)]
    #[allow(clippy::unused_self, reason = "bounds the lifetime of the slice")]
    fn writable<'b>(
        self,
        owned: &'b mut OwnedBlock,
        (address, length): (NonNull<u8>, usize),
    ) -> Result<&'b mut [u8], Corrupt>
    where
        'a: 'b,
    {
        if !owned.word().is(BlockKind::Owned) {
            return Err(Corrupt::NotOwned);
        }
        // SAFETY: the bytes are inside the mapping, which lives as long as the segment that the view borrows. This process
        // owns the block (OWNED-1, OWNED-3), and its only token is borrowed mutably as long as the slice lives.
        Ok(unsafe { core::slice::from_raw_parts_mut(address.as_ptr(), length) })
    }

    /// Returns the message in a block that this process holds or reads.
    #[inline(always)]
    pub(crate) fn payload<'b>(self, held: &'b OwnedBlock) -> Result<&'b [u8], Corrupt>
    where
        'a: 'b,
    {
        let (place, header) = (
            self.payload_address(held.index())?,
            self.block(held.index()),
        );
        self.readable(held, place, header.map(BlockHeader::length))
    }

    /// Returns the same for a block that probably lies beside the slot of a position.
    #[inline(always)]
    pub(crate) fn payload_near<'b>(
        self,
        position: Position,
        held: &'b OwnedBlock,
    ) -> Result<&'b [u8], Corrupt>
    where
        'a: 'b,
    {
        let place = self.payload_address_near(position, held.index())?;
        let header = self.block_near(position, held.index());
        self.readable(held, place, header.map(BlockHeader::length))
    }

    /// Returns the payload of a batch that this process holds or reads: the messages and their lengths.
    pub(crate) fn batch_payload<'b>(self, held: &'b OwnedBlock) -> Result<&'b [u8], Corrupt>
    where
        'a: 'b,
    {
        let place = self.payload_address(held.index())?;
        let header = self.block(held.index());
        self.readable(held, place, header.map(BlockHeader::length_of_batch))
    }

    /// Returns the payload of this length at this place, which must be that of the block.
    #[inline(always)]
    #[allow(clippy::unused_self, reason = "bounds the lifetime of the slice")]
    fn readable<'b>(
        self,
        held: &'b OwnedBlock,
        place: (NonNull<u8>, usize),
        length: Option<u32>,
    ) -> Result<&'b [u8], Corrupt>
    where
        'a: 'b,
    {
        let (address, length) = checked_place(held, place, length)?;
        // SAFETY: the bytes are inside the mapping, which lives as long as the segment that the view borrows. This process
        // holds or reads the block (OWNED-1, OWNED-3), in which states no process writes its payload (BLOCK-4), and it
        // cannot give the block up while the token is borrowed.
        Ok(unsafe { core::slice::from_raw_parts(address.as_ptr(), length) })
    }

    /// Writes to the lines of a message that is about to be acknowledged, where that makes later ones faster.
    #[inline(always)]
    pub(crate) fn rewrite(self, held: &mut OwnedBlock, read: HasRead) {
        if self.is_rewritten(held.index(), read)
            && let Some(header) = self.block(held.index())
            && let Ok(place) = self.payload_address(held.index())
        {
            rewrite_lines(held, place, header.length() as usize);
        }
    }

    /// Does the same for a message of this length, whose block probably lies beside the slot of a position.
    #[inline(always)]
    pub(crate) fn rewrite_near(self, position: Position, held: &mut OwnedBlock, length: usize) {
        if length > FIRST_LINE_PAYLOAD
            // Of a cell, it does not matter how much was read, and this is less to compare.
            && self.is_rewritten(held.index(), HasRead::PerhapsPart)
            && let Ok(place) = self.payload_address_near(position, held.index())
        {
            rewrite_lines(held, place, length);
        }
    }

    /// Writes to the slot of a position what is there, if that is still `seen`, where that makes the next message faster.
    pub(crate) fn rewrite_slot(self, position: Position, seen: SlotState) {
        if rewrite::is_worthwhile() {
            self.slot(position).rewrite(seen);
        }
    }
}

/// Returns where a received payload of this length lies: all of it inside the mapping.
#[inline(always)]
fn checked_place(
    held: &OwnedBlock,
    (address, room): (NonNull<u8>, usize),
    length: Option<u32>,
) -> Result<(NonNull<u8>, usize), Corrupt> {
    if !held.word().is(BlockKind::Held) && !held.word().is(BlockKind::Read) {
        return Err(Corrupt::NotOwned);
    }
    match length {
        Some(length) if length as usize <= room => Ok((address, length as usize)),
        _ => Err(Corrupt::TooLong),
    }
}

/// A block that this process fills, and where its bytes are (PAYLOAD-1).
#[derive(Debug)]
pub(crate) struct WritableBlock {
    block: OwnedBlock,
    /// `None`: there is no such block, or its token was taken out.
    header: Option<HeaderPlace>,
    address: NonNull<u8>,
    length: usize,
}

/// A block that this process holds, and where its message is (PAYLOAD-1).
#[derive(Debug)]
pub(crate) struct ReadableBlock {
    block: OwnedBlock,
    header: HeaderPlace,
    address: NonNull<u8>,
    length: usize,
}

/// Where the header of a block is (PAYLOAD-1).
#[derive(Clone, Copy, Debug)]
struct HeaderPlace(NonNull<BlockHeader>);

impl HeaderPlace {
    /// Returns the header. `_view` proves that the mapping is there: it must be a view of the segment that the block came from
    /// (OWNED-3).
    #[inline(always)]
    fn get(self, _view: View<'_>) -> &BlockHeader {
        // SAFETY: the header is inside the mapping (PAYLOAD-1), which lives as long as the segment that the view borrows. It
        // consists of atomics.
        unsafe { self.0.as_ref() }
    }
}

impl From<&BlockHeader> for HeaderPlace {
    #[inline(always)]
    fn from(header: &BlockHeader) -> Self {
        Self(header.into())
    }
}

impl WritableBlock {
    /// Looks up the first `length` bytes of a block that this process is about to fill. Gives access to no bytes if the
    /// block has no room for them.
    #[inline(always)]
    pub(crate) fn new(view: View<'_>, block: OwnedBlock, length: usize) -> Self {
        let (place, header) = (
            view.payload_address(block.index()),
            view.block(block.index()),
        );
        Self::at(block, place, header, length)
    }

    /// Does the same for a block that probably lies beside the slot of a position.
    #[inline(always)]
    pub(crate) fn near(
        view: View<'_>,
        position: Position,
        block: OwnedBlock,
        length: usize,
    ) -> Self {
        let place = view.payload_address_near(position, block.index());
        let header = view.block_near(position, block.index());
        Self::at(block, place, header, length)
    }

    #[inline(always)]
    fn at(
        block: OwnedBlock,
        place: Result<(NonNull<u8>, usize), Corrupt>,
        header: Option<&BlockHeader>,
        length: usize,
    ) -> Self {
        let (address, length) = match place {
            Ok((address, room)) if length <= room && block.word().is(BlockKind::Owned) => {
                (address, length)
            }
            _ => (NonNull::dangling(), 0),
        };
        Self {
            block,
            header: header.map(HeaderPlace::from),
            address,
            length,
        }
    }

    /// Returns the bytes, with what has been written so far. `_view` proves that the mapping is there: it must be a view of
    /// the segment that the block came from (OWNED-3).
    #[inline(always)]
    pub(crate) fn bytes<'b>(&'b self, _view: View<'b>) -> &'b [u8] {
        // SAFETY: the place is empty, or inside the mapping (PAYLOAD-1), which lives as long as the segment that the view
        // borrows. This process owns the block (OWNED-1), whose only token is borrowed as long as the slice lives.
        unsafe { core::slice::from_raw_parts(self.address.as_ptr(), self.length) }
    }

    /// Returns the bytes, to be written. As for [`bytes`](Self::bytes).
    #[inline(always)]
    pub(crate) fn bytes_mut<'b>(&'b mut self, _view: View<'b>) -> &'b mut [u8] {
        // SAFETY: as in `bytes`, and the token is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.address.as_ptr(), self.length) }
    }

    /// Returns the header of the block; `None` if that was taken out. As for [`bytes`](Self::bytes).
    #[inline(always)]
    pub(crate) fn header<'b>(&self, view: View<'b>) -> Option<&'b BlockHeader> {
        Some(self.header?.get(view))
    }

    /// Takes the block out, and leaves a spent token, no header and no bytes.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> OwnedBlock {
        if !mutant!(PlaceOutlivesToken) {
            self.length = 0;
        }
        if !mutant!(HeaderOutlivesToken) {
            self.header = None;
        }
        self.block.take()
    }
}

impl ReadableBlock {
    /// Looks up the message in a block that this process holds.
    ///
    /// # Errors
    ///
    /// Returns the block if its bytes are not a message: it holds a batch, or it is corrupt.
    #[inline(always)]
    pub(crate) fn new(view: View<'_>, held: OwnedBlock) -> Result<Self, (OwnedBlock, Corrupt)> {
        let (place, header) = (view.payload_address(held.index()), view.block(held.index()));
        Self::at(held, place, header)
    }

    /// Does the same for a block that probably lies beside the slot of a position.
    #[inline(always)]
    pub(crate) fn near(
        view: View<'_>,
        position: Position,
        held: OwnedBlock,
    ) -> Result<Self, (OwnedBlock, Corrupt)> {
        let place = view.payload_address_near(position, held.index());
        let header = view.block_near(position, held.index());
        Self::at(held, place, header)
    }

    #[inline(always)]
    fn at(
        held: OwnedBlock,
        place: Result<(NonNull<u8>, usize), Corrupt>,
        header: Option<&BlockHeader>,
    ) -> Result<Self, (OwnedBlock, Corrupt)> {
        let Some(header) = header else {
            return Err((held, Corrupt::NoSuchBlock));
        };
        let length = Some(header.length());
        match place.and_then(|place| checked_place(&held, place, length)) {
            Ok((address, length)) => Ok(Self {
                block: held,
                header: header.into(),
                address,
                length,
            }),
            Err(corrupt) => Err((held, corrupt)),
        }
    }

    /// Returns the message. `_view` proves that the mapping is there: it must be a view of the segment that the block came
    /// from (OWNED-3).
    #[inline(always)]
    pub(crate) fn bytes<'b>(&'b self, _view: View<'b>) -> &'b [u8] {
        // SAFETY: the place is empty, or inside the mapping (PAYLOAD-1), which lives as long as the segment that the view
        // borrows. This process holds the block (OWNED-1), in which state no process writes its payload (BLOCK-4), and it
        // cannot give the block up while the token is borrowed.
        unsafe { core::slice::from_raw_parts(self.address.as_ptr(), self.length) }
    }

    /// Returns the block.
    #[inline(always)]
    pub(crate) const fn block(&self) -> &OwnedBlock {
        &self.block
    }

    /// Takes the block out to be acknowledged, with its header, after writing to its lines ([`super::rewrite`]). Leaves a spent
    /// token and no bytes. As for [`bytes`](Self::bytes).
    #[inline(always)]
    pub(crate) fn take_rewritten<'b>(
        &mut self,
        view: View<'b>,
        read: HasRead,
    ) -> (OwnedBlock, &'b BlockHeader) {
        if self.length > FIRST_LINE_PAYLOAD && view.is_rewritten(self.block.index(), read) {
            rewrite_lines(&mut self.block, (self.address, self.length), self.length);
        }
        (self.take(), self.header.get(view))
    }

    /// Takes the block out, and leaves a spent token and no bytes.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> OwnedBlock {
        self.length = 0;
        self.block.take()
    }
}

// SAFETY: the address belongs to no thread. It is only used together with the token, which may go to any thread, and with
// a view of the mapping.
unsafe impl Send for WritableBlock {}
// SAFETY: as above; shared, it gives shared slices only.
unsafe impl Sync for WritableBlock {}
// SAFETY: as for `WritableBlock`.
unsafe impl Send for ReadableBlock {}
// SAFETY: as for `WritableBlock`.
unsafe impl Sync for ReadableBlock {}
