//! The part of the queue that the models of loom run.

mod reactor;
