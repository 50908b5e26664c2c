//! Where the outcomes of maps are put, until each map takes its own.

use core::fmt;
use std::collections::VecDeque;

/// One map's place. Given again once it is closed, when nothing refers to it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamId(u32);

/// A queue of outcomes for each map.
pub(crate) struct Streams<O> {
    places: Vec<Option<VecDeque<O>>>,
}

impl<O> Default for Streams<O> {
    fn default() -> Self {
        Self { places: Vec::new() }
    }
}

impl<O> Streams<O> {
    /// A place that nobody has.
    pub(crate) fn open(&mut self) -> StreamId {
        let free = self.places.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        let stream = StreamId(u32::try_from(place).expect("fewer maps than fit into memory"));
        if let Some(place) = self.place(stream) {
            *place = Some(VecDeque::new());
        }
        stream
    }

    /// Nothing will come for it any more. What nobody has taken.
    pub(crate) fn close(&mut self, stream: StreamId) -> VecDeque<O> {
        let left = self.place(stream).and_then(Option::take);
        left.unwrap_or_default()
    }

    fn place(&mut self, stream: StreamId) -> Option<&mut Option<VecDeque<O>>> {
        self.places.get_mut(stream.0 as usize)
    }

    pub(crate) fn push(&mut self, stream: StreamId, outcome: O) {
        if let Some(Some(queue)) = self.place(stream) {
            queue.push_back(outcome);
        }
    }

    /// Move all that has come into a queue that is empty, which gives its memory for what comes next. False: nothing has.
    pub(crate) fn take(&mut self, stream: StreamId, into: &mut VecDeque<O>) -> bool {
        match self.place(stream) {
            Some(Some(queue)) if !queue.is_empty() => {
                debug_assert!(into.is_empty(), "what is there would come too late");
                core::mem::swap(queue, into);
                true
            }
            _ => false,
        }
    }
}

impl<O> fmt::Debug for Streams<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths = self.places.iter().flatten().map(VecDeque::len);
        f.debug_list().entries(lengths).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stream_has_its_own_and_a_place_is_given_again() {
        let mut streams = Streams::default();
        let (one, two) = (streams.open(), streams.open());
        (0..3).for_each(|n| streams.push(one, n));
        streams.push(two, 7);
        let mut taken = VecDeque::new();
        assert!(streams.take(one, &mut taken));
        assert_eq!(taken, [0, 1, 2]);
        assert!(!streams.take(one, &mut taken));
        assert_eq!(streams.close(two), [7]);
        streams.push(two, 8);
        assert_eq!(streams.open(), two);
        taken.clear();
        assert!(!streams.take(two, &mut taken), "what came too late is gone");
    }
}
