//! The board of a pool: a small shared memory in which the workers record what they run, and the parent what it has
//! cancelled. It outlives the workers. So one look at it after a death tells what the worker was running, and since
//! when; no message per task is needed.
//!
//! | offset       | part                                                        | written by                       |
//! |--------------|-------------------------------------------------------------|----------------------------------|
//! | 0            | [`Header`], the magic number last                           | the parent, once                 |
//! | `CACHE_LINE` | a [`WorkerEntry`] for each worker, a cache line each        | its worker; between two, the parent |
//! | after those  | the cancel cells, a power of two of them                    | the parent, under one lock       |
//! | after those  | an [`EmissionFlow`] for each worker                         | the parent, and its worker       |
//! | after those  | if tasks are timed, a [`TaskTimes`] for each cancel cell    | the parent; while the task runs, its worker |
//!
//! BOARD-1. Each word has one writer at a time, so there are only stores and loads, and no exchanges.
//! BOARD-2. A cancel cell holds the id, plus one, of the last cancelled task that belongs to the cell, and in its two
//!          highest bits the reason. There are at least as many cells as tasks in flight, so no two of those share a
//!          cell, as long as their ids are consecutive.
//! BOARD-3. The size of the file is sealed, and it is exactly what the header's numbers of entries and cells need.
//!
//! Crash: each word is complete at every moment. `entry` says what a dead worker's entry means.
#![allow(
    unsafe_code,
    reason = "turns addresses in the mapping into references; each block states its reason"
)]

mod entry;
mod flow;
#[cfg(feature = "cli")]
pub(crate) mod image;
#[cfg(test)]
mod tests;
mod times;

use super::layout::CACHE_LINE;
use crate::os::budget::MemoryBudget;
use crate::os::memory::{self, Mapping, MemoryError};
use crate::sync::{AtomicU64, Ordering};
use core::ops::RangeInclusive;
pub(crate) use entry::WorkerEntry;
use entry::word_of;
use flow::FLOW_LEN;
pub(crate) use flow::{EmissionFlow, EmissionLimits, NextEmission};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
pub(crate) use times::TaskTimes;

/// The first word of a complete board: "workbord" as a number.
const MAGIC: u64 = u64::from_le_bytes(*b"workbord");
/// The version of the layout. Raised with every change of it, or of the meaning of a word.
const VERSION: u64 = 4;

#[derive(Debug)]
#[repr(C, align(64))]
struct Header {
    magic: AtomicU64,
    version: AtomicU64,
    workers: AtomicU64,
    cells: AtomicU64,
    /// 1 if tasks are timed.
    is_timed: AtomicU64,
}

const _: () = assert!(size_of::<Header>() == CACHE_LINE);

/// The number of cancel cells in a cache line.
const CELLS_PER_LINE: u32 = 8;
const _: () = assert!(CELLS_PER_LINE as usize * size_of::<AtomicU64>() == CACHE_LINE);

/// The number of reasons that a task can be cancelled for.
pub(crate) const REASONS: u64 = 4;
/// The place of the reason in a cell, above the id.
const REASON_SHIFT: u32 = u64::BITS - REASONS.ilog2();
const NUMBER: u64 = (1 << REASON_SHIFT) - 1;

/// The reason why [`Board::attach`] fails.
#[allow(dead_code, reason = "what is wrong is shown by `Debug`")]
#[derive(Debug)]
pub(crate) enum AttachError {
    /// The file is no board. A clause that says what is wrong with it.
    NotABoard(&'static str),
    Version {
        theirs: u64,
        ours: u64,
    },
    Memory(MemoryError),
}

impl From<MemoryError> for AttachError {
    fn from(error: MemoryError) -> Self {
        Self::Memory(error)
    }
}

impl From<io::Error> for AttachError {
    fn from(error: io::Error) -> Self {
        Self::Memory(error.into())
    }
}

/// The numbers that all offsets of a board follow from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    workers: u32,
    /// A power of two.
    cells: u32,
    is_timed: bool,
}

impl Size {
    const WORKERS: RangeInclusive<u64> = 1..=1 << 16;
    const CELLS: RangeInclusive<u64> = CELLS_PER_LINE as u64..=1 << 30;

    /// Returns `None` if a number is out of range.
    fn new(workers: u64, cells: u64, is_timed: u64) -> Option<Self> {
        let is_sound = Self::WORKERS.contains(&workers)
            && Self::CELLS.contains(&cells)
            && cells.is_power_of_two()
            && is_timed <= 1;
        is_sound.then_some(Self {
            workers: u32::try_from(workers).ok()?,
            cells: u32::try_from(cells).ok()?,
            is_timed: is_timed == 1,
        })
    }

    fn first_cell(self) -> usize {
        CACHE_LINE + self.workers as usize * CACHE_LINE
    }

    fn first_flow(self) -> usize {
        self.first_cell() + self.cells as usize * size_of::<AtomicU64>()
    }

    fn first_times(self) -> usize {
        self.first_flow() + self.workers as usize * FLOW_LEN
    }

    fn length(self) -> usize {
        let timed = if self.is_timed { self.cells } else { 0 };
        self.first_times() + timed as usize * size_of::<TaskTimes>()
    }
}

/// A board, mapped into this process.
///
/// A forked child does not get the mapping. There the board has no entries, cancels nothing, and reports no task as
/// cancelled.
#[derive(Debug)]
pub(crate) struct Board {
    size: Size,
    mapping: Mapping,
    file: OwnedFd,
}

impl Board {
    /// Makes a board for this many workers, all idle, and at least this many tasks in flight, none of them cancelled. If
    /// `is_timed`, it has a place for the times of each.
    pub(crate) fn create(workers: u32, tasks: u32, is_timed: bool) -> Result<Self, MemoryError> {
        let cells = u64::from(tasks.max(CELLS_PER_LINE)).next_power_of_two();
        let size = Size::new(u64::from(workers), cells, is_timed.into())
            .ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
        MemoryBudget::system().check(size.length() as u64)?;
        let file = memory::create(size.length(), size.length())?;
        let mapping = Mapping::new(&file, size.length())?;
        let header = header(&mapping);
        for (field, value) in [
            (&header.version, VERSION),
            (&header.workers, u64::from(size.workers)),
            (&header.cells, u64::from(size.cells)),
            (&header.is_timed, is_timed.into()),
        ] {
            field.store(value, Ordering::Relaxed);
        }
        // Release: pairs with the load in `attach`, which relies on the stores above.
        header.magic.store(MAGIC, Ordering::Release);
        Ok(Self {
            size,
            mapping,
            file,
        })
    }

    /// Maps a board that another process has made.
    pub(crate) fn attach(file: OwnedFd) -> Result<Self, AttachError> {
        let length =
            memory::sealed_size(&file)?.ok_or(AttachError::NotABoard("its size is not sealed"))?;
        if length < CACHE_LINE {
            return Err(AttachError::NotABoard("it is too short"));
        }
        let mapping = Mapping::new(&file, length)?;
        let header = header(&mapping);
        // Acquire: pairs with the store in `create`.
        if header.magic.load(Ordering::Acquire) != MAGIC {
            return Err(AttachError::NotABoard(
                "it does not start with the mark of a complete board",
            ));
        }
        let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
        let theirs = get(&header.version);
        if theirs != VERSION {
            return Err(AttachError::Version {
                theirs,
                ours: VERSION,
            });
        }
        let size = Size::new(
            get(&header.workers),
            get(&header.cells),
            get(&header.is_timed),
        )
        .ok_or(AttachError::NotABoard("its size is out of range"))?;
        if size.length() != length {
            return Err(AttachError::NotABoard(
                "its length does not fit its entries and cells",
            ));
        }
        Ok(Self {
            size,
            mapping,
            file,
        })
    }

    /// Returns the entry of a worker; `None` if there is no such entry, or in a forked child.
    #[inline]
    pub(crate) fn entry(&self, worker: u32) -> Option<&WorkerEntry> {
        if worker >= self.size.workers || self.is_forked_child() {
            return None;
        }
        let entry = self
            .mapping
            .pointer_at(CACHE_LINE + worker as usize * CACHE_LINE);
        // SAFETY: the entry is inside the mapping, whose length fits the number of workers (BOARD-3). It is aligned to
        // a cache line, and consists of atomics, for which any bytes are valid.
        Some(unsafe { entry.cast().as_ref() })
    }

    /// Returns how much a worker may emit; `None` if there is no such worker, or in a forked child.
    pub(crate) fn flow(&self, worker: u32) -> Option<&EmissionFlow> {
        if worker >= self.size.workers || self.is_forked_child() {
            return None;
        }
        let flow = self
            .mapping
            .pointer_at(self.size.first_flow() + worker as usize * FLOW_LEN);
        // SAFETY: the flow is inside the mapping, whose length fits the number of workers (BOARD-3). It is aligned to a cache
        // line, as the cells before it fill whole ones, and consists of atomics, for which any bytes are valid.
        Some(unsafe { flow.cast().as_ref() })
    }

    /// Records that a task is not to be begun any more, or is to end early, and the reason: a number below [`REASONS`],
    /// to which the caller gives a meaning.
    pub(crate) fn cancel(&self, task: u64, reason: u64) {
        debug_assert!(reason < REASONS);
        if let Some(cell) = self.cell(task) {
            let word = reason << REASON_SHIFT | word_of(task) & NUMBER;
            // Release: a process that finds the task cancelled sees what came before.
            cell.store(word, Ordering::Release);
        }
    }

    /// Returns whether [`cancel`](Board::cancel) was called for this task, and since then for no other task of the same
    /// cell (BOARD-2).
    #[inline]
    pub(crate) fn is_cancelled(&self, task: u64) -> bool {
        self.cancel_reason(task).is_some()
    }

    /// Returns the reason that was recorded last, if the task [is cancelled](Board::is_cancelled).
    #[inline]
    pub(crate) fn cancel_reason(&self, task: u64) -> Option<u64> {
        // Acquire: pairs with the store in `cancel`.
        let word = self.cell(task)?.load(Ordering::Acquire);
        (word & NUMBER == word_of(task)).then_some(word >> REASON_SHIFT)
    }

    /// Returns the place for the times of a task, which it shares with tasks that are not in flight at the same time (BOARD-2).
    /// `None` if tasks are not timed, or in a forked child.
    #[inline]
    pub(crate) fn times(&self, task: u64) -> Option<&TaskTimes> {
        if !self.size.is_timed || self.is_forked_child() {
            return None;
        }
        #[allow(
            clippy::cast_possible_truncation,
            reason = "masked to less than the number of cells"
        )]
        let index = (task & (u64::from(self.size.cells) - 1)) as usize;
        let offset = self.size.first_times() + index * size_of::<TaskTimes>();
        // SAFETY: the index is below the number of cells, and the length of the mapping fits as many places for times (BOARD-3).
        // They begin at a cache line, as the flows before them fill whole ones, and consist of atomics, for which any bytes are
        // valid.
        Some(unsafe { self.mapping.pointer_at(offset).cast().as_ref() })
    }

    /// Returns the cancel cell of a task; `None` in a forked child.
    #[inline]
    fn cell(&self, task: u64) -> Option<&AtomicU64> {
        if self.is_forked_child() {
            return None;
        }
        #[allow(
            clippy::cast_possible_truncation,
            reason = "masked to less than the number of cells"
        )]
        let index = (task & (u64::from(self.size.cells) - 1)) as usize;
        let offset = self.size.first_cell() + index * size_of::<AtomicU64>();
        // SAFETY: the index is below the number of cells, which the length of the mapping fits (BOARD-3). The cells
        // begin at a cache line, and a cell is an atomic, for which any bytes are valid.
        Some(unsafe { self.mapping.pointer_at(offset).cast().as_ref() })
    }

    /// Returns whether this is a copy in a forked child, which does not have the mapping.
    #[inline]
    fn is_forked_child(&self) -> bool {
        !self.mapping.owner().is_current()
    }
}

impl AsFd for Board {
    /// Returns what another process needs to [`attach`](Board::attach).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Returns the header of a mapping of at least one cache line.
fn header(mapping: &Mapping) -> &Header {
    assert!(mapping.length() >= CACHE_LINE);
    // SAFETY: the header is inside the mapping (just checked). It is aligned to a page, and consists of atomics, for
    // which any bytes are valid.
    unsafe { mapping.pointer_at(0).cast().as_ref() }
}
