//! Goal: the shared memory of a queue is safe to use whatever it contains, is accessible exactly to the processes that
//! it was given to, and is freed with the queue (M1 to M5, T1, T2).
//!
//! Method: tests overwrite the memory of a queue in use, open queues by name and by hand-off from many kinds of
//! processes, and compare the descriptors, mappings and memory of a process before and after.

mod addresses;
mod copies;
mod handoff;
mod header;
mod large;
mod leftovers;
mod named;
mod parts;
mod scribble;
mod shared_memory;
