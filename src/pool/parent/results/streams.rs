//! The outcomes of maps, until each map takes its own.

use core::fmt;
use std::collections::VecDeque;

/// The stream of one map: where its outcomes arrive. Its number is used again once it is closed; no task in flight
/// refers to it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamId(u32);

/// A queue of outcomes for each map.
pub(super) struct Streams<O> {
    queues: Vec<Option<VecDeque<O>>>,
}

impl<O> Default for Streams<O> {
    fn default() -> Self {
        Self { queues: Vec::new() }
    }
}

impl<O> Streams<O> {
    pub(super) fn open(&mut self) -> StreamId {
        let free = self.queues.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.queues.push(None);
            self.queues.len() - 1
        });
        let stream = StreamId(u32::try_from(index).expect("fewer maps than fit into memory"));
        if let Some(entry) = self.entry(stream) {
            *entry = Some(VecDeque::new());
        }
        stream
    }

    /// Closes a stream. Returns the outcomes that were not taken.
    pub(super) fn close(&mut self, stream: StreamId) -> VecDeque<O> {
        let left = self.entry(stream).and_then(Option::take);
        left.unwrap_or_default()
    }

    #[inline]
    fn entry(&mut self, stream: StreamId) -> Option<&mut Option<VecDeque<O>>> {
        self.queues.get_mut(stream.0 as usize)
    }

    /// Adds an outcome to a stream; drops it if the stream is closed.
    #[inline]
    pub(super) fn push(&mut self, stream: StreamId, outcome: O) {
        if let Some(Some(queue)) = self.entry(stream) {
            queue.push_back(outcome);
        }
    }

    /// Swaps the outcomes of a stream with `into`, which must be empty, so that its memory is used again. Returns
    /// whether there were any.
    pub(super) fn take(&mut self, stream: StreamId, into: &mut VecDeque<O>) -> bool {
        match self.entry(stream) {
            Some(Some(queue)) if !queue.is_empty() => {
                debug_assert!(
                    into.is_empty(),
                    "older outcomes would come after newer ones"
                );
                core::mem::swap(queue, into);
                true
            }
            _ => false,
        }
    }
}

impl<O> fmt::Debug for Streams<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths = self.queues.iter().flatten().map(VecDeque::len);
        f.debug_list().entries(lengths).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stream_has_its_own_outcomes_and_a_closed_one_none() {
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
        assert!(!streams.take(two, &mut taken), "8 came after the close");
    }
}
