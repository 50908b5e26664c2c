//! What a parent and its workers agree on.
//!
//! | file             | content                                                                           |
//! |------------------|-----------------------------------------------------------------------------------|
//! | `task_attempt`   | the id and the attempt of a task, at the start of each message in both queues     |
//! | `task_message`   | messages of the queue of tasks                                                    |
//! | `result_message` | messages of the queue of results                                                  |
//! | `emission`       | what tasks emit, in the same queue                                                |
//! | `messages`       | messages over the link of a worker                                                |
//! | `startup`        | what a worker process gets at its start                                           |
//! | `role`           | whether this process was started as a worker                                      |
//! | `shape`          | what a type looks like to serde, so that parent and worker can compare            |
//! | `task_phase`     | how far a worker has got with a task                                              |
//! | `panics`         | catching panics of the program's code                                             |

pub(super) mod emission;
pub(super) mod messages;
pub(super) mod panics;
pub(super) mod result_message;
pub(super) mod role;
pub(super) mod shape;
pub(super) mod startup;
pub(super) mod task_attempt;
pub(super) mod task_message;
pub(super) mod task_phase;

#[cfg(test)]
mod tests;
