//! One queue, one segment: a mapping of a sealed memfd, or of a file with a name, and safe access to what lies in it.
//!
//! LAYOUT-3. A segment is created whole or not at all: the magic is written last, and nothing before it is read.
//! LAYOUT-4. Only a file whose size is sealed, or of this very user alone ([`crate::os::named`]), is mapped, and it must
//!     have the very size that its capacity and largest message need. So every offset of the [`layout`] is inside the mapping, for as long as it lasts.
#![allow(
    unsafe_code,
    reason = "turns addresses in the mapping into references; each block states its reason"
)]

pub(crate) mod batch_layout;
pub(crate) mod board;
pub(crate) mod huge;
pub(crate) mod layout;
mod payload;
mod schema;
pub(crate) mod sweep;

use crate::error::MemoryLimit;
use crate::os::budget::{MemoryBudget, OutOfMemory};
use crate::os::fork::OwnerProcess;
use crate::os::memory::{self, FileId, Mapping, MemoryError};
use crate::os::named;
use crate::os::{cpu, futex};
use crate::protocol::batch::BatchMarks;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::ids::{BlockIndex, PeerIndex, Position};
use crate::protocol::lifecycle::LifecycleWord;
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::PeerEntry;
use crate::protocol::returned::ReturnedWord;
use crate::protocol::ring::{Hint, RingSize, SlotWord};
use crate::protocol::{Limits, SharedState};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::ops::{Range, RangeInclusive};
use core::ptr::NonNull;
use core::time::Duration;
use layout::{
    Geometry, Header, LARGE_HEADER, LINE, MAGIC, NAME_BYTES, ROWS, SMALL_BLOCK, SharedWords,
    VERSION, WORDS,
};
pub(crate) use schema::Schema;
use std::io;
use std::os::fd::OwnedFd;

/// What a queue is made with, as the segment keeps it for all peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    /// Whether a dead letter may be dropped where its block is needed.
    pub(crate) evict_dead_letters: bool,
    pub(crate) max_leases: u32,
    /// Bytes.
    pub(crate) max_message: usize,
    /// Bytes; without a limit, as many as there are.
    pub(crate) memory_limit: u64,
    pub(crate) spin: Duration,
    pub(crate) liveness_interval: Duration,
    pub(crate) schema: Option<Schema>,
    pub(crate) type_name: String,
    pub(crate) codec_name: String,
}

/// Why a file is not a segment that this process can use.
#[derive(Debug)]
pub(crate) enum AttachError {
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
    NoMemory(OutOfMemory),
    Os(io::Error),
}

impl From<io::Error> for AttachError {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

impl From<MemoryError> for AttachError {
    fn from(refused: MemoryError) -> Self {
        match refused {
            MemoryError::OutOfMemory(shortage) => Self::NoMemory(shortage),
            MemoryError::Os(error) => Self::Os(error),
        }
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
    small_blocks: u32,
    block_count: u32,
    /// The process that the mapping is there in.
    origin: OwnerProcess,
    settings: Settings,
    geometry: Geometry,
    supply: MemoryBudget,
    sweeper: sweep::LivenessSweeper,
    /// Which huge block this process uses next.
    turn: AtomicU32,
    /// Whether this process has seen that memory is short.
    is_short: AtomicBool,
    file: OwnedFd,
    file_id: FileId,
    mapping: Mapping,
}

// SAFETY: the addresses are those of the mapping, which belongs to no thread; what they lead to is shared
// with other processes anyway and consists of atomics, and payloads that the protocol hands to one at a time.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

const CLOSE_WAITS_FOR_LEASES: u64 = 1;
const CLOSE_ON_LAST_SENDER: u64 = 2;
const CLOSE_ON_LAST_RECEIVER: u64 = 4;
const EVICT_DEAD_LETTERS: u64 = 8;

impl Segment {
    /// Make a segment, with no peer in it yet. The capacity must be one of [`Geometry::CAPACITIES`], the largest
    /// message of [`Geometry::MAX_MESSAGES`].
    pub(crate) fn create(settings: Settings) -> Result<Self, MemoryError> {
        Self::create_from(MemoryBudget::system(), settings)
    }

    fn create_from(supply: MemoryBudget, settings: Settings) -> Result<Self, MemoryError> {
        Self::create_with(memory::create, supply, settings)
    }

    /// As [`Segment::create`], in a file that can be given a name later, with [`named::publish`].
    pub(crate) fn create_draft(settings: Settings) -> Result<Self, MemoryError> {
        Self::create_with(named::create_unnamed, MemoryBudget::system(), settings)
    }

    fn create_with(
        create: fn(usize, usize) -> Result<OwnedFd, MemoryError>,
        supply: MemoryBudget,
        settings: Settings,
    ) -> Result<Self, MemoryError> {
        let geometry = Geometry::new(settings.limits.capacity, settings.max_message);
        let wanted = geometry.committed as u64;
        OutOfMemory::check(MemoryLimit::Queue, wanted, settings.memory_limit)?;
        supply.check(wanted)?;
        let file = create(geometry.length, geometry.committed)?;
        let mut segment = Self::create_in(file, geometry, settings)?;
        segment.supply = supply;
        Ok(segment)
    }

    /// [`Segment::create`], in a file that somebody else may be looking at already.
    fn create_in(
        file: OwnedFd,
        geometry: Geometry,
        settings: Settings,
    ) -> Result<Self, MemoryError> {
        let mapping = Mapping::new(&file, geometry.length)?;
        let file_id = FileId::of(&file)?;
        let segment = Self::new(mapping, geometry, settings, file, file_id);
        segment.write_header();
        Ok(segment)
    }

    /// Map a segment that another process, or another part of this one, has made.
    pub(crate) fn attach(file: OwnedFd) -> Result<Self, AttachError> {
        let (size, sealed) = match memory::sealed_size(&file)? {
            Some(size) => (size, true),
            None => (private_size(&file)?, false),
        };
        if size < ROWS {
            return Err(AttachError::NotASegment("it is too short"));
        }
        if !sealed && !named::begins_with(&file, MAGIC)? {
            return Err(AttachError::NotASegment(INCOMPLETE));
        }
        let mapping = Mapping::new(&file, size)?;
        // SAFETY: the mapping is at least `ROWS` long, so the header is inside it, aligned to a page, and it
        // consists of atomic integers, for which any bytes will do.
        let header: &Header = unsafe { mapping.pointer_at(0).cast().as_ref() };
        let (geometry, settings) = read_header(header, size)?;
        if !sealed && memory::allocated(&file)? < geometry.committed {
            return Err(AttachError::NotASegment("it lacks some of its memory"));
        }
        let file_id = FileId::of(&file)?;
        Ok(Self::new(mapping, geometry, settings, file, file_id))
    }

    fn new(
        mapping: Mapping,
        geometry: Geometry,
        settings: Settings,
        file: OwnedFd,
        file_id: FileId,
    ) -> Self {
        debug_assert_eq!(mapping.length(), geometry.length);
        // The offsets are inside the mapping (LAYOUT-4).
        let part = |offset: usize| mapping.pointer_at(offset);
        Self {
            slots: part(geometry.slots),
            small: part(geometry.small),
            headers: part(geometry.headers),
            words: part(WORDS),
            small_blocks: geometry.small_blocks(),
            block_count: geometry.block_count(),
            origin: mapping.owner(),
            settings,
            geometry,
            supply: MemoryBudget::system(),
            sweeper: sweep::LivenessSweeper::default(),
            turn: AtomicU32::new(0),
            is_short: AtomicBool::new(false),
            file,
            file_id,
            mapping,
        }
    }

    /// Whether this is a forked child of the process that mapped the segment: then it has no mapping, and
    /// nothing of it may be touched. To be asked before everything else that uses it.
    #[inline(always)]
    pub(crate) fn is_forked_child(&self) -> bool {
        !self.origin.is_current()
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
        unsafe { Self::at(self.mapping.pointer_at(0), 0) }
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
        let flags = [
            (limits.close_waits_for_leases, CLOSE_WAITS_FOR_LEASES),
            (limits.close_on_last_sender, CLOSE_ON_LAST_SENDER),
            (limits.close_on_last_receiver, CLOSE_ON_LAST_RECEIVER),
            (settings.evict_dead_letters, EVICT_DEAD_LETTERS),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set);
        let flags = flags.fold(0, |all, (_, flag)| all | flag);
        for (field, value) in [
            (&header.version, VERSION),
            (&header.fingerprint, self.geometry.fingerprint()),
            (&header.length, self.geometry.length as u64),
            (
                &header.schema_hash,
                settings.schema.as_ref().map_or(0, Schema::hash),
            ),
            (&header.capacity, u64::from(limits.capacity)),
            (&header.max_message, settings.max_message as u64),
            (&header.memory_limit, settings.memory_limit),
            (&header.max_deliveries, u64::from(limits.max_deliveries)),
            (&header.max_leases, u64::from(settings.max_leases)),
            (&header.max_dead_letters, u64::from(limits.max_dead_letters)),
            (&header.spin_nanoseconds, nanoseconds(settings.spin)),
            (
                &header.liveness_interval_nanoseconds,
                nanoseconds(settings.liveness_interval),
            ),
            (&header.flags, flags),
        ] {
            field.store(value, Ordering::Relaxed);
        }
        write_name(&header.type_name, &settings.type_name);
        write_name(&header.codec_name, &settings.codec_name);
        let schema = settings.schema.as_ref().map_or("", Schema::name);
        write_name(&header.schema_name, schema);
        // Release: pairs with the load of the magic in `read_header` (LAYOUT-3).
        header.magic.store(MAGIC, Ordering::Release);
    }
}

impl Segment {
    #[inline(never)]
    fn large_block(&self, index: BlockIndex) -> Option<&BlockHeader> {
        if index.get() >= self.block_count {
            return None;
        }
        let offset = (index.get() - self.small_blocks) as usize * LARGE_HEADER;
        // SAFETY: a large block of this number exists; its header has two lines of its own, and is made of atomics.
        Some(unsafe { Self::at(self.headers, offset) })
    }
}

/// What there is to say of a file without [`MAGIC`].
const INCOMPLETE: &str = "it does not start with the mark of a complete segment";

/// The size of a file that is not sealed: it has, or may get, a name.
fn private_size(file: &OwnedFd) -> Result<usize, AttachError> {
    named::private_size(file)?.ok_or(AttachError::NotASegment("its size is not sealed"))
}

fn read_header(header: &Header, size: usize) -> Result<(Geometry, Settings), AttachError> {
    // Acquire: pairs with the store in `write_header` (LAYOUT-3).
    if header.magic.load(Ordering::Acquire) != MAGIC {
        return Err(AttachError::NotASegment(INCOMPLETE));
    }
    let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
    let theirs = get(&header.version);
    if theirs != VERSION && !mutant!(VersionNotChecked) {
        return Err(AttachError::Version {
            theirs,
            ours: VERSION,
        });
    }
    let small = |field: &AtomicU64, what| {
        u32::try_from(get(field)).map_err(|_| AttachError::NotASegment(what))
    };
    let capacity = small(&header.capacity, "its capacity is out of range")?;
    if !Geometry::CAPACITIES.contains(&capacity) {
        return Err(AttachError::NotASegment("its capacity is out of range"));
    }
    let max_message = usize::try_from(get(&header.max_message))
        .ok()
        .filter(|max_message| Geometry::MAX_MESSAGES.contains(max_message))
        .ok_or(AttachError::NotASegment(
            "its largest message is out of range",
        ))?;
    let geometry = Geometry::new(capacity, max_message);
    let (theirs, ours) = (get(&header.fingerprint), geometry.fingerprint());
    if theirs != ours && !mutant!(FingerprintNotChecked) {
        return Err(AttachError::Layout { theirs, ours });
    }
    if !mutant!(LengthNotChecked) && (geometry.length != size || get(&header.length) != size as u64)
    {
        return Err(AttachError::NotASegment(
            "its length does not fit its capacity and largest message",
        ));
    }
    let max_deliveries = get(&header.max_deliveries);
    let max_deliveries = u8::try_from(max_deliveries)
        .ok()
        .filter(|most| (1..=15).contains(most));
    let flags = get(&header.flags);
    let limits = Limits {
        capacity,
        max_deliveries: max_deliveries.ok_or(AttachError::NotASegment(
            "its number of deliveries is out of range",
        ))?,
        max_dead_letters: small(
            &header.max_dead_letters,
            "its number of dead letters is out of range",
        )?,
        close_waits_for_leases: flags & CLOSE_WAITS_FOR_LEASES != 0,
        close_on_last_sender: flags & CLOSE_ON_LAST_SENDER != 0,
        close_on_last_receiver: flags & CLOSE_ON_LAST_RECEIVER != 0,
    };
    let settings = Settings {
        limits,
        evict_dead_letters: flags & EVICT_DEAD_LETTERS != 0,
        max_leases: small(&header.max_leases, "its number of leases is out of range")?,
        max_message,
        memory_limit: get(&header.memory_limit),
        spin: within(
            &header.spin_nanoseconds,
            &SPINS,
            "its spin time is out of range",
        )?,
        liveness_interval: within(
            &header.liveness_interval_nanoseconds,
            &READABLE_INTERVALS,
            "its liveness interval is out of range",
        )?,
        schema: Schema::stored(get(&header.schema_hash), read_name(&header.schema_name)),
        type_name: read_name(&header.type_name),
        codec_name: read_name(&header.codec_name),
    };
    Ok((geometry, settings))
}

/// How long waits may spin.
pub(crate) const SPINS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_millis(10);
/// How long a sleep may last before its process looks around.
pub(crate) const LIVENESS_INTERVALS: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(10);

/// What a header may say of it: tests make queues with longer ones, in which a wake that is missing is a hang.
pub(crate) const READABLE_INTERVALS: RangeInclusive<Duration> = if cfg!(feature = "test-hooks") {
    Duration::from_millis(1)..=Duration::from_secs(3600)
} else {
    LIVENESS_INTERVALS
};

fn within(
    nanoseconds: &AtomicU64,
    allowed: &RangeInclusive<Duration>,
    what: &'static str,
) -> Result<Duration, AttachError> {
    let duration = Duration::from_nanos(nanoseconds.load(Ordering::Relaxed));
    if allowed.contains(&duration) {
        Ok(duration)
    } else {
        Err(AttachError::NotASegment(what))
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

impl SharedState for Segment {
    #[inline(always)]
    fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    #[inline(always)]
    fn ring_size(&self) -> RingSize {
        self.geometry.ring
    }

    #[inline(always)]
    fn slot(&self, position: Position) -> &SlotWord {
        let number = self.geometry.ring.slot_number(position);
        #[allow(
            clippy::cast_possible_truncation,
            reason = "less than the length of the ring, which is a usize"
        )]
        let place = number as usize * size_of::<SlotWord>();
        // SAFETY: a slot number is below the number of slots, so the place is inside the ring and aligned to the
        // size of a slot, which is one atomic.
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

    fn marks(&self, index: BlockIndex) -> Option<&BatchMarks> {
        if index.get() >= self.block_count {
            return None;
        }
        let offset = index.get().checked_sub(self.small_blocks)? as usize * LARGE_HEADER;
        // SAFETY: a large block of this number exists; its marks follow its header on the two lines that it has
        // (asserted with `BatchMarks`), and are made of atomics.
        Some(unsafe { Self::at(self.headers, offset + size_of::<BlockHeader>()) })
    }

    fn peer_count(&self) -> u16 {
        PeerIndex::COUNT
    }

    fn peer(&self, row: PeerIndex) -> Option<&PeerEntry> {
        let offset = (ROWS - WORDS) + usize::from(row.get()) * size_of::<PeerEntry>();
        // SAFETY: a row's number is below `PeerIndex::COUNT`, for which there is room from `ROWS` on, one
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

    fn evicted(&self) -> &AtomicU64 {
        &self.shared().dropped_letters.0
    }

    fn discarded(&self) -> &AtomicU64 {
        &self.shared().discarded.0
    }

    fn wake(&self, word: &ParkingWord, count: u32) -> u32 {
        futex::wake(word.word(), count)
    }

    #[inline(always)]
    fn prefetch_block(&self, index: BlockIndex) {
        // Beyond the smallest class the payload lies elsewhere, and the processor's own prefetching sees it.
        if index.get() < self.small_blocks {
            let address = self
                .small
                .as_ptr()
                .wrapping_add(index.get() as usize * SMALL_BLOCK);
            cpu::prefetch_for_write(address);
            cpu::prefetch_for_write(address.wrapping_add(LINE));
        }
    }
}

#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod scribble;
#[cfg(test)]
mod tests;
