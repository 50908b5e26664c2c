//! A standard stream of a worker that is captured, and the bytes of its lines that wait for the subscriber.

use crate::os::pipe::{OutputPipe, PipeRead};
use crate::pool::parent::lines::LineBuffer;
use crate::sync::{AtomicUsize, Ordering};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// How many bytes of lines may wait for the subscriber.
pub(super) const MAX_PENDING: usize = 4 << 20;

/// A standard stream of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StandardStream {
    Output,
    Error,
}

impl StandardStream {
    pub(super) const BOTH: [Self; 2] = [Self::Output, Self::Error];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Output => "stdout",
            Self::Error => "stderr",
        }
    }
}

/// A stream of a worker that is captured.
#[derive(Debug)]
pub(super) struct CapturedStream {
    pub(super) stream: StandardStream,
    pipe: OutputPipe,
    lines: LineBuffer,
    /// How many lines were dropped and not reported yet.
    pub(super) dropped: u64,
}

/// The bytes of a line that waits for the subscriber (OUTPUT-2). Dropped with the line.
#[derive(Debug)]
pub(super) struct PendingBytes {
    all: Arc<AtomicUsize>,
    count: usize,
}

impl PendingBytes {
    pub(super) fn reserve(all: &Arc<AtomicUsize>, count: usize) -> Option<Self> {
        // Relaxed, here and below: it is only a count.
        if all.load(Ordering::Relaxed) + count > MAX_PENDING {
            return None;
        }
        all.fetch_add(count, Ordering::Relaxed);
        let all = Arc::clone(all);
        Some(Self { all, count })
    }
}

impl Drop for PendingBytes {
    fn drop(&mut self) {
        self.all.fetch_sub(self.count, Ordering::Relaxed);
    }
}

impl CapturedStream {
    pub(super) fn new(stream: StandardStream, pipe: OutputPipe) -> Self {
        Self {
            stream,
            pipe,
            lines: LineBuffer::default(),
            dropped: 0,
        }
    }

    /// Reads up to `max` bytes, and delivers the lines that are complete. Returns false after the end.
    pub(super) fn read(&mut self, max: u64, mut deliver: impl FnMut(String, &mut u64)) -> bool {
        let mut buffer = [0; 16 << 10];
        let mut left = max;
        while left > 0 {
            let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let room = buffer.get_mut(..length).unwrap_or_default();
            match self.pipe.try_read(room) {
                PipeRead::Bytes(count) => {
                    left = left.saturating_sub(count as u64);
                    let bytes = room.get(..count).unwrap_or_default();
                    let dropped = &mut self.dropped;
                    self.lines.push(bytes, |line| deliver(line, dropped));
                }
                PipeRead::WouldBlock => return true,
                PipeRead::Closed => return false,
            }
        }
        true
    }

    /// Returns how many bytes wait to be read.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.pipe.pending_bytes().unwrap_or(0)
    }

    /// Returns what has no end of line.
    pub(super) fn rest(&mut self) -> Option<String> {
        self.lines.finish()
    }
}

impl AsFd for CapturedStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
