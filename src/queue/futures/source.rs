//! The parking words of a queue, as the reactor sees them.

use super::super::attachment::{Attachment, Entered};
use super::super::reactor::{Found, Source, Word};
use crate::protocol::parking::ParkingWord;
use crate::protocol::steps::{send, walk};
use crate::protocol::{SharedState, Words};
use crate::segment::sweep::SweepScope;
use core::time::Duration;
use std::sync::Arc;

/// A word of a queue that this process is attached to.
pub(super) struct QueueWord {
    attachment: Arc<Attachment>,
    word: Word,
}

impl QueueWord {
    pub(super) fn new(attachment: &Arc<Attachment>, word: Word) -> Self {
        Self {
            attachment: Arc::clone(attachment),
            word,
        }
    }
}

/// Looks for messages. Only the return of a message by a process that dies before it has noted that is missed here: recovery
/// finds it.
fn look_for_messages(queue: Entered<'_>) -> Found {
    let segment = queue.segment();
    let (filled, taken) = walk::filled_and_taken(segment);
    if filled > taken || queue.view().returned().load().is_dirty() {
        return Found::One;
    }
    Found::Nothing
}

fn look_for_room(queue: Entered<'_>) -> Found {
    if send::is_full(queue.segment()) {
        Found::Nothing
    } else {
        Found::One
    }
}

impl Source for QueueWord {
    fn word(&self) -> Option<&ParkingWord> {
        let segment = self.attachment.enter().ok()?.segment();
        Some(match self.word {
            Word::Items => segment.items(),
            Word::Space => segment.space(),
            Word::Blocks => segment.blocks(),
        })
    }

    fn fence_others(&self) -> bool {
        let Ok(queue) = self.attachment.enter() else {
            return true;
        };
        let segment = queue.segment();
        // As for every sleep: see `Waiter::sleep`.
        let awaits_release = self.word == Word::Blocks || !segment.lifecycle().load().is_open();
        !awaits_release || segment.fence_others()
    }

    fn look(&self) -> Found {
        let Ok(queue) = self.attachment.enter() else {
            return Found::All;
        };
        let segment = queue.segment();
        // The operations themselves report the end of the queue, and corrupt memory.
        if !segment.lifecycle().load().is_open() || walk::check_tail(segment).is_err() {
            return Found::All;
        }
        match self.word {
            Word::Items => look_for_messages(queue),
            Word::Space => look_for_room(queue),
            // They wait for blocks of different sizes.
            Word::Blocks => Found::All,
        }
    }

    fn wakes_all(&self) -> bool {
        self.word == Word::Blocks
    }

    fn pass_on_wake(&self) {
        if let (Ok(queue), Some(word)) = (self.attachment.enter(), self.word()) {
            word.pass_on_wake(|word| queue.segment().wake(word, 1));
        }
    }

    fn time_until_sweep(&self) -> Duration {
        (self.attachment.enter()).map_or(Duration::MAX, |queue| queue.segment().time_until_sweep())
    }

    fn sweep(&self) {
        if let Ok(queue) = self.attachment.enter() {
            queue.segment().sweep_if_near(SweepScope::PeersAndBlocks);
        }
    }
}
