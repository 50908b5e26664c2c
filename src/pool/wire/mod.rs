//! What a parent and its workers agree on.

pub(super) mod messages;
pub(super) mod panics;
pub(super) mod result_message;
pub(super) mod role;
pub(super) mod startup;
pub(super) mod task_message;
pub(super) mod task_phase;
pub(super) mod ticket;

#[cfg(test)]
mod tests;
