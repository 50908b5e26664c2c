//! One parking word with the futures that wait on it. See the table in [`super`].

use super::source::{Found, Source};
use crate::protocol::parking::WaitKey;
use core::task::Waker;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The place of a waiting future in the line of its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(super) u64);

/// A future in line.
pub(super) struct InLine {
    pub(super) waker: Waker,
    /// Whether it was woken, and has come again: it still has the baton (REACTOR-4).
    pub(super) was_woken: bool,
}

pub(super) struct Seat {
    pub(super) source: Arc<dyn Source>,
    /// Those that wait, first come first.
    waiting: BTreeMap<Ticket, InLine>,
    /// With which value of the word the thread sleeps on it. `None`: it does not.
    key: Option<WaitKey>,
    /// Whether the fence of PARK-2 was made after the announcement.
    is_fenced: bool,
    /// Whether to announce and look again, although the word has not changed: the liveness interval has passed.
    is_due: bool,
}

impl Seat {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        Self {
            source,
            waiting: BTreeMap::new(),
            key: None,
            is_fenced: true,
            is_due: false,
        }
    }

    /// Adds a future to the line, or replaces its waker. Returns the old one. `is_again`: it had this ticket already.
    pub(super) fn admit(&mut self, ticket: Ticket, is_again: bool, waker: Waker) -> Option<Waker> {
        if let Some(place) = self.waiting.get_mut(&ticket) {
            return Some(core::mem::replace(&mut place.waker, waker));
        }
        let was_woken = is_again && !mutant!(BatonForgotten);
        self.waiting.insert(ticket, InLine { waker, was_woken });
        None
    }

    /// Removes a future from the line. Returns `None` if it was woken before.
    pub(super) fn dismiss(&mut self, ticket: Ticket) -> Option<InLine> {
        self.waiting.remove(&ticket)
    }

    pub(super) fn has_waiters(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns the key to sleep with, if the thread sleeps on this word at all.
    pub(super) fn key(&self) -> Option<WaitKey> {
        self.key
    }

    pub(super) fn is_fenced(&self) -> bool {
        self.is_fenced
    }

    /// Makes the next [`attend`](Self::attend) announce and look again.
    pub(super) fn make_due(&mut self) {
        self.is_due = true;
    }

    /// Removes those that are to be woken after a look has `found` something for them. Returns how many.
    pub(super) fn call(&mut self, found: Found, woken: &mut Vec<Waker>) -> usize {
        let before = woken.len();
        match found {
            Found::Nothing => {}
            Found::One => woken.extend(self.waiting.pop_first().map(|(_, place)| place.waker)),
            Found::All => {
                let all = core::mem::take(&mut self.waiting);
                woken.extend(all.into_values().map(|place| place.waker));
            }
        }
        woken.len() - before
    }

    /// Makes sure that no notification is missed while the thread sleeps next: REACTOR-2 and REACTOR-3. Those to be woken
    /// are added to `woken`.
    pub(super) fn attend(&mut self, woken: &mut Vec<Waker>) {
        let source = Arc::clone(&self.source);
        let Some(word) = source.word() else {
            self.key = None;
            return;
        };
        let is_unchanged = self.key.is_some_and(|key| word.has(key));
        if self.waiting.is_empty() {
            // A wake may have come for a future that does not wait any more.
            if !is_unchanged && self.key.take().is_some() {
                self.pass_on();
            }
            return;
        }
        if is_unchanged && !self.is_due {
            return;
        }
        self.is_due = false;
        let early = mutant!(ReactorLooksBeforeAnnouncing).then(|| source.look());
        self.key = Some(word.prepare_wait());
        self.is_fenced = source.fence_others();
        if !mutant!(ReactorDoesNotLookAgain) {
            self.call(early.unwrap_or_else(|| source.look()), woken);
        }
    }

    /// Passes the baton of a future that was woken and has left the line (REACTOR-4). `is_used`: it has got what it
    /// waited for.
    pub(super) fn pass_baton(&mut self, is_used: bool, woken: &mut Vec<Waker>) {
        // A notification that wakes all needs no baton.
        if self.source.wakes_all() {
            return;
        }
        let found = self.source.look();
        if self.call(found, woken) == 0 && found != Found::Nothing && !is_used {
            self.source.pass_on_wake();
        }
    }

    /// Passes on a wake that the thread may have taken since it announced its sleep. Called when it sleeps no more on the
    /// word of a seat that was given up (REACTOR-7).
    pub(super) fn retire(&self) {
        let word = self.source.word();
        let has_changed = |key| word.is_some_and(|word| !word.has(key));
        if self.key.is_some_and(has_changed) {
            self.pass_on();
        }
    }

    /// Passes a wake on that no future here needs.
    fn pass_on(&self) {
        if !self.source.wakes_all() && self.source.look() != Found::Nothing {
            self.source.pass_on_wake();
        }
    }
}
