//! A place among those that wait for a queue, for a waker that is not that of one future: the pool's.

use super::super::end::Handle;
use super::super::reactor::{Place, Source, Word};
use super::super::receiver::Receiver;
use super::super::sender::Sender;
use super::source::QueueWord;
use crate::codec::Codec;
use core::task::Waker;
use std::io;
use std::sync::Arc;

/// A place in the line of a queue. Given back by `leave_line`.
#[derive(Debug, Default)]
pub(crate) struct LinePlace(Option<Place>);

fn enter(handle: &Handle, place: &mut LinePlace, word: Word, waker: Waker) -> io::Result<()> {
    let attachment = &handle.attachment;
    let source = || Arc::new(QueueWord::new(attachment, word)) as Arc<dyn Source>;
    (attachment.seats).admit(&mut place.0, word, waker, source)
}

fn leave(handle: &Handle, place: &mut LinePlace) {
    // A forked child has no reactor, and must not lock that of its parent.
    if let Some(place) = place.0.take()
        && handle.enter().is_ok()
    {
        handle.attachment.seats.dismiss(&place, false);
    }
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Has the waker called once when there may be a message, or the queue is closed. A message that is there already is
    /// found by a receive after this.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub(crate) fn enter_line(&self, place: &mut LinePlace, waker: Waker) -> io::Result<()> {
        if place.0.is_none() {
            self.batches.add_future();
        }
        let entered = enter(&self.handle, place, Word::Items, waker);
        if place.0.is_none() {
            self.batches.remove_future();
        }
        entered
    }

    /// Gives a place back.
    pub(crate) fn leave_line(&self, place: &mut LinePlace) {
        if place.0.is_some() {
            self.batches.remove_future();
        }
        leave(&self.handle, place);
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Has the waker called once when there may be a free block, or the queue is closed. One that is free already is found
    /// by a send after this.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub(crate) fn enter_line_for_blocks(
        &self,
        place: &mut LinePlace,
        waker: Waker,
    ) -> io::Result<()> {
        enter(&self.handle, place, Word::Blocks, waker)
    }

    /// Gives a place back.
    pub(crate) fn leave_line(&self, place: &mut LinePlace) {
        leave(&self.handle, place);
    }
}
