//! What workers write to their standard output and error, if it is captured: read line by line, and given to `tracing`.
//!
//! OUTPUT-1. Reading is limited in each turn, in bytes for each stream and in time for all, and streams take turns, as messages
//!     are (SUPERVISE-4). A worker that writes faster waits for room in its pipe, as it would for a slow terminal.
//! OUTPUT-2. At most [`MAX_PENDING`](super::captured::MAX_PENDING) bytes wait for the subscriber. What comes then is dropped, counted, and reported. So a slow
//!     subscriber, or one that never returns, holds up neither the pool nor a worker.
//! OUTPUT-3. When the worker has ended, only what is in the pipes by then is read, and they are closed: a descendant that still
//!     has the other end, and may write for ever, gets `SIGPIPE` or `EPIPE`.

use super::captured::{CapturedStream, PendingBytes, StandardStream};
use super::log;
use super::slot::WorkerProcess;
use super::supervisor::Supervisor;
use super::watchlist::key_of_output;
use crate::os::clock;
use crate::os::poll::Epoll;
use crate::sync::AtomicUsize;
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// How much of one stream is read before others get their turn.
const MAX_READ: usize = 64 << 10;
/// How long streams are read before other work is done.
const READ_TIME: Duration = Duration::from_millis(20);

/// Where lines go.
struct LineSink<'a> {
    worker: u32,
    pid: u32,
    pending: &'a Arc<AtomicUsize>,
}

impl LineSink<'_> {
    fn deliver(&self, stream: StandardStream, dropped: &mut u64, line: String) {
        /// What a waiting line takes beyond its text, about.
        const OVERHEAD: usize = 100;
        if !log::wants_output() {
            return;
        }
        let Some(pending) = PendingBytes::reserve(self.pending, line.len() + OVERHEAD) else {
            *dropped += 1;
            return;
        };
        self.report_dropped(stream, dropped);
        log::output(self.worker, self.pid, stream.name(), line, pending);
    }

    /// Reads a stream. Returns false after its end.
    fn read(&self, captured: &mut CapturedStream, max: u64) -> bool {
        let stream = captured.stream;
        captured.read(max, |line, dropped| self.deliver(stream, dropped, line))
    }

    /// Delivers what has no end of line.
    fn finish(&self, captured: &mut CapturedStream) {
        if let Some(rest) = captured.rest() {
            self.deliver(captured.stream, &mut captured.dropped, rest);
        }
        self.report_dropped(captured.stream, &mut captured.dropped);
    }

    fn report_dropped(&self, stream: StandardStream, dropped: &mut u64) {
        let dropped = core::mem::take(dropped);
        if dropped > 0 {
            log::output_dropped(self.worker, self.pid, stream.name(), dropped);
        }
    }
}

/// Adds the streams of a worker to the watchlist.
pub(super) fn watch(watchlist: &Epoll, index: usize, streams: &[CapturedStream]) -> io::Result<()> {
    for (at, stream) in streams.iter().enumerate() {
        let added = watchlist.add(stream, key_of_output(index, stream.stream));
        if added.is_err() {
            streams
                .iter()
                .take(at)
                .for_each(|watched| watchlist.remove(watched));
            return added;
        }
    }
    Ok(())
}

impl Supervisor {
    /// Reads streams that have something, within the limits of OUTPUT-1.
    pub(super) fn read_output(&mut self, mut readable: Vec<(usize, StandardStream)>) {
        let until = clock::after(Instant::now(), READ_TIME);
        let first = self.next_output;
        readable.sort_by_key(|&(index, _)| (index < first, index));
        for (index, stream) in readable {
            self.next_output = index + 1;
            self.read_stream(index, stream);
            if Instant::now() >= until {
                return;
            }
        }
    }

    fn read_stream(&mut self, index: usize, stream: StandardStream) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let number = slot.number;
        let Some(worker) = slot.worker_mut() else {
            return;
        };
        let sink = LineSink {
            worker: number,
            pid: worker.pid(),
            pending: &self.pending_output,
        };
        let mut streams = worker.output.iter_mut();
        let Some(at) = streams.position(|captured| captured.stream == stream) else {
            return;
        };
        let captured = worker.output.get_mut(at);
        if captured.is_some_and(|captured| !sink.read(captured, MAX_READ as u64)) {
            let mut captured = worker.output.remove(at);
            sink.finish(&mut captured);
            self.watchlist.remove(&captured);
        }
    }

    /// Reads what a worker that has ended has written, and closes its pipes (OUTPUT-3).
    pub(super) fn finish_output(&self, number: u32, worker: &mut WorkerProcess) {
        let sink = LineSink {
            worker: number,
            pid: worker.pid(),
            pending: &self.pending_output,
        };
        for mut captured in worker.output.drain(..) {
            self.watchlist.remove(&captured);
            let pending = captured.pending_bytes();
            sink.read(&mut captured, pending);
            sink.finish(&mut captured);
        }
    }
}
