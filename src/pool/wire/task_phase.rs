//! The phase of a task that a worker has, as a number on the board.

/// The task runs.
pub(crate) const RUNNING: u32 = 0;
/// The task is done, and its result is being sent.
pub(crate) const SENDING: u32 = 1;
/// The task is being decoded, and has not started.
pub(crate) const DECODING: u32 = 2;
