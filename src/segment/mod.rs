//! One queue, one segment: a mapping of a sealed memfd, and safe access to what lies in it.
//!
//! S3. A segment is created whole or not at all: the magic is written last, and nothing before it is read.
//! S4. Only a file whose size is sealed is mapped, and it must have the very size that its capacity needs.
//!     So every offset of the [`layout`] is inside the mapping, for as long as it lasts.
#![allow(
    unsafe_code,
    reason = "turns addresses in the mapping into references; each block states its reason"
)]

pub(crate) mod layout;
pub(crate) mod pack;
mod payload;

use crate::os::memory::{self, Mapping};
use crate::os::{cpu, futex};
use crate::protocol::batch::Marks;
use crate::protocol::blocks::{BlockHeader, BlockIndex};
use crate::protocol::lifecycle::LifecycleWord;
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::{PeerRow, Row};
use crate::protocol::returned::ReturnedWord;
use crate::protocol::ring::{Hint, Position, RingSize, SlotWord};
use crate::protocol::{Limits, Words};
use crate::sync::{AtomicU64, Ordering};
use core::ops::{Range, RangeInclusive};
use core::ptr::NonNull;
use core::time::Duration;
use layout::{
    Geometry, Header, LINE, MAGIC, NAME_BYTES, ROWS, SMALL_BLOCK, SharedWords, VERSION, WORDS,
};
use std::io;
use std::os::fd::OwnedFd;

/// What a queue is made with, as the segment keeps it for all peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) max_leases: u32,
    pub(crate) spin: Duration,
    pub(crate) slice: Duration,
    pub(crate) schema: u64,
    pub(crate) type_name: String,
    pub(crate) codec_name: String,
}

/// Why a file is not a segment that this process can use.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is not one, or not one yet.
    NotASegment(&'static str),
    Version {
        theirs: u64,
        ours: u64,
    },
    Layout {
        theirs: u64,
        ours: u64,
    },
    Os(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

/// A queue's shared memory, mapped.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Where the parts begin, so that the way to a word is one addition.
    slots: NonNull<u8>,
    small: NonNull<u8>,
    headers: NonNull<u8>,
    words: NonNull<u8>,
    /// Slots are dealt out to the lines of the ring in turn: the number of lines less one, and its power.
    line_mask: u64,
    line_bits: u32,
    small_blocks: u32,
    block_count: u32,
    settings: Settings,
    geometry: Geometry,
    file: OwnedFd,
    mapping: Mapping,
}

// SAFETY: the addresses are those of the mapping, which belongs to no thread; what they lead to is shared
// with other processes anyway and consists of atomics, and payloads that the protocol hands to one at a time.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

const SETTLED: u64 = 1;
const END_WITH_LAST_SENDER: u64 = 2;
const END_WITH_LAST_RECEIVER: u64 = 4;

impl Segment {
    /// Make a segment, with no peer in it yet. The capacity must be one of [`Geometry::CAPACITIES`].
    pub(crate) fn create(settings: Settings) -> io::Result<Self> {
        let geometry = Geometry::new(settings.limits.capacity);
        let file = memory::create(geometry.length)?;
        Self::create_in(file, geometry, settings)
    }

    /// [`Segment::create`], in a file that somebody else may be looking at already.
    fn create_in(file: OwnedFd, geometry: Geometry, settings: Settings) -> io::Result<Self> {
        let mapping = Mapping::new(&file, geometry.length)?;
        let segment = Self::new(mapping, geometry, settings, file);
        segment.write_header();
        Ok(segment)
    }

    /// Map a segment that another process, or another part of this one, has made.
    pub(crate) fn attach(file: OwnedFd) -> Result<Self, Refusal> {
        let size =
            memory::sealed_size(&file)?.ok_or(Refusal::NotASegment("its size is not sealed"))?;
        if size < ROWS {
            return Err(Refusal::NotASegment("it is too short"));
        }
        let mapping = Mapping::new(&file, size)?;
        // SAFETY: the mapping is at least `ROWS` long, so the header is inside it, aligned to a page, and it
        // consists of atomic integers, for which any bytes will do.
        let header: &Header = unsafe { mapping.part(0).cast().as_ref() };
        let (geometry, settings) = read_header(header, size)?;
        Ok(Self::new(mapping, geometry, settings, file))
    }

    fn new(mapping: Mapping, geometry: Geometry, settings: Settings, file: OwnedFd) -> Self {
        debug_assert_eq!(mapping.length(), geometry.length);
        let slots_a_line = (LINE / size_of::<SlotWord>()) as u64;
        let lines = geometry.ring.slots() / slots_a_line;
        // The offsets are inside the mapping (S4).
        let part = |offset: usize| mapping.part(offset);
        Self {
            slots: part(geometry.slots),
            small: part(geometry.small),
            headers: part(geometry.headers),
            words: part(WORDS),
            line_mask: lines - 1,
            line_bits: lines.trailing_zeros(),
            small_blocks: geometry.small_blocks(),
            block_count: geometry.block_count(),
            settings,
            geometry,
            file,
            mapping,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The numbers of the smallest blocks.
    #[inline(always)]
    pub(crate) fn small_blocks(&self) -> Range<u32> {
        0..self.small_blocks
    }

    /// Bytes.
    pub(crate) fn length(&self) -> usize {
        self.mapping.length()
    }

    pub(crate) fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// The object `offset` bytes into a part of the segment.
    ///
    /// # Safety
    ///
    /// The geometry must have a `T` there: inside the mapping and aligned. `T` must consist of atomic
    /// integers only. The reference must not outlive the mapping.
    #[inline(always)]
    unsafe fn at<'a, T>(part: NonNull<u8>, offset: usize) -> &'a T {
        // SAFETY: inside the mapping, by the caller.
        let address = unsafe { part.add(offset) };
        // SAFETY: inside the mapping and aligned, and mapped as long as it is used, by the caller; made of
        // atomics, for which any bytes are valid and which any process may change at any time.
        unsafe { address.cast().as_ref() }
    }

    fn header(&self) -> &Header {
        // SAFETY: the header is at the start, which is page-aligned, and shorter than `WORDS` (asserted).
        unsafe { Self::at(self.mapping.part(0), 0) }
    }

    #[inline(always)]
    fn shared(&self) -> &SharedWords {
        // SAFETY: between `WORDS`, a multiple of a page, and `ROWS` (asserted), before every other part.
        unsafe { Self::at(self.words, 0) }
    }

    /// Everything but the words, which a new file's zeros initialise: an Empty slot of lap 0, a Free block, a
    /// Free row and an open lifecycle are all zero.
    fn write_header(&self) {
        let (header, settings) = (self.header(), &self.settings);
        let limits = &settings.limits;
        let flags = if limits.settled { SETTLED } else { 0 }
            | if limits.end_with_last_sender {
                END_WITH_LAST_SENDER
            } else {
                0
            }
            | if limits.end_with_last_receiver {
                END_WITH_LAST_RECEIVER
            } else {
                0
            };
        for (field, value) in [
            (&header.version, VERSION),
            (&header.fingerprint, self.geometry.fingerprint()),
            (&header.length, self.geometry.length as u64),
            (&header.schema, settings.schema),
            (&header.capacity, u64::from(limits.capacity)),
            (&header.attempts, u64::from(limits.attempts)),
            (&header.max_leases, u64::from(settings.max_leases)),
            (&header.max_dead_letters, u64::from(limits.max_dead_letters)),
            (&header.spin_nanoseconds, nanoseconds(settings.spin)),
            (&header.slice_nanoseconds, nanoseconds(settings.slice)),
            (&header.flags, flags),
        ] {
            field.store(value, Ordering::Relaxed);
        }
        write_name(&header.type_name, &settings.type_name);
        write_name(&header.codec_name, &settings.codec_name);
        // Release: pairs with the load of the magic in `read_header` (S3).
        header.magic.store(MAGIC, Ordering::Release);
    }
}

impl Segment {
    #[inline(never)]
    fn large_block(&self, index: BlockIndex) -> Option<&BlockHeader> {
        if index.get() >= self.block_count {
            return None;
        }
        let offset = (index.get() - self.small_blocks) as usize * LINE;
        // SAFETY: a large block of this number exists; its header has a line of its own, and is made of atomics.
        Some(unsafe { Self::at(self.headers, offset) })
    }
}

fn read_header(header: &Header, size: usize) -> Result<(Geometry, Settings), Refusal> {
    // Acquire: pairs with the store in `write_header` (S3).
    if header.magic.load(Ordering::Acquire) != MAGIC {
        return Err(Refusal::NotASegment(
            "it does not start with the mark of a complete segment",
        ));
    }
    let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
    let theirs = get(&header.version);
    if theirs != VERSION {
        return Err(Refusal::Version {
            theirs,
            ours: VERSION,
        });
    }
    let small =
        |field: &AtomicU64, what| u32::try_from(get(field)).map_err(|_| Refusal::NotASegment(what));
    let capacity = small(&header.capacity, "its capacity is out of range")?;
    if !Geometry::CAPACITIES.contains(&capacity) {
        return Err(Refusal::NotASegment("its capacity is out of range"));
    }
    let geometry = Geometry::new(capacity);
    let (theirs, ours) = (get(&header.fingerprint), geometry.fingerprint());
    if theirs != ours {
        return Err(Refusal::Layout { theirs, ours });
    }
    if geometry.length != size || get(&header.length) != size as u64 {
        return Err(Refusal::NotASegment("its length does not fit its capacity"));
    }
    let attempts = get(&header.attempts);
    let attempts = u8::try_from(attempts)
        .ok()
        .filter(|attempts| (1..=15).contains(attempts));
    let flags = get(&header.flags);
    let limits = Limits {
        capacity,
        attempts: attempts.ok_or(Refusal::NotASegment(
            "its number of attempts is out of range",
        ))?,
        max_dead_letters: small(
            &header.max_dead_letters,
            "its number of dead letters is out of range",
        )?,
        settled: flags & SETTLED != 0,
        end_with_last_sender: flags & END_WITH_LAST_SENDER != 0,
        end_with_last_receiver: flags & END_WITH_LAST_RECEIVER != 0,
    };
    let settings = Settings {
        limits,
        max_leases: small(&header.max_leases, "its number of leases is out of range")?,
        spin: within(
            &header.spin_nanoseconds,
            &SPINS,
            "its spin time is out of range",
        )?,
        slice: within(
            &header.slice_nanoseconds,
            &SLICES,
            "its slice is out of range",
        )?,
        schema: get(&header.schema),
        type_name: read_name(&header.type_name),
        codec_name: read_name(&header.codec_name),
    };
    Ok((geometry, settings))
}

/// How long waits may spin.
pub(crate) const SPINS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_millis(10);
/// How long a sleep may last before its process looks around.
pub(crate) const SLICES: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(10);

fn within(
    nanoseconds: &AtomicU64,
    allowed: &RangeInclusive<Duration>,
    what: &'static str,
) -> Result<Duration, Refusal> {
    let duration = Duration::from_nanos(nanoseconds.load(Ordering::Relaxed));
    if allowed.contains(&duration) {
        Ok(duration)
    } else {
        Err(Refusal::NotASegment(what))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A name as the header can hold it: its end, from a character's start, if it is too long.
pub(crate) fn shortened(name: &str) -> &str {
    let from = name.len().saturating_sub(NAME_BYTES);
    (from..=name.len())
        .find_map(|from| name.get(from..))
        .unwrap_or_default()
}

fn write_name(words: &[AtomicU64], name: &str) {
    let bytes = shortened(name).as_bytes();
    for (word, chunk) in words.iter().zip(bytes.chunks(8)) {
        let mut padded = [0; 8];
        for (to, from) in padded.iter_mut().zip(chunk) {
            *to = *from;
        }
        word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
    }
}

fn read_name(words: &[AtomicU64]) -> String {
    let bytes: Vec<u8> = words
        .iter()
        .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
        .take_while(|&byte| byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Words for Segment {
    #[inline(always)]
    fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    #[inline(always)]
    fn ring_size(&self) -> RingSize {
        self.geometry.ring
    }

    /// Neighbours lie on different lines, so that a sender at the tail and a receiver just behind it do not
    /// fight over one.
    #[inline(always)]
    fn slot(&self, position: Position) -> &SlotWord {
        let number = self.geometry.ring.slot_number(position);
        let line = number & self.line_mask;
        let place = line * LINE as u64 + (number >> self.line_bits) * size_of::<SlotWord>() as u64;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "less than the length of the ring, which is a usize"
        )]
        let place = place as usize;
        // SAFETY: a slot number is below the number of slots, which fill their lines exactly, so the place is
        // inside the ring and aligned to the size of a slot, which is one atomic.
        unsafe { Self::at(self.slots, place) }
    }

    #[inline(always)]
    fn block_count(&self) -> u32 {
        self.block_count
    }

    #[inline(always)]
    fn block(&self, index: BlockIndex) -> Option<&BlockHeader> {
        if index.get() >= self.small_blocks {
            return self.large_block(index);
        }
        // SAFETY: a small block of this number exists, and begins with its header, which is made of atomics.
        Some(unsafe { Self::at(self.small, index.get() as usize * SMALL_BLOCK) })
    }

    fn marks(&self, index: BlockIndex) -> Option<&Marks> {
        if index.get() >= self.block_count {
            return None;
        }
        let offset = index.get().checked_sub(self.small_blocks)? as usize * LINE;
        // SAFETY: a large block of this number exists; its marks fill the rest of the line that its header begins
        // (asserted with `Marks`), and are made of atomics.
        Some(unsafe { Self::at(self.headers, offset + size_of::<BlockHeader>()) })
    }

    fn row_count(&self) -> u16 {
        Row::COUNT
    }

    fn row(&self, row: Row) -> Option<&PeerRow> {
        let offset = (ROWS - WORDS) + usize::from(row.get()) * size_of::<PeerRow>();
        // SAFETY: a row's number is below `Row::COUNT`, for which there is room from `ROWS` on, one
        // aligned line each, made of atomics.
        Some(unsafe { Self::at(self.words, offset) })
    }

    #[inline(always)]
    fn lifecycle(&self) -> &LifecycleWord {
        &self.shared().lifecycle
    }

    #[inline(always)]
    fn returned(&self) -> &ReturnedWord {
        &self.shared().returned
    }

    #[inline(always)]
    fn head(&self) -> &Hint {
        &self.shared().head.0
    }

    #[inline(always)]
    fn tail(&self) -> &Hint {
        &self.shared().tail.0
    }

    #[inline(always)]
    fn items(&self) -> &ParkingWord {
        &self.shared().items
    }

    #[inline(always)]
    fn space(&self) -> &ParkingWord {
        &self.shared().space
    }

    #[inline(always)]
    fn blocks(&self) -> &ParkingWord {
        &self.shared().blocks
    }

    fn dropped_letters(&self) -> &AtomicU64 {
        &self.shared().dropped_letters.0
    }

    fn discarded(&self) -> &AtomicU64 {
        &self.shared().discarded.0
    }

    fn packed(&self) -> &AtomicU64 {
        &self.shared().packed.0
    }

    fn wake(&self, word: &ParkingWord, count: u32) -> u32 {
        futex::wake(word.word(), count)
    }

    #[inline(always)]
    fn prefetch_block(&self, index: BlockIndex, length: u32) {
        // Beyond the smallest class the payload lies elsewhere, and the processor's own prefetching sees it.
        if index.get() < self.small_blocks {
            let address = self
                .small
                .as_ptr()
                .wrapping_add(index.get() as usize * SMALL_BLOCK);
            cpu::prefetch_for_write(address);
            if length as usize + size_of::<BlockHeader>() > LINE {
                cpu::prefetch_for_write(address.wrapping_add(LINE));
            }
        }
    }

    #[inline(always)]
    fn prefetch_slot(&self, position: Position) {
        cpu::prefetch_for_write(core::ptr::from_ref(self.slot(position)).cast());
    }
}

#[cfg(test)]
mod tests;
