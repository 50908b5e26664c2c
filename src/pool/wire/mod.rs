//! What a parent and its workers agree on: messages, tickets of tasks, and how a worker starts.

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
