//! Goal: the shared memory of a queue is safe to use whatever it contains, reaches exactly the processes that it was given
//! to, and is gone when the queue is gone (M1 to M5, T1, T2).
//!
//! Method: tests write to the memory behind the queue's back, open queues by name and by hand-off from processes of all
//! kinds, and compare this process's descriptors, mappings and memory with what they were.

mod copies;
mod handoff;
mod header;
mod large;
mod leftovers;
mod named;
mod scribble;
