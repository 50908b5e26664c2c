//! A copy of a pool's board, for looking at a pool without taking part in it. Read with `pread(2)`, like
//! [`crate::segment::image`].

use super::super::layout::CACHE_LINE;
use super::{MAGIC, Size, VERSION};
use crate::os::memory;
use std::io;
use std::os::fd::AsFd;

/// What one worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerImage {
    /// The task that it runs, and since when, on the monotonic clock; `None` if it is idle, or between two tasks.
    pub(crate) running: Option<(u64, u64)>,
    /// The phase of the task: a number to which the pool gives a meaning.
    pub(crate) phase: u32,
}

/// Why a file is not a board that can be read.
#[derive(Debug)]
pub(crate) enum BoardImageError {
    NotABoard(&'static str),
    Version(u64),
    Os(io::Error),
}

impl From<io::Error> for BoardImageError {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

/// Returns whether the file begins like a board.
pub(crate) fn is_board(file: impl AsFd) -> bool {
    let mut magic = [0; 8];
    memory::read_exactly(file, &mut magic, 0).is_ok() && u64::from_ne_bytes(magic) == MAGIC
}

/// Reads the entries of all workers from a board of `length` bytes, ordered by number.
pub(crate) fn read(file: impl AsFd, length: usize) -> Result<Vec<WorkerImage>, BoardImageError> {
    let header = words(&file, 0, 5)?;
    let [magic, version, workers, cells, is_timed] = header.as_slice() else {
        return Err(BoardImageError::NotABoard("it is too short"));
    };
    if *magic != MAGIC {
        return Err(BoardImageError::NotABoard(
            "it does not start with the mark of a complete board",
        ));
    }
    if *version != VERSION {
        return Err(BoardImageError::Version(*version));
    }
    let size = Size::new(*workers, *cells, *is_timed)
        .filter(|size| size.length() == length)
        .ok_or(BoardImageError::NotABoard(
            "its length does not fit its entries and cells",
        ))?;
    // ENTRY-2: the task is read before and after the start.
    let before = entries(&file, size)?;
    let after = entries(&file, size)?;
    Ok(before
        .chunks_exact(ENTRY_WORDS)
        .zip(after.chunks_exact(ENTRY_WORDS))
        .map(|(before, after)| worker(before, after))
        .collect())
}

/// The number of words in the entry of a worker.
const ENTRY_WORDS: usize = CACHE_LINE / size_of::<u64>();

fn entries(file: impl AsFd, size: Size) -> io::Result<Vec<u64>> {
    words(file, CACHE_LINE, size.workers as usize * ENTRY_WORDS)
}

fn words(file: impl AsFd, offset: usize, count: usize) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; count * size_of::<u64>()];
    memory::read_exactly(file, &mut bytes, offset)?;
    let word = |word: &[u8]| u64::from_ne_bytes(word.try_into().unwrap_or_default());
    Ok(bytes.chunks_exact(size_of::<u64>()).map(word).collect())
}

/// Returns what a worker does, from two readings of its entry.
fn worker(before: &[u64], after: &[u64]) -> WorkerImage {
    let [task, started, phase, ..] = before else {
        return WorkerImage {
            running: None,
            phase: 0,
        };
    };
    let is_same = after.first() == Some(task);
    let running = task.checked_sub(1).filter(|_| is_same);
    WorkerImage {
        running: running.map(|task| (task, *started)),
        phase: u32::try_from(phase & u64::from(u32::MAX)).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Board;
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn an_image_shows_what_the_workers_run() {
        let board = Board::create(3, 8, false).expect("a board");
        board.entry(1).expect("a worker").begin(41, 7);
        board.entry(1).expect("a worker").set_phase(2);
        let length = memory::sealed_size(board.as_fd()).expect("fcntl");
        let workers = read(board.as_fd(), length.expect("sealed")).expect("a board");
        let idle = WorkerImage {
            running: None,
            phase: 0,
        };
        let busy = WorkerImage {
            running: Some((41, 7)),
            phase: 2,
        };
        assert_eq!(workers, [idle, busy, idle]);
        assert!(is_board(board.as_fd()));
    }

    #[test]
    fn an_entry_that_changes_between_the_readings_is_idle() {
        let entry = |task| [task, 5, 0, 0, 0, 0, 0, 0];
        assert_eq!(worker(&entry(3), &entry(4)).running, None);
        assert_eq!(worker(&entry(3), &entry(3)).running, Some((2, 5)));
    }
}
