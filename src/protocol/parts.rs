//! The parts of a queue that get memory when they are first used, and keep it: classes of blocks, the headers of huge
//! blocks, and pages of the peer table.
//!
//! A class of blocks is one part, with its headers and its payloads; the headers of all huge blocks are another. One
//! word has two bits for each of them:
//!
//! | reserved | committed | memory            | meaning                                                              |
//! |----------|-----------|-------------------|----------------------------------------------------------------------|
//! | no       | no        | none              | not used yet                                                         |
//! | yes      | no        | none, some or all | processes take memory for the part, or have died or failed over that |
//! | yes      | yes       | all               | the part is in use, for good                                         |
//!
//! The first page of the peer table has memory from the start. The same word counts the committed pages after it.
//!
//! | method              | change of the word                             |
//! |---------------------|------------------------------------------------|
//! | `reserve`           | one more part is reserved                      |
//! | `note_committed`    | one more part is reserved and committed        |
//! | `note_peer_pages`   | the number of pages rises                      |
//!
//! PARTS-1. Bits are only set, and the number of pages only rises. Parts give no memory back.
//! PARTS-2. The word says that a part is committed once all of the part has memory. A process accesses the part only
//!     after it has read that. So no access lacks memory, which would be a SIGBUS, and none takes memory past a limit.
//! PARTS-3. A part is reserved before memory is taken for it. That fails if all reserved parts, what has memory from the
//!     start, and a whole peer table would exceed the queue's own limit together. So processes that commit different
//!     parts at the same time keep the limit, and so do the pages of the peer table.
//! PARTS-4. Huge blocks leave enough of the limit for all parts, reserved or not. So they never compete with parts.
//! PARTS-5. To take memory that is there already changes nothing. So several processes may commit a part at once.
//! PARTS-6. Scans pass over parts that are not committed: their blocks are Free, and their peer entries too. To look at
//!     a queue takes no memory.
//!
//! Crash: a process that dies before it has set the mark leaves a part that is reserved, with more memory than the mark
//! says. The next process that needs the part takes the rest of its memory, and sets the mark. Meanwhile the memory
//! counts as taken, but is of use to no other part.

use super::bits::Field;
use crate::error::OutOfMemory;
use crate::sync::{AtomicU64, Ordering};

/// The number of a part that is a class of blocks, or the headers of huge blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part(u8);

impl Part {
    /// The number of parts.
    pub(crate) const COUNT: usize = 6;

    /// Returns `None` if `number` is not below [`COUNT`](Self::COUNT).
    #[must_use]
    pub(crate) fn new(number: usize) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (usize::from(number) < Self::COUNT).then_some(Self(number))
    }

    /// Returns all parts, in order.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).filter_map(Self::new)
    }

    #[must_use]
    pub(crate) fn number(self) -> usize {
        self.0.into()
    }
}

/// A set of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartSet(u64);

impl PartSet {
    #[cfg(test)]
    pub(crate) const NONE: Self = Self(0);
    #[cfg(test)]
    pub(crate) const ALL: Self = Self((1 << Part::COUNT) - 1);

    #[must_use]
    #[inline(always)]
    pub(crate) const fn has(self, part: Part) -> bool {
        self.0 >> part.0 & 1 != 0
    }

    #[must_use]
    pub(crate) const fn with(self, part: Part) -> Self {
        Self(self.0 | 1 << part.0)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a small number")]
const BITS: u32 = Part::COUNT as u32;
const COMMITTED: Field = Field::lowest(BITS);
const RESERVED: Field = COMMITTED.above(BITS);
const PEER_PAGES: Field = RESERVED.above(16);

/// The value of a [`PartsWord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartsState(u64);

impl PartsState {
    #[must_use]
    #[inline(always)]
    pub(crate) const fn committed(self) -> PartSet {
        PartSet(COMMITTED.get(self.0))
    }

    /// Returns the parts that have memory, or may have some.
    #[must_use]
    pub(crate) const fn reserved(self) -> PartSet {
        PartSet(COMMITTED.get(self.0) | RESERVED.get(self.0))
    }

    /// Returns the number of pages of the peer table that are committed, apart from the first.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn peer_pages(self) -> u64 {
        PEER_PAGES.get(self.0)
    }
}

/// Which parts are committed. 0 in a new queue.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct PartsWord(AtomicU64);

impl PartsWord {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[cfg(test)]
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(AtomicU64::new(bits))
    }

    // Acquire: pairs with the release of the `note_` methods, so that a process which sees a part committed may access
    // it (PARTS-2). A message in a part also tells of it: its sender has read the mark, and has released the slot since.
    #[must_use]
    #[inline(always)]
    pub(crate) fn load(&self) -> PartsState {
        PartsState(self.0.load(Ordering::Acquire))
    }

    /// Reserves a part, if the word is still exactly `seen`: otherwise another part may be reserved, too (PARTS-3).
    #[must_use]
    pub(crate) fn reserve(&self, seen: PartsState, part: Part) -> bool {
        let to = seen.0 | RESERVED.pack(PartSet(0).with(part).0);
        self.0
            .compare_exchange(seen.0, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Marks a part as committed, all of which has memory (PARTS-2).
    pub(crate) fn note_committed(&self, part: Part) {
        let part = PartSet(0).with(part).0;
        self.0
            .fetch_or(COMMITTED.pack(part) | RESERVED.pack(part), Ordering::AcqRel);
    }

    /// Notes that this many pages of the peer table have memory, apart from the first, if the word says fewer.
    pub(crate) fn note_peer_pages(&self, pages: u64) {
        let mut seen = self.load();
        while seen.peer_pages() < pages {
            let more = PEER_PAGES.pack(pages - seen.peer_pages());
            let noted =
                self.0
                    .compare_exchange(seen.0, seen.0 + more, Ordering::AcqRel, Ordering::Acquire);
            match noted {
                Ok(_) => return,
                Err(now) => seen = PartsState(now),
            }
        }
    }
}

/// The memory of the parts of one queue: that of a file, or of a model.
pub(crate) trait PartMemory {
    fn parts(&self) -> &PartsWord;
    /// Checks whether the queue's own limit allows a part, in addition to those that are reserved (PARTS-3).
    fn check_own_limit(&self, part: Part, reserved: PartSet) -> Result<(), OutOfMemory>;
    /// Checks whether the limits of the system allow a part.
    fn check_limits_of_system(&self, part: Part) -> Result<(), OutOfMemory>;
    /// Takes memory for all of a part. After an error, some of it may have memory.
    fn take_part(&self, part: Part) -> Result<(), OutOfMemory>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_its_fields_apart() {
        let word = PartsWord::new();
        for part in Part::all() {
            assert!(word.reserve(word.load(), part));
            assert!(word.load().reserved().has(part) && !word.load().committed().has(part));
        }
        word.note_peer_pages(15);
        word.note_peer_pages(3);
        assert_eq!(
            (word.load().peer_pages(), word.load().committed()),
            (15, PartSet(0))
        );
        for part in Part::all() {
            word.note_committed(part);
        }
        let state = word.load();
        assert_eq!(
            (state.committed(), state.reserved()),
            (PartSet::ALL, PartSet::ALL)
        );
        assert_eq!(state.peer_pages(), 15);
        assert_eq!(Part::new(Part::COUNT), None);
    }

    #[test]
    fn a_part_is_not_reserved_after_another_one_was() {
        let word = PartsWord::new();
        let (one, two) = (Part(0), Part(1));
        let seen = word.load();
        assert!(word.reserve(seen, one));
        assert!(
            !word.reserve(seen, two),
            "the limit was checked without `one`"
        );
    }
}
