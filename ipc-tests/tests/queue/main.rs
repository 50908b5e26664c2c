//! Goal: a queue between processes does what its documentation says, in all that a program does with it: sending,
//! receiving, leases, batches, bytes in place, options, and all ways to close it.
//!
//! Method: each module takes one subject. The test is one process of the queue, and `src/bin/peer.rs` plays the others;
//! a test proceeds when a peer has answered, or when the kernel reports that it sleeps, and never after a pause.

mod accounting;
mod batch_codecs;
mod batches;
mod bytes;
mod cancel;
mod close;
mod history;
mod leases;
mod limits;
mod membership;
mod model;
mod options;
mod sizes;
mod user_code;
