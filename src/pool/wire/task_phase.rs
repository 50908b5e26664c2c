//! How far a worker has got with a task, as its line on the board says.

/// It runs.
pub(crate) const RUNNING: u32 = 0;
/// It is done, and its result is being sent.
pub(crate) const SENDING: u32 = 1;
/// It is being decoded, and has not begun.
pub(crate) const DECODING: u32 = 2;
