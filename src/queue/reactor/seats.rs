//! The seats of one queue in the reactor, as its attachment has them.

use super::lane::Lane;
use super::process;
use super::seat::Ticket;
use super::source::Source;
use super::wakers;
use crate::sync::{AtomicBool, Ordering};
use core::fmt;
use core::task::Waker;
use parking_lot::Mutex;
use std::io;
use std::sync::{Arc, OnceLock};

/// A parking word of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) enum Word {
    /// Receivers wait for messages.
    Items,
    /// Senders wait until the queue is not full.
    Space,
    /// Senders wait for a free block.
    Blocks,
}

/// The seats of one attachment: one for each word that a future has waited for.
#[derive(Default)]
pub(in crate::queue) struct Seats {
    taken: [OnceLock<Seated>; 3],
    /// Held while a seat is taken.
    taking: Mutex<()>,
    any: AtomicBool,
}

/// Where a seat is.
struct Seated {
    lane: Arc<Lane>,
    number: usize,
}

/// The place of a future in a line. It must be given [back](Seats::dismiss).
#[derive(Debug)]
pub(in crate::queue) struct Place {
    word: Word,
    ticket: Ticket,
}

impl Place {
    pub(in crate::queue) fn word(&self) -> Word {
        self.word
    }
}

impl Seats {
    /// Puts a future into the line of a word, or replaces its waker if it is there already. The caller then tries once
    /// more what it waits for (REACTOR-1).
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub(in crate::queue) fn admit(
        &self,
        place: &mut Option<Place>,
        word: Word,
        waker: Waker,
        source: impl FnOnce() -> Arc<dyn Source>,
    ) -> io::Result<()> {
        let seated = self.seat(word, source)?;
        let ticket = place.as_ref().map(|place| place.ticket);
        let admitted = seated.lane.admit(seated.number, ticket, waker);
        *place = Some(Place {
            word,
            ticket: admitted.ticket,
        });
        if admitted.kick.is_needed() {
            process::call(&seated.lane);
        }
        wakers::discard(admitted.old);
        Ok(())
    }

    /// Takes a future out of the line. If it was woken before, passes the baton (REACTOR-4). `is_used`: it has got what it
    /// waited for.
    pub(in crate::queue) fn dismiss(&self, place: &Place, is_used: bool) {
        let Some(seated) = self.taken(place.word) else {
            return;
        };
        let mut woken = Vec::new();
        let old = (seated.lane).dismiss(seated.number, place.ticket, is_used, &mut woken);
        wakers::wake(woken);
        wakers::discard(old);
    }

    /// Wakes all futures of this process that wait for a word: for a change that is private to the process, which no
    /// notification tells of.
    pub(in crate::queue) fn call_all(&self, word: Word) {
        if let Some(seated) = self.taken(word) {
            let mut woken = Vec::new();
            seated.lane.call_all(seated.number, &mut woken);
            wakers::wake(woken);
        }
    }

    /// Gives up all seats, when no handle is left that a future could belong to. Returns when no thread refers to the
    /// queue any more, unless such a thread calls user code just now.
    pub(in crate::queue) fn give_up(&self) {
        // Acquire: pairs with the store in `seat`.
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        for seated in self.taken.iter().filter_map(OnceLock::get) {
            process::give_up(&seated.lane, seated.number);
        }
    }

    fn taken(&self, word: Word) -> Option<&Seated> {
        self.cell(word).get()
    }

    fn cell(&self, word: Word) -> &OnceLock<Seated> {
        let [items, space, blocks] = &self.taken;
        match word {
            Word::Items => items,
            Word::Space => space,
            Word::Blocks => blocks,
        }
    }

    fn seat(&self, word: Word, source: impl FnOnce() -> Arc<dyn Source>) -> io::Result<&Seated> {
        let cell = self.cell(word);
        if let Some(seated) = cell.get() {
            return Ok(seated);
        }
        let _taking = self.taking.lock();
        if let Some(seated) = cell.get() {
            return Ok(seated);
        }
        let (lane, number) = process::take_seat(&source())?;
        self.any.store(true, Ordering::Release);
        Ok(cell.get_or_init(|| Seated { lane, number }))
    }
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seats")
            .field("any", &self.any)
            .finish_non_exhaustive()
    }
}
