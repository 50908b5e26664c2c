//! The histograms of a pool as they were last given to the recorder of the facade `metrics`.

use super::stats::Timings;
use crate::pool::histogram::Histogram;
use parking_lot::Mutex;

/// The histograms as they were published last: a recorder gets what was added since.
#[derive(Default)]
pub(super) struct PublishedTimings(Mutex<(Histogram, Histogram)>);

impl PublishedTimings {
    /// Returns what was added since the last call: waiting, running.
    pub(super) fn advance(&self, timings: &Timings) -> (Histogram, Histogram) {
        let mut last = self.0.lock();
        let new = (
            timings.waiting.since(&last.0),
            timings.running.since(&last.1),
        );
        // Two threads may publish at once, and the later one have the earlier figures.
        if timings.running.count() >= last.1.count() {
            *last = (timings.waiting.clone(), timings.running.clone());
        }
        new
    }
}
