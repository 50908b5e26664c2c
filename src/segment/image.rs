//! [`Image`]: a copy of a segment's words in memory of this process, for looking at a queue without taking part in it.
//!
//! The words are copied with `pread(2)` to the same offsets of private memory, and interpreted there by the same code as
//! those of a mapped segment. So looking takes no role, no entry of the peer table and no lock, changes no word, takes
//! no memory of the queue, and does not fault where a file was cut. It needs nothing of the queue's processes, which may
//! be stopped.
//!
//! | state                 | meaning                                                                              |
//! |-----------------------|--------------------------------------------------------------------------------------|
//! | `is_settled`          | no word changed while the copy was made: all of it is of one moment                  |
//! | not `is_settled`      | each word is of its own moment, between the begin and the end of the last copy        |
//!
//! IMAGE-1. The words are copied in the order in which `protocol::steps::stats` reads them: the hints, then the ring and
//!          its blocks, then the rest. So the hints are not ahead of the slots, as in a mapped segment.
//! IMAGE-2. A copy that differs from the file is made again, at most [`ATTEMPTS`] times. Then the last one is kept. The
//!          number of attempts is bounded because a busy queue never settles.
//! IMAGE-3. A page that has no memory yet is not copied, and reads as zero, like the words of a part that is not
//!          committed (PARTS-6).
//! IMAGE-4. The kernel copies the aligned words of a page whole on the machines that this crate runs on, but does not
//!          promise it. Every number in the copy is checked before it is used, as one that a stray write has changed is.
//! IMAGE-5. A copy may be made over the copy of another segment with the same geometry: most of the time that a look
//!          takes is the kernel's, for pages that have no memory yet. What the new copy does not overwrite belongs to
//!          parts that have no memory in the new segment, which are not read (PARTS-2).

use super::attach_error::AttachError;
use super::geometry::{Geometry, PEERS_PER_PAGE};
use super::header::INCOMPLETE;
use super::layout::{CELLS, CellHeader, Header, MAGIC, PAGE, SHARED, SharedWords};
use super::settings::Settings;
use super::view::{Places, View};
use crate::os::memory::{self, FileId, Mapping};
use crate::protocol::batch::BatchMarks;
use crate::protocol::ids::{BlockIndex, PeerIndex};
use crate::protocol::parking::ParkingWord;
use crate::protocol::parts::Part;
use crate::protocol::peers::{PeerEntry, PeerState};
use crate::protocol::{Limits, SharedState};
use crate::sync::{AtomicU64, Ordering};
use core::ops::Range;
use std::io;
use std::os::fd::OwnedFd;

/// How often a copy is made before one that is not settled is kept.
pub(super) const ATTEMPTS: u32 = 4;

/// Above this size, only the headers of the cells are copied, and not the payloads between them.
const WHOLE_CELLS: usize = 8 << 20;

/// What has been copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The shared words, with the hints.
    Shared,
    /// Everything.
    All,
}

/// A copy of the words of a segment. See the module.
#[derive(Debug)]
pub(crate) struct Image {
    places: Places,
    settings: Settings,
    file: OwnedFd,
    file_id: FileId,
    is_settled: bool,
}

impl Image {
    /// Copies the words of the segment in a file. The file need only be open for reading. Uses the memory of `spare`, an
    /// earlier copy of any segment, if it fits (IMAGE-5).
    pub(crate) fn of(file: OwnedFd, size: usize, spare: Option<Self>) -> Result<Self, AttachError> {
        if size < CELLS {
            return Err(AttachError::NotASegment("it is too short"));
        }
        let mut magic = [0; 8];
        memory::read_exactly(&file, &mut magic, 0)?;
        if u64::from_ne_bytes(magic) != MAGIC {
            return Err(AttachError::NotASegment(INCOMPLETE));
        }
        let header = Header::read_from(&file)?;
        let (geometry, settings) = header.read(size)?;
        let file_id = FileId::of(&file)?;
        let places = match spare.filter(|spare| *spare.geometry() == geometry) {
            Some(spare) => spare.places,
            None => Places::new(Mapping::of_zeros(geometry.length)?, geometry),
        };
        let mut image = Self {
            places,
            settings,
            file,
            file_id,
            is_settled: false,
        };
        image.refresh()?;
        Ok(image)
    }

    /// Copies the words again (IMAGE-2).
    ///
    /// # Errors
    ///
    /// The file was cut, or cannot be read.
    pub(crate) fn refresh(&mut self) -> io::Result<()> {
        self.refresh_while(|_| {})
    }

    /// Copies the words again as [`refresh`](Self::refresh) does, and calls `meanwhile` after each step of each attempt,
    /// so that a test can change the file there.
    pub(crate) fn refresh_while(&mut self, mut meanwhile: impl FnMut(Step)) -> io::Result<()> {
        self.is_settled = false;
        for _ in 0..ATTEMPTS {
            self.copy(&mut meanwhile)?;
            if self.is_current()? {
                self.is_settled = true;
                break;
            }
        }
        Ok(())
    }

    /// Returns whether all words of the copy are of one moment.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled
    }

    fn copy(&mut self, mut meanwhile: impl FnMut(Step)) -> io::Result<()> {
        self.places.copy_from(&self.file, SHARED..CELLS)?;
        meanwhile(Step::Shared);
        for range in cells(self.geometry()) {
            self.places.copy_from(&self.file, range)?;
        }
        // After the word that says which parts have memory: it only gains parts (PARTS-1).
        for range in self.committed() {
            self.places.copy_from(&self.file, range)?;
        }
        meanwhile(Step::All);
        Ok(())
    }

    /// Returns whether the file still has the words of the copy.
    fn is_current(&self) -> io::Result<bool> {
        let all = core::iter::once(SHARED..CELLS).chain(cells(self.geometry()));
        for range in all.chain(self.committed()) {
            if !self.places.mapping().holds(&self.file, range)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns where the peer table and the headers of larger blocks have memory (PARTS-2).
    fn committed(&self) -> Vec<Range<usize>> {
        let geometry = self.geometry();
        let pages = usize::from(self.peer_count() / PEERS_PER_PAGE);
        let peers = geometry.peers..geometry.peers + pages * PAGE;
        let committed = self.shared().parts.0.load().committed();
        let parts = Part::all().filter(|part| committed.has(*part));
        let headers = parts.map(|part| {
            let [headers, _] = geometry.ranges_of(part);
            headers
        });
        core::iter::once(peers).chain(headers).collect()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        self.places.geometry()
    }

    pub(crate) fn file(&self) -> &OwnedFd {
        &self.file
    }

    pub(crate) fn file_id(&self) -> FileId {
        self.file_id
    }

    /// Returns how many bytes of memory the queue has now.
    pub(crate) fn memory(&self) -> usize {
        memory::allocated(&self.file).unwrap_or_default()
    }

    /// Returns how many dead peers were recovered.
    pub(crate) fn recovered_peers(&self) -> u64 {
        self.shared().sweeps.recovered.load(Ordering::Relaxed)
    }

    /// Returns when a process of the queue last checked on the others, on the monotonic clock; `None`: none has yet.
    pub(crate) fn last_sweep(&self) -> Option<u64> {
        let due = self.shared().sweeps.due.load(Ordering::Relaxed);
        let interval = self.settings.liveness_interval.as_nanos();
        (due != 0).then(|| due.saturating_sub(u64::try_from(interval).unwrap_or(u64::MAX)))
    }

    /// Returns the byte that the process with this entry locks.
    pub(crate) fn lock_byte(&self, peer: PeerIndex, state: PeerState) -> u64 {
        self.geometry().lock_byte(peer, state.incarnation().get())
    }

    /// Reads the first `length` bytes of a block's payload from the file. They are those of the block's message only if
    /// the block has the same state afterwards: see [`is_unchanged`](Self::is_unchanged). `None`: there is no such
    /// block, or its payload is shorter.
    ///
    /// # Errors
    ///
    /// The file was cut, or cannot be read.
    pub(crate) fn payload(&self, block: BlockIndex, length: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(range) = self.geometry().payload(block) else {
            return Ok(None);
        };
        if length > range.len() || self.block(block).is_none() {
            return Ok(None);
        }
        let mut bytes = vec![0; length];
        memory::read_exactly(&self.file, &mut bytes, range.start)?;
        Ok(Some(bytes))
    }

    /// Returns whether the word of a block is in the file as it is in the copy. If it is, the message in the block is
    /// the same one as at the time of the copy (BLOCK-3).
    ///
    /// # Errors
    ///
    /// As for [`payload`](Self::payload).
    pub(crate) fn is_unchanged(&self, block: BlockIndex) -> io::Result<bool> {
        let Some(place) = self.geometry().block_word(block) else {
            return Ok(false);
        };
        self.places.mapping().holds(&self.file, place..place + 8)
    }

    fn shared(&self) -> &SharedWords {
        self.places.view().shared_words()
    }
}

/// Returns where the cells lie, or their headers if the payloads between them are too much.
fn cells(geometry: &Geometry) -> Box<dyn Iterator<Item = Range<usize>>> {
    let (end, cell) = (geometry.peers, geometry.cell);
    if end - CELLS <= WHOLE_CELLS {
        return Box::new(core::iter::once(CELLS..end));
    }
    let count = geometry.small_blocks() as usize;
    let starts = (0..count).map(move |number| CELLS + number * cell);
    Box::new(starts.map(|start| start..start + size_of::<CellHeader>()))
}

impl SharedState for Image {
    type Words<'a> = View<'a>;

    fn words(&self) -> View<'_> {
        self.places.view()
    }

    fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    fn cell_count(&self) -> u32 {
        self.places.cell_count()
    }

    fn block_count(&self) -> u32 {
        self.places.block_count()
    }

    fn marks(&self, index: BlockIndex) -> Option<&BatchMarks> {
        self.places.marks(index)
    }

    fn peer_count(&self) -> u16 {
        self.places.peer_count()
    }

    fn peer(&self, peer: PeerIndex) -> Option<&PeerEntry> {
        self.places.peer(peer)
    }

    fn evicted(&self) -> &AtomicU64 {
        &self.shared().evicted.0
    }

    fn discarded(&self) -> &AtomicU64 {
        &self.shared().discarded.0
    }

    fn fence_others(&self) -> bool {
        false
    }

    fn wake(&self, _: &ParkingWord, _: u32) -> u32 {
        0
    }
}
