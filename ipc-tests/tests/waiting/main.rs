//! Goal: each wait ends for the right reason and at once, and costs next to nothing while it lasts (W1 to W5).
//!
//! Method: the queues of most tests look for dead peers every ten seconds only, so that nothing but a wake-up ends a wait
//! early. A test that took half as long has lost a wake-up.

mod wakeups;
mod watches;
