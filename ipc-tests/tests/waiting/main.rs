//! Goal: each wait ends for the right reason and without delay, and costs almost nothing while it lasts (W1, W3 to W5,
//! W7, W8).
//!
//! Method: most queues here look for dead peers only every ten seconds, so that only a wake-up ends a wait earlier. A
//! test that takes five seconds has lost a wake-up.

mod selects;
mod wakeups;
mod watches;
