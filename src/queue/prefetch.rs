//! What a sender tells its processor of the cells that it will write soon.

use crate::protocol::Words;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::ids::Position;
use crate::segment::View;
use crate::segment::geometry::FIRST_LINE_PAYLOAD;
use crate::sync::{AtomicU32, Ordering};
use core::ops::RangeInclusive;

/// How many cells ahead a sender prefetches if receivers are far behind: between processors that are far apart, a cache line
/// takes as long as several messages. Only if messages take one line or two. Of a longer message only the cell at the tail is
/// prefetched.
const PREFETCH_CELLS: u32 = 4;
/// How many messages behind receivers are far behind.
const FAR_BEHIND: u64 = 32;
/// If receivers are closer, they prefetch the same cells or poll them, so a sender prefetches only the next one, and that only if a
/// message takes two lines, and this many messages waited when it looked, or more.
const SOME_WAIT: u64 = 3;
/// The lengths of messages that take two lines of their cells.
const TWO_LINES: RangeInclusive<usize> = FIRST_LINE_PAYLOAD + 1..=FIRST_LINE_PAYLOAD + 64;
/// This bit of a [`Prefetch`] is set for a later cell than the one at the tail. No length has it.
const LATER_CELL: u32 = 1 << 31;
/// The same for the first line of a later cell.
const LATER_LINE: u32 = LATER_CELL | 1 << 30;

const _: () = assert!(BlockHeader::is_batched_length(LATER_CELL));

/// Prefetches the first line of a later cell, as a [`Prefetch`] has it, or the first two.
#[inline(always)]
fn prefetch_later(words: View<'_>, tail: Position, later: u32, two_lines: bool) {
    let cell = tail.plus((later & !LATER_LINE).into());
    words.prefetch_line(cell, 0);
    if two_lines {
        words.prefetch_line(cell, 1);
    }
}

/// What one sender prefetches: the number of bytes of the payload at the tail, 0 if they are in the line that it allocates; or
/// [`LATER_CELL`] or [`LATER_LINE`], and the number of cells that it is ahead.
#[derive(Debug)]
pub(super) struct Prefetch(AtomicU32);

impl Prefetch {
    /// Returns what a new sender prefetches: nothing.
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Prefetches what this message, or a later one, will write, before the one at `tail` is allocated.
    #[inline(always)]
    pub(super) fn prefetch(&self, words: View<'_>, tail: Position) {
        match self.0.load(Ordering::Relaxed) {
            0 => {}
            length if length < LATER_CELL => words.prefetch_payload(tail, length as usize),
            later => prefetch_later(words, tail, later, later < LATER_LINE),
        }
    }

    /// Does the same for a message whose length is known.
    #[inline(always)]
    pub(super) fn prefetch_known(&self, words: View<'_>, tail: Position, length: usize) {
        let later = self.0.load(Ordering::Relaxed);
        if later > LATER_CELL && length <= *TWO_LINES.end() {
            prefetch_later(words, tail, later, length > FIRST_LINE_PAYLOAD);
        } else {
            words.prefetch_payload(tail, length);
        }
    }

    /// Finds out what to prefetch: messages are probably as long as the last one.
    #[cold]
    #[inline(never)]
    pub(super) fn look(&self, words: View<'_>) {
        let tail = words.tail().get();
        let last = tail
            .minus(1)
            .and_then(|last| words.block(words.ring_size().index_beside(last)));
        let length = last.map_or(0, BlockHeader::length);
        let behind = tail.0.saturating_sub(words.head().get().0);
        let found = match length as usize {
            0..=FIRST_LINE_PAYLOAD if behind < FAR_BEHIND => 0,
            0..=FIRST_LINE_PAYLOAD => LATER_LINE | PREFETCH_CELLS,
            two_lines if TWO_LINES.contains(&two_lines) => match behind {
                FAR_BEHIND.. => LATER_CELL | PREFETCH_CELLS,
                SOME_WAIT.. => LATER_CELL | 1,
                _ => length,
            },
            _ if BlockHeader::is_batched_length(length) => 0,
            _ => length,
        };
        self.0.store(found, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::queue::{Options, Raw};

    const CAPACITY: usize = 1024;
    /// More messages than pass between two looks.
    const MESSAGES: usize = 4 * CAPACITY;
    const FEW: usize = 4;
    const MANY: usize = 100;

    /// Sends messages of `N` bytes, of which the last `waiting` wait then. Returns what the sender prefetches in the end.
    fn prefetched<const N: usize>(waiting: usize) -> u32 {
        let options = Options::new(CAPACITY);
        let (tx, rx) = options.channel_with::<[u8; N], Raw>().expect("a queue");
        for sent in 0..MESSAGES {
            tx.send([1; N]).expect("open");
            if sent >= waiting {
                rx.recv().expect("a message");
            }
        }
        tx.handle.prefetch.0.load(Ordering::Relaxed)
    }

    #[test]
    fn a_sender_prefetches_later_cells_if_receivers_are_far_behind() {
        assert_eq!(prefetched::<8>(MANY), LATER_LINE | PREFETCH_CELLS);
        assert_eq!(prefetched::<64>(MANY), LATER_CELL | PREFETCH_CELLS);
        assert_eq!(prefetched::<64>(FEW), LATER_CELL | 1);
    }

    #[test]
    fn a_sender_prefetches_no_later_cell_if_receivers_are_close_or_messages_long() {
        assert_eq!(prefetched::<8>(FEW), 0);
        assert_eq!(prefetched::<64>(0), 64);
        assert_eq!(prefetched::<1000>(MANY), 1000);
    }

    #[test]
    fn each_of_several_senders_looks_again_now_and_then() {
        let options = Options::new(CAPACITY);
        let (tx, rx) = options.channel_with::<[u8; 8], Raw>().expect("a queue");
        let of_sender = |tx: &crate::Sender<_, Raw>| tx.handle.prefetch.0.load(Ordering::Relaxed);
        let other = tx.clone();
        for _ in 0..MESSAGES {
            for sender in [&tx, &other] {
                sender.send([1; 8]).expect("open");
            }
            while rx.len() > MANY {
                rx.recv().expect("a message");
            }
        }
        assert_eq!(
            [&tx, &other].map(of_sender),
            [LATER_LINE | PREFETCH_CELLS; 2]
        );
        for _ in 0..MESSAGES {
            for sender in [&tx, &other] {
                sender.send([1; 8]).expect("open");
            }
            while rx.try_recv().is_ok() {}
        }
        assert_eq!([&tx, &other].map(of_sender), [0; 2]);
    }
}
