//! A board: a small shared memory on which workers write what they are running, and their parent what it has
//! cancelled. What stands there outlives the process that wrote it, so that one look after a death says exactly
//! what the dead was doing, and since when, without a message for each task.
//!
//! | offset      | what                                                  | written by            |
//! |-------------|-------------------------------------------------------|-----------------------|
//! | 0           | [`Header`], the magic last                            | the maker, once       |
//! | `LINE`      | a [`WorkerEntry`] for each worker, a line each               | its worker (and the parent between two tenants) |
//! | after those | the cancel cells, a power of two of them, whole lines | the parent            |
//!
//! A slot, as its worker takes it through a task, whose numbers are never used twice:
//!
//! | running  | started        | meaning                                                     |
//! |----------|----------------|-------------------------------------------------------------|
//! | 0        | -              | idle                                                        |
//! | 0        | t              | about to begin a task                                       |
//! | task + 1 | t              | running it since t                                          |
//! | task + 1 | later than t   | about to go straight on to another one                      |
//!
//! BOARD-1. Each word has one writer at a time, so there are only stores and loads, no exchanges.
//! BOARD-2. `started` is stored before `running`, both with Release: who sees a task running does not see a start that
//!     is older than this task's.
//! BOARD-3. Who reads `running` twice, and the same both times, with `started` in between, has the start of that
//!     task, or a later one, if its worker is about to go straight on: a time limit then ends later, never too early.
//! BOARD-4. A cancel cell holds the number, plus one, of the last task cancelled whose place it is, and in its two highest
//!     bits why. With at least as many cells as tasks can be under way no two tasks under way share one, as long as
//!     their numbers are consecutive.
//!
//! Crash: the words stay as they are. A worker that is killed between two stores was, as far as anybody can tell,
//! killed before the first or after the second.

use super::layout::LINE;
use crate::os::budget::MemoryBudget;
use crate::os::memory::{self, Mapping, MemoryError};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use core::ops::RangeInclusive;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// "workbord", as a number.
const MAGIC: u64 = u64::from_le_bytes(*b"workbord");
/// Raised with every change of the layout or of the meaning of a word.
const VERSION: u64 = 1;

/// What a board says of itself.
#[derive(Debug)]
#[repr(C, align(64))]
struct Header {
    magic: AtomicU64,
    version: AtomicU64,
    slots: AtomicU64,
    cells: AtomicU64,
}

/// What one worker does. See the table above.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct WorkerEntry {
    running: AtomicU64,
    started: AtomicU64,
    phase: AtomicU32,
}

const _: () = assert!(size_of::<Header>() == LINE && size_of::<WorkerEntry>() == LINE);

/// Cells in a line.
const CELLS_IN_LINE: u32 = 8;
const _: () = assert!(CELLS_IN_LINE as usize * size_of::<AtomicU64>() == LINE);

/// A task that a worker is running, or was when it died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// Its number.
    pub(crate) task: u64,
    /// When it was begun, as [`WorkerEntry::begin`] was told (BOARD-3).
    pub(crate) started: u64,
}

impl WorkerEntry {
    /// Say that a task is begun, at the time `started`. The clock is the caller's business, if all agree on it.
    pub(crate) fn begin(&self, task: u64, started: u64) {
        // Release: pairs with the loads in `running`, see BOARD-2 and BOARD-3.
        if !mutant!(TimeFromFirstTask) || self.last_start() == 0 {
            self.started.store(started, Ordering::Release);
        }
        self.running.store(mark(task), Ordering::Release);
    }

    /// Say that no task is running any more.
    pub(crate) fn end(&self) {
        // Release: whatever the task did comes before this.
        self.running.store(0, Ordering::Release);
    }

    /// What is running now. `None`: nothing, or the worker is just between two tasks.
    pub(crate) fn running(&self) -> Option<Running> {
        // Acquire, thrice: pairs with the stores in `begin`, and keeps the loads in this order (BOARD-2, BOARD-3).
        loop {
            let seen = self.running.load(Ordering::Acquire);
            let task = seen.checked_sub(1)?;
            let started = self.started.load(Ordering::Acquire);
            if self.running.load(Ordering::Acquire) == seen {
                return Some(Running { task, started });
            }
        }
    }

    /// The start that was stored last: another one than before, if another task was begun since.
    pub(crate) fn last_start(&self) -> u64 {
        // Acquire: pairs with the store in `begin`.
        self.started.load(Ordering::Acquire)
    }

    /// Say how far the worker has got with itself; what the numbers mean is the caller's business. 0 at first.
    pub(crate) fn set_phase(&self, phase: u32) {
        // Release: what belongs to the phase was done before.
        self.phase.store(phase, Ordering::Release);
    }

    /// What the worker has said last.
    pub(crate) fn phase(&self) -> u32 {
        // Acquire: pairs with the store in `set_phase`.
        self.phase.load(Ordering::Acquire)
    }

    /// Make it as it was at first, for the next worker. Only when there is no other one any more (BOARD-1).
    pub(crate) fn reset(&self) {
        if mutant!(BoardLineKept) {
            return;
        }
        self.end();
        self.set_phase(0);
    }
}

/// How many reasons there can be for a task to be cancelled.
pub(crate) const REASONS: u64 = 4;
/// Where they stand in a cell, above the number.
const REASON_SHIFT: u32 = u64::BITS - REASONS.ilog2();
const NUMBER: u64 = (1 << REASON_SHIFT) - 1;

/// A task's number as words hold it, in which 0 means none.
fn mark(task: u64) -> u64 {
    // The last number of all would look like none; nobody counts that far.
    task.wrapping_add(1)
}

/// Why a file is not a board that this process can use.
#[allow(dead_code, reason = "what is wrong is told by `Debug`")]
#[derive(Debug)]
pub(crate) enum AttachError {
    NotABoard(&'static str),
    Version { theirs: u64, ours: u64 },
    Memory(MemoryError),
}

impl From<MemoryError> for AttachError {
    fn from(refused: MemoryError) -> Self {
        Self::Memory(refused)
    }
}

impl From<io::Error> for AttachError {
    fn from(error: io::Error) -> Self {
        Self::Memory(error.into())
    }
}

/// How large a board is. Everything else follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    slots: u32,
    /// A power of two.
    cells: u32,
}

impl Size {
    const SLOTS: RangeInclusive<u64> = 1..=1 << 16;
    const CELLS: RangeInclusive<u64> = CELLS_IN_LINE as u64..=1 << 30;

    /// `None`: out of range.
    fn new(slots: u64, cells: u64) -> Option<Self> {
        let is_sound =
            Self::SLOTS.contains(&slots) && Self::CELLS.contains(&cells) && cells.is_power_of_two();
        is_sound.then_some(Self {
            slots: u32::try_from(slots).ok()?,
            cells: u32::try_from(cells).ok()?,
        })
    }

    fn first_cell(self) -> usize {
        LINE + self.slots as usize * LINE
    }

    fn length(self) -> usize {
        self.first_cell() + self.cells as usize * size_of::<AtomicU64>()
    }
}

/// A board, mapped.
///
/// In a forked child, which does not get the mapping, there are no slots, and nothing can be cancelled nor is.
#[derive(Debug)]
pub(crate) struct Board {
    size: Size,
    mapping: Mapping,
    file: OwnedFd,
}

impl Board {
    /// Make a board for so many workers, all idle, and at least so many tasks under way, none of them cancelled.
    pub(crate) fn create(workers: u32, tasks: u32) -> Result<Self, MemoryError> {
        let cells = u64::from(tasks.max(CELLS_IN_LINE)).next_power_of_two();
        let size = Size::new(u64::from(workers), cells)
            .ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
        MemoryBudget::system().check(size.length() as u64)?;
        let file = memory::create(size.length(), size.length())?;
        let mapping = Mapping::new(&file, size.length())?;
        let header = header(&mapping);
        for (field, value) in [
            (&header.version, VERSION),
            (&header.slots, u64::from(size.slots)),
            (&header.cells, u64::from(size.cells)),
        ] {
            field.store(value, Ordering::Relaxed);
        }
        // Release: pairs with the load in `attach`, which relies on what was stored before.
        header.magic.store(MAGIC, Ordering::Release);
        Ok(Self {
            size,
            mapping,
            file,
        })
    }

    /// Map a board that another process has made.
    pub(crate) fn attach(file: OwnedFd) -> Result<Self, AttachError> {
        let length =
            memory::sealed_size(&file)?.ok_or(AttachError::NotABoard("its size is not sealed"))?;
        if length < LINE {
            return Err(AttachError::NotABoard("it is too short"));
        }
        let mapping = Mapping::new(&file, length)?;
        let header = header(&mapping);
        // Acquire: pairs with the store in `create`.
        if header.magic.load(Ordering::Acquire) != MAGIC {
            return Err(AttachError::NotABoard(
                "it does not start with a board's mark",
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
        let size = Size::new(get(&header.slots), get(&header.cells))
            .ok_or(AttachError::NotABoard("its size is out of range"))?;
        if size.length() != length {
            return Err(AttachError::NotABoard(
                "its length does not fit its slots and cells",
            ));
        }
        Ok(Self {
            size,
            mapping,
            file,
        })
    }

    /// What a worker writes; `None` if the board has no slot of that number.
    pub(crate) fn entry(&self, number: u32) -> Option<&WorkerEntry> {
        if number >= self.size.slots || self.is_forked_child() {
            return None;
        }
        let slot = self.mapping.pointer_at(LINE + number as usize * LINE);
        // SAFETY: the slot is inside the mapping, whose length fits the number of slots, it is aligned to a line, and
        // it consists of atomics, for which any bytes will do.
        Some(unsafe { slot.cast().as_ref() })
    }

    /// How many slots there are.
    #[cfg(test)]
    pub(crate) fn worker_count(&self) -> u32 {
        self.size.slots
    }

    /// Say that a task is not to be begun any more, or to end early, and why: a number below [`REASONS`] whose meaning is
    /// the caller's business.
    pub(crate) fn cancel(&self, task: u64, reason: u64) {
        debug_assert!(reason < REASONS);
        if let Some(cell) = self.cell(task) {
            // Release: whoever finds it cancelled sees what led to that.
            let said = reason << REASON_SHIFT | mark(task) & NUMBER;
            cell.store(said, Ordering::Release);
        }
    }

    /// Whether [`cancel`](Board::cancel) has said so of this task, and of no later one with the same cell (BOARD-4).
    pub(crate) fn is_cancelled(&self, task: u64) -> bool {
        self.cancel_reason(task).is_some()
    }

    /// The reason that was given last, if [`is_cancelled`](Board::is_cancelled).
    pub(crate) fn cancel_reason(&self, task: u64) -> Option<u64> {
        // Acquire: pairs with the store in `cancel`.
        let said = self.cell(task)?.load(Ordering::Acquire);
        (said & NUMBER == mark(task)).then_some(said >> REASON_SHIFT)
    }

    /// `None` in a forked child.
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
        // SAFETY: the index is below the number of cells, which the mapping's length fits, the cells begin at a whole
        // line, and a cell is an atomic, for which any bytes will do.
        Some(unsafe { self.mapping.pointer_at(offset).cast().as_ref() })
    }

    /// Whether this is a copy in a forked child, which does not have the mapping.
    fn is_forked_child(&self) -> bool {
        !self.mapping.owner().is_current()
    }
}

impl AsFd for Board {
    /// What another process needs to [`attach`](Board::attach).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The header of a mapping of at least one line.
fn header(mapping: &Mapping) -> &Header {
    debug_assert!(mapping.length() >= LINE);
    // SAFETY: both callers have made sure that the mapping has a line; it is aligned to a page, and the header consists
    // of atomic integers, for which any bytes will do.
    unsafe { mapping.pointer_at(0).cast().as_ref() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::thread;

    fn board(workers: u32, tasks: u32) -> Board {
        Board::create(workers, tasks).expect("a board")
    }

    /// The same board, as another process would see it.
    fn other_side(board: &Board) -> Result<Board, AttachError> {
        Board::attach(board.as_fd().try_clone_to_owned().expect("a descriptor"))
    }

    fn entry(board: &Board, number: u32) -> &WorkerEntry {
        board.entry(number).expect("a slot")
    }

    #[test]
    fn a_line_is_cleared_for_the_next_worker() {
        let board = Board::create(1, 8).expect("a board");
        let line = board.entry(0).expect("a line");
        line.begin(3, 9);
        line.set_phase(1);
        line.reset();
        assert_eq!((line.running(), line.phase()), (None, 0));
    }

    #[test]
    fn both_sides_see_the_same_board() {
        let parent = board(3, 100);
        let worker = other_side(&parent).expect("a board");
        assert_eq!(worker.size, parent.size);
        assert_eq!((parent.worker_count(), parent.size.cells), (3, 128));
        entry(&worker, 2).begin(7, 1000);
        entry(&worker, 2).set_phase(5);
        let (task, started) = (7, 1000);
        let running = Some(Running { task, started });
        assert_eq!(entry(&parent, 2).running(), running);
        assert_eq!(entry(&parent, 2).phase(), 5);
        assert_eq!(entry(&parent, 1).running(), None);
        parent.cancel(7, 2);
        assert_eq!(worker.cancel_reason(7), Some(2));
        assert!(worker.is_cancelled(7) && !worker.is_cancelled(8));
        drop(worker);
        assert_eq!(
            entry(&parent, 2).running(),
            running,
            "it outlives its writer"
        );
        entry(&parent, 2).reset();
        assert_eq!(
            (entry(&parent, 2).running(), entry(&parent, 2).phase()),
            (None, 0)
        );
    }

    #[test]
    fn a_slot_that_does_not_exist_is_none() {
        let board = board(2, 0);
        assert!(board.entry(1).is_some());
        assert!(board.entry(2).is_none() && board.entry(u32::MAX).is_none());
    }

    #[test]
    fn slots_and_cells_lie_apart() {
        let board = board(4, 64);
        for number in 0..4 {
            entry(&board, number).begin(u64::from(number), u64::from(number) + 100);
            entry(&board, number).set_phase(number);
        }
        (0..64).for_each(|task| board.cancel(1000 + task, 3));
        for number in 0..4 {
            let (task, started) = (u64::from(number), u64::from(number) + 100);
            assert_eq!(
                entry(&board, number).running(),
                Some(Running { task, started })
            );
            assert_eq!(entry(&board, number).phase(), number);
        }
        assert!((0..64).all(|task| board.is_cancelled(1000 + task)));
        let header = header(&board.mapping);
        assert_eq!(header.slots.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_task_that_shares_a_cell_with_a_cancelled_one_is_not_cancelled() {
        let board = board(1, 16);
        for task in [0, 5, NUMBER - 1] {
            assert!(!board.is_cancelled(task), "{task}");
            board.cancel(task, 1);
            assert!(board.is_cancelled(task), "{task}");
            assert!(!board.is_cancelled(task ^ 16), "{task}");
        }
        board.cancel(5 + 16, 0);
        assert!(board.is_cancelled(5 + 16) && !board.is_cancelled(5));
    }

    #[test]
    fn what_runs_is_seen_with_a_start_that_is_not_before_its_own() {
        const TASKS: u64 = 20_000;
        let board = board(1, 1);
        thread::scope(|scope| {
            scope.spawn(|| {
                for task in 0..TASKS {
                    entry(&board, 0).begin(task, task);
                    if task % 3 == 0 {
                        entry(&board, 0).end();
                    }
                }
                entry(&board, 0).begin(TASKS, TASKS);
            });
            let mut last = 0;
            while last < TASKS {
                if let Some(Running { task, started }) = entry(&board, 0).running() {
                    assert!(task >= last, "{task} after {last}");
                    assert!(started == task || started == task + 1, "{task}: {started}");
                    last = task;
                }
            }
        });
    }

    #[test]
    fn a_file_that_is_no_board_is_refused() {
        let spoilt = |offset, value: u64| {
            let board = board(2, 16);
            let file = File::from(board.as_fd().try_clone_to_owned().expect("a descriptor"));
            file.write_all_at(&value.to_ne_bytes(), offset)
                .expect("write");
            match other_side(&board).expect_err("spoilt") {
                AttachError::NotABoard(what) => what.to_owned(),
                AttachError::Version { theirs, ours } => format!("{theirs}, not {ours}"),
                AttachError::Memory(refused) => panic!("{refused:?}"),
            }
        };
        assert!(spoilt(0, 1).contains("mark"));
        assert_eq!(spoilt(8, 77), "77, not 1");
        assert!(spoilt(16, 3).contains("fit"));
        assert!(spoilt(16, 0).contains("range"));
        assert!(spoilt(16, u64::MAX).contains("range"));
        assert!(spoilt(24, 32).contains("fit"));
        assert!(spoilt(24, 17).contains("range"), "no power of two");
        assert!(spoilt(24, 1 << 63).contains("range"));
        let open = File::open("/dev/null").expect("a file");
        assert!(matches!(
            Board::attach(open.into()),
            Err(AttachError::NotABoard(_))
        ));
        let short = memory::create(32, 32).expect("a memfd");
        assert!(matches!(
            Board::attach(short),
            Err(AttachError::NotABoard(_))
        ));
    }

    #[test]
    fn a_size_that_makes_no_sense_is_an_error() {
        assert!(matches!(Board::create(0, 1), Err(MemoryError::Os(_))));
        assert!(matches!(
            Board::create(1, u32::MAX),
            Err(MemoryError::Os(_))
        ));
        assert_eq!(board(1, 0).size.cells, CELLS_IN_LINE);
    }
}
