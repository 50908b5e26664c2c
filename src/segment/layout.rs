//! The parts of a segment that have a fixed place and form.
//!
//! | offset        | part                                                                         | in        |
//! |---------------|------------------------------------------------------------------------------|-----------|
//! | 0             | [`Header`]: the settings, written once, the magic number last                | this file |
//! | [`SHARED`]    | [`SharedWords`]: the words that all peers use, each on cache lines of its own | this file |
//! | [`CELLS`]     | the *cells*: each a slot of the ring and a block of the smallest class       | `geometry` |
//! | `peers`       | the peer table: a cache line for each peer                                   | `geometry` |
//! | `headers`     | the headers of all larger blocks, each with the marks of a batch             | `geometry` |
//! | after those   | the payloads of larger blocks, class by class                                | `geometry` |
//! | `huge`        | the payloads of huge blocks, of more than 64 KiB, class by class             | `geometry` |
//!
//! Everything up to the first page of the peer table has memory from the start. What follows is only a range of
//! addresses. The other pages of the peer table, and each class of larger blocks, get memory when they are first used
//! ([`super::parts`]). A huge block gets memory when it is first used, and gives it back when it is idle
//! ([`super::huge`]).
//!
//! A cell consists of a [`CellHeader`] and the payload of its block, and takes whole cache lines. The first cells are
//! those of the ring: cell `n` has slot `n` and block `n`. The other cells have a block only; their slot words are not used. A sender prefers the block that lies beside the slot which it will
//! fill (`protocol::steps::send`). So a small message usually moves from one process to the other with one or two cache
//! lines, which hold its slot, its block word, its header and its payload.
//!
//! LAYOUT-1. All offsets follow from the capacity, the largest message and the inline length alone. A peer computes them
//!           for itself and compares a fingerprint; it never trusts an offset that it reads from the segment.
//! LAYOUT-2. Every word that all peers use has a cache line of its own, and head and tail are two lines apart, because
//!           processors fetch lines in pairs. Neighbouring cells share no line: with single messages that go back and forth,
//!           a sender would write one cell while a receiver still acknowledges the one before.

use crate::protocol::batch::BatchMarks;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::lifecycle::LifecycleWord;
use crate::protocol::parking::ParkingWord;
use crate::protocol::parts::PartsWord;
use crate::protocol::peers::PeerEntry;
use crate::protocol::returned::ReturnedWord;
use crate::protocol::ring::{Hint, SlotWord};
use crate::sync::AtomicU64;

/// The size of a cache line.
pub(super) const CACHE_LINE: usize = 64;
pub(super) const PAGE: usize = 4096;

/// The offset of [`SharedWords`].
pub(super) const SHARED: usize = PAGE;
/// The offset of the cells.
pub(super) const CELLS: usize = 2 * PAGE;

/// What precedes the payload in a cell.
#[derive(Debug)]
#[repr(C)]
pub(super) struct CellHeader {
    pub(super) slot: SlotWord,
    pub(super) block: BlockHeader,
}

/// The alignment of a payload, in bytes, at least.
pub(super) const PAYLOAD_ALIGNMENT: usize = 32;
/// The size of the header of a larger block, with the marks of a batch.
pub(super) const LARGE_HEADER: usize = 2 * CACHE_LINE;

/// The first word of a complete segment: "workring" as a number.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"workring");
/// The version of the layout and the protocol. Raised with every change of either.
pub(super) const VERSION: u64 = 11;

/// Room for a name in the header, in bytes. A longer name keeps its end, which tells most.
pub(super) const NAME_BYTES: usize = 256;

/// The settings of a queue as its segment stores them. All words are atomics, so that a file which is no segment can be
/// read as one: the values are nonsense, and nothing worse.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: AtomicU64,
    pub(super) version: AtomicU64,
    pub(super) fingerprint: AtomicU64,
    pub(super) length: AtomicU64,
    /// The hash of the whole name of the schema; 0 if the queue has none.
    pub(super) schema_hash: AtomicU64,
    pub(super) capacity: AtomicU64,
    pub(super) max_message_len: AtomicU64,
    pub(super) inline_len: AtomicU64,
    pub(super) memory_limit: AtomicU64,
    pub(super) max_idle_memory: AtomicU64,
    pub(super) max_deliveries: AtomicU64,
    pub(super) max_leases: AtomicU64,
    pub(super) max_dead_letters: AtomicU64,
    pub(super) spin_nanoseconds: AtomicU64,
    pub(super) liveness_interval_nanoseconds: AtomicU64,
    pub(super) flags: AtomicU64,
    pub(super) type_name: [AtomicU64; NAME_BYTES / 8],
    pub(super) codec_name: [AtomicU64; NAME_BYTES / 8],
    pub(super) schema_name: [AtomicU64; NAME_BYTES / 8],
}

/// The words that all peers use (LAYOUT-2).
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct SharedWords {
    pub(super) head: CachePadded<Hint>,
    pub(super) tail: CachePadded<Hint>,
    pub(super) lifecycle: LifecycleWord,
    pub(super) returned: ReturnedWord,
    pub(super) items: ParkingWord,
    pub(super) space: ParkingWord,
    pub(super) blocks: ParkingWord,
    pub(super) evicted: CachePadded<AtomicU64>,
    pub(super) discarded: CachePadded<AtomicU64>,
    pub(super) sweeps: Sweeps,
    pub(super) parts: CachePadded<PartsWord>,
}

/// What the sweeps of all peers share: read by processes that wait, written once in a liveness interval.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Sweeps {
    /// The time when the next sweep is due, in nanoseconds of the monotonic clock.
    pub(super) due: AtomicU64,
    /// Counts sweeps: decides which peer the next one checks thoroughly.
    pub(super) cursor: AtomicU64,
    /// The number of dead processes that were recovered since the queue was made. Advisory.
    pub(super) recovered: AtomicU64,
}

/// A value alone on two cache lines.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct CachePadded<T>(pub(super) T);

const _: () = assert!(size_of::<Header>() == 128 + 3 * NAME_BYTES && size_of::<Header>() <= SHARED);
const _: () =
    assert!(size_of::<SharedWords>() == 1152 && SHARED + size_of::<SharedWords>() <= CELLS);
const _: () = assert!(size_of::<CachePadded<Hint>>() == 128 && size_of::<Sweeps>() == 128);
const _: () = assert!(size_of::<PeerEntry>() == CACHE_LINE);
const _: () = assert!(size_of::<CellHeader>().is_multiple_of(PAYLOAD_ALIGNMENT));
const _: () = assert!(size_of::<BlockHeader>() + size_of::<BatchMarks>() <= LARGE_HEADER);
