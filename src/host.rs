//! What the worker pool needs of the machine, besides queues: this and `queue` is all that it imports from below.

pub(crate) use crate::os::{child, clock, evidence, fork, link, poll, process, spawn};
pub(crate) use crate::segment::board;
